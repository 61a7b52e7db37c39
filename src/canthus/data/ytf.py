"""YouTube Faces frames with 68 pseudo-labelled points, as a csv beside each folder of frames.

Layout: ``training/`` with ``training_frames_keypoints.csv`` and ``test/`` with ``test_frames_keypoints.csv``; a line
is the file name and 136 numbers ``x0, y0, x1, ...`` counted from zero.  The points were made by a network and then
cleaned: pseudo-labels.  The given test split shares its people with training; ``fit`` and ``validation`` do not.
"""

import csv
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from canthus.data.datasets import Dataset
from canthus.data.problems import DAMAGED, UNLABELLED, Problem, Scan, readable
from canthus.data.splits import split_by_group
from canthus.errors import DataError
from canthus.geometry import hull_box
from canthus.images import IMAGE_SUFFIXES
from canthus.lookup import lookup
from canthus.schemes import IBUG_68
from canthus.types import Annotation

FOLDERS = {"train": "training", "test": "test"}
OFFICIAL = {"train": 3462, "test": 770}

SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "test": ("test",),
    "all": ("train", "test"),
    "fit": ("train", "test"),
    "validation": ("train", "test"),
}
"""The given splits, ``all``, and ``fit``/``validation``: all frames divided 9 to 1 by person."""

_log = logging.getLogger(__name__)


def read_ytf(root: Path, split: str) -> list[Annotation]:
    """Read one split, sorted by key.

    Raises:
        ConfigError: unknown split.
        DataError: the csv or a frame is missing, or a line does not hold a name and 136 numbers.
    """
    scan = scan_ytf(root, lookup(SPLITS, split, kind="split of ytf"))
    annotations = readable(scan, name="ytf", root=root)
    if scan.problems:
        _log.warning("%s: %d frames have no line in the csv and are left out", root, len(scan.problems))
    if split in ("fit", "validation"):
        fit, validation = split_by_group(annotations)
        return fit if split == "fit" else validation
    return annotations


def scan_ytf(root: Path, parts: Iterable[str] = tuple(FOLDERS)) -> Scan:
    """Every face of some parts, and every line or frame that is no face.

    Raises:
        DataError: a csv is not there.
    """
    faces: list[Annotation] = []
    problems: list[Problem] = []
    for part in parts:
        folder = root / FOLDERS[part]
        frames = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        named: set[str] = set()
        for where, name, numbers in _csv_lines(root, part):
            named.add(name)
            if name not in frames:
                problems.append(Problem("points without picture", where, f"{FOLDERS[part]}/{name} is not there"))
                continue
            try:
                faces.append(_annotation(f"{FOLDERS[part]}/{name}", folder / name, numbers, part))
            except DataError as error:
                problems.append(Problem(DAMAGED, where, str(error)))
        problems += [
            Problem(UNLABELLED, f"{FOLDERS[part]}/{name}", "no line in the csv names it")
            for name in sorted(frames - named)
            if Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return Scan(sorted(faces, key=lambda face: face.key), problems)


def csv_path(root: Path, part: str) -> Path:
    """Where the labels of a part lie."""
    return root / f"{FOLDERS[part]}_frames_keypoints.csv"


def _csv_lines(root: Path, part: str) -> Iterator[tuple[str, str, list[str]]]:
    """Lines of the csv of one part: where it stands, file name, the other fields."""
    path = csv_path(root, part)
    try:
        stream = path.open(newline="", encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); expected {path.name} beside the folder {FOLDERS[part]}/"
        ) from error
    with stream:
        for number, row in enumerate(csv.reader(stream), start=1):
            if row and row[0]:
                yield f"{path.name}:{number}", row[0], row[1:]


def person(name: str) -> str:
    """The person on a frame: the file name before the trailing ``_NN``."""
    stem = Path(name).stem
    return f"person/{stem.rpartition('_')[0] or stem}"


def _annotation(key: str, path: Path, numbers: list[str], part: str) -> Annotation:
    if len(numbers) != 2 * IBUG_68.count:
        raise DataError(f"expected a name and {2 * IBUG_68.count} numbers, found {len(numbers)} numbers")
    try:
        points = np.array(numbers, np.float32).reshape(-1, 2)
    except ValueError as error:
        raise DataError(f"expected numbers after the name: {error}") from error
    if not np.isfinite(points).all():
        raise DataError("expected finite numbers, found inf or nan")
    return Annotation(
        key=key,
        path=path,
        points=points,
        scheme=IBUG_68,
        box=hull_box(points),
        visible=np.ones(len(points), np.bool_),
        group=person(path.name),
        subset=part,
    )


DATASET = Dataset(
    splits=tuple(SPLITS),
    faces=lambda root, split, _: read_ytf(root, split),
    faces_as_scenes=True,
    scheme=IBUG_68.name,
    folds="all",
    default_splits=("validation",),
)
