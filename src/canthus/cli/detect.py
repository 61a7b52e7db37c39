"""``canthus detect``: faces and landmarks of pictures."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, final

import cv2
import typer
from rich.console import Console

from canthus.cli import options
from canthus.cli.output import markup, plural, record_writers
from canthus.cli.progress import INTERRUPTED, STOPPED, ProgressBar, StopRequest
from canthus.errors import CanthusError, ConfigError, DataError, printable
from canthus.files import check_targets
from canthus.images import read_images, write_image
from canthus.runtime.box_files import BoxFile, read_boxes
from canthus.runtime.draw import draw_frame
from canthus.runtime.inputs import Inputs, find_inputs
from canthus.runtime.pipeline import Pipeline, load_pipeline
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
Write = Callable[[int, str, Image, Frame], None]
"""Takes number and name of a picture, the picture, and what was found in it."""


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
    cv2.setNumThreads(threads)
    known = None if boxes is None else read_boxes(boxes)
    found = find_inputs(inputs, leave_out=out)
    check_targets([*found.paths, boxes, detector_model], text={"--json": json_file, "--csv": csv_file})
    overlays = [] if out is None else found.overlay_paths(out)
    with ExitStack() as stack:
        writers = record_writers(stack, json_file, csv_file, pipeline.landmarker.session, video=False)
        if not (writers or overlays):
            writers.append(_print_summary)

        def write(number: int, name: str, image: Image, frame: Frame) -> None:
            record = frame.to_dict(name, image)
            for writer in writers:
                writer(record)
            if overlays:
                write_image(overlays[number], draw_frame(image, frame))

        code = _run(pipeline, known, found, write)
    if code:
        raise typer.Exit(code)


def _refuse_with_boxes(*settings: object) -> None:
    """Refuse settings of the detector beside boxes from a file.

    Raises:
        ConfigError: one of them was given.
    """
    if any(value is not None for value in settings):
        raise ConfigError("--boxes replaces the detector; leave out --boxes, or all --detector options and --min-score")


def _run(pipeline: Pipeline, known: BoxFile | None, found: Inputs, write: Write) -> int:
    """Process all pictures; return the exit code.

    Raises:
        Exit: no picture could be read.  Files of an earlier run stay as they are.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # damaged files are reported below
    tally, total = _Tally(), len(found.paths)
    with ProgressBar(tally.console, "detect") as bar, StopRequest() as stop:
        for problem in found.problems:
            tally.fail(problem)
        for number, (path, image) in enumerate(read_images(found.paths)):
            try:
                if isinstance(image, CanthusError):
                    raise image
                frame = pipeline(image) if known is None else pipeline.mark(image, known.faces_in(image, path))
            except DataError as error:
                tally.fail(str(error))
            else:
                tally.add(frame)
                write(number, str(path), image, frame)
            if total > 1:
                bar(f"{number + 1} of {total}", number + 1, total)
            if stop.asked:
                break
    return tally.finish(stopped=stop.asked)


@final
class _Tally:
    """Numbers of pictures and faces, and the failures, which are printed as they happen."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._pictures = self._faces = self._doubtful = self._failed = 0

    def add(self, frame: Frame) -> None:
        self._pictures += 1
        self._faces += len(frame)
        self._doubtful += sum(face.doubtful for face in frame)

    def fail(self, problem: str) -> None:
        self._failed += 1
        self.console.print(f"[red]failed:[/] {markup(problem)}", soft_wrap=True)

    def finish(self, *, stopped: bool) -> int:
        """Print the closing line; return the exit code.

        Raises:
            Exit: no picture could be read.
        """
        if stopped:
            self.console.print(STOPPED)
        faces = plural(self._faces, "face") + (f" ({self._doubtful} doubtful)" if self._doubtful else "")
        self.console.print(f"{plural(self._pictures, 'picture')}, {faces}, {self._failed} failed")
        if self._failed and not self._pictures:
            raise typer.Exit(1)
        return INTERRUPTED if stopped else min(self._failed, 1)


def _print_summary(record: Mapping[str, Any]) -> None:
    typer.echo(f"{printable(record['image'])}: {plural(len(record['faces']), 'face')}")
    for number, face in enumerate(record["faces"], start=1):
        x1, y1, x2, y2 = face["box"]
        size = f"{x2 - x1:.0f} x {y2 - y1:.0f} at {x1:.0f}, {y1:.0f}"
        sure = f", confidence {face['face_confidence']:.2f}" if "face_confidence" in face else ""
        points = f"{len(face['points'])} points ({face['scheme']})"
        typer.echo(f"  {number}: {size}, score {face['score']:.2f}{sure}, {points}")
