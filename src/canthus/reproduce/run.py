"""Reproduce the tables of a paper: train and measure its models, and resume an interrupted run."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

from canthus.compression.prune import PruneSettings
from canthus.errors import ConfigError, DataError
from canthus.evaluation.benchmark import benchmark_models
from canthus.lookup import lookup
from canthus.recipes.build import init_file
from canthus.recipes.config import (
    FitConfig,
    Progress,
    TrainConfig,
    as_json,
    completed,
    dataset_names,
    dataset_root,
    load_fit,
    load_recipe,
    to_values,
)
from canthus.recipes.esr import fit_cascade
from canthus.recipes.export import export, export_untrained
from canthus.recipes.prune import PruneRun, prune, pruning_config
from canthus.recipes.train import Surroundings, pack_faces, train
from canthus.reproduce.measure import errors_of, measure_model, write_errors
from canthus.reproduce.plots import draw_faces, plot_costs, plot_covers, plot_swept
from canthus.reproduce.tables import fold_tests_markdown, table_markdown, tested_sets, write_table
from canthus.reproduce.values import (
    FILE,
    FIT,
    OTHER,
    PRUNE,
    TRAIN,
    Column,
    Job,
    Made,
    Paper,
    Plan,
    Scale,
    jobs_of,
    single_sets,
)
from canthus.training.checkpoint import LAST
from canthus.training.record import environment
from canthus.training.run_folder import BusyError, held, read_record, write_record

RESULT = "result.json"
ROW_LOCK = "row.lock"
"""File in the folder of a row that the process which works on it locks."""
LOOK_AGAIN_S = 20.0
"""Time between two looks at rows that other processes work on."""


@final
@dataclass(frozen=True)
class Reporter:
    """Functions that report progress, and single lines of text."""

    progress: Progress = lambda what, done, total: None
    write: Callable[[str], None] = lambda line: None


def run_job(job: Job, place: Surroundings, *, measure: str, scale: Scale, tell: Reporter) -> Made:
    """Train, export and measure one model, or read the result of an earlier run.

    Args:
        place: folders of the datasets, of the cache and of all jobs.
        measure: key of ``MEASURES``.

    Raises:
        ConfigError: a name is unknown, a dataset has no folder, or the folder holds a result of other settings.
        DataError: a dataset or an earlier result is missing or damaged.
    """
    if finished := finished_job(job, place.out, measure=measure, scale=scale):
        return finished
    folder = place.out / job.folder
    place = replace(place, out=folder)
    model = make_model(job, place, tell)
    metrics = measure_model(model, job, place, measure=measure, scale=scale, progress=tell.progress)
    values = _asked(job, folder, measure, scale) | {
        "model": str(model.relative_to(folder)) if model.is_relative_to(folder) else job.plan.recipe,
        "environment": environment(),
        "metrics": metrics,
    }
    write_record(folder / RESULT, values)
    return Made(job, folder, model, metrics)


def make_model(job: Job, place: Surroundings, tell: Reporter) -> Path:
    """The model file of a job, made in ``place.out`` unless it exists.

    It is the network of the last epoch, not of the best one: the best would be chosen on the sets that are reported.
    """
    if job.plan.way == FILE:
        return init_file(job.plan.recipe)
    config = job_config(job, place.out)
    path = place.out / ("model.npz" if isinstance(config, FitConfig) else "model.onnx")
    if path.exists():
        return path
    if isinstance(config, FitConfig):
        place.out.mkdir(parents=True, exist_ok=True)
        fit_cascade(config, place.roots, place.cache, progress=tell.progress).save(path)
        return path
    packs = pack_faces(config, place, progress=tell.progress)
    if job.plan.way == PRUNE:
        other, run = _checkpoint_of(job, place.out), _pruning(job.plan)
        prune(other, config, place, packs, run, progress=tell.progress, write=tell.write)
    else:
        train(config, place, packs, write=tell.write)
    export(place.out / LAST, path, roots={}, cache=place.cache)
    return path


def _pruning(plan: Plan) -> PruneRun:
    settings = PruneSettings(plan.rate, scorer=plan.scorer, refit=plan.refit, round_to=plan.round_to)
    return PruneRun(settings, layer_epochs=plan.layer_epochs, final_epochs=plan.final_epochs)


def _checkpoint_of(job: Job, out: Path) -> Path:
    """Checkpoint of the row that a job prunes or learns from."""
    return out.parent.parent / job.plan.of / f"seed_{job.of_seed}" / LAST


def job_config(job: Job, out: Path) -> TrainConfig | FitConfig:
    """The recipe of a job, which is not one of an existing model, with its changes and its seed.

    Args:
        out: folder of the job.

    Raises:
        ConfigError: see ``load_recipe``.
        ModelFileError: the checkpoint to prune does not exist.
    """
    other = _checkpoint_of(job, out)
    changes = tuple(job.fold(change).replace(OTHER, str(other)) for change in job.plan.changes)
    if job.plan.start:
        changes += (f"init={out.parent.parent / job.plan.start / f'seed_{job.start_seed}' / LAST}",)
    if job.plan.way == PRUNE:
        return pruning_config(other, _pruning(job.plan), changes)
    config = plan_config(replace(job.plan, changes=changes))
    return replace(config, seed=config.seed + job.seed)


def plan_config(plan: Plan) -> TrainConfig | FitConfig:
    """The recipe of a plan with its changes.

    Raises:
        ConfigError: see ``load_recipe``.
    """
    return load_fit(plan.recipe, plan.changes) if plan.way == FIT else load_recipe(plan.recipe, plan.changes)


def datasets_of(job: Job) -> set[str]:
    """Names of the datasets that a job trains on, without those of the rows that it depends on."""
    if job.plan.way in {FILE, PRUNE}:
        return set()
    return set(dataset_names(job_config(job, Path())))


def finished_job(job: Job, out: Path, *, measure: str, scale: Scale) -> Made | None:
    """The model and metrics of a job from an earlier run, as ``run_job`` returns them; None if there is no result.

    Args:
        out: folder of all jobs.

    Raises:
        ConfigError: the folder holds a result of other settings.
        DataError: the result is damaged.
    """
    folder = out / job.folder
    path = folder / RESULT
    if not path.exists():
        return None
    found = read_record(path, remedy="delete it to measure the model again")
    if job.plan.way != FILE:
        found["settings"] = completed(type(job_config(job, folder)), found.get("settings", {}))
    if "pruning" in found:  # earlier versions had neither setting
        found["pruning"]["settings"] = {"refit": False, "weights": 0} | found["pruning"]["settings"]
    asked = _asked(job, folder, measure, scale)
    if {name: found.get(name) for name in asked} != asked:
        raise ConfigError(f"{folder} holds a result of other settings; choose another --out, or delete the folder")
    # An embedded model may have been in another place when the result was written.
    try:
        model = init_file(job.plan.recipe) if job.plan.way == FILE else folder / found["model"]
        metrics = {str(name): float(value) for name, value in found["metrics"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: holds no model and metrics ({error}); delete it to measure the model again"
        ) from error
    return Made(job, folder, model, metrics)


def _asked(job: Job, folder: Path, measure: str, scale: Scale) -> dict[str, Any]:
    """The settings that a result depends on, as read back from JSON."""
    settings = {"model": job.plan.recipe} if job.plan.way == FILE else to_values(job_config(job, folder))
    asked = {"measure": measure, "sets": list(job.sets(scale).values()), "settings": settings}
    if job.plan.way == PRUNE:
        asked["pruning"] = asdict(_pruning(job.plan))
    return as_json(asked)


COSTS = "costs.json"
REPEATS = 60

Costs = dict[str, dict[str, float]]
"""Row -> ``size_bytes`` and ``time_s``."""


def measure_costs(
    paper: Paper, tables: Sequence[str], models: Mapping[str, Path], out: Path, *, tell: Reporter
) -> Costs:
    """Measure size and time for every row of the tables that show either.

    The time is the median of the whole step for one face on one thread: crop, inference, mapping points back.

    Args:
        tables: keys of ``paper.tables``.
        models: row -> model file.
        out: folder for the networks with random weights and for ``costs.json``, which keeps the rows of other tables.
    """
    rows = [row for row in rows_with_costs(paper, tables) if paper.entries[row].cost or row in models]
    files = {row: _file(row, paper.entries[row].cost, models, out, tell) for row in rows}
    result = benchmark_models(files, repeats=REPEATS, whole=True, on_round=partial(tell.progress, "timing"))
    costs: Costs = {}
    for model in result.models:
        costs[model.name] = {"size_bytes": float(model.size_bytes), "time_s": model.latency.median_s}
    values = {
        "machine": asdict(result.machine),
        "threads": result.threads,
        "repeats": result.repeats,
        "peak_flops": result.peak_flops,
        "rows": kept_costs(out) | costs,
    }
    write_record(out / COSTS, values)
    return costs


def kept_costs(out: Path) -> Costs:
    """The costs that ``measure_costs`` wrote before; empty if there are none.

    Raises:
        DataError: the file is damaged.
    """
    path, remedy = out / COSTS, "delete it to measure again"
    if not path.exists():
        return {}
    found = read_record(path, remedy=remedy)
    try:
        return {row: {name: float(value) for name, value in costs.items()} for row, costs in found["rows"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: holds no table of sizes and times ({error}); {remedy}") from error


def rows_with_costs(paper: Paper, tables: Sequence[str]) -> list[str]:
    """Rows of the tables that show size or time."""
    chosen = [paper.tables[name] for name in tables]
    shown = [table for table in chosen if any(not column.per_set for column in table.columns)]
    return list(dict.fromkeys(row for table in shown for row in table.rows))


def _file(row: str, cost: Plan | None, models: Mapping[str, Path], out: Path, tell: Reporter) -> Path:
    if cost is None:
        return models[row]
    config = plan_config(cost)
    if isinstance(config, FitConfig):
        raise ConfigError(f"{row}: a cascade has no cost before it is fitted; leave out the plan for its cost")
    path = out / "untrained" / f"{row}.onnx"
    if not path.exists():
        tell.write(f"exporting {row} with random weights, for its size and time")
        export_untrained(config, path)
    return path


@final
@dataclass(frozen=True)
class Reproduction:
    """Tables of a paper at one scale, and the jobs that make the models of their rows."""

    paper: Paper
    scale: Scale
    tables: tuple[str, ...]
    jobs: tuple[Job, ...]

    def datasets(self) -> list[str]:
        """Names of the datasets that the jobs train on and the tables test on."""
        tested = {part.partition("/")[0] for name in self.scale.sets for part in single_sets(name)}
        return sorted(tested.union(*(datasets_of(job) for job in self.jobs)))

    def run(self, place: Surroundings, tell: Reporter) -> list[Made]:
        """Make and measure every model; a model that an earlier run measured is only read.

        Several processes share the models of one folder: each takes those that no other works on, and waits for the
        rest at the end.

        Raises:
            ConfigError: see ``run_job``.
            DataError: a dataset is missing or damaged.
        """
        for dataset in self.datasets():
            dataset_root(place.roots, dataset)  # a missing folder is an error now, not after an hour of training
        made: dict[Job, Made] = {}
        waits = False
        while len(made) < len(self.jobs):
            before = len(made)
            for number, job in enumerate(self.jobs, start=1):
                if job not in made and self._has_what_it_needs(job, made):
                    with suppress(BusyError), held(place.out / job.folder, ROW_LOCK):
                        tell.write(f"{number}/{len(self.jobs)} {job.folder}: {self.paper.entries[job.entry].label}")
                        made[job] = run_job(job, place, measure=self.paper.measure, scale=self.scale, tell=tell)
            if len(made) == before:
                if not waits:
                    tell.write(f"waiting for {len(self.jobs) - before} rows that other processes work on")
                waits = True
                time.sleep(LOOK_AGAIN_S)
        return [made[job] for job in self.jobs]

    def _has_what_it_needs(self, job: Job, made: Mapping[Job, Made]) -> bool:
        needed = {job.plan.of, job.plan.start}
        return all(other in made for other in self.jobs if other.entry in needed)

    def finished(self, out: Path) -> list[Made]:
        """The models that earlier runs below ``out`` made and measured."""
        found = (finished_job(job, out, measure=self.paper.measure, scale=self.scale) for job in self.jobs)
        return [made for made in found if made]

    def costs(self, made: Sequence[Made], out: Path, tell: Reporter, *, measure: bool, again: bool) -> Costs:
        """Size and time of every row whose table shows them, as kept below ``out``.

        Args:
            made: models that exist; of several seeds the first is timed.
            measure: measure if the costs of a row are missing.
            again: measure all rows again.
        """
        rows, kept = rows_with_costs(self.paper, self.tables), kept_costs(out)
        if not rows or not (again or (measure and not set(rows) <= set(kept))):
            return kept
        models = {one.job.entry: one.model for one in reversed(made)}
        return kept | measure_costs(self.paper, self.tables, models, out, tell=tell)

    def texts(self, made: Sequence[Made], costs: Costs) -> dict[str, str]:
        """Name of each table -> the table in Markdown."""
        runs = _runs(made, costs)
        return {
            name: table_markdown(self.paper, name, self.scale, runs, partial(_face_errors, made, self.paper.measure))
            + fold_tests_markdown(self.paper, name, self.scale, made)
            for name in self.tables
        }

    def write(self, made: Sequence[Made], costs: Costs, place: Surroundings, tell: Reporter) -> None:
        """Write tables, plots and pictures of faces below ``place.out``."""
        runs, out = _runs(made, costs), place.out
        for name, text in self.texts(made, costs).items():
            written = write_table(out, self.paper, name, self.scale, runs, text=text)
            drawn = (plots(self.paper, name, self.scale, runs, out) for plots in (plot_costs, plot_swept))
            pictures = draw_faces(self.paper, name, self.scale, made, place)
            for path in itertools.chain(written, *drawn, pictures):
                tell.write(f"wrote {path}")
        kept = (
            write_errors(out, made, tested, metrics, measure=self.paper.measure)
            for tested, metrics in self._claimed().items()
        )
        for path in itertools.chain(*kept, plot_covers(self.paper, self.scale, made, out)):
            tell.write(f"wrote {path}")

    def _claimed(self) -> dict[str, list[str]]:
        """Test set -> metrics that a claim of the tables compares on it, alone or with others."""
        found: dict[str, dict[str, None]] = {}
        for table in (self.paper.tables[name] for name in self.tables):
            columns = {column.label: column for column in table.columns}
            claimed = (columns[claim.column] for claim in table.claims)
            metrics = dict.fromkeys(column.metric for column in claimed if column.per_set)
            for tested in tested_sets(table, self.scale):
                for part in single_sets(tested):
                    found.setdefault(part, {}).update(metrics)
        return {tested: list(metrics) for tested, metrics in found.items()}


def _started(paper: Paper, scale: str, starts: Mapping[str, Path]) -> Paper:
    """A paper whose rows of some recipes start from files of weights."""
    fresh = {
        row: plan
        for row, entry in paper.entries.items()
        if (plan := entry.plans.get(scale)) is not None and plan.way == TRAIN and not plan.start
    }
    entries = dict(paper.entries)
    for recipe, path in starts.items():
        lookup({plan.recipe: None for plan in fresh.values()}, recipe, kind="recipe of a row that starts at random")
        for row, plan in fresh.items():
            if plan.recipe == recipe:
                started = replace(plan, changes=(*plan.changes, f"init={init_file(str(path)).resolve()}"))
                entries[row] = replace(entries[row], plans={**entries[row].plans, scale: started})
    return replace(paper, entries=entries)


def _face_errors(made: Sequence[Made], measure: str, row: str, tested: str, column: Column) -> list[dict[str, float]]:
    """Face -> error in the unit of a column, for each training of a row."""
    own = [one for one in made if one.job.entry == row] if tested else []
    found = filter(None, (errors_of(one, tested, column.metric, measure=measure) for one in own))
    return [{face: column.factor * error for face, error in errors.items()} for errors in found]


def _runs(made: Sequence[Made], costs: Costs) -> dict[str, list[Mapping[str, float]]]:
    """Row -> its costs, and its metrics with each seed."""
    runs: dict[str, list[Mapping[str, float]]] = {row: [cost] for row, cost in costs.items()}
    for one in made:
        runs.setdefault(one.job.entry, []).append(one.metrics)
    return runs


def plan_reproduction(
    paper: Paper, table: str | None, scale: str, starts: Mapping[str, Path] = MappingProxyType({})
) -> Reproduction:
    """The jobs that one table needs, or all tables of a paper.

    Args:
        table: key of ``paper.tables``, or None for all.
        scale: key of ``paper.scales``.
        starts: recipe -> file of weights that the rows trained by it start from, such as published ones of ImageNet, in
            the place of random weights.

    Raises:
        ConfigError: an unknown table or scale, or a recipe that no row starts at random.
    """
    asked = lookup(paper.scales, scale, kind="scale")
    paper = _started(paper, scale, starts)
    if table is not None:
        lookup(paper.tables, table, kind="table")
    tables = tuple(paper.tables) if table is None else (table,)
    return Reproduction(paper, asked, tables, tuple(jobs_of(paper, tables, scale)))
