"""``canthus train``: train a network by a recipe."""

import functools
import logging
from pathlib import Path
from typing import Annotated

import typer

from canthus.cli.options import CacheOption, DataOption, RecipeArgument, RootOption, SetOption


def train(
    recipe: RecipeArgument,
    set_: SetOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    data: DataOption = None,
    root: RootOption = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME unless given.")] = None,
    cache: CacheOption = None,
    devices: Annotated[int, typer.Option(help="Processes (CPU) or accelerators; above 1 trains with DDP.")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    workers: Annotated[int, typer.Option(help="Worker processes that make batches.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch; 0 lets torch choose.")] = 0,
) -> None:
    """Train a network from a recipe. Run the same command again to resume."""
    from canthus.lookup import require

    require("lightning", extra="train")
    from rich.console import Console

    from canthus.cli.progress import packing_bar
    from canthus.recipes.config import load_any_recipe, recipe_names
    from canthus.recipes.train import Surroundings, default_cache, pack_faces, refuse_other_run
    from canthus.recipes.train import train as train_network

    console = Console(stderr=True, highlight=False)
    quiet_lightning()
    if recipe == "list":
        for known in recipe_names():
            typer.echo(known)
        return
    config = load_any_recipe(recipe, set_)
    names = sorted({s.dataset for s in config.train} | {v.dataset for v in config.validation})
    place = Surroundings(
        roots=dataset_roots(data, root, names),
        cache=cache or default_cache(),
        out=out or Path("runs") / config.name,
        devices=devices,
        accelerator=accelerator,
        workers=workers,
        threads=threads,
    )
    refuse_other_run(config, place.out)
    with packing_bar(console) as progress:
        packs = pack_faces(config, place, progress=progress)
    best = train_network(config, place, packs, write=functools.partial(console.print, soft_wrap=True))
    console.print(f"best weights: {best}")
    console.print(f"curves:       {place.out / 'curves.png'}")


def quiet_lightning() -> None:
    """Leave out what Lightning says about its devices and itself."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


def dataset_roots(data: Path | None, roots: list[str], names: list[str]) -> dict[str, Path]:
    """Folder of each dataset: ``data/NAME`` where that exists, ``NAME=DIR`` before it.

    Raises:
        ConfigError: an entry of ``roots`` is not NAME=DIR.
    """
    from canthus.errors import ConfigError

    found = {name: data / name for name in names if data is not None and (data / name).is_dir()}
    for entry in roots:
        name, equals, folder = entry.partition("=")
        if not equals:
            raise ConfigError(f"Cannot read --root {entry!r}; expected NAME=DIR, such as 300w=/data/300w")
        found[name] = Path(folder)
    return found
