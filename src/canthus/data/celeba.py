"""CelebA: five points a picture, on the pictures as they were found or on the aligned ones.

Layout, each list below the root or in its official folder ``Anno/`` or ``Eval/``, pictures below the root or ``Img/``:

- ``list_landmarks_celeba.txt`` and ``img_celeba/``, or ``list_landmarks_align_celeba.txt`` and ``img_align_celeba/``
  (or ``img_align_celeba_png/``): number of lines, names of columns, then a name and ten numbers a line;
- ``list_eval_partition.txt``: a name and 0 to train on, 1 to validate, 2 to test;
- optional ``list_bbox_celeba.txt`` (x, y, width, height) and ``identity_CelebA.txt`` (the person).

Where both sets of pictures are there, those as they were found are read.  ``lefteye`` of the columns is on the left of
the picture, so it is the right eye of the scheme ``five``.  Points are whole pixels, read as counted from zero.
Liu et al. (2015), "Deep Learning Face Attributes in the Wild".
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from canthus.data.datasets import Dataset, Protocol
from canthus.data.problems import DAMAGED, SHOWN, Problem, Scan, readable
from canthus.errors import DataError
from canthus.geometry import BoxHabit
from canthus.lookup import lookup
from canthus.schemes import FIVE
from canthus.types import Annotation

KINDS = (
    ("list_landmarks_celeba.txt", ("img_celeba",)),
    ("list_landmarks_align_celeba.txt", ("img_align_celeba", "img_align_celeba_png")),
)
"""File of points and the folders its pictures may lie in; the first whose both are there is read."""

PARTITION, BOXES, PEOPLE = "list_eval_partition.txt", "list_bbox_celeba.txt", "identity_CelebA.txt"
OFFICIAL = {"train": 162_770, "validation": 19_867, "test": 19_962}

SPLITS = {"train": "train", "validation": "validation", "test": "test", "fit": "train"}
"""Split -> part; ``fit`` is another name of ``train``, beside which ``validation`` has people of its own."""

HABIT = BoxHabit(centre=(0.0, 0.147), size=(1.975, 1.931))
"""From the square about the hull of the five points, as large as its longer side, to the face box: medians over 2,009
training faces of 300-W (``benchmarks/fit_five_point_boxes.py``); these boxes overlap those of 68 points by 0.79 (mean
IoU)."""

_PARTS = {"0": "train", "1": "validation", "2": "test"}
_PLACES = ("", "Anno", "Eval")


def read_celeba(root: Path, split: str) -> list[Annotation]:
    """Read one split, sorted by key.

    The box of a face is made from its points by ``HABIT``, whatever the file says: official boxes are of the whole
    head, some are wrong (``canthus data check`` notes those that do not hold their points), and aligned pictures have
    none.

    Raises:
        ConfigError: unknown split.
        DataError: a list or the folder of pictures is not there, a line is damaged, or a picture is missing.
    """
    part = lookup(SPLITS, split, kind="split of celeba")
    return [face for face in readable(scan_celeba(root), name="celeba", root=root) if face.subset == part]


def face_box(points: Float[np.ndarray, "5 2"]) -> Float32[np.ndarray, " 4"]:
    """Face box of five points."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, (high - low).max() / 2
    return HABIT.face_boxes(np.concatenate([middle - half, middle + half]).astype(np.float32))


def scan_celeba(root: Path) -> Scan:
    """Every face of the set, every line that is no face, and a note on boxes that do not hold their points.

    Raises:
        DataError: a list or the folder of pictures is not there.
    """
    labels, folder = _kind(root)
    there = {path.name for path in folder.iterdir()}
    parts = {fields[0]: fields[1] for _, fields in _lines(_list(root, PARTITION)) if len(fields) == 2}
    people = {fields[0]: fields[1] for _, fields in _lines(root / _found(root, PEOPLE)) if len(fields) == 2}
    faces: dict[str, Annotation] = {}
    problems: list[Problem] = []
    for where, fields in _lines(labels):
        try:
            face = _annotation(folder, fields, parts, people, there)
            if face.key in faces:
                raise DataError(f"a second line for {face.key}")
            faces[face.key] = face
        except DataError as error:
            problems.append(Problem(DAMAGED, where, str(error)))
    whole = labels.name == KINDS[0][0]
    notes = list(_wrong_boxes(root / _found(root, BOXES), faces)) if whole else []
    if len(notes) > SHOWN:
        notes[SHOWN:] = [f"{len(notes) - SHOWN} more official boxes do not hold their points"]
    return Scan(sorted(faces.values(), key=lambda face: face.key), problems, notes)


def _annotation(
    folder: Path, fields: list[str], parts: dict[str, str], people: dict[str, str], there: set[str]
) -> Annotation:
    name = fields[0]
    if len(fields) != 1 + 2 * FIVE.count:
        raise DataError(f"expected a name and {2 * FIVE.count} numbers, found {len(fields)} fields")
    try:
        points = np.array(fields[1:], np.float32).reshape(-1, 2)
    except ValueError as error:
        raise DataError(f"expected numbers: {error}") from error
    box = face_box(points)
    if not np.isfinite(points).all() or not (box[2:] > box[:2]).all():
        raise DataError(f"expected five finite points that differ, found {' '.join(fields[1:])}")
    part = _PARTS.get(parts.get(name, ""))
    if part is None:
        raise DataError(f"{PARTITION} does not put {name} into a part (0, 1 or 2)")
    # Aligned pictures also come as PNG, under names that still end in .jpg in the lists.
    file = name if name in there else f"{Path(name).stem}.png"
    if file not in there:
        raise DataError(f"{folder.name}/{name} is not there")
    group = f"person/{people[name]}" if name in people else name
    return Annotation(name, folder / file, points, FIVE, box, np.ones(FIVE.count, np.bool_), group=group, subset=part)


def _wrong_boxes(path: Path, faces: dict[str, Annotation]) -> Iterator[str]:
    """Faces whose official box does not hold their five points; every other box is left as it is."""
    for where, fields in _lines(path):
        if fields[0] not in faces:
            continue
        try:
            x, y, width, height = (float(field) for field in fields[1:])
        except ValueError:
            yield f"{where}: no box of four numbers; the box is made from the points, as all are"
            continue
        points = faces[fields[0]].points
        if not ((points >= (x, y)).all() and (points <= (x + width, y + height)).all()):
            yield f"{fields[0]}: its official box does not hold its points; the box is made from the points, as all are"


def _kind(root: Path) -> tuple[Path, Path]:
    """The file of points and the folder of pictures it belongs to."""
    for name, folders in KINDS:
        path = root / _found(root, name)
        pictures = [place for folder in folders for place in _folders(root, folder) if place.is_dir()]
        if path.is_file() and pictures:
            return path, pictures[0]
    wanted = " or ".join(f"{name} with {folders[0]}/" for name, folders in KINDS)
    raise DataError(f"{root}: expected {wanted}, below it or in Anno/ and Img/")


def _folders(root: Path, name: str) -> tuple[Path, ...]:
    """Where a folder of pictures may lie; some downloads hold it twice, one in the other."""
    return root / name / name, root / "Img" / name / name, root / name, root / "Img" / name


def _found(root: Path, name: str) -> Path:
    """Where a list lies, relative to the root; its place right below the root where it lies nowhere."""
    return next((Path(place, name) for place in _PLACES if (root / place / name).is_file()), Path(name))


def _list(root: Path, name: str) -> Path:
    path = root / _found(root, name)
    if not path.is_file():
        raise DataError(f"{path}: is not there; expected the official list of CelebA, also in Anno/ or Eval/")
    return path


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Where each line stands, and its fields: without the count, the names of columns and what is empty."""
    if not path.is_file():
        return
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.replace(",", " ").split()
        heading = number <= 2 and (len(fields) == 1 or fields[0] in ("image_id", "lefteye_x"))
        if fields and not heading:
            yield f"{path.name}:{number}", fields


DATASET = Dataset(
    splits=tuple(SPLITS),
    faces=lambda root, split, _: read_celeba(root, split),
    scheme=FIVE.name,
    default_splits=("test",),
    protocol=Protocol("nme_ion", "distance of the eyes", "eyes", 0.10),
)
"""Errors are over the distance of the two eye points, as on its part MAFL; a face has failed at 10 %."""
