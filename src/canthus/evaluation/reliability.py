"""Calibration of confidence, and measures of its reliability."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from canthus.errors import DataError
from canthus.evaluation.errors import box_longer_side, mean_or_nan
from canthus.evaluation.predictions import Prediction
from canthus.runtime.cards import Calibration, FaceCalibration, median_log_odds

LEAST_SLOPE = 1e-3
"""Smallest slope of a calibration: with expected errors that predict nothing, confidence is nearly constant."""

_STEPS = 50


def fit_calibration(
    spread: Float32[np.ndarray, "n k"],
    errors: Float64[np.ndarray, "n k"],
    *,
    margin: float,
    tolerance: float,
) -> Calibration:
    """Logistic regression of "the error is within the tolerance" on the logarithm of the expected error.

    Platt (1999), "Probabilistic Outputs for Support Vector Machines", with his targets, which keep the fit finite if
    all points are right: (r + 1) / (r + 2) for the r right points, 1 / (w + 2) for the w wrong points.

    Args:
        spread: logarithm of the expected error of each point, in sides of the crop.
        errors: error of each point, a fraction of the longer side of the face box; NaN for unknown true points.
        margin: side of the crop over the longer side of the face box.
        tolerance: largest error of a right point, in the unit of ``errors``.

    Raises:
        DataError: all errors are NaN.
    """
    known = np.isfinite(errors)
    if not known.any():
        raise DataError("Confidence cannot be calibrated: no point of the held-out faces has a known position")
    x = math.log(tolerance / margin) - spread[known].astype(np.float64)
    right = errors[known] <= tolerance
    slope, offset = _logistic(x, right)
    if slope < LEAST_SLOPE:
        share = (right.sum() + 1) / (len(right) + 2)
        slope, offset = LEAST_SLOPE, math.log(share / (1 - share)) - LEAST_SLOPE * float(x.mean())
    return Calibration(tolerance=tolerance, slope=round(slope, 5), offset=round(offset, 5))


def fit_face_calibration(
    scores: Float32[np.ndarray, "n k"], right: Bool[np.ndarray, " n"], *, tolerance: float
) -> FaceCalibration:
    """Logistic regression of "the points are right" on the log odds of the median confidence of a face's points.

    As ``fit_calibration``, after Platt (1999).

    Args:
        scores: confidence of the points of each face.
        right: whether the mean error of the face's points is within the tolerance.
        tolerance: for the card, as a fraction of the longer side of the face box.

    Raises:
        DataError: all faces are right, or none is.
    """
    if right.all() or not right.any():
        raise DataError(f"Confidence of faces needs right and wrong ones; found {right.sum()} right of {len(right)}")
    slope, offset = _logistic(median_log_odds(scores), right)
    return FaceCalibration(tolerance=tolerance, slope=round(max(slope, LEAST_SLOPE), 5), offset=round(offset, 5))


def _logistic(x: Float64[np.ndarray, " m"], right: Bool[np.ndarray, " m"]) -> tuple[float, float]:
    """Slope and offset of the log odds by Newton's method, with a tiny ridge term against a singular Hessian."""
    count = int(right.sum())
    target = np.where(right, (count + 1) / (count + 2), 1 / (len(right) - count + 2))
    middle = float(x.mean())
    design = np.stack([x - middle, np.ones_like(x)], axis=1)
    weights = np.zeros(2)
    ridge = 1e-9 * len(x) * np.eye(2)
    cost = math.inf
    for _ in range(_STEPS):
        odds = design @ weights
        new_cost = float((np.logaddexp(0, odds) - target * odds).sum())
        if cost - new_cost < 1e-10 * len(x):
            break
        cost = new_cost
        p = 0.5 * (1 + np.tanh(odds / 2))
        hessian = (design * (p * (1 - p))[:, None]).T @ design + ridge
        weights = weights - np.linalg.solve(hessian, design.T @ (p - target))
    return float(weights[0]), float(weights[1] - weights[0] * middle)


BINS = 10
"""Number of confidence bins of equal width."""


@final
@dataclass(frozen=True)
class Bin:
    """Points of similar confidence: their number, mean confidence, and share within the tolerance."""

    points: int
    confidence: float
    right: float


@final
@dataclass(frozen=True)
class Reliability:
    """Comparison of the confidence of points with their errors; NaN if there are no points to compare.

    Attributes:
        tolerance: largest error of a right point, a fraction of the longer side of the true face box.
        points: number of points with confidence and a known position.
        right: share of them within the tolerance.
        confidence: mean confidence.
        ece: expected calibration error.
        auroc: probability that a wrong point has less confidence than a right one.
        rank_correlation: Spearman's correlation of confidence with the error; -1 is a perfect order.
        seen, hidden: mean confidence of the points that are labelled as visible, and as hidden.
        bins: non-empty bins in ascending order.
    """

    tolerance: float
    points: int
    right: float
    confidence: float
    ece: float
    auroc: float
    rank_correlation: float
    seen: float
    hidden: float
    bins: tuple[Bin, ...]


def reliability(
    scores: Float[np.ndarray, " m"],
    errors: Float[np.ndarray, " m"],
    *,
    tolerance: float,
    visible: Bool[np.ndarray, " m"] | None = None,
) -> Reliability:
    """Compare confidence with errors.

    Args:
        scores: confidence of points in [0, 1].
        errors: fractions of the longer side of the face box; points with NaN are left out.
        tolerance: largest error of a right point.
        visible: False for points that are labelled as hidden; None if there are no such labels.
    """
    known = np.isfinite(errors) & np.isfinite(scores)
    scores, errors = np.asarray(scores, np.float64)[known], np.asarray(errors, np.float64)[known]
    seen = np.ones(len(scores), bool) if visible is None else visible[known]
    right = errors <= tolerance
    bins = confidence_bins(scores, right)
    return Reliability(
        tolerance=tolerance,
        points=len(scores),
        right=mean_or_nan(right),
        confidence=mean_or_nan(scores),
        ece=calibration_error(bins),
        auroc=area_under_roc(-scores, ~right),
        rank_correlation=rank_correlation(scores, errors),
        seen=mean_or_nan(scores[seen]),
        hidden=mean_or_nan(scores[~seen]),
        bins=bins,
    )


def score_reliability(predictions: Sequence[Prediction], *, tolerance: float) -> Reliability | None:
    """``reliability`` over all found faces with confidence; None if no prediction has confidence."""
    scores, errors, visible = [], [], []
    for prediction in predictions:
        if prediction.found and prediction.scores is not None:
            truth = prediction.truth
            distance = np.linalg.norm(prediction.points.astype(np.float64) - truth.points, axis=1)
            scores.append(prediction.scores)
            errors.append(distance / box_longer_side(truth.box))
            visible.append(truth.visible)
    if not scores:
        return None
    joined = np.concatenate(visible)
    return reliability(np.concatenate(scores), np.concatenate(errors), tolerance=tolerance, visible=joined)


def confidence_bins(scores: Float[np.ndarray, " m"], right: Bool[np.ndarray, " m"]) -> tuple[Bin, ...]:
    """Group points by confidence, in ``BINS`` bins of equal width from 0 to 1; empty bins are left out."""
    place = np.clip((np.asarray(scores, np.float64) * BINS).astype(int), 0, BINS - 1)
    groups = [place == index for index in range(BINS)]
    return tuple(Bin(int(g.sum()), float(scores[g].mean()), float(right[g].mean())) for g in groups if g.any())


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean gap between confidence and the share of right points, weighted by points.

    ECE = sum_b n_b / n |right_b - confidence_b|, Guo et al. (2017), "On Calibration of Modern Neural Networks", eq. 3.
    """
    total = sum(b.points for b in bins)
    return math.fsum(b.points * abs(b.right - b.confidence) for b in bins) / total if total else math.nan


def area_under_roc(values: Float[np.ndarray, " m"], positive: Bool[np.ndarray, " m"]) -> float:
    """Probability that a positive has a larger value than a negative; ties count one half (Mann and Whitney, 1947).

    Returns:
        0.5 for random values, 1 for a perfect order; NaN without positives or without negatives.
    """
    count = int(positive.sum())
    others = len(positive) - count
    if count == 0 or others == 0:
        return math.nan
    return float((_ranks(values)[positive].sum() - count * (count + 1) / 2) / (count * others))


def rank_correlation(a: Float[np.ndarray, " m"], b: Float[np.ndarray, " m"]) -> float:
    """Spearman's rank correlation, with the mean rank for ties; NaN if one of the two is constant."""
    if len(a) < 2:
        return math.nan
    x, y = (ranks - ranks.mean() for ranks in (_ranks(a), _ranks(b)))
    length = math.sqrt(float((x * x).sum() * (y * y).sum()))
    return float((x * y).sum() / length) if length > 0 else math.nan


def _ranks(values: Float[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    """Ranks from 1; equal values share their mean rank."""
    _, place, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    last: Int64[np.ndarray, " u"] = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], np.float64)
