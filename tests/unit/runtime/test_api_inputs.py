"""Wrong arguments of the Python interface: one TypeError or ValueError each, which says what was found and expected.

The cases run in a process of their own, because shape annotations are checked in this one and would refuse first.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from canthus.images import read_image, write_image
from canthus.runtime.pipeline import as_image, load_pipeline
from canthus.types import Faces

TinyModel = Callable[..., Path]

PICTURE = (
    "TypeError: Expected a picture: an RGB array uint8 (h, w, 3), a path, the bytes of a file, or a PIL image; found"
)
ARRAY = "TypeError: Expected an RGB picture, a numpy array uint8 (h, w, 3); found"
FACES = "TypeError: Expected canthus.Faces from the detector, found"
BOXES = "Expected boxes as an array float32 (n, 4); found"
CASES = {
    "detect(5)": f"{PICTURE} int",
    "detect(None)": f"{PICTURE} NoneType",
    "detect([[1, 2]])": f"{PICTURE} list",
    "detect(b'x.jpg')": "ImageError: the given bytes: not a picture, or damaged; readable:",
    "detect(b'')": "ImageError: the given bytes: the file is empty",
    "detect('none.jpg')": "ImageError: none.jpg: cannot be read (No such file or directory)",
    "detect(image.astype(float))": "ValueError: Expected an RGB picture, uint8 (h, w, 3); found float64 (40, 60, 3)",
    "list(detect.stream([image, None]))": f"{PICTURE} NoneType",
    "Pipeline(lambda image: None, landmarker)(image)": f"{FACES} NoneType",
    "Pipeline(lambda image: boxes, landmarker)(image)": f"{FACES} ndarray",
    "TiledDetector(lambda image: None, size=32)(image)": f"{FACES} NoneType",
    "detect.mark(image, boxes)": "TypeError: Expected canthus.Faces, found ndarray",
    "detect.mark(image, Faces(boxes + 60, ones))": "ValueError: Box 0 is [65.0, 65.0, 80.0, 80.0]; it lies outside the",
    "Faces(boxes[0], ones)": f"ValueError: {BOXES} float32 (4,)",
    "Faces(np.zeros(0), np.zeros(0))": f"ValueError: {BOXES} float64 (0,)",
    "Faces(boxes * 1j, ones)": f"TypeError: {BOXES} complex64 (1, 4)",
    "Faces(boxes > 0, ones)": f"TypeError: {BOXES} bool (1, 4)",
    "Faces(boxes.tolist(), ones)": f"TypeError: {BOXES} list",
    "Faces(None, ones)": f"TypeError: {BOXES} NoneType",
    "Faces(boxes, np.ones(2))": "ValueError: Expected scores as an array float32 (1,); found float64 (2,)",
    "Faces(boxes, ones, np.ones((1, 4, 2)))": "ValueError: Expected five points as an array float32 (1, 5, 2); found",
    "Frame(Faces.empty(), detect(image).landmarks)": "ValueError: Expected landmarks of 0 faces, found those of 1",
    "landmarker(None, boxes)": f"{ARRAY} NoneType",
    "landmarker(image, boxes[0])": f"ValueError: {BOXES} float32 (4,)",
    "landmarker(image, boxes + 3e38)": "ValueError: Box 0 is [3.",
    "landmarker(image, boxes.astype(float) * 1e300)": "ValueError: Box 0 is [inf",
    "landmarker(image, boxes * np.nan)": "ValueError: Box 0 is [nan",
    "landmarker(image, boxes[:, ::-1])": "ValueError: Box 0 is [20.0, 20.0, 5.0, 5.0]; expected finite",
    "landmarker(image, None)": f"TypeError: {BOXES} NoneType",
    "draw_frame('a.jpg', frame)": f"{ARRAY} str",
    "draw_frame(image, None)": "TypeError: Expected the Frame that a pipeline returns, found NoneType",
    "draw_frame(image, frame.faces)": "TypeError: Expected the Frame that a pipeline returns, found Faces",
    "Tracker(detect)(None, 0.0)": f"{ARRAY} NoneType",
    "Tracker(detect)(image, 'now')": "TypeError: Expected the time of the frame in seconds, found str",
    "Tracker(detect)(image, float('nan'))": "ValueError: Expected a finite time of the frame, found nan s",
    "Tracker(Pipeline(lambda image: None, landmarker))(image, 0)": f"{FACES}",
    "create_detector('haar', tiles='always')": "ConfigError: Expected True, False or 'auto' as tiles of the",
    "Pipeline(WholePicture(), landmarker, min_confidence=2)": "ConfigError: Expected a least confidence from 0 to 1",
    "Pipeline(WholePicture(), landmarker, min_confidence=0.5)": "ConfigError: The model 'tiny' gives no confidence",
    "FatigueMonitor().watch(frame)": "TypeError: Expected the TrackedFrame that a Tracker returns, found Frame",
    "FatigueMonitor().watch(Tracker(detect)(image, 0.0), 'a.jpg')": f"{ARRAY}",
}
SCRIPT = """
import json, sys
import numpy as np
from canthus import FatigueMonitor, Faces, Frame, Landmarker, LandmarkSession, Pipeline, Tracker, draw_frame
from canthus.runtime.detectors import TiledDetector, WholePicture, create_detector

landmarker = Landmarker(LandmarkSession.open(sys.argv[1]))
detect = Pipeline(WholePicture(), landmarker)
image = np.zeros((40, 60, 3), np.uint8)
boxes, ones = np.array([[5, 5, 20, 20]], np.float32), np.ones(1, np.float32)
frame = detect(image)
found = {}
for case in json.load(sys.stdin):
    try:
        found[case] = f"nothing: {eval(case)!r}"
    except Exception as error:
        found[case] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    from conftest import write_tiny_model

    model = write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    command = [sys.executable, "-c", SCRIPT, str(model)]
    done = subprocess.run(command, input=json.dumps(list(CASES)), capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_argument_is_one_clear_line(answers: dict[str, str], case: str) -> None:
    assert answers[case].startswith(CASES[case])
    assert "\n" not in answers[case]


WHOLE_NUMBERS = """
import sys
import numpy as np
from canthus import Faces, Landmarker, LandmarkSession, Pipeline
from canthus.runtime.detectors import WholePicture

image = np.zeros((240, 240, 3), np.uint8)
image[196:205, 196:205] = 255
landmarker = Landmarker(LandmarkSession.open(sys.argv[1]))
for kind in (np.uint8, np.int16, np.int64, np.float16, np.float64):
    boxes = np.array([[170, 170, 230, 230]], kind)
    points = landmarker(image, boxes).points
    marked = Pipeline(WholePicture(), landmarker).mark(image, Faces(boxes, np.ones(1, kind)))
    assert np.abs(points.mean(axis=(0, 1)) - 200).max() < 1, (kind, points.mean(axis=(0, 1)))
    assert np.array_equal(points, marked.landmarks.points) and marked.faces.boxes.dtype == np.float32
"""


def test_boxes_of_whole_numbers_are_where_they_say(tiny_model: TinyModel) -> None:
    command = [sys.executable, "-c", WHOLE_NUMBERS, str(tiny_model())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_pictures_are_arrays_paths_bytes_or_pil_images(tiny_model: TinyModel, tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[8:13, 28:33] = 255
    path = tmp_path / "a.png"
    write_image(path, image)
    detect = load_pipeline(tiny_model(), detector="none", passes=1)
    expected = detect(image).landmarks.points
    data = path.read_bytes()
    for content in (data, bytearray(data), memoryview(data)):
        np.testing.assert_array_equal(detect(content).landmarks.points, expected)
    with Pillow.open(path) as opened:
        for picture in (path, str(path), opened, opened.convert("RGBA"), opened.convert("L"), opened.convert("P")):
            np.testing.assert_array_equal(detect(picture).landmarks.points, expected)
        faces = Faces(np.array([[0, 0, 60, 40]], np.float32), np.ones(1, np.float32))
        np.testing.assert_array_equal(detect.mark(opened, faces).landmarks.points, expected)
        with pytest.raises(ValueError, match="8 bits, found mode 'I'"):
            as_image(opened.convert("I"))
    assert as_image(image) is image
    np.testing.assert_array_equal(as_image(path), read_image(path))
