"""OpenCV's FaceDetectorYN behind the protocol, with a network of the same inputs and outputs that finds white cells."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from canthus.errors import ConfigError, ModelFileError
from canthus.runtime.yunet_detector import HABIT, YuNetDetector
from tiny_detectors import FIVE_POINTS, write_tiny_detector, write_tiny_yunet


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_yunet(tmp_path_factory.mktemp("yunet") / "yunet.onnx")


def picture(height: int, width: int, *squares: tuple[int, int], side: int = 16) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    for x, y in squares:
        image[y : y + side, x : x + side] = 255
    return image


def test_threads_share_a_detector(model: Path) -> None:
    pictures = [picture(480, 640, (64, 32)), picture(480, 320, (96, 160)), picture(320, 640, (320, 64), (480, 160))]
    detector = YuNetDetector(model)
    expected = [detector(image) for image in pictures]
    assert all(len(faces) for faces in expected)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(detector, pictures * 30))
    for number, faces in enumerate(found):
        np.testing.assert_array_equal(faces.boxes, expected[number % 3].boxes)


@pytest.mark.parametrize(("shape", "scale"), [((480, 640), 1.0), ((960, 1280), 2.0), ((100, 200), 0.5)])
def test_boxes_become_face_boxes_and_points_pixels(model: Path, shape: tuple[int, int], scale: float) -> None:
    corner, side = (round(64 * scale), round(32 * scale)), round(16 * scale)
    found = YuNetDetector(model)(picture(*shape, corner, side=side))
    own = np.array([[*corner, corner[0] + side, corner[1] + side]], np.float32)
    assert found.points is not None
    np.testing.assert_allclose(found.boxes, HABIT.face_boxes(own), atol=1e-3)
    centre = np.array([72, 40]) * scale - 0.5
    np.testing.assert_allclose(found.points, [16 * scale * FIVE_POINTS + centre], atol=1e-3)
    assert 0.9 < found.scores[0] <= 1


def test_faces_come_best_first_and_none_below_the_threshold(model: Path) -> None:
    image = picture(480, 640, (64, 32), (320, 32), (320, 320))
    image[32:48, 64:80] = 150
    image[320:336, 320:336] = 80
    found = YuNetDetector(model)(image)
    np.testing.assert_allclose(found.scores, np.sqrt([1, 150 / 255]), atol=1e-3)
    assert found.boxes[:, 0].tolist() == [320, 64]
    assert len(YuNetDetector(model, least_score=0.5)(image)) == 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (480, 640)])
def test_no_face_gives_length_zero(model: Path, shape: tuple[int, int]) -> None:
    found = YuNetDetector(model)(np.zeros((*shape, 3), np.uint8))
    assert found.points is not None
    assert (found.boxes.shape, found.scores.shape, found.points.shape) == ((0, 4), (0,), (0, 5, 2))


def test_one_detector_takes_pictures_of_all_sizes(model: Path) -> None:
    detector = YuNetDetector(model)
    counts = [len(detector(picture(height, 640, (64, 32)))) for height in (480, 64, 640, 480)]
    assert counts == [1, 1, 1, 1]


def test_unusable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none.onnx: no such file"):
        YuNetDetector(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ModelFileError, match=r"bad.onnx: is no ONNX model, or is damaged \(.+\)") as caught:
        YuNetDetector(tmp_path / "bad.onnx")
    assert "\n" not in str(caught.value)


def test_another_network_is_refused_when_it_is_run(tmp_path: Path) -> None:
    path = write_tiny_detector(tmp_path / "detector.onnx")
    with pytest.raises(ModelFileError, match="is no YuNet model that OpenCV can use"):
        YuNetDetector(path)(np.zeros((64, 64, 3), np.uint8))


def test_a_size_below_the_stride_is_refused(model: Path) -> None:
    with pytest.raises(ConfigError, match="at least 32 pixels, found 31"):
        YuNetDetector(model, size=31)


def test_files_that_could_harm_are_refused(tmp_path: Path) -> None:
    model = onnx.load(write_tiny_yunet(tmp_path / "yunet.onnx"))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="bad.onnx: holds weights that are stored in other files"):
        YuNetDetector(tmp_path / "bad.onnx")
