"""``canthus reproduce``: make a paper's tables again, published numbers beside ours."""

import functools
import logging
from pathlib import Path
from typing import Annotated

import typer

from canthus.cli.options import CacheOption, DataOption, RootOption

PaperArgument = Annotated[str, typer.Argument(help="Name of a paper; 'list' names them and their tables.")]
TableArgument = Annotated[str | None, typer.Argument(help="Key of one table, such as table_5; all unless given.")]
ScaleOption = Annotated[str, typer.Option(help="quick: 300w and ytf, an hour or two on a CPU; full: as published.")]
ShowOption = Annotated[bool, typer.Option("--show", help="Train nothing; the tables with what was run before.")]
TimeOption = Annotated[bool, typer.Option("--time-again", help="Measure times anew, on an idle machine.")]


def reproduce(
    paper: PaperArgument,
    table: TableArgument = None,
    scale: ScaleOption = "quick",
    data: DataOption = None,
    root: RootOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    out: Annotated[Path, typer.Option(help="Folder of all runs and tables.")] = Path("reproduced"),
    cache: CacheOption = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    threads: Annotated[int, typer.Option(help="Threads of torch; 0 lets torch choose.")] = 0,
    show: ShowOption = False,
    time_again: TimeOption = False,
) -> None:
    """Reproduce the tables of a paper. Run the same command again to resume."""
    from canthus.lookup import require

    require("lightning", extra="train")
    from rich.console import Console

    from canthus.cli.progress import LazyBar
    from canthus.cli.train import dataset_roots
    from canthus.lookup import lookup
    from canthus.papers import PAPERS
    from canthus.recipes.train import Surroundings, default_cache
    from canthus.reproduce.run import Reporter, plan_reproduction

    console = Console(stderr=True, highlight=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    if paper == "list":
        _list()
        return
    work = plan_reproduction(lookup(PAPERS, paper, kind="paper"), table, scale)
    place = Surroundings(
        roots=dataset_roots(data, root, work.datasets()),
        cache=cache or default_cache(),
        out=out / paper / scale,
        accelerator=accelerator,
        threads=threads,
    )
    tell = Reporter(progress=LazyBar(console), write=functools.partial(console.print, soft_wrap=True))
    made = work.finished(place.out) if show else work.run(place, tell)
    costs = work.costs(made, place.out, tell, measure=not show, again=time_again)
    for text in work.write(made, costs, place.out, tell):
        typer.echo(text)


def _list() -> None:
    from canthus.papers import PAPERS

    for name, paper in PAPERS.items():
        typer.echo(f"{name}: {paper.title}")
        for key, table in paper.tables.items():
            typer.echo(f"  {key}: {table.title}")
