"""Boxes that a network is tested with: detected ones matched to the truth, how far they lie off, and truth set off."""

import hashlib
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Float32, Float64

from canthus.geometry import box_iou, box_size

MIN_OVERLAP = 0.3
"""A detected face is a labelled one where intersection over union of their boxes is above this.

Low on purpose: a poor box then shows as a large landmark error instead of leaving the mean as a missed face.
"""


@final
@dataclass(frozen=True)
class Match:
    """The detected face taken for a labelled one.

    Attributes:
        found: False where no detected face overlaps enough.
        index: which detected face; -1 where none.
        overlap: intersection over union of the best box, taken or not.
    """

    found: bool
    index: int
    overlap: float


def match_boxes(
    truth: Float32[np.ndarray, "n 4"], detected: Float32[np.ndarray, "m 4"], *, min_overlap: float = MIN_OVERLAP
) -> list[Match]:
    """Give each labelled face the detected one that overlaps it best.

    Pairs are taken by descending intersection over union, and each detected face is used once, so that one
    detection never serves two people.

    Args:
        truth: labelled face boxes of one picture.
        detected: boxes of the detector in the same picture.
        min_overlap: a pair counts only above this.

    Returns:
        One match per labelled face, in their order.
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
    """How found boxes lie to the true ones, one row per pair: the jitter that a network is given in use.

    Attributes:
        x: centre of the found box right of the true one's, in longer sides of the true box.
        y: the same downwards.
        log_scale: natural logarithm of the ratio of longer sides, found over true.
    """

    x: Float64[np.ndarray, " n"]
    y: Float64[np.ndarray, " n"]
    log_scale: Float64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.x)


def box_offsets(truth: Float[np.ndarray, "n 4"], found: Float[np.ndarray, "n 4"]) -> BoxOffsets:
    """Offsets of found boxes from true ones, row by row; both must have an area."""
    sides = [box_size(boxes).max(axis=-1).astype(np.float64) for boxes in (truth, found)]
    centres = [(boxes[:, :2] + boxes[:, 2:]).astype(np.float64) / 2 for boxes in (truth, found)]
    shift = (centres[1] - centres[0]) / sides[0][:, None]
    return BoxOffsets(x=shift[:, 0], y=shift[:, 1], log_scale=np.log(sides[1] / sides[0]))


def robust_sigma(values: Float[np.ndarray, " n"]) -> float:
    """Standard deviation by the median absolute deviation, 1.4826 MAD, which a few strays do not move; NaN of none."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else float("nan")


@final
@dataclass(frozen=True)
class BoxJitter:
    """Random shift and scale of truth boxes, to measure how a network bears a careless detector.

    Attributes:
        fraction: 0.1 shifts by up to 10 % of the longer side on each axis, and scales by 1/1.1 to 1.1.
        seed: with the face's key, fixes the draw, so it depends on neither order nor selection of the faces.
        shift: False leaves the centre where it is.
        scale: False leaves the size as it is.  Neither changes what is drawn for the other.
    """

    fraction: float
    seed: int = 0
    shift: bool = True
    scale: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.fraction < 1:
            raise ValueError(f"Box jitter is a fraction from 0 up to 1, found {self.fraction}")

    def apply(self, box: Float32[np.ndarray, " 4"], key: str) -> Float32[np.ndarray, " 4"]:
        """The box of face ``key``, shifted and scaled about its centre."""
        digest = hashlib.sha256(f"{self.seed}/{key}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        sides = box[2:] - box[:2]
        shift = rng.uniform(-self.fraction, self.fraction, 2) * sides.max() * self.shift
        zoom = (1 + self.fraction) ** (rng.uniform(-1, 1) * self.scale)
        centre, half = (box[:2] + box[2:]) / 2 + shift, zoom * sides / 2
        return np.concatenate([centre - half, centre + half]).astype(np.float32)
