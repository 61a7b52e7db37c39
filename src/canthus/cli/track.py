"""``canthus track``: faces and landmarks through a video."""

from contextlib import ExitStack
from typing import Annotated

import cv2
import typer

from canthus.cli import options
from canthus.cli.output import plural, record_writers
from canthus.cli.progress import VideoProgress
from canthus.files import check_targets
from canthus.runtime.draw import draw_tracked
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.sessions import usable_threads
from canthus.runtime.tracker import Smoothing, Tracker, TrackerSettings
from canthus.runtime.video import VideoWindow, VideoWriter, open_video

JsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE|-", help="Write one line of JSON per frame; - is standard output."),
]
CsvOption = Annotated[
    str | None,
    typer.Option("--csv", metavar="FILE|-", help="Write one CSV row per face and frame; - is standard output."),
]
PauseOption = Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="Seconds between runs of the detector.")]
SmoothOption = Annotated[
    bool, typer.Option("--smooth/--no-smooth", help="Smooth the landmarks over time (One-Euro filter).")
]


def track(
    video: options.VideoArgument,
    out: options.VideoOutOption = None,
    json_file: JsonOption = None,
    csv_file: CsvOption = None,
    show: Annotated[bool, typer.Option("--show", help="Show a window. Needs an OpenCV that has windows.")] = False,
    model: options.LandmarkModelOption = "default",
    detector: options.DetectorOption = None,
    detector_model: options.DetectorModelOption = None,
    detector_size: options.DetectorSizeOption = None,
    detector_tiles: options.DetectorTilesOption = False,
    min_score: options.MinScoreOption = None,
    min_confidence: options.MinConfidenceOption = 0.0,
    detect_every: PauseOption = 1.0,
    smooth: SmoothOption = True,
    threads: options.VideoThreadsOption = 1,
    fps: options.PicturesRateOption = None,
) -> None:
    """Follow faces and their landmarks through a video. Each face keeps its number.

    Exit code 1: the video is damaged or cut short; everything decoded so far is written.
    """
    check_targets([video, detector_model], text={"--json": json_file, "--csv": csv_file}, video={"--out": out})
    settings = TrackerSettings(
        detect_every_s=detect_every,
        unconfirmed_s=max(TrackerSettings.unconfirmed_s, 3 * detect_every),
        smoothing=Smoothing() if smooth else None,
    )
    pipeline = load_pipeline(
        model, detector=detector or "default", detector_model=detector_model, detector_size=detector_size,
        detector_tiles=detector_tiles, threads=threads, min_score=min_score, min_confidence=min_confidence,
    )  # fmt: skip
    cv2.setNumThreads(usable_threads(threads))
    tracker = Tracker(pipeline, settings)
    faces: set[int] = set()
    with open_video(video, threads=threads, fps=fps) as source, ExitStack() as stack:
        progress = VideoProgress(source, "track")
        film = stack.enter_context(VideoWriter(out, fps=source.fps)) if out else None
        writers = record_writers(stack, json_file, csv_file, pipeline.landmarker.session, video=True)
        window = VideoWindow("canthus track") if show else None
        for number, (image, time_s) in enumerate(progress):
            tracked = tracker(image, time_s)
            faces |= set(tracked.ids.tolist())
            for write in writers:
                write(tracked.to_dict(number))
            if film or window:
                canvas = draw_tracked(image, tracked)
                if film:
                    film.write(canvas, time_s)
                progress.stopped = window is not None and not window.show(canvas)
    progress.report(f"{plural(len(faces), 'face')}, detector run {tracker.detections} times")
