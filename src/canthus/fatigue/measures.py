"""Measures of a face in one frame: openness of eyes and mouth, head pose, confidence and dark glasses."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32

from canthus.pose import head_pose
from canthus.runtime.measures import INNER_MOUTH, LEFT_EYE, RIGHT_EYE, eye_aspect_ratio, mouth_aspect_ratio
from canthus.types import Image

_UNDER, _CHEEK = (0.4, 0.12), (1.25, 0.2)
"""Distance of a patch below the lower lid, and half its side, in eye widths."""


def brightness_under_eyes(image: Image, points: Float32[np.ndarray, "68 2"]) -> float:
    """Brightness of the skin under the eyes, divided by that of the cheeks, for the side where it is larger.

    About 0.95 for bare skin, rarely below 0.6; below 0.3 for large dark lenses.  Small or light lenses are not seen.

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
    """Mean of a square patch; NaN if it lies outside the picture."""
    x, y, reach = round(float(centre[0])), round(float(centre[1])), max(1, round(half))
    patch = image[max(y - reach, 0) : max(y + reach + 1, 0), max(x - reach, 0) : max(x + reach + 1, 0)]
    return float(patch.mean()) if patch.size else math.nan


@final
@dataclass(frozen=True)
class Observation:
    """Measures of one face in one frame; all but the time are NaN if there is no face.

    Attributes:
        right_eye: ``eye_aspect_ratio`` of the subject's right eye.
        left_eye: ``eye_aspect_ratio`` of the left eye.
        mouth: ``mouth_aspect_ratio``.
        yaw: turn of the head to the left of the picture, radians.
        pitch: turn of the head downwards, radians.
        eye_pixels: width of the wider eye in pixels.
        right_confidence: mean confidence of the points of the right eye, in [0, 1]; NaN if the model gives none.
        left_confidence: the same for the left eye.
        under_eyes: ``brightness_under_eyes``; NaN without a picture.
        mouth_width: distance of the corners of the mouth over that of the outer corners of the eyes.
        corners: how far the corners of the mouth lie above the edge of the upper lip, in the same unit.
        mouth_confidence: mean confidence of the points of the mouth, in [0, 1]; NaN if the model gives none.
        right_upper: how far the upper lid of the right eye lies above the line of its corners, in eye widths.
        left_upper: the same of the left eye.
    """

    time_s: float
    right_eye: float = math.nan
    left_eye: float = math.nan
    mouth: float = math.nan
    yaw: float = math.nan
    pitch: float = math.nan
    eye_pixels: float = math.nan
    right_confidence: float = math.nan
    left_confidence: float = math.nan
    under_eyes: float = math.nan
    mouth_width: float = math.nan
    corners: float = math.nan
    mouth_confidence: float = math.nan
    right_upper: float = math.nan
    left_upper: float = math.nan

    @property
    def has_face(self) -> bool:
        """Whether there is a face."""
        return math.isfinite(self.right_eye + self.left_eye + self.mouth + self.yaw + self.pitch)


def observe(
    points: Float32[np.ndarray, "68 2"],
    time_s: float,
    *,
    scores: Float32[np.ndarray, " 68"] | None = None,
    image: Image | None = None,
) -> Observation:
    """Measure one face.

    Args:
        points: in pixels, in ``ibug_68`` order, not smoothed; smoothing makes blinks shallower.
        scores: confidence of each point in [0, 1]; None if the model gives none.
        image: the frame, to look for dark glasses; None skips that.
    """
    parts = (RIGHT_EYE, LEFT_EYE, tuple(range(48, 68)))
    confidence = [math.nan if scores is None else float(scores[list(part)].mean()) for part in parts]
    pose = head_pose(points[None])
    width, corners = _smile(points)
    right, left = points[list(RIGHT_EYE)], points[list(LEFT_EYE)]
    return Observation(
        time_s=time_s,
        right_eye=float(eye_aspect_ratio(right)),
        left_eye=float(eye_aspect_ratio(left)),
        mouth=float(mouth_aspect_ratio(points[list(INNER_MOUTH)])),
        yaw=float(pose.yaw[0]),
        pitch=float(pose.pitch[0]),
        eye_pixels=max(float(np.linalg.norm(eye[0] - eye[3])) for eye in (right, left)),
        right_confidence=confidence[0],
        left_confidence=confidence[1],
        under_eyes=math.nan if image is None else brightness_under_eyes(image, points),
        mouth_width=width,
        corners=corners,
        mouth_confidence=confidence[2],
        right_upper=_upper_lid(right),
        left_upper=_upper_lid(left),
    )


def _upper_lid(eye: Float32[np.ndarray, "6 2"]) -> float:
    along = eye[3] - eye[0]
    width = max(float(np.linalg.norm(along)), 1e-6)
    down = np.array([-along[1], along[0]]) / width
    return float(((eye[0] + eye[3]) / 2 - (eye[1] + eye[2]) / 2) @ down) / width


def _smile(points: Float32[np.ndarray, "68 2"]) -> tuple[float, float]:
    """Width of the mouth, and height of its corners above the edge of the upper lip, by the outer eye corners."""
    along = points[45] - points[36]
    unit = max(float(np.linalg.norm(along)), 1e-6)
    down = np.array([-along[1], along[0]]) / unit
    corners = (points[48] + points[54]) / 2
    return float(np.linalg.norm(points[54] - points[48])) / unit, float((points[62] - corners) @ down) / unit
