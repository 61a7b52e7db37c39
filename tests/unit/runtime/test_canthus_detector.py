"""The detector of canthus from picture to faces, with a network that finds white squares in cells of 16 pixels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import ConfigError
from canthus.geometry import Affine
from canthus.runtime import canthus_detector
from canthus.runtime.canthus_detector import CLOSE_SIZE, CanthusDetector
from canthus.runtime.sessions import DetectorSession
from canthus.types import Faces
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
    image[208:224, 208:224] = 235  # a score of 0.896
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


class BrightBox:
    """A network that finds the bright box of a picture, with other log odds in the closer look, or not at all there."""

    card = tiny_detector_card()

    def __init__(self, first: float, closer: float | None, *, wider: float = 1.0) -> None:
        self.first, self.closer, self.wider = first, closer, wider
        self.closer_looks = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        count, height, width, _ = images.shape
        rows = np.full((count, height // 16 * (width // 16), 15), -20, np.float32)
        close = width == CLOSE_SIZE
        self.closer_looks += count if close else 0
        odds = self.closer if close else self.first
        for image, out in zip(images, rows, strict=True):
            y, x = np.nonzero(image[..., 0] > 128)
            if odds is None or not len(x):
                continue
            sides = np.array([np.ptp(x) + 1, np.ptp(y) + 1]) / 16
            centre = np.array([x.min(), y.min()]) / 16 + sides / 2
            column, row = centre.astype(int)
            offset = centre - (column + 0.5, row + 0.5)
            out[row * (width // 16) + column] = [
                odds,
                *offset,
                *np.log(sides * (self.wider if close else 1)),
                *np.tile(offset, 5),
            ]
        return rows


@pytest.fixture
def seen(session: DetectorSession) -> Callable[..., Faces]:
    """What a detector with another network finds in a picture with one bright square."""

    def find(network: BrightBox, *, least_score: float = 0.1) -> Faces:
        detector = CanthusDetector(session, least_score=least_score)
        detector.session = network  # type: ignore[assignment]  # a network without a file
        return detector(picture(480, 640, (200, 100), side=48))

    return find


def test_a_doubted_face_gets_the_mean_of_two_looks(seen: Callable[..., Faces]) -> None:
    network = BrightBox(0.5, 2.0, wider=1.25)
    found = seen(network)
    assert network.closer_looks == 1
    np.testing.assert_allclose(found.scores, [1 / (1 + np.exp(-1.25))], rtol=1e-5)
    np.testing.assert_allclose(found.boxes, [[200, 100, 248, 148]], atol=1e-3)  # those of the first look


def test_a_closer_look_at_nothing_lowers_the_score(seen: Callable[..., Faces]) -> None:
    wide = BrightBox(1.2, 2.0, wider=2.0)  # a box that is no box of the same face
    for network in (BrightBox(1.2, None), BrightBox(1.2, -9.0), wide):
        np.testing.assert_allclose(seen(network).scores, [0.3], rtol=1e-5)
        assert len(seen(network, least_score=0.5)) == 0


@pytest.mark.parametrize("odds", [-2.8, -2.0, -1.0, 0.0])
def test_a_faint_closer_look_counts_down_to_the_least_score(seen: Callable[..., Faces], odds: float) -> None:
    expected = max(0.3, 1 / (1 + np.exp(-(1.2 + odds) / 2)))
    np.testing.assert_allclose(seen(BrightBox(1.2, odds)).scores, [expected], rtol=1e-5)


def test_a_closer_look_lifts_faces_above_the_threshold(seen: Callable[..., Faces]) -> None:
    assert len(seen(BrightBox(-0.5, 2.0), least_score=0.65)) == 1
    assert len(seen(BrightBox(-0.5, 2.0), least_score=0.7)) == 0


@pytest.mark.parametrize("odds", [-1.0, 1.5])
def test_sure_and_weak_faces_get_no_closer_look(seen: Callable[..., Faces], odds: float) -> None:
    network = BrightBox(odds, 5.0)
    np.testing.assert_allclose(seen(network).scores, [1 / (1 + np.exp(-odds))], rtol=1e-5)
    assert network.closer_looks == 0


def test_only_the_best_of_a_crowd_get_a_closer_look(session: DetectorSession, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(480, 640, *((32 * column, 32) for column in range(1, 9)))
    image[32:48][image[32:48] == 255] = 231  # a score of 0.6
    whole = CanthusDetector(session, least_score=0.1)(image)
    np.testing.assert_allclose(whole.scores, 0.3)  # closer, the tiny network finds cells in them and not them
    monkeypatch.setattr(canthus_detector, "MOST_DOUBTED", 3)
    assert (CanthusDetector(session, least_score=0.1)(image).scores > 0.5).sum() == 5
