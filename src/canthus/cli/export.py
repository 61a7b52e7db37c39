"""``canthus export``: a checkpoint to one ONNX file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from canthus.cli import options
from canthus.cli.output import markup
from canthus.cli.progress import ProgressBar
from canthus.files import check_targets
from canthus.lookup import require
from canthus.plain_data import checked_name
from canthus.runtime.downloads import cache_folder


def export(
    checkpoint: options.CheckpointArgument,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default="NAME.onnx beside the checkpoint", help="ONNX file to write."),
    ] = None,
    data: options.DataOption = None,
    root: options.RootOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    cache: options.CacheOption = None,
    licence: options.LicenceOption = None,
    decode: Annotated[
        str,
        typer.Option(
            show_default="regression",
            help="Head of a joint network that gives the points: regression, heatmap or both.",
        ),
    ] = "",
) -> None:
    """Export a checkpoint to ONNX, compare it with torch, and evaluate it."""
    require("torch", extra="train")
    # Torch takes seconds to import, and help must work without it.
    from canthus.recipes import export as recipes
    from canthus.recipes.config import read_config
    from canthus.training.checkpoint import checkpoint_config, read_checkpoint

    console = Console(stderr=True, highlight=False)
    config = read_config(checkpoint_config(read_checkpoint(checkpoint), source=checkpoint))
    path = out or checkpoint.parent / f"{checked_name(config.name, what='recipe')}.onnx"
    check_targets([checkpoint], model={"--out" if out else "the exported file": path})
    roots = options.dataset_roots(data, root, sorted({v.dataset for v in config.validation}))
    with ProgressBar(console, "packing") as bar:
        report = recipes.export(
            checkpoint, path, roots=roots, cache=cache or cache_folder(), licence=licence, decode=decode, progress=bar
        )
    for line in report.describe(config):
        console.print(markup(line), soft_wrap=True)
