"""CelebA-HQ: 30,000 pictures of one face each, with a file of points that a landmark network made.

Layout: pictures ``0.jpg`` to ``29999.jpg`` (or ``.png``, with or without leading zeros) in ``CelebA-HQ-img``, and
beside that folder ``points.csv`` or ``points.txt``: one line a picture, its name and 136 numbers x0 y0 ... x67 y67 in
pixels counted from zero, separated by commas or blanks.  ``canthus data label`` writes such a file; the set itself has
no points.

The MobileNet-L paper (2025) divides the pictures 29,500 / 200 / 300 and does not say which are which; here the parts
follow the numbers.  ``celeba_hq_whole`` is the same set with the whole picture as the box of its face, as that paper
feeds its network; train with ``margin = 1.0``, and use the model with ``--detector none``.  Karras et al. (2018),
"Progressive Growing of GANs".
"""

import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from canthus.data.datasets import Dataset, Problem, Scan, hull_face, read_labels
from canthus.data.formats import finite_numbers, numbered_lines
from canthus.errors import DataError
from canthus.image_files import picture_sides
from canthus.schemes import IBUG_68
from canthus.types import Annotation

IMAGES = "CelebA-HQ-img"
POINT_FILES = ("points.csv", "points.txt")
HEADER = 1 << 16
"""Bytes of a picture file in which its sides are looked for."""
PARTS = {"train": range(29_500), "validation": range(29_500, 29_700), "test": range(29_700, 30_000)}
"""Part -> numbers of its pictures."""


def _scan_faces(root: Path, parts: Sequence[str]) -> Scan[Annotation]:
    """Read the faces of some parts."""
    problems: list[Problem] = []
    path = next((path for name in POINT_FILES if (path := root / name).is_file()), None)
    if path is None:
        raise DataError(
            f"{root}: expected {' or '.join(POINT_FILES)} beside {IMAGES}; CelebA-HQ has no points of its own, "
            f"'canthus data label {root / IMAGES} --out {root / POINT_FILES[0]}' makes them"
        )
    rows = [(where, line.replace(",", " ").split()) for where, line in numbered_lines(path)]
    if rows and rows[0][1][0] == "image":  # the names of the columns
        del rows[0]
    faces = read_labels(rows, partial(_face, root / IMAGES, set()), problems)
    return Scan([face for face in faces if face.subset in parts], problems)


def _scan_whole(root: Path, parts: Sequence[str]) -> Scan[Annotation]:
    """The same faces, each with the whole picture as its box."""
    found = _scan_faces(root, parts)
    return replace(found, items=[_in_whole_picture(face) for face in found.items])


def _in_whole_picture(face: Annotation) -> Annotation:
    with face.path.open("rb") as file:
        start = file.read(HEADER)
    try:
        sides = picture_sides(start)
    except (struct.error, IndexError):
        sides = None
    # A picture without a header cannot be opened, which whoever opens it tells.
    return face if sides is None else replace(face, box=np.array([0, 0, *sides], np.float32))


def _face(images: Path, keys: set[str], fields: list[str]) -> Annotation:
    name = Path(fields[0]).name
    stem = Path(name).stem
    if len(fields) != 1 + 2 * IBUG_68.count or not stem.isdigit():
        raise DataError(
            f"expected a number as the picture's name and {2 * IBUG_68.count} coordinates, found {name!r} and "
            f"{len(fields) - 1} fields"
        )
    part = next((part for part, numbers in PARTS.items() if int(stem) in numbers), None)
    if part is None:
        raise DataError(f"CelebA-HQ ends at 29999, found {name}")
    points = finite_numbers(fields[1:]).astype(np.float32).reshape(-1, 2)
    path = next((path for suffix in (".jpg", ".png") if (path := images / f"{stem}{suffix}").is_file()), None)
    if path is None:
        raise DataError(f"{IMAGES}/{name} is not there")
    key = f"{int(stem):05d}"
    if key in keys:
        raise DataError(f"a second line for {key}")
    keys.add(key)
    return hull_face(key, path, points, IBUG_68, group=key, subset=part)


DATASET = Dataset(
    name="celeba_hq",
    parts={"train": ("train",), "validation": ("validation",), "test": ("test",), "fit": ("train",)},
    scan_faces=_scan_faces,
    scheme=IBUG_68.name,
    published={part: len(numbers) for part, numbers in PARTS.items()},
)
WHOLE = replace(DATASET, name="celeba_hq_whole", scan_faces=_scan_whole)
"""``fit`` is another name of ``train``, because ``validation`` has pictures of its own."""
