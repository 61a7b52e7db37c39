"""Tests of whether differences between errors are more than chance (extra: datasets).

``compare_folds`` is what the distillation paper (2024) prints beside its cross-validations: a t-test and a Levene test
for each pair of folds.  ``compare_models`` is for two models on the same faces.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Float64

from canthus.errors import ConfigError, DataError
from canthus.evaluation.rows import FaceError, protocol_of, read_rows
from canthus.lookup import lookup, require

METRICS = (
    "nme_ion", "nme_ipn", "nme_box", "nme_diagonal", "nme_longer", "nme_visible", "nme_hidden", "nmse_ipn_squared",
    "mse_unit",
)  # fmt: skip
"""Numbers of a row that can be compared."""
RESAMPLES = 10_000
LEVEL = 0.95
_BLOCK = 2_000_000
"""Random numbers drawn at once."""


@final
@dataclass(frozen=True)
class PairTest:
    """Two independent sets of errors, such as two folds.

    Attributes:
        first: name of the first.
        second: name of the second.
        t: Student's t of the difference of the means, its sign left out.
        t_p: probability of a t at least as large if the means were equal.
        welch_p: the same without the assumption of equal variances (Welch, 1947).
        levene: Levene's W about the median (Brown and Forsythe, 1974).
        levene_p: probability of a W at least as large if the spreads were equal.
    """

    first: str
    second: str
    t: float
    t_p: float
    welch_p: float
    levene: float
    levene_p: float


@final
@dataclass(frozen=True)
class FoldComparison:
    """What folds of one cross-validation say.

    Attributes:
        sizes: faces of each fold that have an error.
        means: mean error of each fold.
        tests: one for each pair of folds, in order.
    """

    sizes: Mapping[str, int]
    means: Mapping[str, float]
    tests: tuple[PairTest, ...]

    @property
    def mean(self) -> float:
        """Mean of the folds' means: the one number of a cross-validation."""
        return math.fsum(self.means.values()) / len(self.means)

    @property
    def deviation(self) -> float:
        """Standard deviation of the folds' means."""
        return float(np.std(list(self.means.values()), ddof=1))


@final
@dataclass(frozen=True)
class ModelComparison:
    """Two models on the same faces; differences are second less first, so below zero the second is better.

    Attributes:
        faces: faces that both found; all numbers are of these.
        missed: faces that the first, the second, or both missed.
        means: mean error of the first and of the second.
        difference: mean difference.
        low: lower end of the bootstrap interval of the mean difference.
        high: upper end of it.
        t: of the paired t-test.
        p: probability of a t at least that far from zero if the mean difference were zero.
        better: share of the faces on which the second has the smaller error.
        worse: share of the faces on which it has the larger one.
        levene: Levene's W about the median, of the two sets of errors.
        levene_p: probability of a W at least as large if the spreads were equal.
    """

    faces: int
    missed: tuple[int, int, int]
    means: tuple[float, float]
    difference: float
    low: float
    high: float
    t: float
    p: float
    better: float
    worse: float
    levene: float
    levene_p: float


def compare_folds(folds: Mapping[str, Float[np.ndarray, "_"]]) -> FoldComparison:
    """Every pair of folds: Student's t-test, as the paper's, Welch's, and Levene's.

    A large p-value says only that these faces do not show a difference between the folds; it does not show that there
    is none, and nothing about other models.  The tests take errors as independent: folds share no face, but their
    models share training faces, and faces of one person resemble one another.

    Differs: the paper does not say whether its tests are of faces or of batches, of Student's or Welch's kind, about
    which centre Levene's is; its p-values fit two-sided tests with many degrees of freedom, as faces give.

    Args:
        folds: name of the fold -> error of each face; NaN where it was missed.

    Raises:
        DataError: fewer than two folds, or a fold with fewer than two errors.
        MissingExtraError: scipy is not installed.
    """
    stats = require("scipy.stats", extra="datasets")
    known = {name: _known(errors) for name, errors in folds.items()}
    if len(known) < 2 or min(len(errors) for errors in known.values()) < 2:
        sizes = ", ".join(f"{name} {len(errors)}" for name, errors in known.items()) or "none"
        raise DataError(f"Expected at least two folds of at least two errors, found {sizes}")
    tests = []
    for (first, a), (second, b) in combinations(known.items(), 2):
        student, levene = stats.ttest_ind(a, b), stats.levene(a, b, center="median")
        tests.append(
            PairTest(
                first=first,
                second=second,
                t=abs(float(student.statistic)),
                t_p=float(student.pvalue),
                welch_p=float(stats.ttest_ind(a, b, equal_var=False).pvalue),
                levene=float(levene.statistic),
                levene_p=float(levene.pvalue),
            )
        )
    sizes_of = {name: len(errors) for name, errors in known.items()}
    return FoldComparison(sizes_of, {name: float(errors.mean()) for name, errors in known.items()}, tuple(tests))


def compare_models(
    first: Mapping[str, float],
    second: Mapping[str, float],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> ModelComparison:
    """Two models on the same faces: mean difference, its bootstrap interval, paired t-test, Levene's test.

    The interval is Efron's percentile interval at 95 %, of faces drawn with replacement.  Faces of one person or photo
    resemble one another, so on sets that hold many of them the truth is wider than the interval.

    Args:
        first: key of a face -> its error; NaN where it was missed.
        second: the same faces by the other model.
        rng: draws the faces.
        resamples: how often.

    Raises:
        DataError: the faces are not the same, or both models found fewer than two of them.
        MissingExtraError: scipy is not installed.
    """
    stats = require("scipy.stats", extra="datasets")
    _same_faces(first, second)
    a, b = (np.array([errors[key] for key in first], np.float64) for errors in (first, second))
    lost_a, lost_b = np.isnan(a), np.isnan(b)
    both = ~lost_a & ~lost_b
    if both.sum() < 2:
        raise DataError(f"Expected at least two faces that both models found, found {both.sum()} of {len(a)}")
    x, y = a[both], b[both]
    difference = y - x
    paired = _paired(stats, difference)
    levene = stats.levene(x, y, center="median")
    low, high = bootstrap_interval(difference, rng=rng, resamples=resamples)
    return ModelComparison(
        faces=len(x),
        missed=(int((lost_a & ~lost_b).sum()), int((lost_b & ~lost_a).sum()), int((lost_a & lost_b).sum())),
        means=(float(x.mean()), float(y.mean())),
        difference=float(difference.mean()),
        low=low,
        high=high,
        t=paired[0],
        p=paired[1],
        better=float((difference < 0).mean()),
        worse=float((difference > 0).mean()),
        levene=float(levene.statistic),
        levene_p=float(levene.pvalue),
    )


def bootstrap_interval(
    values: Float[np.ndarray, " n"], *, rng: np.random.Generator, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[float, float]:
    """Percentile interval of the mean (Efron, 1979): the mean of ``n`` values drawn with replacement, again and again.

    Args:
        values: one a face.
        rng: draws the faces.
        resamples: how often.
        level: share of the means that lies inside.

    Returns:
        Lower and upper end; both NaN without values.
    """
    n = len(values)
    if n == 0:
        return math.nan, math.nan
    at_once = max(1, _BLOCK // n)
    means = [
        values[rng.integers(0, n, (min(at_once, resamples - start), n))].mean(axis=1)
        for start in range(0, resamples, at_once)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def errors_by_face(rows: Sequence[FaceError], metric: str) -> dict[str, float]:
    """Key of a face -> one number of its row; NaN where it was missed.

    Raises:
        DataError: a face is there twice.
    """
    found: dict[str, float] = {}
    for row in rows:
        if row.key in found:
            raise DataError(f"{row.key} is there twice; expected one row a face, without --occlusion")
        found[row.key] = float(getattr(row, metric)) if row.found else math.nan
    return found


@final
@dataclass(frozen=True)
class ErrorSets:
    """One number of every row of several files.

    Attributes:
        metric: name of the number.
        what: dataset and split of each file.
        errors: path of the file -> key of a face -> its error, in the order of the files.
    """

    metric: str
    what: tuple[str, ...]
    errors: Mapping[str, Mapping[str, float]]

    def folds(self) -> dict[str, Float64[np.ndarray, "_"]]:
        """Errors of each file as a fold of a cross-validation.

        Raises:
            DataError: a face is in two files.
        """
        keys = [key for errors in self.errors.values() for key in errors]
        if twice := len(keys) - len(set(keys)):
            raise DataError(
                f"Expected folds without a common face, found {twice} in two; leave out --folds for two models"
            )
        return {path: np.array(list(errors.values()), np.float64) for path, errors in self.errors.items()}


def read_errors(files: Sequence[Path], metric: str | None = None) -> ErrorSets:
    """Read one number of every row from files that ``canthus evaluate --rows`` wrote.

    Args:
        files: files of rows.
        metric: name of the number, one of ``METRICS``; if None, the usual one of the datasets.

    Raises:
        ConfigError: a file is named twice, the metric is unknown, or the datasets have different usual metrics.
        DataError: a file is damaged or empty, or holds a face twice.
    """
    if len(set(files)) < len(files):
        raise ConfigError("A file of rows is named twice; name each file once")
    rows = {str(path): read_rows(path) for path in files}
    for path, found in rows.items():
        if not found:
            raise DataError(f"{path}: holds no rows")
    # Rows of a file of predictions have its name as their dataset, so the datasets may differ for the same faces.
    usual = sorted({protocol_of(found[0].dataset).error for found in rows.values()})
    if metric is None and len(usual) > 1:
        raise ConfigError(f"The datasets have different usual metrics, {' and '.join(usual)}; choose one by --metric")
    metric = metric or usual[0]
    lookup(dict.fromkeys(METRICS), metric, kind="metric")
    return ErrorSets(
        metric=metric,
        what=tuple(f"{found[0].dataset} {found[0].split}".strip() for found in rows.values()),
        errors={path: errors_by_face(found, metric) for path, found in rows.items()},
    )


def _known(errors: Float[np.ndarray, " n"]) -> Float64[np.ndarray, " m"]:
    known: Float64[np.ndarray, " m"] = np.asarray(errors, np.float64)[np.isfinite(errors)]
    return known


def _same_faces(first: Mapping[str, float], second: Mapping[str, float]) -> None:
    only = [sorted(set(a) - set(b)) for a, b in ((first, second), (second, first))]
    if not any(only):
        return
    examples = "; ".join(f"{len(keys)} only in the {which} ({keys[0]})" for which, keys in _named(only))
    raise DataError(f"Expected the same faces in both, found {examples}. Were both made on one dataset and split?")


def _named(only: list[list[str]]) -> list[tuple[str, list[str]]]:
    return [(which, keys) for which, keys in zip(("first", "second"), only, strict=True) if keys]


def _paired(stats: Any, difference: Float64[np.ndarray, " n"]) -> tuple[float, float]:
    """The paired t-test, t and p; both NaN where all differences agree, which leaves no spread to judge them by."""
    if float(np.ptp(difference)) == 0:
        return math.nan, math.nan
    found = stats.ttest_1samp(difference, 0.0)
    return float(found.statistic), float(found.pvalue)
