"""``canthus fatigue``: signs of fatigue in a video."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeAlias, final

import cv2
import typer

from canthus.cli import options
from canthus.cli.output import opened_lines, opened_text, versioned
from canthus.cli.progress import VideoProgress
from canthus.fatigue.alerts import ALARMS, ALERT_KINDS, Alert, AlertCommand, AlertKind, AlertWatch, clock
from canthus.fatigue.events import Event
from canthus.fatigue.film import FatigueFilm
from canthus.fatigue.page import Thumbs, report_page
from canthus.fatigue.report import EVENT_COLORS, FatigueRecorder, FatigueReport, StatusCsv, plot_timeline
from canthus.fatigue.settings import FatigueSettings, read_settings
from canthus.files import check_targets, write_text
from canthus.lookup import lookup, require
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.records import TextTarget
from canthus.runtime.sessions import usable_threads
from canthus.runtime.tracker import Smoothing, Tracker, TrackerSettings
from canthus.runtime.video import LiveSource, VideoSource, is_live, open_video
from canthus.schemes import IBUG_68, conversion_matrix
from canthus.types import Image, TrackedFrame
from canthus.zoo import FATIGUE

_Frames: TypeAlias = Iterator[tuple[Image, TrackedFrame, list[Event]]]
LIVE = "Alerts and cameras"
JsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE|-", help="Write the report as JSON at the end; - is standard output."),
]
CsvOption = Annotated[
    str | None, typer.Option("--csv", metavar="FILE|-", help="Write one CSV row per frame; - is standard output.")
]
PlotOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Plot the measures and events over time (.png, .pdf or .svg).")
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write a page for a supervisor (.html).")
]
SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", metavar="FILE", help="Read thresholds from a TOML file; docs/fatigue.md names them."),
]
AlertJsonOption = Annotated[
    str | None,
    typer.Option(
        "--alert-json",
        metavar="FILE|-",
        help="Write a line of JSON when an event or a state begins; - is standard output.",
        rich_help_panel=LIVE,
    ),
]
BellOption = Annotated[bool, typer.Option("--bell", help="Ring the terminal's bell at alerts.", rich_help_panel=LIVE)]
OnAlertOption = Annotated[
    str | None,
    typer.Option(
        "--on-alert",
        metavar="COMMAND",
        help="Start a program at alerts, with the alert as JSON on its standard input.",
        rich_help_panel=LIVE,
    ),
]
AlertKindsOption = Annotated[
    list[str],
    typer.Option(
        "--alert-on",
        metavar="KIND",
        show_default=", ".join(ALARMS),
        help="What rings and starts the program. May be repeated.",
        rich_help_panel=LIVE,
    ),
]
StartedOption = Annotated[
    datetime | None,
    typer.Option(
        "--started",
        metavar="TIME",
        formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S"],
        show_default="now, for cameras and streams",
        help="Time on the clock at the first frame of a file, such as 2026-05-01T08:30:00.",
        rich_help_panel=LIVE,
    ),
]
WaitOption = Annotated[
    float,
    typer.Option(
        "--wait",
        min=0.0,
        metavar="SECONDS",
        help="How long to wait for a camera or stream that stops to come back.",
        rich_help_panel=LIVE,
    ),
]


def fatigue(
    video: options.VideoArgument,
    json_file: JsonOption = None,
    csv_file: CsvOption = None,
    plot: PlotOption = None,
    out: options.VideoOutOption = None,
    report: ReportOption = None,
    settings: SettingsOption = None,
    alert_json: AlertJsonOption = None,
    bell: BellOption = False,
    on_alert: OnAlertOption = None,
    alert_on: AlertKindsOption = [],  # noqa: B006 - typer copies it
    started: StartedOption = None,
    wait: WaitOption = 60.0,
    model: options.LandmarkModelOption = FATIGUE,
    detector: options.DetectorOption = None,
    detector_model: options.DetectorModelOption = None,
    detector_size: options.DetectorSizeOption = None,
    detector_tiles: options.DetectorTilesOption = False,
    min_score: options.MinScoreOption = None,
    min_confidence: options.MinConfidenceOption = 0.0,
    faces: options.MostFacesOption = None,
    threads: options.VideoThreadsOption = 1,
    device: options.DeviceOption = "cpu",
    backend: options.BackendOption = "onnxruntime",
    fps: options.PicturesRateOption = None,
) -> None:
    """Find blinks, long closures, yawns and nods in a video, and rate how awake the person is.

    Each event is printed as one line of JSON when it ends, unless --json -, --csv - or --alert-json - use standard
    output. Alerts are told when an event or a state begins.
    Exit code 1: the video is damaged or cut short; everything decoded so far is reported.
    """
    targets = _Targets(json_file, csv_file, alert_json, plot, out, report)
    targets.check([video, detector_model, settings])
    rules = FatigueSettings() if settings is None else read_settings(settings)
    alarms = frozenset(lookup({kind: kind for kind in ALERT_KINDS}, kind, kind="alert") for kind in alert_on or ALARMS)
    pipeline = load_pipeline(
        model, detector=detector or "default", detector_model=detector_model, detector_size=detector_size,
        detector_tiles=detector_tiles, threads=threads, min_score=min_score, min_confidence=min_confidence,
        device=device, backend=backend,
    )  # fmt: skip
    conversion_matrix(pipeline.landmarker.session.scheme, IBUG_68)  # refuses models of other points at once
    cv2.setNumThreads(usable_threads(threads))
    recorder = FatigueRecorder(rules, started and started.astimezone())
    with open_video(video, threads=threads, fps=fps, wait_s=wait) as source:
        progress = VideoProgress(source, "fatigue")
        with AlertCommand(on_alert) if on_alert else nullcontext() as command:
            alerts = _Alerts(recorder, progress, alarms, command, bell=bell)
            # The measures use unsmoothed points; only the drawing needs smooth ones.
            tracker = Tracker(
                pipeline, TrackerSettings(smoothing=None if out is None else Smoothing(), most_faces=faces)
            )
            _watch(_watched(progress, source, tracker, recorder, live=is_live(video)), source, alerts, targets)
    targets.write_pictures(recorder, title=Path(video).name if Path(video).exists() else source.name)
    progress.report(_summary(recorder.report()) + alerts.summary())


@final
@dataclass
class _Targets:
    """Files to write, each None where it is not wanted."""

    json_file: str | None
    csv_file: str | None
    alert_json: str | None
    plot: Path | None
    out: Path | None
    report: Path | None
    thumbs: Thumbs = field(default_factory=Thumbs)

    def check(self, read: Sequence[str | Path | None]) -> None:
        """Refuse what would replace a file of the user's, and a plot without the package for it."""
        check_targets(
            read,
            text={"--json": self.json_file, "--csv": self.csv_file, "--alert-json": self.alert_json,
                  "--report": self.report},
            picture={"--plot": self.plot}, video={"--out": self.out},
        )  # fmt: skip
        if self.plot is not None:
            require("matplotlib", extra="plots")

    def write_pictures(self, recorder: FatigueRecorder, *, title: str) -> None:
        """Write the plot and the page, after the last frame."""
        done, rules = recorder.report(), recorder.monitor.settings
        if self.plot is not None:
            plot_timeline(self.plot, recorder.timeline, done.events, settings=rules, title=title)
        if self.report is not None:
            write_text(self.report, report_page(done, recorder.timeline, self.thumbs, settings=rules, title=title))


def _watch(frames: _Frames, source: VideoSource, alerts: "_Alerts", targets: _Targets) -> None:
    """Watch all frames, and write what is written along with them."""
    recorder = alerts.recorder
    with ExitStack() as stack:
        target = stack.enter_context(opened_text(targets.json_file)) if targets.json_file else None
        if targets.alert_json:
            alerts.lines = stack.enter_context(opened_lines(targets.alert_json))
        if isinstance(source, LiveSource):
            source.on_change = alerts.source_changed
        rules, out, csv_file = recorder.monitor.settings, targets.out, targets.csv_file
        outputs = _Outputs(
            recorder, alerts, targets.thumbs if targets.report else None,
            rows=StatusCsv(stack.enter_context(opened_lines(csv_file))) if csv_file else None,
            film=stack.enter_context(FatigueFilm(out, rules, fps=source.fps)) if out else None,
            silent="-" in (targets.json_file, csv_file, targets.alert_json),
        )  # fmt: skip
        for image, tracked, events in frames:
            outputs.take(image, tracked, events)
        outputs.print(recorder.finish())
        if target is not None:
            target.write(json.dumps(versioned(recorder.report().to_json()), allow_nan=False) + "\n")


@final
@dataclass
class _Alerts:
    """Tells what begins.

    Attributes:
        alarms: kinds that ring and start the program.
        lines: gets each alert as a line of JSON.
        command: the program.
        bell: whether the terminal rings.
    """

    recorder: FatigueRecorder
    progress: VideoProgress
    alarms: frozenset[AlertKind]
    command: AlertCommand | None
    bell: bool
    lines: TextTarget | None = None

    def __post_init__(self) -> None:
        self._watch = AlertWatch(self.recorder.monitor.settings.told_evidence)
        self._slowest_s = 0.0

    def update(self) -> None:
        """Tell the alerts of the last frame."""
        for alert in self._watch.update(self.recorder.monitor.status):
            latency_s = time.monotonic() - self.progress.arrived_s
            self._slowest_s = max(self._slowest_s, latency_s)
            self._tell(alert, latency_s)

    def source_changed(self, time_s: float, lost: bool) -> None:
        """Tell that the camera stopped or is back."""
        self.progress.console.print(f"camera {'lost' if lost else 'back'} at {time_s:.1f} s")
        self._tell(Alert("lost" if lost else "back", time_s, time_s), math.nan)

    def _tell(self, alert: Alert, latency_s: float) -> None:
        told = alert.to_json(started=self.recorder.started, latency_s=latency_s)
        if self.lines is not None:
            self.lines.write(json.dumps(told, allow_nan=False) + "\n")
        if alert.kind not in self.alarms:
            return
        if self.bell:
            typer.echo("\a", nl=False, err=True)
        if self.command is not None:
            self.command.start(told)

    def summary(self) -> str:
        """What the closing line says of alerts."""
        failed = 0 if self.command is None else self.command.failed
        return f"; {failed} programs of --on-alert failed" if failed else ""


@final
@dataclass
class _Outputs:
    """What is done with each frame."""

    recorder: FatigueRecorder
    alerts: _Alerts
    thumbs: Thumbs | None
    rows: StatusCsv | None
    film: FatigueFilm | None
    silent: bool

    def take(self, image: Image, tracked: TrackedFrame, events: Sequence[Event]) -> None:
        """Tell, print, write and draw a frame; alerts first."""
        status = self.recorder.monitor.status
        self.alerts.update()
        self.print(events)
        if self.rows:
            self.rows.write(status, self.recorder.started)
        if self.film:
            self.film.write(image, tracked, status, self.recorder.events)
        if self.thumbs:
            index = self.recorder.monitor.face_index(tracked)
            self.thumbs.add(image, None if index is None else tracked.frame.faces.boxes[index], status)

    def print(self, events: Sequence[Event]) -> None:
        """Print events that ended."""
        started = self.recorder.started
        for event in () if self.silent else events:
            on_clock = {} if started is None else {"clock": clock(started, event.start_s)}
            # It flushes, so that a reader of a pipe gets the event at once.
            typer.echo(json.dumps(event.to_json() | on_clock, allow_nan=False))


def _watched(
    progress: VideoProgress, source: VideoSource, tracker: Tracker, recorder: FatigueRecorder, *, live: bool
) -> _Frames:
    """Each frame, its faces, and the events that ended; where recordings were joined, no event goes on."""
    restarts = 0
    for image, time_s in progress:
        if live and recorder.started is None:
            recorder.started = datetime.now().astimezone() - timedelta(seconds=time_s)
        events = recorder.pause() if source.restarts > restarts else []
        restarts = source.restarts
        tracked = tracker(image, time_s)
        yield image, tracked, events + recorder.add(tracked, image)


def _summary(report: FatigueReport) -> str:
    kinds = [event.kind for event in report.events]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in EVENT_COLORS)
    perclos = "unknown" if math.isnan(report.perclos) else f"{100 * report.perclos:.1f} %"
    return f"{counts}, PERCLOS {perclos}, face lost for {report.faces_lost_s:.1f} s"
