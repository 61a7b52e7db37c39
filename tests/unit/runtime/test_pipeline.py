import itertools
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import canthus
from canthus.errors import ConfigError, ImageError, ModelFileError
from canthus.images import checked_image
from canthus.runtime.canthus_detector import CanthusDetector
from canthus.runtime.detectors import Detector, TiledDetector, WholePicture
from canthus.runtime.haar_detector import HaarDetector
from canthus.runtime.landmarker import Landmarker
from canthus.runtime.pipeline import Pipeline, load_pipeline
from canthus.runtime.sessions import LandmarkSession
from canthus.types import Faces, Image
from tiny_detectors import write_tiny_detector

TinyModel = Callable[..., Path]


def find_nothing(image: Image) -> Faces:
    return Faces.empty()


def picture(value: int) -> np.ndarray:
    image = np.zeros((40, 60, 3), np.uint8)
    image[8:13, value - 2 : value + 3] = 255
    return image


def test_load_pipeline_is_public_and_takes_names_files_and_detectors(tiny_model: TinyModel) -> None:
    path = tiny_model()
    assert isinstance(canthus.load_pipeline(path, detector="haar", detector_tiles=False).detector, HaarDetector)
    usual = canthus.load_pipeline(path, detector="haar").detector
    assert isinstance(usual, TiledDetector)
    assert usual.automatic
    assert isinstance(usual.detector, HaarDetector)
    assert isinstance(load_pipeline(str(path), detector="none", passes=2).detector, WholePicture)
    assert load_pipeline(path, passes=2).landmarker.passes == 2
    own = load_pipeline(path.read_bytes(), detector=find_nothing)
    assert own.detector is find_nothing


def test_a_frame_holds_faces_and_landmarks(tiny_model: TinyModel) -> None:
    frame = load_pipeline(tiny_model(), detector="none")(picture(30))
    assert len(frame) == len(frame.faces) == len(frame.landmarks) == 1
    assert frame.faces.boxes.tolist() == [[0, 0, 60, 40]]
    np.testing.assert_allclose(frame.landmarks.points[0].mean(axis=0), (30, 10), atol=1)


def test_no_face_gives_an_empty_frame(tiny_session: LandmarkSession) -> None:
    frame = Pipeline(find_nothing, Landmarker(tiny_session))(picture(3))
    assert len(frame) == 0
    assert frame.landmarks.points.shape == (0, 68, 2)
    assert frame.landmarks.scheme.name == "ibug_68"


def test_mark_takes_known_faces(tiny_session: LandmarkSession) -> None:
    faces = Faces(np.array([[20, 0, 40, 20]], np.float32), np.ones(1, np.float32))
    frame = Pipeline(find_nothing, Landmarker(tiny_session)).mark(picture(30), faces)
    assert frame.faces is faces
    np.testing.assert_allclose(frame.landmarks.points[0].mean(axis=0), (30, 10), atol=0.5)


def test_stream_is_lazy_and_keeps_the_order(tiny_session: LandmarkSession) -> None:
    taken: list[int] = []

    def endless() -> Iterator[np.ndarray]:
        for value in itertools.count(10):
            taken.append(value)
            yield picture(value)

    pipeline = Pipeline(WholePicture(), Landmarker(tiny_session))
    frames = list(itertools.islice(pipeline.stream(endless()), 4))
    assert taken == [10, 11, 12, 13]
    means = [float(frame.landmarks.points[0, :, 0].mean()) for frame in frames]
    np.testing.assert_allclose(means, [10, 11, 12, 13], atol=1)
    assert list(pipeline.stream([])) == []


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_rgb_picture_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"Expected an RGB picture, uint8 \(h, w, 3\); found"):
        checked_image(array)


def test_threads_may_share_a_pipeline(tiny_model: TinyModel) -> None:
    pictures = [picture(place) for place in range(4, 56)]
    for detector in ("none", "haar", "default"):
        pipeline = load_pipeline(tiny_model(), detector=detector)
        alone = [pipeline(image).to_dict() for image in pictures]
        with ThreadPoolExecutor(4) as pool:
            assert [frame.to_dict() for frame in pool.map(pipeline, pictures)] == alone


@pytest.mark.parametrize("detector", ["none", "haar", "default", "own.onnx", find_nothing])
def test_a_pipeline_is_pickled_by_its_settings(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detector: str | Detector
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_model("here.onnx")
    write_tiny_detector(tmp_path / "own.onnx")
    pipeline = load_pipeline("here.onnx", detector=detector, passes=3)
    data = pickle.dumps(pipeline)
    assert len(data) < 1000
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")  # the other process may work in another folder
    again: Pipeline = pickle.loads(data)
    assert (again.landmarker.passes, again.min_confidence) == (3, 0)
    assert again(picture(20)).to_dict() == pipeline(picture(20)).to_dict()
    assert pickle.loads(pickle.dumps(again))(picture(9)).to_dict() == pipeline(picture(9)).to_dict()


def test_a_pipeline_put_together_by_hand_is_not_pickled(tiny_session: LandmarkSession) -> None:
    with pytest.raises(TypeError, match=r"Only a pipeline made by canthus\.load_pipeline can be pickled"):
        pickle.dumps(Pipeline(find_nothing, Landmarker(tiny_session)))


def test_settings_of_the_detector_reach_it(tiny_model: TinyModel, tmp_path: Path) -> None:
    file = write_tiny_detector(tmp_path / "detector.onnx")
    detector = load_pipeline(tiny_model(), detector=file, detector_size=320, detector_tiles=True).detector
    assert isinstance(detector, TiledDetector)
    assert isinstance(detector.detector, CanthusDetector)
    assert (detector.size, detector.detector.size) == (320, 320)


def test_a_frame_keeps_the_five_points_of_the_detector(tiny_model: TinyModel, tmp_path: Path) -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[32:48, 64:80] = 255
    frame = load_pipeline(tiny_model(), detector=write_tiny_detector(tmp_path / "detector.onnx"))(image)
    assert frame.faces.points is not None
    np.testing.assert_allclose(frame.faces.points[0, 2], (71.5, 39.5))
    assert frame.landmarks.points.shape == (1, 68, 2)


def test_bad_settings_are_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    for settings in ({"detector_size": 320}, {"min_score": 0.5}, {"detector_tiles": True}):
        with pytest.raises(ConfigError, match="have no effect on a detector that exists already"):
            load_pipeline(tiny_model(), detector=find_nothing, **settings)
    with pytest.raises(ConfigError, match="least score from 0 to 1, found 2"):
        load_pipeline(tiny_model(), detector="haar", min_score=2)
    with pytest.raises(ConfigError, match="Unknown detector"):
        load_pipeline(tiny_model(), detector="dlib")
    with pytest.raises(ConfigError, match="at least 1 pass"):
        load_pipeline(tiny_model(), passes=0)
    with pytest.raises(ModelFileError, match="no such file"):
        load_pipeline(tmp_path / "none.onnx")


@pytest.mark.parametrize(("processes", "workers"), [(False, 1), (False, 3), (True, 2)])
def test_batch_gives_the_frames_of_calls_in_order(tiny_model: TinyModel, processes: bool, workers: int) -> None:
    pipeline = load_pipeline(tiny_model(), detector="none")
    pictures = [picture(value) for value in (12, 30, 20, 45, 25)]
    found = list(pipeline.batch(pictures, workers=workers, processes=processes))
    expected = [pipeline(image).landmarks.points for image in pictures]
    np.testing.assert_array_equal([frame.landmarks.points for frame in found], expected)


def test_batch_takes_few_pictures_in_advance(tiny_session: LandmarkSession) -> None:
    pipeline, taken = Pipeline(find_nothing, Landmarker(tiny_session)), itertools.count()
    frames = pipeline.batch((picture(3 + next(taken) % 50) for _ in itertools.count()), workers=2)
    for _ in range(3):
        assert len(next(frames)) == 0
    assert next(taken) <= 3 + 2 * 2
    frames.close()  # type: ignore[attr-defined]  # an iterator that is a generator


def test_batch_raises_for_a_picture_in_its_turn(tiny_model: TinyModel, tmp_path: Path) -> None:
    pipeline = load_pipeline(tiny_model(), detector="none")
    frames = pipeline.batch([picture(30), tmp_path / "missing.png", picture(20)], workers=2)
    assert len(next(frames)) == 1
    with pytest.raises(ImageError, match=r"missing\.png"):
        next(frames)
    with pytest.raises(ConfigError, match="at least 1 worker, found 0"):
        pipeline.batch([], workers=0)


def test_batch_in_processes_needs_settings(tiny_session: LandmarkSession) -> None:
    with pytest.raises(TypeError, match="made by canthus.load_pipeline"):
        Pipeline(find_nothing, Landmarker(tiny_session)).batch([picture(3)], processes=True)
