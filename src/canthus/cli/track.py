"""``canthus track``: faces and landmarks through a video."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, final

import cv2
import typer
from rich.console import Console

from canthus.cli import options
from canthus.cli.output import RecordFiles, Writer, markup, plural
from canthus.cli.progress import VideoProgress
from canthus.errors import ConfigError
from canthus.evaluation.moments import FaceWatch, moment_tiles
from canthus.evaluation.plots import plot_moments
from canthus.files import check_targets
from canthus.lookup import require
from canthus.runtime.chips import Chips
from canthus.runtime.draw import draw_tracked
from canthus.runtime.measures import FaceMeasures
from canthus.runtime.pipeline import Pipeline, load_pipeline
from canthus.runtime.sessions import usable_threads
from canthus.runtime.tracker import Smoothing, Tracker, TrackerSettings
from canthus.runtime.video import VideoWindow, VideoWriter, open_video
from canthus.schemes import IBUG_68, Scheme, conversion_matrix
from canthus.types import Image, TrackedFrame

JsonOption = Annotated[
    str | None,
    typer.Option("--json", "--jsonl", metavar="FILE|-", help="Write one line of JSON per frame; - is standard output."),
]
CsvOption = Annotated[
    str | None,
    typer.Option("--csv", metavar="FILE|-", help="Write one CSV row per face and frame; - is standard output."),
]
PauseOption = Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="Seconds between runs of the detector.")]
SheetOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.png",
        help="Plot how open eyes and mouth of the face seen longest are (EAR and MAR), with the frames of its blinks "
        "and yawns. The video is read twice.",
    ),
]
SmoothOption = Annotated[
    bool, typer.Option("--smooth/--no-smooth", help="Smooth the landmarks over time (One-Euro filter).")
]


def track(
    video: options.VideoArgument,
    out: options.VideoOutOption = None,
    json_file: JsonOption = None,
    csv_file: CsvOption = None,
    parquet: options.ParquetOption = None,
    pose: options.PoseOption = False,
    ratios: options.RatiosOption = False,
    scheme: options.SchemeOption = None,
    crops: options.CropsOption = None,
    crop_size: options.CropSizeOption = None,
    align: options.AlignOption = None,
    crop_format: options.CropFormatOption = None,
    show: Annotated[bool, typer.Option("--show", help="Show a window. Needs an OpenCV that has windows.")] = False,
    model: options.LandmarkModelOption = "default",
    detector: options.DetectorOption = None,
    detector_model: options.DetectorModelOption = None,
    detector_size: options.DetectorSizeOption = None,
    detector_tiles: options.DetectorTilesOption = False,
    min_score: options.MinScoreOption = None,
    min_confidence: options.MinConfidenceOption = 0.0,
    detect_every: PauseOption = 1.0,
    faces: options.MostFacesOption = None,
    smooth: SmoothOption = True,
    threads: options.VideoThreadsOption = 1,
    device: options.DeviceOption = "cpu",
    backend: options.BackendOption = "onnxruntime",
    fps: options.PicturesRateOption = None,
    sheet: SheetOption = None,
) -> None:
    """Follow faces and their landmarks through a video. Each face keeps its number.

    Exit code 1: the video is damaged or cut short; everything decoded so far is written.
    """
    files = RecordFiles(jsonl=json_file, csv=csv_file, parquet=parquet, source=video)
    others = _checked(files, [video, detector_model, options.scheme_file(scheme)], out, sheet)
    pipeline = load_pipeline(
        model, detector=detector or "default", detector_model=detector_model, detector_size=detector_size,
        detector_tiles=detector_tiles, threads=threads, min_score=min_score, min_confidence=min_confidence,
        device=device, backend=backend,
    )  # fmt: skip
    added = options.added_faces(pipeline, pose=pose, ratios=ratios, scheme=scheme)
    watch = _watch(sheet, video, pipeline.landmarker.session.scheme)
    chips = options.chips(pipeline, crops, size=crop_size, align=align, file_format=crop_format)
    _check_chips(chips, others)
    tracker = _tracker(pipeline, detect_every, faces, smooth=smooth, threads=threads)
    with open_video(video, threads=threads, fps=fps) as source, ExitStack() as stack:
        progress = VideoProgress(source, "track")
        film = stack.enter_context(VideoWriter(out, fps=source.fps)) if out else None
        writers = [*files.line_writers(stack), *files.writers(stack, pipeline.landmarker.session, *added, video=True)]
        outputs = _Outputs(*added, chips, writers, film, VideoWindow("canthus track") if show else None, watch)
        outputs.take_all(progress, tracker)
    _write_sheet(sheet, watch, video, progress.console, threads=threads, fps=fps)
    progress.report(f"{plural(len(outputs.faces), 'face')}, detector run {tracker.detections} times")


def _checked(
    files: RecordFiles, read: Sequence[str | Path | None], out: Path | None, sheet: Path | None
) -> list[str | Path | None]:
    """The video and the files of text that are written, after a check that these replace nothing of the user's."""
    text = {**files.targets(), "--jsonl": None, "--json": files.jsonl}
    check_targets(read, text=text, video={"--out": out}, picture={"--sheet": sheet})
    return [read[0], *text.values()]


def _watch(sheet: Path | None, video: str, scheme: Scheme) -> FaceWatch | None:
    """What collects the curves for a sheet; what a sheet needs is checked before the video is read."""
    if sheet is None:
        return None
    if "://" in video or (video.isdecimal() and not Path(video).exists()):
        raise ConfigError(f"--sheet reads the video twice, which {video} does not allow; record it to a file first")
    require("matplotlib", extra="plots")
    conversion_matrix(scheme, IBUG_68)  # refuses models of other points at once
    return FaceWatch(scheme)


def _write_sheet(
    path: Path | None, watch: FaceWatch | None, video: str, console: Console, *, threads: int, fps: float | None
) -> None:
    """Plot the curves of the face that was seen longest, with frames of the video, which is read again."""
    if path is None or watch is None:
        return
    curves = watch.longest()
    if curves is None:
        console.print("no sheet: no face was found")
        return
    found = {"EAR": (curves.ear, curves.blinks()), "MAR": (curves.mar, curves.yawns())}
    with open_video(video, threads=threads, fps=fps) as source:
        tiles = moment_tiles(source, curves, [moment for _, moments in found.values() for moment in moments])
    plot_moments(
        path,
        {name: (curves.times_s, values) for name, (values, _) in found.items()},
        {
            name: [(m.time_s, float(values[m.place]), tiles[m.frame]) for m in moments if m.frame in tiles]
            for name, (values, moments) in found.items()
        },
        title=Path(video).name,
    )
    console.print(f"wrote {markup(path)}", soft_wrap=True)


def _check_chips(chips: Chips | None, others: Sequence[str | Path | None]) -> None:
    """Refuse a folder for crops in which they could replace something else."""
    if chips:
        chips.check_video(others)


def _tracker(pipeline: Pipeline, detect_every: float, most_faces: int | None, *, smooth: bool, threads: int) -> Tracker:
    cv2.setNumThreads(usable_threads(threads))
    settings = TrackerSettings(
        most_faces=most_faces,
        detect_every_s=detect_every,
        unconfirmed_s=max(TrackerSettings.unconfirmed_s, 3 * detect_every),
        smoothing=Smoothing() if smooth else None,
    )
    return Tracker(pipeline, settings)


@final
@dataclass(frozen=True)
class _Outputs:
    """What is done with each frame.

    Attributes:
        measures: what is added to each face.
        scheme: numbering of the points that are written and drawn; None for the model's own.
        chips: how face chips are made; None for none.
        writers: get the record of each frame.
        watch: keeps the curves for a sheet; None for none.
        faces: numbers of all faces so far.
    """

    measures: FaceMeasures
    scheme: Scheme | None
    chips: Chips | None
    writers: Sequence[Writer]
    film: VideoWriter | None
    window: VideoWindow | None
    watch: FaceWatch | None
    faces: set[int] = field(default_factory=set)

    def take_all(self, progress: VideoProgress, tracker: Tracker) -> None:
        """Take all frames, until the window is closed."""
        for number, (image, time_s) in enumerate(progress):
            progress.stopped = not self.take(number, image, tracker(image, time_s))

    def take(self, number: int, image: Image, tracked: TrackedFrame) -> bool:
        """Write, draw and show a frame; False once the window is closed."""
        self.faces.update(tracked.ids.tolist())
        if self.watch:
            self.watch.add(number, tracked)
        measured = self.measures.of(tracked.frame.landmarks.points, tracked.measured)
        written = tracked if self.scheme is None else tracked.convert(self.scheme)
        if self.writers or self.chips:
            record = written.to_dict(number)
            for face, additions in zip(record["faces"], measured.records, strict=True):
                face |= additions
            self._add_crops(record, image, tracked)
            for write in self.writers:
                write(record)
        if self.film is None and self.window is None:
            return True
        canvas = draw_tracked(image, written, angles=measured.angles)
        if self.film:
            self.film.write(canvas, tracked.time_s)
        return self.window is None or self.window.show(canvas)

    def _add_crops(self, record: dict[str, Any], image: Image, tracked: TrackedFrame) -> None:
        """Write the crops of a frame, to one folder for each face, and add what the record tells of them."""
        if self.chips is None:
            return
        folder, ids, name = self.chips.folder, tracked.ids, f"{record['frame']:06d}"
        chips = self.chips.write(image, tracked.frame, lambda index: folder / str(ids[index]) / name)
        for face, chip in zip(record["faces"], chips, strict=True):
            face["crop"] = chip
