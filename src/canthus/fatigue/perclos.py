"""PERCLOS: the share of time with shut eyes in a sliding window."""

import math
from collections import deque
from typing import final


@final
class Perclos:
    """Share of the last ``window_s`` seconds during which the eyes were at least ``closed`` closed.

    Wierwille et al. (1994) P80: closed by 80 % or more, over a minute.

    Differs: "closed" is taken against the person's own open and shut eye, and only time in which the eyes could be
    judged counts.

    Args:
        window_s: length of the window.
        closed: share of closing that counts as shut.
        least_s: below this much judged time in the window there is no answer.
    """

    def __init__(self, *, window_s: float = 60.0, closed: float = 0.8, least_s: float = 15.0) -> None:
        self._window_s, self._closed, self._least_s = window_s, closed, least_s
        self._steps: deque[tuple[float, float, float]] = deque()
        self._judged_s = 0.0
        self._shut_s = 0.0
        self._last: tuple[float, float] | None = None
        self.total_judged_s = 0.0
        self.total_shut_s = 0.0

    def update(self, time_s: float, openness: float) -> None:
        """Take in how far the eyes are open: 1 as usual, 0 shut; NaN where that cannot be judged."""
        last = self._last
        self._last = (time_s, openness) if math.isfinite(openness) else None
        if last is not None and self._last is not None:
            step_s = time_s - last[0]
            shut_s = step_s * _share_below(last[1], openness, 1 - self._closed)
            self._steps.append((time_s, step_s, shut_s))
            self._judged_s += step_s
            self._shut_s += shut_s
            self.total_judged_s += step_s
            self.total_shut_s += shut_s
        while self._steps and self._steps[0][0] <= time_s - self._window_s:
            _, step_s, shut_s = self._steps.popleft()
            self._judged_s -= step_s
            self._shut_s -= shut_s
        if not self._steps:
            self._judged_s = self._shut_s = 0.0  # what rounding left

    @property
    def value(self) -> float:
        """Share in the window, 0 to 1; NaN below ``least_s`` of judged time."""
        if self._judged_s < self._least_s:
            return math.nan
        return min(max(self._shut_s / self._judged_s, 0.0), 1.0)

    @property
    def total(self) -> float:
        """Share of all judged time; NaN if there was none."""
        return self.total_shut_s / self.total_judged_s if self.total_judged_s > 0 else math.nan


def _share_below(a: float, b: float, level: float) -> float:
    """Share of the line from ``a`` to ``b`` that lies at or below ``level``."""
    low, high = min(a, b), max(a, b)
    if high <= level:
        return 1.0
    if low > level:
        return 0.0
    return (level - low) / (high - low)
