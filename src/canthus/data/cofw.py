"""COFW: 29 points and whether each is hidden, pictures and labels inside two MATLAB files.

Layout: ``COFW_train_color.mat`` and ``COFW_test_color.mat`` (MATLAB 7.3, which is HDF5).  ``IsTr`` (``IsT``) holds a
reference to each picture, stored with its axes reversed: colour, x, y, or x, y where it is grey.  ``phisTr``
(``phisT``) holds 87 numbers a face: 29 x, 29 y, counted from one, and 29 times 1 for a hidden point.  ``bboxesTr``
(``bboxesT``) holds x, y, width, height.  The box of a face is the hull of its points.
Burgos-Artizzu et al. (2013), "Robust face landmark estimation under occlusion".

The pictures are written once as PNG files into ``COFW_pictures`` beside the MATLAB files, because everything else here
reads pictures from files.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from canthus.data.datasets import Dataset, Problem, Scan, hull_face, read_labels
from canthus.errors import DataError
from canthus.images import write_image
from canthus.lookup import require
from canthus.schemes import COFW_29
from canthus.types import Annotation

FILES = {"train": "COFW_train_color.mat", "test": "COFW_test_color.mat"}
PICTURES = "COFW_pictures"

_ENDINGS = {"train": "Tr", "test": "T"}
_POINTS = COFW_29.count


def _scan_faces(root: Path, parts: Sequence[str]) -> Scan[Annotation]:
    """Read every face of some files, and write the pictures that are not yet beside them."""
    faces: list[Annotation] = []
    problems: list[Problem] = []
    for part in parts:
        path = root / FILES[part]
        if not path.is_file():
            raise DataError(f"{path}: is not there; expected the file of COFW in colour below {root}")
        h5py = require("h5py", extra="datasets")
        try:
            with h5py.File(path, "r") as file:
                faces += _faces(file, root, part, problems)
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: expected the MATLAB 7.3 file of COFW in colour ({error})") from error
    return Scan(faces, problems)


def _faces(file: Any, root: Path, part: str, problems: list[Problem]) -> list[Annotation]:
    ending = _ENDINGS[part]
    pictures, labels = file[f"Is{ending}"], np.asarray(file[f"phis{ending}"][()], np.float64)
    if labels.shape != (3 * _POINTS, pictures.size):
        raise DataError(
            f"{root / FILES[part]}: expected phis{ending} of {3 * _POINTS} x {pictures.size}, found {labels.shape}"
        )
    references = np.ravel(pictures[()])
    places = [(f"{FILES[part]}:{index + 1}", index) for index in range(len(references))]

    def read(index: int) -> Annotation:
        key = f"{part}/{index + 1:04d}"
        path = root / PICTURES / f"{key}.png"
        if not path.is_file():
            _write_picture(path, np.asarray(file[references[index]][()]))
        return _face(key, path, labels[:, index], part)

    return list(read_labels(places, read, problems))


def _face(key: str, path: Path, numbers: Float64[np.ndarray, " 87"], part: str) -> Annotation:
    x, y, hidden = numbers.reshape(3, _POINTS)
    if not np.isfinite(numbers).all() or not np.isin(hidden, (0, 1)).all():
        raise DataError("expected 58 finite coordinates and 29 times 0 or 1")
    points = (np.stack([x, y], axis=1) - 1).astype(np.float32)
    return replace(hull_face(key, path, points, COFW_29, group=key, subset=part), visible=hidden == 0)


def _write_picture(path: Path, stored: np.ndarray) -> None:
    if stored.dtype != np.uint8 or not (stored.ndim == 2 or (stored.ndim == 3 and len(stored) == 3)):
        raise DataError(f"expected a picture of bytes, 3 x width x height, found {stored.dtype} {stored.shape}")
    turned = stored.T
    write_image(path, np.ascontiguousarray(turned if turned.ndim == 3 else np.repeat(turned[:, :, None], 3, axis=2)))


DATASET = Dataset(
    name="cofw",
    parts={"train": ("train",), "test": ("test",), "fit": ("train",), "validation": ("train",)},
    scan_faces=_scan_faces,
    scheme=COFW_29.name,
    published={"train": 1345, "test": 507},
    is_there=lambda root, part: (root / FILES[part]).is_file(),
)
