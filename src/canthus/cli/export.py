"""``canthus export``: a checkpoint to one ONNX file."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    checkpoint: Annotated[Path, typer.Argument(help="best.ckpt or last.ckpt of a run.")],
    out: Annotated[Path | None, typer.Option(help="ONNX file to write; beside the checkpoint unless given.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that holds the datasets, each by its name.")] = None,
    root: Annotated[
        list[str], typer.Option("--root", metavar="NAME=DIR", help="Folder of one dataset; may be repeated.")
    ] = [],  # noqa: B006 - typer reads the default, nobody changes it
    cache: Annotated[Path | None, typer.Option(help="Folder of packed crops; the user's cache unless given.")] = None,
    licence: Annotated[str | None, typer.Option(help="Terms of the weights, for the model card.")] = None,
) -> None:
    """Write a trained network as ONNX, compare it with torch, and score it on the validation sets."""
    from canthus.optional import require

    require("torch", extra="train")
    from rich.console import Console

    from canthus.cli.packing import packing_bar
    from canthus.cli.train import dataset_roots
    from canthus.recipes.export import export as run
    from canthus.recipes.export import load_network
    from canthus.recipes.train import default_cache

    console = Console(stderr=True, highlight=False)
    _, config = load_network(checkpoint)
    path = out or checkpoint.parent / f"{config.name}.onnx"
    roots = dataset_roots(data, root, sorted({v.dataset for v in config.validation}))
    with packing_bar(console) as progress:
        report = run(checkpoint, path, roots=roots, cache=cache or default_cache(), licence=licence, progress=progress)
    kind = "real" if report.real else "drawn (give --data DIR to use the validation faces)"
    console.print(f"{report.path}: {report.size_bytes / 1e6:.2f} MB")
    console.print(
        f"torch against ONNX: at most {report.difference_px:.1e} px of the crop on {report.crops} crops, {kind}"
    )
    for name, value in report.metrics.items():
        console.print(f"{name}: {100 * value:.2f} % (truth boxes)")
    if report.calibration:
        tolerance = 100 * report.calibration.tolerance
        console.print(f"confidence: that a point is right within {tolerance:g} % of the face box's longer side")
    elif report.tells_spread:
        console.print(
            f"no confidence: it is calibrated on {config.validation[0].name}; give --data DIR or --root to add it"
        )
