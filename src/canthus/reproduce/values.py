"""The parts of a paper's tables as plain values: trainings, columns, published numbers and claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from canthus.errors import ConfigError

FULL, CPU, QUICK = "full", "cpu", "quick"
"""Names of scales: the paper's own data and length of training; what two cores do in a night or two, long enough for
verdicts; and a first look in an hour or two."""

TRAIN, FIT, FILE, PRUNE = "train", "fit", "file", "prune"
"""Ways to get a model: train a network by a recipe, fit a cascade by a recipe, take an existing file, or prune the
trained network of another row."""

FOLD, FOLDS = "{fold}", 3
"""Placeholder for the fold number in the changes and test sets of a cross-validation, and the number of folds."""

OTHER = "{of}"
"""Placeholder for the checkpoint of another row in changes."""

POOL = " + "
"""Between the names of test sets whose faces are counted together."""

PLAIN, COVERED = "plain", "covered"
"""Ways to measure: on faces as they are, or under the conditions of the scale's occlusion protocol."""


@final
@dataclass(frozen=True)
class Plan:
    """How to get the model of one row at one scale.

    Attributes:
        recipe: name of a recipe, or of an embedded model for ``FILE``.
        changes: settings that differ from the recipe, as ``canthus train --set`` takes them.
        way: ``TRAIN``, ``FIT``, ``FILE`` or ``PRUNE``.
        seeds: number of trainings, with seeds 0, 1, ...; in a cross-validation, where changes or sets contain
            ``FOLD``, the number of folds.
        of: key of the row whose checkpoint is pruned, or replaces ``OTHER`` in the changes.
        start: key of the row whose weights the training starts from; random weights if empty.
        rate: share of the channels of each layer that pruning removes.
        scorer, refit, round_to: how it removes them, see ``PruneSettings``; as the papers do unless given.
        layer_epochs: length of the retraining after each pruned layer, as a share of an epoch.
        final_epochs: epochs of training after the last pruned layer.
        sets: test sets used instead of those of the scale.
    """

    recipe: str = ""
    changes: tuple[str, ...] = ()
    way: str = TRAIN
    seeds: int = 1
    of: str = ""
    start: str = ""
    rate: float = 0.0
    scorer: str = "closed"
    refit: bool = False
    round_to: int = 1
    layer_epochs: float = 0.0
    final_epochs: int = 0
    sets: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Entry:
    """One row of a table.

    Attributes:
        plans: scale -> how to get its model; the row is not run at other scales.
        cost: recipe and changes of the network whose size and time are measured, with random weights, since both depend
            on the network alone; None to measure the model itself.
    """

    label: str
    plans: Mapping[str, Plan] = field(default_factory=dict)
    cost: Plan | None = None


@final
@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        metric: key of a run's metrics, such as ``nme_ion``, ``size_bytes`` or ``nmse/frontal/30-40 %``; "" for a column
            of published numbers only.
        label: heading, with the unit.
        factor: from the metric to the unit of the table.
        over: key of a row; the column then holds the metric divided by the metric of that row.
        gain_of: key of a row; the column then holds the share by which the metric of that row is smaller.
        per_set: whether the number depends on the test set.
    """

    metric: str
    label: str
    factor: float = 1.0
    digits: int = 2
    over: str = ""
    gain_of: str = ""
    per_set: bool = True


SIZE = Column("size_bytes", "size, MB", factor=1e-6, per_set=False)
TIME = Column("time_s", "time, ms", factor=1e3, per_set=False)


def printed(headings: Sequence[str], rows: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], float]:
    """(row, heading) -> number, for ``PaperTable.published``; a 0 stands for a number that is not printed."""
    return {
        (row, name): value
        for row, values in rows.items()
        for name, value in zip(headings, values, strict=True)
        if value
    }


@final
@dataclass(frozen=True)
class Claim:
    """A conclusion of a paper: the number of one row is smaller than that of another.

    Attributes:
        smaller, larger: keys of the rows.
        column: heading of the column that is compared.
        ratio: factor between the two numbers that the paper claims; 0 if it names none.
    """

    text: str
    smaller: str
    larger: str
    column: str
    ratio: float = 0.0


@final
@dataclass(frozen=True)
class PaperTable:
    """One table, or one figure with numbers.

    Attributes:
        where: its number in the paper.
        rows: keys of ``Paper.entries``.
        published: (row, heading) -> number as printed, in the unit of the column.
        claims: what the paper concludes from it.
        note: how to read our numbers.
        sets: name of a scale -> test sets used instead of those of the scale.
        published_at: scales whose data are those of the paper, so that its numbers stand beside ours; empty for all.
        pictures: whether a sheet of faces with the points of each row belongs to it.
        sweep: whether the rows are values of one setting, in order, and their labels numbers; a plot shows them.
        fold_tests: row -> the statistical tests between its folds, as printed; ours are written below such a table.
    """

    title: str
    where: str
    rows: tuple[str, ...]
    columns: tuple[Column, ...]
    published: Mapping[tuple[str, str], float]
    claims: tuple[Claim, ...] = ()
    note: str = ""
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    published_at: tuple[str, ...] = ()
    pictures: bool = False
    sweep: bool = False
    fold_tests: Mapping[str, str] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Learned:
    """Error above which a network counts as not trained enough for a verdict.

    Attributes:
        metric: key of a run's metrics.
        most: largest error, a fraction.
        below: row -> row whose error it must not exceed either.
        but: rows without a bound, whose large error is what a claim says.
    """

    metric: str
    most: float
    below: Mapping[str, str] = field(default_factory=dict)
    but: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Scale:
    """The length of the trainings and the test sets.

    Attributes:
        name: ``FULL``, ``CPU`` or ``QUICK``.
        sets: test sets, ``dataset/split``; some joined by ``POOL`` are also measured as one.
        budget: in words: training data, length, and what is equal for all rows.
        conversion: see ``load_faces``.
        learned: bound above which claims about a row get no verdict; None for no bound.
        covers: occlusion protocol of a paper on covered faces.
    """

    name: str
    sets: tuple[str, ...]
    budget: str
    conversion: str = ""
    learned: Learned | None = None
    covers: str = "paper_c"


@final
@dataclass(frozen=True)
class Paper:
    """A paper with the tables that can be reproduced.

    Attributes:
        measure: ``PLAIN`` or ``COVERED``.
        entries: rows of all tables, by key.
        tables: by key, such as ``table_5``.
    """

    title: str
    measure: str
    scales: Mapping[str, Scale]
    entries: Mapping[str, Entry]
    tables: Mapping[str, PaperTable]


@final
@dataclass(frozen=True)
class Job:
    """One model to make and measure.

    Attributes:
        entry: key of the row.
        seed: added to the seed of the recipe.
        of_seed, start_seed: which training of the rows ``of`` and ``start`` it takes: the one with its own seed if the
            row has as many, else the first.
    """

    entry: str
    plan: Plan
    seed: int
    of_seed: int = 0
    start_seed: int = 0

    @property
    def folder(self) -> str:
        """Path of its folder, below the folder of the scale."""
        return self.entry if self.plan.way == FILE else f"{self.entry}/seed_{self.seed}"

    def sets(self, scale: Scale) -> dict[str, str]:
        """Name of each test set in tables -> ``dataset/split`` for the fold of this job."""
        return {name.replace(FOLD, "k"): self.fold(name) for name in self.plan.sets or scale.sets}

    def fold(self, text: str) -> str:
        """Replace ``FOLD`` in a text by the fold of this job."""
        return text.replace(FOLD, str(self.seed + 1))


def single_sets(tested: str) -> tuple[str, ...]:
    """The test sets that a name with ``POOL`` joins; of any other name, the name alone."""
    return tuple(tested.split(POOL))


def jobs_of(paper: Paper, tables: Sequence[str], scale: str) -> list[Job]:
    """The models that some tables need, each once, ordered by seed so that an early stop leaves whole tables.

    Args:
        tables: keys of ``paper.tables``.
        scale: key of ``paper.scales``.
    """
    plans: dict[str, Plan] = {}

    def add(row: str) -> None:
        """Add the plan of a row after the plans of the rows that it depends on."""
        plan = paper.entries[row].plans.get(scale)
        if plan is None or row in plans:
            return
        for needed in filter(None, (plan.start, plan.of)):
            add(needed)
        plans[row] = plan

    for table in tables:
        for row in paper.tables[table].rows:
            add(row)

    def seed_of(row: str, seed: int) -> int:
        return seed if row and plans[row].seeds > seed else 0

    jobs = [
        Job(key, plan, seed, seed_of(plan.of, seed), seed_of(plan.start, seed))
        for key, plan in plans.items()
        for seed in range(plan.seeds)
    ]
    return sorted(jobs, key=lambda job: job.seed)


def check_paper(paper: Paper) -> None:
    """Check that tables name only known rows, columns and scales, and scales only pools of sets that they have.

    Raises:
        ConfigError: a name is unknown, or a set of a pool is not among those before it.
    """
    for scale in paper.scales.values():
        for number, tested in enumerate(scale.sets):
            parts = single_sets(tested)
            if len(parts) > 1 and not set(parts) <= set(scale.sets[:number]):
                raise ConfigError(
                    f"{paper.title!r} pools {tested!r}; name its sets before it in the scale {scale.name}"
                )
    for name, table in paper.tables.items():
        headings = {column.label for column in table.columns}
        claimed = {row for claim in table.claims for row in (claim.smaller, claim.larger)}
        plans = [plan for row in table.rows if row in paper.entries for plan in paper.entries[row].plans.values()]
        rows = {*table.rows, *claimed, *table.fold_tests, *(row for row, _ in table.published)}
        rows |= {needed for plan in plans for needed in (plan.of, plan.start) if needed}
        unknown = [*(rows - set(paper.entries)), *({heading for _, heading in table.published} - headings)]
        unknown += [claim.column for claim in table.claims if claim.column not in headings]
        unknown += [scale for row in table.rows for scale in paper.entries[row].plans if scale not in paper.scales]
        if unknown:
            raise ConfigError(f"{name} of {paper.title!r} names {unknown[0]!r}, which is no known row, column or scale")


@final
@dataclass(frozen=True)
class Made:
    """A model that was made and measured.

    Attributes:
        metrics: ``dataset/split:metric`` -> number; fractions.
    """

    job: Job
    folder: Path
    model: Path
    metrics: Mapping[str, float]
