"""The timeline as a picture (extra: plots)."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from canthus.errors import ConfigError
from canthus.fatigue.events import Event, EventKind
from canthus.fatigue.settings import FatigueSettings
from canthus.fatigue.state import State
from canthus.fatigue.timeline import Timeline
from canthus.lookup import require

EVENT_COLORS: Mapping[EventKind, str] = {
    "blink": "#0072b2",
    "closure": "#d55e00",
    "yawn": "#cc79a7",
    "nod": "#009e73",
    "away": "#7f7f7f",
}
STATE_COLORS: Mapping[State, str] = {"alert": "#8fd19e", "tired": "#ffd166", "asleep": "#e76f51", "unknown": "#d9d9d9"}


def plot_timeline(
    path: str | os.PathLike[str],
    timeline: Timeline,
    events: Sequence[Event],
    *,
    settings: FatigueSettings,
    title: str,
) -> None:
    """Write openness of the eyes, mouth, PERCLOS, state and events over time.

    Args:
        path: file to write; its suffix names the format.
        timeline: of the run.
        events: drawn as spans.
        settings: thresholds to draw.
        title: what was watched.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ConfigError: the file cannot be written.
    """
    figure = require("matplotlib.figure", extra="plots").Figure(figsize=(13, 7.2), dpi=110, layout="constrained")
    eyes, mouth, perclos, marks = figure.subplots(4, 1, sharex=True, height_ratios=[3, 2, 1.6, 1.8])
    times = timeline.times_s
    eyes.plot(times, timeline.openness, linewidth=0.9, color="#1b4965")
    eyes.axhline(settings.shut, linestyle="--", linewidth=0.8, color="0.4", label="blink or closure")
    eyes.axhline(0.2, linestyle=":", linewidth=0.8, color="0.4", label="80 % closed (PERCLOS)")
    eyes.set(ylabel="openness of the eyes", ylim=(-0.05, 1.55), title=title)
    mouth.plot(times, timeline.mouth, linewidth=0.9, color="#8a4f7d")
    mouth.axhline(settings.yawn_opening, linestyle="--", linewidth=0.8, color="0.4", label="yawn, if it lasts")
    mouth.set(ylabel="mouth")
    perclos.plot(times, [100 * value for value in timeline.perclos], linewidth=1.1, color="#333333")
    perclos.axhline(100 * settings.tired_perclos, linestyle="--", linewidth=0.8, color="0.4", label="tired")
    perclos.set(ylabel="PERCLOS, %")
    perclos.set_ylim(bottom=0)
    for axes in (eyes, mouth, perclos):
        axes.grid(alpha=0.25)
        axes.legend(loc="upper right", fontsize=8)
        _draw_events(axes, events, {"eyes": ("blink", "closure"), "mouth": ("yawn",)}.get(_name(axes, eyes, mouth), ()))
    _draw_marks(marks, timeline, events)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: the plot cannot be written ({error})") from error


def _name(axes: Any, eyes: Any, mouth: Any) -> str:
    return "eyes" if axes is eyes else "mouth" if axes is mouth else ""


def _draw_events(axes: Any, events: Sequence[Event], kinds: tuple[str, ...]) -> None:
    for event in events:
        if event.kind in kinds:
            axes.axvspan(event.start_s, event.end_s, color=EVENT_COLORS[event.kind], alpha=0.3, linewidth=0)


def _draw_marks(axes: Any, timeline: Timeline, events: Sequence[Event]) -> None:
    """A row of spans for each kind of event, and one for the state."""
    end_s = timeline.times_s[-1] + timeline.step_s if timeline.times_s else 1.0
    rows: list[str] = ["state", *EVENT_COLORS]
    least_s = end_s / 500  # or a blink in an hour would be invisible
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
