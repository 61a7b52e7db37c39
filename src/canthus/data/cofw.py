"""COFW: 29 points and whether each is hidden, pictures and labels inside two MATLAB files.

Layout: ``COFW_train_color.mat`` and ``COFW_test_color.mat`` (MATLAB 7.3, which is HDF5).  ``IsTr`` (``IsT``) holds a
reference to each picture, stored with its axes turned round: colour, x, y, or x, y where it is grey.  ``phisTr``
(``phisT``) holds 87 numbers a face: 29 x, 29 y, counted from one, and 29 times 1 for a hidden point.  ``bboxesTr``
(``bboxesT``) holds x, y, width, height.
Burgos-Artizzu et al. (2013), "Robust face landmark estimation under occlusion".

The pictures are written once as PNG files into ``COFW_pictures`` beside the MATLAB files, because everything else here
reads pictures from files.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from canthus.data.datasets import Dataset
from canthus.data.problems import DAMAGED, Problem, Scan, readable
from canthus.data.splits import split_by_group
from canthus.errors import DataError
from canthus.geometry import hull_box
from canthus.images import write_image
from canthus.lookup import lookup, require
from canthus.schemes import COFW_29
from canthus.types import Annotation

FILES = {"train": "COFW_train_color.mat", "test": "COFW_test_color.mat"}
OFFICIAL = {"train": 1345, "test": 507}
PICTURES = "COFW_pictures"

SPLITS = {"train": "train", "test": "test", "fit": "train", "validation": "train"}
"""Split -> file: the two files, and ``fit``/``validation`` = ``train`` divided 9 to 1."""

_ENDINGS = {"train": "Tr", "test": "T"}
_POINTS = COFW_29.count


def read_cofw(root: Path, split: str) -> list[Annotation]:
    """Read one split, sorted by key; the box of a face is the hull of its points.

    Raises:
        ConfigError: unknown split.
        DataError: the file is not there or damaged, or pictures cannot be written beside it.
        MissingExtraError: h5py is not installed.
    """
    part = lookup(SPLITS, split, kind="split of cofw")
    faces = readable(scan_cofw(root, (part,)), name="cofw", root=root)
    if split in FILES:
        return faces
    fit, validation = split_by_group(faces)
    return fit if split == "fit" else validation


def scan_cofw(root: Path, parts: Iterable[str] = tuple(FILES)) -> Scan:
    """Every face of some files, and every one that cannot be read.

    Raises:
        DataError: a file is not there, is no such MATLAB file, or pictures cannot be written beside it.
        MissingExtraError: h5py is not installed.
    """
    faces: list[Annotation] = []
    problems: list[Problem] = []
    for part in parts:
        path = root / FILES[part]
        if not path.is_file():
            raise DataError(f"{path}: is not there; expected the file of COFW in colour below {root}")
        h5py = require("h5py", extra="datasets")
        try:
            with h5py.File(path, "r") as file:
                _read_part(file, root, part, faces, problems)
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: expected the MATLAB 7.3 file of COFW in colour ({error})") from error
    return Scan(sorted(faces, key=lambda face: face.key), problems)


def _read_part(file: Any, root: Path, part: str, faces: list[Annotation], problems: list[Problem]) -> None:
    ending = _ENDINGS[part]
    pictures, labels = file[f"Is{ending}"], np.asarray(file[f"phis{ending}"][()], np.float64)
    if labels.shape != (3 * _POINTS, pictures.size):
        raise DataError(
            f"{root / FILES[part]}: expected phis{ending} of {3 * _POINTS} x {pictures.size}, found {labels.shape}"
        )
    for index, reference in enumerate(np.ravel(pictures[()])):
        key = f"{part}/{index + 1:04d}"
        try:
            path = _picture(root / PICTURES / f"{key}.png", np.asarray(file[reference][()]))
            faces.append(_annotation(key, path, labels[:, index], part))
        except DataError as error:
            problems.append(Problem(DAMAGED, f"{FILES[part]}:{index + 1}", str(error)))


def _annotation(key: str, path: Path, numbers: Float64[np.ndarray, " 87"], part: str) -> Annotation:
    x, y, hidden = numbers.reshape(3, _POINTS)
    if not np.isfinite(numbers).all() or not np.isin(hidden, (0, 1)).all():
        raise DataError("expected 58 finite coordinates and 29 times 0 or 1")
    points = (np.stack([x, y], axis=1) - 1).astype(np.float32)
    return Annotation(
        key=key,
        path=path,
        points=points,
        scheme=COFW_29,
        box=hull_box(points),
        visible=hidden == 0,
        group=key,
        subset=part,
    )


def _picture(path: Path, stored: np.ndarray) -> Path:
    """The file of a picture, written where it is not there yet.

    Raises:
        DataError: it is no picture.
        ImageError: the file cannot be written.
    """
    if path.is_file():
        return path
    if stored.dtype != np.uint8 or not (stored.ndim == 2 or (stored.ndim == 3 and len(stored) == 3)):
        raise DataError(f"expected a picture of bytes, 3 x width x height, found {stored.dtype} {stored.shape}")
    write_image(path, _upright(stored))
    return path


def _upright(stored: UInt8[np.ndarray, "..."]) -> UInt8[np.ndarray, "h w 3"]:
    turned = stored.T
    return np.ascontiguousarray(turned if turned.ndim == 3 else np.repeat(turned[:, :, None], 3, axis=2))


DATASET = Dataset(splits=tuple(SPLITS), faces=lambda root, split, _: read_cofw(root, split), scheme=COFW_29.name)
