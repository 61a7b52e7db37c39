"""Whether points can be a face at all, judged by their shape and by where they were a moment ago.

Landmark networks answer with something face-like for every crop, and ours give no confidence.  What can be told from
the answer itself: that it is finite, upright and of the proportions of a face, and that it did not leap.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32

from canthus.geometry import box_size, hull_box
from canthus.schemes import Scheme


@final
@dataclass(frozen=True)
class Plausibility:
    """Bounds within which points count as a face; all lengths in units of the longer side of the face box.

    Attributes:
        least_pixels: longer side of the smallest face.
        aspect: width of the box over its height; profiles are narrow, wide-open laughing faces of children wide.
        eye_distance: between the outer corners of the eyes; the lower bound is what a profile keeps.
        inside: least share of the box within the picture.
        jump: shift of the centre between two frames that is always allowed ...
        jump_per_s: ... and what is allowed on top for each second between them.
        growth: factor of the size between two frames that is allowed.
    """

    least_pixels: float = 16.0
    aspect: tuple[float, float] = (0.5, 1.8)
    eye_distance: tuple[float, float] = (0.15, 0.95)
    inside: float = 0.5
    jump: float = 0.25
    jump_per_s: float = 5.0
    growth: float = 1.4

    def is_face(self, points: Float32[np.ndarray, "k 2"], scheme: Scheme, *, width: int, height: int) -> bool:
        """Whether the points of one frame have the proportions of a face in a picture of this size."""
        if not np.isfinite(points).all():
            return False
        box = hull_box(points)
        w, h = (float(v) for v in box_size(box))
        side = max(w, h)
        if side < self.least_pixels or not self.aspect[0] <= w / max(h, 1e-6) <= self.aspect[1]:
            return False
        clipped = np.clip(box, 0, [width, height, width, height])
        if float(box_size(clipped).prod()) < self.inside * w * h:
            return False
        right, left = (points[index] for index in scheme.eye_corners)
        distance = float(np.linalg.norm(left - right)) / side
        return self.eye_distance[0] <= distance <= self.eye_distance[1] and _mouth_below_eyes(points, scheme)

    def follows(self, box: Float32[np.ndarray, " 4"], before: Float32[np.ndarray, " 4"], *, step_s: float) -> bool:
        """Whether a face can have come from the box ``before`` to ``box`` in ``step_s`` seconds."""
        side, side_before = float(box_size(box).max()), float(box_size(before).max())
        shift = float(np.linalg.norm((box[:2] + box[2:] - before[:2] - before[2:]) / 2))
        ratio = side / max(side_before, 1e-6)
        grown = max(ratio, 1 / max(ratio, 1e-6))
        return shift <= side_before * (self.jump + self.jump_per_s * step_s) and grown <= self.growth


def _mouth_below_eyes(points: Float32[np.ndarray, "k 2"], scheme: Scheme) -> bool:
    """The mouth lies on the lower side of the line through the eyes, however the head is rolled."""
    right, left = (points[list(indices)].mean(axis=0) for indices in scheme.pupils)
    mouth = points[[i for name, group in scheme.groups.items() if "mouth" in name for i in group]].mean(axis=0)
    (ax, ay), (bx, by) = left - right, mouth - (left + right) / 2
    return float(ax * by - ay * bx) > 0
