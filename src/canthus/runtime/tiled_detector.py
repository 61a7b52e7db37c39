"""Small faces of large pictures: look at the whole, then at overlapping tiles in full resolution."""

from collections.abc import Iterator
from typing import final

import numpy as np
from jaxtyping import Float32

from canthus.geometry import Affine, box_size
from canthus.images import halve_image
from canthus.runtime.canthus_detector import merge_faces
from canthus.runtime.detector import Detector
from canthus.types import Faces, Image

OVERLAP = 0.25
"""Least share of its side that a tile has in common with the next."""
CUT = 0.05
"""A face nearer than this to a border with another tile, in longer sides of its box, is taken for cut off."""
SMALLEST_FACE = 16
"""Pixels that a face must have to be found surely."""


@final
class TiledDetector:
    """A detector that also looks at the tiles of pictures larger than it sees at once.

    Faces that the border of a tile cuts off are left to the next tile, whose overlap holds them whole, or to the whole
    picture.  Where the picture is so large that some faces are too large for the overlap and too small in the whole
    picture, tiles of the picture at a quarter of its size (a sixteenth, ...) come between.  One tile is in memory at a
    time.

    Args:
        detector: run on the whole picture and on each tile.
        size: longer side in pixels of what the detector sees at once, and side of the tiles.
    """

    def __init__(self, detector: Detector, *, size: int) -> None:
        self.detector = detector
        self.size = size

    def __call__(self, image: Image) -> Faces:
        """Faces of one picture, best first."""
        found = [self.detector(image)]
        level, shrink = image, 1
        for wanted in _shrinks(max(image.shape[:2]), self.size):
            while shrink < wanted:
                level, shrink = halve_image(level), shrink * 2
            grow = Affine(np.array([[shrink, 0, shrink / 2 - 0.5], [0, shrink, shrink / 2 - 0.5]]))
            found += [faces.moved(grow) for faces in self._in_tiles(level)]
        return merge_faces(found) if len(found) > 1 else found[0]

    def _in_tiles(self, image: Image) -> Iterator[Faces]:
        height, width = image.shape[:2]
        high, wide = min(self.size, height), min(self.size, width)
        for top in tile_starts(height, high):
            for left in tile_starts(width, wide):
                faces = self.detector(image[top : top + high, left : left + wide])
                inner = np.array([left > 0, top > 0, left + wide < width, top + high < height])
                whole = ~_cut_off(faces.boxes, inner, width=wide, height=high)
                shift = Affine(np.array([[1.0, 0, left], [0, 1.0, top]]))
                yield faces.take(np.flatnonzero(whole)).moved(shift)


def tile_starts(side: int, tile: int, *, overlap: float = OVERLAP) -> list[int]:
    """Where tiles begin along a side, evenly from end to end.

    Args:
        side: of the picture, in pixels.
        tile: side of a tile, at most ``side``.
        overlap: least share of a tile that it has in common with the next.
    """
    if side <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    count = 1 + -(-(side - tile) // step)
    return [round(start) for start in np.linspace(0, side - tile, count).tolist()]


def _shrinks(side: int, size: int) -> Iterator[int]:
    """By how much the picture is shrunk before it is cut into tiles: 1, then 4, 16, ... while a gap remains."""
    reach = max(1.0, OVERLAP * size / SMALLEST_FACE)
    shrink = 1
    if side > size:
        yield shrink
    while side / (size * shrink) > reach:
        shrink *= 4
        yield shrink


def _cut_off(boxes: Float32[np.ndarray, "n 4"], inner: np.ndarray, *, width: int, height: int) -> np.ndarray:
    """Whether each box reaches a border of its tile that is ``inner`` (left, top, right, bottom)."""
    room = np.concatenate([boxes[:, :2], np.array([width, height], np.float32) - boxes[:, 2:]], axis=1)
    near = room < CUT * box_size(boxes).max(axis=1, keepdims=True, initial=0.0)
    return np.asarray((near & inner).any(axis=1))
