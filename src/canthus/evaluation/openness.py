"""How well a network tells open from shut: eye and mouth ratios of predicted points beside those of the truth.

Landmark errors say little about it: of a few pixels between the lids, half may be lost in an error that no table shows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Float64

from canthus.fatigue.measures import INNER_MOUTH, LEFT_EYE, RIGHT_EYE, eye_aspect_ratio, mouth_aspect_ratio
from canthus.schemes import CONVERSIONS, IBUG_68, Scheme, convert

NARROW = 0.2
"""True eye aspect ratio below which an eye counts as narrow: nearly shut, or squeezed by a laugh."""

RATIOS = ("ear_right", "ear_left", "mar")
"""Names of the ratios in rows; the truth's end in ``_truth``."""


def opening_ratios(points: Float[np.ndarray, "k 2"], scheme: Scheme) -> dict[str, float]:
    """Eye aspect ratio of both eyes and mouth aspect ratio; empty where the points do not lead to the 68.

    Args:
        points: any unit of length; NaN gives NaN.
        scheme: their numbering.
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
    """Ratios of prediction and truth of one face, under the names that rows give them."""
    true = opening_ratios(truth, scheme)
    return opening_ratios(predicted, scheme) | {f"{name}_truth": value for name, value in true.items()}


@final
@dataclass(frozen=True)
class Openness:
    """Errors of ratios over many faces; ratios are plain numbers, and NaN where there is nothing to average.

    Attributes:
        eyes: eyes that were compared, two a face.
        ear_error: mean absolute difference of predicted and true eye aspect ratio.
        ear_bias: mean of predicted less true ratio; above zero, eyes are seen too wide open.
        ear_correlation: Pearson's, of predicted and true ratio.
        narrow_eyes: eyes whose true ratio is below ``NARROW``.
        ear_bias_narrow: ``ear_bias`` of these.
        mar_error: mean absolute difference of predicted and true mouth aspect ratio.
        mar_correlation: Pearson's, of the mouth.
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
    """Errors of the ratios of many faces.

    Args:
        rows: one a face, from ``opening_row``; faces without ratios, or with NaN, are left out.
    """
    eyes = np.concatenate([_pairs(rows, "ear_right"), _pairs(rows, "ear_left")])
    narrow = eyes[eyes[:, 1] < NARROW]
    mouths = _pairs(rows, "mar")
    return Openness(
        eyes=len(eyes),
        ear_error=_mean(np.abs(eyes[:, 0] - eyes[:, 1])),
        ear_bias=_mean(eyes[:, 0] - eyes[:, 1]),
        ear_correlation=_correlation(eyes),
        narrow_eyes=len(narrow),
        ear_bias_narrow=_mean(narrow[:, 0] - narrow[:, 1]),
        mar_error=_mean(np.abs(mouths[:, 0] - mouths[:, 1])),
        mar_correlation=_correlation(mouths),
    )


def _pairs(rows: Sequence[Mapping[str, float]], name: str) -> Float64[np.ndarray, "n 2"]:
    """(predicted, true) of the faces that have both."""
    pairs = np.array([(row.get(name, math.nan), row.get(f"{name}_truth", math.nan)) for row in rows], np.float64)
    pairs = pairs.reshape(-1, 2)
    return np.asarray(pairs[np.isfinite(pairs).all(axis=1)])


def _mean(values: Float64[np.ndarray, " n"]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _correlation(pairs: Float64[np.ndarray, "n 2"]) -> float:
    if len(pairs) < 2 or not (np.ptp(pairs, axis=0) > 0).all():
        return math.nan
    return float(np.corrcoef(pairs.T)[0, 1])
