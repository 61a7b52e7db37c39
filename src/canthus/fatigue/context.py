"""What head and mouth do while the lids are low: looking down and laughing are no closures, and talking is no sleep."""

import math
from collections import deque
from dataclasses import dataclass
from typing import final

import numpy as np

from canthus.fatigue.events import LowSpans, Span
from canthus.fatigue.person import Measures
from canthus.fatigue.settings import FatigueSettings

WINDOW_S = 1.5
"""Seconds of head and mouth that are kept."""
STEADY_S = 0.15
"""Seconds over which the pitch is averaged: it trembles, the more where the lids move."""
STILL = 0.4
"""Share of the limits of talking, turning and laughing up to which a face is at rest: its points tremble."""
TOGETHER_S = 0.5
"""A head that goes down at most this many seconds after the lids goes with them; later it sinks in sleep."""
DEEP, LEAST_DEEP = 0.15, 0.5
"""How near shut lids are to where blinks end, in shares of the way to open ones: full evidence of sleep, and none."""
JAW_HZ = 2.0
"""Fastest fall of the ratio of an open mouth in a second."""
HIDDEN_S = 8.0
"""Seconds for which a mouth that was covered while wide open is taken to be open still."""

Spans = tuple[Span | None, Span | None, Span | None]
"""A look down, a laugh and a yawn that ended, each or None."""


@final
class HeadDrop:
    """Follows a head that goes down quickly, and tells one that the eyes follow from one that sinks in sleep.

    A drop begins where the pitch rises by ``look_down`` within ``WINDOW_S``, and ends when half of it is undone.  It is
    *sinking* where the eyes had been shut for more than ``TOGETHER_S`` when it began.

    Attributes:
        since_s: beginning of the drop, or None while the head is up.
        sinking: whether the eyes were shut before.
    """

    def __init__(self, rules: FatigueSettings) -> None:
        self.since_s: float | None = None
        self.sinking = False
        self._rules = rules
        self._past: deque[tuple[float, float]] = deque()
        self._before = self._most = 0.0

    def update(self, time_s: float, pitch: float, shut_since_s: float | None) -> None:
        """Take in the pitch of the head, and the time since when the eyes are shut, or None."""
        self._past.append((time_s, pitch))
        while self._past[0][0] < time_s - WINDOW_S:
            self._past.popleft()
        pitch = float(np.mean([value for t, value in self._past if t > time_s - STEADY_S]))
        if self.since_s is not None:
            self._most = max(self._most, pitch)
            if pitch < (self._before + self._most) / 2:
                self.since_s = None
                self._past.clear()
            return
        # A head that comes back from looking up is not below the normal.
        before = max(float(np.quantile([value for _, value in self._past], 0.25)), 0.0)
        if pitch - before < self._rules.look_down:
            return
        low = before + self._rules.look_down / 3
        self.since_s = next((t for t, value in reversed(self._past) if value < low), self._past[0][0])
        self.sinking = shut_since_s is not None and self.since_s - shut_since_s > TOGETHER_S
        self._before, self._most = before, pitch

    @property
    def sinks(self) -> bool:
        """Whether the head is down, and sank after the eyes had shut."""
        return self.since_s is not None and self.sinking

    @property
    def angle(self) -> float:
        """How far the head went down, in radians."""
        return self._most - self._before

    def interrupt(self) -> None:
        """Forget the drop, because the face is lost."""
        self.since_s = None
        self._past.clear()


@final
@dataclass(frozen=True)
class Doubts:
    """What speaks against sleep while the eyes are shut.

    Attributes:
        look_down: the head went down with the lids.
        laugh: the mouth was broad.
        yawn: it is as wide open as in a yawn.
        moves: how much of the face is not at rest, from 0 to 1: the mouth speaks, yawns or smiles, or the head turns.
    """

    look_down: bool = False
    laugh: bool = False
    yawn: bool = False
    moves: float = 0.0


@final
class YawnWatch:
    """Finds times with a wide open mouth, those that go on behind a hand included.

    A mouth that is covered while it is wide open stays open until it is seen again, if the lids are lowered for half of
    that time, as in a yawn but not in eating; and for ``HIDDEN_S`` at most.  Otherwise the span ends with the cover.

    Attributes:
        opening: of the mouth, which does not fall faster than jaws do: that is a hand that comes.
    """

    def __init__(self, rules: FatigueSettings) -> None:
        self.opening = 0.0
        self._wide = LowSpans(enter=-rules.yawn_opening, leave=-2 / 3 * rules.yawn_opening)
        self._hidden_s = self._lowered_s = 0.0

    @property
    def since_s(self) -> float | None:
        """Time since when the mouth is wide open, or None."""
        return self._wide.open_since_s

    def update(self, time_s: float, step_s: float, mouth: float, *, lowered: bool) -> Span | None:
        """Take in a frame, with NaN for a covered mouth; return the span that ended, or None."""
        if math.isnan(mouth):
            self._hidden_s += step_s
            self._lowered_s += step_s * lowered
            return self.interrupt() if self._hidden_s > HIDDEN_S else None
        ended = self.interrupt() if self._lowered_s < self._hidden_s / 2 else None
        self._hidden_s = self._lowered_s = 0.0
        self.opening = max(mouth, self.opening - JAW_HZ * step_s)
        return self._wide.update(time_s, -self.opening) or ended

    def interrupt(self) -> Span | None:
        """End the span that lasts when the mouth was last seen; return it, or None."""
        self.opening = 0.0
        return self._wide.interrupt()


@final
class Context:
    """Spans of looking down, laughing and yawning, and the doubts about a closure.

    Attributes:
        head: see ``HeadDrop``.
        yawn: see ``YawnWatch``.
    """

    def __init__(self, rules: FatigueSettings) -> None:
        self.head = HeadDrop(rules)
        self.yawn = YawnWatch(rules)
        self._rules = rules
        self._laugh = LowSpans(enter=-rules.laugh, leave=-rules.laugh / 2)
        self._past: deque[tuple[float, float, float, float]] = deque()
        self._down_s = self._narrow_s = self._smile = self._mouth = 0.0
        self._lowered = False
        self._last_s: float | None = None

    @property
    def down_since_s(self) -> float | None:
        """Time since when the person looks down, or None."""
        return self.head.since_s if self.goes_down and self._down_s >= self._rules.lowered_s else None

    @property
    def goes_down(self) -> bool:
        """Whether the head went down otherwise than in sleep, whatever the lids do."""
        return self.head.since_s is not None and not self.head.sinking

    @property
    def laugh_since_s(self) -> float | None:
        """Time since when the person laughs, or None."""
        return self._laugh.open_since_s if self._narrow_s >= self._rules.lowered_s else None

    def update(self, time_s: float, found: Measures, shut_since_s: float | None) -> Spans:
        """Take in a frame; return the look down, the laugh and the yawn that ended with it, each or None."""
        step_s = 0.0 if self._last_s is None else max(time_s - self._last_s, 0.0)  # the first seconds come twice
        self._last_s = time_s
        if math.isfinite(found.lids):  # otherwise as they were seen last: a head far down hides the eyes
            self._lowered = found.lids <= self._rules.lowered
        yawn = self.yawn.update(time_s, step_s, found.mouth, lowered=self._lowered)
        self._mouth = found.mouth if math.isfinite(found.mouth) else self.yawn.opening
        if math.isfinite(found.pitch):
            self._past.append((time_s, self._mouth, found.yaw, found.pitch))
        while self._past and self._past[0][0] < time_s - WINDOW_S:
            self._past.popleft()
        return self._looks_down(time_s, step_s, found, shut_since_s), self._laughs(time_s, step_s, found), yawn

    def _looks_down(self, time_s: float, step_s: float, found: Measures, shut_since_s: float | None) -> Span | None:
        since_s = self.down_since_s
        if found.mouth <= self._rules.yawn_opening:  # a hanging jaw and a covered mouth turn the head model
            self.head.update(time_s, found.pitch, shut_since_s)
        if self.head.since_s is None:
            self._down_s = 0.0
            return self._span(since_s, time_s)
        hidden = math.isnan(found.lids) and time_s - self.head.since_s > self._rules.nod_s
        self._down_s += step_s * (self._lowered or hidden)
        return None

    def _laughs(self, time_s: float, step_s: float, found: Measures) -> Span | None:
        told = self.laugh_since_s is not None
        span = self._laugh.interrupt() if math.isnan(found.smile) else self._laugh.update(time_s, -found.smile)
        self._smile = 0.0 if math.isnan(found.smile) else found.smile
        if self._laugh.open_since_s is None:
            self._narrow_s = 0.0
        else:
            self._narrow_s += step_s * self._lowered
        return span if told else None

    def _span(self, since_s: float | None, end_s: float) -> Span | None:
        return None if since_s is None else Span(since_s, end_s, -self.head.angle)

    def doubts(self, time_s: float, shut_since_s: float) -> Doubts:
        """What speaks against sleep in the closure that began at ``shut_since_s``, until now."""
        head, down_s, laugh_s = self.head, self.down_since_s, self.laugh_since_s
        recent = [row[1:] for row in self._past if row[0] >= max(shut_since_s - 0.3, time_s - 1.0)]
        spread = np.ptp(np.array(recent), axis=0) if len(recent) > 1 else np.zeros(3)
        turns = 0.0 if head.sinks else float(max(spread[1:])) / self._rules.turning
        moves = max(
            float(spread[0]) / self._rules.talk,
            turns,
            self._smile / self._rules.laugh,
            self._mouth / self._rules.yawn_opening,
        )
        looks = head.since_s is not None and not head.sinking and head.since_s < shut_since_s + TOGETHER_S
        return Doubts(
            look_down=down_s is not None or looks,
            laugh=laugh_s is not None,
            yawn=self.yawn.since_s is not None,
            moves=min(max((moves - STILL) / (1 - STILL), 0.0), 1.0),
        )

    def interrupt(self) -> Spans:
        """End what still lasts at its last frame, because the face is lost; return as ``update`` does."""
        down, told = self._span(self.down_since_s, self._last_s or 0.0), self.laugh_since_s is not None
        laugh, yawn = self._laugh.interrupt(), self.yawn.interrupt()
        self.head.interrupt()
        self._past.clear()
        self._down_s = self._narrow_s = 0.0
        self._lowered, self._last_s = False, None
        return down, laugh if told else None, yawn


@final
class ClosureWatch:
    """How much the closure that lasts looks like sleep, and whether it is one at all.

    The evidence is the product of three numbers from 0 to 1: how near the lids are to where the person's blinks end;
    how much of the time the face is at rest; and how well this person's lids are seen at all.  It is 0 while the person
    looks down, laughs or yawns.
    """

    def __init__(self) -> None:
        self._past: deque[tuple[float, float, bool]] = deque(maxlen=8)
        self._since_s: float | None = None
        self._seen_s = self._sum = self._excused_s = 0.0
        self._last_s = 0.0

    @property
    def evidence(self) -> float:
        """Of the closure that lasts, or of the last one."""
        return 0.0 if self.excused or self._seen_s <= 0 else self._sum / self._seen_s

    @property
    def excused(self) -> bool:
        """Whether it is looking down, laughing or yawning, for 40 % of the time or more."""
        return self._excused_s > 0.4 * self._seen_s

    def update(self, time_s: float, since_s: float | None, closing: float, range_: float, *, doubts: Doubts) -> None:
        """Take in a frame.

        Args:
            since_s: time at which the eyes shut, or None while they are open.
            closing: 0 for eyes as far shut as in blinks, 1 for open ones.
            range_: aspect ratio of the open eye minus that of the shut one, in open ones.
            doubts: what speaks against sleep.
        """
        if since_s != self._since_s:
            if self._since_s is not None:
                self._past.append((self._since_s, self.evidence, self.excused))
            self._since_s, self._last_s = since_s, time_s if since_s is None else since_s
            self._seen_s = self._sum = self._excused_s = 0.0
        if since_s is None:
            return
        step_s, self._last_s = time_s - self._last_s, time_s
        deep = min(max((LEAST_DEEP - closing) / (LEAST_DEEP - DEEP), 0.0), 1.0)
        self._seen_s += step_s
        self._sum += step_s * deep * (1 - 0.7 * doubts.moves) * min(max(range_ / 0.4, 0.5), 1.0)
        self._excused_s += step_s * (doubts.look_down or doubts.laugh or doubts.yawn)

    def sleeps(self, time_s: float, least: float) -> bool:
        """Whether the eyes shut before then, in the closure that lasts or the last one, with that much evidence."""
        return self._since_s is not None and self._since_s < time_s and self.evidence >= least

    def judged(self, start_s: float) -> tuple[float, bool]:
        """Evidence of the closure that began then, and whether it is excused."""
        if self._since_s == start_s:
            return self.evidence, self.excused
        return next(((evidence, excused) for since, evidence, excused in self._past if since == start_s), (0.0, False))
