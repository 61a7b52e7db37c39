"""Tests between folds and between models, against numbers worked out by hand."""

import math

import numpy as np
import pytest

from canthus.errors import DataError
from canthus.evaluation.rows import FaceError
from canthus.evaluation.statistics import bootstrap_interval, compare_folds, compare_models, errors_by_face

pytest.importorskip("scipy")

ONE, TWO = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])


def beyond(t: float, freedom: float) -> float:
    """Two-sided probability of Student's t, by adding up its density."""
    scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(math.pi * freedom)
    x = np.linspace(-abs(t), abs(t), 200_001)
    return 1 - float(np.trapezoid(scale * (1 + x**2 / freedom) ** (-(freedom + 1) / 2), x))


def test_a_pair_of_folds_by_hand() -> None:
    (test,) = compare_folds({"a": ONE, "b": TWO}).tests
    # Means 2 and 4, variances 1 and 4, pooled 2.5: t = 2 / sqrt(2.5 * 2/3), four degrees of freedom.
    assert test.t == pytest.approx(2 / math.sqrt(5 / 3))
    assert test.t_p == pytest.approx(0.196262, abs=1e-5)
    assert test.t_p == pytest.approx(beyond(test.t, 4), abs=1e-6)
    # Welch: the same t here, (5/3)^2 / (1/18 + 16/18) degrees of freedom.
    assert test.welch_p == pytest.approx(beyond(test.t, (5 / 3) ** 2 / (17 / 18)), abs=1e-6)
    # Distances from the medians: 1 0 1 and 2 0 2; between (2/3) / 1, within (30/9) / 4.
    assert test.levene == pytest.approx(0.8)
    assert test.levene_p == pytest.approx(0.421649, abs=1e-5)


def test_three_folds_make_three_pairs_and_one_mean() -> None:
    found = compare_folds({"a": ONE, "b": TWO, "c": np.array([1.0, math.nan, 5.0, 3.0])})
    assert [(test.first, test.second) for test in found.tests] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found.sizes == {"a": 3, "b": 3, "c": 3}
    assert found.mean == pytest.approx((2 + 4 + 3) / 3)
    assert found.deviation == pytest.approx(1.0)


def test_p_values_of_equal_folds_are_spread_evenly() -> None:
    """Of folds from one distribution about one in twenty is below 0.05: 400 draws, standard deviation 0.011."""
    rng = np.random.default_rng(0)
    found = [compare_folds({"a": rng.normal(size=50), "b": rng.normal(size=50)}).tests[0] for _ in range(400)]
    assert abs(np.mean([test.t_p < 0.05 for test in found]) - 0.05) < 0.035
    assert np.mean([test.levene_p < 0.05 for test in found]) < 0.085


@pytest.mark.parametrize("folds", [{}, {"a": ONE}, {"a": ONE, "b": np.array([1.0, math.nan])}])
def test_too_few_folds_or_faces(folds: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataError, match="at least two folds of at least two errors"):
        compare_folds(folds)


def test_two_models_by_hand() -> None:
    first, second = dict(zip("abc", ONE, strict=True)), dict(zip("abc", TWO, strict=True))
    found = compare_models(first, second, rng=np.random.default_rng(0))
    # Differences 1, 2, 3: mean 2, deviation 1, t = 2 sqrt(3) with two degrees of freedom, p = 1 - t / sqrt(2 + t^2).
    assert found.difference == pytest.approx(2.0)
    assert found.t == pytest.approx(2 * math.sqrt(3))
    assert found.p == pytest.approx(1 - math.sqrt(12 / 14))
    assert (found.faces, found.better, found.worse, found.means) == (3, 0.0, 1.0, (2.0, 4.0))
    # Of 27 draws one has mean 1 and one mean 3, more than a fortieth each.
    assert (found.low, found.high) == (1.0, 3.0)
    assert found.levene == pytest.approx(0.8)
    assert found.levene_p == pytest.approx(0.421649, abs=1e-5)


def test_missed_faces_are_counted_and_left_out() -> None:
    nan = math.nan
    first = {"a": 0.1, "b": nan, "c": 0.3, "d": nan, "e": 0.2}
    second = {"a": 0.2, "b": 0.1, "c": nan, "d": nan, "e": 0.1}
    found = compare_models(first, second, rng=np.random.default_rng(0))
    assert (found.faces, found.missed) == (2, (1, 1, 1))
    assert (found.better, found.worse) == (0.5, 0.5)
    with pytest.raises(DataError, match="both models found, found 1 of 2"):
        compare_models({"a": 1.0, "b": nan}, {"a": 1.0, "b": 2.0}, rng=np.random.default_rng(0))


def test_a_model_against_itself_tells_nothing() -> None:
    errors = {str(i): float(i) for i in range(20)}
    found = compare_models(errors, errors, rng=np.random.default_rng(0))
    assert (found.difference, found.low, found.high, found.better, found.worse) == (0, 0, 0, 0, 0)
    assert math.isnan(found.p)


def test_other_faces_are_refused() -> None:
    with pytest.raises(DataError, match=r"1 only in the first \(b\); 2 only in the second \(c\)"):
        compare_models({"a": 1.0, "b": 1.0}, {"a": 1.0, "c": 1.0, "d": 1.0}, rng=np.random.default_rng(0))


def test_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(0.3, 0.2, 4000)
    low, high = bootstrap_interval(values, rng=np.random.default_rng(0), resamples=2000)
    error = values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert bootstrap_interval(np.array([0.0, 1.0]), rng=np.random.default_rng(0)) == (0.0, 1.0)
    assert all(math.isnan(end) for end in bootstrap_interval(np.zeros(0), rng=np.random.default_rng(0)))


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(1).normal(size=100)
    ends = [bootstrap_interval(values, rng=np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert ends[0] == ends[1] != ends[2]


def row(key: str, *, found: bool = True) -> FaceError:
    return FaceError(key, "d", "s", "", "truth", found, 1.0, 0.0, 0.1, 0.2, 0.3)


def test_errors_of_rows() -> None:
    errors = errors_by_face([row("a"), row("b", found=False)], "nme_ipn")
    assert errors["a"] == 0.2
    assert math.isnan(errors["b"])
    with pytest.raises(DataError, match="a is there twice"):
        errors_by_face([row("a"), row("a")], "nme_ipn")
