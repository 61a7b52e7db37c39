"""What the tables of a paper are made of: trainings, columns, published numbers, claims.  Values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from canthus.errors import ConfigError

FULL, QUICK = "full", "quick"
"""Names of scales: the paper's own data and length of training; what an ordinary machine does in an hour or two."""

TRAIN, FIT, FILE, PRUNE = "train", "fit", "file", "prune"
"""Ways to a model: a network trained by a recipe, a cascade fitted by one, a model that exists already, a trained
network of another row with fewer filters."""

FOLD, FOLDS = "{fold}", 3
"""What stands for the number of the fold in changes and test sets of a cross-validation, and how many folds it has."""

OTHER = "{of}"
"""What stands for the checkpoint of another row in changes."""

PLAIN, COVERED = "plain", "covered"
"""Ways to measure: faces as they are; faces under the conditions of the occlusion protocol ``paper_c``."""


@final
@dataclass(frozen=True)
class Plan:
    """How one row of a table gets its model at one scale.

    Attributes:
        recipe: name of a recipe, or of an embedded model for ``FILE``.
        changes: settings that differ from the recipe, as ``canthus train --set`` takes them.
        way: ``TRAIN``, ``FIT``, ``FILE`` or ``PRUNE``.
        seeds: how often it is trained, from seeds 0, 1, ...; in a cross-validation, where changes or sets hold
            ``FOLD``, the number of folds.
        of: key of the row whose checkpoint is pruned, or stands for ``OTHER`` in the changes.
        start: key of the row whose weights it starts from; random weights where empty.
        rate: share of the channels that pruning takes from each layer.
        layer_epochs: length of the retraining after each pruned layer, as a share of an epoch.
        final_epochs: epochs of training after the last pruned layer.
        sets: test sets in place of the scale's.
    """

    recipe: str = ""
    changes: tuple[str, ...] = ()
    way: str = TRAIN
    seeds: int = 1
    of: str = ""
    start: str = ""
    rate: float = 0.0
    layer_epochs: float = 0.0
    final_epochs: int = 0
    sets: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Entry:
    """One row of a table.

    Attributes:
        label: as tables print it.
        plans: how its model is made at each scale; a scale that is not there does not run it.
        cost: recipe and changes of the network whose size and time are told, with random weights, since both depend on
            the network alone; None for those of the model itself.
    """

    label: str
    plans: Mapping[str, Plan] = field(default_factory=dict)
    cost: Plan | None = None


@final
@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        metric: key among a run's metrics, such as ``nme_ion``, ``size_bytes`` or ``nmse/frontal/30-40 %``; "" for a
            column that shows published numbers alone.
        label: heading, with the unit.
        factor: from the metric to the unit of the table.
        digits: after the point.
        over: key of a row; the column then tells the row's metric over that row's.
        gain_of: key of a row; the column then tells by how much of a row's metric that row's is smaller.
        per_set: whether the number depends on the test set.
    """

    metric: str
    label: str
    factor: float = 1.0
    digits: int = 2
    over: str = ""
    gain_of: str = ""
    per_set: bool = True


@final
@dataclass(frozen=True)
class Claim:
    """What a paper concludes from a table: one row's number is smaller than another's.

    Attributes:
        text: the claim in words.
        smaller: key of the row whose number is said to be smaller.
        larger: key of the other.
        column: heading of the column that is compared.
        ratio: how many times smaller the paper says; 0 where it names no factor.
    """

    text: str
    smaller: str
    larger: str
    column: str
    ratio: float = 0.0


@final
@dataclass(frozen=True)
class PaperTable:
    """One table, or one figure that shows numbers.

    Attributes:
        title: what it shows.
        where: in the paper.
        rows: keys of ``Paper.entries``.
        columns: what is compared.
        published: (row, heading) -> number as printed, in the unit of the column.
        claims: what the paper concludes from it.
        note: how our numbers are to be read.
        sets: name of a scale -> test sets in place of the scale's.
        fold_tests: row -> what the paper prints of tests between its folds; such a table tells ours as well.
    """

    title: str
    where: str
    rows: tuple[str, ...]
    columns: tuple[Column, ...]
    published: Mapping[tuple[str, str], float]
    claims: tuple[Claim, ...] = ()
    note: str = ""
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fold_tests: Mapping[str, str] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Scale:
    """How much is spent, and on which faces.

    Attributes:
        name: ``FULL`` or ``QUICK``.
        sets: test sets, ``dataset/split``.
        budget: in words: data, length, what is equal for all.
        conversion: variant by which sets of another scheme are converted; the default one where empty.
    """

    name: str
    sets: tuple[str, ...]
    budget: str
    conversion: str = ""


@final
@dataclass(frozen=True)
class Paper:
    """A paper with the tables that can be made again.

    Attributes:
        title: of the paper.
        measure: ``PLAIN`` or ``COVERED``.
        scales: by name.
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
        plan: how.
        seed: added to the recipe's own.
    """

    entry: str
    plan: Plan
    seed: int

    @property
    def folder(self) -> str:
        """Name of its folder below that of the scale."""
        return self.entry if self.plan.way == FILE else f"{self.entry}/seed_{self.seed}"

    def sets(self, scale: Scale) -> dict[str, str]:
        """Test sets: as tables name them, and as they are for this fold."""
        return {name.replace(FOLD, "k"): self.fold(name) for name in self.plan.sets or scale.sets}

    def fold(self, text: str) -> str:
        """A text with this job's fold in place of ``FOLD``."""
        return text.replace(FOLD, str(self.seed + 1))


def jobs_of(paper: Paper, tables: Sequence[str], scale: str) -> list[Job]:
    """Models that some tables need, each once; first seeds first, so that an early stop leaves whole tables.

    Args:
        paper: with its tables.
        tables: keys of ``paper.tables``.
        scale: key of ``paper.scales``.
    """
    plans: dict[str, Plan] = {}
    for row in dict.fromkeys(row for table in tables for row in paper.tables[table].rows):
        _add_plan(row, paper, scale, plans)
    jobs = [Job(key, plan, seed) for key, plan in plans.items() for seed in range(plan.seeds)]
    return sorted(jobs, key=lambda job: job.seed)


def _add_plan(row: str, paper: Paper, scale: str, plans: dict[str, Plan]) -> None:
    """The plan of a row, behind those of the rows it needs."""
    plan = paper.entries[row].plans.get(scale)
    if plan is None or row in plans:
        return
    for needed in filter(None, (plan.start, plan.of)):
        _add_plan(needed, paper, scale, plans)
    plans[row] = plan


def check_paper(paper: Paper) -> None:
    """Refuse tables that name rows, columns or scales that are not there.

    Raises:
        ConfigError: with the first slip.
    """
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
            raise ConfigError(f"{name} of {paper.title!r} names {unknown[0]!r}, which is not there")


@final
@dataclass(frozen=True)
class Made:
    """A model that was made and measured.

    Attributes:
        job: what was asked for.
        folder: of the job.
        model: file.
        metrics: ``dataset/split:metric`` -> number; fractions.
    """

    job: Job
    folder: Path
    model: Path
    metrics: Mapping[str, float]
