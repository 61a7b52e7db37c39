"""``canthus batch``: the faces of many pictures and videos as Parquet."""

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from canthus.batch import Job, Part, Source, run
from canthus.batch.sources import Storage
from canthus.cli import options
from canthus.cli.output import markup, plural
from canthus.cli.progress import INTERRUPTED, STOPPED, ProgressBar, StopRequest
from canthus.files import check_targets
from canthus.runtime.backends import CPU, ONNXRUNTIME, find_device

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="A folder, a quoted pattern, a list of names (.txt), a Parquet file, or an address (s3://, gs://, hf://).",
    ),
]
DestinationArgument = Annotated[
    str, typer.Argument(metavar="DST", help="Folder or address of the results; they are resumed where there are some.")
]
EngineOption = Annotated[str, typer.Option(help="local: processes of this machine. ray: a cluster of Ray.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, show_default="one a processor", help="Processes, or actors of Ray.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", show_default="RAY_ADDRESS, else this machine", help="Cluster of Ray: auto or HOST:PORT."
    ),
]
PartOption = Annotated[
    str, typer.Option(metavar="I/N", help="Only part I of N of the pictures, for jobs that share the work.")
]
ShardOption = Annotated[int, typer.Option(min=1, help="Pictures in a file of the results.")]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="Try those again that could not be read before.")]
ColumnOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", show_default="image, bytes or path", help="Column of Parquet files with pictures or paths."
    ),
]
NamesOption = Annotated[
    str | None,
    typer.Option(
        "--name-column", metavar="NAME", show_default="FILE#ROW", help="Column with the names of pictures held in rows."
    ),
]


def batch(
    source: SourceArgument,
    destination: DestinationArgument,
    engine: EngineOption = "local",
    workers: WorkersOption = None,
    address: AddressOption = None,
    part: PartOption = "1/1",
    retry_failed: RetryOption = False,
    shard: ShardOption = 1000,
    column: ColumnOption = None,
    name_column: NamesOption = None,
    model: options.LandmarkModelOption = "default",
    detector: options.DetectorOption = None,
    detector_model: options.DetectorModelOption = None,
    detector_size: options.DetectorSizeOption = None,
    detector_tiles: options.AutoTilesOption = None,
    min_score: options.MinScoreOption = None,
    min_confidence: options.MinConfidenceOption = 0.0,
    passes: options.PassesOption = None,
    device: options.DeviceOption = "cpu",
    backend: options.BackendOption = "onnxruntime",
) -> None:
    """Find the faces of many pictures and videos, on one machine or many. The same command again resumes.

    DST/faces gets one row a face (of a video: a face and frame), DST/pictures one row a picture.
    Exit code 1: some pictures could not be read; their rows say why.
    """
    given = {
        "model": model, "detector": detector, "detector_size": detector_size, "detector_tiles": detector_tiles,
        "detector_model": None if detector_model is None else str(detector_model), "min_score": min_score,
        "min_confidence": min_confidence, "passes": passes, **_elsewhere(device, backend),
    }  # fmt: skip
    job = Job(
        Source(source, column, name_column, destination),
        destination,
        {name: value for name, value in given.items() if value is not None},
        Part.parse(part),
        engine,
        workers,
        address,
        shard,
        retry_failed,
    )
    check_targets([source, model, detector_model], text={"DST": Path(destination) / "manifest.json"})
    code = _run(job)
    if code:
        raise typer.Exit(code)


def _elsewhere(device: str, backend: str) -> dict[str, str]:
    """Device and back end that are not the usual ones, so that a dataset of before there were others goes on."""
    find_device(device, backend)
    return ({} if device == CPU else {"device": device}) | ({} if backend == ONNXRUNTIME else {"backend": backend})


def _run(job: Job) -> int:
    """Do the job; return the exit code."""
    console, problems = Console(stderr=True, highlight=False), list[str]()

    def report(problem: str) -> None:
        problems.append(problem)
        console.print(f"[red]failed:[/] {markup(problem)}", soft_wrap=True)

    stopped, started_s, before, written = False, time.monotonic(), -1, 0
    with ProgressBar(console, "batch") as bar, StopRequest() as stop, closing(run(job, report)) as states:
        for tally, files in states:
            before = tally.pictures if before < 0 else before
            new = tally.pictures - before
            rate = new / max(time.monotonic() - started_s, 1e-6)
            bar(f"{new:,} pictures, {rate:.0f} pictures/s", new, None, line=files > written)
            written = files
            if stop.asked:
                stopped = True
                break
    if stopped:
        console.print(STOPPED)
    lacking = f", {tally.failed:,} failed" + (f", {tally.damaged:,} damaged" if tally.damaged else "")
    console.print(
        f"{new:,} new; {markup(Storage(job.destination).base)} holds {plural(tally.pictures, 'picture')}, "
        f"{plural(tally.faces, 'face')}{lacking}" + (f"; {rate:.1f} pictures/s" if new else ""),
        soft_wrap=True,
    )
    if stopped:
        return INTERRUPTED
    return min(1, tally.failed + tally.damaged + len(problems))
