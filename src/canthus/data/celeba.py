"""CelebA: five points a picture, on the original pictures or on the aligned ones.

Layout, each list below the root or in its official folder ``Anno/`` or ``Eval/``, pictures below the root or ``Img/``:

- ``list_landmarks_celeba.txt`` and ``img_celeba/``, or ``list_landmarks_align_celeba.txt`` and ``img_align_celeba/``
  (or ``img_align_celeba_png/``): number of lines, names of columns, then a name and ten numbers a line;
- ``list_eval_partition.txt``: a name and 0 for training, 1 for validation, 2 for test;
- optional ``list_bbox_celeba.txt`` (x, y, width, height) and ``identity_CelebA.txt`` (the person).

Where both sets of pictures are there, the original ones are read.  ``lefteye`` of the columns is on the left of the
picture, so it is the right eye of the scheme ``five``.  Points are whole pixels, read as counted from zero.
Liu et al. (2015), "Deep Learning Face Attributes in the Wild".

The box of a face is that of the scheme ``five``, because official boxes are of the whole head, some are wrong
(``canthus data check`` notes those that do not hold their points), and aligned pictures have none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from canthus.data.datasets import SHOWN, Dataset, Problem, Protocol, Scan, hull_face, read_labels
from canthus.data.formats import finite_numbers, numbered_lines
from canthus.errors import DataError
from canthus.schemes import FIVE
from canthus.types import Annotation

KINDS = (
    ("list_landmarks_celeba.txt", ("img_celeba",)),
    ("list_landmarks_align_celeba.txt", ("img_align_celeba", "img_align_celeba_png")),
)
"""File of points and the folders its pictures may lie in; the first whose both are there is read."""

PARTITION, BOXES, PEOPLE = "list_eval_partition.txt", "list_bbox_celeba.txt", "identity_CelebA.txt"
OFFICIAL = {"train": 162_770, "validation": 19_867, "test": 19_962}

_PARTS = {"0": "train", "1": "validation", "2": "test"}


def _scan_faces(root: Path, parts: Sequence[str]) -> Scan[Annotation]:
    """Read the faces of some parts, and note the official boxes that do not hold their points."""
    labels, folder = _kind(root)
    partition = _list_path(root, PARTITION)
    if not partition.is_file():
        raise DataError(f"{partition}: is not there; expected the official list of CelebA, also in Anno/ or Eval/")
    part_of, person_of = (
        {fields[0]: fields[1] for _, fields in _lines(path) if len(fields) == 2}
        for path in (partition, _list_path(root, PEOPLE))
    )
    files = {path.name for path in folder.iterdir()}
    faces: dict[str, Annotation] = {}
    problems: list[Problem] = []

    def read(fields: list[str]) -> Annotation:
        face = _face(folder, files, part_of, fields)
        if face.key in faces:
            raise DataError(f"a second line for {face.key}")
        person = person_of.get(face.key)
        return face if person is None else replace(face, group=f"person/{person}")

    for face in read_labels(_lines(labels), read, problems):
        faces[face.key] = face
    notes = list(_wrong_boxes(_list_path(root, BOXES), faces)) if labels.name == KINDS[0][0] else []
    if len(notes) > SHOWN:
        notes[SHOWN:] = [f"{len(notes) - SHOWN} more official boxes do not hold their points"]
    return Scan([face for face in faces.values() if face.subset in parts], problems, notes)


def _face(folder: Path, files: set[str], part_of: dict[str, str], fields: list[str]) -> Annotation:
    name = fields[0]
    if len(fields) != 1 + 2 * FIVE.count:
        raise DataError(f"expected a name and {2 * FIVE.count} numbers, found {len(fields)} fields")
    points = finite_numbers(fields[1:]).astype(np.float32).reshape(-1, 2)
    box = FIVE.face_boxes(points)
    if not (box[2:] > box[:2]).all():
        raise DataError(f"expected five finite points that differ, found {' '.join(fields[1:])}")
    part = _PARTS.get(part_of.get(name, ""))
    if part is None:
        raise DataError(f"{PARTITION} does not put {name} into a part (0, 1 or 2)")
    # Aligned pictures also come as PNG, under names that still end in .jpg in the lists.
    file = name if name in files else f"{Path(name).stem}.png"
    if file not in files:
        raise DataError(f"{folder.name}/{name} is not there")
    return replace(hull_face(name, folder / file, points, FIVE, group=name, subset=part), box=box)


def _wrong_boxes(path: Path, faces: dict[str, Annotation]) -> Iterator[str]:
    """Notes on official boxes that do not hold the five points of their face."""
    for where, fields in _lines(path):
        if fields[0] not in faces:
            continue
        try:
            x, y, width, height = (float(text) for text in fields[1:])
        except ValueError:
            yield f"{where}: no box of four numbers; the box is made from the points, as all are"
            continue
        points = faces[fields[0]].points
        if not ((points >= (x, y)).all() and (points <= (x + width, y + height)).all()):
            yield f"{fields[0]}: its official box does not hold its points; the box is made from the points, as all are"


def _kind(root: Path) -> tuple[Path, Path]:
    """The file of points and the folder of pictures it belongs to."""
    for name, folders in KINDS:
        # Some downloads hold a folder of pictures twice, one in the other.
        places = [root / above / name for name in folders for above in (name, f"Img/{name}", "", "Img")]
        pictures = [place for place in places if place.is_dir()]
        path = _list_path(root, name)
        if path.is_file() and pictures:
            return path, pictures[0]
    wanted = " or ".join(f"{name} with {folders[0]}/" for name, folders in KINDS)
    raise DataError(f"{root}: expected {wanted}, below it or in Anno/ and Img/")


def _list_path(root: Path, name: str) -> Path:
    """The place of a list; right below the root where it is missing."""
    return next((path for place in ("", "Anno", "Eval") if (path := root / place / name).is_file()), root / name)


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The place and the fields of each line, without the count and the names of columns; none without the file."""
    if not path.is_file():
        return
    for where, line in numbered_lines(path):
        fields = line.replace(",", " ").split()
        heading = len(fields) == 1 or fields[0] in ("image_id", "lefteye_x")
        if not (heading and int(where.rpartition(":")[2]) <= 2):
            yield where, fields


DATASET = Dataset(
    name="celeba",
    parts={"train": ("train",), "validation": ("validation",), "test": ("test",), "fit": ("train",)},
    scan_faces=_scan_faces,
    scheme=FIVE.name,
    published=OFFICIAL,
    default_splits=("test",),
    protocol=Protocol("nme_ion", "distance of the eyes", "eyes", 0.10),
)
"""``fit`` is another name of ``train``, because ``validation`` has people of its own.

Errors are over the distance of the two eye points, as on its part MAFL; a face has failed at 10 %.
"""
