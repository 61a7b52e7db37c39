"""``canthus prune``: remove filters from a trained network."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from canthus.cli import options
from canthus.cli.output import line_writer
from canthus.cli.progress import ProgressBar, quiet_lightning
from canthus.errors import ConfigError
from canthus.lookup import require
from canthus.runtime.downloads import cache_folder

BYTES = 4
"""Of a weight in float32."""

KeepOption = Annotated[list[str], typer.Option(metavar="LAYER", help="Layer that is not pruned. May be repeated.")]
OutOption = Annotated[
    Path | None, typer.Option(metavar="DIR", show_default="runs/NAME_pruned", help="Folder of the run.")
]
LayerEpochsOption = Annotated[float, typer.Option(help="Epochs of training after each layer.")]
MegabytesOption = Annotated[
    float | None, typer.Option(help="Largest size of the weights in float32, instead of a rate; 1 is a million bytes.")
]
RateOption = Annotated[
    float | None,
    typer.Option(show_default="0.75", help="Share of the channels (filters) to remove from each layer, 0 to 1."),
]
RefitOption = Annotated[
    bool, typer.Option(help="Give the layers that read a pruned layer new weights by least squares.")
]
ScorerOption = Annotated[
    str,
    typer.Option(
        help="closed: the paper's score. literal: the same, computed slower. greedy: one filter after the other, each "
        "time the one that the refitted layers miss least. l1 and random: baselines."
    ),
]
WeightsOption = Annotated[int | None, typer.Option(help="Largest number of weights, instead of a rate.")]


def prune(
    checkpoint: options.CheckpointArgument,
    rate: RateOption = None,
    megabytes: MegabytesOption = None,
    weights: WeightsOption = None,
    scorer: ScorerOption = "closed",
    refit: RefitOption = True,
    images: Annotated[int, typer.Option(help="Number of faces on which filters are scored and layers refitted.")] = 64,
    round_to: Annotated[int, typer.Option(help="Round the remaining channels up to a multiple of this.")] = 8,
    keep: KeepOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    epochs_per_layer: LayerEpochsOption = 0.1,
    final_epochs: Annotated[int, typer.Option(help="Epochs of training after the last layer.")] = 20,
    set_: options.SetOption = [],  # noqa: B006
    data: options.DataOption = None,
    root: options.RootOption = [],  # noqa: B006
    out: OutOption = None,
    cache: options.CacheOption = None,
    accelerator: options.AcceleratorOption = "auto",
    threads: options.TorchThreadsOption = 0,
) -> None:
    """Prune filters layer by layer and retrain in between. Run the same command again to resume."""
    require("lightning", extra="train")
    # Torch takes seconds to import, and help must work without it.
    from canthus.compression.prune import PruneSettings
    from canthus.recipes import prune as recipes
    from canthus.recipes.config import dataset_names
    from canthus.recipes.train import Surroundings, pack_faces

    console = Console(stderr=True, highlight=False)
    quiet_lightning()
    size = _size(rate, megabytes, weights)
    settings = PruneSettings(**size, scorer=scorer, round_to=round_to, keep=tuple(keep), refit=refit)
    run = recipes.PruneRun(settings, images=images, layer_epochs=epochs_per_layer, final_epochs=final_epochs)
    config = recipes.pruning_config(checkpoint, run, set_)
    place = Surroundings(
        roots=options.dataset_roots(data, root, dataset_names(config)),
        cache=cache or cache_folder(),
        out=out or Path("runs") / config.name,
        accelerator=accelerator,
        threads=threads,
    )
    with ProgressBar(console, "packing") as bar:
        packs = pack_faces(config, place, progress=bar)
    write = line_writer(console)
    with ProgressBar(console) as bar:
        bar("finding the layers", 0, None)
        each = partial(bar, line=True)
        report = recipes.prune(checkpoint, config, place, packs, run, progress=each, write=write)
    for line in report.describe():
        write(line)


def _size(rate: float | None, megabytes: float | None, weights: int | None) -> dict[str, Any]:
    """The size of the pruned network, as ``PruneSettings`` takes it."""
    if sum(size is not None for size in (rate, megabytes, weights)) > 1:
        raise ConfigError("The pruning has several sizes; expected one of --rate, --megabytes and --weights")
    if megabytes is not None:
        weights = int(megabytes * 1e6 / BYTES)
    return {"rate": 0.75 if rate is None else rate} if weights is None else {"weights": weights}
