"""``canthus detect``: faces and landmarks of pictures."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from canthus.cli.options import (
    DetectorModelOption,
    DetectorOption,
    DetectorSizeOption,
    DetectorTilesOption,
    open_pipeline,
)
from canthus.errors import CanthusError, ConfigError, DataError

if TYPE_CHECKING:
    from canthus.runtime.box_files import BoxFile
    from canthus.runtime.inputs import Inputs
    from canthus.runtime.landmarker import CropModel
    from canthus.runtime.pipeline import Pipeline
    from canthus.types import Frame, Image

BoxesOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Take face boxes from this JSON or CSV, not from a detector.")
]


def detect(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Pictures, folders (with all sub-folders), quoted patterns.")
    ],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write overlay pictures here.")] = None,
    json_file: Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write JSON; - is stdout.")] = None,
    csv_file: Annotated[str | None, typer.Option("--csv", metavar="FILE|-", help="Write one CSV row a face.")] = None,
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="Landmark model; see 'canthus models'.")] = "default",
    detector: DetectorOption = None,
    detector_model: DetectorModelOption = None,
    detector_size: DetectorSizeOption = None,
    detector_tiles: DetectorTilesOption = False,
    boxes: BoxesOption = None,
    passes: Annotated[
        int | None,
        typer.Option(
            help="2: cut out again by the points found; bears poor boxes better. [2 for haar, yunet, --boxes, else 1]"
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of the detector and of the landmark model.")] = 1,
) -> None:
    """Find faces and their landmarks in pictures.

    Without --out, --json or --csv a short summary is printed. Exit code 1: some inputs could not be read.
    """
    import cv2

    from canthus.runtime.box_files import read_boxes
    from canthus.runtime.inputs import find_inputs

    if boxes is not None and (detector or detector_model or detector_size or detector_tiles):
        raise ConfigError("--boxes and --detector (-model, -size, -tiles) both say where faces are; give one of them")
    if json_file == csv_file == "-":
        raise ConfigError("--json - and --csv - would mix on standard output; write one of them to a file")
    if boxes is not None and passes is None:
        passes = 2  # boxes of other detectors have other habits
    pipeline = open_pipeline(
        model, detector=detector if boxes is None else "none", detector_model=detector_model,
        detector_size=detector_size, detector_tiles=detector_tiles, threads=threads, passes=passes,
    )  # fmt: skip
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    known = None if boxes is None else read_boxes(boxes)
    found = find_inputs(inputs, leave_out=out)
    targets = [] if out is None else found.overlay_paths(out)
    with ExitStack() as stack:
        sinks = _Sinks(stack, json_file, csv_file, targets, session=pipeline.landmarker.session)
        failed = _run(pipeline, known, found, sinks)
    if failed:
        raise typer.Exit(1)


class _Sinks:
    """Where results go; opened before the first picture, so that a bad path is told at once."""

    def __init__(
        self,
        stack: ExitStack,
        json_file: str | None,
        csv_file: str | None,
        overlays: list[Path],
        *,
        session: "CropModel",
    ) -> None:
        from canthus.runtime.records import CsvWriter, JsonWriter

        self._json = stack.enter_context(JsonWriter(stack.enter_context(_opened(json_file)))) if json_file else None
        self._csv = None
        if csv_file:
            points, confidence = session.scheme.count, session.gives_scores
            self._csv = CsvWriter(stack.enter_context(_opened(csv_file)), points=points, confidence=confidence)
        self._overlays = overlays
        self._summary = not (json_file or csv_file or overlays)

    def write(self, number: int, name: str, image: "Image", frame: "Frame") -> None:
        from canthus.images import write_image
        from canthus.runtime.draw import draw_frame

        record = frame.to_dict(name, image)
        if self._json:
            self._json.write(record)
        if self._csv:
            self._csv.write(record)
        if self._overlays:
            write_image(self._overlays[number], draw_frame(image, frame))
        if self._summary:
            _print_summary(record)


def _run(pipeline: "Pipeline", known: "BoxFile | None", found: "Inputs", sinks: _Sinks) -> int:
    """Work through all pictures; how many inputs failed."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from canthus.images import read_images

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("detect"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = not console.is_terminal or len(found.paths) < 2
    faces, failures = 0, list(found.problems)
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        for problem in found.problems:
            console.print(f"[red]failed:[/] {escape(_readable(problem))}", soft_wrap=True)
        task = bar.add_task("detect", total=len(found.paths))
        for number, (path, image) in enumerate(read_images(found.paths)):
            try:
                if isinstance(image, CanthusError):
                    raise image
                frame = pipeline(image) if known is None else pipeline.mark(image, known.find(path))
            except DataError as error:
                failures.append(str(error))
                console.print(f"[red]failed:[/] {escape(_readable(str(error)))}", soft_wrap=True)
            else:
                faces += len(frame)
                sinks.write(number, str(path), image, frame)
            bar.advance(task)
    pictures = len(found.paths) + len(found.problems) - len(failures)
    console.print(f"{_count(pictures, 'picture')}, {_count(faces, 'face')}, {len(failures)} failed")
    return len(failures)


def _print_summary(record: dict[str, Any]) -> None:
    typer.echo(f"{_readable(record['image'])}: {_count(len(record['faces']), 'face')}")
    for number, face in enumerate(record["faces"], start=1):
        x1, y1, x2, y2 = face["box"]
        size = f"{x2 - x1:.0f} x {y2 - y1:.0f} at {x1:.0f}, {y1:.0f}"
        typer.echo(f"  {number}: {size}, score {face['score']:.2f}, {len(face['points'])} points ({face['scheme']})")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _readable(text: str) -> str:
    """Text that any terminal can print; bytes of a file name that are no text become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    if name == "-":
        if isinstance(sys.stdout, TextIOWrapper):  # file names may hold bytes that are no text
            sys.stdout.reconfigure(errors="surrogateescape")
        yield sys.stdout
        return
    try:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
    except OSError as error:
        raise ConfigError(f"{name}: cannot be written ({error.strerror})") from error
    with file:
        yield file
