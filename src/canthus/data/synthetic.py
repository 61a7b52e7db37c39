"""Drawn faces with exact landmarks, for tests and demonstrations: no photo, no licence, no download."""

import os
from pathlib import Path

import numpy as np

from canthus.data.pts import write_pts
from canthus.data.synthetic_paint import paint_face
from canthus.data.synthetic_shape import FaceShape, head_points, random_shape
from canthus.images import write_image
from canthus.schemes import IBUG_68
from canthus.types import Sample

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
