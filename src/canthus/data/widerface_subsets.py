"""The subsets easy, medium and hard of WIDER FACE, as the official evaluation has them.

Layout: ``ground_truth/wider_face_val.mat`` with the names and boxes of all faces, and beside it
``wider_{easy,medium,hard}_val.mat`` with the numbers, from one, of the faces that a subset counts.  They may also lie
where the official tools put them, in ``eval_tools/ground_truth/``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float64

from canthus.data.matlab import read_matlab
from canthus.errors import DataError

SUBSETS = ("easy", "medium", "hard")
OFFICIAL = {"easy": 7211, "medium": 13319, "hard": 31958}
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
