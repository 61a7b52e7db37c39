"""``canthus fit``: fit a cascade of random ferns from a recipe."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from canthus.cli import options
from canthus.cli.output import markup
from canthus.cli.progress import ProgressBar
from canthus.errors import ConfigError
from canthus.files import check_targets
from canthus.lookup import require
from canthus.plain_data import checked_name
from canthus.runtime.downloads import cache_folder


def fit(
    recipe: options.RecipeArgument,
    set_: options.SetOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    data: options.DataOption = None,
    root: options.RootOption = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default="NAME.npz of the recipe", help="File to write.")
    ] = None,
    cache: options.CacheOption = None,
    licence: options.LicenceOption = None,
) -> None:
    """Fit an explicit shape regression (random ferns, no network) from a recipe."""
    require("torch", extra="train")
    # Torch takes seconds to import, and help must work without it.
    from canthus.recipes.config import FITTED, dataset_names, load_fit, recipe_names
    from canthus.recipes.esr import fit_cascade

    if recipe == "list":
        typer.echo("\n".join(recipe_names(FITTED)))
        return
    config = load_fit(recipe, set_)
    path = out or Path(f"{checked_name(config.name, what='recipe')}.npz")
    if path.suffix != ".npz":
        raise ConfigError(f"--out must end in .npz, found {path}")
    check_targets([recipe], model={"--out" if out else "the fitted file": path})
    roots = options.dataset_roots(data, root, dataset_names(config))
    console = Console(stderr=True, highlight=False)
    with ProgressBar(console, "packing") as bar:
        model = fit_cascade(config, roots, cache or cache_folder(), licence=licence, progress=bar)
    model.save(path)
    console.print(f"{markup(path)}: {path.stat().st_size / 1e6:.2f} MB")
    for name, value in model.card.metrics.items():
        console.print(f"{name}: {100 * value:.2f} % (ground-truth boxes)")
