"""Statistical tests of differences between errors (extra: datasets).

``compare_folds`` tests each pair of folds of a cross-validation by a t-test and by Levene's test, like the distillation
paper (2024).  ``compare_models`` tests two models on the same faces.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import final

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
_BATCH = 2_000_000
"""Numbers drawn at once by the bootstrap, which bounds its memory."""


@final
@dataclass(frozen=True)
class PairTest:
    """Tests of two independent sets of errors, such as two folds.

    Attributes:
        t: absolute value of Student's t for the difference of the means.
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
    """Comparison of the folds of one cross-validation.

    Attributes:
        sizes: number of faces with an error in each fold.
        means: mean error of each fold.
        tests: one for each pair of folds, in order.
    """

    sizes: Mapping[str, int]
    means: Mapping[str, float]
    tests: tuple[PairTest, ...]

    @property
    def mean(self) -> float:
        """Mean of the means of the folds: the result of the cross-validation."""
        return math.fsum(self.means.values()) / len(self.means)

    @property
    def deviation(self) -> float:
        """Standard deviation of the means of the folds."""
        return float(np.std(list(self.means.values()), ddof=1))


@final
@dataclass(frozen=True)
class ModelComparison:
    """Comparison of two models on the same faces; differences are second minus first: negative if the second is better.

    Attributes:
        faces: number of faces that both models found; all other numbers are over these faces.
        missed: number of faces that only the first, only the second, or both models missed.
        means: mean error of the first and of the second.
        difference: mean difference.
        low, high: ends of the bootstrap interval of the mean difference.
        t: Student's t of the paired test; NaN if all differences are equal.
        p: probability of a t at least that far from zero if the mean difference were zero.
        better, worse: shares of the faces on which the second has the smaller, and the larger error.
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
    """Test every pair of folds by Student's t-test (as in the paper), Welch's t-test and Levene's test.

    A large p-value only means that these faces do not show a difference between the folds.  It does not show that there
    is none, and it does not concern other models.  The tests assume independent errors: folds share no face, but their
    models share training faces, and faces of one person resemble one another.

    Differs: the paper does not say whether it tests faces or batches, whether its t-test is Student's or Welch's, and
    about which centre Levene's test is.  Its p-values fit two-sided tests with many degrees of freedom, as for faces.

    Args:
        folds: name of the fold -> error of each face; NaN for missed faces.

    Raises:
        DataError: fewer than two folds, or a fold with fewer than two errors.
        MissingExtraError: scipy is not installed.
    """
    stats = require("scipy.stats", extra="stats")
    known = {name: np.asarray(errors, np.float64)[np.isfinite(errors)] for name, errors in folds.items()}
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
    """Compare two models on the same faces: mean difference, bootstrap interval, paired t-test and Levene's test.

    The interval is the percentile interval at 95 % over faces drawn with replacement.  Faces of one person or photo
    resemble one another, so the interval is too narrow for datasets with many such faces.

    Args:
        first: key of a face -> its error; NaN for missed faces.
        second: the same for the other model.

    Raises:
        DataError: the models have different faces, or both found fewer than two of them.
        MissingExtraError: scipy is not installed.
    """
    stats = require("scipy.stats", extra="stats")
    only = {"first": sorted(set(first) - set(second)), "second": sorted(set(second) - set(first))}
    if any(only.values()):
        examples = "; ".join(f"{len(keys)} only in the {which} ({keys[0]})" for which, keys in only.items() if keys)
        raise DataError(f"Expected the same faces in both, found {examples}. Were both made on one dataset and split?")
    a, b = (np.array([errors[key] for key in first], np.float64) for errors in (first, second))
    lost_a, lost_b = np.isnan(a), np.isnan(b)
    both = ~lost_a & ~lost_b
    if both.sum() < 2:
        raise DataError(f"Expected at least two faces that both models found, found {both.sum()} of {len(a)}")
    x, y = a[both], b[both]
    difference = y - x
    constant = float(np.ptp(difference)) == 0  # no spread to test against
    t, p = (math.nan, math.nan) if constant else map(float, stats.ttest_rel(y, x))
    levene = stats.levene(x, y, center="median")
    low, high = bootstrap_interval(difference, rng=rng, resamples=resamples)
    return ModelComparison(
        faces=len(x),
        missed=(int((lost_a & ~lost_b).sum()), int((lost_b & ~lost_a).sum()), int((lost_a & lost_b).sum())),
        means=(float(x.mean()), float(y.mean())),
        difference=float(difference.mean()),
        low=low,
        high=high,
        t=t,
        p=p,
        better=float((difference < 0).mean()),
        worse=float((difference > 0).mean()),
        levene=float(levene.statistic),
        levene_p=float(levene.pvalue),
    )


def bootstrap_interval(
    values: Float[np.ndarray, " n"], *, rng: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile interval of the mean by the bootstrap (Efron, 1979).

    Returns:
        Lower and upper end at ``LEVEL``; both the value itself for one value, and NaN without values.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    if len(values) < 2:
        mean = float(values[0]) if len(values) else math.nan
        return mean, mean
    found = require("scipy.stats", extra="stats").bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BATCH // len(values)),
        confidence_level=LEVEL,
        method="percentile",
        random_state=rng,
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def errors_by_face(rows: Sequence[FaceError], metric: str) -> dict[str, float]:
    """Key of a face -> one number of its row; NaN for missed faces.

    Raises:
        DataError: a face has two rows.
    """
    found: dict[str, float] = {}
    for row in rows:
        if row.key in found:
            raise DataError(f"{row.key} is there twice; expected one row per face, without --occlusion")
        found[row.key] = float(getattr(row, metric)) if row.found else math.nan
    return found


@final
@dataclass(frozen=True)
class ErrorSets:
    """One number of every row of several files.

    Attributes:
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

    ``metric`` is one of ``METRICS``; if None, the usual one of the datasets.

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
    usual = sorted({protocol_of(found[0].dataset, found[0].scale).error for found in rows.values()})
    if metric is None and len(usual) > 1:
        raise ConfigError(f"The datasets have different usual metrics, {' and '.join(usual)}; choose one by --metric")
    metric = metric or usual[0]
    lookup(dict.fromkeys(METRICS), metric, kind="metric")
    return ErrorSets(
        metric=metric,
        what=tuple(f"{found[0].dataset} {found[0].split}".strip() for found in rows.values()),
        errors={path: errors_by_face(found, metric) for path, found in rows.items()},
    )
