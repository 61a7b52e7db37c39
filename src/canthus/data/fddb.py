"""FDDB: an ellipse a face, in ten folds.

Layout: ``originalPics/`` with the pictures of Faces in the Wild, and ``FDDB-folds/FDDB-fold-01-ellipseList.txt`` to
``10``.  An entry is the path of a picture without ``.jpg``, the number of its faces, and a line a face: major radius,
minor radius, angle of the major axis to the x axis in radians, centre x, centre y, and a 1.
Jain and Learned-Miller (2010), "FDDB: A Benchmark for Face Detection in Unconstrained Settings".

The box of a face is the upright box about its ellipse.  The set does not say whether it counts pixels from zero or
from one; zero is assumed.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from canthus.data.datasets import Dataset
from canthus.data.formats import ListedPicture, read_face_list
from canthus.data.problems import DAMAGED, Problem, SceneScan, readable_scenes
from canthus.errors import DataError
from canthus.geometry import BoxHabit
from canthus.lookup import lookup
from canthus.types import Scene

FOLDS = tuple(range(1, 11))
OFFICIAL = 5171
"""Faces in all folds."""

SPLITS: dict[str, tuple[int, ...]] = {**{f"fold-{fold}": (fold,) for fold in FOLDS}, "all": FOLDS}

IMAGES = "originalPics"

HABIT = BoxHabit(centre=(0.0, 0.15), size=(1.0, 0.7))
"""Assumed, not measured: by the authors' rule an ellipse reaches from the chin to the top of the head and leaves out
the ears, so the face box is as wide, ends at the same chin and begins at the brows."""


def read_fddb_scenes(root: Path, split: str) -> list[Scene]:
    """Pictures of one fold or of all, sorted by key.

    Raises:
        ConfigError: unknown split.
        DataError: a list is not there, an entry is damaged, or a picture is missing.
    """
    scan = scan_fddb_scenes(root, lookup(SPLITS, split, kind="split of fddb"))
    return readable_scenes(scan, name="fddb", root=root)


def list_path(root: Path, fold: int) -> Path:
    """Where the ellipses of a fold lie."""
    return root / "FDDB-folds" / f"FDDB-fold-{fold:02d}-ellipseList.txt"


def scan_fddb_scenes(root: Path, folds: Iterable[int] = FOLDS) -> SceneScan:
    """Every picture of some folds with its faces, and every entry that cannot be read.

    Raises:
        DataError: a list is not there.
    """
    scenes: list[Scene] = []
    problems: list[Problem] = []
    for fold in folds:
        pictures, damages = read_face_list(list_path(root, fold), fields=6, names_picture=lambda line: "/" in line)
        problems += damages
        for picture in pictures:
            name = f"{picture.name}.jpg"
            if not (root / IMAGES / name).is_file():
                problems.append(Problem("label without picture", picture.where, f"{IMAGES}/{name} is not there"))
                continue
            try:
                scenes.append(_scene(root, picture, fold))
            except DataError as error:
                problems.append(Problem(DAMAGED, picture.where, str(error)))
    return SceneScan(sorted(scenes, key=lambda scene: scene.key), problems)


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


def _scene(root: Path, picture: ListedPicture, fold: int) -> Scene:
    radii = picture.rows[:, :2]
    if (radii <= 0).any():
        raise DataError(f"expected radii above 0, found {radii.min():g}")
    name = f"{picture.name}.jpg"
    count = len(radii)
    return Scene(
        key=name,
        path=root / IMAGES / name,
        boxes=ellipse_boxes(picture.rows[:, :5]),
        points=np.full((count, 5, 2), np.nan, np.float32),
        ignored=np.zeros(count, np.bool_),
        labels=("",) * count,
        complete=True,
        habit=HABIT,
        group=name,
        subset=f"fold-{fold}",
    )


DATASET = Dataset(splits=tuple(SPLITS), scenes=read_fddb_scenes, folds="all", default_scene_split="all")
