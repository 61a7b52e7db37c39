"""The One-Euro filter for landmarks: little jitter at rest, little lag in motion."""

import math
from typing import final

import numpy as np
from jaxtyping import Float32, Float64

from canthus.errors import ConfigError


def smoothing_share(cutoff_hz: float, step_s: float) -> float:
    """Weight of the newest value in exponential smoothing, ``1 / (1 + tau / step)``, ``tau = 1 / (2 pi cutoff)``.

    Casiez, Roussel and Vogel (2012), "1 euro filter", eq. 3 and 4.
    """
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * step_s))


@final
class OneEuroFilter:
    """Smooth the points of one face.

    Casiez, Roussel and Vogel (2012): exponential smoothing whose cut-off rises with the speed,
    ``cutoff = min_cutoff + beta * speed`` (eq. 5), the speed being smoothed with a cut-off of its own.

    Differs: the speed is that of the point in the plane, not of x and y alone, so that turning the picture turns the
    result; and it is divided by the size of the face, so that one setting fits near and far faces.  Coordinates stay in
    pixels, because a jittering size would move points that are far from the corner of the picture.

    Args:
        min_cutoff_hz: cut-off at rest; lower values give less jitter and more lag.
        beta: increase of the cut-off in Hz for a speed of one face size a second; higher values give less lag.
        derivative_cutoff_hz: cut-off for smoothing the speed.
        reset_s: the filter restarts after a gap longer than this.

    Raises:
        ConfigError: a cut-off or the gap is not positive, or ``beta`` is negative.
    """

    def __init__(
        self, *, min_cutoff_hz: float = 0.5, beta: float = 30.0, derivative_cutoff_hz: float = 4.0, reset_s: float = 0.5
    ) -> None:
        if min(min_cutoff_hz, derivative_cutoff_hz, reset_s) <= 0 or beta < 0:
            raise ConfigError(
                f"Expected positive cut-offs and gap and beta >= 0; found {min_cutoff_hz}, {derivative_cutoff_hz}, "
                f"{reset_s} and {beta}"
            )
        self.min_cutoff_hz = min_cutoff_hz
        self.beta = beta
        self.derivative_cutoff_hz = derivative_cutoff_hz
        self.reset_s = reset_s
        self._last: tuple[Float64[np.ndarray, "k 2"], Float64[np.ndarray, "k 2"], float] | None = None

    def __call__(self, points: Float32[np.ndarray, "k 2"], time_s: float, *, size: float) -> Float32[np.ndarray, "k 2"]:
        """Smoothed points of a frame; ``points`` and ``size``, the size of the face, are in pixels.

        Raises:
            ValueError: the time did not advance, or the size is not positive.
        """
        if not size > 0:
            raise ValueError(f"Expected a positive size of the face, found {size}")
        measured = points.astype(np.float64)
        if self._last is not None and not time_s > self._last[2]:
            raise ValueError(f"Time must advance: {time_s} s after {self._last[2]} s")
        if self._last is None or time_s - self._last[2] > self.reset_s:
            self._last = (measured, np.zeros_like(measured), time_s)
            return points
        before, velocity, last_s = self._last
        step_s = time_s - last_s
        share = smoothing_share(self.derivative_cutoff_hz, step_s)
        velocity = velocity + share * ((measured - before) / (step_s * size) - velocity)
        speed = np.linalg.norm(velocity, axis=1, keepdims=True)
        cutoff = self.min_cutoff_hz + self.beta * speed
        shares = 1 / (1 + 1 / (2 * np.pi * cutoff * step_s))
        smoothed = before + shares * (measured - before)
        self._last = (smoothed, velocity, time_s)
        return np.asarray(smoothed, dtype=np.float32)

    def reset(self) -> None:
        """Restart the filter, as after a cut in the video."""
        self._last = None
