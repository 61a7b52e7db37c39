"""``canthus reproduce``: the tables of a paper, published numbers beside ours."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from canthus.cli import options
from canthus.cli.output import line_writer
from canthus.cli.progress import ProgressBar, quiet_lightning
from canthus.errors import ConfigError
from canthus.lookup import lookup, require
from canthus.runtime.downloads import cache_folder

if TYPE_CHECKING:
    from canthus.reproduce.values import Paper

PaperArgument = Annotated[str, typer.Argument(help="Name of a paper. 'list' prints all papers and their tables.")]
TableArgument = Annotated[str | None, typer.Argument(show_default="all tables", help="One table, such as table_5.")]
ScaleOption = Annotated[
    str,
    typer.Option(
        help="quick: 300w and ytf, an hour or two on a CPU. cpu: the same sets with several seeds, 4 to 12 hours. "
        "full: the published settings."
    ),
]
StartOption = Annotated[
    list[str],
    typer.Option(
        metavar="RECIPE=FILE",
        help="File of weights that the rows of a recipe start from, such as those of ImageNet. May be repeated.",
    ),
]
ShowOption = Annotated[
    bool, typer.Option("--show", help="Train nothing; print the tables with the results of earlier runs.")
]
TimeOption = Annotated[
    bool, typer.Option("--time-again", help="Measure sizes and times again; the machine should be idle.")
]


def reproduce(
    paper: PaperArgument,
    table: TableArgument = None,
    scale: ScaleOption = "quick",
    data: options.DataOption = None,
    root: options.RootOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    start: StartOption = [],  # noqa: B006
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for all runs and tables.")] = Path("reproduced"),
    cache: options.CacheOption = None,
    accelerator: options.AcceleratorOption = "auto",
    threads: options.TorchThreadsOption = 0,
    show: ShowOption = False,
    time_again: TimeOption = False,
) -> None:
    """Reproduce the tables of a paper. Run the same command again to resume.

    Several processes with the same --out, on one machine or on several that share
    a disk, divide the rows among themselves.
    """
    require("lightning", extra="train")
    # Torch takes seconds to import, and help must work without it.
    from canthus.papers import PAPERS
    from canthus.recipes.train import Surroundings
    from canthus.reproduce.run import Reporter, plan_reproduction
    from canthus.training.run_folder import BusyError, held

    if paper == "list":
        _list(PAPERS)
        return
    if show and time_again:
        raise ConfigError("--show only prints, and --time-again measures; give one of them")
    console = Console(stderr=True, highlight=False)
    quiet_lightning()
    starts = options.named_paths("--start", start, "RECIPE=FILE, such as joint_resnet50_68=resnet50.pth")
    work = plan_reproduction(lookup(PAPERS, paper, kind="paper"), table, scale, starts)
    place = Surroundings(
        roots=options.dataset_roots(data, root, work.datasets()),
        cache=cache or cache_folder(),
        out=out / paper / scale,
        accelerator=accelerator,
        threads=threads,
    )
    with ProgressBar(console) as bar:
        tell = Reporter(progress=bar, write=line_writer(console))
        made = work.finished(place.out) if show else work.run(place, tell)
        try:
            with nullcontext() if show else held(place.out):
                costs = work.costs(made, place.out, tell, measure=not show, again=time_again)
                for text in work.texts(made, costs).values():
                    typer.echo(text)
                if not show:
                    work.write(made, costs, place, tell)
        except BusyError:
            console.print(f"all rows are finished; another process measures times and writes the tables in {place.out}")


def _list(papers: Mapping[str, "Paper"]) -> None:
    """Print the papers and their tables."""
    for name, known in papers.items():
        typer.echo(f"{name}: {known.title}")
        for key, one in known.tables.items():
            typer.echo(f"  {key}: {one.title}")
