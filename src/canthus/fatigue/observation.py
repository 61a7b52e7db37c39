"""What one frame tells about one face, before anything is judged."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32

from canthus.fatigue.glasses import brightness_under_eyes
from canthus.fatigue.ratios import INNER_MOUTH, LEFT_EYE, RIGHT_EYE, eye_aspect_ratio, mouth_aspect_ratio
from canthus.pose import head_pose
from canthus.types import Image


@final
@dataclass(frozen=True)
class Observation:
    """Measures of one face at one time; all but the time are NaN where there is no face.

    Attributes:
        time_s: of the frame.
        right_eye: ``eye_aspect_ratio`` of the subject's right eye.
        left_eye: of the left one.
        mouth: ``mouth_aspect_ratio``.
        yaw: to the left of the picture, radians.
        pitch: down, radians.
        eye_pixels: width of the wider eye in pixels.
        right_confidence: mean confidence of the points of the right eye, in [0, 1]; NaN where the model gives none.
        left_confidence: of the left one.
        under_eyes: ``brightness_under_eyes``; NaN where no picture was at hand.
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
        points: unsmoothed, in ``ibug_68`` order, in pixels; smoothing would make blinks shallower.
        time_s: of the frame.
        scores: confidence of each point in [0, 1], where the model gives it.
        image: the frame, to look for dark glasses; left out, they are not looked for.
    """
    confidence = (
        [math.nan] * 2 if scores is None else [float(scores[list(eye)].mean()) for eye in (RIGHT_EYE, LEFT_EYE)]
    )
    pose = head_pose(points[None])
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
    )
