"""The One-Euro filter: what it keeps, what it damps, and that its settings are in seconds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canthus.errors import ConfigError
from canthus.runtime.smoother import OneEuroFilter, smoothing_share


def _run(track: np.ndarray, fps: float, *, size: float = 100.0, **settings: float) -> np.ndarray:
    smooth = OneEuroFilter(**settings)
    return np.stack([smooth(p.astype(np.float32), i / fps, size=size) for i, p in enumerate(track)])


def _walk(seed: int, frames: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, 5, 2)).cumsum(axis=0)


def test_share_by_hand() -> None:
    # tau = 1 / (2 pi) s at 1 Hz; a step of as long gives half the weight.
    assert smoothing_share(1.0, 1 / (2 * math.pi)) == pytest.approx(0.5)


def test_without_beta_it_is_exponential_smoothing() -> None:
    found = _run(np.array([[[0.0, 0.0]], [[1.0, 2.0]]]), 25, beta=0, min_cutoff_hz=3)
    share = smoothing_share(3, 1 / 25)
    np.testing.assert_allclose(found[1, 0], [share, 2 * share], rtol=1e-6)


def test_two_steps_by_hand_with_beta() -> None:
    found = _run(np.array([[[0.0, 0.0]], [[3.0, 4.0]]]), 10, size=50, beta=2, min_cutoff_hz=1, derivative_cutoff_hz=1)
    speed = smoothing_share(1, 0.1) * 5 / 0.1 / 50
    np.testing.assert_allclose(found[1, 0], smoothing_share(1 + 2 * speed, 0.1) * np.array([3, 4]), rtol=1e-6)


@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(0.2, 5))
def test_turning_moving_and_scaling_the_picture_does_the_same_to_the_result(
    seed: int, angle: float, scale: float
) -> None:
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    track = _walk(seed)
    moved = _run(track @ turn.T + [40, -7], 25, size=100 * scale)
    np.testing.assert_allclose(moved, _run(track, 25) @ turn.T + [40, -7], atol=1e-3 * scale)


@given(st.integers(0, 1000))
def test_result_lies_between_the_last_result_and_the_measurement(seed: int) -> None:
    track = _walk(seed)
    found = _run(track, 25)
    low, high = np.minimum(found[:-1], track[1:]), np.maximum(found[:-1], track[1:])
    assert ((found[1:] >= low - 1e-4) & (found[1:] <= high + 1e-4)).all()


@pytest.mark.parametrize("fps", [25, 60, 200])
def test_step_response_is_in_seconds(fps: int) -> None:
    frames = round(0.4 * fps) + 1
    track = np.concatenate([np.zeros((1, 1, 2)), np.full((frames - 1, 1, 2), 10.0)])
    found = _run(track, fps, beta=0, min_cutoff_hz=1)
    exact = 10 * (1 - math.exp(-2 * math.pi * 0.4))
    assert found[-1, 0, 0] == pytest.approx(exact, abs=0.3)  # one step of 0.04 s is off by about tau/step of the rest


def test_noise_at_rest_shrinks_and_motion_lags_little() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.5, size=(250, 30, 2))
    rest = _run(noise, 25)
    assert np.diff(rest, axis=0).std() < 0.6 * np.diff(noise, axis=0).std()
    moving = np.repeat(np.linspace(0, 1000, 100)[:, None, None], 2, axis=2)  # 2.5 face sizes a second
    behind_s = (moving - _run(moving, 25))[-1].max() / 250
    assert behind_s < 0.01


def test_a_gap_starts_anew_and_so_does_reset() -> None:
    smooth = OneEuroFilter(reset_s=0.5)
    point = np.ones((1, 2), np.float32)
    smooth(point, 0.0, size=10)
    np.testing.assert_array_equal(smooth(9 * point, 0.6, size=10), 9 * point)
    smooth.reset()
    np.testing.assert_array_equal(smooth(5 * point, 0.61, size=10), 5 * point)


def test_refuses_what_makes_no_sense() -> None:
    point = np.zeros((1, 2), np.float32)
    with pytest.raises(ConfigError, match="positive cut-offs"):
        OneEuroFilter(min_cutoff_hz=0)
    smooth = OneEuroFilter()
    smooth(point, 1.0, size=10)
    with pytest.raises(ValueError, match="advance"):
        smooth(point, 1.0, size=10)
    with pytest.raises(ValueError, match="size"):
        smooth(point, 1.1, size=0)
