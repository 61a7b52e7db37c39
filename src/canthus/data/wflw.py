"""WFLW: 98 points and six yes/no attributes a face, in the official lists.

Layout: the lists ``list_98pt_rect_attr_train.txt`` and ``list_98pt_rect_attr_test.txt`` in
``WFLW_annotations/list_98pt_rect_attr_train_test/`` beside the pictures in ``WFLW_images/``.  A line has 207 fields:
196 coordinates counted from zero, the rectangle x1 y1 x2 y2, pose, expression, illumination, make-up, occlusion, blur,
and the path of the picture.  Several faces of one picture are several lines.
Wu et al. (2018), "Look at Boundary: A Boundary-Aware Face Alignment Algorithm".

The box of a face is the hull of its points, as in the other sets; the rectangle of the line is checked and not used.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from canthus.data.datasets import NO_PICTURE, Dataset, LabelError, Problem, Scan, hull_face, read_labels
from canthus.data.formats import finite_numbers, numbered_lines
from canthus.errors import DataError
from canthus.schemes import WFLW_98
from canthus.types import Annotation

IMAGES = "WFLW_images"
LISTS = {"train": "list_98pt_rect_attr_train.txt", "test": "list_98pt_rect_attr_test.txt"}

ATTRIBUTES = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")
"""In the order of the fields of a line; each is 1 where it applies."""

FIELDS = 207
_POINTS = 2 * WFLW_98.count
_RECT = 4
_FOLDER = "list_98pt_rect_attr_train_test"


def list_path(root: Path, part: str) -> Path:
    """The list of a part: in its official folder, or moved up to one of the folders above."""
    places = [root / "WFLW_annotations" / _FOLDER, root / _FOLDER, root / "WFLW_annotations", root]
    return next((path for place in places if (path := place / LISTS[part]).is_file()), places[0] / LISTS[part])


def _scan_faces(root: Path, parts: Sequence[str]) -> Scan[Annotation]:
    """Read every line of some lists."""
    faces: list[Annotation] = []
    problems: list[Problem] = []
    for part in parts:
        lines = numbered_lines(list_path(root, part), f"the official list of WFLW below {root}")
        faces += read_labels(lines, partial(_face, root / IMAGES, part), problems)
    return Scan(faces, problems)


def _face(images: Path, part: str, line: str) -> Annotation:
    fields = line.split(maxsplit=FIELDS - 1)  # the path comes last, and may hold spaces
    if len(fields) != FIELDS:
        raise DataError(
            f"expected {FIELDS} fields, found {len(fields)}; is this the list with rectangles and attributes "
            f"({LISTS[part]})?"
        )
    numbers = finite_numbers(fields[: _POINTS + _RECT])
    flags, name = fields[_POINTS + _RECT : -1], fields[-1]
    if any(flag not in ("0", "1") for flag in flags):
        raise DataError(f"expected six attributes of 0 or 1, found {' '.join(flags)}")
    if not (images / name).is_file():
        raise LabelError(f"{IMAGES}/{name} is not there", kind=NO_PICTURE)
    points = numbers[:_POINTS].reshape(-1, 2).astype(np.float32)
    attributes = {attribute: flag == "1" for attribute, flag in zip(ATTRIBUTES, flags, strict=True)}
    key = f"{part}/{name}"
    return hull_face(key, images / name, points, WFLW_98, group=name, subset=part, attributes=attributes)


DATASET = Dataset(
    name="wflw",
    parts={
        "train": ("train",),
        "test": ("test",),
        "fit": ("train",),
        "validation": ("train",),
        **dict.fromkeys(ATTRIBUTES, ("test",)),
    },
    scan_faces=_scan_faces,
    faces_as_scenes=True,
    scheme=WFLW_98.name,
    published={"train": 7500, "test": 2500},
    is_there=lambda root, part: list_path(root, part).is_file(),
    default_scene_split="test",
)
