"""Blinks and closures from the openness of the eyes."""

import math
from typing import final

from canthus.fatigue.events import Event, LowSpans, Span
from canthus.fatigue.settings import FatigueSettings

LEVEL_RISE_S, LEVEL_FALL_S = 0.3, 1.0
"""Time constants, in seconds, of the level from which the depth of a quick dip is measured."""
NOISE_S = 5.0
"""Time constant, in seconds, of the noise around that level."""
DEEP, SLOW_S = 0.7, 0.1
"""Depth of a blink that may fall slowly, and amplitude over peak velocity, in seconds, of a slow fall."""
FIRST_NOISE = 0.02
"""Noise assumed at the start."""


@final
class LidWatch:
    """Finds blinks and closures.

    A *dip* begins where the aspect ratio of the eyes falls quickly below its level of the last second, by ``blink_dip``
    or by several times the noise, or where the openness falls to ``shut``.  A short dip is a blink, deep or shallow.
    Within a long dip, only times with an openness of at most ``shut`` are events, because eyes also narrow in laughing
    and reading.  A dip of a single frame is not a blink, and neither is one that is shallow and slow.  Within a long
    dip, and while the person looks down or laughs, only deep ones are.

    Attributes:
        least_ratio: lowest aspect ratio of the dip that lasts, or of the last one.
    """

    def __init__(self, rules: FatigueSettings) -> None:
        self._rules = rules
        self._dips = LowSpans(enter=rules.shut, leave=rules.reopen)
        self._shut = LowSpans(enter=rules.shut, leave=rules.reopen)
        self._shut_spans: list[Span] = []
        self._level = math.nan
        self._noise = FIRST_NOISE
        self._frames = 0
        self._least_openness = self.least_ratio = math.inf
        self._speed = self._step_s = 0.0
        self._lowered = False
        self._last: tuple[float, float] | None = None

    @property
    def shut_since_s(self) -> float | None:
        """Time at which the eyes closed, in seconds, or None while they are open."""
        return self._shut.open_since_s

    def update(self, time_s: float, ratio: float, openness: float, *, lowered: bool = False) -> list[Event]:
        """Take in a frame; return the events that ended with it.

        Args:
            ratio: aspect ratio of the eyes over that of the person's open eyes.
            openness: relative to the person's normal, 1 for open and 0 for shut.
            lowered: whether the person looks down or laughs.
        """
        self._lowered = lowered
        self._step_s = math.inf if self._last is None else time_s - self._last[0]
        shut = self._shut.update(time_s, openness)
        if shut:
            self._shut_spans.append(shut)
        dip = self._dips.update(time_s, min(openness, self._quickly(ratio)))
        events = self._events(dip)
        fall = 0.0 if self._last is None else (self._last[1] - ratio) / (time_s - self._last[0])
        if self._dips.open_since_s is not None:
            self.least_ratio = ratio if self._frames == 0 else min(self.least_ratio, ratio)
            self._frames += 1
            self._least_openness = min(self._least_openness, openness)
            self._speed = max(self._speed, fall)
        self._follow(time_s, ratio, openness)
        return events

    def interrupt(self) -> list[Event]:
        """End what still lasts at its last frame, because the eyes cannot be judged; return the events."""
        shut = self._shut.interrupt()
        if shut:
            self._shut_spans.append(shut)
        self._level, self._last = math.nan, None
        return self._events(self._dips.interrupt())

    def _quickly(self, ratio: float) -> float:
        """Fall below the level, scaled so that the smallest fall of a blink gives ``shut``."""
        if math.isnan(self._level):
            return math.inf
        rules = self._rules
        least = min(max(rules.blink_dip, rules.blink_noise * self._noise), 0.25)
        return 1 - (1 - rules.shut) * (self._level - ratio) / least

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
        avr_s = (self._level - self.least_ratio) / self._speed if self._speed > 0 else math.nan
        self._frames, self._least_openness, self._shut_spans, self._speed = 0, math.inf, [], 0.0
        if dip.duration_s <= self._rules.closure_s:
            if frames < 2 or dip.duration_s < self._rules.blink_s or not dip.begun:
                return []
            # Between two frames a fall is seen to last as long as they are apart.
            slow = self._lowered or avr_s > max(SLOW_S, 2.1 * self._step_s)
            if slow and _depth(openness) < DEEP:
                return []
            return [Event("blink", dip.start_s, dip.end_s, _depth(openness), avr_s=avr_s)]
        return [event for span in shut if (event := self._shut_event(span))]

    def _shut_event(self, span: Span) -> Event | None:
        """The event of a span of shut eyes within a long dip, or None if it is too short."""
        if span.duration_s > self._rules.closure_s:
            return Event("closure", span.start_s, span.end_s, _depth(span.lowest))
        if span.begun and span.duration_s >= self._rules.blink_s and _depth(span.lowest) >= DEEP:
            return Event("blink", span.start_s, span.end_s, _depth(span.lowest))
        return None  # such as one blurred frame at the start of a stream


def _depth(lowest: float) -> float:
    return min(max(1 - lowest, 0.0), 1.0)
