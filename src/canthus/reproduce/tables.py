"""Tables of a paper with its numbers beside ours, and verdicts on its claims."""

import csv
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float64

from canthus.evaluation.rows import read_rows
from canthus.evaluation.statistics import compare_folds, errors_by_face
from canthus.files import write_text, written
from canthus.reproduce.measure import rows_file
from canthus.reproduce.values import Claim, Column, Made, Paper, PaperTable, Scale
from canthus.reproduce.verdicts import NOT_RUN, WORDS, Errors, Verdict, no_errors, verdicts

METRIC = "mse_unit"
"""Error that folds are compared by."""


def fold_tests_markdown(paper: Paper, name: str, scale: Scale, made: Sequence[Made]) -> str:
    """Student's t and Levene's W between every two folds of each row; "" for a table without cross-validation.

    Args:
        made: finished models; a row needs all of its folds.

    Raises:
        MissingExtraError: scipy is not installed (extra: datasets).
    """
    table = paper.tables[name]
    if not table.fold_tests:
        return ""
    lines = [
        "Tests of the errors of faces between folds 1-2, 1-3, 2-3; a large p only means that they show no difference:\n"
    ]
    for row, printed in table.fold_tests.items():
        published = f"published {printed}; " if _is_beside(table, scale) else ""
        lines.append(f"- {paper.entries[row].label}: {published}ours {_our_folds(row, scale, made)}")
    return "\n".join(lines) + "\n"


def _our_folds(row: str, scale: Scale, made: Sequence[Made]) -> str:
    folds = [one for one in made if one.job.entry == row]
    if not folds or len(folds) < folds[0].job.plan.seeds:
        return NOT_RUN
    tests = compare_folds({f"fold {one.job.seed + 1}": _errors(one, scale) for one in folds}).tests
    columns = {
        "t": [test.t for test in tests],
        "p": [test.t_p for test in tests],
        "Levene": [test.levene for test in tests],
        "p of Levene": [test.levene_p for test in tests],
    }
    return "; ".join(f"{name} {', '.join(f'{v:.2f}' for v in values)}" for name, values in columns.items())


def _errors(one: Made, scale: Scale) -> Float64[np.ndarray, " n"]:
    files = [rows_file(one.folder, tested) for tested in one.job.sets(scale)]
    return np.concatenate([list(errors_by_face(read_rows(file), METRIC).values()) for file in files])


Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""Row -> metrics of each of its seeds."""


@final
@dataclass(frozen=True)
class Cell:
    """One number of a table, in the unit of its column.

    Attributes:
        row: key of the entry.
        tested: ``dataset/split`` that ours was measured on; "" if the number depends on no test set.
        published: as printed; NaN if it is not in the paper.
        ours: mean over the seeds; NaN if the row was not run.
        deviation: sample standard deviation over the seeds; NaN for fewer than two.
    """

    row: str
    heading: str
    tested: str
    published: float
    ours: float
    deviation: float
    seeds: int


def tested_sets(table: PaperTable, scale: Scale) -> tuple[str, ...]:
    """Names of the test sets of a table at a scale."""
    return table.sets.get(scale.name, scale.sets)


def table_cells(table: PaperTable, scale: Scale, runs: Runs) -> list[Cell]:
    """All cells by test set, row and column; columns that depend on no test set come with the first test set."""
    if not _is_beside(table, scale):
        table = replace(table, published={})
    return [
        _cell(table, row, column, tested, runs)
        for number, tested in enumerate(tested_sets(table, scale))
        for row in table.rows
        for column in table.columns
        if column.per_set or number == 0
    ]


def _is_beside(table: PaperTable, scale: Scale) -> bool:
    """Whether the paper's numbers stand beside ours."""
    return not table.published_at or scale.name in table.published_at


def table_markdown(paper: Paper, name: str, scale: Scale, runs: Runs, errors: Errors = no_errors) -> str:
    """The table as Markdown: which claims hold, published and own numbers, the tests, and how it was made.

    Args:
        errors: errors of faces, for the tests of the claims.
    """
    table = paper.tables[name]
    cells = table_cells(table, scale, runs)

    def numbers(row: str, column: Column, tested: str) -> list[float]:
        return list(_values(row, column, tested, runs))

    found = verdicts(table, scale, numbers, errors)
    parts = [f"### {table.where}: {table.title}\n", answer(found)]
    for tested in (*tested_sets(table, scale), ""):
        columns = [column for column in table.columns if column.per_set == bool(tested)]
        if columns:
            parts.append(f"Published / ours on {tested}:\n" if tested else "Published / ours:\n")
            parts.append("\n".join(_lines(paper, table, columns, cells, tested=tested, scale=scale)) + "\n")
    parts += [verdict_lines(found, table.columns)] if any(one.reason for one in found) else []
    parts += [
        f"How it was made: {scale.budget}\n",
        _bound(paper, table, scale),
        f"{table.note}\n" if table.note else "",
    ]
    return "\n".join(part for part in parts if part)


def answer(found: Sequence[Verdict]) -> str:
    """The claims by their verdicts; a test set is named where a claim has another verdict on another set."""
    words: dict[Claim, set[str]] = {}
    for verdict in found:
        words.setdefault(verdict.claim, set()).add(verdict.word)
    lines = []
    for word in WORDS:
        # A dict keeps the order, and drops a claim that comes again with another test set.
        texts = {
            one.claim.text + (f" ({one.tested})" if len(words[one.claim]) > 1 else ""): None
            for one in found
            if one.word == word
        }
        lines += [f"- **{word}**: {'; '.join(texts)}"] if texts else []
    return "\n".join(lines) + "\n" if lines else ""


def write_table(folder: Path, paper: Paper, name: str, scale: Scale, runs: Runs, *, text: str) -> list[Path]:
    """Write ``text`` to ``NAME.md`` and the cells to ``NAME.csv``; return both paths."""
    page, data = folder / f"{name}.md", folder / f"{name}.csv"
    write_text(page, text)
    with written(data) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["table", "row", "column", "test_set", "published", "ours", "deviation", "seeds"])
        for cell in table_cells(paper.tables[name], scale, runs):
            numbers = [_plain(cell.published), _plain(cell.ours), _plain(cell.deviation)]
            writer.writerow([name, cell.row, cell.heading, cell.tested, *numbers, cell.seeds])
    return [page, data]


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
    """The number of the column for each seed of a row."""
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


def verdict_lines(found: Sequence[Verdict], columns: Sequence[Column]) -> str:
    """The numbers and the test behind each verdict, as Markdown; claims that were not run are left out."""
    digits = {column.label: column.digits for column in columns}
    lines = [
        "| claim | tested on | verdict | ours | gap, 95 % interval | compared | p |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in (one for one in found if one.reason):
        test = ["", "", ""]
        if one.gap:
            n = digits[one.claim.column]
            interval = f"{one.gap.mean:+.{n}f}, {one.gap.low:+.{n}f} to {one.gap.high:+.{n}f}"
            test = [interval, one.gap.over, f"{one.gap.p:.2g}"]
        cells = [one.claim.text, one.tested, f"**{one.word}**", one.reason, *test]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _bound(paper: Paper, table: PaperTable, scale: Scale) -> str:
    """Up to which error the claims about a row get a verdict, in words; empty without a bound or such claims."""
    learned, errors = scale.learned, {column.label for column in table.columns if column.per_set}
    if learned is None or not any(claim.column in errors for claim in table.claims):
        return ""
    what = {"nme_ion": "error over the inter-ocular distance"}.get(learned.metric, "error on uncovered faces")
    most = f"{100 * learned.most:.0f} %"
    words = f"A claim about errors gets a verdict only where the mean {what} of both rows is at most {most}"
    for row, other in ((row, other) for row, other in learned.below.items() if row in table.rows):
        words += f", that of {paper.entries[row].label} also at most that of {paper.entries[other].label}"
    if unbound := [paper.entries[row].label for row in learned.but if row in table.rows]:
        words += f"; {', '.join(unbound)} have no bound"
    return f"{words}.\n"


def _lines(
    paper: Paper, table: PaperTable, columns: Sequence[Column], cells: Sequence[Cell], *, tested: str, scale: Scale
) -> Iterator[str]:
    yield f"| | {' | '.join(column.label for column in columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    found = {(cell.row, cell.heading): cell for cell in cells if cell.tested == tested}
    printed_only, elsewhere = [], []
    for row in table.rows:
        own = [(found[row, column.label], column) for column in columns]
        entry = paper.entries[row]
        if scale.name in entry.plans or entry.cost or any(cell.seeds for cell, _ in own):
            yield f"| {entry.label} | {' | '.join(_shown(cell, column) for cell, column in own)} |"
        elif any(not math.isnan(cell.published) for cell, _ in own) or not entry.plans:
            printed_only.append(f"{entry.label} {', '.join(_published(cell) for cell, _ in own)}")
        else:
            elsewhere.append(entry.label)
    if printed_only:
        yield f"\nPrinted in the paper and not run here: {'; '.join(printed_only)}."
    if elsewhere:
        yield f"\nRun at other scales alone: {'; '.join(elsewhere)}."


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
