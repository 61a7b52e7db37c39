"""PERCLOS, and the state of a person."""

import math
from collections import deque
from typing import Literal, final

from canthus.fatigue.events import Event
from canthus.fatigue.settings import FatigueSettings


@final
class Perclos:
    """PERCLOS: share of the last ``window_s`` seconds in which the eyes were at least ``closed`` closed.

    Wierwille et al. (1994) P80: closed by 80 % or more, over a minute.

    Differs: "closed" is relative to the person's own open and shut eyes, and only time in which the eyes could be
    judged counts.

    Args:
        closed: closing that counts as shut, 0 to 1.
        least_s: judged seconds in the window below which the value is NaN.
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
        """Take in the openness of the eyes: 1 for normally open, 0 for shut, NaN if unknown."""
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
            self._judged_s = self._shut_s = 0.0  # clear rounding errors

    def interrupt(self) -> None:
        """Do not count the time until the next frame, because nothing was seen in it."""
        self._last = None

    @property
    def value(self) -> float:
        """Share in the window, 0 to 1; NaN below ``least_s`` of judged time."""
        if self._judged_s < self._least_s:
            return math.nan
        return min(max(self._shut_s / self._judged_s, 0.0), 1.0)

    @property
    def total(self) -> float:
        """Share of the whole judged time; NaN if that is 0."""
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
    """Rate a person as ``alert``, ``tired``, ``asleep`` or ``unknown``.

    The state is ``unknown`` if the eyes could not be judged for ``unknown_s``.  It is ``asleep`` once they were shut
    for ``asleep_s``, until they were open for ``awake_s``.  High PERCLOS, closures, yawns and sleep make it ``tired``,
    for at least ``hold_s``.  Otherwise it is ``alert``.
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
            judged: whether the eyes can be judged in this frame.
            shut_since_s: time at which the eyes closed, or None.
            perclos: PERCLOS of the window, or NaN.
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
        """Time until which the person counts as tired, from PERCLOS, closures and yawns."""
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
