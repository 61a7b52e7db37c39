"""``canthus fatigue``: signs of tiredness in a video."""

import json
import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from canthus.cli.options import (
    DetectorModelOption,
    DetectorOption,
    DetectorSizeOption,
    DetectorTilesOption,
    open_pipeline,
)
from canthus.errors import ConfigError

if TYPE_CHECKING:
    from canthus.cli.video_run import Watch
    from canthus.fatigue.events import Event
    from canthus.fatigue.monitor import Status
    from canthus.fatigue.report import FatigueReport
    from canthus.runtime.draw_gauges import Color, Gauge, GaugePanel
    from canthus.runtime.video import VideoWriter
    from canthus.types import Image, TrackedFrame

JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Write the report as JSON at the end; - is stdout.")
]
PlotOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a plot of the timeline, such as .png.")]
SHOWN_S = 3.0
"""An event stays on the annotated video so long."""


def fatigue(
    video: Annotated[str, typer.Argument(metavar="VIDEO|CAMERA", help="A video file, or a camera's number such as 0.")],
    json_file: JsonOption = None,
    csv_file: Annotated[str | None, typer.Option("--csv", metavar="FILE|-", help="Write one CSV row a frame.")] = None,
    plot: PlotOption = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an annotated H.264 video.")] = None,
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="Landmark model; see 'canthus models'.")] = "default",
    detector: DetectorOption = None,
    detector_model: DetectorModelOption = None,
    detector_size: DetectorSizeOption = None,
    detector_tiles: DetectorTilesOption = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of decoder, detector and landmark model.")] = 1,
) -> None:
    """Find blinks, long closures, yawns and nods in a video, and rate how awake the person is.

    Events go to standard output as JSON lines as they end, unless --json - or --csv - take it. Exit code 1: the
    video is damaged or cut short; everything decoded so far is reported.
    """
    from canthus.cli.tables import opened_text
    from canthus.cli.video_run import Watch, check_targets
    from canthus.lookup import require
    from canthus.runtime.tracker import Tracker, TrackerSettings
    from canthus.runtime.video import open_video

    check_targets(video, out=out, texts={"--json": json_file, "--csv": csv_file})
    if plot is not None:
        require("matplotlib", extra="plots")
    settings = TrackerSettings() if out is not None else TrackerSettings(smoothing=None)
    pipeline = open_pipeline(
        model, detector=detector, detector_model=detector_model, detector_size=detector_size,
        detector_tiles=detector_tiles, threads=threads,
    )  # fmt: skip
    tracker = Tracker(pipeline, settings)
    with open_video(video, threads=threads) as source, ExitStack() as stack:
        watch = Watch(source, verb="fatigue")
        target = stack.enter_context(opened_text(json_file)) if json_file else None
        session = _Session(stack, watch, csv_file=csv_file, out=out, fps=source.fps)
        session.stream_events = "-" not in (json_file, csv_file)
        with watch.until_interrupted():
            for image, time_s in watch:
                session.add(image, tracker(image, time_s))
        report = session.finish()
        if target:
            target.write(json.dumps(report.to_json()) + "\n")
    if plot is not None:
        session.plot(plot, title=Path(video).name if Path(video).exists() else source.name)
    if not watch.report(_summary(report)):
        raise typer.Exit(1)


class _Session:
    """One run: watches the main face, and passes on what it finds."""

    def __init__(
        self, stack: ExitStack, watch: "Watch", *, csv_file: str | None, out: Path | None, fps: float | None
    ) -> None:
        from canthus.cli.tables import opened_text
        from canthus.fatigue.monitor import FatigueMonitor, MainFace
        from canthus.fatigue.report import StatusCsv, Timeline

        self.stream_events = True
        self._monitor: FatigueMonitor = FatigueMonitor()
        self._subject: MainFace = MainFace()
        self._timeline: Timeline = Timeline()
        self._events: list[Event] = []
        self._csv: StatusCsv | None = StatusCsv(stack.enter_context(opened_text(csv_file))) if csv_file else None
        self._film = _Film(stack, out, fps=fps) if out is not None else None
        self._watch = watch

    def add(self, image: "Image", tracked: "TrackedFrame") -> None:
        from canthus.fatigue.measures import Observation, observe
        from canthus.schemes import IBUG_68
        from canthus.types import Landmarks

        before = self._subject.changes
        index = self._subject.find(tracked)
        if self._subject.changes > before:
            self._monitor.new_person()
        if index is None:
            seen = Observation(tracked.time_s)
        else:
            marks = Landmarks(tracked.measured, tracked.frame.landmarks.scheme, tracked.frame.landmarks.scores)
            if marks.scheme is not IBUG_68:
                marks = marks.convert(IBUG_68)
            scores = None if marks.scores is None else marks.scores[index]
            seen = observe(marks.points[index], tracked.time_s, scores=scores, image=image)
        self._pass_on(self._monitor.update(seen))
        status = self._monitor.status
        self._timeline.add(status)
        if self._csv:
            self._csv.write(status)
        if self._film:
            self._film.add(image, tracked, status, self._events)

    def finish(self) -> "FatigueReport":
        """The report, after the last frame."""
        from canthus.fatigue.report import FatigueReport

        self._pass_on(self._monitor.finish())
        frames, end_s = self._watch.frames, self._watch.end_s
        fps = (frames - 1) / end_s if frames > 1 else math.nan
        return FatigueReport(
            duration_s=end_s + (1 / fps if frames > 1 else 0.0),
            fps=fps,
            frames=frames,
            faces_lost_s=self._monitor.lost_s,
            events=self._events,
            perclos=self._monitor.perclos.total,
            judged_s=self._monitor.perclos.total_judged_s,
        )

    def plot(self, path: Path, *, title: str) -> None:
        from canthus.fatigue.report import plot_timeline

        plot_timeline(path, self._timeline, self._events, settings=self._monitor.settings, title=title)

    def _pass_on(self, events: "list[Event]") -> None:
        self._events += events
        if self.stream_events:
            for event in events:
                typer.echo(json.dumps(event.to_json()))  # flushed, so that whoever listens hears it at once


class _Film:
    """The annotated video."""

    def __init__(self, stack: ExitStack, path: Path, *, fps: float | None) -> None:
        from canthus.lookup import require

        require("av", extra="video")
        if path.is_dir():
            raise ConfigError(f"--out {path}: is a folder; name the video, such as {path / 'seen.mp4'}")
        self._stack, self._path, self._fps = stack, path, fps
        self._panel: GaugePanel | None = None
        self._writer: VideoWriter | None = None

    def add(self, image: "Image", tracked: "TrackedFrame", status: "Status", events: "list[Event]") -> None:
        from canthus.fatigue.events import PEAK_NAMES
        from canthus.runtime.draw import draw_tracked
        from canthus.runtime.draw_gauges import GaugePanel
        from canthus.runtime.video import VideoWriter

        height, width = image.shape[0] // 2 * 2, image.shape[1]
        if self._panel is None or self._writer is None:
            self._panel = GaugePanel(width)
            size = height + self._panel.height
            self._writer = self._stack.enter_context(VideoWriter(self._path, width=width, height=size, fps=self._fps))
        recent = [event for event in events[-5:] if status.time_s - event.end_s < SHOWN_S]
        lines = [f"{e.kind} {e.duration_s:.2f} s, {PEAK_NAMES[e.kind][:5]} {e.peak:.2f}" for e in recent]
        canvas = draw_tracked(image[:height], tracked)
        color = _STATE_COLORS[status.state]
        canvas = self._panel.draw(
            canvas, status.time_s, title=(status.state, color), gauges=_gauges(status), lines=lines
        )
        self._writer.write(canvas, status.time_s)


_STATE_COLORS: "dict[str, Color]" = {
    "alert": (120, 220, 130),
    "tired": (255, 200, 70),
    "asleep": (255, 90, 80),
    "unknown": (170, 174, 180),
}


def _gauges(status: "Status") -> "list[Gauge]":
    from canthus.fatigue.settings import FatigueSettings
    from canthus.runtime.draw_gauges import Gauge

    rules, found = FatigueSettings(), status.measures
    widest, most = 2 * rules.yawn_opening, 2 * rules.tired_perclos
    return [
        Gauge("eyes", found.openness, (80, 220, 240), mark=rules.shut),
        Gauge("mouth", found.mouth / widest, (255, 120, 140), mark=rules.yawn_opening / widest),
        Gauge("perclos", status.perclos / most, (255, 200, 70), mark=rules.tired_perclos / most),
    ]


def _summary(report: "FatigueReport") -> str:
    kinds = [event.kind for event in report.events]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("blink", "closure", "yawn", "nod", "away"))
    perclos = "unknown" if math.isnan(report.perclos) else f"{100 * report.perclos:.1f} %"
    return f"{counts}, PERCLOS {perclos}, face lost for {report.faces_lost_s:.1f} s"
