"""Tests between the folds of a cross-validation, as a paper prints them beside its table."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from canthus.evaluation.rows import read_rows
from canthus.evaluation.statistics import FoldComparison, compare_folds, errors_by_face
from canthus.recipes.experiments import Paper, Scale
from canthus.recipes.measure import rows_file
from canthus.recipes.reproduce import Made

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
        f"- {paper.entries[row].label}: published {printed}; ours {_ours(row, scale, made)}"
        for row, printed in table.fold_tests.items()
    ]
    return "\n".join(lines) + "\n"


def _ours(row: str, scale: Scale, made: Sequence[Made]) -> str:
    folds = [one for one in made if one.job.entry == row]
    if not folds or len(folds) < folds[0].job.plan.seeds:
        return "not run"
    return _said(compare_folds({f"fold {one.job.seed + 1}": _errors(one, scale) for one in folds}))


def _errors(one: Made, scale: Scale) -> Float64[np.ndarray, " n"]:
    files = [rows_file(one.folder, tested) for tested in one.job.sets(scale)]
    return np.concatenate([list(errors_by_face(read_rows(file), METRIC).values()) for file in files])


def _said(comparison: FoldComparison) -> str:
    columns = {
        "t": [test.t for test in comparison.tests],
        "p": [test.t_p for test in comparison.tests],
        "Levene": [test.levene for test in comparison.tests],
        "p of Levene": [test.levene_p for test in comparison.tests],
    }
    return "; ".join(f"{name} {', '.join(f'{v:.2f}' for v in values)}" for name, values in columns.items())
