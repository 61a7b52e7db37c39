"""WIDER FACE: pictures of 61 events, from one face to hundreds.

Layout: ``WIDER_train/images/<event>/`` and ``WIDER_val/images/<event>/`` with the pictures, the lists
``wider_face_split/wider_face_{train,val}_bbx_gt.txt``, and for the subsets easy, medium and hard the four ``.mat``
files of the official evaluation.  An entry of a list is the path of a picture, the number of its faces, and a line a
face: x, y, width, height, blur, expression, illumination, invalid, occlusion, pose.
Yang et al. (2016), "WIDER FACE: A Face Detection Benchmark".

Faces marked invalid and boxes without width or height are ``ignored``.  Five points come from the ``label.txt`` of
RetinaFace where it is there.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float32, Float64

from canthus.data.datasets import (
    DAMAGED,
    NO_SCENE,
    Dataset,
    LabelError,
    PartCount,
    Problem,
    Scan,
    boxes_scene,
    read_labels,
)
from canthus.data.formats import ListedPicture, finite_numbers, matlab_text, numbered_lines, read_face_list, read_matlab
from canthus.errors import DataError
from canthus.geometry import BoxHabit
from canthus.images import IMAGE_SUFFIXES
from canthus.types import Scene

Box: TypeAlias = tuple[float, float, float, float]
"""x, y, width, height as in the lists; they identify a face."""

FivePoints: TypeAlias = dict[str, dict[Box, Float32[np.ndarray, "5 2"]]]
"""Picture -> box -> points of the scheme ``five``; faces without points are left out."""

_POINT_FIELDS = 4 + 5 * 3 + 1


def read_five_points(root: Path, part: str) -> tuple[FivePoints, list[Problem]]:
    """Read the five points of one part (``train``, ``val``), and list the lines that cannot be read.

    Returns:
        No points where the file is missing.

    Raises:
        DataError: the file is there and cannot be read.
    """
    places = [root / folder / "label.txt" for folder in (f"retinaface_gt_v1.1/{part}", f"retinaface_gt/{part}")]
    path = next((p for p in [*places, root / f"WIDER_{part}" / "label.txt"] if p.is_file()), None)
    found: FivePoints = {}
    problems: list[Problem] = []
    if path is None:
        return found, problems
    name = ""
    for where, text in numbered_lines(path, name=path.relative_to(root).as_posix()):
        if text.startswith("#"):
            name = text[1:].strip()
            continue
        for box, points in read_labels([(where, text)], partial(_five_points, name), problems):
            if not np.isnan(points).all():
                found.setdefault(name, {}).setdefault(box, points)
    return found, problems


def _five_points(name: str, line: str) -> tuple[Box, Float32[np.ndarray, "5 2"]]:
    if not name:
        raise DataError("expected a line '# <picture>' before the first face")
    numbers = finite_numbers(line.split())
    if len(numbers) not in (4, _POINT_FIELDS):
        raise DataError(f"expected {_POINT_FIELDS} numbers, or the 4 of a box alone, found {len(numbers)}")
    points = np.full((5, 2), np.nan, np.float32)
    if len(numbers) == _POINT_FIELDS:
        points = numbers[4:-1].astype(np.float32).reshape(5, 3)[:, :2]
        points[(points == -1).all(axis=1)] = np.nan
    x, y, width, height = numbers[:4].tolist()
    return (x, y, width, height), points


SUBSETS = ("easy", "medium", "hard")
SUBSET_FACES = {"easy": 7211, "medium": 13319, "hard": 31958}
"""Faces that each subset counts."""

FACES = "wider_face_val.mat"


@final
@dataclass(frozen=True)
class CountedPicture:
    """One picture of the official evaluation, ``<event>/<name>.jpg``, and which of its faces a subset counts.

    ``boxes`` are x, y, width, height.
    """

    name: str
    boxes: Float64[np.ndarray, "n 4"]
    counted: Bool[np.ndarray, " n"]


def _truth_path(root: Path, name: str) -> Path:
    """A file of the official evaluation."""
    places = [root / "ground_truth", root / "eval_tools" / "ground_truth"]
    return next((place for place in places if (place / FACES).is_file()), places[0]) / name


def read_subset(root: Path, subset: str) -> list[CountedPicture]:
    """Read every picture of the evaluation, and which of its faces a subset counts.

    Raises:
        DataError: a file is missing or damaged, or the two do not belong together.
        MissingExtraError: scipy is not installed.
    """
    whole, part = _truth_path(root, FACES), _truth_path(root, f"wider_{subset}_val.mat")
    events, files, boxes = _lists(whole, ("event_list", "file_list", "face_bbx_list"))
    (counted,) = _lists(part, ("gt_list",))
    if not len(events) == len(files) == len(boxes) == len(counted):
        raise DataError(
            f"{part}: has {len(counted)} events, but {whole.name} has {len(events)}; do they belong together?"
        )
    pictures: list[CountedPicture] = []
    for event, *columns in zip(events, files, boxes, counted, strict=True):
        names, of_names, numbers = (np.ravel(column) for column in columns)
        if not len(names) == len(of_names) == len(numbers):
            raise DataError(
                f"{part}: event {matlab_text(event)} has {len(numbers)} pictures, but {whole.name} {len(names)}"
            )
        pictures += [
            _picture(f"{matlab_text(event)}/{matlab_text(name)}.jpg", *rest, source=part)
            for name, *rest in zip(names, of_names, numbers, strict=True)
        ]
    return pictures


def _lists(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """Cell arrays of a MATLAB file, each as a line of objects."""
    if not path.is_file():
        raise DataError(f"{path}: not there; expected the files of the official evaluation of WIDER FACE")
    return [np.ravel(cells) for cells in read_matlab(path, names).values()]


def _picture(name: str, boxes: Any, numbers: Any, *, source: Path) -> CountedPicture:
    try:
        rows = np.asarray(boxes, np.float64).reshape(-1, 4)
        chosen = np.asarray(numbers, np.int64).ravel() - 1
    except (TypeError, ValueError) as error:
        expected = "expected rows of 4 numbers and a list of whole numbers"
        raise DataError(f"{source}: {name}: {expected} ({error})") from error
    if len(chosen) and not (chosen.min() >= 0 and chosen.max() < len(rows)):
        raise DataError(f"{source}: {name} counts face {chosen.max() + 1}, but has {len(rows)} faces")
    counted = np.zeros(len(rows), np.bool_)
    counted[chosen] = True
    return CountedPicture(name, rows, counted)


PARTS = ("train", "val")

HABIT = BoxHabit(centre=(-0.005, 0.004), size=(1.025, 0.889))
"""Assumed, not measured: what was measured on ``facemask``, whose boxes also reach from the forehead to the chin."""

_FIELDS, _INVALID = 10, 7


def images_folder(root: Path, part: str) -> Path:
    """The folder of the pictures of a part."""
    return root / f"WIDER_{part}" / "images"


def _scan_scenes(root: Path, parts: Sequence[str]) -> Scan[Scene]:
    """Read every picture of some parts with its faces; those without any face are among them.

    A part of ``SUBSETS`` is the pictures of ``val`` with the boxes of the official evaluation, in which every face that
    does not belong to the subset is ignored.
    """
    scenes: list[Scene] = []
    problems: list[Problem] = []
    for part in parts:
        five: FivePoints = {}
        if part in SUBSETS:
            pictures = [(FACES, _listed(picture)) for picture in read_subset(root, part)]
        else:
            path = root / "wider_face_split" / f"wider_face_{part}_bbx_gt.txt"
            pictures, damages = read_face_list(
                path, fields=_FIELDS, names_picture=lambda line: Path(line).suffix.lower() in IMAGE_SUFFIXES
            )
            five, more = read_five_points(root, part)
            problems += [*damages, *more]
        scenes += read_labels(pictures, partial(_scene, root, "val" if part in SUBSETS else part, five), problems)
    return Scan(scenes, problems)


def _listed(picture: CountedPicture) -> ListedPicture:
    rows = np.zeros((len(picture.boxes), _FIELDS))
    rows[:, :4] = picture.boxes
    rows[~picture.counted, _INVALID] = 1
    return ListedPicture(picture.name, rows)


def _scene(root: Path, part: str, five: FivePoints, picture: ListedPicture) -> Scene:
    path = images_folder(root, part) / picture.name
    if not path.is_file():
        raise LabelError(f"WIDER_{part}/images/{picture.name} is not there", kind=NO_SCENE)
    rows = picture.rows
    corner, side = rows[:, :2], rows[:, 2:4]
    known = five.get(picture.name, {})
    missing = np.full((5, 2), np.nan, np.float32)
    found = [known.get((x, y, w, h), missing) for x, y, w, h in rows[:, :4].tolist()]
    key, points = f"{part}/{picture.name}", np.array(found, np.float32).reshape(-1, 5, 2)
    boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
    ignored = (rows[:, _INVALID] != 0) | (side <= 0).any(axis=1)
    return boxes_scene(key, path, boxes, HABIT, group=picture.name, subset=part, points=points, ignored=ignored)


def _count_subsets(root: Path, found: Scan[Scene]) -> list[PartCount]:
    """Count the faces of each official subset; a file that cannot be read becomes a problem of the scan."""
    counts: Counter[str] = Counter()
    for subset in SUBSETS:
        path = _truth_path(root, f"wider_{subset}_val.mat")
        if path.is_file():
            try:
                counts[subset] = sum(int(picture.counted.sum()) for picture in read_subset(root, subset))
            except DataError as error:
                found.problems.append(Problem(DAMAGED, path.name, str(error)))
    return [PartCount(subset, counts[subset], SUBSET_FACES[subset], within="val") for subset in SUBSETS]


DATASET = Dataset(
    name="widerface",
    parts={
        "train": ("train",),
        "val": ("val",),
        "all": PARTS,
        "fit": ("train",),
        "validation": ("train",),
        **{subset: (subset,) for subset in SUBSETS},
    },
    scan_scenes=_scan_scenes,
    published={"train": 159_424, "val": 39_708},
    is_there=lambda root, part: part in PARTS and images_folder(root, part).is_dir(),
    count_subsets=_count_subsets,
    default_scene_split="val",
)
