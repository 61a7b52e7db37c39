"""``canthus prune``: fewer filters in a trained network."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from canthus.cli.options import CacheOption, DataOption, RootOption, SetOption

if TYPE_CHECKING:
    from rich.console import Console

    from canthus.compression.prune import Step
    from canthus.recipes.prune import PruneReport


def prune(
    checkpoint: Annotated[Path, typer.Argument(help="best.ckpt or last.ckpt of a run.")],
    rate: Annotated[float, typer.Option(help="Share of the channels that goes, of each layer.")] = 0.75,
    scorer: Annotated[str, typer.Option(help="closed, or literal: the same scores, slower.")] = "closed",
    images: Annotated[int, typer.Option(help="Faces that filters are scored on.")] = 64,
    round_to: Annotated[int, typer.Option(help="Round what stays up to a multiple of this.")] = 1,
    keep: Annotated[list[str], typer.Option(help="Layer that stays whole; may be repeated.")] = [],  # noqa: B006
    epochs_per_layer: Annotated[float, typer.Option(help="Retraining after each layer, in epochs.")] = 0.1,
    final_epochs: Annotated[int, typer.Option(help="Epochs of training after the last layer.")] = 20,
    set_: SetOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    data: DataOption = None,
    root: RootOption = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME_pruned unless given.")] = None,
    cache: CacheOption = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    threads: Annotated[int, typer.Option(help="Threads of torch; 0 lets torch choose.")] = 0,
) -> None:
    """Prune filters layer by layer and retrain in between. Run the same command again to resume."""
    from canthus.lookup import require

    require("lightning", extra="train")
    from rich.console import Console

    from canthus.cli.progress import packing_bar
    from canthus.cli.train import dataset_roots, quiet_lightning
    from canthus.compression.prune import PruneSettings
    from canthus.recipes.prune import PruneRun, pruning_config
    from canthus.recipes.prune import prune as prune_checkpoint
    from canthus.recipes.train import Surroundings, default_cache, pack_faces

    console = Console(stderr=True, highlight=False)
    quiet_lightning()
    settings = PruneSettings(rate, scorer=scorer, round_to=round_to, keep=tuple(keep))
    run = PruneRun(settings, images=images, layer_epochs=epochs_per_layer, final_epochs=final_epochs)
    config = pruning_config(checkpoint, run, set_)
    names = sorted({s.dataset for s in config.train} | {v.dataset for v in config.validation})
    place = Surroundings(
        roots=dataset_roots(data, root, names),
        cache=cache or default_cache(),
        out=out or Path("runs") / config.name,
        accelerator=accelerator,
        threads=threads,
    )
    with packing_bar(console) as packing:
        packs = pack_faces(config, place, progress=packing)
    write = functools.partial(console.print, soft_wrap=True)
    with _layer_bar(console) as progress:
        report = prune_checkpoint(checkpoint, config, place, packs, run, progress=progress, write=write)
    for line in _lines(report):
        console.print(line, soft_wrap=True)


def _lines(report: "PruneReport") -> Iterator[str]:
    for layer, reason in report.whole.items():
        yield f"left whole: {layer} ({reason})"
    yield f"weights:      {report.parameters_before} -> {report.parameters}"
    yield f"best weights: {report.checkpoint}"
    yield f"plan:         {report.plan}"


@contextmanager
def _layer_bar(console: "Console") -> Iterator[Callable[["Step"], None]]:
    """A callback that draws one bar over the layers; one line a layer where stderr is no terminal."""
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("finding the layers", total=None)

        def show(step: "Step") -> None:
            text = f"layer {step.number} of {step.total}: {step.layer}, {step.channels} -> {step.kept}"
            bar.update(task, description=text, total=step.total, completed=step.number - 1)
            if not console.is_terminal:
                console.print(text, soft_wrap=True)
            if step.number == step.total:
                bar.stop()

        yield show
