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
from pathlib import Path

import numpy as np

from canthus.data import widerface_subsets
from canthus.data.face_lists import ListedPicture, read_face_list
from canthus.data.problems import Problem, SceneScan, readable_scenes
from canthus.data.retinaface_points import FivePoints, read_five_points
from canthus.data.splits import split_by_group
from canthus.geometry import BoxHabit
from canthus.images import IMAGE_SUFFIXES
from canthus.lookup import lookup
from canthus.types import Scene

PARTS = ("train", "val")
OFFICIAL = {"train": 159_424, "val": 39_708}

SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val",),
    "all": PARTS,
    "fit": ("train",),
    "validation": ("train",),
    **dict.fromkeys(widerface_subsets.SUBSETS, ("val",)),
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
    if split in widerface_subsets.SUBSETS:
        scan = scan_widerface_subset(root, split)
    else:
        scan = scan_widerface_scenes(root, parts)
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
    for picture in widerface_subsets.read_subset(root, subset):
        rows = np.zeros((len(picture.boxes), _FIELDS))
        rows[:, :4] = picture.boxes
        rows[~picture.counted, _INVALID] = 1
        if (images_folder(root, "val") / picture.name).is_file():
            scenes.append(_scene(root, "val", ListedPicture("", picture.name, rows), {}))
        else:
            problems.append(_without_picture("val", picture.name, widerface_subsets.FACES))
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
