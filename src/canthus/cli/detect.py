"""``canthus detect``: faces and landmarks of pictures."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import cv2
import typer
from rich.console import Console

from canthus.cli import options
from canthus.cli.output import markup, plural, record_writers
from canthus.cli.progress import INTERRUPTED, STOPPED, ProgressBar, StopRequest
from canthus.errors import ConfigError, DataError, ImageError, printable
from canthus.files import check_targets
from canthus.images import read_images, write_image
from canthus.runtime.box_files import BoxFile, read_boxes
from canthus.runtime.draw import draw_frame
from canthus.runtime.inputs import Inputs, find_inputs
from canthus.runtime.pipeline import Pipeline, load_pipeline
from canthus.runtime.sessions import usable_threads
from canthus.types import Frame, Image

CsvOption = Annotated[
    str | None, typer.Option("--csv", metavar="FILE|-", help="Write one CSV row per face; - is standard output.")
]
BoxesOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Read face boxes from this JSON or CSV file; no detector runs.")
]
TilesOption = Annotated[
    bool | None,
    typer.Option(
        "--detector-tiles/--no-detector-tiles",
        show_default="for pictures of more than twice the --detector-size",
        help="Also search tiles of larger pictures for small faces. Slower.",
    ),
]
PassesOption = Annotated[
    int | None,
    typer.Option(
        show_default="2 for haar, yunet and --boxes, 2 to 4 for none, else 1",
        help="Crops per face. 2 re-crops around the first landmarks; helps with loose boxes.",
    ),
]


def detect(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Pictures, folders (searched with all subfolders), quoted patterns."),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write pictures with boxes and landmarks drawn to this folder.")
    ] = None,
    json_file: options.JsonOption = None,
    csv_file: CsvOption = None,
    model: options.LandmarkModelOption = "default",
    detector: options.DetectorOption = None,
    detector_model: options.DetectorModelOption = None,
    detector_size: options.DetectorSizeOption = None,
    detector_tiles: TilesOption = None,
    min_score: options.MinScoreOption = None,
    min_confidence: options.MinConfidenceOption = 0.0,
    boxes: BoxesOption = None,
    passes: PassesOption = None,
    threads: Annotated[int, typer.Option(help="Threads for the detector and the landmark model.")] = 1,
) -> None:
    """Find faces and their landmarks in pictures.

    Without --out, --json and --csv, a short summary is printed.
    Exit code 1: some inputs could not be read; the results of the others are written.
    """
    if boxes is not None:
        _refuse_with_boxes(detector, detector_model, detector_size, detector_tiles, min_score)
        detector, passes = "none", 2 if passes is None else passes  # boxes from elsewhere fit less well
    pipeline = load_pipeline(
        model, detector=detector or "default", detector_model=detector_model, detector_size=detector_size,
        detector_tiles="auto" if detector_tiles is None else detector_tiles, threads=threads, passes=passes,
        min_score=min_score, min_confidence=min_confidence,
    )  # fmt: skip
    cv2.setNumThreads(usable_threads(threads))
    known = None if boxes is None else read_boxes(boxes)
    found = find_inputs(inputs, leave_out=out)
    check_targets([*found.paths, boxes, detector_model], text={"--json": json_file, "--csv": csv_file})
    overlays = [] if out is None else found.overlay_paths(out)
    with ExitStack() as stack:
        writers = record_writers(stack, json_file, csv_file, pipeline.landmarker.session, video=False)
        if not (writers or overlays):
            writers.append(_print_summary)
        work = _Work(pipeline, known, writers, dict(zip(found.paths, overlays, strict=False)))
        code = _run(work, found)
    if code:
        raise typer.Exit(code)


def _refuse_with_boxes(*settings: object) -> None:
    """Refuse settings of the detector beside boxes from a file.

    Raises:
        ConfigError: one of them was given.
    """
    if any(value is not None for value in settings):
        raise ConfigError("--boxes replaces the detector; leave out --boxes, or all --detector options and --min-score")


def _run(work: "_Work", found: Inputs) -> int:
    """Process all pictures; return the exit code.

    Raises:
        Exit: no picture could be read.  Files of an earlier run stay as they are.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # damaged files are reported below
    tally, total = _Tally(), len(found.paths)
    with ProgressBar(tally.console, "detect") as bar, StopRequest() as stop:
        for problem in found.problems:
            tally.fail(problem)
        # No enumerate, which would keep each picture in memory while the next one is decoded.
        for path, image in read_images(found.paths):
            try:
                tally.add(work.done_with(Path(path), image))
            except DataError as error:
                tally.fail(str(error))
                work.write_failure(Path(path), error)
            del image
            tally.done += 1
            if total > 1:
                bar(f"{tally.done} of {total}", tally.done, total)
            if stop.asked:
                break
    return tally.finish(found.passed_over, stopped=stop.asked)


@final
@dataclass(frozen=True)
class _Work:
    """What is done with each picture.

    Attributes:
        known: boxes from a file; None to run the detector.
        writers: get one record of each picture.
        overlays: picture -> where it is written with what was found; empty for nowhere.
    """

    pipeline: Pipeline
    known: BoxFile | None
    writers: Sequence[Callable[[Mapping[str, Any]], None]]
    overlays: Mapping[Path, Path]

    def done_with(self, path: Path, image: Image | ImageError) -> Frame:
        """Find and write the faces of a picture.

        Raises:
            DataError: the picture cannot be read, processed or drawn; the next one may be.
        """
        if isinstance(image, ImageError):
            raise image
        try:
            frame = self._frame(path, image)
            if self.overlays:
                write_image(self.overlays[path], draw_frame(image, frame))
        except (ValueError, MemoryError, cv2.error) as error:
            reason = error.err if isinstance(error, cv2.error) else str(error) or "there is not enough memory"
            raise DataError(f"{path}: cannot be processed ({' '.join(reason.split())})") from error
        record = frame.to_dict(str(path), image)
        for write in self.writers:
            write(record)
        return frame

    def _frame(self, path: Path, image: Image) -> Frame:
        if self.known is None:
            return self.pipeline(image)
        return self.pipeline.mark(image, self.known.faces_in(image, path))

    def write_failure(self, path: Path, error: DataError) -> None:
        """Write the record of a picture that failed."""
        reason = str(error).removeprefix(f"{path}: ")
        for write in self.writers:
            write({"image": str(path), "width": None, "height": None, "faces": [], "error": reason})


@final
class _Tally:
    """Numbers of pictures and faces, and the failures, which are printed as they happen."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.done = self._pictures = self._faces = self._doubtful = self._failed = 0

    def add(self, frame: Frame) -> None:
        self._pictures += 1
        self._faces += len(frame)
        self._doubtful += sum(face.doubtful for face in frame)

    def fail(self, problem: str) -> None:
        self._failed += 1
        self.console.print(f"[red]failed:[/] {markup(problem)}", soft_wrap=True)

    def finish(self, passed_over: Mapping[str, int], *, stopped: bool) -> int:
        """Print the closing line, with the number of files passed over by suffix; return the exit code.

        Raises:
            Exit: no picture could be read.
        """
        if stopped:
            self.console.print(STOPPED)
        faces = plural(self._faces, "face") + (f" ({self._doubtful} doubtful)" if self._doubtful else "")
        closing = f"{plural(self._pictures, 'picture')}, {faces}, {self._failed} failed"
        if passed_over:
            kinds = ", ".join(f"{count} {kind}" for kind, count in passed_over.items())
            closing += f"; passed over {plural(sum(passed_over.values()), 'other file')} ({markup(kinds)})"
        self.console.print(closing, soft_wrap=True)
        if self._failed and not self._pictures:
            raise typer.Exit(1)
        return INTERRUPTED if stopped else min(self._failed, 1)


def _print_summary(record: Mapping[str, Any]) -> None:
    if "error" in record:
        return  # standard error has it
    typer.echo(f"{printable(record['image'])}: {plural(len(record['faces']), 'face')}")
    for number, face in enumerate(record["faces"], start=1):
        x1, y1, x2, y2 = face["box"]
        size = f"{x2 - x1:.0f} x {y2 - y1:.0f} at {x1:.0f}, {y1:.0f}"
        sure = f", confidence {face['face_confidence']:.2f}" if "face_confidence" in face else ""
        points = f"{len(face['points'])} points ({face['scheme']})"
        typer.echo(f"  {number}: {size}, score {face['score']:.2f}{sure}, {points}")
