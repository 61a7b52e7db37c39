"""PERCLOS, the level of sleepiness, and the state of a person."""

import math
from collections import deque
from statistics import median
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

USUAL_BLINKS = 10
"""Blinks from which the person's usual length of a blink is learned."""


@final
class Sleepiness:
    """A level of sleepiness from 1 to 9, named after the Karolinska Sleepiness Scale (Akerstedt and Gillberg, 1990).

    ``level = min(9, 1 + (tired_level - 1) * signs)``, and the signs are the sum of

    - ``evidence * (2 + min(length, 4)) / 3 / tired_closures`` for each closure, and 0.5 more if it lasted ``asleep_s``,
      halved every ``half_life_s``,
    - ``1.5 / tired_yawns`` for each yawn, halved every ``yawns_window_s``,
    - ``(perclos - rested_perclos) / (tired_perclos - rested_perclos)``, where it is positive,
    - ``0.5 * (growth - 1.3)``, between 0 and 0.3, where blinks last ``growth`` times as long as the person's first ten.

    Differs: the scale is what people say of themselves; nobody has compared this level with it.
    """

    def __init__(self, settings: FatigueSettings) -> None:
        self._settings = settings
        self._closures = self._yawns = 0.0
        self._time_s = 0.0
        self._first: list[float] = []
        self._recent: deque[tuple[float, float]] = deque()

    @property
    def blink_growth(self) -> float:
        """Median length of the blinks of the last minute over that of the person's first ten; NaN if unknown."""
        if len(self._first) < USUAL_BLINKS or len(self._recent) < USUAL_BLINKS / 2:
            return math.nan
        return median(length_s for _, length_s in self._recent) / median(self._first)

    def note(self, event: Event) -> None:
        """Take in an event that ended."""
        if event.kind == "closure" and event.evidence >= self._settings.evidence:
            self._closures += self._closure_sign(event.duration_s, event.evidence)
        elif event.kind == "yawn":
            self._yawns += 1.5 / self._settings.tired_yawns
        elif event.kind == "blink":
            if len(self._first) < USUAL_BLINKS:
                self._first.append(event.duration_s)
            self._recent.append((event.end_s, event.duration_s))

    def level(self, time_s: float, perclos: float, shut_s: float = 0.0, evidence: float = 0.0) -> float:
        """The level now.

        Args:
            perclos: of the short window, or NaN.
            shut_s: length of the closure that still lasts; 0 for none.
            evidence: how much it looks like sleep.
        """
        rules, step_s = self._settings, time_s - self._time_s
        self._time_s = time_s
        self._closures *= 0.5 ** (step_s / rules.half_life_s)
        self._yawns *= 0.5 ** (step_s / rules.yawns_window_s)
        while self._recent and self._recent[0][0] < time_s - rules.perclos_window_s:
            self._recent.popleft()
        signs = self._closures + self._yawns
        if shut_s > rules.closure_s and evidence >= rules.evidence:
            signs += self._closure_sign(shut_s, evidence)
        if perclos > rules.rested_perclos:  # NaN is not
            signs += (perclos - rules.rested_perclos) / (rules.tired_perclos - rules.rested_perclos)
        growth = self.blink_growth
        if growth > 1.3:
            signs += min(0.5 * (growth - 1.3), 0.3)
        return min(9.0, 1 + (rules.tired_level - 1) * signs)

    def _closure_sign(self, length_s: float, evidence: float) -> float:
        slept = 0.5 if length_s >= self._settings.asleep_s else 0.0
        return evidence * (2 + min(length_s, 4.0)) / 3 / self._settings.tired_closures + slept


@final
class StateMachine:
    """Rate a person as ``alert``, ``tired``, ``asleep`` or ``unknown``.

    The state is ``unknown`` if the eyes could not be judged for ``unknown_s``.  It is ``asleep`` once they were shut
    for ``asleep_s`` with enough evidence of sleep, or such closures add up, until they were open for ``awake_s``.  It
    is ``tired`` from a level of sleepiness of ``tired_level`` until it is below ``rested_level``, for at least
    ``hold_s``.  Otherwise it is ``alert``.

    Attributes:
        level: see ``Sleepiness``; NaN while the state is unknown.
    """

    def __init__(self, settings: FatigueSettings) -> None:
        self.state: State = "unknown"
        self.level = math.nan
        self.sleepiness = Sleepiness(settings)
        self._settings = settings
        self._closures: deque[Event] = deque()
        self._judged_s: float | None = None
        self._opened_s: float | None = None
        self._asleep = self._tired = False
        self._tired_s = -math.inf

    def note(self, event: Event) -> None:
        """Remember an event."""
        self.sleepiness.note(event)
        if event.kind == "closure" and event.evidence >= self._settings.evidence:
            self._closures.append(event)

    def update(
        self,
        time_s: float,
        *,
        judged: bool,
        shut_since_s: float | None,
        perclos: float,
        evidence: float = 1.0,
        sinking: bool = False,
    ) -> State:
        """The state now.

        Args:
            judged: whether the eyes can be judged in this frame.
            shut_since_s: time at which the eyes closed, or None.
            perclos: PERCLOS of the window, or NaN.
            evidence: how much the closure that lasts looks like sleep, 0 to 1.
            sinking: whether the head sank after the eyes had shut; a sleeper whose eyes it hides is still asleep.
        """
        self._judged_s = time_s if judged else self._judged_s
        shut_s = 0.0 if shut_since_s is None else time_s - shut_since_s
        level = self.sleepiness.level(time_s, perclos, shut_s, evidence)
        self.level = level
        if self.state == "asleep" and sinking and not judged:
            self._judged_s = time_s
            return self.state
        if self._judged_s is None or time_s - self._judged_s > self._settings.unknown_s:
            self._asleep, self._opened_s, self.level = False, None, math.nan
            self.state = "unknown"
        elif self._sleeps(time_s, shut_s, evidence, judged=judged):
            self.state = "asleep"
        else:
            rules = self._settings
            if level >= rules.tired_level:
                self._tired, self._tired_s = True, time_s
            elif level < rules.rested_level and time_s >= self._tired_s + rules.hold_s:
                self._tired = False
            self.state = "tired" if self._tired else "alert"
        return self.state

    def _sleeps(self, time_s: float, shut_s: float, evidence: float, *, judged: bool) -> bool:
        if shut_s > 0:
            self._opened_s = None
            self._asleep = self._asleep or self._falls_asleep(time_s, shut_s, evidence)
        elif judged and self._asleep:
            self._opened_s = time_s if self._opened_s is None else self._opened_s
            self._asleep = time_s - self._opened_s < self._settings.awake_s
        return self._asleep

    def _falls_asleep(self, time_s: float, shut_s: float, evidence: float) -> bool:
        """Whether one closure is long enough, or closures of the last time add up."""
        rules = self._settings
        while self._closures and self._closures[0].end_s < time_s - rules.adding_s:
            self._closures.popleft()
        if evidence < rules.evidence or shut_s <= rules.closure_s:
            return False
        added_s = sum(event.duration_s for event in self._closures) + shut_s
        return shut_s >= rules.asleep_s or added_s >= rules.added_s
