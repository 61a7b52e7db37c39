"""What a run found, as one JSON object; and how things stood at each frame, as CSV."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

from canthus.fatigue.events import Event
from canthus.fatigue.monitor import Status


@runtime_checkable
class RowTarget(Protocol):
    """Anything that text can be written to."""

    def write(self, text: str, /) -> object:
        """Add text."""
        ...


@final
@dataclass(frozen=True)
class FatigueReport:
    """A whole run.

    Attributes:
        duration_s: of the video.
        fps: mean frame rate; NaN below two frames.
        frames: how many.
        faces_lost_s: time without a face.
        events: in order of their ends.
        perclos: share of the time in which the eyes could be judged during which they were 80 % closed; NaN if never.
        judged_s: that time.
    """

    duration_s: float
    fps: float
    frames: int
    faces_lost_s: float
    events: Sequence[Event]
    perclos: float
    judged_s: float

    @property
    def blink_rate_hz(self) -> float:
        """Blinks for each second in which the eyes could be judged; NaN if there was none."""
        blinks = sum(event.kind == "blink" for event in self.events)
        return blinks / self.judged_s if self.judged_s > 0 else math.nan

    def to_json(self) -> dict[str, Any]:
        """The report; null is "cannot be told"."""
        return {
            "duration_s": round(self.duration_s, 3),
            "fps": _number(self.fps, 3),
            "frames": self.frames,
            "faces_lost_s": round(self.faces_lost_s, 3),
            "events": [event.to_json() for event in self.events],
            "perclos": _number(self.perclos, 4),
            "blink_rate_hz": _number(self.blink_rate_hz, 4),
        }


@final
class StatusCsv:
    """One row a frame; empty cells are "cannot be told".

    Args:
        file: opened with ``newline=""``.
    """

    COLUMNS = ("time_s", "state", "openness", "mouth", "yaw_rad", "pitch_rad", "perclos")

    def __init__(self, file: RowTarget) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(self.COLUMNS)

    def write(self, status: Status) -> None:
        """Add one frame."""
        found = status.measures
        numbers = (found.openness, found.mouth, found.yaw, found.pitch, status.perclos)
        cells = ["" if math.isnan(value) else f"{value:.4f}" for value in numbers]
        self._rows.writerow([f"{status.time_s:.4f}", status.state, *cells])


def _number(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
