"""``canthus adapt``: a model whose points lie where the labels of a dataset put them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from canthus.cli import options
from canthus.cli.output import markup
from canthus.cli.progress import ProgressBar
from canthus.files import check_targets
from canthus.lookup import require
from canthus.runtime.downloads import cache_folder


def adapt(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Landmark model: embedded name or ONNX file, float or int8.")
    ] = "default",
    to: Annotated[
        str,
        typer.Option(metavar="DATASET/SPLIT", help="Labelled faces; ten help, fifty are better."),
    ] = "folder/all",
    check: Annotated[
        str, typer.Option(metavar="DATASET/SPLIT", help="Other faces, on which both models are measured; '' for none.")
    ] = "",
    symmetric: Annotated[
        bool,
        typer.Option(
            "--symmetric",
            help="Fit on each face and its mirror image, so that labels that all lie to one side teach no side.",
        ),
    ] = False,
    data: options.DataOption = None,
    root: options.RootOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    cache: options.CacheOption = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="ONNX file to write.")] = Path("adapted.onnx"),
) -> None:
    """Move a model's points to where your labels put them, without training.

    Datasets put the same points in different places. A linear map, fitted on labelled faces, goes into the model's last
    weights, so that it stays as small and as fast.
    """
    require("lightning", extra="train")
    # The recipes need the extra, and help must work without it.
    from canthus.recipes.adapt_model import adapt_model

    check_targets([model], model={"--out": out})
    names = sorted({name.partition("/")[0] for name in (to, check) if name})
    console = Console(stderr=True, highlight=False)
    with ProgressBar(console, "packing") as bar:
        report = adapt_model(
            model,
            out,
            to=to,
            check=check,
            symmetric=symmetric,
            roots=options.dataset_roots(data, root, names),
            cache=cache or cache_folder(),
            progress=bar,
        )
    for line in report.describe():
        console.print(markup(line), soft_wrap=True)
