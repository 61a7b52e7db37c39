"""Compare how open eyes and mouth are in predicted points and in the ground truth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Float64

from canthus.evaluation.errors import mean_or_nan
from canthus.runtime.measures import INNER_MOUTH, LEFT_EYE, RIGHT_EYE, eye_aspect_ratio, mouth_aspect_ratio
from canthus.schemes import CONVERSIONS, IBUG_68, Scheme, convert

NARROW = 0.2
"""An eye with a true aspect ratio below this counts as narrow: nearly closed, or squeezed by a laugh."""

RATIOS = ("ear_right", "ear_left", "mar")
"""Names of the ratios in rows; those of the ground truth end in ``_truth``."""


def opening_ratios(points: Float[np.ndarray, "k 2"], scheme: Scheme) -> dict[str, float]:
    """Eye aspect ratio of both eyes and mouth aspect ratio, by the names in ``RATIOS``.

    Args:
        points: any unit of length; NaN gives NaN.
        scheme: their numbering; the result is empty if it cannot be converted to ``ibug_68``.
    """
    if scheme.name != IBUG_68.name and (scheme.name, IBUG_68.name) not in CONVERSIONS:
        return {}
    known = convert(points, scheme, IBUG_68)
    ratios = (
        eye_aspect_ratio(known[list(RIGHT_EYE)]),
        eye_aspect_ratio(known[list(LEFT_EYE)]),
        mouth_aspect_ratio(known[list(INNER_MOUTH)]),
    )
    return dict(zip(RATIOS, map(float, ratios), strict=True))


def opening_row(
    predicted: Float[np.ndarray, "k 2"], truth: Float[np.ndarray, "k 2"], scheme: Scheme
) -> dict[str, float]:
    """Ratios of the predicted and the true points of one face, by their names in rows."""
    true = opening_ratios(truth, scheme)
    return opening_ratios(predicted, scheme) | {f"{name}_truth": value for name, value in true.items()}


@final
@dataclass(frozen=True)
class Openness:
    """Errors of the ratios over many faces; NaN if there is nothing to average.

    A mean landmark error hardly shows them: the lids of an eye are only a few pixels apart.

    Attributes:
        eyes: number of compared eyes, two per face.
        ear_error: mean absolute difference of predicted and true eye aspect ratio.
        ear_bias: mean of predicted minus true eye aspect ratio; above zero if eyes are predicted too wide open.
        ear_correlation: Pearson correlation of predicted and true eye aspect ratio.
        narrow_eyes: number of eyes whose true ratio is below ``NARROW``.
        ear_bias_narrow: ``ear_bias`` of the narrow eyes.
        mar_error: mean absolute difference of predicted and true mouth aspect ratio.
        mar_correlation: Pearson correlation of predicted and true mouth aspect ratio.
    """

    eyes: int
    ear_error: float
    ear_bias: float
    ear_correlation: float
    narrow_eyes: int
    ear_bias_narrow: float
    mar_error: float
    mar_correlation: float


def summarize_openness(rows: Sequence[Mapping[str, float]]) -> Openness:
    """Summarize the rows of ``opening_row``, one per face; faces without ratios, or with NaN, are left out."""
    eyes, mouths = np.concatenate([_pairs(rows, "ear_right"), _pairs(rows, "ear_left")]), _pairs(rows, "mar")
    differences, narrow = eyes[:, 0] - eyes[:, 1], eyes[:, 1] < NARROW
    return Openness(
        eyes=len(eyes),
        ear_error=mean_or_nan(np.abs(differences)),
        ear_bias=mean_or_nan(differences),
        ear_correlation=_correlation(eyes),
        narrow_eyes=int(narrow.sum()),
        ear_bias_narrow=mean_or_nan(differences[narrow]),
        mar_error=mean_or_nan(np.abs(mouths[:, 0] - mouths[:, 1])),
        mar_correlation=_correlation(mouths),
    )


def _pairs(rows: Sequence[Mapping[str, float]], name: str) -> Float64[np.ndarray, "n 2"]:
    """(predicted, true) of the faces that have both."""
    pairs = np.array([(row.get(name, math.nan), row.get(f"{name}_truth", math.nan)) for row in rows], np.float64)
    pairs = pairs.reshape(-1, 2)
    return np.asarray(pairs[np.isfinite(pairs).all(axis=1)])


def _correlation(pairs: Float64[np.ndarray, "n 2"]) -> float:
    if len(pairs) < 2 or not (np.ptp(pairs, axis=0) > 0).all():
        return math.nan
    return float(np.corrcoef(pairs.T)[0, 1])
