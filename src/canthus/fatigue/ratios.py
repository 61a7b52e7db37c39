"""How far eyes and mouth are open: ratios of distances between landmarks."""

import numpy as np
from jaxtyping import Float, Float64

from canthus.schemes import IBUG_68

RIGHT_EYE = IBUG_68.groups["right_eye"]
LEFT_EYE = IBUG_68.groups["left_eye"]
INNER_MOUTH = IBUG_68.groups["inner_mouth"]


def eye_aspect_ratio(eye: Float[np.ndarray, "*n 6 2"]) -> Float64[np.ndarray, "*n"]:
    """Openness of an eye: mean height over width.

    ``EAR = (|p1 - p5| + |p2 - p4|) / (2 |p0 - p3|)``, Soukupova and Cech (2016), eq. 1, counted from zero.

    Args:
        eye: the six points of one eye in ``ibug_68`` order (36 to 41 right, 42 to 47 left); any unit of length.

    Returns:
        About 0.3 for an open eye, lower for a closed one; NaN where the corners coincide.
    """
    return _ratio(eye, ((1, 5), (2, 4)), (0, 3))


def mouth_aspect_ratio(lips: Float[np.ndarray, "*n 8 2"]) -> Float64[np.ndarray, "*n"]:
    """Opening of the mouth: mean gap between the lips over the inner width.

    ``MAR = (|p1 - p7| + |p2 - p6| + |p3 - p5|) / (3 |p0 - p4|)`` on the inner lips, points 60 to 67 of ``ibug_68``
    (61 and 67, 62 and 66, 63 and 65 over 60 and 64).  Public code uses many other points; numbers do not compare.

    Args:
        lips: the eight points of the inner lips in ``ibug_68`` order; any unit of length.

    Returns:
        Near 0 for a closed mouth, 0.6 and more in a yawn; NaN where the corners coincide.
    """
    return _ratio(lips, ((1, 7), (2, 6), (3, 5)), (0, 4))


def _ratio(
    points: Float[np.ndarray, "*n k 2"], heights: tuple[tuple[int, int], ...], width: tuple[int, int]
) -> Float64[np.ndarray, "*n"]:
    seen = points.astype(np.float64)
    gaps = [np.linalg.norm(seen[..., a, :] - seen[..., b, :], axis=-1) for a, b in heights]
    across = np.linalg.norm(seen[..., width[0], :] - seen[..., width[1], :], axis=-1)
    mean = np.asarray(np.mean(gaps, axis=0))
    return np.asarray(np.divide(mean, across, out=np.full_like(mean, np.nan), where=across > 0))
