"""PERCLOS and the state of a person over the last minutes."""

import math
from collections import deque
from typing import Literal, final

from canthus.fatigue.events import Event
from canthus.fatigue.settings import FatigueSettings


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


State = Literal["alert", "tired", "asleep", "unknown"]


@final
class StateMachine:
    """``alert``, ``tired``, ``asleep`` or ``unknown``.

    ``unknown`` where the eyes have not been judged for ``unknown_s``; ``asleep`` once they were shut for ``asleep_s``,
    until they were open for ``awake_s``; ``tired`` from PERCLOS, closures, yawns, or sleep, for at least ``hold_s``.
    """

    def __init__(self, settings: FatigueSettings) -> None:
        self.state: State = "unknown"
        self._settings = settings
        self._closures: deque[float] = deque()
        self._yawns: deque[float] = deque()
        self._judged_s: float | None = None
        self._opened_s: float | None = None
        self._asleep = False
        self._perclos_high = False
        self._tired_until_s = float("-inf")

    def note(self, event: Event) -> None:
        """Remember a closure or yawn."""
        if event.kind == "closure":
            self._closures.append(event.end_s)
        if event.kind == "yawn":
            self._yawns.append(event.end_s)

    def update(self, time_s: float, *, judged: bool, shut_since_s: float | None, perclos: float) -> State:
        """The state now.

        Args:
            time_s: now.
            judged: whether the eyes can be judged in this frame.
            shut_since_s: since when the eyes are shut, or None.
            perclos: of the window, NaN if there is none.
        """
        self._judged_s = time_s if judged else self._judged_s
        if self._judged_s is None or time_s - self._judged_s > self._settings.unknown_s:
            self._asleep, self._opened_s = False, None
            self.state = "unknown"
        elif self._sleeps(time_s, judged=judged, shut_since_s=shut_since_s):
            self._tired_until_s = time_s + self._settings.hold_s
            self.state = "asleep"
        else:
            self._tired_until_s = max(self._tired_until_s, self._tired_for(time_s, perclos))
            self.state = "tired" if time_s < self._tired_until_s else "alert"
        return self.state

    def _sleeps(self, time_s: float, *, judged: bool, shut_since_s: float | None) -> bool:
        if shut_since_s is not None:
            self._opened_s = None
            self._asleep = self._asleep or time_s - shut_since_s >= self._settings.asleep_s
        elif judged and self._asleep:
            self._opened_s = time_s if self._opened_s is None else self._opened_s
            self._asleep = time_s - self._opened_s < self._settings.awake_s
        return self._asleep

    def _tired_for(self, time_s: float, perclos: float) -> float:
        """Until when what is known now makes tired."""
        rules = self._settings
        _forget(self._closures, time_s - rules.perclos_window_s)
        _forget(self._yawns, time_s - rules.yawns_window_s)
        level = rules.rested_perclos if self._perclos_high else rules.tired_perclos
        self._perclos_high = perclos >= level  # NaN is not
        many = len(self._closures) >= rules.tired_closures or len(self._yawns) >= rules.tired_yawns
        return time_s + rules.hold_s if self._perclos_high or many else float("-inf")


def _forget(times: deque[float], before_s: float) -> None:
    while times and times[0] < before_s:
        times.popleft()
