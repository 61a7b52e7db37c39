"""``canthus export``: a checkpoint to one ONNX file."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from canthus.cli.options import CacheOption, DataOption, RootOption

if TYPE_CHECKING:
    from canthus.recipes.config import Recipe
    from canthus.recipes.export import ExportReport


def export(
    checkpoint: Annotated[Path, typer.Argument(help="best.ckpt or last.ckpt of a run.")],
    out: Annotated[Path | None, typer.Option(help="ONNX file to write; beside the checkpoint unless given.")] = None,
    data: DataOption = None,
    root: RootOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    cache: CacheOption = None,
    licence: Annotated[str | None, typer.Option(help="Terms of the weights, for the model card.")] = None,
    decode: Annotated[
        str, typer.Option(help="Where a joint network takes its points from: regression (unless given), heatmap, both.")
    ] = "",
) -> None:
    """Export a checkpoint to ONNX, compare it with torch, and evaluate it."""
    from canthus.lookup import require

    require("torch", extra="train")
    from rich.console import Console

    from canthus.cli.progress import packing_bar
    from canthus.cli.train import dataset_roots
    from canthus.recipes.config import read_config
    from canthus.recipes.export import export as export_checkpoint
    from canthus.recipes.train import default_cache
    from canthus.training.checkpoint import checkpoint_config, read_checkpoint

    console = Console(stderr=True, highlight=False)
    config = read_config(checkpoint_config(read_checkpoint(checkpoint), source=checkpoint))
    path = out or checkpoint.parent / f"{config.name}.onnx"
    roots = dataset_roots(data, root, sorted({v.dataset for v in config.validation}))
    with packing_bar(console) as progress:
        report = export_checkpoint(
            checkpoint, path, roots=roots, cache=cache or default_cache(), licence=licence, decode=decode,
            progress=progress,
        )  # fmt: skip
    for line in _lines(report, config):
        console.print(line)


def _lines(report: "ExportReport", config: "Recipe") -> Iterator[str]:
    from canthus.recipes.config import DetectorConfig

    yield f"{report.path}: {report.size_bytes / 1e6:.2f} MB"
    if isinstance(config, DetectorConfig):
        kind = "photos" if report.real else "pictures of noise (give --data DIR to use the validation photos)"
        yield f"torch against ONNX: at most {report.difference:.1e} strides on {report.pictures} {kind}"
        yield from (f"{name}: {100 * value:.2f} %" for name, value in report.metrics.items())
        return
    kind = "real" if report.real else "drawn (give --data DIR to use the validation faces)"
    yield f"torch against ONNX: at most {report.difference:.1e} px of the crop on {report.pictures} crops, {kind}"
    yield from (f"{name}: {100 * value:.2f} % (truth boxes)" for name, value in report.metrics.items())
    if report.calibration:
        tolerance = 100 * report.calibration.tolerance
        yield f"confidence: that a point is right within {tolerance:g} % of the face box's longer side"
    elif report.tells_spread:
        faces = config.validation[0].name
        yield f"no confidence: it is calibrated on {faces}; give --data DIR or --root to add it"
