"""FDDB: an ellipse a face, in ten folds.

Layout: ``originalPics/`` with the pictures of Faces in the Wild, and ``FDDB-folds/FDDB-fold-01-ellipseList.txt`` to
``10``.  An entry is the path of a picture without ``.jpg``, the number of its faces, and a line a face: major radius,
minor radius, angle of the major axis to the x axis in radians, centre x, centre y, and a 1.
Jain and Learned-Miller (2010), "FDDB: A Benchmark for Face Detection in Unconstrained Settings".

The box of a face is the upright box about its ellipse.  The set does not say whether it counts pixels from zero or
from one; zero is assumed.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from canthus.data.datasets import NO_SCENE, Dataset, LabelError, Problem, Scan, boxes_scene, read_labels
from canthus.data.formats import ListedPicture, read_face_list
from canthus.errors import DataError
from canthus.geometry import BoxHabit
from canthus.types import Scene

FOLDS = tuple(f"fold-{number}" for number in range(1, 11))

IMAGES = "originalPics"

HABIT = BoxHabit(centre=(0.0, 0.15), size=(1.0, 0.7))
"""Assumed, not measured: by the authors' rule an ellipse reaches from the chin to the top of the head and leaves out
the ears, so the face box is as wide, ends at the same chin and begins at the brows."""


def list_path(root: Path, fold: str) -> Path:
    """The list of the ellipses of a fold."""
    return root / "FDDB-folds" / f"FDDB-fold-{int(fold.removeprefix('fold-')):02d}-ellipseList.txt"


def _scan_scenes(root: Path, folds: Sequence[str]) -> Scan[Scene]:
    """Read every picture of some folds with its faces."""
    scenes: list[Scene] = []
    problems: list[Problem] = []
    for fold in folds:
        pictures, damages = read_face_list(list_path(root, fold), fields=6, names_picture=lambda line: "/" in line)
        problems += damages
        scenes += read_labels(pictures, partial(_scene, root, fold), problems)
    return Scan(scenes, problems)


def ellipse_boxes(ellipses: Float64[np.ndarray, "n 5"]) -> Float32[np.ndarray, "n 4"]:
    """Upright boxes about ellipses.

    Args:
        ellipses: major and minor radius, angle of the major axis in radians, centre x and y, in pixels.
    """
    major, minor, angle = ellipses[:, 0], ellipses[:, 1], ellipses[:, 2]
    cos, sin = np.cos(angle), np.sin(angle)
    half = np.stack([np.hypot(major * cos, minor * sin), np.hypot(major * sin, minor * cos)], axis=1)
    centre = ellipses[:, 3:] + 0.5
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def _scene(root: Path, fold: str, picture: ListedPicture) -> Scene:
    name = f"{picture.name}.jpg"
    if not (root / IMAGES / name).is_file():
        raise LabelError(f"{IMAGES}/{name} is not there", kind=NO_SCENE)
    radii = picture.rows[:, :2]
    if (radii <= 0).any():
        raise DataError(f"expected radii above 0, found {radii.min():g}")
    return boxes_scene(name, root / IMAGES / name, ellipse_boxes(picture.rows[:, :5]), HABIT, group=name, subset=fold)


DATASET = Dataset(
    name="fddb",
    parts={**{fold: (fold,) for fold in FOLDS}, "all": FOLDS},
    scan_scenes=_scan_scenes,
    published={"ten folds": 5171},
    part_of=lambda _: "ten folds",
    is_there=lambda root, fold: list_path(root, fold).is_file(),
    folds="all",
    default_scene_split="all",
)
