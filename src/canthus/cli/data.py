"""``canthus data``: look after datasets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from canthus.cli.options import DetectorOption

if TYPE_CHECKING:
    from canthus.data import Report

app = typer.Typer(help="Check datasets, look at masks, and label pictures with a model.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Look after datasets: check, look, label."""


@app.command()
def check(
    dataset: Annotated[
        str,
        typer.Argument(
            help="300w, ytf, wflw, wild21, cofw, aflw, celeba, celeba_hq, facemask, widerface, fddb or folder (one's "
            "own pictures with landmarks)."
        ),
    ],
    root: Annotated[Path, typer.Argument(help="Folder of the dataset; for 'folder' also its csv or json file.")],
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write the report as JSON; '-' is stdout.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="Scheme of a 'folder' where the number of points does not tell it.")
    ] = None,
) -> None:
    """Open every picture and label: what is there, what cannot be read, what is there twice.

    Exit code 1 where anything is wrong. A part of a published set that is not there is no fault.
    """
    from rich.console import Console
    from rich.progress import Progress

    from canthus.cli.tables import write_json
    from canthus.data import check_dataset

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("opening pictures", total=None)
        report = check_dataset(
            dataset, root, scheme=scheme, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    if json_file != "-":
        _print(report)
    if json_file is not None:
        write_json(json_file, report.to_json())
    if not report.clean:
        raise typer.Exit(1)


@app.command()
def masks(
    out: Annotated[Path, typer.Option(help="Folder that the sheets are written to.")],
    dataset: Annotated[str | None, typer.Option(help="Faces of this dataset; drawn faces if absent.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the dataset.")] = None,
    split: Annotated[str | None, typer.Option(help="Part of the dataset.")] = None,
    faces: Annotated[int, typer.Option(min=1, help="Rows of each sheet.")] = 6,
    seed: Annotated[int, typer.Option(help="Of the masks, and of drawn faces.")] = 0,
) -> None:
    """Show how faces are covered, in evaluation and in training: one sheet of pictures each, covered points in red."""
    import numpy as np

    from canthus.errors import ConfigError
    from canthus.evaluation.mask_sheet import drawn_faces, mask_sheets, pictured_faces
    from canthus.images import write_image

    if dataset is None and (root is not None or split is not None):
        raise ConfigError("--root and --split need --dataset; of one's own pictures that is --dataset folder")
    if dataset is None:
        chosen = list(drawn_faces(faces, np.random.default_rng(seed)))
    else:
        from canthus.cli.evaluation_request import Request, truth_of

        _, _, annotations = truth_of(Request(dataset=dataset, root=root, split=split))
        chosen = list(pictured_faces(annotations[:: max(1, len(annotations) // faces)][:faces]))
    for name, picture in mask_sheets(chosen, seed=seed):
        path = out / f"{name}.png"
        write_image(path, picture)
        typer.echo(f"wrote {path}")


@app.command()
def label(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures, with its sub-folders.")],
    out: Annotated[Path, typer.Option(help="File of points to write, .csv or .txt (blanks instead of commas).")],
    model: Annotated[str, typer.Option(help="Embedded name, ONNX file, or .npz of 'canthus fit'.")] = "default",
    detector: DetectorOption = None,
    passes: Annotated[int | None, typer.Option(min=1, help="2 if absent; cuts the face out again.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model.")] = 1,
) -> None:
    """Let a model label pictures: a line for the largest face of each, as the readers of datasets take them.

    Such labels are a model's opinion; a network that learns from them learns its errors too.
    """
    from rich.console import Console
    from rich.progress import track

    from canthus.runtime.label_pictures import check_label_path, label_pictures, pictures_below, write_labels
    from canthus.runtime.pipeline import load_pipeline

    check_label_path(out)
    console = Console(stderr=True, highlight=False)
    pipeline = load_pipeline(model, detector=detector or "default", threads=threads, passes=passes or 2)
    paths = pictures_below(folder)
    found = label_pictures(folder, paths, pipeline)
    labels = list(track(found, "labelling", total=len(paths), console=console, transient=True))
    for entry in labels:
        if entry.points is None:
            console.print(f"left out: {entry.name}: {entry.reason}", soft_wrap=True, markup=False)
    count = write_labels(out, labels)
    typer.echo(f"wrote {out}: {count} of {len(labels)} pictures")
    if not count:
        raise typer.Exit(1)


def _print(report: "Report") -> None:
    """The report as lines of text: problems first, the count of parts last."""
    from canthus.data.problems import counted

    for problem in report.problems:
        typer.echo(f"{problem.kind}: {problem}")
    for note in report.notes:
        typer.echo(f"note: {note}")
    for part in report.parts:
        of = "" if part.published is None else f" of {part.published}"
        typer.echo(f"{part.name:<12} {part.faces:>6}{of:<9} {part.status}".rstrip())
    verdict = "no problem" if report.clean else counted(len(report.problems), "problem")
    typer.echo(f"{counted(report.faces, 'face')} in {counted(report.pictures, 'picture')}: {verdict}")
