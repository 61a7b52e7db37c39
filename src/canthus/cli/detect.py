"""``canthus detect``: faces and landmarks of pictures."""

import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import typer
from rich.console import Console

from canthus.cli import options
from canthus.cli.output import RecordFiles, Writer, markup, plural
from canthus.cli.progress import INTERRUPTED, STOPPED, ProgressBar, StopRequest
from canthus.errors import ConfigError, DataError, printable
from canthus.files import STANDARD_OUTPUT, apart, check_targets
from canthus.runtime.box_files import read_boxes
from canthus.runtime.chips import Chips
from canthus.runtime.inputs import Inputs, ListFile, mirrored_paths, overlay_paths
from canthus.runtime.picture_jobs import PictureTask, PictureWork, failed_record, records
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.records import EarlierRecords
from canthus.types import DOUBTFUL

JsonLinesOption = Annotated[
    str | None,
    typer.Option(
        "--jsonl",
        metavar="FILE|-",
        help="Write one line of JSON per picture as soon as it is done; - is standard output.",
    ),
]
CsvOption = Annotated[
    str | None, typer.Option("--csv", metavar="FILE|-", help="Write one CSV row per face; - is standard output.")
]
ListOption = Annotated[
    str | None,
    typer.Option(
        "--list", metavar="FILE|-", help="Take the inputs that a text file names, one a line; - is standard input.",
        rich_help_panel=options.RUNNING,
    ),
]  # fmt: skip
JobsOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="Processes that work side by side.", rich_help_panel=options.RUNNING)
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume", rich_help_panel=options.RUNNING,
        help="Go on with the file of --jsonl: skip the pictures that it holds. Refused with another model or options.",
    ),
]  # fmt: skip
BoxesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|DIR",
        help="Read face boxes from this JSON or CSV file, or from files as for WIDER FACE; no detector runs.",
        rich_help_panel=options.FACES,
    ),
]  # fmt: skip
ThreadsOption = Annotated[
    int,
    typer.Option(
        help="Threads for the detector and the landmark model, in each process.", rich_help_panel=options.RUNNING
    ),
]
OutOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write pictures with boxes and landmarks drawn to this folder.")
]


def detect(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT...", help="Pictures, folders (searched with all subfolders), quoted patterns."),
    ] = None,
    out: OutOption = None,
    json_file: options.JsonOption = None,
    jsonl_file: JsonLinesOption = None,
    csv_file: CsvOption = None,
    parquet: options.ParquetOption = None,
    pose: options.PoseOption = False,
    ratios: options.RatiosOption = False,
    scheme: options.SchemeOption = None,
    crops: options.CropsOption = None,
    crop_size: options.CropSizeOption = None,
    align: options.AlignOption = None,
    crop_format: options.CropFormatOption = None,
    model: options.LandmarkModelOption = "default",
    detector: options.DetectorOption = None,
    detector_model: options.DetectorModelOption = None,
    detector_size: options.DetectorSizeOption = None,
    detector_tiles: options.AutoTilesOption = None,
    min_score: options.MinScoreOption = None,
    min_confidence: options.MinConfidenceOption = 0.0,
    boxes: BoxesOption = None,
    passes: options.PassesOption = None,
    list_file: ListOption = None,
    jobs: JobsOption = 1,
    resume: ResumeOption = False,
    threads: ThreadsOption = 1,
    device: options.DeviceOption = "cpu",
    backend: options.BackendOption = "onnxruntime",
) -> None:
    """Find faces and their landmarks in pictures.

    Without an output, a short summary is printed.
    Exit code 1: some inputs could not be read; the results of the others are written.
    """
    if boxes is not None:
        _refuse_with_boxes(detector, detector_model, detector_size, detector_tiles)
        detector, passes = "none", 2 if passes is None else passes  # boxes from elsewhere fit less well
    pipeline = load_pipeline(
        model, detector=detector or "default", detector_model=detector_model, detector_size=detector_size,
        detector_tiles="auto" if detector_tiles is None else detector_tiles, threads=threads, passes=passes,
        min_score=None if boxes else min_score, min_confidence=min_confidence, device=device, backend=backend,
    )  # fmt: skip
    added = options.added_faces(pipeline, pose=pose, ratios=ratios, scheme=scheme)
    chips = options.chips(pipeline, crops, size=crop_size, align=align, file_format=crop_format)
    known = None if boxes is None else read_boxes(boxes, min_score=min_score)
    work = PictureWork(pipeline, *added, known=known, chips=chips, threads=threads)
    files = RecordFiles(json_file, jsonl_file, csv_file, parquet)
    read = [boxes, detector_model, list_file, options.scheme_file(scheme)]
    found = _Found(_inputs(inputs, list_file, leave_out=[out, crops]), files.targets(), out, chips, read)
    tally = _Tally(found.inputs, found.checked())
    raise typer.Exit(_run(work, found, files, tally, jobs=jobs, resume=resume))


def _refuse_with_boxes(*settings: object) -> None:
    """Refuse settings of the detector beside boxes from a file.

    Raises:
        ConfigError: one of them was given.
    """
    if any(value is not None for value in settings):
        raise ConfigError("--boxes replaces the detector; leave out --boxes, or all --detector options")


def _inputs(names: Sequence[str] | None, list_file: str | None, *, leave_out: Sequence[Path | None]) -> Inputs:
    """The pictures to work on.

    Raises:
        ConfigError: none were named.
    """
    if not names and list_file is None:
        raise ConfigError("No INPUT was given; name pictures, folders or patterns, or a file with --list")
    every = list(names or []) if list_file is None else ListFile(list_file, first=names or [])
    return Inputs(every, leave_out=leave_out)


@final
@dataclass(frozen=True)
class _Found:
    """The pictures, and where the results of each go.

    Attributes:
        targets: option -> text file that is written, which no picture may be.
        out: folder of the overlays.
        chips: how face chips are made; None for none.
        others: further files that are read.
    """

    inputs: Inputs
    targets: Mapping[str, str | Path | None]
    out: Path | None
    chips: Chips | None
    others: Sequence[Path | str | None]

    def checked(self) -> int | None:
        """Number of pictures, once it is known that no output would replace them, or others of the user's files.

        What standard input names is not counted (None), and checked while it is read.

        Raises:
            ConfigError: an output would.
        """
        counter = itertools.count()
        pictures = self.inputs if self.inputs.repeatable else ()
        read = itertools.chain((path for path, _ in zip(pictures, counter, strict=False)), self.others)
        check_targets(read, text=self.targets)
        return next(counter) if self.inputs.repeatable else None

    def tasks(self) -> Iterator[PictureTask]:
        """Each picture, found while they are worked on; with folders of results, all are found before the first.

        Raises:
            ConfigError: a result would replace a picture that is read.
        """
        if self.out is None and self.chips is None:
            return (PictureTask(path) for path in apart(self.inputs, self.targets))
        found = list(self.inputs.with_bases())
        pictures = [path for path, _ in found]
        overlays = [] if self.out is None else overlay_paths(found, self.out)
        crops = [] if self.chips is None else mirrored_paths(found, self.chips.folder)
        if self.chips is not None:
            self.chips.check_pictures(crops, [*self.targets.values(), *self.others, *pictures, *overlays])
        nowhere = [None] * len(pictures)
        places = zip(apart(pictures, self.targets), overlays or nowhere, crops or nowhere, strict=True)
        return (PictureTask(*place) for place in places)


def _run(work: PictureWork, found: _Found, files: RecordFiles, tally: "_Tally", *, jobs: int, resume: bool) -> int:
    """Process all pictures; return the exit code.

    Raises:
        ConfigError: there is nothing that could be resumed.
        Exit: no picture could be read.  Files of an earlier run stay as they are.
    """
    if resume and files.jsonl in (None, STANDARD_OUTPUT):
        raise ConfigError("--resume goes on with the file of --jsonl; name that file")
    settings = None if files.jsonl is None else {**work.settings(), "out": found.out and str(found.out)}
    earlier = EarlierRecords(str(files.jsonl), settings or {}) if resume else None
    tasks = found.tasks()
    with ExitStack() as stack:
        tally.tell_problems()
        keep = earlier.size if earlier else None
        lines = files.line_writers(stack, None if keep else settings, keep=keep)
        model = work.pipeline.landmarker.session
        others = files.writers(stack, model, work.measures, work.scheme, video=False)
        if not (lines or others or found.out or found.chips):
            others = [_print_summary]
        done = _write_again(earlier or (), others, tally)
        tasks = (task for task in tasks if str(task.path) not in done) if done else tasks
        stopped = _work_through(records(work, tasks, jobs=jobs), [*lines, *others], tally)
        return tally.finish(stopped=stopped)


def _write_again(earlier: Iterable[Mapping[str, Any]], writers: Sequence[Writer], tally: "_Tally") -> set[str]:
    """Give the records of an interrupted run to the files that begin anew; return the names of their pictures."""
    done = set()
    for record in earlier:
        done.add(record["image"])
        tally.add(record, told=True)
        for write in writers:
            write(record)
    tally.earlier = len(done)
    return done


def _work_through(stream: Generator[dict[str, Any], None, None], writers: Sequence[Writer], tally: "_Tally") -> bool:
    """Write each record; return whether a signal ended that early."""
    with closing(stream), ProgressBar(tally.console, "detect") as bar, StopRequest() as stop:
        for record in stream:
            try:
                for write in writers:
                    write(record)
            except DataError as error:
                record = failed_record(Path(record["image"]), str(error))
                for write in writers:
                    write(record)
            tally.add(record)
            tally.show(bar)
            if stop.asked:
                break
    return stop.asked


@final
class _Tally:
    """Numbers of pictures and faces, and the failures, which are printed as they happen.

    Args:
        inputs: the pictures; what is wrong with them is told as soon as it is known.
        total: number of pictures; None if it is not known.

    Attributes:
        earlier: number of pictures that were written by an earlier run.
    """

    def __init__(self, inputs: Inputs, total: int | None) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.earlier = self._done = self._pictures = self._faces = self._doubtful = self._failed = 0
        self._inputs, self._total, self._told = inputs, total, set[str]()

    def add(self, record: Mapping[str, Any], *, told: bool = False) -> None:
        """Count a picture; tell a failure unless it was told before."""
        self._done += 1
        self.tell_problems()
        if "error" in record:
            self._fail(f"{record['image']}: {record['error']}", told=told)
            return
        self._pictures += 1
        self._faces += len(record["faces"])
        self._doubtful += sum(face.get("face_confidence", 1.0) < DOUBTFUL for face in record["faces"])

    def show(self, bar: ProgressBar) -> None:
        """Show how far the work is."""
        if self._total is None:
            bar(f"{self._done}", self._done, None)
        elif self._total > 1:
            bar(f"{self._done} of {self._total}", self._done, self._total)

    def tell_problems(self) -> None:
        """Tell what is wrong with the inputs, as far as they were searched."""
        for problem in self._inputs.problems:
            if problem not in self._told:
                self._told.add(problem)
                self._fail(problem)

    def _fail(self, problem: str, *, told: bool = False) -> None:
        self._failed += 1
        if not told:
            self.console.print(f"[red]failed:[/] {markup(problem)}", soft_wrap=True)

    def finish(self, *, stopped: bool) -> int:
        """Print the closing line, with the number of files passed over by suffix; return the exit code.

        Raises:
            Exit: no picture could be read.
        """
        self.tell_problems()
        if stopped:
            self.console.print(STOPPED)
        faces = plural(self._faces, "face") + (f" ({self._doubtful} doubtful)" if self._doubtful else "")
        line = f"{plural(self._pictures, 'picture')}, {faces}, {self._failed} failed"
        if self.earlier:
            line += f"; {self.earlier} of them were written before"
        passed_over = self._inputs.passed_over
        if passed_over:
            kinds = ", ".join(f"{count} {kind}" for kind, count in passed_over.items())
            line += f"; passed over {plural(sum(passed_over.values()), 'other file')} ({markup(kinds)})"
        self.console.print(line, soft_wrap=True)
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
