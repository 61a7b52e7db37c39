"""AFLW with 19 points, in the packaging that its usual protocol comes in.

Layout: ``AFLWinfo_release.mat`` (MATLAB 5) and the pictures in ``data/flickr/{0,2,3}/``; that folder may also be
``flickr`` or ``images``.  A row of each matrix is a face: ``bbox`` x1 x2 y1 y2, ``data`` 19 x and then 19 y,
``mask_new`` 1 where a point is visible, ``nameList`` the path of the picture.  ``ra`` is a permutation counted from
one: its first 20,000 faces are for training, the last 4,386 for test.
Köstinger et al. (2011), "Annotated Facial Landmarks in the Wild"; Zhu et al. (2016), "Unconstrained Face Alignment via
Cascaded Compositional Learning", for the 19 points and the division.

Coordinates are read as they stand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool, Float64

from canthus.data.datasets import (
    NO_PICTURE,
    Dataset,
    LabelError,
    PartCount,
    Problem,
    Protocol,
    Scan,
    read_labels,
    unique_keys,
)
from canthus.data.formats import matlab_text, read_matlab
from canthus.errors import DataError
from canthus.geometry import hull_box
from canthus.schemes import AFLW_19
from canthus.types import Annotation

LABELS = "AFLWinfo_release.mat"
PICTURES = ("data/flickr", "flickr", "images")
OFFICIAL = {"train": 20_000, "test": 4386, "frontal": 1314}
"""Faces for training, for test, and those of the test with all 19 points visible."""

_POINTS = AFLW_19.count


@final
@dataclass(frozen=True)
class _Labels:
    boxes: Float64[np.ndarray, "n 4"]
    points: Float64[np.ndarray, "n 19 2"]
    visible: Bool[np.ndarray, "n 19"]
    names: tuple[str, ...]
    train: Bool[np.ndarray, " n"]


def _scan_faces(root: Path, parts: Sequence[str]) -> Scan[Annotation]:
    """Read the faces of some parts; the box of a face is the one of the file, by which errors are divided.

    A point hidden by the head itself is not ``visible``; it keeps the position that the file gives, if any.  A box
    without size, or away from its face, is replaced by the hull of the visible points, with a note.
    """
    labels = _labels(root / LABELS)
    folder = next((root / name for name in PICTURES if (root / name).is_dir()), root / PICTURES[0])
    problems: list[Problem] = []
    notes: list[str] = []

    def read(row: int) -> Annotation:
        face = _face(labels, row, folder)
        if not face.path.is_file():
            raise LabelError(f"{face.key} is not below {folder}", kind=NO_PICTURE)
        if (face.box != labels.boxes[row].astype(np.float32)).any():
            notes.append(f"{face.key}: its box has no size or is elsewhere; the hull of the visible points is used")
        return face

    rows = [(f"{LABELS}:{row + 1}", row) for row in range(len(labels.names))]
    faces = unique_keys(read_labels(rows, read, problems))
    return Scan([face for face in faces if face.subset in parts], problems, notes)


def _count_frontal(root: Path, found: Scan[Annotation]) -> list[PartCount]:
    frontal = sum(face.subset == "test" and face.attributes["frontal"] for face in found.items)
    return [PartCount("frontal", frontal, OFFICIAL["frontal"], within="test")]


def _face(labels: _Labels, row: int, folder: Path) -> Annotation:
    points, visible = labels.points[row].astype(np.float32), labels.visible[row]
    if not visible.any():
        raise DataError("expected a visible point, found none")
    if not np.isfinite(points[visible]).all():
        raise DataError("expected finite coordinates of visible points, found inf or nan")
    nowhere = ~visible & ~(np.isfinite(points) & (points > 0)).any(axis=1)
    points[nowhere] = np.nan
    middle, box = points[visible].mean(axis=0), labels.boxes[row].astype(np.float32)
    # A box of NaN holds nothing either.
    holds = bool((box[:2] < middle).all() and (middle < box[2:]).all())
    box = box if holds else hull_box(points[visible])
    name, part = labels.names[row], "train" if labels.train[row] else "test"
    attributes = {"frontal": bool(visible.all())}
    return Annotation(name, folder / name, points, AFLW_19, box, visible, name, part, attributes)


def _labels(path: Path) -> _Labels:
    """The matrices of the file, with points as x y and boxes as x1 y1 x2 y2."""
    if not path.is_file():
        raise DataError(f"{path}: is not there; expected the file of labels of AFLW with 19 points")
    found = read_matlab(path, ("bbox", "data", "mask_new", "nameList", "ra"))
    try:
        boxes, data, mask = (np.asarray(found[name], np.float64) for name in ("bbox", "data", "mask_new"))
        names = tuple(matlab_text(cell).strip().replace("\\", "/") for cell in np.ravel(found["nameList"]))
        order = np.ravel(found["ra"]).astype(np.int64) - 1
    except (ValueError, TypeError, IndexError) as error:
        raise DataError(f"{path}: expected numbers in bbox, data, mask_new, ra, texts in nameList ({error})") from error
    n = len(names)
    for name, matrix, shape in (("bbox", boxes, (n, 4)), ("data", data, (n, 2 * _POINTS)), ("mask_new", mask, (n, 19))):
        if matrix.shape != shape:
            raise DataError(f"{path}: expected {name} of {shape[0]} x {shape[1]}, found {matrix.shape}")
    if not np.isin(mask, (0, 1)).all() or sorted(order.tolist()) != list(range(n)):
        raise DataError(f"{path}: expected mask_new of 0 and 1, and ra to hold each number from 1 to {n} once")
    points = data.reshape(n, 2, _POINTS).transpose(0, 2, 1)
    # 20,000 of 24,386 faces are for training, and the same share of a file that holds fewer.
    trained = round(OFFICIAL["train"] / (OFFICIAL["train"] + OFFICIAL["test"]) * n)
    return _Labels(boxes[:, [0, 2, 1, 3]], points, mask == 1, names, np.isin(np.arange(n), order[:trained]))


DATASET = Dataset(
    name="aflw",
    parts={
        "train": ("train",),
        **dict.fromkeys(("test", "full", "frontal"), ("test",)),
        "fit": ("train",),
        "validation": ("train",),
    },
    scan_faces=_scan_faces,
    scheme=AFLW_19.name,
    published={part: OFFICIAL[part] for part in ("train", "test")},
    count_subsets=_count_frontal,
    default_splits=("full",),
    protocol=Protocol("nme_box", "size of the box, sqrt(w h)", "box", 0.07, visible_only=True),
)
"""``full`` is the name of ``test`` in papers; ``frontal`` are its faces with every point visible.

Errors are of visible points over the size of the truth box, because profiles show one eye; a face has failed at 7 %:
Kumar et al. (2020), "LUVLi Face Alignment".
"""
