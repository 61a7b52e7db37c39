"""Spans of time during which a signal is low, with hysteresis, and the events made of them."""

import math
from dataclasses import dataclass
from typing import Literal, final

EventKind = Literal["blink", "closure", "yawn", "nod", "away"]

PEAK_NAMES: dict[EventKind, str] = {
    "blink": "depth",
    "closure": "depth",
    "yawn": "opening",
    "nod": "angle_rad",
    "away": "angle_rad",
}
"""What the peak of an event is called in its JSON."""


@final
@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        kind: what.
        start_s: when it began ...
        end_s: ... and ended.
        peak: blink and closure: depth, 0 open and 1 shut; yawn: highest mouth ratio above the person's own; nod:
            furthest drop of the head; away: furthest turn; both in radians.
    """

    kind: EventKind
    start_s: float
    end_s: float
    peak: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s

    def to_json(self) -> dict[str, str | float]:
        """Kind, times and peak; seconds to a millisecond."""
        return {
            "kind": self.kind,
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            PEAK_NAMES[self.kind]: round(self.peak, 3),
        }


@final
@dataclass(frozen=True)
class Span:
    """A time during which a signal was low, its lowest value, and whether its beginning was seen."""

    start_s: float
    end_s: float
    lowest: float
    begun: bool = True

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@final
class LowSpans:
    """Finds spans that begin when a signal falls to ``enter`` and end when it rises above ``leave``.

    The signal is taken as straight lines between its samples and the times of crossing are interpolated, so that they
    hardly depend on the frame rate.

    Args:
        enter: at or below it, a span begins.
        leave: above it, the span ends; not below ``enter``.
    """

    def __init__(self, *, enter: float, leave: float) -> None:
        if leave < enter:
            raise ValueError(f"Expected leave >= enter, found {leave} < {enter}")
        self._enter, self._leave = enter, leave
        self._last: tuple[float, float] | None = None
        self._start_s: float | None = None
        self._lowest = math.inf
        self._begun = True

    @property
    def open_since_s(self) -> float | None:
        """Start of the span that goes on now, or None."""
        return self._start_s

    def update(self, time_s: float, value: float) -> Span | None:
        """The span that ended with this sample, if one did."""
        last, self._last = self._last, (time_s, value)
        if self._start_s is None:
            if value <= self._enter:
                self._start_s = _crossing(last, (time_s, value), self._enter)
                self._lowest, self._begun = value, last is not None
            return None
        if value <= self._leave:
            self._lowest = min(self._lowest, value)
            return None
        span = Span(self._start_s, _crossing(last, (time_s, value), self._leave), self._lowest, self._begun)
        self._start_s = None
        return span

    def interrupt(self) -> Span | None:
        """The signal is lost: an open span ends at its last sample."""
        last, start_s = self._last, self._start_s
        self._last, self._start_s = None, None
        return None if last is None or start_s is None else Span(start_s, last[0], self._lowest, self._begun)


def _crossing(before: tuple[float, float] | None, after: tuple[float, float], level: float) -> float:
    """When the line from ``before`` to ``after``, each (time, value), meets ``level``."""
    if before is None or before[1] == after[1]:
        return after[0]
    share = (level - before[1]) / (after[1] - before[1])
    return before[0] + min(max(share, 0.0), 1.0) * (after[0] - before[0])
