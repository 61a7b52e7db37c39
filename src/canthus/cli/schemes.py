"""``canthus schemes``: list, show, draw and propose point schemes."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from jaxtyping import Float32
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from canthus.cli.progress import ProgressBar
from canthus.data import load_dataset
from canthus.data.datasets import counted
from canthus.data.folder import undescribed_faces
from canthus.data.mean_faces import mean_face, mean_of_faces
from canthus.data.scheme_proposal import propose_scheme
from canthus.errors import ConfigError, DataError, printable
from canthus.files import check_targets, write_text
from canthus.images import read_image, write_image
from canthus.runtime.draw import draw_scheme
from canthus.runtime.pipeline import Pipeline, load_pipeline
from canthus.scheme_files import FILE, scheme_toml
from canthus.schemes import CONVERSIONS, SCHEMES, find_scheme
from canthus.types import Annotation

app = typer.Typer(help="List, show, draw and propose point schemes: which landmark is which.", no_args_is_help=True)

SchemeArgument = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A scheme of 'canthus schemes list', or the TOML file of your own.")
]


@app.callback()
def schemes() -> None:
    """List, show, draw and propose point schemes: which landmark is which."""


@app.command("list")
def list_schemes() -> None:
    """List the schemes of canthus."""
    table = Table("scheme", "points", "groups", "converts to", box=SIMPLE_HEAD, pad_edge=False)
    for name, scheme in SCHEMES.items():
        ends = ", ".join(end for start, end in CONVERSIONS if start == name)
        table.add_row(name, str(scheme.count), ", ".join(scheme.groups), ends or "-")
    Console(highlight=False).print(table)


@app.command()
def show(scheme: SchemeArgument) -> None:
    """Print a scheme as the TOML file that describes it."""
    typer.echo(scheme_toml(find_scheme(scheme)), nl=False)


@app.command()
def draw(
    scheme: SchemeArgument,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Picture to write.", show_default="NAME.png")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE",
            help="Labelled faces whose mean is drawn; needed for a scheme of your own.",
        ),
    ] = None,
) -> None:
    """Draw the numbered points of a scheme on a mean face, with its groups and the lines between mirror images."""
    chosen = find_scheme(scheme)
    target = out or Path(f"{chosen.name}.png")
    faces = [] if data is None else load_dataset("folder", data, "all", scheme=chosen)
    check_targets([scheme, data, *(face.path for face in faces)], picture={"--out": target})
    mean = mean_of_faces(np.stack([face.points for face in faces])) if faces else mean_face(chosen.name)
    if mean is None:
        raise ConfigError(f"{chosen.name} has no mean face; give labelled faces with --data DIR")
    if np.isnan(mean).any():
        raise DataError(f"{data}: some points have a position in no face; label each in at least one")
    write_image(target, draw_scheme(chosen, mean))
    typer.echo(f"wrote {printable(str(target))}")


@app.command()
def new(
    data: Annotated[
        Path, typer.Argument(metavar="DIR|FILE", help="A few labelled faces: a folder, or its label file.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="Scheme file to write; none that exists.", show_default=f"DIR/{FILE}"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the scheme.", show_default="own_12 for 12 points")] = None,
    faces: Annotated[int, typer.Option(min=1, help="Number of faces to look at.")] = 40,
    model: Annotated[
        str, typer.Option(metavar="NAME|none", help="Model of 68 points that tells the parts of the face.")
    ] = "default",
) -> None:
    """Propose a scheme file for labelled faces: mirror images, groups, eye corners, face box. Then look with 'draw'."""
    target = out or (data if data.is_dir() else data.parent) / FILE
    if target.exists():
        raise ConfigError(f"{target} exists already; delete it, or name another file with --out")
    check_targets([data], text={"--out": target})
    labelled, names = undescribed_faces(data)
    spread = labelled[:: max(1, len(labelled) // faces)][:faces]
    pipeline = None if model == "none" else load_pipeline(model)
    with ProgressBar(Console(stderr=True)) as bar:
        found: dict[str, Float32[np.ndarray, "68 2"] | None] = {}
        for done, face in enumerate(spread, start=1):
            found[face.key] = None if pipeline is None else _marks(pipeline, face)
            bar("finding faces", done, len(spread))
    made = propose_scheme(
        name or f"own_{len(spread[0].points)}", spread, names=names, find=lambda face: found[face.key]
    )
    comments = [
        f"Proposed by 'canthus schemes new' from {len(spread)} faces. Points are counted from 0.",
        f"Left and right are the subject's. Look at it: canthus schemes draw {target.name} --data {data.name}",
        *made.notes,
    ]
    write_text(target, scheme_toml(made.scheme, comments=[printable(line) for line in comments]))
    for note in made.notes:
        typer.echo(printable(f"note: {note}"))
    pairs = sum(i < other for i, other in enumerate(made.scheme.mirror))
    size = f"{counted(made.scheme.count, 'point')}, {counted(pairs, 'pair')} of mirror images"
    typer.echo(f"wrote {printable(str(target))}: {size}")


def _marks(pipeline: Pipeline, face: Annotation) -> Float32[np.ndarray, "68 2"] | None:
    """The 68 points of the face that holds most of the labelled points, if it holds half of them."""
    frame = pipeline(read_image(face.path))
    known = face.points[~np.isnan(face.points).any(axis=1)]
    held = [((known >= f.box[:2]) & (known <= f.box[2:])).all(axis=1).mean() for f in frame]
    best = int(np.argmax(held)) if held else -1
    return frame.landmarks.points[best] if best >= 0 and held[best] >= 0.5 else None
