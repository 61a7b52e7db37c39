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
from canthus.geometry import BoxHabit, box_size
from canthus.schemes import FIVE, WILD_21, convert
from canthus.types import Annotation, Scene

PARTS = ("I", "II")
LABELS = "label.txt"

HABIT = BoxHabit(centre=(-0.002, 0.017), size=(0.980, 0.976))
"""From a rectangle to the face box of a face whose nose is in the middle of its eyes and corners of the mouth."""
NOSE = (-1.71, -0.42)
"""Rectangles are squares about the features, and the nose lies on the side that a head is turned to, the hull on the
other: how far the centre of the face box moves for a nose off the middle, right and down, both in sides of the box.

Fitted to 1,216 faces of 60 px and more (``benchmarks/fit_box_habits.py``).  What remains of the centre has a sigma of
0.027 and 0.029 in widths and heights of the rectangle (0.082 and 0.039 without ``NOSE``), of the size 0.08."""

_FIELDS = 1 + 4 + 2 * WILD_21.count


@final
@dataclass(frozen=True)
class LabelledFace:
    """One line of the labels."""

    part: str
    picture: str
    box: Float32[np.ndarray, " 4"]
    points: Float32[np.ndarray, "21 2"]


def _scan_faces(root: Path, parts: Sequence[str]) -> Scan[Annotation]:
    """Read every line of some parts."""
    lines, problems = read_faces(root, parts)
    faces = []
    for line in lines:
        name = line.picture
        face = hull_face(name, root / name, line.points, WILD_21, group=name, subset=line.part)
        faces.append(replace(face, box=face_boxes(line.box, convert(line.points, WILD_21, FIVE))))
    return Scan(faces, problems)


def _scan_scenes(root: Path, parts: Sequence[str]) -> Scan[Scene]:
    """Read every picture of some parts with its faces."""
    lines, problems = read_faces(root, parts)
    by_picture: dict[str, list[LabelledFace]] = {}
    for line in lines:
        by_picture.setdefault(line.picture, []).append(line)
    return Scan([_scene(root, faces) for faces in by_picture.values()], problems)


def _scene(root: Path, faces: Sequence[LabelledFace]) -> Scene:
    """The faces of one picture.  Their boxes are face boxes, because ``BoxHabit`` knows of no turn of the head."""
    picture, points = faces[0].picture, convert(np.stack([face.points for face in faces]), WILD_21, FIVE)
    boxes = face_boxes(np.stack([face.box for face in faces]), points)
    return boxes_scene(picture, root / picture, boxes, BoxHabit(), group=picture, subset=faces[0].part, points=points)


def face_boxes(own: Float32[np.ndarray, "*n 4"], five: Float32[np.ndarray, "*n 5 2"]) -> Float32[np.ndarray, "*n 4"]:
    """Face boxes of rectangles and the five points in them."""
    shift = box_size(own) * (HABIT.centre + np.array(NOSE) * nose_offset(own, five))
    boxes = BoxHabit(size=HABIT.size).face_boxes(own) + np.concatenate([shift, shift], axis=-1)
    return np.asarray(boxes, np.float32)


def nose_offset(own: Float32[np.ndarray, "*n 4"], five: Float32[np.ndarray, "*n 5 2"]) -> Float32[np.ndarray, "*n 2"]:
    """How far the nose lies right of and below the mean of the eyes and corners of the mouth, in sides of the box."""
    return np.asarray((five[..., 2, :] - five[..., [0, 1, 3, 4], :].mean(axis=-2)) / box_size(own), np.float32)


def read_faces(root: Path, parts: Iterable[str]) -> tuple[list[LabelledFace], list[Problem]]:
    """Every line of the label files as a face, with its rectangle, or as a problem."""
    faces: list[LabelledFace] = []
    problems: list[Problem] = []
    for part in parts:
        name = f"{part}/{LABELS}"
        lines = numbered_lines(root / name, f"{name} of wild21 below {root}", name=name)
        faces += read_labels(lines, partial(_face, root, part), problems)
    return faces, problems


def _face(root: Path, part: str, line: str) -> LabelledFace:
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
    return LabelledFace(part, picture, box, points)


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
