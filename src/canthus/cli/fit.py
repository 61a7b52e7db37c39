"""``canthus fit``: fit a cascade of ferns by a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from canthus.cli.options import CacheOption, DataOption, RecipeArgument, RootOption, SetOption


def fit(
    recipe: RecipeArgument,
    set_: SetOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    data: DataOption = None,
    root: RootOption = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="File to write; NAME.npz unless given.")] = None,
    cache: CacheOption = None,
    licence: Annotated[str | None, typer.Option(help="Terms of the model, for its card.")] = None,
) -> None:
    """Fit an explicit shape regression (random ferns, no network) from a recipe."""
    from canthus.lookup import require

    require("torch", extra="train")
    from rich.console import Console

    from canthus.cli.progress import packing_bar
    from canthus.cli.train import dataset_roots
    from canthus.errors import ConfigError
    from canthus.recipes.config import FITTED, load_fit, recipe_names
    from canthus.recipes.esr import fit_cascade
    from canthus.recipes.train import default_cache

    if recipe == "list":
        for known in recipe_names(FITTED):
            typer.echo(known)
        return
    config = load_fit(recipe, set_)
    path = out or Path(f"{config.name}.npz")
    if path.suffix != ".npz":
        raise ConfigError(f"--out must end in .npz, found {path}")
    names = sorted({s.dataset for s in config.train} | {v.dataset for v in config.validation})
    console = Console(stderr=True, highlight=False)
    with packing_bar(console) as progress:
        model = fit_cascade(
            config,
            dataset_roots(data, root, names),
            cache or default_cache(),
            licence=licence,
            progress=progress,
        )
    model.save(path)
    console.print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    for name, value in model.card.metrics.items():
        console.print(f"{name}: {100 * value:.2f} % (truth boxes)")
