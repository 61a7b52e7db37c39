import numpy as np
import pytest

from canthus.evaluation.boxes import BoxJitter, match_boxes

BOX = np.array([10, 10, 30, 30], np.float32)


def test_each_face_takes_its_best_detection() -> None:
    truth = np.stack([BOX, BOX + 100])
    detected = np.stack([BOX + 101, BOX + 5, BOX + 1])
    matches = match_boxes(truth, detected)
    assert [(match.found, match.index) for match in matches] == [(True, 2), (True, 0)]
    assert matches[0].overlap == pytest.approx(19 * 19 / (2 * 400 - 19 * 19))


def test_one_detection_serves_one_face_only() -> None:
    truth = np.stack([BOX, BOX + 2])
    matches = match_boxes(truth, BOX[None] + 2)
    assert [match.found for match in matches] == [False, True]
    assert matches[0].overlap > 0.3, "the overlap of the lost face is still told"


def test_little_overlap_is_a_miss() -> None:
    match = match_boxes(BOX[None], BOX[None] + 15, min_overlap=0.3)[0]
    assert not match.found
    assert match.index == -1
    assert 0 < match.overlap < 0.3


def test_overlap_must_be_above_the_threshold() -> None:
    half = np.array([[10, 10, 30, 20]], np.float32)
    assert not match_boxes(BOX[None], half, min_overlap=0.5)[0].found
    assert match_boxes(BOX[None], half, min_overlap=0.49)[0].found


def test_no_detection_misses_every_face() -> None:
    matches = match_boxes(np.stack([BOX, BOX]), np.zeros((0, 4), np.float32))
    assert [(match.found, match.overlap) for match in matches] == [(False, 0.0)] * 2


def test_jitter_depends_on_key_and_seed_only() -> None:
    jitter = BoxJitter(0.1, seed=3)
    np.testing.assert_array_equal(jitter.apply(BOX, "a"), BoxJitter(0.1, seed=3).apply(BOX, "a"))
    assert not np.array_equal(jitter.apply(BOX, "a"), jitter.apply(BOX, "b"))
    assert not np.array_equal(jitter.apply(BOX, "a"), BoxJitter(0.1, seed=4).apply(BOX, "a"))


def test_no_jitter_moves_nothing() -> None:
    np.testing.assert_allclose(BoxJitter(0.0).apply(BOX, "a"), BOX)


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_jitter_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        BoxJitter(fraction)
