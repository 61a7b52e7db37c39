"""Dark glasses, told by the skin under the eyes: lenses reach below them, and are darker than the cheek."""

import math

import numpy as np
from jaxtyping import Float32

from canthus.fatigue.ratios import LEFT_EYE, RIGHT_EYE
from canthus.types import Image

_UNDER, _CHEEK = (0.4, 0.12), (1.25, 0.2)
"""Places below the lower lid and half sides of the patches there, in eye widths."""


def brightness_under_eyes(image: Image, points: Float32[np.ndarray, "68 2"]) -> float:
    """Brightness just under the eyes over that of the cheeks below, of the brighter side.

    About 0.95 on bare skin, rarely below 0.6; below 0.3 behind large dark lenses.  Small or light ones do not show.

    Args:
        image: the picture.
        points: in its pixels, in ``ibug_68`` order.

    Returns:
        NaN where neither side of the face is in the picture.
    """
    down = (points[8] - points[27]) / max(float(np.linalg.norm(points[8] - points[27])), 1e-6)
    sides = [_side(image, points[list(eye)], down) for eye in (RIGHT_EYE, LEFT_EYE)]
    return max((side for side in sides if math.isfinite(side)), default=math.nan)


def _side(image: Image, eye: Float32[np.ndarray, "6 2"], down: Float32[np.ndarray, " 2"]) -> float:
    width = float(np.linalg.norm(eye[3] - eye[0]))
    lid = (eye[4] + eye[5]) / 2
    under, cheek = (_brightness(image, lid + place * width * down, half * width) for place, half in (_UNDER, _CHEEK))
    return under / max(cheek, 1.0)


def _brightness(image: Image, centre: Float32[np.ndarray, " 2"], half: float) -> float:
    """Mean of a square patch; NaN where none of it is in the picture."""
    x, y, reach = round(float(centre[0])), round(float(centre[1])), max(1, round(half))
    patch = image[max(y - reach, 0) : max(y + reach + 1, 0), max(x - reach, 0) : max(x + reach + 1, 0)]
    return float(patch.mean()) if patch.size else math.nan
