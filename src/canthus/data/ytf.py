"""YouTube Faces frames with 68 pseudo-labelled points, as a csv beside each folder of frames.

Layout: ``training/`` with ``training_frames_keypoints.csv`` and ``test/`` with ``test_frames_keypoints.csv``; a line
is the file name and 136 numbers ``x0, y0, x1, ...`` counted from zero.  The points are pseudo-labels: a network made
them, and they were cleaned.  The given test split shares its people with training; ``fit`` and ``validation`` divide
all frames by person.
"""

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from canthus.data.datasets import NO_PICTURE, UNLABELLED, Dataset, LabelError, Problem, Scan, hull_face, read_labels
from canthus.data.formats import finite_numbers, read_text
from canthus.errors import DataError
from canthus.images import IMAGE_SUFFIXES
from canthus.schemes import IBUG_68
from canthus.types import Annotation

FOLDERS = {"train": "training", "test": "test"}


def _scan_faces(root: Path, parts: Sequence[str]) -> Scan[Annotation]:
    """Read every line of the csv files of some parts."""
    faces: list[Annotation] = []
    problems: list[Problem] = []
    for part in parts:
        folder = root / FOLDERS[part]
        frames = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        rows = list(_rows(root, part))
        faces += read_labels(rows, partial(_face, root, part, frames), problems)
        problems += [
            Problem(UNLABELLED, f"{FOLDERS[part]}/{name}", "no line in the csv names it")
            for name in sorted(frames - {row[0] for _, row in rows})
            if Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return Scan(faces, problems)


def csv_path(root: Path, part: str) -> Path:
    """The csv with the labels of a part."""
    return root / f"{FOLDERS[part]}_frames_keypoints.csv"


def _rows(root: Path, part: str) -> Iterator[tuple[str, list[str]]]:
    """The lines of a csv with a file name, and the place of each."""
    path = csv_path(root, part)
    text = read_text(path, f"{path.name} beside the folder {FOLDERS[part]}/")
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        if row and row[0]:
            yield f"{path.name}:{number}", row


def person(name: str) -> str:
    """The person on a frame: the file name before the trailing ``_NN``."""
    stem = Path(name).stem
    return f"person/{stem.rpartition('_')[0] or stem}"


def _face(root: Path, part: str, frames: set[str], row: Sequence[str]) -> Annotation:
    key = f"{FOLDERS[part]}/{row[0]}"
    if row[0] not in frames:
        raise LabelError(f"{key} is not there", kind=NO_PICTURE)
    if len(row) != 1 + 2 * IBUG_68.count:
        raise DataError(f"expected a name and {2 * IBUG_68.count} numbers, found {len(row) - 1} numbers")
    points = finite_numbers(row[1:]).astype(np.float32).reshape(-1, 2)
    return hull_face(key, root / key, points, IBUG_68, group=person(row[0]), subset=part)


DATASET = Dataset(
    name="ytf",
    parts={"train": ("train",), "test": ("test",), **dict.fromkeys(("all", "fit", "validation"), ("train", "test"))},
    scan_faces=_scan_faces,
    faces_as_scenes=True,
    scheme=IBUG_68.name,
    published={"train": 3462, "test": 770},
    is_there=lambda root, part: (root / FOLDERS[part]).is_dir() or csv_path(root, part).is_file(),
    folds="all",
    default_splits=("validation",),
)
