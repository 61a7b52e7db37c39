"""``canthus reproduce``: make a paper's tables again, published numbers beside ours."""

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

import typer

from canthus.cli.options import CacheOption, DataOption, RootOption

if TYPE_CHECKING:
    from canthus.recipes.train import Surroundings
    from canthus.reproduce.run import Costs, Made, Reporter
    from canthus.reproduce.values import Job, Paper, Scale

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
    from canthus.reproduce.run import Reporter
    from canthus.reproduce.values import jobs_of

    console = Console(stderr=True, highlight=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    if paper == "list":
        _list()
        return
    chosen = lookup(PAPERS, paper, kind="paper")
    asked = lookup(chosen.scales, scale, kind="scale")
    tables = list(chosen.tables)
    if table is not None:
        lookup(chosen.tables, table, kind="table")
        tables = [table]
    work = _Work(chosen, asked, tables, jobs_of(chosen, tables, scale))
    place = Surroundings(
        roots=dataset_roots(data, root, work.datasets()),
        cache=cache or default_cache(),
        out=out / paper / scale,
        accelerator=accelerator,
        threads=threads,
    )
    tell = Reporter(progress=LazyBar(console), write=functools.partial(console.print, soft_wrap=True))
    made = work.finished(place) if show else work.run(place, tell)
    costs = work.costs(made, place, tell, measure=not show, again=time_again)
    work.write(made, costs, place, tell)


def _list() -> None:
    from canthus.papers import PAPERS

    for name, paper in PAPERS.items():
        typer.echo(f"{name}: {paper.title}")
        for key, table in paper.tables.items():
            typer.echo(f"  {key}: {table.title}")


@final
@dataclass(frozen=True)
class _Work:
    """What was asked for."""

    paper: "Paper"
    scale: "Scale"
    tables: "list[str]"
    jobs: "list[Job]"

    def datasets(self) -> list[str]:
        from canthus.reproduce.run import datasets_of

        tested = {name.partition("/")[0] for name in self.scale.sets}
        return sorted(tested.union(*(datasets_of(job) for job in self.jobs)))

    def run(self, place: "Surroundings", tell: "Reporter") -> "list[Made]":
        from canthus.reproduce.run import run_job

        for dataset in self.datasets():
            place.root_of(dataset)  # refuses now what would stop it in an hour
        made = []
        for number, job in enumerate(self.jobs, start=1):
            tell.write(f"[bold]{number}/{len(self.jobs)}[/] {job.folder}: {self.paper.entries[job.entry].label}")
            made.append(run_job(job, place, measure=self.paper.measure, scale=self.scale, tell=tell))
        return made

    def finished(self, place: "Surroundings") -> "list[Made]":
        from canthus.reproduce.run import finished_job

        found = [finished_job(j, place.out, measure=self.paper.measure, scale=self.scale) for j in self.jobs]
        return [made for made in found if made is not None]

    def costs(
        self, made: "list[Made]", place: "Surroundings", tell: "Reporter", *, measure: bool, again: bool
    ) -> "Costs":
        from canthus.reproduce.run import kept_costs, measure_costs, rows_with_costs

        rows, kept = rows_with_costs(self.paper, self.tables), kept_costs(place.out)
        if not rows or not (again or (measure and not set(rows) <= set(kept))):
            return kept
        models = {one.job.entry: one.model for one in reversed(made)}
        return kept | measure_costs(self.paper, self.tables, models, place.out, tell=tell)

    def write(self, made: "list[Made]", costs: "Costs", place: "Surroundings", tell: "Reporter") -> None:
        from canthus.reproduce.plots import plot_costs, plot_covers
        from canthus.reproduce.tables import fold_tests_markdown, table_markdown, write_table

        runs: dict[str, list[Mapping[str, float]]] = {row: [cost] for row, cost in costs.items()}
        for one in made:
            runs.setdefault(one.job.entry, []).append(one.metrics)
        for name in self.tables:
            text = table_markdown(self.paper, name, self.scale, runs)
            text += fold_tests_markdown(self.paper, name, self.scale, made)
            typer.echo(text)
            for path in write_table(place.out, self.paper, name, self.scale, runs, text=text):
                tell.write(f"wrote {path}")
            for path in plot_costs(self.paper, name, self.scale, runs, place.out):
                tell.write(f"wrote {path}")
        for path in plot_covers(self.paper, self.scale, made, place.out):
            tell.write(f"wrote {path}")
