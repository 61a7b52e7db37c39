"""Points, boxes and affine maps between pixel frames.

x points right and y down, and the *centre* of the top-left pixel is (0, 0).  A box is ``x1, y1, x2, y2``, half-open
like a slice: the box of a whole ``w x h`` picture is ``0, 0, w, h``.  A pixel extends half a unit around its centre, so
a point ``p`` lies at ``p + 0.5`` in the edge coordinates of boxes.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Shaped

FAR = 1e7
"""No picture is as wide; coordinates as large are mistakes, and float32 would lose their pixels."""


@final
@dataclass(frozen=True)
class Affine:
    """Affine map between two pixel frames: ``q = matrix[:, :2] p + matrix[:, 2]``."""

    matrix: Float64[np.ndarray, "2 3"]

    @staticmethod
    def identity() -> "Affine":
        """Return the identity map."""
        return Affine(np.eye(2, 3))

    @staticmethod
    def flip(width: int) -> "Affine":
        """Mirror a picture of ``width`` pixels left to right: ``x -> width - 1 - x``."""
        return Affine(np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]]))

    @staticmethod
    def crop(square: Shaped[np.ndarray, " 4"], size: int) -> "Affine":
        """Map the box ``square`` (edge coordinates) onto a ``size x size`` picture."""
        x1, y1, x2, y2 = (float(v) for v in square)
        sx, sy = size / (x2 - x1), size / (y2 - y1)
        return Affine(np.array([[sx, 0.0, (0.5 - x1) * sx - 0.5], [0.0, sy, (0.5 - y1) * sy - 0.5]]))

    @staticmethod
    def turned_crop(square: Shaped[np.ndarray, " 4"], size: int, turn: float) -> "Affine":
        """Map a square that is turned by ``turn`` radians about the centre of ``square`` onto an upright picture.

        ``turn`` is clockwise on the screen, as in ``face_turn``; with 0 it is the map of ``crop``.
        """
        crop = Affine.crop(square, size)
        if turn == 0:
            return crop
        x1, y1, x2, y2 = (float(v) for v in square)
        return Affine.about(((x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2), angle=-turn).then(crop)

    @staticmethod
    def about(
        centre: tuple[float, float], *, angle: float = 0.0, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)
    ) -> "Affine":
        """Rotate by ``angle`` radians (clockwise on the screen) and scale about ``centre``, then shift."""
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        x, y = centre
        offset = x - cos * x + sin * y + shift[0], y - sin * x - cos * y + shift[1]
        return Affine(np.array([[cos, -sin, offset[0]], [sin, cos, offset[1]]]))

    def apply(self, points: Float[np.ndarray, "*n 2"]) -> Float32[np.ndarray, "*n 2"]:
        """Map points."""
        moved = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        return np.asarray(moved, dtype=np.float32)

    def inverse(self) -> "Affine":
        """Return the inverse map.

        Raises:
            ValueError: the map is singular.
        """
        (a, b, x), (c, d, y) = self.matrix.tolist()
        determinant = a * d - b * c
        if abs(determinant) < 1e-12:
            raise ValueError("This affine map is singular and cannot be inverted")
        # For a 2 x 2 matrix this is ten times faster than numpy.linalg, and it runs once per face.
        a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
        return Affine(np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y]]))

    def then(self, following: "Affine") -> "Affine":
        """Return the map that applies this one first and ``following`` second."""
        linear = following.matrix[:, :2] @ self.matrix[:, :2]
        offset = following.matrix[:, :2] @ self.matrix[:, 2] + following.matrix[:, 2]
        return Affine(np.hstack([linear, offset[:, None]]))


def hull_box(points: Float[np.ndarray, "*n k 2"]) -> Float32[np.ndarray, "*n 4"]:
    """Smallest box around each set of points, without NaN points."""
    low = np.fmin.reduce(points, axis=-2) + 0.5  # a tenth of the time of np.nanmin, which counts for each video frame
    high = np.fmax.reduce(points, axis=-2) + 0.5
    return np.concatenate([low, high], axis=-1).astype(np.float32)


def box_size(boxes: Float[np.ndarray, "*n 4"]) -> Float32[np.ndarray, "*n 2"]:
    """Width and height of each box."""
    return np.asarray(boxes[..., 2:] - boxes[..., :2], dtype=np.float32)


def outside(boxes: Float[np.ndarray, "*n 4"], width: int, height: int) -> Bool[np.ndarray, "*n"]:
    """Whether a box shares no area with a picture of this size in pixels; False for boxes with NaN."""
    x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)
    return np.asarray((x2 <= 0) | (y2 <= 0) | (x1 >= width) | (y1 >= height))


FIVE_FACE = np.array([[-0.787, -0.847], [0.787, -0.847], [0, 0.036], [-0.69, 0.829], [0.69, 0.829]]) @ [1, 1j]
"""The mean upright face of the scheme ``five`` (``canthus.data.mean_faces``), x + iy."""


def face_turn(five: Float[np.ndarray, "*n 5 2"]) -> Float64[np.ndarray, "*n"]:
    """How far each face is turned in the picture, by its five points: radians, clockwise on the screen, 0 if upright.

    It is the rotation of the mean face that, with a scale and a shift, fits the points best.  A face with an unknown
    point (not finite) counts as upright.
    """
    known = np.isfinite(five).all(axis=(-2, -1), keepdims=True)
    places = np.where(known, five, np.float64(0)) @ np.array([1, 1j])
    return np.asarray(np.angle((places - places.mean(axis=-1, keepdims=True)) @ FIVE_FACE.conj()), np.float64)


TURNED = math.radians(30)
"""Least turn of a face whose crop is turned upright.  The networks were trained on faces turned by up to 30 degrees."""


def crop_turn(five: Float[np.ndarray, "*n 5 2"]) -> Float32[np.ndarray, "*n"]:
    """By how many radians the crop of each face is turned upright: ``face_turn`` above ``TURNED``, else 0."""
    turn = face_turn(five)
    return np.where(np.abs(turn) > TURNED, turn, 0.0).astype(np.float32)


def crop_square(box: Float[np.ndarray, "*n 4"], margin: float) -> Float32[np.ndarray, "*n 4"]:
    """Square with the centre of a box and ``margin`` times its longer side."""
    centre = (box[..., :2] + box[..., 2:]) / 2
    half = margin * (box[..., 2:] - box[..., :2]).max(axis=-1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=-1).astype(np.float32)


def shared_areas(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Area that the two boxes of each pair share."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=-1))


def box_iou(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"]) -> Float32[np.ndarray, "n m"]:
    """Intersection over union of each pair of boxes; 0 if both are empty."""
    overlap = shared_areas(a, b)
    areas = [np.clip(x[:, 2:] - x[:, :2], 0, None).prod(axis=-1) for x in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - overlap
    ratio = np.divide(overlap, union, out=np.zeros_like(union), where=union > 0)
    return np.asarray(ratio, dtype=np.float32)


@final
@dataclass(frozen=True)
class BoxHabit:
    """Relation between the own boxes of a dataset or detector and face boxes (``docs/coordinates.md``).

    Attributes:
        centre: centre of the face box minus centre of the own box, in units of the own width and height.
        size: width and height of the face box, in units of the own width and height.
    """

    centre: tuple[float, float] = (0.0, 0.0)
    size: tuple[float, float] = (1.0, 1.0)

    def face_boxes(self, own: Float[np.ndarray, "*n 4"]) -> Float32[np.ndarray, "*n 4"]:
        """Convert own boxes to face boxes."""
        side = box_size(own)
        middle = (own[..., :2] + own[..., 2:]) / 2 + side * np.array(self.centre, np.float32)
        half = side * np.array(self.size, np.float32) / 2
        return np.concatenate([middle - half, middle + half], axis=-1).astype(np.float32)

    def own_boxes(self, faces: Float[np.ndarray, "*n 4"]) -> Float32[np.ndarray, "*n 4"]:
        """Convert face boxes to own boxes, the inverse of ``face_boxes``."""
        side = box_size(faces) / np.array(self.size, np.float32)
        middle = (faces[..., :2] + faces[..., 2:]) / 2 - side * np.array(self.centre, np.float32)
        return np.concatenate([middle - side / 2, middle + side / 2], axis=-1).astype(np.float32)


def unit_to_pixels(unit: Float[np.ndarray, "*n 2"], size: int) -> Float32[np.ndarray, "*n 2"]:
    """Convert from the unit frame of the networks, ``(x + 0.5) / size``, to pixels of the crop."""
    return (unit * size - 0.5).astype(np.float32)


def pixels_to_unit(points: Float[np.ndarray, "*n 2"], size: int) -> Float32[np.ndarray, "*n 2"]:
    """Convert from pixels of the crop to the unit frame of the networks, ``(x + 0.5) / size``."""
    return ((points + 0.5) / size).astype(np.float32)
