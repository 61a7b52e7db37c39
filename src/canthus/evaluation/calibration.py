"""Fit the map from expected errors to confidence on held-out faces."""

import math

import numpy as np
from jaxtyping import Bool, Float32, Float64

from canthus.errors import DataError
from canthus.runtime.cards import Calibration

LEAST_SLOPE = 1e-3
"""Where expected errors say nothing, confidence is all but the same for all points."""

_STEPS = 50


def fit_calibration(
    spread: Float32[np.ndarray, "n k"],
    errors: Float64[np.ndarray, "n k"],
    *,
    margin: float,
    tolerance: float,
) -> Calibration:
    """Logistic regression of "the error is within the tolerance" on the logarithm of the expected error.

    Platt (1999), "Probabilistic Outputs for Support Vector Machines", with his targets, which keep the fit finite where
    all points are right: (r + 1) / (r + 2) for the r right ones, 1 / (w + 2) for the w wrong ones.

    Args:
        spread: logarithm of the expected error of each point, in sides of the crop.
        errors: of each point, fractions of the longer side of the face box; NaN where the truth is not known.
        margin: side of the crop over the longer side of the face box.
        tolerance: what counts as right, in the unit of ``errors``.

    Raises:
        DataError: no error is known.
    """
    known = np.isfinite(errors)
    if not known.any():
        raise DataError("Confidence cannot be calibrated: no point of the held-out faces has a known place")
    x = math.log(tolerance / margin) - spread[known].astype(np.float64)
    right = errors[known] <= tolerance
    slope, offset = _logistic(x, right)
    if slope < LEAST_SLOPE:
        share = (right.sum() + 1) / (len(right) + 2)
        slope, offset = LEAST_SLOPE, math.log(share / (1 - share)) - LEAST_SLOPE * float(x.mean())
    return Calibration(tolerance=tolerance, slope=round(slope, 5), offset=round(offset, 5))


def _logistic(x: Float64[np.ndarray, " m"], right: Bool[np.ndarray, " m"]) -> tuple[float, float]:
    """Slope and offset of the log odds by Newton's method, a hair of ridge against a singular Hessian."""
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
