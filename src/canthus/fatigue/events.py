"""Spans of time during which a signal is low, with hysteresis, and the events made of them."""

import math
from dataclasses import dataclass
from typing import Literal, final

EventKind = Literal["blink", "closure", "yawn", "nod", "away", "look_down", "laugh"]

PEAK_NAMES: dict[EventKind, str] = {
    "blink": "depth",
    "closure": "depth",
    "yawn": "opening",
    "nod": "angle_rad",
    "away": "angle_rad",
    "look_down": "angle_rad",
    "laugh": "width",
}
"""Name of the peak in the JSON of an event."""


@final
@dataclass(frozen=True)
class Event:
    """A blink, closure, yawn, nod, look away, look down or laugh.

    Attributes:
        peak: of a blink or closure the depth, from 0 (open) to 1 (shut); of a yawn the largest mouth ratio above that
            of the person's closed mouth; of a nod, look away or look down the largest angle in radians; of a laugh the
            largest growth of the mouth's width, in distances of the outer eye corners.
        evidence: of a closure how much it looks like sleep, 0 to 1; NaN for other kinds.
        avr_s: of a blink the amplitude of the lids over the peak velocity of their fall, in seconds (Johns); NaN where
            it is not known.
    """

    kind: EventKind
    start_s: float
    end_s: float
    peak: float
    evidence: float = math.nan
    avr_s: float = math.nan

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s

    def to_json(self) -> dict[str, str | float]:
        """Kind, times and peak for ``json``; seconds are rounded to milliseconds."""
        return {
            "kind": self.kind,
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            PEAK_NAMES[self.kind]: round(self.peak, 3),
            **{name: round(value, 3) for name in ("evidence", "avr_s") if math.isfinite(value := getattr(self, name))},
        }


@final
@dataclass(frozen=True)
class Span:
    """A time during which a signal was low, its lowest value, and whether its start was observed."""

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

    The signal is interpolated linearly between its samples, so that the times of crossing hardly depend on the frame
    rate.

    Args:
        enter: a span begins at or below this value.
        leave: a span ends above this value; at least ``enter``.
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
        """Start of the current span in seconds, or None."""
        return self._start_s

    def update(self, time_s: float, value: float) -> Span | None:
        """Add a sample; return the span that ended with it, or None."""
        last, self._last = self._last, (time_s, value)
        if self._start_s is None:
            if value <= self._enter:
                self._start_s = crossing(last, (time_s, value), self._enter)
                self._lowest, self._begun = value, last is not None
            return None
        if value <= self._leave:
            self._lowest = min(self._lowest, value)
            return None
        span = Span(self._start_s, crossing(last, (time_s, value), self._leave), self._lowest, self._begun)
        self._start_s = None
        return span

    def interrupt(self) -> Span | None:
        """End the current span at its last sample, because the signal is lost; return it, or None."""
        last, start_s = self._last, self._start_s
        self._last, self._start_s = None, None
        return None if last is None or start_s is None else Span(start_s, last[0], self._lowest, self._begun)


def crossing(before: tuple[float, float] | None, after: tuple[float, float], level: float) -> float:
    """Time at which the line between two samples, each (time, value), crosses ``level``."""
    if before is None or before[1] == after[1]:
        return after[0]
    share = (level - before[1]) / (after[1] - before[1])
    return before[0] + min(max(share, 0.0), 1.0) * (after[0] - before[0])
