"""Pictures with all their labelled faces: what face detectors learn from and are measured on.

``load_scenes("wild21", root, "fit")`` gives one ``Scene`` a picture; pixels are read later, by whoever needs them.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from canthus.data import DATASETS, load_dataset
from canthus.data.datasets import Dataset, boxes_scene
from canthus.geometry import BoxHabit, hull_box
from canthus.lookup import lookup
from canthus.schemes import FIVE, IBUG_68, convert
from canthus.types import Annotation, Scene, by_picture


def scene_sets() -> dict[str, Dataset]:
    """The datasets that ``load_scenes`` reads, by name."""
    return {name: d for name, d in DATASETS.items() if d.scan_scenes is not None or d.faces_as_scenes}


def load_scenes(name: str, root: str | os.PathLike[str], split: str) -> list[Scene]:
    """Read the pictures of one split of a dataset with all their labelled faces, sorted by key.

    Args:
        name: a key of ``DATASETS`` whose set has face boxes or 68 points.
        root: folder of the dataset, in its official layout.
        split: one of the set's splits, or a fold as in ``canthus.data.load_dataset``.

    Raises:
        ConfigError: unknown set or split.
        DataError: ``root`` lacks the set's layout, or a file is damaged.
    """
    dataset = lookup(scene_sets(), name, kind="set of scenes")
    if dataset.scan_scenes is None:
        return scenes_of_faces(load_dataset(name, root, split, scheme=IBUG_68.name))
    return dataset.scenes(Path(root), split)


def scenes_of_faces(faces: Sequence[Annotation]) -> list[Scene]:
    """Make one scene of the faces of each picture, sorted by key; the scheme of the faces is ``ibug_68``.

    The box of a face is the hull of its points.  Other faces may be in the picture, without a label.
    """
    return sorted((_scene(here) for here in by_picture(faces).values()), key=lambda scene: scene.key)


def _scene(faces: Sequence[Annotation]) -> Scene:
    points = np.stack([face.points for face in faces])
    first = faces[0]
    key, five = first.key.partition("#")[0], convert(points, IBUG_68, FIVE)
    scene = boxes_scene(key, first.path, hull_box(points), BoxHabit(), group=first.group, points=five)
    return replace(scene, subset=first.subset, complete=False)
