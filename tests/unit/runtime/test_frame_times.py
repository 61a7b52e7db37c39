"""Times of frames whose stamps are even, uneven, missing, repeated, set back or damaged."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from canthus.runtime.frame_times import LEAST_STEP_S, LONGEST_PAUSE_S, FrameTimes

EVEN = [i / 25 for i in range(10)]


def _times(stamps: Sequence[float | None]) -> tuple[list[float], FrameTimes]:
    times = FrameTimes(0.04)
    return [time_s for _, time_s in times((None, stamp) for stamp in stamps)], times


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([], []),
        ([5.0], [0.0]),
        ([None], [0.0]),
        (EVEN, EVEN),
        ([3 + s for s in EVEN], EVEN),
        ([s - 3 for s in EVEN], EVEN),
        ([None] * 10, EVEN),
        ([0.0, 0.04, 0.05, 0.3, 0.31, 1.0, 1.5], [0.0, 0.04, 0.05, 0.3, 0.31, 1.0, 1.5]),
        ([0.0, 60.0, 3600.0, 3600.04], [0.0, 60.0, 3600.0, 3600.04]),
        ([0.0, LONGEST_PAUSE_S - 1, LONGEST_PAUSE_S], [0.0, LONGEST_PAUSE_S - 1, LONGEST_PAUSE_S]),
        ([0.0, 0.04, None, 0.12], [0.0, 0.04, 0.08, 0.12]),
        ([0.0, 0.04, 0.12, 0.08, 0.16], [0.0, 0.04, 0.12, 0.14, 0.16]),  # out of order
        ([0.0, 0.0, 0.0], [0.0, LEAST_STEP_S, 2 * LEAST_STEP_S]),
    ],
    ids=str,
)
def test_whole_files(stamps: list[float | None], expected: list[float]) -> None:
    found, times = _times(stamps)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (times.damaged, times.restarts) == (0, 0)


@pytest.mark.parametrize(
    ("place", "value"),
    [(5, 1e9), (5, -1e9), (5, 3.0), (0, 1e9), (0, -1e9), (9, 1e9)],
)
def test_one_damaged_stamp_moves_no_other_frame(place: int, value: float) -> None:
    stamps = [*EVEN]
    stamps[place] = value
    found, times = _times(stamps)
    np.testing.assert_allclose(found, EVEN, atol=1e-9)
    assert (times.damaged, times.restarts) == (1, 0)


@pytest.mark.parametrize("times_over", [2, 5])
def test_joined_recordings_go_on_by_the_usual_step(times_over: int) -> None:
    found, times = _times([7 + s for s in EVEN] * times_over)
    np.testing.assert_allclose(found, [i / 25 for i in range(10 * times_over)], atol=1e-9)
    assert (times.damaged, times.restarts) == (0, times_over - 1)


def test_a_jump_beyond_any_pause_is_left_out() -> None:
    found, times = _times([*EVEN, *(1e6 + s for s in EVEN)])
    np.testing.assert_allclose(found, [i / 25 for i in range(20)], atol=1e-9)
    assert (times.damaged, times.restarts) == (1, 0)


def test_the_widest_step_is_known() -> None:
    _, times = _times([*EVEN, *(2 + s for s in EVEN)])
    assert times.widest == pytest.approx((0.36, 2.0))


def test_any_stamps_give_times_that_advance() -> None:
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.integers(-6, 18, 3000)
    found, _ = _times([None if rng.random() < 0.1 else float(v) for v in rng.normal(0, scales)])
    assert found[0] == 0.0
    assert np.diff(found).min() > 0
    assert np.diff(found).max() <= LONGEST_PAUSE_S
    assert math.isfinite(found[-1])
