"""Drawn faces: shapes with a pose, and pictures of them with exact labels."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float64

from canthus.data.formats import write_pts
from canthus.data.synthetic_paint import paint_face
from canthus.images import write_image
from canthus.schemes import IBUG_68
from canthus.types import Sample

_DEPTH = 4.0
"""Distance of the eye that looks at the face, in half face widths: perspective as in an ordinary portrait."""


@final
@dataclass(frozen=True)
class FaceShape:
    """What a drawn face does.

    Attributes:
        yaw: turn to the left of the picture, in radians.
        pitch: turn downwards, in radians.
        roll: turn clockwise on the screen, in radians.
        eyes: openness; 0 is shut, 1 wide open.
        mouth: openness; 0 is shut, 1 a yawn.
        smile: -1 sad, 1 a broad smile.
        brows: -1 frowning, 1 raised.
        width: width of the face over that of the mean one.
        length: length of the lower face over that of the mean one.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    eyes: float = 0.6
    mouth: float = 0.1
    smile: float = 0.0
    brows: float = 0.0
    width: float = 1.0
    length: float = 1.0


def random_shape(rng: np.random.Generator) -> FaceShape:
    """A random pose and expression; eyes and mouth are shut now and then."""
    return FaceShape(
        yaw=float(rng.uniform(-0.38, 0.38)),
        pitch=float(rng.uniform(-0.2, 0.25)),
        roll=float(rng.normal(0, 0.15)),
        eyes=0.0 if rng.random() < 0.1 else float(rng.uniform(0.25, 1)),
        mouth=0.0 if rng.random() < 0.4 else float(rng.uniform(0, 1)),
        smile=float(rng.uniform(-0.5, 1)),
        brows=float(rng.uniform(-1, 1)),
        width=float(rng.uniform(0.92, 1.08)),
        length=float(rng.uniform(0.92, 1.1)),
    )


def head_points(shape: FaceShape) -> tuple[Float64[np.ndarray, "68 2"], Float64[np.ndarray, "m 2"]]:
    """Landmarks and the line of the skull, seen from the front.

    Returns:
        The 68 points and the skull from the left ear (point 16) over the top to the right ear (point 0), in half face
        widths about the middle of the face, y down.
    """
    face = np.concatenate(
        [
            _jaw(shape),
            _brow(shape)[::-1] * (-1, 1, 1),
            _brow(shape),
            _nose(),
            _mirrored_eye(_eye(shape)),
            _eye(shape),
            _mouth(shape),
        ]
    )
    turned = (np.arange(1, 16) / 16) * np.pi
    skull = np.stack([np.cos(turned), -0.02 - 1.12 * np.sin(turned), -0.5 + 0.35 * np.sin(turned)], axis=1)
    both = np.concatenate([face, skull])
    both[:, 0] *= shape.width
    below = both[:, 1] > 0
    both[below, 1] *= shape.length
    seen = _project(both, shape)
    return seen[:68], seen[68:]


def _jaw(shape: FaceShape) -> Float64[np.ndarray, "17 3"]:
    t = np.linspace(0, np.pi, 17)
    x, down = -np.cos(t), np.sin(t)
    chin = 1.42 + 0.26 * shape.mouth
    narrowing = 1 - 0.1 * down**2 * (1 - down)
    return np.stack([x * narrowing, -0.02 + chin * down**1.1, -0.5 + 0.65 * down**1.5], axis=1)


def _brow(shape: FaceShape) -> Float64[np.ndarray, "5 3"]:
    """The left brow, from the nose outwards."""
    x = np.array([0.16, 0.29, 0.43, 0.58, 0.71])
    y = np.array([-0.30, -0.38, -0.41, -0.385, -0.29])
    inner = np.array([1.0, 0.7, 0.4, 0.2, 0.1])
    return np.stack([x, y - 0.05 * shape.brows - 0.04 * shape.brows * inner, 0.32 - 0.45 * x**2], axis=1)


def _nose() -> Float64[np.ndarray, "9 3"]:
    bridge = [(0, -0.06, 0.36), (0, 0.11, 0.46), (0, 0.28, 0.57), (0, 0.45, 0.68)]
    below = [(-0.20, 0.58, 0.36), (-0.10, 0.62, 0.45), (0, 0.64, 0.50), (0.10, 0.62, 0.45), (0.20, 0.58, 0.36)]
    return np.array(bridge + below, np.float64)


def _eye(shape: FaceShape) -> Float64[np.ndarray, "6 3"]:
    """The left eye in the order of points 42 to 47: inner corner, upper lid, outer corner, lower lid."""
    up, down = 0.015 + 0.11 * shape.eyes, -0.015 + 0.07 * shape.eyes
    x = np.array([0.24, 0.34, 0.48, 0.59, 0.48, 0.34])
    y = np.array([0.02, -up, -up, -0.01, down, down])
    return np.stack([x, y, 0.30 - 0.4 * x**2], axis=1)


def _mirrored_eye(eye: Float64[np.ndarray, "6 3"]) -> Float64[np.ndarray, "6 3"]:
    """The right eye in the order of points 36 to 41: outer corner, upper lid, inner corner, lower lid."""
    return eye[[3, 2, 1, 0, 5, 4]] * (-1, 1, 1)


def _mouth(shape: FaceShape) -> Float64[np.ndarray, "20 3"]:
    wide = 0.36 + 0.06 * shape.smile - 0.06 * shape.mouth
    corner = 0.95 - 0.07 * shape.smile + 0.08 * shape.mouth
    gap = 0.30 * shape.mouth
    upper = [(-wide, corner), (-0.22, 0.895), (-0.09, 0.855), (0, 0.87), (0.09, 0.855), (0.22, 0.895), (wide, corner)]
    lower = [(0.22, 1.035 + 0.8 * gap), (0.10, 1.075 + gap), (0, 1.085 + gap)]
    lower += [(-x, y) for x, y in lower[1::-1]]
    inner = wide - 0.06
    lips = [(-inner, corner), (-0.13, 0.94), (0, 0.945), (0.13, 0.94), (inner, corner)]
    lips += [(0.13, 0.955 + 0.95 * gap), (0, 0.96 + gap), (-0.13, 0.955 + 0.95 * gap)]
    points = np.array(upper + lower + lips, np.float64)
    sides = np.abs(points[:, 0]) / 0.36
    bent = points[:, 1] - 0.05 * shape.smile * sides**2 * ~np.isin(np.arange(20), [0, 6, 12, 16])
    return np.stack([points[:, 0], bent, 0.42 - 0.16 * sides**2], axis=1)


def _project(points: Float64[np.ndarray, "n 3"], shape: FaceShape) -> Float64[np.ndarray, "n 2"]:
    cos, sin = np.cos([shape.yaw, shape.pitch, shape.roll]), np.sin([shape.yaw, shape.pitch, shape.roll])
    yaw = np.array([[cos[0], 0, -sin[0]], [0, 1, 0], [sin[0], 0, cos[0]]])
    pitch = np.array([[1, 0, 0], [0, cos[1], sin[1]], [0, -sin[1], cos[1]]])
    centre = np.array([0, 0.45, -0.4])
    turned = (points - centre) @ yaw.T @ pitch.T
    flat = turned[:, :2] * (_DEPTH / (_DEPTH - turned[:, 2:]))
    roll = np.array([[cos[2], -sin[2]], [sin[2], cos[2]]])
    return np.asarray(flat @ roll.T)


_PLACES = (
    ("helen/trainset", "{photo}_{face}.jpg"),
    ("lfpw/trainset", "image_{number:04d}.png"),
    ("helen/trainset", "{photo}_{face}.jpg"),
    ("afw", "{photo}_{face}.jpg"),
    ("helen/testset", "{photo}_{face}.jpg"),
    ("helen/trainset", "{photo}_{face}.jpg"),
    ("lfpw/testset", "image_{number:04d}.png"),
    ("lfpw/trainset", "image_{number:04d}.png"),
    ("ibug", "image_{number:03d}_1.jpg"),
    ("helen/trainset", "{photo}_{face}.jpg"),
)
"""Where ten faces in a row go, under names as the published set has them: seven to train on, three to test."""


def draw_face(rng: np.random.Generator, *, size: int = 160, shape: FaceShape | None = None) -> Sample:
    """Draw one face with its 68 points.

    Args:
        rng: decides place, colours, background and, unless given, the shape.
        size: side of the picture in pixels; the face is about half of that.
        shape: pose and expression; random where None.

    Returns:
        The picture and the points, exact to a fraction of a pixel: the drawing is made from them.

    Raises:
        ValueError: ``size`` is below 32 pixels.
    """
    if size < 32:
        raise ValueError(f"expected at least 32 pixels, found {size}")
    points, skull = head_points(random_shape(rng) if shape is None else shape)
    everything = np.concatenate([points, skull])
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = size * rng.uniform(0.52, 0.7) / (high - low).max()
    room = size - scale * (high - low)
    corner = room * rng.uniform(0.25, 0.75, 2)
    points, skull = (scale * (part - low) + corner for part in (points, skull))
    image = paint_face(rng, points, skull, size)
    return Sample(image=image, points=points.astype(np.float32), scheme=IBUG_68)


def write_synthetic_300w(
    folder: str | os.PathLike[str], count: int, rng: np.random.Generator, *, size: int = 160
) -> None:
    """Write drawn faces in the official layout of 300-W, to be read with ``load_dataset("300w", folder, split)``.

    Args:
        folder: made where it is missing.
        count: number of faces; from ten on every public split has some.
        rng: decides everything about the faces.
        size: side of the pictures in pixels.
    """
    for index in range(count):
        place, name = _PLACES[index % len(_PLACES)]
        block = index // len(_PLACES)
        face = 1 + (index % len(_PLACES) == 2)
        photo = 1000000 + block * 10 + (index % len(_PLACES) if face == 1 else 0)
        path = Path(folder) / place / name.format(number=index + 1, photo=photo, face=face)
        sample = draw_face(rng, size=size)
        write_image(path, sample.image)
        write_pts(path.with_suffix(".pts"), sample.points)
