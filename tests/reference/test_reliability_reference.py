"""Calibration error, area under the ROC and rank correlation against known answers."""

import math

import numpy as np
import pytest
from scipy import stats

from canthus.errors import DataError
from canthus.evaluation.reliability import (
    LEAST_SLOPE,
    area_under_roc,
    calibration_error,
    confidence_bins,
    fit_calibration,
    fit_face_calibration,
    rank_correlation,
    reliability,
)
from canthus.runtime.cards import Calibration, FaceCalibration


def drawn(count: int, *, slope: float = 2.0, offset: float = 0.4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Spread, and errors that a calibration of this slope and offset describes exactly at every tolerance.

    The error is log-logistic about exp(spread): P(error <= t) = 1 / (1 + exp(-(slope (ln t - spread) + offset))).
    """
    rng = np.random.default_rng(seed)
    spread = rng.normal(-3.5, 0.8, (count, 68)).astype(np.float32)
    p = rng.uniform(1e-9, 1, (count, 68))
    return spread, np.exp(spread + (np.log(p / (1 - p)) - offset) / slope)


def test_the_map_of_faces_is_found_again_from_what_it_draws() -> None:
    """Faces drawn by a known map; 40,000 of them give slope and offset to about 0.03 (standard error)."""
    rng = np.random.default_rng(1)
    means = rng.uniform(0.2, 0.98, 40_000)
    truth = FaceCalibration(tolerance=0.06, slope=4.0, offset=-3.0)
    scores = np.repeat(means[:, None], 5, axis=1).astype(np.float32)
    right = rng.uniform(size=len(means)) < truth.confidence(scores)
    fitted = fit_face_calibration(scores, right, tolerance=0.06)
    assert fitted.slope == pytest.approx(4.0, abs=0.15)
    assert fitted.offset == pytest.approx(-3.0, abs=0.15)
    with pytest.raises(DataError, match="needs right and wrong ones; found 0 right of 40000"):
        fit_face_calibration(scores, np.zeros(len(means), bool), tolerance=0.06)


def test_ece_by_hand() -> None:
    """Guo et al. (2017), eq. 3: 2 of 10 points at 0.95 wrong, gap 0.15; 1 of 2 at 0.3 right, gap 0.2; weighted."""
    scores = np.array([0.95] * 10 + [0.3] * 2)
    right = np.array([True] * 8 + [False] * 2 + [True, False])
    bins = confidence_bins(scores, right)
    assert [b.points for b in bins] == [2, 10]
    assert [value for b in bins for value in (b.confidence, b.right)] == pytest.approx([0.3, 0.5, 0.95, 0.8])
    assert calibration_error(bins) == pytest.approx((10 * 0.15 + 2 * 0.2) / 12)


def test_confidence_that_keeps_its_word_has_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 200_000)
    errors = np.where(rng.uniform(0, 1, scores.size) < scores, 0.01, 0.2)
    found = reliability(scores, errors, tolerance=0.05)
    assert found.ece < 0.005  # 20,000 points a bin: a standard deviation of 0.0035 at most
    assert found.right == pytest.approx(found.confidence, abs=0.005)
    # Of p uniform, right with chance p: P(right one above wrong one) = 5/6.
    assert found.auroc == pytest.approx(5 / 6, abs=0.005)


def test_too_sure_by_a_tenth_is_an_error_of_a_tenth() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.3, 0.85, 200_000)
    errors = np.where(rng.uniform(0, 1, truth.size) < truth, 0.01, 0.2)
    assert reliability(truth + 0.1, errors, tolerance=0.05).ece == pytest.approx(0.1, abs=0.005)


def test_area_and_correlation_agree_with_scipy() -> None:
    """Mann-Whitney U over the number of pairs; Spearman's rho; both with many ties."""
    rng = np.random.default_rng(0)
    values, positive = rng.integers(0, 20, 500).astype(float), rng.random(500) < 0.3
    u = stats.mannwhitneyu(values[positive], values[~positive]).statistic
    assert area_under_roc(values, positive) == pytest.approx(u / (positive.sum() * (~positive).sum()))
    other = values + rng.integers(0, 20, 500)
    assert rank_correlation(values, other) == pytest.approx(stats.spearmanr(values, other).statistic)


def test_extremes() -> None:
    right = np.array([True, True, False])
    assert area_under_roc(np.array([0.1, 0.2, 0.9]), ~right) == 1
    assert area_under_roc(np.array([0.5, 0.5, 0.5]), ~right) == 0.5
    assert math.isnan(area_under_roc(np.ones(2), np.zeros(2, bool)))
    assert rank_correlation(np.array([3.0, 2.0, 1.0]), np.array([0.1, 0.5, 9.0])) == pytest.approx(-1)
    assert math.isnan(rank_correlation(np.ones(3), np.arange(3.0)))
    nothing = reliability(np.zeros(0), np.zeros(0), tolerance=0.05)
    assert (nothing.points, nothing.bins) == (0, ())
    assert math.isnan(nothing.ece)


def test_the_fit_finds_the_calibration_that_made_the_errors() -> None:
    """Platt (1999); 68,000 points leave a standard error below 0.02 on either number."""
    spread, errors = drawn(1000)
    fitted = fit_calibration(spread, errors * 1.3, margin=1.3, tolerance=0.05)
    assert [fitted.slope, fitted.offset] == pytest.approx([2.0, 0.4], abs=0.06)
    fresh_spread, fresh_errors = drawn(1000, seed=1)
    scores = fitted.scores(fresh_spread, margin=1.3)
    assert reliability(scores.ravel(), fresh_errors.ravel() * 1.3, tolerance=0.05).ece < 0.01


def test_the_fit_copes_with_one_kind_of_point_and_with_useless_spread() -> None:
    spread, errors = drawn(20)
    for perfect in (np.zeros_like(errors), np.ones_like(errors)):
        fitted = fit_calibration(spread, perfect, margin=1.3, tolerance=0.05)
        scores = fitted.scores(spread, margin=1.3)
        assert np.abs(scores - (perfect == 0)).max() < 0.02
    against = fit_calibration(-spread, errors, margin=1.0, tolerance=0.05)
    assert against.slope == LEAST_SLOPE
    scores = against.scores(-spread, margin=1.0)
    assert float(np.ptp(scores)) < 0.01
    assert scores.mean() == pytest.approx((errors <= 0.05).mean(), abs=0.01)


def test_confidence_by_hand() -> None:
    """A slope of 1 and an expected error equal to the tolerance: the offset alone decides."""
    calibration = Calibration(tolerance=0.05, slope=1.0, offset=math.log(3))
    spread = np.log(np.array([[0.05, 0.15, 0.05 / 3]], np.float32) / np.float32(1.3))
    np.testing.assert_allclose(calibration.scores(spread, margin=1.3), [[0.75, 0.5, 0.9]], atol=1e-6)
