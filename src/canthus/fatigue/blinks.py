"""Blinks and closures from the openness of the eyes."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np

from canthus.fatigue.events import Event, LowSpans, Span, crossing
from canthus.fatigue.person import Measures
from canthus.fatigue.settings import FatigueSettings

LEVEL_RISE_S, LEVEL_FALL_S = 0.3, 1.0
"""Time constants, in seconds, of the level from which the depth of a quick dip is measured."""
NOISE_S = 5.0
"""Time constant, in seconds, of the noise around that level."""
DEEP, SLOW_S = 0.7, 0.1
"""Depth of a blink that may fall slowly, and amplitude over peak velocity, in seconds, of a slow fall."""
FIRST_NOISE = 0.02
"""Noise assumed at the start."""
BEFORE_S, UNREST_S = 0.25, 1.0
"""Seconds before the lowest frame of a notch in which its fall begins, and before it, in which unrest is measured."""
STEP_S = 0.1
"""Seconds between the two frames whose difference is the unrest."""
RETURNED = 0.6
"""Share of the fall that is undone at the end of a notch."""
UNRESTS, PER_TURN = 3.0, 0.25
"""Least fall of a notch that is a blink, in units of the unrest before it, and how much more it is for each radian that
the head turns meanwhile, which moves the points of the lids as well."""
NOTCH_S, NOTCH_FROM, NOTCH_TO = 0.35, 0.1, 0.35
"""Longest notch that is a blink; how far the lids are open before it at least, and at its lowest frame at most: 0 where
the person's blinks end, 1 for open eyes."""


@final
@dataclass(frozen=True)
class Notch:
    """A quick fall of the lids, from whatever level, of which half is undone within the length of a blink.

    Attributes:
        start_s: time at which half of the fall was done.
        end_s: time at which half of it was undone.
        closing: see ``Measures``; of the lowest frame.
        before: the same, just before.
        fall: from the highest aspect ratio just before to the lowest, in open eyes.
        unrest: median change of the ratio within ``STEP_S`` in the second before.
        turn: of the head meanwhile, in radians.
        avr_s: the fall over its peak velocity, in seconds.
        frames: how many lie in its lower four fifths.
    """

    start_s: float
    end_s: float
    closing: float
    before: float
    fall: float
    unrest: float
    turn: float
    avr_s: float
    frames: int

    def is_blink(self, rules: FatigueSettings, *, least: float, step_s: float) -> bool:
        """Whether it is quick, short and deep, falls by ``least``, and by more than the unrest before it.

        Args:
            step_s: seconds between two frames: a fall is seen to last as long.
        """
        return (
            self.frames > 1
            and rules.blink_s / 2 <= self.end_s - self.start_s <= NOTCH_S
            and self.fall >= max(least, UNRESTS * self.unrest) + PER_TURN * self.turn
            and self.before >= NOTCH_FROM
            and self.closing <= NOTCH_TO
            and self.avr_s <= max(SLOW_S, 2.1 * step_s)
        )


@final
class NotchFinder:
    """Finds notches in the aspect ratio of the eyes, however low the lids are already.

    Args:
        least: smallest fall.
        longest_s: time from the lowest frame until half of the fall is undone.
    """

    def __init__(self, *, least: float, longest_s: float) -> None:
        self._least, self._longest_s = least, longest_s
        self._past: list[tuple[float, float, float, float, float]] = []
        self._done_s = -math.inf

    def update(self, time_s: float, found: Measures) -> Notch | None:
        """Take in a frame; return the notch that ended with it, or None."""
        past, ratio = self._past, found.turned_lids
        past.append((time_s, ratio, found.closing, found.yaw, found.pitch))
        while past[0][0] < time_s - self._longest_s - UNREST_S - BEFORE_S:
            past.pop(0)
        since_s = max(self._done_s, time_s - self._longest_s)
        bottom = min((i for i, row in enumerate(past) if row[0] > since_s), key=lambda i: past[i][1])
        before = [i for i in range(bottom) if past[i][0] > max(self._done_s, past[bottom][0] - BEFORE_S)]
        if not before or min(past[i][1] for i in before) < past[bottom][1]:
            return None
        top = max(before, key=lambda i: past[i][1])
        fall = past[top][1] - past[bottom][1]
        if fall < self._least or ratio < past[bottom][1] + RETURNED * fall:
            return None
        notch = self._notch(top, bottom)
        self._done_s = notch.end_s
        return notch

    def _notch(self, top: int, bottom: int) -> Notch:
        past = self._past
        low, fall = past[bottom][1], past[top][1] - past[bottom][1]
        half = low + fall / 2
        falling = [(a, b) for a, b in pairwise(past[top : bottom + 1]) if a[1] > half >= b[1]]
        rising = [(a, b) for a, b in pairwise(past[bottom:]) if a[1] < half <= b[1]]
        start_s, end_s = (crossing(a[:2], b[:2], half) for a, b in (falling[-1], rising[0]))
        speed = max((a[1] - b[1]) / (b[0] - a[0]) for a, b in pairwise(past[top : bottom + 1]))
        frames = sum(row[1] < low + 0.8 * fall for row in past[top:])
        heads = np.array([row[3:] for row in past if row[0] >= start_s - STEP_S])
        return Notch(
            start_s,
            end_s,
            closing=past[bottom][2],
            before=past[top][2],
            fall=fall,
            unrest=self._unrest(start_s),
            turn=float(np.hypot(*np.ptp(heads, axis=0))),
            avr_s=fall / speed,
            frames=frames,
        )

    def _unrest(self, start_s: float) -> float:
        rows = np.array([row[:2] for row in self._past if start_s - UNREST_S <= row[0] < start_s - STEP_S / 2])
        if len(rows) < 3:
            return 0.0
        apart = max(1, round(STEP_S / float(np.median(np.diff(rows[:, 0])))))
        changes = np.abs(rows[apart:, 1] - rows[:-apart, 1])
        return float(np.median(changes)) if len(changes) else 0.0

    def interrupt(self) -> None:
        """Forget what was seen."""
        self._past.clear()


@final
class LidWatch:
    """Finds blinks and closures.

    A *dip* begins where the aspect ratio of the eyes falls quickly below its level of the last second, by ``blink_dip``
    or by several times the noise, or where the openness falls to ``shut``.  A short dip is a blink, deep or shallow.
    A dip of a single frame is not a blink, and neither is one that is shallow and slow or long, or shallow while the
    person looks down or laughs.  Within a long dip, times with an openness of at most ``shut`` are closures, because
    eyes also narrow in laughing and reading, and a ``Notch`` is a blink: its fall counts from the lids just before.  So
    it is while the head is turned.

    Attributes:
        blink_ratios: lowest aspect ratios of the blinks of open eyes, since the list was last cleared.
    """

    def __init__(self, rules: FatigueSettings) -> None:
        self._rules = rules
        self._dips = LowSpans(enter=rules.shut, leave=rules.reopen)
        self._shut = LowSpans(enter=rules.shut, leave=rules.reopen)
        self._shut_spans: list[Span] = []
        self._level = math.nan
        self._noise = FIRST_NOISE
        self._frames = 0
        self._least_openness = self._least_ratio = math.inf
        self.blink_ratios: list[float] = []
        self._speed = self._step_s = 0.0
        self._lowered = False
        self._last: tuple[float, float] | None = None
        self._notches = NotchFinder(least=rules.blink_dip, longest_s=rules.closure_s)
        self._seen_s = -math.inf
        self._held: list[Event] = []
        self._blink_s = -math.inf

    @property
    def shut_since_s(self) -> float | None:
        """Time at which the eyes closed, in seconds, or None while they are open."""
        return self._shut.open_since_s

    def update(self, time_s: float, found: Measures, *, lowered: bool = False) -> list[Event]:
        """Take in a frame; return the events that ended with it.

        Args:
            found: measures of the frame.
            lowered: whether the person looks down or laughs.
        """
        self._lowered = lowered
        self._seek_notch(time_s, found)
        events = self._end() if math.isnan(found.openness) else self._dip(time_s, found.lids, found.openness)
        since_s = self._dips.open_since_s
        if since_s is None or time_s - since_s > self._rules.closure_s:
            events += [event for event in self._held if event.start_s >= self._blink_s]
            self._held.clear()
        return events

    def interrupt(self) -> list[Event]:
        """End what still lasts at its last frame, because the face is lost; return the events."""
        events = self._end()
        self._notches.interrupt()
        self._held.clear()
        return events

    def _seek_notch(self, time_s: float, found: Measures) -> None:
        step_s, self._seen_s = time_s - self._seen_s, time_s
        if math.isnan(found.turned_lids):
            self._notches.interrupt()
            return
        notch = self._notches.update(time_s, found)
        if notch and notch.is_blink(self._rules, least=self._least_fall(), step_s=step_s):
            self._held.append(Event("blink", notch.start_s, notch.end_s, _depth(notch.closing), avr_s=notch.avr_s))

    def _dip(self, time_s: float, ratio: float, openness: float) -> list[Event]:
        """Take in a frame in which the eyes are judged."""
        self._step_s = math.inf if self._last is None else time_s - self._last[0]
        shut = self._shut.update(time_s, openness)
        if shut:
            self._shut_spans.append(shut)
        dip = self._dips.update(time_s, min(openness, self._quickly(ratio)))
        events = self._events(dip)
        fall = 0.0 if self._last is None else (self._last[1] - ratio) / (time_s - self._last[0])
        if self._dips.open_since_s is not None:
            self._least_ratio = ratio if self._frames == 0 else min(self._least_ratio, ratio)
            self._frames += 1
            self._least_openness = min(self._least_openness, openness)
            self._speed = max(self._speed, fall)
        self._follow(time_s, ratio, openness)
        return events

    def _end(self) -> list[Event]:
        """End what still lasts at its last frame, because the eyes cannot be judged."""
        shut = self._shut.interrupt()
        if shut:
            self._shut_spans.append(shut)
        self._level, self._last = math.nan, None
        return self._events(self._dips.interrupt())

    def _quickly(self, ratio: float) -> float:
        """Fall below the level, scaled so that the smallest fall of a blink gives ``shut``."""
        if math.isnan(self._level):
            return math.inf
        return 1 - (1 - self._rules.shut) * (self._level - ratio) / self._least_fall()

    def _least_fall(self) -> float:
        return min(max(self._rules.blink_dip, self._rules.blink_noise * self._noise), 0.25)

    def _follow(self, time_s: float, ratio: float, openness: float) -> None:
        """Update level and noise, except during a blink or with shut eyes."""
        step_s = 0.0 if self._last is None else time_s - self._last[0]
        self._last = (time_s, ratio)
        since_s = self._dips.open_since_s
        if since_s is not None and (time_s - since_s < self._rules.closure_s or openness <= self._rules.reopen):
            return
        if math.isnan(self._level):
            self._level = ratio
            return
        away = ratio - self._level
        self._level += away * -math.expm1(-step_s / (LEVEL_RISE_S if away > 0 else LEVEL_FALL_S))
        if since_s is None:
            self._noise += (abs(away) - self._noise) * -math.expm1(-step_s / NOISE_S)

    def _events(self, dip: Span | None) -> list[Event]:
        """Events of a dip that ended."""
        if dip is None:
            return []
        frames, openness, shut = self._frames, self._least_openness, self._shut_spans
        avr_s = (self._level - self._least_ratio) / self._speed if self._speed > 0 else math.nan
        self._frames, self._least_openness, self._shut_spans, self._speed = 0, math.inf, [], 0.0
        if dip.duration_s <= self._rules.closure_s:
            if frames < 2 or dip.duration_s < self._rules.blink_s or not dip.begun:
                return []
            # Between two frames a fall is seen to last as long as they are apart.
            slow = self._lowered or avr_s > max(SLOW_S, 2.1 * self._step_s) or dip.duration_s > NOTCH_S
            if slow and _depth(openness) < DEEP:
                return []
            self._blink_s = dip.end_s
            self.blink_ratios.append(self._least_ratio)
            return [Event("blink", dip.start_s, dip.end_s, _depth(openness), avr_s=avr_s)]
        spans = [span for span in shut if span.duration_s > self._rules.closure_s]
        return [Event("closure", span.start_s, span.end_s, _depth(span.lowest)) for span in spans]


def _depth(lowest: float) -> float:
    return min(max(1 - lowest, 0.0), 1.0)
