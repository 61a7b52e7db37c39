"""Report, table, timeline and plot of a video."""

import csv
import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any, final

from canthus.errors import ConfigError
from canthus.fatigue.alerts import clock
from canthus.fatigue.events import Event, EventKind
from canthus.fatigue.monitor import FatigueMonitor, Status
from canthus.fatigue.person import LEARNING
from canthus.fatigue.settings import FatigueSettings
from canthus.fatigue.state import State
from canthus.files import written
from canthus.lookup import require
from canthus.runtime.records import TextTarget
from canthus.types import Image, TrackedFrame


@final
@dataclass(frozen=True)
class FatigueReport:
    """Results of a whole video.

    Attributes:
        fps: mean frame rate; NaN for fewer than two frames.
        faces_lost_s: seconds without a face.
        events: in order of their ends.
        perclos: share of ``judged_s`` in which the eyes were at least 80 % closed; NaN if ``judged_s`` is 0.
        judged_s: seconds in which the eyes could be judged.
        seconds: of each state.
        obstacles: seconds for which the eyes could not be judged, by the reason.
        most: highest PERCLOS of one and of three minutes, and highest level of sleepiness; NaN if unknown.
        blink_growth: at the end; see ``Sleepiness``.
        started: time on the clock at 0 s, if known.
    """

    duration_s: float
    fps: float
    frames: int
    faces_lost_s: float
    events: Sequence[Event]
    perclos: float
    judged_s: float
    seconds: Mapping[State, float] = field(default_factory=dict)
    obstacles: Mapping[str, float] = field(default_factory=dict)
    most: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    blink_growth: float = math.nan
    started: datetime | None = None

    def blink_median(self, of: Callable[[Event], float]) -> float:
        """Median of a number of the blinks; NaN if there are none."""
        values = [of(event) for event in self.events if event.kind == "blink" and math.isfinite(of(event))]
        return median(values) if values else math.nan

    @property
    def blink_rate_hz(self) -> float:
        """Blinks per second of ``judged_s``; NaN if that is 0."""
        blinks = sum(event.kind == "blink" for event in self.events)
        return blinks / self.judged_s if self.judged_s > 0 else math.nan

    def to_json(self) -> dict[str, Any]:
        """The report for ``json``; NaN becomes null."""
        return {
            "duration_s": round(self.duration_s, 3),
            "fps": _number(self.fps, 3),
            "frames": self.frames,
            "faces_lost_s": round(self.faces_lost_s, 3),
            "events": [event.to_json() for event in self.events],
            "perclos": _number(self.perclos, 4),
            "blink_rate_hz": _number(self.blink_rate_hz, 4),
            "perclos_1min_max": _number(self.most[0], 4),
            "perclos_3min_max": _number(self.most[1], 4),
            "level_max": _number(self.most[2], 1),
            "blink_s": _number(self.blink_median(lambda event: event.duration_s), 3),
            "blink_growth": _number(self.blink_growth, 2),
            "blink_avr_s": _number(self.blink_median(lambda event: event.avr_s), 3),
            "states_s": {state: round(seconds, 2) for state, seconds in self.seconds.items()},
            "not_judged_s": {name: round(seconds, 2) for name, seconds in self.obstacles.items()},
            "started": None if self.started is None else clock(self.started, 0.0),
        }


def _number(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


@final
class StatusCsv:
    """CSV with one row per frame; cells of unknown values are empty.

    Args:
        file: text file opened with ``newline=""``.
    """

    COLUMNS = (
        "time_s", "state", "openness", "mouth", "yaw_rad", "pitch_rad", "perclos", "perclos_3min", "level", "evidence",
        "clock",
    )  # fmt: skip

    def __init__(self, file: TextTarget) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(self.COLUMNS)

    def write(self, status: Status, started: datetime | None = None) -> None:
        """Add one frame; ``started`` is the time on the clock at 0 s."""
        found = status.measures
        numbers = (
            found.openness, found.mouth, found.yaw, found.pitch, status.perclos, status.long_perclos, status.level,
            status.evidence,
        )  # fmt: skip
        cells = ["" if math.isnan(value) else f"{value:.4f}" for value in numbers]
        told = "" if started is None else clock(started, status.time_s)
        self._rows.writerow([f"{status.time_s:.4f}", status.state, *cells, told])


MOST_POINTS = 20_000
"""Bins of a timeline at most; a plot cannot show more."""


@final
class Timeline:
    """Openness of the eyes, mouth, PERCLOS and state over time, in bounded memory.

    Frames are grouped into bins of ``step_s`` seconds. When there are too many bins, neighbours are merged. A bin keeps
    the time of its first frame, the lowest openness (NaN if the eyes were never judged), the widest mouth, the last
    PERCLOS and the last level of sleepiness.

    Attributes:
        changes: time and new state at each change of the state.
    """

    def __init__(self, *, step_s: float = 0.02, most: int = MOST_POINTS) -> None:
        self.step_s = step_s
        self.times_s: list[float] = []
        self.openness: list[float] = []
        self.mouth: list[float] = []
        self.perclos: list[float] = []
        self.level: list[float] = []
        self.changes: list[tuple[float, State]] = []
        self._most = most

    def add(self, status: Status) -> None:
        """Take in the next frame."""
        if not self.changes or self.changes[-1][1] != status.state:
            self.changes.append((status.time_s, status.state))
        openness, mouth = status.measures.openness, status.measures.mouth
        if self.times_s and status.time_s - self.times_s[-1] < self.step_s - 1e-6:
            self.openness[-1] = _known(min, self.openness[-1], openness)
            self.mouth[-1] = _known(max, self.mouth[-1], mouth)
            self.perclos[-1], self.level[-1] = status.perclos, status.level
            return
        self.times_s.append(status.time_s)
        self.openness.append(openness)
        self.mouth.append(mouth)
        self.perclos.append(status.perclos)
        self.level.append(status.level)
        if len(self.times_s) >= self._most:
            self._merge()

    def _merge(self) -> None:
        self.step_s *= 2
        pairs = range(0, len(self.times_s) - 1, 2)
        self.openness = [_known(min, self.openness[i], self.openness[i + 1]) for i in pairs]
        self.mouth = [_known(max, self.mouth[i], self.mouth[i + 1]) for i in pairs]
        self.perclos = [self.perclos[i + 1] for i in pairs]
        self.level = [self.level[i + 1] for i in pairs]
        self.times_s = [self.times_s[i] for i in pairs]


def _known(choose: Callable[[float, float], float], a: float, b: float) -> float:
    """``choose`` of two numbers, of which either may be NaN."""
    if math.isnan(a):
        return b
    return a if math.isnan(b) else choose(a, b)


@final
class FatigueRecorder:
    """Watch one video with a ``FatigueMonitor``, and keep what its report and plot need.

    Attributes:
        monitor: see ``FatigueMonitor``; its ``status`` is that of the last frame.
        events: all events so far, in order of their ends.
        timeline: see ``Timeline``.
        started: time on the clock at 0 s, if known.
    """

    def __init__(self, settings: FatigueSettings | None = None, started: datetime | None = None) -> None:
        self.monitor = FatigueMonitor(settings)
        self.started = started
        self.events: list[Event] = []
        self.timeline = Timeline()
        self._frames = 0
        self._last_s: float | None = None
        self._seconds: dict[State, float] = defaultdict(float)
        self._obstacles: dict[str, float] = defaultdict(float)
        self._most = (math.nan, math.nan, math.nan)

    def add(self, tracked: TrackedFrame, image: Image | None = None) -> list[Event]:
        """Take in the next frame and return the events that ended with it; see ``FatigueMonitor.watch``."""
        events = self.monitor.watch(tracked, image)
        self.events += events
        self.timeline.add(self.monitor.status)
        self._frames += 1
        self._count(self.monitor.status)
        return events

    def _count(self, status: Status) -> None:
        step_s, self._last_s = status.time_s - (self._last_s or 0.0), status.time_s
        self._seconds[status.state] += step_s
        if status.measures.obstacle:
            self._obstacles[status.measures.obstacle] += step_s
        else:
            self._obstacles.pop(LEARNING, None)  # these seconds were judged afterwards
        now = (status.perclos, status.long_perclos, status.level)
        self._most = tuple(_known(max, before, value) for before, value in zip(self._most, now, strict=True))  # type: ignore[assignment]

    def pause(self) -> list[Event]:
        """End the events that still last, and return them; see ``FatigueMonitor.pause``."""
        events = self.monitor.pause()
        self.events += events
        return events

    def finish(self) -> list[Event]:
        """End the events that still last, and return them. Call it after the last frame."""
        events = self.monitor.finish()
        self.events += events
        return events

    def report(self) -> FatigueReport:
        """The report of all frames so far."""
        end_s = self.monitor.status.time_s
        fps = (self._frames - 1) / end_s if self._frames > 1 else math.nan
        perclos = self.monitor.perclos
        return FatigueReport(
            duration_s=end_s + (1 / fps if self._frames > 1 else 0.0),
            fps=fps,
            frames=self._frames,
            faces_lost_s=self.monitor.lost_s,
            events=self.events,
            perclos=perclos.total,
            judged_s=perclos.total_judged_s,
            seconds=dict(self._seconds),
            obstacles=dict(self._obstacles),
            most=self._most,
            blink_growth=self.monitor.blink_growth,
            started=self.started,
        )


EVENT_COLORS: Mapping[EventKind, str] = {
    "blink": "#0072b2",
    "closure": "#d55e00",
    "yawn": "#cc79a7",
    "nod": "#009e73",
    "away": "#7f7f7f",
    "look_down": "#e69f00",
    "laugh": "#56b4e9",
}
STATE_COLORS: Mapping[State, str] = {"alert": "#8fd19e", "tired": "#ffd166", "asleep": "#e76f51", "unknown": "#d9d9d9"}


def plot_timeline(
    path: str | os.PathLike[str], timeline: Timeline, events: Sequence[Event], *, settings: FatigueSettings, title: str
) -> None:
    """Plot openness of the eyes, mouth, PERCLOS, state and events over time.

    Args:
        path: file to write; its suffix chooses the format.
        events: drawn as spans.
        settings: thresholds to draw.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ConfigError: the suffix names no format.
        OutputError: the file cannot be written.
    """
    figure = require("matplotlib.figure", extra="plots").Figure(figsize=(13, 7.2), dpi=110, layout="constrained")
    eyes, mouth, perclos, marks = figure.subplots(4, 1, sharex=True, height_ratios=[3, 2, 1.6, 1.8])
    times = timeline.times_s
    eyes.plot(times, timeline.openness, linewidth=0.9, color="#1b4965")
    eyes.axhline(settings.shut, linestyle="--", linewidth=0.8, color="0.4", label="blink or closure")
    eyes.axhline(0.2, linestyle=":", linewidth=0.8, color="0.4", label="80 % closed (PERCLOS)")
    eyes.set(ylabel="openness of the eyes", ylim=(-0.05, 1.55))
    eyes.set_title(title, parse_math=False)
    mouth.plot(times, timeline.mouth, linewidth=0.9, color="#8a4f7d")
    mouth.axhline(settings.yawn_opening, linestyle="--", linewidth=0.8, color="0.4", label="yawn, if it lasts")
    mouth.set(ylabel="mouth")
    perclos.plot(times, [100 * value for value in timeline.perclos], linewidth=1.1, color="#333333")
    perclos.axhline(100 * settings.tired_perclos, linestyle="--", linewidth=0.8, color="0.4", label="tired")
    perclos.set(ylabel="PERCLOS, %")
    perclos.set_ylim(bottom=0)
    for axes, kinds in ((eyes, ("blink", "closure")), (mouth, ("yawn",)), (perclos, ())):
        axes.grid(alpha=0.25)
        axes.legend(loc="upper right", fontsize=8)
        for event in events:
            if event.kind in kinds:
                axes.axvspan(event.start_s, event.end_s, color=EVENT_COLORS[event.kind], alpha=0.3, linewidth=0)
    _draw_marks(marks, timeline, events)
    try:
        with written(path) as aside:
            figure.savefig(aside)
    except ValueError as error:
        raise ConfigError(f"{path}: the plot cannot be written ({error})") from error


def _draw_marks(axes: Any, timeline: Timeline, events: Sequence[Event]) -> None:
    """One row of spans for the state, and one for each kind of event."""
    end_s = timeline.times_s[-1] + timeline.step_s if timeline.times_s else 1.0
    rows: list[str] = ["state", *EVENT_COLORS]
    least_s = end_s / 500  # so that a blink in an hour stays visible
    for event in events:
        width = max(event.duration_s, least_s)
        axes.barh(rows.index(event.kind), width, left=event.start_s, height=0.7, color=EVENT_COLORS[event.kind])
    ends = [*(time_s for time_s, _ in timeline.changes), end_s][1:]
    for (start_s, state), until_s in zip(timeline.changes, ends, strict=True):
        axes.barh(0, until_s - start_s, left=start_s, height=0.8, color=STATE_COLORS[state])
    for state, color in STATE_COLORS.items():
        axes.barh(0, 0, color=color, label=state)
    axes.legend(loc="upper right", fontsize=7, ncols=4)
    axes.set(yticks=range(len(rows)), yticklabels=rows, xlabel="time, s", xlim=(0, end_s), ylim=(len(rows) - 0.4, -2.2))
