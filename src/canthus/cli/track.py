"""``canthus track``: faces and landmarks through a video."""

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

if TYPE_CHECKING:
    from canthus.cli.video_run import Watch, Window
    from canthus.runtime.landmarker import CropModel
    from canthus.runtime.records import CsvWriter, JsonLinesWriter
    from canthus.runtime.video import VideoWriter
    from canthus.types import Image, TrackedFrame


JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Write one JSON line a frame; - is stdout.")
]


def track(
    video: Annotated[str, typer.Argument(metavar="VIDEO|CAMERA", help="A video file, or a camera's number such as 0.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an annotated H.264 video.")] = None,
    json_file: JsonOption = None,
    csv_file: Annotated[
        str | None, typer.Option("--csv", metavar="FILE|-", help="Write one CSV row a face and frame.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show a window, where OpenCV has any.")] = False,
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="Landmark model; see 'canthus models'.")] = "default",
    detector: DetectorOption = None,
    detector_model: DetectorModelOption = None,
    detector_size: DetectorSizeOption = None,
    detector_tiles: DetectorTilesOption = False,
    detect_every: Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="Pause between searches.")] = 1.0,
    smooth: Annotated[bool, typer.Option("--smooth/--no-smooth", help="Steady the points (One-Euro filter).")] = True,
    threads: Annotated[int, typer.Option(min=1, help="Threads of decoder, detector and landmark model.")] = 1,
) -> None:
    """Follow faces and their landmarks through a video. Each face keeps its number.

    Exit code 1: the video is damaged or cut short; everything decoded so far is written.
    """
    from canthus.cli.video_run import Watch, check_targets
    from canthus.runtime.tracker import Smoothing, Tracker, TrackerSettings
    from canthus.runtime.video import open_video

    check_targets(video, out=out, texts={"--json": json_file, "--csv": csv_file})
    settings = TrackerSettings(
        detect_every_s=detect_every,
        unconfirmed_s=max(TrackerSettings.unconfirmed_s, 3 * detect_every),
        smoothing=Smoothing() if smooth else None,
    )
    pipeline = open_pipeline(
        model, detector=detector, detector_model=detector_model, detector_size=detector_size,
        detector_tiles=detector_tiles, threads=threads,
    )  # fmt: skip
    tracker = Tracker(pipeline, settings)
    faces: set[int] = set()
    with open_video(video, threads=threads) as source, ExitStack() as stack:
        watch = Watch(source, verb="track")
        sinks = _Sinks(stack, watch, out=out, fps=source.fps, session=pipeline.landmarker.session)
        sinks.open(json_file, csv_file, show=show)
        with watch.until_interrupted():
            for number, (image, time_s) in enumerate(watch):
                tracked = tracker(image, time_s)
                faces |= set(tracked.ids.tolist())
                sinks.write(number, image, tracked)
    if not watch.report(f"{len(faces)} face{'' if len(faces) == 1 else 's'}, detector run {tracker.detections} times"):
        raise typer.Exit(1)


class _Sinks:
    """Where results go; all but the video, whose size only the first frame tells, are open before the first frame."""

    def __init__(
        self, stack: ExitStack, watch: "Watch", *, out: Path | None, fps: float | None, session: "CropModel"
    ) -> None:
        from canthus.lookup import require

        if out is not None:
            require("av", extra="video")
        self._stack, self._watch, self._out, self._fps, self._session = stack, watch, out, fps, session
        self._video: VideoWriter | None = None
        self._json: JsonLinesWriter | None = None
        self._csv: CsvWriter | None = None
        self._window: Window | None = None

    def open(self, json_file: str | None, csv_file: str | None, *, show: bool) -> None:
        from canthus.cli.tables import opened_text
        from canthus.cli.video_run import Window
        from canthus.runtime.records import FRAME_COLUMNS, CsvWriter, JsonLinesWriter

        if json_file:
            self._json = JsonLinesWriter(self._stack.enter_context(opened_text(json_file)))
        if csv_file:
            points, confidence = self._session.scheme.count, self._session.gives_scores
            file = self._stack.enter_context(opened_text(csv_file))
            self._csv = CsvWriter(file, points=points, confidence=confidence, columns=FRAME_COLUMNS)
        self._window = Window("canthus track") if show else None

    def write(self, number: int, image: "Image", tracked: "TrackedFrame") -> None:
        from canthus.runtime.draw import draw_tracked
        from canthus.runtime.video import VideoWriter

        if self._json or self._csv:
            record = tracked.to_dict(number)
            if self._json:
                self._json.write(record)
            if self._csv:
                self._csv.write(record)
        if self._out is None and self._window is None:
            return
        canvas = draw_tracked(image, tracked)
        if self._out is not None and self._video is None:
            height, width = image.shape[:2]
            self._video = self._stack.enter_context(VideoWriter(self._out, width=width, height=height, fps=self._fps))
        if self._video:
            self._video.write(canvas, tracked.time_s)
        if self._window and not self._window.show(canvas):
            self._watch.stopped = True
