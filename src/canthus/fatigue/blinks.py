"""Blinks and closures from the openness of the eyes."""

import math
from collections import deque
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import NamedTuple, final

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
BEFORE_S, AFTER_S = 0.25, 0.3
"""Seconds before and after the lowest frame of a notch in which its height is measured."""
UNREST_S, STEP_S = 1.0, 0.1
"""Seconds before a notch in which the unrest is measured, and between the two frames whose difference it is."""
SHARE, UNRESTS, PER_TURN = 0.75, 1.0, 0.5
"""Least depth of a notch that is a blink: a share of ``blink_dip``, and more for each unit of the unrest before it, and
for each radian that the head turns meanwhile, which moves the points of the lids as well."""
NOTCH_S, NOTCH_FROM, NOTCH_TO = 0.35, 0.12, 0.45
"""Longest notch that is a blink; how far the lids are open before and after it at least, and at its lowest frame at
most: 0 where the person's blinks end, 1 for open eyes."""
ONE_FRAME, LOW = 0.8, 0.8
"""Share of the depth below which a second frame must lie, as single frames err; and how far lids are open below which
one frame will do, because their way is short."""


@final
@dataclass(frozen=True)
class Notch:
    """A quick fall of the lids, from whatever level, and their rise.

    Attributes:
        start_s: time at which the lids passed half of the depth, falling.
        end_s: the same, rising.
        depth: prominence of the lowest frame, in ratios of the open eye: it lies as much below what it fell from within
            ``BEFORE_S`` and below what it rose to within ``AFTER_S``, whichever is less.
        closing: see ``Measures``; of the lowest frame.
        before: the same, of the highest frame before.
        after: the same, of the highest frame after.
        unrest: median change of the ratio within ``STEP_S`` in the second before.
        turn: of the head meanwhile, in radians.
        avr_s: the fall over its peak velocity, in seconds.
        frames: how many lie below ``ONE_FRAME`` of the depth.
    """

    start_s: float
    end_s: float
    depth: float
    closing: float
    before: float
    after: float
    unrest: float
    turn: float
    avr_s: float
    frames: int

    def stands_out(self, rules: FatigueSettings) -> bool:
        """Whether it is short, of several frames, from open to open lids, and deeper than unrest and turn make it."""
        return (
            (self.frames > 1 or self.before < LOW)
            and rules.blink_s / 2 <= self.end_s - self.start_s <= NOTCH_S
            and min(self.before, self.after) >= NOTCH_FROM
            and self.depth >= SHARE * rules.blink_dip + UNRESTS * self.unrest + PER_TURN * self.turn
        )

    def overlaps(self, start_s: float, end_s: float) -> bool:
        """Whether it shares time with a span."""
        return self.start_s < end_s and self.end_s > start_s


@final
class NotchFinder:
    """Finds notches in the height of the upper lids, however low the lids are already."""

    def __init__(self) -> None:
        self._past: deque[Measured] = deque()
        self._judged_s = -math.inf

    def update(self, time_s: float, found: Measures) -> list[Notch]:
        """Take in a frame; return the notches whose lowest frame lies ``AFTER_S`` before it."""
        past = self._past
        past.append(Measured(time_s, found.upper_lids, found.closing, found.yaw, found.pitch))
        while past[0].time_s < time_s - AFTER_S - BEFORE_S - UNREST_S - STEP_S:
            past.popleft()
        due = [i for i, row in enumerate(past) if self._judged_s < row.time_s <= time_s - AFTER_S]
        if not due:
            return []
        self._judged_s = past[due[-1]].time_s
        rows = list(past)
        return [notch for i in due if (notch := _notch(rows, i))]

    def interrupt(self) -> None:
        """Forget what was seen."""
        self._past.clear()


@final
class Measured(NamedTuple):
    """What a notch is found in; see ``Measures``, whose ``upper_lids`` are the ratio."""

    time_s: float
    ratio: float
    closing: float
    yaw: float
    pitch: float


def _notch(rows: list[Measured], at: int) -> Notch | None:
    """The notch whose lowest frame is number ``at``; None if a frame beside it is as low."""
    low = rows[at]
    before = list(takewhile(lambda row: row.ratio > low.ratio and low.time_s - row.time_s <= BEFORE_S, rows[:at][::-1]))
    after = list(takewhile(lambda row: row.ratio >= low.ratio and row.time_s - low.time_s <= AFTER_S, rows[at + 1 :]))
    if not before or not after:
        return None
    high, end = (max(side, key=lambda row: row.ratio) for side in (before, after))
    fall = high.ratio - low.ratio
    depth = min(fall, end.ratio - low.ratio)
    if depth <= 0:
        return None
    half = low.ratio + depth / 2
    start_s = _passes(low, before, half)
    inside = [row for row in rows if high.time_s <= row.time_s <= end.time_s]
    falling = inside[: inside.index(low) + 1]
    heads = np.array([(row.yaw, row.pitch) for row in inside])
    return Notch(
        start_s,
        _passes(low, after, half),
        depth,
        low.closing,
        high.closing,
        end.closing,
        unrest=_unrest(rows, start_s),
        turn=float(np.hypot(*np.ptp(heads, axis=0))),
        avr_s=fall / max((a.ratio - b.ratio) / (b.time_s - a.time_s) for a, b in pairwise(falling)),
        frames=sum(row.ratio < low.ratio + ONE_FRAME * depth for row in inside),
    )


def _passes(low: Measured, side: list[Measured], level: float) -> float:
    """Time at which the ratio passes a level for the first time on the way from the lowest frame."""
    inner, outer = next((a, b) for a, b in pairwise([low, *side]) if b.ratio >= level)
    return crossing(inner[:2], outer[:2], level)


def _unrest(rows: list[Measured], start_s: float) -> float:
    recent = np.array([row[:2] for row in rows if start_s - UNREST_S <= row.time_s < start_s - STEP_S / 2])
    if len(recent) < 3:
        return 0.0
    apart = max(1, round(STEP_S / float(np.median(np.diff(recent[:, 0])))))
    changes = np.abs(recent[apart:, 1] - recent[:-apart, 1])
    return float(np.median(changes)) if len(changes) else 0.0


@final
class LidWatch:
    """Finds blinks and closures.

    A *dip* begins where the aspect ratio of the eyes falls quickly below its level of the last second, by ``blink_dip``
    or by several times the noise, or where the openness falls to ``shut``.  A short and deep dip of two frames or more
    is a blink.  A shallow one is a blink if it is quick too, the person neither looks down nor laughs, and a ``Notch``
    of the upper lids stands out in it.  Where there is no such dip, as the lids are low already or the head is turned,
    a notch alone is a blink if the lids come far down in it.  Within a long dip, times with an openness of at most
    ``shut`` are closures, because eyes also narrow in laughing and reading.

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
        self._notches = NotchFinder()
        self._held: list[Notch] = []
        self._blink_s = (-math.inf, -math.inf)
        self._shallow: tuple[Event, float] | None = None

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
            events += [event for notch in self._held for event in self._blink(notch)]
            self._held.clear()
        return events

    def interrupt(self) -> list[Event]:
        """End what still lasts at its last frame, because the face is lost; return the events."""
        events = self._end()
        self._notches.interrupt()
        self._held.clear()
        return events

    def _seek_notch(self, time_s: float, found: Measures) -> None:
        if math.isnan(found.turned_lids):
            self._notches.interrupt()
            return
        self._held += [notch for notch in self._notches.update(time_s, found) if notch.stands_out(self._rules)]

    def _blink(self, notch: Notch) -> list[Event]:
        """The blink that a notch shows, if it is not known already: a shallow dip, or one of low lids."""
        if notch.overlaps(*self._blink_s):
            return []
        if self._shallow and notch.overlaps(self._shallow[0].start_s, self._shallow[0].end_s):
            event, ratio = self._shallow
            self._blink_s = (event.start_s, event.end_s)
            self.blink_ratios.append(ratio)
            return [event]
        if notch.closing > NOTCH_TO:
            return []
        return [Event("blink", notch.start_s, notch.end_s, _depth(notch.closing), avr_s=notch.avr_s)]

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
            blink = Event("blink", dip.start_s, dip.end_s, _depth(openness), avr_s=avr_s)
            if blink.peak < DEEP:
                self._shallow = None if slow else (blink, self._least_ratio)
                return []
            self._blink_s = (dip.start_s, dip.end_s)
            self.blink_ratios.append(self._least_ratio)
            return [blink]
        spans = [span for span in shut if span.duration_s > self._rules.closure_s]
        return [Event("closure", span.start_s, span.end_s, _depth(span.lowest)) for span in spans]


def _depth(lowest: float) -> float:
    return min(max(1 - lowest, 0.0), 1.0)
