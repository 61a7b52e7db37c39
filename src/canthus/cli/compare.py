"""``canthus compare``: are differences between rows of errors more than chance?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, final

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from canthus.errors import ConfigError, DataError
from canthus.evaluation.rows import FaceError, protocol_of, read_rows
from canthus.evaluation.statistics import RESAMPLES, compare_folds, compare_models, errors_by_face
from canthus.lookup import lookup

METRICS = (
    "nme_ion", "nme_ipn", "nme_box", "nme_diagonal", "nme_longer", "nme_visible", "nme_hidden", "nmse_ipn_squared",
    "mse_unit",
)  # fmt: skip
"""Numbers of a row that can be compared."""

PAIRED = (
    "of the faces that both found; difference: B less A, below zero B is better\n"
    "interval: bootstrap over faces, 95 %; t: paired\n"
    "a large p does not show that the models are equal, only that these faces\n"
    "do not tell them apart; faces of one person count as independent here"
)
FOLDS = (
    "t: Student, two-sided; W: Levene about the median\n"
    "a large p says that these faces show no difference between the folds, not that\n"
    "there is none, and nothing of other models; the folds' models share training faces"
)


@final
@dataclass(frozen=True)
class ErrorSets:
    """Errors out of files of rows.

    Attributes:
        metric: name of the number.
        what: the set and split of each file.
        errors: path of the file -> key of a face -> its error, in the order given.
    """

    metric: str
    what: tuple[str, ...]
    errors: Mapping[str, Mapping[str, float]]


def read_errors(files: Sequence[Path], metric: str | None) -> ErrorSets:
    """One number of every row of each file.

    Args:
        files: what ``canthus evaluate --rows`` wrote.
        metric: name of the number; None for what is usual for the set.

    Raises:
        ConfigError: a file is named twice, there is no such number, or none is usual for all files.
        DataError: a file is damaged or empty, or a face is there twice.
    """
    if len(set(files)) < len(files):
        raise ConfigError("A file of rows is named twice; name each once")
    rows = {str(path): read_rows(path) for path in files}
    empty = next((path for path, found in rows.items() if not found), None)
    if empty is not None:
        raise DataError(f"{empty}: holds no rows")
    # Rows of a file of predictions bear its name, so names of sets may differ where the faces do not.
    usual = sorted({protocol_of(found[0].dataset).error for found in rows.values()})
    if metric is None and len(usual) > 1:
        raise ConfigError(
            f"The files are of sets with other usual numbers, {' and '.join(usual)}; choose one by --metric"
        )
    name = usual[0] if metric is None else metric
    lookup(dict.fromkeys(METRICS), name, kind="number of a row")
    return ErrorSets(
        metric=name,
        what=tuple(_what(found) for found in rows.values()),
        errors={path: errors_by_face(found, name) for path, found in rows.items()},
    )


def compare_two(sets: ErrorSets, *, seed: int) -> tuple[Table, dict[str, Any]]:
    """Table and numbers of two models on the same faces.

    Raises:
        DataError: the faces differ, or there are too few.
        MissingExtraError: scipy is not installed.
    """
    (a, first), (b, second) = sets.errors.items()
    found = compare_models(first, second, rng=np.random.default_rng(seed))
    title = f"{sets.metric} on {sets.what[0]}\nA: {a}\nB: {b}"
    table = Table(title=escape(title), caption=PAIRED, show_header=False)
    lines = {
        "faces": f"{found.faces}; missed by A {found.missed[0]}, by B {found.missed[1]}, by both {found.missed[2]}",
        "mean of A": _error(sets.metric, found.means[0]),
        "mean of B": _error(sets.metric, found.means[1]),
        "mean difference": _error(sets.metric, found.difference, sign=True),
        "95 % interval": " to ".join(_error(sets.metric, end, sign=True) for end in (found.low, found.high)),
        "paired t-test": f"t = {found.t:.2f}, p = {_p(found.p)}",
        "faces where B is better, worse": f"{100 * found.better:.1f} %, {100 * found.worse:.1f} %",
        "Levene's test": f"W = {found.levene:.2f}, p = {_p(found.levene_p)}",
    }
    for name, value in lines.items():
        table.add_row(name, value)
    numbers = {name: _plain(value) for name, value in asdict(found).items()}
    return table, {"metric": sets.metric, "a": a, "b": b, "seed": seed, "resamples": RESAMPLES, **numbers}


def compare_many(sets: ErrorSets) -> tuple[Table, dict[str, Any]]:
    """Table and numbers of the folds of a cross-validation.

    Raises:
        DataError: a face is in two folds, or a fold has too few.
        MissingExtraError: scipy is not installed.
    """
    keys = [key for errors in sets.errors.values() for key in errors]
    if len(keys) > len(set(keys)):
        twice = len(keys) - len(set(keys))
        raise DataError(f"Expected folds without a common face, found {twice} in two; leave out --folds for two models")
    folds = {path: np.array(list(errors.values()), np.float64) for path, errors in sets.errors.items()}
    found = compare_folds(folds)
    names = {path: str(number) for number, path in enumerate(folds, start=1)}
    listed = "\n".join(
        f"{names[path]}: {what}, {found.sizes[path]} faces, {_error(sets.metric, found.means[path])}"
        for path, what in zip(folds, sets.what, strict=True)
    )
    spread = f"mean {_error(sets.metric, found.mean)}, deviation of the folds {_error(sets.metric, found.deviation)}"
    table = Table(title=escape(f"{sets.metric} of {len(folds)} folds\n{listed}\n{spread}"), caption=FOLDS)
    for name in ("folds", "t", "p", "p (Welch)", "W", "p (Levene)"):
        table.add_column(name, justify="right")
    for test in found.tests:
        pair = f"{names[test.first]}, {names[test.second]}"
        table.add_row(pair, f"{test.t:.2f}", _p(test.t_p), _p(test.welch_p), f"{test.levene:.2f}", _p(test.levene_p))
    numbers = {"mean": found.mean, "deviation": found.deviation, "sizes": dict(found.sizes), "means": dict(found.means)}
    tests = [{name: _plain(value) for name, value in asdict(test).items()} for test in found.tests]
    return table, {"metric": sets.metric, **numbers, "tests": tests}


def _what(rows: Sequence[FaceError]) -> str:
    return f"{rows[0].dataset} {rows[0].split}".strip()


def _error(metric: str, value: float, *, sign: bool = False) -> str:
    """Per cent of a length, or ten-thousandths where the number is a square."""
    scaled, unit = (1e4 * value, "e-4") if "mse" in metric else (100 * value, " %")
    return f"{scaled:+.3f}{unit}" if sign else f"{scaled:.3f}{unit}"


def _p(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def compare(
    files: Annotated[
        list[Path], typer.Argument(metavar="ROWS_A ROWS_B", help="Rows that 'canthus evaluate --rows' wrote.")
    ],
    folds: Annotated[
        bool, typer.Option("--folds", help="The files, two or more, are the folds of one cross-validation.")
    ] = False,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Number of the rows to compare: nme_ion, nme_ipn, nme_box, mse_unit ...; what is usual for the set "
            "if absent."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    json: Annotated[str | None, typer.Option(metavar="FILE|-", help="Write the numbers as JSON, fractions.")] = None,
) -> None:
    """Test whether two or more models differ by more than chance on the same faces.

    With --folds: Student's, Welch's and Levene's test of every pair of folds.
    """
    from rich.console import Console

    from canthus.cli.tables import write_json

    if len(files) < 2 or (len(files) > 2 and not folds):
        raise ConfigError(f"Expected two files of rows, or with --folds two or more; found {len(files)}")
    sets = read_errors(files, metric)
    table, numbers = compare_many(sets) if folds else compare_two(sets, seed=seed)
    console = Console(stderr=json == "-", highlight=False)
    console.print(table)
    if json is not None:
        write_json(json, numbers)
