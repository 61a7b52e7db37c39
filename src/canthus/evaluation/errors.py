"""Normalized errors of landmarks, and the lengths that they are divided by.

Everything is computed in float64 and returned as a fraction of the scale, never in percent.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64

from canthus.schemes import Scheme

CROP_MARGIN = 1.3
"""Side of the crop of ``unit_squared_error`` over the longer side of the face box: the default margin of recipes."""


def inter_ocular(points: Float[np.ndarray, "*n k 2"], scheme: Scheme) -> Float64[np.ndarray, "*n"]:
    """Distance of the outer eye corners, the scale "ION", in the unit of the points.

    NaN if a corner is unknown, or the scheme has none.

    300-W challenge (Sagonas et al., 2013): points 36 and 45 of the 68, counted from zero.
    """
    if not scheme.eye_corners:
        return np.full(points.shape[:-2], np.nan)
    right, left = scheme.eye_corners
    return _distance(points[..., right, :], points[..., left, :])


def inter_pupil(points: Float[np.ndarray, "*n k 2"], scheme: Scheme) -> Float64[np.ndarray, "*n"]:
    """Distance of the pupils, the scale "IPN", in the unit of the points.

    NaN if one of the points is unknown, or the scheme has no pupils.

    A scheme without pupil points uses the mean point of each eye.  For the 68 points: means of 36-41 and of 42-47, as
    300-W results normalised by inter-pupil distance use.
    """
    if not scheme.pupils:
        return np.full(points.shape[:-2], np.nan)
    right, left = (np.asarray(points, np.float64)[..., list(group), :].mean(axis=-2) for group in scheme.pupils)
    return _distance(right, left)


def training_error(scheme: Scheme) -> str:
    """The error by which the best epoch is chosen and which the card of a model states.

    ``nme_ion``, or ``nme_longer`` (over the longer side of the face box) for a scheme without eye corners.
    """
    return "nme_ion" if scheme.eye_corners else "nme_longer"


def training_scale(points: Float[np.ndarray, "n k 2"], scheme: Scheme, *, box_side: float) -> Float64[np.ndarray, " n"]:
    """The scale of ``training_error`` for points in crops.

    Args:
        box_side: longer side of the face boxes in the crops, in the unit of the points.
    """
    return inter_ocular(points, scheme) if scheme.eye_corners else np.full(len(points), box_side)


def box_mean_side(boxes: Float[np.ndarray, "*n 4"]) -> Float64[np.ndarray, "*n"]:
    """Geometric mean of the sides, sqrt(w h): the usual scale of AFLW, whose profiles lack an eye."""
    sides = _sides(boxes)
    return np.asarray(np.sqrt(sides[..., 0] * sides[..., 1]), np.float64)


def box_diagonal(boxes: Float[np.ndarray, "*n 4"]) -> Float64[np.ndarray, "*n"]:
    """Diagonal of each box."""
    return np.asarray(np.linalg.norm(_sides(boxes), axis=-1), np.float64)


def box_longer_side(boxes: Float[np.ndarray, "*n 4"]) -> Float64[np.ndarray, "*n"]:
    """Longer side of each box."""
    return np.asarray(_sides(boxes).max(axis=-1), np.float64)


def normalized_error(
    predicted: Float[np.ndarray, "n k 2"], truth: Float[np.ndarray, "n k 2"], scale: Float[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Mean distance between predicted and true points, divided by the scale.

    e = 1/K sum_k |p_k - t_k| / d, 300-W challenge (Sagonas et al., 2013).

    Args:
        truth: NaN for unknown points, which are left out of the mean.
        scale: length that the error of each face is divided by, from one of the functions above.

    Returns:
        Fractions of the scale; NaN if there is no prediction, no point is known, or the scale is not positive.
    """
    return _mean_over(_distance(predicted, truth), truth, np.asarray(scale, np.float64))


def normalized_squared_error(
    predicted: Float[np.ndarray, "n k 2"], truth: Float[np.ndarray, "n k 2"], scale: Float[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Mean squared distance between predicted and true points, divided by the squared scale.

    NaN in ``truth`` and in the result are as for ``normalized_error``.
    """
    scale = np.asarray(scale, np.float64)
    return _mean_over(np.square(_distance(predicted, truth)), truth, np.where(scale > 0, np.square(scale), 0.0))


def unit_squared_error(
    predicted: Float[np.ndarray, "n k 2"], truth: Float[np.ndarray, "n k 2"], boxes: Float[np.ndarray, "n 4"]
) -> Float64[np.ndarray, " n"]:
    """Mean squared error of the coordinates in the unit frame of the crop, as regression networks minimize it.

    1/2K sum_k |p_k - t_k|^2 / s^2 with s = ``CROP_MARGIN`` times the longer side of the face box: the crop then
    measures 1 by 1.  The distillation paper (2024) calls its numbers on CelebA "MSE" and states no unit.
    NaN in ``truth`` and in the result are as for ``normalized_error``.

    Args:
        boxes: ground-truth boxes.
    """
    side = CROP_MARGIN * box_longer_side(boxes)
    return np.asarray(normalized_squared_error(predicted, truth, side) / 2, np.float64)


def part_error(
    predicted: Float[np.ndarray, "n k 2"],
    truth: Float[np.ndarray, "n k 2"],
    scale: Float[np.ndarray, " n"],
    indices: Sequence[int],
) -> Float64[np.ndarray, " n"]:
    """``normalized_error`` over the points ``indices`` only; the scale is that of the whole face."""
    chosen = list(indices)
    return normalized_error(predicted[:, chosen], truth[:, chosen], scale)


def _mean_over(
    values: Float64[np.ndarray, "n k"], truth: Float[np.ndarray, "n k 2"], unit: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Mean over the known points divided by the unit; NaN without known points or a positive unit."""
    known = np.isfinite(np.asarray(truth)).all(axis=-1)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    valid = (count > 0) & (unit > 0)
    return np.asarray(np.divide(total, count * unit, out=np.full(len(total), np.nan), where=valid), np.float64)


def mean_or_nan(values: Float[np.ndarray, " n"] | Bool[np.ndarray, " n"]) -> float:
    """Mean, or share of True; NaN without values."""
    return float(values.mean()) if len(values) else math.nan


def _distance(a: Float[np.ndarray, "*n 2"], b: Float[np.ndarray, "*n 2"]) -> Float64[np.ndarray, "*n"]:
    return np.asarray(np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64), axis=-1), np.float64)


def _sides(boxes: Float[np.ndarray, "*n 4"]) -> Float64[np.ndarray, "*n 2"]:
    wide = np.asarray(boxes, np.float64)
    return np.asarray(wide[..., 2:] - wide[..., :2], np.float64)
