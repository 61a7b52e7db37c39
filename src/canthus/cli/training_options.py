"""Options of the commands that read recipes and data sets."""

from pathlib import Path
from typing import Annotated

import typer

RecipeArgument = Annotated[str, typer.Argument(help="Name of a recipe, or a TOML file; 'list' names them.")]
SetOption = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")]
DataOption = Annotated[Path | None, typer.Option(help="Folder that holds the datasets, each by its name.")]
RootOption = Annotated[
    list[str], typer.Option("--root", metavar="NAME=DIR", help="Folder of one dataset; may be repeated.")
]
CacheOption = Annotated[Path | None, typer.Option(help="Folder of packed crops; the user's cache unless given.")]
