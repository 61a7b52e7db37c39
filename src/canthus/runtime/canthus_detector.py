"""The face detector of canthus: decode the output of the network and keep one box a face."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np
from jaxtyping import Float32, Int64

from canthus.errors import ConfigError
from canthus.geometry import box_iou, box_size, crop_square, crop_turn
from canthus.images import crop_image, fit_image
from canthus.runtime.sessions import DetectorSession
from canthus.types import Faces, Image

MOST_OVERLAP = 0.45
"""Of two boxes that overlap by more (intersection over union), the one with the lower score is dropped."""
MOST_WITHIN = 0.7
"""When several views of a picture are merged, a face with more than this share inside a better one is dropped."""
MOST_CANDIDATES = 1000
"""Number of boxes, best first, that are compared with each other."""
LOG_SIZES = (-4.0, 10.0)
"""Log sizes are clipped to this range, 0.02 to 22,000 strides, so that every box is finite and has an area."""


def decode(
    outputs: Float32[np.ndarray, "cells 15"], height: int, width: int, strides: Sequence[int], least_score: float
) -> Faces:
    """Decode the output of the network to faces, best first, one box each.

    Cells are in the order of the strides, each a grid of ``height / stride`` rows and ``width / stride`` columns.
    With column i, row j and stride s, the box has its centre at ``((i + 0.5 + dx) s, (j + 0.5 + dy) s)`` in edge
    coordinates and sides ``s exp(log width)``, ``s exp(log height)``; a point lies at ``((i + 0.5 + px) s,
    (j + 0.5 + py) s)`` in edge coordinates, half a pixel less in pixels.

    Scores are compared as logits, so that cells below ``least_score`` cost one comparison.

    Args:
        outputs: output for one picture; a row is the logit of the score, dx, dy, log width, log height, and x and y of
            the five points.
        height: height of the network's input in pixels, a multiple of every stride like its width.
        strides: pixels between the cells of each grid.
        least_score: score threshold in [0, 1].

    Returns:
        Boxes and points in pixels of the network's input; both may reach beyond it.

    Raises:
        ValueError: the number of cells does not match the size and strides.
    """
    counts = [(height // stride) * (width // stride) for stride in strides]
    if len(outputs) != sum(counts):
        raise ValueError(
            f"Expected {sum(counts)} cells of a {width} x {height} input with strides {', '.join(map(str, strides))}; "
            f"found {len(outputs)}"
        )
    logits = outputs[:, 0]
    chosen = np.flatnonzero(logits >= _logit(least_score))
    chosen = chosen[np.argsort(-logits[chosen], kind="stable")[:MOST_CANDIDATES]]
    rows = outputs[chosen]
    cells, sizes = _cells(chosen, counts, width, strides)
    centres = (cells + 0.5 + rows[:, 1:3]) * sizes
    halves = np.exp(np.clip(rows[:, 3:5], *LOG_SIZES)) * (sizes / 2)
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    kept = distinct_boxes(boxes)
    points = (cells[kept, None] + 0.5 + rows[kept, 5:].reshape(-1, 5, 2)) * sizes[kept, None] - 0.5
    scores = 1 / (1 + np.exp(-np.clip(rows[kept, 0], -80, None)))
    return Faces(boxes[kept].astype(np.float32), scores.astype(np.float32), points.astype(np.float32))


def distinct_boxes(
    boxes: Float32[np.ndarray, "n 4"], *, most_overlap: float = MOST_OVERLAP, most_within: float = 1.0
) -> Int64[np.ndarray, " kept"]:
    """Greedy non-maximum suppression: keep the best box, drop the boxes that overlap it too much, repeat.

    Args:
        boxes: best first.
        most_overlap: largest intersection over union of two kept boxes.
        most_within: largest share of the area of a kept box inside a better box; 1 turns this rule off.

    Returns:
        Indices of the kept boxes, ascending.
    """
    # One row a coordinate, so that the loop over kept boxes works on contiguous memory.
    x1, y1, x2, y2 = columns = np.ascontiguousarray(boxes.T)
    table = np.concatenate([columns, [np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)]])
    left = np.arange(len(boxes))
    kept: list[int] = []
    while len(left):
        kept.append(int(left[0]))
        best, table, left = table[:, :1], table[:, 1:], left[1:]
        if len(left) == 0:
            break
        side_x = np.minimum(table[2], best[2]) - np.maximum(table[0], best[0])
        side_y = np.minimum(table[3], best[3]) - np.maximum(table[1], best[1])
        shared = np.maximum(side_x, 0) * np.maximum(side_y, 0)
        apart = shared <= most_overlap * (table[4] + best[4] - shared)
        if most_within < 1:
            apart &= shared <= most_within * table[4]
        if not apart.all():
            table, left = table[:, apart], left[apart]
    return np.array(kept, np.int64)


def merge_faces(found: Sequence[Faces]) -> Faces:
    """Merge the faces of several views of a picture, best first; with points only if every part has them."""
    points = [faces.points for faces in found if faces.points is not None]
    joined = Faces(
        np.concatenate([faces.boxes for faces in found]),
        np.concatenate([faces.scores for faces in found]),
        np.concatenate(points) if len(points) == len(found) else None,
    )
    ranked = joined[np.argsort(-joined.scores, kind="stable")]
    return ranked[distinct_boxes(ranked.boxes, most_within=MOST_WITHIN)]


def _cells(
    chosen: Int64[np.ndarray, " n"], counts: Sequence[int], width: int, strides: Sequence[int]
) -> tuple[Float32[np.ndarray, "n 2"], Float32[np.ndarray, "n 1"]]:
    """Column and row of each cell in its grid, and the stride of the grid."""
    ends = np.cumsum(counts)
    grid = np.searchsorted(ends, chosen, side="right")
    place = chosen - (ends - counts)[grid]
    columns = np.array([width // stride for stride in strides])[grid]
    cells = np.stack([place % columns, place // columns], axis=1).astype(np.float32)
    return cells, np.array(strides, np.float32)[grid][:, None]


def checked_score(score: float) -> float:
    """The score threshold itself.

    Raises:
        ConfigError: it is outside [0, 1].
    """
    if not 0 <= score <= 1:
        raise ConfigError(f"Expected a least score from 0 to 1, found {score:g}")
    return score


def _logit(score: float) -> float:
    """Logit of a score; minus infinity at 0 and infinity at 1."""
    if score <= 0:
        return -math.inf
    return math.inf if score >= 1 else math.log(score / (1 - score))


def _chance(odds: float) -> float:
    """Score of log odds, the inverse of ``_logit``."""
    return 0.5 * (1 + math.tanh(odds / 2))


SECOND_LOOK = 0.3
"""Size of the second view of a picture, as a share of the first."""
NEEDS_SECOND = 400
"""Longer side in pixels from which a picture may show faces larger than those of the training."""
LARGEST = 240
"""Faces with a longer side above this, in pixels of the first view, are left to the second."""
SMALLEST = 48
"""Faces with a longer side below this, in pixels of the second view, are left to the first."""
DOUBTED = (0.3, 0.8)
"""Least score of faces that get a closer look, and least score of those that need none."""
MOST_DOUBTED = 32
"""Faces of a picture, best first, that get a closer look, so that no crowd takes much longer."""
CLOSE_SIDE = 6.0
"""Side of a closer look, in longer sides of the face box."""
CLOSE_SIZE = 256
"""Side in pixels of a closer look, in which the face has 43 pixels."""
SAME_FACE = 0.35
"""Least overlap (intersection over union) of the boxes of one face in both looks."""


@final
class CanthusDetector:
    """Find faces with a detector network.

    The network finds faces of about 8 to 250 pixels.  Larger faces are found in a second view at 0.3 of the size, which
    costs a tenth of the first.  The second view also prevents parts of a large face from being taken for small faces.

    A face whose score lies within ``DOUBTED`` gets a closer look, which shows it with 43 pixels, and its surroundings,
    turned upright by its five points (``crop_turn``).  Its log odds are the mean of both looks, and its score stays at
    least the lower one of ``DOUBTED``, from which on the landmarks judge it.  Boxes of the closer look that are too
    faint to lift the score above that one are not decoded.

    Args:
        session: the network.
        size: longer side in pixels to which a picture is resized; by default that of the card.  A smaller size is
            faster and misses small faces.  Pictures are enlarged at most twice.
        least_score: score threshold; by default that of the card.

    Raises:
        ConfigError: the size is below the largest stride, or the score is outside [0, 1].
    """

    def __init__(self, session: DetectorSession, *, size: int | None = None, least_score: float | None = None) -> None:
        self.session = session
        self.size = session.card.size if size is None else size
        self.least_score = checked_score(session.card.score if least_score is None else least_score)
        self._multiple = max(session.card.strides)
        if self.size < self._multiple:
            raise ConfigError(f"The detector needs a size of at least {self._multiple} pixels, found {self.size}")

    def __call__(self, image: Image) -> Faces:
        """Faces of one picture with their five points, best first."""
        faces = self._closer(image, self._views(image))
        return faces[faces.scores >= self.least_score]

    def _views(self, image: Image) -> Faces:
        """Faces of the whole picture and of its smaller view, from the lower of the two thresholds on."""
        found, longer = self._look(image, self.size)
        if longer < NEEDS_SECOND:
            return found[0]
        small = found[0][found[1] <= LARGEST]
        (faces, sides), _ = self._look(image, max(self._multiple, round(SECOND_LOOK * longer)))
        return merge_faces([small, faces[sides >= SMALLEST]])

    def _closer(self, image: Image, faces: Faces) -> Faces:
        """The faces after a closer look at the doubted ones, best first."""
        least, sure = DOUBTED
        doubted = np.flatnonzero((faces.scores >= least) & (faces.scores < sure))[:MOST_DOUBTED]
        if not len(doubted):
            return faces
        side = -(-CLOSE_SIZE // self._multiple) * self._multiple
        turns = np.zeros(len(doubted)) if faces.points is None else crop_turn(faces.points[doubted])
        squares, sides = crop_square(faces.boxes[doubted], CLOSE_SIDE), box_size(faces.boxes[doubted])
        views = [
            crop_image(image, square, side, turn=float(turn))[0] for square, turn in zip(squares, turns, strict=True)
        ]
        halves = sides / sides.max(axis=1, keepdims=True) * (side / CLOSE_SIDE / 2)
        expected = np.concatenate([side / 2 - halves, side / 2 + halves], axis=1).astype(np.float32)
        scores = faces.scores.copy()
        for index, box, outputs in zip(doubted, expected, self.session(np.stack(views)), strict=True):
            odds = _logit(float(scores[index]))
            near = decode(outputs, side, side, self.session.card.strides, _chance(2 * _logit(least) - odds))
            same = near.scores[box_iou(box[None], near.boxes)[0] > SAME_FACE]
            scores[index] = max(least, _chance((odds + _logit(float(same.max()))) / 2)) if len(same) else least
        return replace(faces, scores=scores)[np.argsort(-scores, kind="stable")]

    def _look(self, image: Image, size: int) -> tuple[tuple[Faces, Float32[np.ndarray, " n"]], int]:
        """Faces, their longer sides in pixels of the network's input, and the longer side of that input."""
        canvas, to_picture = fit_image(image, size, multiple=self._multiple)
        height, width = canvas.shape[:2]
        outputs = self.session(canvas[None])[0]
        least = min(self.least_score, DOUBTED[0])
        faces = decode(outputs, height, width, self.session.card.strides, least)
        return (faces.moved(to_picture), box_size(faces.boxes).max(axis=1, initial=0)), max(height, width)
