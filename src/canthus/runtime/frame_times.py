"""Times of frames from the stamps of a file, which may be missing, repeat, run backwards or be damaged."""

from collections import deque
from collections.abc import Iterable, Iterator
from statistics import median
from typing import TypeVar, final

Item = TypeVar("Item")

LEAST_STEP_S = 1e-4
"""Step between two frames whose stamps do not advance."""
LONGEST_PAUSE_S = 6 * 3600.0
"""A stamp further ahead than this is damaged: no pause of a recording is as long, and MP4 cannot store it."""
STRAY_S = 1.0
"""A single stamp further ahead than this is damaged if the next frame is back in line."""
JITTER_STEPS = 2.5
"""Stamps that fall back by no more usual steps than these are out of order; beyond, the clock was set back."""


@final
class FrameTimes:
    """Give each frame a time in seconds that starts at 0 and always advances.

    A frame without a stamp follows the last one by the usual step, the median of the steps before. So does a frame
    whose stamp is damaged, and the first frame after the stamps started again, as where two recordings were joined.

    Args:
        step_s: usual step until a few frames were seen.

    Attributes:
        restarts: how often the stamps started again at an earlier time.
        damaged: number of stamps that were not used, because they were far from those around them.
        widest: start and end of the longest step between two frames in seconds, and None before the second frame.
    """

    def __init__(self, step_s: float) -> None:
        self.restarts = 0
        self.damaged = 0
        self.widest: tuple[float, float] | None = None
        self._steps: deque[float] = deque([step_s], maxlen=25)
        self._last_s: float | None = None
        self._shift_s = 0.0

    def __call__(self, stamped: Iterable[tuple[Item, float | None]]) -> Iterator[tuple[Item, float]]:
        """Yield each item with its time; one item is held back, because its successor tells whether its stamp fits.

        Args:
            stamped: frames in order, each with its stamp in seconds or None.
        """
        held: tuple[Item, float | None] | None = None
        for item, stamp in stamped:
            if held is not None:
                yield held[0], self._time(held[1], stamp)
            held = item, stamp
        if held is not None:
            yield held[0], self._time(held[1], None)

    @property
    def step_s(self) -> float:
        """The usual step."""
        return median(self._steps)

    def _time(self, stamp: float | None, following: float | None) -> float:
        if self._last_s is None:
            self._start(stamp, following)
            self._last_s = 0.0
            return 0.0
        last_s, next_s = self._last_s, None if following is None else following + self._shift_s
        step_s = self._step(last_s, None if stamp is None else stamp + self._shift_s, next_s)
        self._last_s = last_s + step_s
        if self.widest is None or step_s > self.widest[1] - self.widest[0]:
            self.widest = last_s, self._last_s
        return self._last_s

    def _start(self, stamp: float | None, following: float | None) -> None:
        """Count from the first stamp, or from the second where the first does not fit to it."""
        if stamp is None:
            return
        if following is not None and not -STRAY_S <= following - stamp <= LONGEST_PAUSE_S:
            self.damaged += 1
            stamp = following - self.step_s
        self._shift_s = -stamp

    def _step(self, last_s: float, time_s: float | None, next_s: float | None) -> float:
        """Step from the last frame to one at ``time_s`` by its stamp, whose successor is at ``next_s`` by its own."""
        usual_s = self.step_s
        if time_s is None:
            return usual_s
        ahead_s = time_s - last_s
        in_line = next_s is not None and last_s < next_s <= last_s + LONGEST_PAUSE_S
        far = ahead_s > max(STRAY_S, JITTER_STEPS * usual_s)
        if in_line and next_s is not None and (ahead_s <= 0 or (far and next_s < time_s)):
            self.damaged += far or ahead_s < -max(STRAY_S, JITTER_STEPS * usual_s)
            return min(usual_s, (next_s - last_s) / 2)
        if 0 < ahead_s <= LONGEST_PAUSE_S:
            self._steps.append(ahead_s)
            return max(ahead_s, LEAST_STEP_S)
        if -JITTER_STEPS * usual_s <= ahead_s <= 0:
            return LEAST_STEP_S
        self.damaged += ahead_s > 0
        self.restarts += ahead_s < 0
        self._shift_s += usual_s - ahead_s
        return usual_s
