"""``canthus fatigue``: signs of fatigue in a video."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TextIO

import cv2
import typer

from canthus.cli import options
from canthus.cli.output import opened_lines, opened_text, versioned
from canthus.cli.progress import VideoProgress
from canthus.fatigue.events import Event
from canthus.fatigue.film import FatigueFilm
from canthus.fatigue.report import FatigueRecorder, FatigueReport, StatusCsv, plot_timeline
from canthus.files import check_targets
from canthus.lookup import require
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.sessions import usable_threads
from canthus.runtime.tracker import Smoothing, Tracker, TrackerSettings
from canthus.runtime.video import VideoSource, open_video
from canthus.schemes import IBUG_68, conversion_matrix
from canthus.types import Image, TrackedFrame

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


def fatigue(
    video: options.VideoArgument,
    json_file: JsonOption = None,
    csv_file: CsvOption = None,
    plot: PlotOption = None,
    out: options.VideoOutOption = None,
    model: options.LandmarkModelOption = "default",
    detector: options.DetectorOption = None,
    detector_model: options.DetectorModelOption = None,
    detector_size: options.DetectorSizeOption = None,
    detector_tiles: options.DetectorTilesOption = False,
    min_score: options.MinScoreOption = None,
    min_confidence: options.MinConfidenceOption = 0.0,
    threads: options.VideoThreadsOption = 1,
    fps: options.PicturesRateOption = None,
) -> None:
    """Find blinks, long closures, yawns and nods in a video, and rate how awake the person is.

    Each event is printed as one line of JSON when it ends, unless --json - or --csv - use standard output.
    Exit code 1: the video is damaged or cut short; everything decoded so far is reported.
    """
    check_targets(
        [video, detector_model],
        text={"--json": json_file, "--csv": csv_file}, picture={"--plot": plot}, video={"--out": out},
    )  # fmt: skip
    if plot is not None:
        require("matplotlib", extra="plots")
    pipeline = load_pipeline(
        model, detector=detector or "default", detector_model=detector_model, detector_size=detector_size,
        detector_tiles=detector_tiles, threads=threads, min_score=min_score, min_confidence=min_confidence,
    )  # fmt: skip
    conversion_matrix(pipeline.landmarker.session.scheme, IBUG_68)  # refuses models of other points at once
    cv2.setNumThreads(usable_threads(threads))
    # The measures use unsmoothed points; only the drawing needs smooth ones.
    tracker = Tracker(pipeline, TrackerSettings(smoothing=None if out is None else Smoothing()))
    recorder = FatigueRecorder()
    silent = "-" in (json_file, csv_file)
    with open_video(video, threads=threads, fps=fps) as source, ExitStack() as stack:
        progress = VideoProgress(source, "fatigue")
        target = stack.enter_context(opened_text(json_file)) if json_file else None
        rows = StatusCsv(stack.enter_context(opened_lines(csv_file))) if csv_file else None
        film = stack.enter_context(FatigueFilm(out, recorder.monitor.settings, fps=source.fps)) if out else None
        for image, tracked, events in _watched(progress, source, tracker, recorder):
            _print_events(events, silent=silent)
            if rows:
                rows.write(recorder.monitor.status)
            if film:
                film.write(image, tracked, recorder.monitor.status, recorder.events)
        _print_events(recorder.finish(), silent=silent)
        report = recorder.report()
        _write_report(target, report)
    if plot is not None:
        title = Path(video).name if Path(video).exists() else source.name
        plot_timeline(plot, recorder.timeline, report.events, settings=recorder.monitor.settings, title=title)
    progress.report(_summary(report))


def _write_report(target: TextIO | None, report: FatigueReport) -> None:
    if target is not None:
        target.write(json.dumps(versioned(report.to_json()), allow_nan=False) + "\n")


def _watched(
    progress: VideoProgress, source: VideoSource, tracker: Tracker, recorder: FatigueRecorder
) -> Iterator[tuple[Image, TrackedFrame, list[Event]]]:
    """Each frame, its faces, and the events that ended; where recordings were joined, no event goes on."""
    restarts = 0
    for image, time_s in progress:
        events = recorder.pause() if source.restarts > restarts else []
        restarts = source.restarts
        tracked = tracker(image, time_s)
        yield image, tracked, events + recorder.add(tracked, image)


def _print_events(events: Sequence[Event], *, silent: bool) -> None:
    for event in () if silent else events:
        # It flushes, so that a reader of a pipe gets the event at once.
        typer.echo(json.dumps(event.to_json(), allow_nan=False))


def _summary(report: FatigueReport) -> str:
    kinds = [event.kind for event in report.events]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("blink", "closure", "yawn", "nod", "away"))
    perclos = "unknown" if math.isnan(report.perclos) else f"{100 * report.perclos:.1f} %"
    return f"{counts}, PERCLOS {perclos}, face lost for {report.faces_lost_s:.1f} s"
