"""``canthus data``: check and convert datasets, look at masks, label pictures."""

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from canthus.cli.options import DetectorOption, JsonOption
from canthus.cli.output import markup, write_json
from canthus.cli.progress import ProgressBar
from canthus.data import DATASETS, Report, check_dataset, landmark_sets, load_dataset
from canthus.data.datasets import UNLABELLED, counted
from canthus.data.label_conversion import FORMATS, convert_labels, format_of
from canthus.errors import ConfigError, printable
from canthus.evaluation.covered_sheets import drawn_faces, mask_sheets
from canthus.evaluation.truth import load_truth
from canthus.files import check_targets
from canthus.images import read_image, write_image
from canthus.lookup import lookup
from canthus.recipes.adapt import agreement, check_habit_path, fit_habit, model_points
from canthus.runtime.downloads import sha256
from canthus.runtime.label_pictures import check_label_path, label_pictures, pictures_below, write_labels
from canthus.runtime.landmarker import Landmarker, open_model
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.sessions import find_model

app = typer.Typer(
    help="Check, convert and adapt datasets, look at masks, and label pictures with a model.", no_args_is_help=True
)


@app.callback()
def data() -> None:
    """Check, convert and adapt labels, look at masks, and label pictures with a model."""


@app.command()
def check(
    dataset: Annotated[str, typer.Argument(help=f"One of {', '.join(DATASETS)} (your own pictures with landmarks).")],
    root: Annotated[Path, typer.Argument(help="Folder of the dataset; for 'folder', its label file also works.")],
    json_file: JsonOption = None,
    scheme: Annotated[
        str | None, typer.Option(help="Point scheme of a 'folder', if its number of points is ambiguous.")
    ] = None,
) -> None:
    """Open every picture and label, and report what is missing, damaged or duplicate.

    Exit code 1: there are problems. A missing part of a published dataset is not a problem.
    """
    check_targets([root], text={"--json": json_file})
    with ProgressBar(Console(stderr=True)) as bar:
        report = check_dataset(dataset, root, scheme=scheme, progress=partial(bar, "opening pictures"))
    if json_file != "-":
        _print(report)
    if json_file is not None:
        write_json(json_file, report.to_json())
    if not report.clean:
        raise typer.Exit(1)


@app.command()
def convert(
    root: Annotated[Path, typer.Argument(metavar="IN", help="Folder of pictures with labels, or the label file.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write; for pts and labelme, the folder.")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", show_default="csv, coco or cvat, by the suffix of OUT", help=f"{', '.join(FORMATS)}."
        ),
    ] = None,
    dataset: Annotated[str, typer.Option(help="Dataset that IN is the folder of.")] = "folder",
    scheme: Annotated[str | None, typer.Option(help="Point scheme of a 'folder', or its file.")] = None,
    lossy: Annotated[
        bool, typer.Option("--lossy", help="Write what the format can hold, and tell what is lost.")
    ] = False,
    copy_pictures: Annotated[
        bool, typer.Option("--copy-pictures", help="Also copy the pictures into the folder of the labels.")
    ] = False,
) -> None:
    """Write labels in another format; no file is replaced.

    Exit code 1: some labels or pictures could not be read; all others are written.
    """
    format_of(out, to)
    found, _ = lookup(landmark_sets(), dataset, kind="dataset").scan(root, scheme=scheme)
    problems = [str(problem) for problem in found.problems if problem.kind != UNLABELLED]
    for line in (*problems, *(f"note: {note}" for note in found.notes)):
        typer.echo(printable(line), err=True)
    with ProgressBar(Console(stderr=True)) as bar:
        opening = partial(bar, "opening pictures")
        made = convert_labels(found.items, root, out, to, lossy=lossy, copy_pictures=copy_pictures, progress=opening)
    for line in (*made.unreadable, *(f"lost: {what}" for what in made.lost)):
        typer.echo(printable(line), err=True)
    wrote = f"{counted(made.faces, 'face')} in {counted(made.pictures, 'picture')} as {made.format.title}"
    typer.echo(f"wrote {printable(str(out))}: {wrote}")
    if problems or made.unreadable:
        raise typer.Exit(1)


@app.command()
def adapt(
    dataset: Annotated[str, typer.Argument(help="Dataset whose labels are to be adapted.")],
    root: Annotated[Path, typer.Argument(help="Folder of the dataset.")],
    out: Annotated[Path, typer.Option(help="File to write (.npz), which recipes name: adapt = 'FILE.npz'.")],
    like: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="Landmark model that has learned the habit of the labels wanted.")
    ] = "default",
    split: Annotated[str, typer.Option(help="Part of the dataset that the adaptation is fitted on.")] = "fit",
    check: Annotated[str, typer.Option(help="Part that it is checked on; '' for none.")] = "validation",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model.")] = 1,
) -> None:
    """Fit a linear map from the labels of one dataset to the habit of the labels that a model has learned from.

    Datasets of one scheme put their points in different places, and a network that learns from both learns neither.
    """
    check_habit_path(out)
    check_targets([root, like], model={"--out": out})
    landmarker = Landmarker(open_model(like, threads=threads))
    scheme = landmarker.session.scheme
    labels, wanted = {}, {}
    with ProgressBar(Console(stderr=True)) as bar:
        for part in dict.fromkeys(part for part in (split, check) if part):
            faces = load_dataset(dataset, root, part, scheme=scheme)
            wanted[part] = model_points(faces, landmarker, partial(bar, f"{dataset}/{part}"))
            labels[part] = np.stack([face.points for face in faces])
    about = {"dataset": dataset, "split": split, "like": like, "model_sha256": sha256(find_model(like))}
    habit = fit_habit(labels[split], wanted[split], scheme, {**about, "faces": len(labels[split])})
    habit.save(out)
    for part, points in labels.items():
        found = agreement(habit, points, wanted[part])
        typer.echo(
            f"{dataset}/{part}: {counted(found.faces, 'face')}; the labels are {found.before:.2%} of the inter-ocular "
            f"distance from the points of the model, adapted {found.after:.2%}"
        )
    typer.echo(f"wrote {printable(str(out))}")


@app.command()
def masks(
    out: Annotated[Path, typer.Option(help="Folder for the sheets.")],
    dataset: Annotated[str | None, typer.Option(help="Dataset of the faces.", show_default="drawn faces")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the dataset.")] = None,
    split: Annotated[str | None, typer.Option(help="Part of the dataset.")] = None,
    faces: Annotated[int, typer.Option(min=1, help="Number of faces, one per row of a sheet.")] = 6,
    seed: Annotated[int, typer.Option(help="Random seed of the masks and of drawn faces.")] = 0,
) -> None:
    """Draw the masks and corruptions of evaluation and training: one sheet each, covered points in red."""
    if dataset is None and (root is not None or split is not None):
        raise ConfigError("--root and --split need --dataset; for your own pictures, --dataset folder")
    if dataset is None:
        chosen = list(drawn_faces(faces, np.random.default_rng(seed)))
    else:
        _, annotations = load_truth(dataset, root, split)
        spread = annotations[:: max(1, len(annotations) // faces)][:faces]
        chosen = [(read_image(truth.path), truth) for truth in spread]
    sheets = {out / f"{name}.png": picture for name, picture in mask_sheets(chosen, seed=seed)}
    check_targets([], picture={f"--out, the sheet {path.stem}": path for path in sheets})
    for path, picture in sheets.items():
        write_image(path, picture)
        typer.echo(f"wrote {printable(str(path))}")


@app.command()
def label(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures, with its sub-folders.")],
    out: Annotated[Path, typer.Option(help="File of points to write, .csv or .txt (separated by blanks).")],
    model: Annotated[str, typer.Option(help="Embedded name, ONNX file, or .npz of 'canthus fit'.")] = "default",
    detector: DetectorOption = None,
    passes: Annotated[int, typer.Option(min=1, help="Crops per face. 2 re-crops around the first landmarks.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model.")] = 1,
) -> None:
    """Label pictures with a model: one line for the largest face of each, in the format that dataset readers accept.

    The labels hold the errors of the model, and a network trained on them learns these errors.
    """
    check_label_path(out)
    check_targets([model, detector], text={"--out": out})
    console = Console(stderr=True, highlight=False)
    pipeline = load_pipeline(model, detector=detector or "default", threads=threads, passes=passes)
    paths = pictures_below(folder)
    found = label_pictures(folder, paths, pipeline)
    labels = list(track(found, "labelling", total=len(paths), console=console, transient=True))
    for entry in labels:
        if entry.points is None:
            console.print(markup(f"left out: {entry.name}: {entry.reason}"), soft_wrap=True)
    count = write_labels(out, labels)
    typer.echo(f"wrote {printable(str(out))}: {count} of {len(labels)} pictures")
    if not count:
        raise typer.Exit(1)


def _print(report: Report) -> None:
    """Print problems, notes, and the number of faces of each part."""
    for problem in report.problems:
        typer.echo(printable(f"{problem.kind}: {problem}"))
    for note in report.notes:
        typer.echo(printable(f"note: {note}"))
    for part in report.parts:
        of = "" if part.published is None else f" of {part.published}"
        typer.echo(f"{printable(part.name):<12} {part.faces:>6}{of:<9} {part.status}".rstrip())
    verdict = "no problem" if report.clean else counted(len(report.problems), "problem")
    typer.echo(f"{counted(report.faces, 'face')} in {counted(report.pictures, 'picture')}: {verdict}")
