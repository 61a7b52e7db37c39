"""OpenCV's cascade for frontal faces, with its squares mapped to face boxes."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import cv2
import numpy as np
from jaxtyping import Float32

from canthus.errors import ConfigError
from canthus.geometry import box_iou, box_size
from canthus.runtime.canthus_detector import checked_score
from canthus.types import Faces, Image

CASCADE = "haarcascade_frontalface_alt2.xml"
SCALE_STEP = 1.1
SMALLEST_SIDE = 24
"""Side of the smallest square, in pixels of the resized picture; the cascade was trained on squares of 20."""
GROUPING = 0.2
"""Squares that differ by less than this share of their side belong to one face."""
LEAST_SIGHTINGS = 2
DUPLICATE_OVERLAP = 0.35
"""Of two faces whose boxes overlap by more (intersection over union), the one with the lower score is dropped."""
NESTED_SHARE = 0.7
"""Of two faces, one with more than this share of its area inside the other, the lower score is dropped."""

# Measured by benchmarks/fit_haar_boxes.py on the 2,009 training pictures of 300-W, truth being the hull of the 68
# points: medians over the 1,907 faces that the cascade found.  What remains after the map, in units of the longer
# side of the true box: shift x sigma 0.10 (it follows the turn of the head), shift y 0.045; log scale 0.10.
CENTRE_OFFSET = (0.0067, 0.1554)
"""Centre of the face box minus centre of the square, in sides of the square."""
FACE_SIZE = (0.868, 0.850)
"""Width and height of the face box in sides of the square."""
# Logistic fit on the same pictures, a square on the labelled face against a square away from it.
SCORE_BIAS = -2.19
SCORE_PER_LOG_SIGHTING = 1.55
SCORE_PER_MARGIN = 0.70
MARGIN_ORIGIN = 55.0


def load_cascade() -> Any:
    """A new cascade; it keeps state while it runs, so no two threads may share one.

    Raises:
        ConfigError: this OpenCV has no cascades, or lacks the file.
    """
    if not hasattr(cv2, "CascadeClassifier"):
        raise ConfigError(
            f"OpenCV {cv2.__version__} has no cascade of faces, which OpenCV 5 removed; use another detector than "
            "haar, or install opencv-python-headless below 5"
        )
    path = Path(cv2.__file__).parent / "data" / CASCADE
    cascade = cv2.CascadeClassifier(str(path))
    if cascade.empty():
        raise ConfigError(f"{path}: OpenCV's face cascade is missing; install opencv-python-headless below 5 again")
    return cascade


@final
@dataclass(frozen=True)
class HaarSightings:
    """Squares that the cascade found, before they are mapped to face boxes.

    Attributes:
        centres: centres of the squares in edge coordinates of the picture.
        sides: sides of the squares in pixels of the picture.
        counts: number of neighbouring positions and sizes at which the cascade fired.
        margins: highest sum of the cascade's last stage among them.
    """

    centres: Float32[np.ndarray, "n 2"]
    sides: Float32[np.ndarray, " n"]
    counts: Float32[np.ndarray, " n"]
    margins: Float32[np.ndarray, " n"]

    def face_boxes(self) -> Float32[np.ndarray, "n 4"]:
        """Face boxes of the squares, by the measured map."""
        centres = self.centres + self.sides[:, None] * np.array(CENTRE_OFFSET)
        halves = self.sides[:, None] * np.array(FACE_SIZE) / 2
        return np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)

    def scores(self) -> Float32[np.ndarray, " n"]:
        """Probability that a square is a face, by the fitted logistic curve."""
        logit = SCORE_BIAS + SCORE_PER_LOG_SIGHTING * np.log(self.counts)
        logit = logit + SCORE_PER_MARGIN * (self.margins - MARGIN_ORIGIN)
        return np.asarray(1 / (1 + np.exp(-logit)), dtype=np.float32)


@final
class HaarDetector:
    """OpenCV's bundled cascade for frontal faces (Viola and Jones, 2001; its trees by Lienhart et al., 2003).

    It finds neither profiles nor faces smaller than about 4 % of the longer side of the picture.

    Threads may share a detector: OpenCV's cascade is not safe to share, so each thread has its own.

    Args:
        least_score: score threshold.
        long_side: longer side in pixels to which larger pictures are shrunk.

    Raises:
        ConfigError: ``long_side`` is below 24 pixels, the score is outside [0, 1], or OpenCV lacks the cascade.
    """

    def __init__(self, *, least_score: float = 0.4, long_side: int = 640) -> None:
        if long_side < SMALLEST_SIDE:
            raise ConfigError(f"The cascade needs a size of at least {SMALLEST_SIDE} pixels, found {long_side}")
        self.least_score = checked_score(least_score)
        self.long_side = long_side
        self._here = threading.local()
        self._cascade()

    def _cascade(self) -> Any:
        """The cascade of this thread."""
        if not hasattr(self._here, "cascade"):
            self._here.cascade = load_cascade()
        return self._here.cascade

    def __call__(self, image: Image) -> Faces:
        """Faces of one picture, best first."""
        sightings = self.sightings(image)
        return distinct_faces(Faces(sightings.face_boxes(), sightings.scores()), least_score=self.least_score)

    def sightings(self, image: Image) -> HaarSightings:
        """Squares that the cascade finds in one picture."""
        height, width = image.shape[:2]
        shrink = max(1.0, max(height, width) / self.long_side)
        columns, rows = max(1, round(width / shrink)), max(1, round(height / shrink))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if shrink > 1:
            grey = cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA)
        # Without neighbours, single windows are returned: one pass gives both their number and their margins.
        windows, _, margins = self._cascade().detectMultiScale3(
            grey, SCALE_STEP, 0, minSize=(SMALLEST_SIDE, SMALLEST_SIDE), outputRejectLevels=True
        )
        seen = np.asarray(windows, np.float64).reshape(-1, 4)
        groups, counts = cv2.groupRectangles(list(seen.astype(int).tolist()), LEAST_SIGHTINGS - 1, GROUPING)
        squares = np.asarray(groups, np.float64).reshape(-1, 4)
        centres = squares[:, :2] + squares[:, 2:] / 2
        distance = np.abs(centres[:, None] - (seen[:, :2] + seen[:, 2:] / 2)[None]).max(axis=-1)
        near = distance < GROUPING * squares[:, 2:3]
        best = np.where(near, np.reshape(margins, (1, -1)), MARGIN_ORIGIN - 1.0)
        return HaarSightings(
            centres=(centres * (width / columns, height / rows)).astype(np.float32),
            sides=(squares[:, 2] * shrink).astype(np.float32),
            counts=np.asarray(counts, np.float32).reshape(-1),
            margins=best.max(axis=1, initial=MARGIN_ORIGIN - 1.0).astype(np.float32),
        )


def distinct_faces(faces: Faces, *, least_score: float) -> Faces:
    """Faces with at least ``least_score``, best first, without second boxes of the same face.

    A box is a second box if it overlaps a better one (``DUPLICATE_OVERLAP``) or one contains the other
    (``NESTED_SHARE``).
    """
    order = np.argsort(-faces.scores, kind="stable")
    order = order[faces.scores[order] >= least_score]
    boxes = faces.boxes[order]
    overlap = box_iou(boxes, boxes)
    areas = box_size(boxes).prod(axis=-1)
    # intersection = iou * (a + b) / (1 + iou), from the definition of iou
    shared = overlap * (areas[:, None] + areas[None]) / (1 + overlap)
    nested = shared / np.maximum(np.minimum(areas[:, None], areas[None]), 1e-6)
    same = (overlap > DUPLICATE_OVERLAP) | (nested > NESTED_SHARE)
    kept: list[int] = []
    for index in range(len(order)):
        if not same[index, kept].any():
            kept.append(index)
    return faces[order[kept]]
