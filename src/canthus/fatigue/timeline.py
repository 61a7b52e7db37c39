"""The course of a run in bounded memory, for plots."""

import math
from collections.abc import Callable
from typing import final

from canthus.fatigue.monitor import Status
from canthus.fatigue.state import State

MOST_POINTS = 20_000
"""More than a plot can show; beyond it, neighbours are merged."""


@final
class Timeline:
    """Openness, mouth, PERCLOS and state over time.

    Frames go into bins of ``step_s``; when there are too many, neighbouring bins merge.  A bin keeps what matters: the
    lowest openness, the widest mouth, the last PERCLOS.

    Attributes:
        step_s: length of a bin.
        times_s: of each bin's first frame.
        openness: lowest of each bin; NaN where the eyes were never judged.
        mouth: highest of each bin.
        perclos: last of each bin.
        changes: when the state became what.
    """

    def __init__(self, *, step_s: float = 0.02, most: int = MOST_POINTS) -> None:
        self.step_s = step_s
        self.times_s: list[float] = []
        self.openness: list[float] = []
        self.mouth: list[float] = []
        self.perclos: list[float] = []
        self.changes: list[tuple[float, State]] = []
        self._most = most

    def add(self, status: Status) -> None:
        """Take in the next frame."""
        if not self.changes or self.changes[-1][1] != status.state:
            self.changes.append((status.time_s, status.state))
        openness, mouth = status.measures.openness, status.measures.mouth
        if self.times_s and status.time_s - self.times_s[-1] < self.step_s - 1e-6:
            self.openness[-1] = _known(min, self.openness[-1], openness)
            self.mouth[-1] = _known(max, self.mouth[-1], mouth)
            self.perclos[-1] = status.perclos
            return
        for values, value in ((self.times_s, status.time_s), (self.openness, openness), (self.mouth, mouth)):
            values.append(value)
        self.perclos.append(status.perclos)
        if len(self.times_s) >= self._most:
            self._merge()

    def _merge(self) -> None:
        self.step_s *= 2
        pairs = range(0, len(self.times_s) - 1, 2)
        self.openness = [_known(min, self.openness[i], self.openness[i + 1]) for i in pairs]
        self.mouth = [_known(max, self.mouth[i], self.mouth[i + 1]) for i in pairs]
        self.perclos = [self.perclos[i + 1] for i in pairs]
        self.times_s = [self.times_s[i] for i in pairs]


def _known(choose: Callable[[float, float], float], a: float, b: float) -> float:
    """``choose`` of two numbers, of which either may be NaN."""
    if math.isnan(a):
        return b
    return a if math.isnan(b) else choose(a, b)
