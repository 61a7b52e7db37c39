"""Head pose from 68 landmarks: yaw, pitch and roll in radians.

The axes of the camera: x to the right of the picture, y down, z away from the camera.  The angles are right-handed
rotations about y, x and z, applied in the order yaw, pitch, roll: ``R = Rz(roll) Rx(pitch) Ry(yaw)``.  At zero the head
looks straight into the camera.

- Positive yaw turns the head to the left of the picture, which is the subject's own right.
- Positive pitch turns it down.
- Positive roll tilts it clockwise on the screen.

``docs/pose.md`` shows the angles in a picture.
"""

from dataclasses import dataclass
from typing import final

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64

POSE_POINTS = (17, 21, 22, 26, 36, 39, 42, 45, 31, 35, 48, 54, 57, 8)
"""The most rigid points of ``ibug_68``: ends of the brows, corners of eyes, nose and mouth, lip, chin."""

_RIGHT_SIDE = (
    (-60.0, -14.4, 7.3),  # 17, outer end of the right brow
    (-12.0, -17.2, -17.8),  # 21, inner end
    (-45.0, -1.3, 5.9),  # 36, outer corner of the right eye
    (-19.5, 1.3, -5.9),  # 39, inner corner
    (-15.0, 43.0, -21.0),  # 31, right wing of the nose
    (-28.0, 66.5, -9.9),  # 48, right corner of the mouth
)
_MIDDLE = (
    (0.0, 82.1, -22.2),  # 57, lower edge of the lower lip
    (0.0, 114.6, -10.6),  # 8, chin
)
_MIRROR_ORDER = (0, 1, 1, 0, 2, 3, 3, 2, 4, 4, 5, 5)
"""Row of ``_RIGHT_SIDE`` for each of the first twelve ``POSE_POINTS``."""
_SIDES = np.array([1, 1, -1, -1, 1, 1, -1, -1, 1, -1, 1, -1])

HEAD_MODEL: Float64[np.ndarray, "14 3"] = np.concatenate(
    [np.array(_RIGHT_SIDE)[list(_MIRROR_ORDER)] * np.stack([_SIDES, np.ones(12), np.ones(12)], axis=1), _MIDDLE]
)
"""A rigid mean adult face at zero pose, in the order of ``POSE_POINTS``; millimetres, origin between the eyes.

Widths and heights are those of the frontal faces of 300-W at 90 mm between the outer eye corners; depths are usual
measures of adults, because photos do not determine them well.  Zero pitch is the mean pitch of the training photos of
300-W.
"""

CAMERA_DISTANCE_MM = 1000.0
"""Assumed distance of the camera.  Half or twice this distance changes the angles by one or two degrees."""


@final
@dataclass(frozen=True)
class HeadPose:
    """Pose of ``n`` heads.

    Attributes:
        angles: yaw, pitch, roll in radians; yaw and roll in [-pi, pi], pitch in [-pi/2, pi/2].  All three are NaN
            if one of ``POSE_POINTS`` is missing or the face has no size.
    """

    angles: Float32[np.ndarray, "n 3"]

    def __len__(self) -> int:
        return len(self.angles)

    @property
    def yaw(self) -> Float32[np.ndarray, " n"]:
        """Rotation to the left of the picture in radians."""
        return self.angles[:, 0]

    @property
    def pitch(self) -> Float32[np.ndarray, " n"]:
        """Rotation downwards in radians."""
        return self.angles[:, 1]

    @property
    def roll(self) -> Float32[np.ndarray, " n"]:
        """Rotation clockwise on the screen in radians."""
        return self.angles[:, 2]


def head_pose(points: Float[np.ndarray, "n 68 2"]) -> HeadPose:
    """Estimate the pose of each head by fitting a rigid face to fourteen of its points (PnP).

    Terzakis and Lourakis (2020), "A Consistently Fast and Globally Optimal Solution to the Perspective-n-Point
    Problem", refined by Levenberg-Marquardt on the reprojection error.  The points are centred and scaled first, so
    that pixels and the unit frame give the same angles.

    Args:
        points: in the order of ``ibug_68``, x right and y down, in any unit.

    Returns:
        Angles relative to the line of sight to the face.
    """
    seen = points[:, list(POSE_POINTS)].astype(np.float64)
    return HeadPose(np.array([_angles(face) for face in seen], np.float32).reshape(-1, 3))


def rotation_matrix(angles: Float[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3 3"]:
    """``R = Rz(roll) Rx(pitch) Ry(yaw)``, the rotation from the head at zero pose to the axes of the camera.

    Args:
        angles: yaw, pitch, roll in radians.
    """
    cos, sin = np.cos(angles.astype(np.float64)), np.sin(angles.astype(np.float64))
    (cy, cp, cr), (sy, sp, sr) = (np.moveaxis(part, -1, 0) for part in (cos, sin))
    rows = [
        [cr * cy - sr * sp * sy, -sr * cp, cr * sy + sr * sp * cy],
        [sr * cy + cr * sp * sy, cr * cp, sr * sy - cr * sp * cy],
        [-cp * sy, sp, cp * cy],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def rotation_angles(matrix: Float[np.ndarray, "*n 3 3"]) -> Float64[np.ndarray, "*n 3"]:
    """Yaw, pitch and roll of a rotation, in radians; the inverse of ``rotation_matrix``."""
    m = matrix.astype(np.float64)
    yaw = np.arctan2(-m[..., 2, 0], m[..., 2, 2])
    pitch = np.arcsin(np.clip(m[..., 2, 1], -1, 1))
    roll = np.arctan2(-m[..., 0, 1], m[..., 1, 1])
    return np.stack([yaw, pitch, roll], axis=-1)


def _angles(seen: Float64[np.ndarray, "14 2"]) -> Float64[np.ndarray, " 3"]:
    centred = seen - seen.mean(axis=0)
    spread = float(np.sqrt(np.square(centred).mean()))
    if not np.isfinite(spread) or spread <= 0:
        return np.full(3, np.nan)
    # Scale to the image of the model in a pinhole camera of focal length 1 at CAMERA_DISTANCE_MM.
    flat = centred * (_MODEL_SPREAD / CAMERA_DISTANCE_MM / spread)
    found, turn, place = cv2.solvePnP(_CENTRED_MODEL, flat, np.eye(3), None, flags=cv2.SOLVEPNP_SQPNP)
    if not found:
        return np.full(3, np.nan)
    turn, _ = cv2.solvePnPRefineLM(_CENTRED_MODEL, flat, np.eye(3), None, turn, place)
    return rotation_angles(cv2.Rodrigues(turn)[0])


_CENTRED_MODEL = HEAD_MODEL - HEAD_MODEL.mean(axis=0)
_MODEL_SPREAD = float(np.sqrt(np.square(_CENTRED_MODEL[:, :2]).mean()))
