"""What the points of a face tell: the pose of the head, and how open eyes and mouth are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Float, Float32, Float64

from canthus.pose import head_pose
from canthus.schemes import IBUG_68, Scheme, conversion_matrix, convert

RIGHT_EYE = IBUG_68.groups["right_eye"]
LEFT_EYE = IBUG_68.groups["left_eye"]
INNER_MOUTH = IBUG_68.groups["inner_mouth"]
POSE = ("yaw_deg", "pitch_deg", "roll_deg")
"""Angles of ``pose.HeadPose`` in degrees: positive to the left of the picture, down, and clockwise on the screen."""
RATIOS = ("right_ear", "left_ear", "mar")
"""``eye_aspect_ratio`` of the subject's right and left eye, and ``mouth_aspect_ratio``."""


def eye_aspect_ratio(eye: Float[np.ndarray, "*n 6 2"]) -> Float64[np.ndarray, "*n"]:
    """Openness of an eye: mean height over width.

    ``EAR = (|p1 - p5| + |p2 - p4|) / (2 |p0 - p3|)``, Soukupova and Cech (2016), eq. 1, counted from zero, of the six
    points of one eye in ``ibug_68`` order (36 to 41 right, 42 to 47 left); any unit of length.

    About 0.3 for an open eye, lower for a closed one; NaN where the corners coincide.
    """
    return _ratio(eye, ((1, 5), (2, 4)), (0, 3))


def mouth_aspect_ratio(lips: Float[np.ndarray, "*n 8 2"]) -> Float64[np.ndarray, "*n"]:
    """Opening of the mouth: mean gap between the lips over the inner width.

    ``MAR = (|p1 - p7| + |p2 - p6| + |p3 - p5|) / (3 |p0 - p4|)`` on the inner lips, points 60 to 67 of ``ibug_68``
    (61 and 67, 62 and 66, 63 and 65 over 60 and 64); any unit of length.  Public code uses many other points; numbers
    do not compare.

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


@final
@dataclass(frozen=True)
class Measured:
    """Measures of the ``n`` faces of a picture.

    Attributes:
        angles: yaw, pitch and roll in radians, NaN where they are unknown; None if they were not asked for.
        records: for each face what its record gets: ``pose`` in degrees and ``ratios``, unknown numbers as None.
    """

    angles: Float32[np.ndarray, "n 3"] | None
    records: Sequence[Mapping[str, Mapping[str, float | None]]]


@final
@dataclass(frozen=True)
class FaceMeasures:
    """The measures that are asked for, for a model with points of the scheme ``source``.

    Raises:
        ConfigError: the points do not convert to ``ibug_68``, which the measures are defined on.
    """

    source: Scheme
    pose: bool = False
    ratios: bool = False
    columns: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", POSE * self.pose + RATIOS * self.ratios)
        if self.columns:
            conversion_matrix(self.source, IBUG_68)

    def of(
        self, points: Float32[np.ndarray, "n k 2"], measured: Float32[np.ndarray, "n k 2"] | None = None
    ) -> Measured:
        """Measures of faces.

        Args:
            points: in pixels; the pose is read from them.
            measured: points before smoothing, for the ratios, because smoothing makes blinks shallower; by default
                ``points``.
        """
        angles = head_pose(convert(points, self.source, IBUG_68)).angles if self.pose else None
        columns = [] if angles is None else [("pose", POSE, np.degrees(angles), 2)]
        if self.ratios:
            faces = convert(points if measured is None else measured, self.source, IBUG_68)
            eyes = [eye_aspect_ratio(faces[:, list(eye)]) for eye in (RIGHT_EYE, LEFT_EYE)]
            table = np.stack([*eyes, mouth_aspect_ratio(faces[:, list(INNER_MOUTH)])], axis=-1)
            columns.append(("ratios", RATIOS, table, 4))
        records = [
            {
                kind: dict(zip(names, _rounded(values[index], digits), strict=True))
                for kind, names, values, digits in columns
            }
            for index in range(len(points))
        ]
        return Measured(angles, records)


def _rounded(values: Float[np.ndarray, " m"], digits: int) -> list[float | None]:
    return [round(value, digits) if math.isfinite(value) else None for value in values.astype(np.float64).tolist()]
