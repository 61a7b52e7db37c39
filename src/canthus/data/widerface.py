"""WIDER FACE: pictures of 61 events, from one face to hundreds.

Layout: ``WIDER_train/images/<event>/`` and ``WIDER_val/images/<event>/`` with the pictures, the lists
``wider_face_split/wider_face_{train,val}_bbx_gt.txt``, and for the subsets easy, medium and hard the four ``.mat``
files of the official evaluation (``widerface_subsets``).  An entry of a list is the path of a picture, the number of
its faces, and a line a face: x, y, width, height, blur, expression, illumination, invalid, occlusion, pose.
Yang et al. (2016), "WIDER FACE: A Face Detection Benchmark".

Faces marked invalid and boxes without width or height are ``ignored``.  Five points come from the ``label.txt`` of
RetinaFace where one lies there (``retinaface_points``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
from jaxtyping import Bool, Float32, Float64

from canthus.data.datasets import Dataset
from canthus.data.formats import ListedPicture, read_face_list, read_matlab
from canthus.data.problems import DAMAGED, Problem, SceneScan, readable_scenes
from canthus.data.splits import split_by_group
from canthus.errors import DataError
from canthus.geometry import BoxHabit
from canthus.images import IMAGE_SUFFIXES
from canthus.lookup import lookup
from canthus.types import Scene

Box: TypeAlias = tuple[float, float, float, float]
"""x, y, width, height as the lists have them, by which a face is known again."""

FivePoints: TypeAlias = dict[str, dict[Box, Float32[np.ndarray, "5 2"]]]
"""Picture -> box -> points of the scheme ``five``; faces without points are left out."""

_POINT_FIELDS = 4 + 5 * 3 + 1


def read_five_points(root: Path, part: str) -> tuple[FivePoints, list[Problem]]:
    """Points of one part (``train``, ``val``), and every line that cannot be read; nothing where there is no file.

    Raises:
        DataError: the file is there and cannot be read.
    """
    places = [root / folder / "label.txt" for folder in (f"retinaface_gt_v1.1/{part}", f"retinaface_gt/{part}")]
    path = next((p for p in [*places, root / f"WIDER_{part}" / "label.txt"] if p.is_file()), None)
    if path is None:
        return {}, []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    found: FivePoints = {}
    problems: list[Problem] = []
    name = ""
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text.startswith("#"):
            name = text[1:].strip()
        elif text:
            try:
                box, points = _face(text.split(), name)
            except DataError as error:
                problems.append(Problem(DAMAGED, f"{path.relative_to(root).as_posix()}:{number}", str(error)))
                continue
            if not np.isnan(points).all():
                found.setdefault(name, {}).setdefault(box, points)
    return found, problems


def _face(fields: list[str], name: str) -> tuple[Box, Float32[np.ndarray, "5 2"]]:
    if not name:
        raise DataError("expected a line '# <picture>' before the first face")
    try:
        numbers = [float(field) for field in fields]
    except ValueError as error:
        raise DataError(f"expected {_POINT_FIELDS} numbers: {error}") from error
    if len(numbers) not in (4, _POINT_FIELDS):
        raise DataError(f"expected {_POINT_FIELDS} numbers, or the 4 of a box alone, found {len(numbers)}")
    if not np.isfinite(numbers).all():
        raise DataError("expected finite numbers, found inf or nan")
    points = np.full((5, 2), np.nan, np.float32)
    if len(numbers) == _POINT_FIELDS:
        points = np.array(numbers[4:-1], np.float32).reshape(5, 3)[:, :2]
        points[(points == -1).all(axis=1)] = np.nan
    x, y, width, height = numbers[:4]
    return (x, y, width, height), points


SUBSETS = ("easy", "medium", "hard")
SUBSET_FACES = {"easy": 7211, "medium": 13319, "hard": 31958}
"""Faces that each subset counts."""

FACES = "wider_face_val.mat"


@final
@dataclass(frozen=True)
class CountedPicture:
    """One picture of the evaluation.

    Attributes:
        name: ``<event>/<name>.jpg``.
        boxes: x, y, width, height of every face.
        counted: whether the subset counts it.
    """

    name: str
    boxes: Float64[np.ndarray, "n 4"]
    counted: Bool[np.ndarray, " n"]


def ground_truth_folder(root: Path) -> Path:
    """Where the files of the evaluation lie, or should."""
    places = [root / "ground_truth", root / "eval_tools" / "ground_truth"]
    return next((place for place in places if (place / FACES).is_file()), places[0])


def subset_path(root: Path, subset: str) -> Path:
    """Where the numbers of the faces of a subset lie."""
    return ground_truth_folder(root) / f"wider_{subset}_val.mat"


def read_subset(root: Path, subset: str) -> list[CountedPicture]:
    """Every picture of the evaluation with what a subset counts.

    Raises:
        DataError: a file is not there, damaged, or does not go with the other.
        MissingExtraError: scipy is not installed.
    """
    whole, part = ground_truth_folder(root) / FACES, subset_path(root, subset)
    events, files, boxes = _lists(whole, ("event_list", "file_list", "face_bbx_list"))
    (counted,) = _lists(part, ("gt_list",))
    if not len(events) == len(files) == len(boxes) == len(counted):
        raise DataError(
            f"{part}: has {len(counted)} events, but {whole.name} has {len(events)}; do they belong together?"
        )
    pictures: list[CountedPicture] = []
    for event, *columns in zip(events, files, boxes, counted, strict=True):
        names, of_names, numbers = (_cells(column) for column in columns)
        if not len(names) == len(of_names) == len(numbers):
            raise DataError(f"{part}: event {_text(event)} has {len(numbers)} pictures, but {whole.name} {len(names)}")
        pictures += [
            _picture(f"{_text(event)}/{_text(name)}.jpg", *rest, source=part)
            for name, *rest in zip(names, of_names, numbers, strict=True)
        ]
    return pictures


def _lists(path: Path, names: tuple[str, ...]) -> list[list[Any]]:
    """Cell arrays of a MATLAB file."""
    if not path.is_file():
        raise DataError(f"{path}: not there; expected the files of the official evaluation of WIDER FACE")
    return [_cells(cells) for cells in read_matlab(path, names).values()]


def _cells(array: Any) -> list[Any]:
    """Elements of a cell array, which scipy gives as an ``n x 1`` array of objects."""
    return list(np.asarray(array).ravel())


def _text(cell: Any) -> str:
    array = np.asarray(cell)
    while array.dtype == object and array.size:
        array = np.asarray(array.flat[0])
    return str(array.ravel()[0]) if array.size else ""


def _picture(name: str, boxes: Any, numbers: Any, *, source: Path) -> CountedPicture:
    try:
        rows = np.asarray(boxes, np.float64).reshape(-1, 4)
        chosen = np.asarray(numbers, np.int64).ravel() - 1
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{source}: {name}: expected rows of 4 numbers and a list of whole numbers ({error})"
        ) from error
    if len(chosen) and not (chosen.min() >= 0 and chosen.max() < len(rows)):
        raise DataError(f"{source}: {name} counts face {chosen.max() + 1}, but has {len(rows)} faces")
    counted = np.zeros(len(rows), np.bool_)
    counted[chosen] = True
    return CountedPicture(name, rows, counted)


PARTS = ("train", "val")
OFFICIAL = {"train": 159_424, "val": 39_708}

SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val",),
    "all": PARTS,
    "fit": ("train",),
    "validation": ("train",),
    **dict.fromkeys(SUBSETS, ("val",)),
}
"""The two lists, ``all``, ``fit``/``validation`` = ``train`` divided 9 to 1 by picture, and the official subsets of
``val``, in which every face that does not belong to the subset is ignored."""

HABIT = BoxHabit(centre=(-0.005, 0.004), size=(1.025, 0.889))
"""Assumed, not measured: what was measured on ``facemask``, whose boxes also reach from the forehead to the chin."""

_X, _Y, _WIDTH, _HEIGHT, _INVALID = 0, 1, 2, 3, 7
_FIELDS = 10


def read_widerface_scenes(root: Path, split: str) -> list[Scene]:
    """Pictures of one split, sorted by key; those without any face are among them.

    Raises:
        ConfigError: unknown split.
        DataError: a list is not there, an entry is damaged, or a picture is missing.
        MissingExtraError: a subset needs scipy, which is not installed.
    """
    parts = lookup(SPLITS, split, kind="split of widerface")
    scan = scan_widerface_subset(root, split) if split in SUBSETS else scan_widerface_scenes(root, parts)
    scenes = readable_scenes(scan, name="widerface", root=root)
    if split in ("fit", "validation"):
        fit, validation = split_by_group(scenes)
        return fit if split == "fit" else validation
    return scenes


def images_folder(root: Path, part: str) -> Path:
    """Where the pictures of a part lie."""
    return root / f"WIDER_{part}" / "images"


def scan_widerface_scenes(root: Path, parts: Iterable[str] = PARTS) -> SceneScan:
    """Every picture of some lists with its faces, and every entry that cannot be read.

    Raises:
        DataError: a list is not there.
    """
    scenes: list[Scene] = []
    problems: list[Problem] = []
    for part in parts:
        path = root / "wider_face_split" / f"wider_face_{part}_bbx_gt.txt"
        pictures, damages = read_face_list(path, fields=_FIELDS, names_picture=_names_picture)
        five, more = read_five_points(root, part)
        problems += [*damages, *more]
        for picture in pictures:
            if (images_folder(root, part) / picture.name).is_file():
                scenes.append(_scene(root, part, picture, five))
            else:
                problems.append(_without_picture(part, picture.name, picture.where))
    return SceneScan(sorted(scenes, key=lambda scene: scene.key), problems)


def scan_widerface_subset(root: Path, subset: str) -> SceneScan:
    """The pictures of ``val``, every face ignored that does not belong to the subset; boxes are the evaluation's own.

    Raises:
        DataError: a file of the official evaluation is not there, or damaged.
        MissingExtraError: scipy is not installed.
    """
    scenes: list[Scene] = []
    problems: list[Problem] = []
    for picture in read_subset(root, subset):
        rows = np.zeros((len(picture.boxes), _FIELDS))
        rows[:, :4] = picture.boxes
        rows[~picture.counted, _INVALID] = 1
        if (images_folder(root, "val") / picture.name).is_file():
            scenes.append(_scene(root, "val", ListedPicture("", picture.name, rows), {}))
        else:
            problems.append(_without_picture("val", picture.name, FACES))
    return SceneScan(sorted(scenes, key=lambda scene: scene.key), problems)


def _names_picture(line: str) -> bool:
    return Path(line).suffix.lower() in IMAGE_SUFFIXES


def _without_picture(part: str, name: str, where: str) -> Problem:
    return Problem("label without picture", where, f"WIDER_{part}/images/{name} is not there")


def _scene(root: Path, part: str, picture: ListedPicture, five: FivePoints) -> Scene:
    rows = picture.rows
    corner, side = rows[:, [_X, _Y]], rows[:, [_WIDTH, _HEIGHT]]
    known = five.get(picture.name, {})
    missing = np.full((5, 2), np.nan, np.float32)
    points = [known.get((x, y, w, h), missing) for x, y, w, h in rows[:, :4].tolist()]
    return Scene(
        key=f"{part}/{picture.name}",
        path=images_folder(root, part) / picture.name,
        boxes=np.concatenate([corner, corner + side], axis=1).astype(np.float32),
        points=np.array(points, np.float32).reshape(-1, 5, 2),
        ignored=(rows[:, _INVALID] != 0) | (side <= 0).any(axis=1),
        labels=("",) * len(rows),
        complete=True,
        habit=HABIT,
        group=picture.name,
        subset=part,
    )


DATASET = Dataset(splits=tuple(SPLITS), scenes=read_widerface_scenes, default_scene_split="val")
