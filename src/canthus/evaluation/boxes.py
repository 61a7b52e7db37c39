"""Match detected boxes to ground truth, measure their offsets, and jitter ground-truth boxes."""

import hashlib
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Float32, Float64

from canthus.geometry import box_iou, box_size

MIN_OVERLAP = 0.3
"""A labelled face counts as found if the IoU (intersection over union) with its detected box is above this.

The threshold is low on purpose: a poor box then counts with its large landmark error, not as a missed face.
"""


@final
@dataclass(frozen=True)
class Match:
    """The detected face that was matched to a labelled one.

    Attributes:
        index: index of the detected face; -1 if none was matched.
        overlap: IoU with the matched box, or with the best box if none was matched.
    """

    found: bool
    index: int
    overlap: float


def match_boxes(
    truth: Float32[np.ndarray, "n 4"], detected: Float32[np.ndarray, "m 4"], *, min_overlap: float = MIN_OVERLAP
) -> list[Match]:
    """Match each labelled face of a picture to the detected face that overlaps it most.

    Pairs with an IoU above ``min_overlap`` are matched greedily by descending IoU, each detected face at most once.
    The result has one match per labelled face, in their order.
    """
    overlaps = box_iou(truth, detected)
    best = overlaps.max(axis=1, initial=0.0)
    matches = [Match(found=False, index=-1, overlap=float(value)) for value in best]
    free = overlaps.copy()
    while free.size and free.max() > min_overlap:
        face, index = (int(v) for v in np.unravel_index(int(free.argmax()), free.shape))
        matches[face] = Match(found=True, index=index, overlap=float(overlaps[face, index]))
        free[face, :] = free[:, index] = -1.0
    return matches


@final
@dataclass(frozen=True)
class BoxOffsets:
    """Offsets of found boxes from true boxes, one row per pair.

    Attributes:
        x: shift of the centre to the right, in longer sides of the true box.
        y: shift of the centre downwards, in the same unit.
        log_scale: natural logarithm of the ratio of longer sides, found over true.
    """

    x: Float64[np.ndarray, " n"]
    y: Float64[np.ndarray, " n"]
    log_scale: Float64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.x)


def box_offsets(truth: Float[np.ndarray, "n 4"], found: Float[np.ndarray, "n 4"]) -> BoxOffsets:
    """Offsets of found boxes from true boxes, row by row; the sides of all boxes must be positive."""
    sides = [box_size(boxes).max(axis=-1).astype(np.float64) for boxes in (truth, found)]
    centres = [(boxes[:, :2] + boxes[:, 2:]).astype(np.float64) / 2 for boxes in (truth, found)]
    shift = (centres[1] - centres[0]) / sides[0][:, None]
    return BoxOffsets(x=shift[:, 0], y=shift[:, 1], log_scale=np.log(sides[1] / sides[0]))


def robust_sigma(values: Float[np.ndarray, " n"]) -> float:
    """Standard deviation estimated by 1.4826 times the median absolute deviation (MAD); NaN without values."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else float("nan")


def generator_for(text: str) -> np.random.Generator:
    """A random generator that depends on nothing but ``text``."""
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@final
@dataclass(frozen=True)
class BoxJitter:
    """Random shift and scale of true boxes, to measure how a model depends on the accuracy of the boxes.

    Attributes:
        fraction: 0.1 shifts by up to 10 % of the longer side on each axis, and scales by 1/1.1 to 1.1.
        seed: random seed; the draw depends on it and the face's key only, not on the order or number of faces.
        shift: whether to shift; False does not change the draw of the scale.
        scale: whether to scale; False does not change the draw of the shift.
    """

    fraction: float
    seed: int = 0
    shift: bool = True
    scale: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.fraction < 1:
            raise ValueError(f"Expected a box jitter of at least 0 and below 1, found {self.fraction}")

    def apply(self, box: Float32[np.ndarray, " 4"], key: str) -> Float32[np.ndarray, " 4"]:
        """Shift and scale the box of the face ``key`` about its centre."""
        rng = generator_for(f"{self.seed}/{key}")
        sides = box[2:] - box[:2]
        shift = rng.uniform(-self.fraction, self.fraction, 2) * sides.max() * self.shift
        zoom = (1 + self.fraction) ** (rng.uniform(-1, 1) * self.scale)
        centre, half = (box[:2] + box[2:]) / 2 + shift, zoom * sides / 2
        return np.concatenate([centre - half, centre + half]).astype(np.float32)
