"""``canthus train``: train a network from a recipe."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from canthus.cli import options
from canthus.cli.output import line_writer
from canthus.cli.progress import ProgressBar, quiet_lightning
from canthus.lookup import require
from canthus.runtime.downloads import cache_folder


def train(
    recipe: options.RecipeArgument,
    set_: options.SetOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    data: options.DataOption = None,
    root: options.RootOption = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default="runs/NAME of the recipe", help="Folder of the run.")
    ] = None,
    cache: options.CacheOption = None,
    devices: Annotated[
        int, typer.Option(min=1, help="Number of CPU processes or accelerators; more than 1 trains with DDP.")
    ] = 1,
    nodes: Annotated[
        int, typer.Option(min=1, help="Machines that train together, with --devices each; see docs/training.md.")
    ] = 1,
    accelerator: options.AcceleratorOption = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="Worker processes that load batches; 0 loads them in the training process.")
    ] = 0,
    threads: options.TorchThreadsOption = 0,
) -> None:
    """Train a network from a recipe. Run the same command again to resume."""
    require("lightning", extra="train")
    # Torch takes seconds to import, and help must work without it.
    from canthus.recipes import train as recipes
    from canthus.recipes.config import dataset_names, load_any_recipe, recipe_names

    console = Console(stderr=True, highlight=False)
    quiet_lightning()
    if recipe == "list":
        typer.echo("\n".join(recipe_names()))
        return
    config = load_any_recipe(recipe, set_)
    place = recipes.Surroundings(
        roots=options.dataset_roots(data, root, dataset_names(config)),
        cache=cache or cache_folder(),
        out=out or Path("runs") / config.name,
        devices=devices,
        nodes=nodes,
        accelerator=accelerator,
        workers=workers,
        threads=threads,
    )
    recipes.refuse_other_run(config, place.out)
    with ProgressBar(console, "packing") as bar:
        packs = recipes.pack_faces(config, place, progress=bar)
    write = line_writer(console)
    best = recipes.train(config, place, packs, write=write)
    write(f"best weights: {best}")
    write(f"curves:       {place.out / 'curves.png'}")
