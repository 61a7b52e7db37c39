"""``canthus compare``: test whether differences between rows of errors are more than chance."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from canthus.cli.options import JsonFractionsOption
from canthus.cli.output import markup, write_json
from canthus.cli.tables import number_columns
from canthus.errors import ConfigError
from canthus.evaluation.statistics import (
    RESAMPLES,
    ErrorSets,
    FoldComparison,
    ModelComparison,
    compare_folds,
    compare_models,
    read_errors,
)
from canthus.evaluation.summary import null_for_nan
from canthus.files import check_targets

PAIRED = (
    "over the faces that both models found; difference: B minus A, below zero if B is better\n"
    "interval: bootstrap over faces, 95 %; t: paired\n"
    "a large p does not show that the models are equal, only that these faces do\n"
    "not show a difference; several faces of one person count as independent"
)
FOLDS = (
    "t: Student's t-test, two-sided; W: Levene's test about the median\n"
    "a large p means that these faces show no difference between the folds, not that\n"
    "there is none; it does not concern other models, and the folds share training faces"
)


def compare(
    files: Annotated[
        list[Path], typer.Argument(metavar="ROWS_A ROWS_B", help="Files of rows from 'canthus evaluate --rows'.")
    ],
    folds: Annotated[
        bool, typer.Option("--folds", help="The files, two or more, are the folds of one cross-validation.")
    ] = False,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Number of the rows to compare: nme_ion, nme_ipn, nme_box, mse_unit ...; by default the usual one of "
            "the dataset."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the bootstrap.")] = 0,
    json: JsonFractionsOption = None,
) -> None:
    """Test whether two or more models differ by more than chance on the same faces.

    With --folds: Student's, Welch's and Levene's test for every pair of folds.
    """
    if len(files) < 2 or (len(files) > 2 and not folds):
        raise ConfigError(f"Expected two files of rows, or with --folds two or more; found {len(files)}")
    check_targets(files, text={"--json": json})
    sets = read_errors(files, metric)
    values: dict[str, Any]
    if folds:
        found = compare_folds(sets.folds())
        table = _fold_table(sets, found)
        values = {"mean": found.mean, "deviation": found.deviation, **asdict(found)}
    else:
        pair = compare_models(*sets.errors.values(), rng=np.random.default_rng(seed))
        table = _pair_table(sets, pair)
        a, b = sets.errors
        values = {"a": a, "b": b, "seed": seed, "resamples": RESAMPLES, **asdict(pair)}
    Console(stderr=json == "-", highlight=False).print(table)
    if json is not None:
        write_json(json, {"metric": sets.metric, **null_for_nan(values)})


def _pair_table(sets: ErrorSets, found: ModelComparison) -> Table:
    a, b = sets.errors
    title = "\n".join(map(markup, (f"{sets.metric} on {sets.what[0]}", f"A: {a}", f"B: {b}")))
    table = Table(title=title, caption=PAIRED, show_header=False)
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
    return table


def _fold_table(sets: ErrorSets, found: FoldComparison) -> Table:
    numbers = {path: str(number) for number, path in enumerate(found.sizes, start=1)}
    listed = [
        f"{numbers[path]}: {what}, {found.sizes[path]} faces, {_error(sets.metric, found.means[path])}"
        for path, what in zip(found.sizes, sets.what, strict=True)
    ]
    spread = f"mean {_error(sets.metric, found.mean)}, deviation of the folds {_error(sets.metric, found.deviation)}"
    title = "\n".join(map(markup, (f"{sets.metric} of {len(numbers)} folds", *listed, spread)))
    table = Table(*number_columns(("folds", "t", "p", "p (Welch)", "W", "p (Levene)")), title=title, caption=FOLDS)
    for test in found.tests:
        pair = f"{numbers[test.first]}, {numbers[test.second]}"
        table.add_row(pair, f"{test.t:.2f}", _p(test.t_p), _p(test.welch_p), f"{test.levene:.2f}", _p(test.levene_p))
    return table


def _error(metric: str, value: float, *, sign: bool = False) -> str:
    """Percent of a length; ten-thousandths for a mean square."""
    scaled, unit = (1e4 * value, "e-4") if "mse" in metric else (100 * value, " %")
    return f"{scaled:+.3f}{unit}" if sign else f"{scaled:.3f}{unit}"


def _p(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
