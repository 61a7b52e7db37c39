"""What holds for errors, curves and boxes whatever the numbers are."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from canthus.evaluation.boxes import BoxJitter, match_boxes
from canthus.evaluation.errors import inter_ocular, inter_pupil, normalized_error, part_error
from canthus.evaluation.summary import area_under_curve, cumulative_curve, failure_rate
from canthus.geometry import Affine, box_iou
from canthus.schemes import IBUG_68

ERRORS = arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 0.5))
THRESHOLDS = st.floats(0.01, 0.3)
SEEDS = st.integers(0, 2**32 - 1)


def face_and_guess(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 100, (1, 68, 2)).astype(np.float32)
    truth[0, 36], truth[0, 45] = (20, 40), (80, 45)
    return truth, (truth + rng.normal(0, 3, truth.shape)).astype(np.float32)


@given(SEEDS, st.floats(-3.1, 3.1), st.floats(0.2, 5), st.floats(-500, 500), st.floats(-500, 500))
def test_error_does_not_depend_on_place_turn_and_size(
    seed: int, angle: float, scale: float, x: float, y: float
) -> None:
    truth, guess = face_and_guess(seed)
    move = Affine.about((50.0, 50.0), angle=angle, scale=scale, shift=(x, y))
    for measure in (inter_ocular, inter_pupil):
        before = normalized_error(guess, truth, measure(truth, IBUG_68))
        after = normalized_error(move.apply(guess), move.apply(truth), measure(move.apply(truth), IBUG_68))
        # Moved points are rounded to float32: 6e-5 px at coordinates of many hundreds, errors are 1 px and more.
        np.testing.assert_allclose(after, before, rtol=2e-3)


@given(SEEDS)
def test_error_of_the_mirrored_face_is_the_same(seed: int) -> None:
    truth, guess = face_and_guess(seed)
    order, flip = list(IBUG_68.mirror), Affine.flip(120)
    mirrored, guessed = (flip.apply(points)[:, order] for points in (truth, guess))
    before = normalized_error(guess, truth, inter_ocular(truth, IBUG_68))
    after = normalized_error(guessed, mirrored, inter_ocular(mirrored, IBUG_68))
    np.testing.assert_allclose(after, before, rtol=1e-4)


@given(SEEDS)
def test_error_is_the_mean_of_the_parts_by_their_points(seed: int) -> None:
    truth, guess = face_and_guess(seed)
    scale = inter_ocular(truth, IBUG_68)
    parts = sum(len(group) * part_error(guess, truth, scale, group)[0] for group in IBUG_68.groups.values())
    np.testing.assert_allclose(parts / 68, normalized_error(guess, truth, scale)[0])


@given(ERRORS, THRESHOLDS)
def test_area_is_the_integral_of_the_curve(errors: np.ndarray, threshold: float) -> None:
    area = area_under_curve(errors, threshold)
    assert 0 <= area <= 1
    steps = 20_000
    middle = (np.arange(steps) + 0.5) * threshold / steps
    sampled = (errors[:, None] <= middle[None]).mean()
    # A jump within one step is seen up to half a step off.
    assert area == pytest.approx(float(sampled), abs=0.51 / steps + 1e-9)


@given(ERRORS, THRESHOLDS)
def test_area_follows_from_the_corners_of_the_curve(errors: np.ndarray, threshold: float) -> None:
    x, share = cumulative_curve(errors)
    edges = np.append(x[x < threshold], threshold)
    area = float((np.diff(edges) * share[: len(edges) - 1]).sum()) / threshold
    assert area_under_curve(errors, threshold) == pytest.approx(area, abs=1e-9)


@given(ERRORS, THRESHOLDS, THRESHOLDS)
def test_failures_fall_as_the_threshold_rises(errors: np.ndarray, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0 <= failure_rate(errors, high) <= failure_rate(errors, low) <= 1
    assert area_under_curve(errors, low) <= area_under_curve(errors, high) + 1e-12


@given(ERRORS, THRESHOLDS)
def test_area_and_failures_add_up_to_at_most_one(errors: np.ndarray, threshold: float) -> None:
    assert area_under_curve(errors, threshold) + failure_rate(errors, threshold) <= 1 + 1e-12


@given(ERRORS, THRESHOLDS, st.integers(1, 5))
def test_missed_faces_count_as_infinitely_wrong(errors: np.ndarray, threshold: float, missed: int) -> None:
    nan, inf = (np.concatenate([errors, np.full(missed, value)]) for value in (math.nan, math.inf))
    assert failure_rate(nan, threshold) == failure_rate(inf, threshold) > failure_rate(errors, threshold) - 1e-12
    share = len(errors) / len(nan)
    assert area_under_curve(nan, threshold) == pytest.approx(share * area_under_curve(errors, threshold))


@given(SEEDS, st.integers(0, 6), st.integers(0, 6), st.floats(0, 0.9))
def test_matches_are_one_to_one_and_overlap_enough(seed: int, n: int, m: int, least: float) -> None:
    rng = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        corner, size = rng.uniform(0, 60, (count, 2)), rng.uniform(10, 60, (count, 2))
        return np.hstack([corner, corner + size]).astype(np.float32)

    truth, detected = boxes(n), boxes(m)
    matches = match_boxes(truth, detected, min_overlap=least)
    taken = [match.index for match in matches if match.found]
    assert len(matches) == n
    assert len(set(taken)) == len(taken)
    overlaps = box_iou(truth, detected)
    for face, match in enumerate(matches):
        assert match.overlap == pytest.approx(float(overlaps[face, match.index] if match.found
                                                    else overlaps[face].max(initial=0)))  # fmt: skip
        assert match.overlap > least or not match.found
    free = [index for index in range(m) if index not in taken]
    lost = [face for face, match in enumerate(matches) if not match.found]
    assert (overlaps[np.ix_(lost, free)] <= least).all(), "a free detection above the threshold is never left lying"


@given(st.floats(0, 0.9), st.text(max_size=20), st.integers(0, 100))
def test_jittered_boxes_stay_within_their_bounds(fraction: float, key: str, seed: int) -> None:
    box = np.array([10, 20, 50, 100], np.float32)
    moved = BoxJitter(fraction, seed).apply(box, key)
    shift = (moved[:2] + moved[2:]) / 2 - (box[:2] + box[2:]) / 2
    zoom = (moved[2:] - moved[:2]) / (box[2:] - box[:2])
    assert (np.abs(shift) <= 80 * fraction + 1e-3).all()
    assert 1 / (1 + fraction) - 1e-4 <= zoom[0] <= 1 + fraction + 1e-4
    assert zoom[0] == pytest.approx(zoom[1], rel=1e-4)
