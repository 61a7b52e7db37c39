"""The detector of canthus from picture to faces, with a network that finds white squares in cells of 16 pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import ConfigError
from canthus.geometry import Affine
from canthus.runtime.canthus_detector import CanthusDetector
from canthus.runtime.sessions import DetectorSession
from tiny_detectors import CERTAIN, FIVE_POINTS, tiny_detector_card, write_tiny_detector

SURE = 1 / (1 + np.exp(-CERTAIN))


@pytest.fixture
def session(tmp_path: Path) -> DetectorSession:
    return DetectorSession.open(write_tiny_detector(tmp_path / "detector.onnx"))


def picture(height: int, width: int, *squares: tuple[int, int], side: int = 16) -> np.ndarray:
    """Black, with white squares that begin at these x and y."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, y in squares:
        image[y : y + side, x : x + side] = 255
    return image


def test_a_face_is_where_it_is(session: DetectorSession) -> None:
    found = CanthusDetector(session)(picture(480, 640, (64, 32)))
    assert found.points is not None
    np.testing.assert_allclose(found.boxes, [[64, 32, 80, 48]])
    np.testing.assert_allclose(found.points, [16 * FIVE_POINTS + (71.5, 39.5)])
    np.testing.assert_allclose(found.scores, [SURE], rtol=1e-5)


@pytest.mark.parametrize(("scale", "shape"), [(2, (960, 1280)), (4, (1920, 2560)), (2, (961, 1281))])
def test_large_pictures_are_shrunk(session: DetectorSession, scale: int, shape: tuple[int, int]) -> None:
    found = CanthusDetector(session)(picture(*shape, (64 * scale, 32 * scale), side=16 * scale))
    assert found.points is not None
    np.testing.assert_allclose(found.boxes, [[64 * scale, 32 * scale, 80 * scale, 48 * scale]], atol=0.2)
    centre = scale * np.array([72, 40]) - 0.5
    np.testing.assert_allclose(found.points, [16 * scale * FIVE_POINTS + centre], atol=0.2)


def test_small_pictures_are_enlarged_and_padded(session: DetectorSession) -> None:
    found = CanthusDetector(session)(picture(100, 200, (64, 32), side=8))
    np.testing.assert_allclose(found.boxes, [[64, 32, 72, 40]])


def test_a_smaller_size_sees_larger_faces(session: DetectorSession) -> None:
    image = picture(480, 640, (64, 32), side=32)
    assert len(CanthusDetector(session)(image)) == 4
    found = CanthusDetector(session, size=320)(image)
    np.testing.assert_allclose(found.boxes, [[64, 32, 96, 64]])


def test_shifted_and_mirrored_pictures_give_shifted_and_mirrored_faces(session: DetectorSession) -> None:
    detector = CanthusDetector(session)
    image = picture(480, 640, (64, 32), (320, 400))
    one, other = detector(image), detector(np.roll(image, (16, 48), axis=(0, 1)))
    np.testing.assert_allclose(other.boxes, one.boxes + np.array([48, 16, 48, 16]), atol=1e-4)
    mirrored = detector(image[:, ::-1])
    assert one.points is not None
    assert mirrored.points is not None
    np.testing.assert_allclose(mirrored.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [640, 0, 640, 0], one.boxes)
    np.testing.assert_allclose(mirrored.points[:, [1, 0, 2, 4, 3]], Affine.flip(640).apply(one.points), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (20, 20), (3000, 30), (480, 640)])
def test_nothing_where_nothing_is(session: DetectorSession, shape: tuple[int, int]) -> None:
    found = CanthusDetector(session)(np.full((*shape, 3), 128, np.uint8))
    assert found.points is not None
    assert (found.boxes.shape, found.scores.shape, found.points.shape) == ((0, 4), (0,), (0, 5, 2))


def test_a_white_pixel_is_a_face_of_the_padded_cell_or_none(session: DetectorSession) -> None:
    assert len(CanthusDetector(session)(np.full((1, 1, 3), 255, np.uint8))) == 0
    assert len(CanthusDetector(session)(np.full((8, 8, 3), 255, np.uint8))) == 1


def test_the_least_score_is_the_cards_unless_given(session: DetectorSession) -> None:
    image = picture(480, 640, (64, 32))
    image[100:120, 100:120] = 225  # cells of 112..128 are white to two thirds
    image[200:220, 200:220] = 0
    image[208:224, 208:224] = 232
    scores = CanthusDetector(session)(image).scores
    assert len(scores) == 2
    assert CanthusDetector(session, least_score=0.9)(image).scores.tolist() == pytest.approx([SURE])


def test_all_strides_are_read(tmp_path: Path) -> None:
    card = tiny_detector_card(strides=(8, 16, 32))
    session = DetectorSession.open(write_tiny_detector(tmp_path / "three.onnx", card=card))
    image = picture(480, 640, (320, 64), side=32)
    image[200:208, 104:112] = 255
    found = CanthusDetector(session)(image)
    sides = sorted((found.boxes[:, 2] - found.boxes[:, 0]).tolist())
    assert sides == [8] * 17 + [16] * 4 + [32]
    assert [104, 200, 112, 208] in found.boxes.tolist()
    assert [320, 64, 352, 96] in found.boxes.tolist()


def test_bad_settings_are_refused(session: DetectorSession, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 16 pixels, found 15"):
        CanthusDetector(session, size=15)
    with pytest.raises(ConfigError, match="least score from 0 to 1, found 1.5"):
        CanthusDetector(session, least_score=1.5)
    small = replace(tiny_detector_card(), size=320, score=0.25)
    detector = CanthusDetector(DetectorSession.open(write_tiny_detector(tmp_path / "small.onnx", card=small)))
    assert (detector.size, detector.least_score) == (320, 0.25)
