"""A paper's table with its published numbers beside ours, and what becomes of its claims."""

import csv
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float64

from canthus.evaluation.rows import read_rows
from canthus.evaluation.statistics import FoldComparison, compare_folds, errors_by_face
from canthus.reproduce.measure import rows_file
from canthus.reproduce.values import Claim, Column, Made, Paper, PaperTable, Scale

METRIC = "mse_unit"


def fold_tests_markdown(paper: Paper, name: str, scale: Scale, made: Sequence[Made]) -> str:
    """For each row of a cross-validation, t and Levene's W between every two folds; "" for tables without.

    Args:
        paper: that the table is of.
        name: of the table.
        scale: names the test sets.
        made: what was run; a row needs all of its folds.

    Raises:
        MissingExtraError: scipy is not installed (extra: datasets).
    """
    table = paper.tables[name]
    if not table.fold_tests:
        return ""
    lines = [
        "Tests between folds 1-2, 1-3, 2-3, of the errors of faces; a large p says only that they show no difference:\n"
    ]
    lines += [
        f"- {paper.entries[row].label}: published {printed}; ours {_our_folds(row, scale, made)}"
        for row, printed in table.fold_tests.items()
    ]
    return "\n".join(lines) + "\n"


def _our_folds(row: str, scale: Scale, made: Sequence[Made]) -> str:
    folds = [one for one in made if one.job.entry == row]
    if not folds or len(folds) < folds[0].job.plan.seeds:
        return "not run"
    return _folds_said(compare_folds({f"fold {one.job.seed + 1}": _errors(one, scale) for one in folds}))


def _errors(one: Made, scale: Scale) -> Float64[np.ndarray, " n"]:
    files = [rows_file(one.folder, tested) for tested in one.job.sets(scale)]
    return np.concatenate([list(errors_by_face(read_rows(file), METRIC).values()) for file in files])


def _folds_said(comparison: FoldComparison) -> str:
    columns = {
        "t": [test.t for test in comparison.tests],
        "p": [test.t_p for test in comparison.tests],
        "Levene": [test.levene for test in comparison.tests],
        "p of Levene": [test.levene_p for test in comparison.tests],
    }
    return "; ".join(f"{name} {', '.join(f'{v:.2f}' for v in values)}" for name, values in columns.items())


NOT_RUN = "not run"
ONE_SEED = "a row has one seed"

Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""Row -> metrics of each of its seeds."""


@final
@dataclass(frozen=True)
class Cell:
    """One number of a table, in the unit of its column.

    Attributes:
        row: key of the entry.
        heading: of the column.
        tested: ``dataset/split`` that ours was measured on, or "" where it depends on none.
        published: as printed; NaN where the paper does not tell it.
        ours: mean over the seeds; NaN where it was not run.
        deviation: sample standard deviation over the seeds; NaN below two.
        seeds: how many.
    """

    row: str
    heading: str
    tested: str
    published: float
    ours: float
    deviation: float
    seeds: int


@final
@dataclass(frozen=True)
class Verdict:
    """What our numbers say to a claim.

    Attributes:
        claim: as the paper has it.
        tested: ``dataset/split``, or "".
        holds: True, False, or None where it was not run or the seeds leave it open.
        reason: the two numbers, and what speaks against a decision.
    """

    claim: Claim
    tested: str
    holds: bool | None
    reason: str


def tested_sets(table: PaperTable, scale: Scale) -> tuple[str, ...]:
    """Test sets of a table at a scale, as tables name them."""
    return table.sets.get(scale.name, scale.sets)


def table_cells(table: PaperTable, scale: Scale, runs: Runs) -> list[Cell]:
    """All cells, by test set, row and column; columns that depend on no test set come with the first one."""
    return [
        _cell(table, row, column, tested, runs)
        for number, tested in enumerate(tested_sets(table, scale))
        for row in table.rows
        for column in table.columns
        if column.per_set or number == 0
    ]


def verdicts(table: PaperTable, cells: Sequence[Cell]) -> list[Verdict]:
    """One a claim and test set."""
    found = []
    for claim in table.claims:
        smaller = {cell.tested: cell for cell in cells if (cell.row, cell.heading) == (claim.smaller, claim.column)}
        larger = {cell.tested: cell for cell in cells if (cell.row, cell.heading) == (claim.larger, claim.column)}
        found += [_verdict(claim, table, smaller[tested], larger[tested]) for tested in smaller]
    return found


def table_markdown(paper: Paper, name: str, scale: Scale, runs: Runs) -> str:
    """The table as Markdown: a part for each test set, each cell ``published / ours``; then the claims.

    Args:
        paper: that the table is of.
        name: of the table.
        scale: at which ours was run.
        runs: our numbers.
    """
    table = paper.tables[name]
    cells = table_cells(table, scale, runs)
    parts = [f"### {table.where}: {table.title}\n", f"{scale.budget}\n"]
    if table.note:
        parts.append(f"{table.note}\n")
    for tested in tested_sets(table, scale):
        columns = [column for column in table.columns if column.per_set]
        if columns:
            parts.append(f"Published / ours on {tested}:\n")
            parts.append("\n".join(_lines(paper, table, columns, tested, cells)) + "\n")
    columns = [column for column in table.columns if not column.per_set]
    if columns:
        parts.append("Published / ours:\n")
        parts.append("\n".join(_lines(paper, table, columns, "", cells)) + "\n")
    said = [f"- {_said(verdict)}" for verdict in verdicts(table, cells)]
    return "\n".join([*parts, "\n".join(said) + "\n"] if said else parts)


def write_table(folder: Path, paper: Paper, name: str, scale: Scale, runs: Runs, *, text: str) -> list[Path]:
    """Write ``NAME.md``, which is ``text``, and ``NAME.csv``, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    page, data = folder / f"{name}.md", folder / f"{name}.csv"
    page.write_text(text, encoding="utf-8")
    with data.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["table", "row", "column", "test_set", "published", "ours", "deviation", "seeds"])
        for cell in table_cells(paper.tables[name], scale, runs):
            numbers = [_plain(cell.published), _plain(cell.ours), _plain(cell.deviation)]
            writer.writerow([name, cell.row, cell.heading, cell.tested, *numbers, cell.seeds])
    return [page, data]


def verdict_word(verdict: Verdict) -> str:
    """``holds``, ``does not hold``, ``undecided`` or ``not run``."""
    return (
        NOT_RUN
        if verdict.reason == NOT_RUN
        else {True: "holds", False: "does not hold", None: "undecided"}[verdict.holds]
    )


def _cell(table: PaperTable, row: str, column: Column, tested: str, runs: Runs) -> Cell:
    values = list(_values(row, column, tested, runs))
    return Cell(
        row=row,
        heading=column.label,
        tested=tested if column.per_set else "",
        published=table.published.get((row, column.label), math.nan),
        ours=statistics.fmean(values) if values else math.nan,
        deviation=statistics.stdev(values) if len(values) > 1 else math.nan,
        seeds=len(values),
    )


def _values(row: str, column: Column, tested: str, runs: Runs) -> Iterator[float]:
    """The column's number for each seed of a row."""
    key = f"{tested}:{column.metric}" if column.per_set else column.metric
    own = _known(metrics.get(key) for metrics in runs.get(row, ()))
    if not column.over and not column.gain_of:
        yield from (value * column.factor for value in own)
        return
    other = _known(metrics.get(key) for metrics in runs.get(column.over or column.gain_of, ()))
    if other:
        mean = statistics.fmean(other)
        yield from (column.factor * (value / mean if column.over else 1 - mean / value) for value in own)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and not math.isnan(value)]


def _verdict(claim: Claim, table: PaperTable, smaller: Cell, larger: Cell) -> Verdict:
    if not smaller.seeds or not larger.seeds:
        return Verdict(claim, smaller.tested, None, NOT_RUN)
    column = next(column for column in table.columns if column.label == claim.column)
    ratio = larger.ours / smaller.ours if smaller.ours else math.nan
    numbers = f"{_ours(smaller, column)} against {_ours(larger, column)}"
    if claim.ratio:
        numbers += f", {ratio:.2f} times (published {claim.ratio:g})"
        return Verdict(claim, smaller.tested, ratio >= claim.ratio, numbers)
    gap = larger.ours - smaller.ours
    if smaller.seeds < 2 or larger.seeds < 2:
        return Verdict(claim, smaller.tested, gap > 0, f"{numbers}; {ONE_SEED if column.per_set else 'measured once'}")
    error = math.hypot(smaller.deviation / math.sqrt(smaller.seeds), larger.deviation / math.sqrt(larger.seeds))
    if abs(gap) < 2 * error:
        return Verdict(claim, smaller.tested, None, f"{numbers}; the gap is below two standard errors")
    return Verdict(claim, smaller.tested, gap > 0, numbers)


def _said(verdict: Verdict) -> str:
    where = f" on {verdict.tested}" if verdict.tested else ""
    reason = "" if verdict.reason == NOT_RUN else f" ({verdict.reason})"
    return f"{verdict.claim.text}: **{verdict_word(verdict)}**{where}{reason}"


def _lines(
    paper: Paper, table: PaperTable, columns: Sequence[Column], tested: str, cells: Sequence[Cell]
) -> Iterator[str]:
    yield f"| | {' | '.join(column.label for column in columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    found = {(cell.row, cell.heading): cell for cell in cells if cell.tested == tested}
    for row in table.rows:
        shown = [_shown(found[row, column.label], column) for column in columns]
        yield f"| {paper.entries[row].label} | {' | '.join(shown)} |"


def _shown(cell: Cell, column: Column) -> str:
    return f"{_published(cell)} / {_ours(cell, column)}" if column.metric else _published(cell)


def _published(cell: Cell) -> str:
    return "-" if math.isnan(cell.published) else f"{cell.published:.8g}"


def _ours(cell: Cell, column: Column) -> str:
    if math.isnan(cell.ours):
        return NOT_RUN
    deviation = "" if math.isnan(cell.deviation) else f" ± {cell.deviation:.{column.digits}f}"
    return f"{cell.ours:.{column.digits}f}{deviation}"


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
