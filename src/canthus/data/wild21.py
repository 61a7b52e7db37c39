"""wild21: phone photos with face rectangles and 21 points, several faces a photo.

Layout: the folders ``I`` and ``II``, each with its pictures and a ``label.txt``.  A line is the name of a picture and
46 numbers: the rectangle x1 y1 x2 y2 and 21 pairs x y.  Several faces of one picture are several lines.  Rectangles
and points may reach beyond the picture.

Coordinates count from zero: 0.0 occurs, and over 1,205 faces and their mirrored pictures the points lie 0.28 px
(median) to the right of those of a model; counted from one, they would lie a whole pixel of the unscaled picture to
the right.  The pictures were scaled down to about half with whole pixels of the original scaled along, which explains a
quarter of a pixel.  This quarter is not corrected, because the original sizes are not in the files.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32

from canthus.data.datasets import NO_PICTURE, Dataset, LabelError, Problem, Scan, boxes_scene, hull_face, read_labels
from canthus.data.formats import finite_numbers, numbered_lines
from canthus.errors import DataError
from canthus.geometry import BoxHabit
from canthus.schemes import FIVE, WILD_21, convert
from canthus.types import Annotation, Scene

PARTS = ("I", "II")
LABELS = "label.txt"

HABIT = BoxHabit(centre=(-0.009, 0.009), size=(0.977, 0.973))
"""Medians over 1,205 faces of 60 px and more; sigma of the centre 0.083 and 0.038 in widths and heights of the
rectangle, of the size 0.085 and 0.076 (``benchmarks/fit_box_habits.py``).  Rectangles are squares about the features:
the hull of a face turned aside lies up to 0.2 widths off, towards the ear that is seen."""

_FIELDS = 1 + 4 + 2 * WILD_21.count


@final
@dataclass(frozen=True)
class _Face:
    part: str
    picture: str
    box: Float32[np.ndarray, " 4"]
    points: Float32[np.ndarray, "21 2"]


def _scan_faces(root: Path, parts: Sequence[str]) -> Scan[Annotation]:
    """Read every line of some parts; the box of a face is the face box that ``HABIT`` leads to."""
    lines, problems = _lines(root, parts)
    faces = []
    for line in lines:
        name = line.picture
        face = hull_face(name, root / name, line.points, WILD_21, group=name, subset=line.part)
        faces.append(replace(face, box=HABIT.face_boxes(line.box)))
    return Scan(faces, problems)


def _scan_scenes(root: Path, parts: Sequence[str]) -> Scan[Scene]:
    """Read every picture of some parts with its faces."""
    lines, problems = _lines(root, parts)
    by_picture: dict[str, list[_Face]] = {}
    for line in lines:
        by_picture.setdefault(line.picture, []).append(line)
    return Scan([_scene(root, faces) for faces in by_picture.values()], problems)


def _scene(root: Path, faces: Sequence[_Face]) -> Scene:
    picture, boxes = faces[0].picture, np.stack([face.box for face in faces])
    points = convert(np.stack([face.points for face in faces]), WILD_21, FIVE)
    return boxes_scene(picture, root / picture, boxes, HABIT, group=picture, subset=faces[0].part, points=points)


def _lines(root: Path, parts: Iterable[str]) -> tuple[list[_Face], list[Problem]]:
    """Every line of the label files as a face or as a problem."""
    faces: list[_Face] = []
    problems: list[Problem] = []
    for part in parts:
        name = f"{part}/{LABELS}"
        lines = numbered_lines(root / name, f"{name} of wild21 below {root}", name=name)
        faces += read_labels(lines, partial(_face, root, part), problems)
    return faces, problems


def _face(root: Path, part: str, line: str) -> _Face:
    fields = line.split()
    if len(fields) != _FIELDS:
        raise DataError(f"expected {_FIELDS} fields (name, rectangle, 21 pairs x y), found {len(fields)}")
    numbers = finite_numbers(fields[1:]).astype(np.float32)
    box, points = numbers[:4], numbers[4:].reshape(-1, 2)
    if not (box[:2] < box[2:]).all():
        raise DataError(f"expected a rectangle x1 y1 x2 y2 with x1 < x2 and y1 < y2, found {' '.join(fields[1:5])}")
    picture = f"{part}/{fields[0]}"
    if not (root / picture).is_file():
        raise LabelError(f"{picture} is not there", kind=NO_PICTURE)
    return _Face(part, picture, box, points)


DATASET = Dataset(
    name="wild21",
    parts={"train": ("I",), "test": ("II",), "all": PARTS, "fit": ("I",), "validation": ("I",)},
    scan_faces=_scan_faces,
    scan_scenes=_scan_scenes,
    scheme=WILD_21.name,
    published={"I": 1593, "II": 1193},
    is_there=lambda root, part: (root / part / LABELS).is_file(),
    default_scene_split="test",
)
