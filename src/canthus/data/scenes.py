"""Pictures with all their labelled faces: what face detectors learn from and are measured on.

``load_scenes("wild21", root, "fit")`` gives one ``Scene`` a picture; pixels are read later, by whoever needs them.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from canthus.data import DATASETS, load_dataset
from canthus.geometry import BoxHabit, hull_box
from canthus.lookup import lookup
from canthus.schemes import FIVE, IBUG_68, convert
from canthus.types import Annotation, Scene

SCENE_SETS = {
    name: dataset for name, dataset in DATASETS.items() if dataset.scan_scenes is not None or dataset.faces_as_scenes
}
"""The datasets that ``load_scenes`` reads."""


def load_scenes(name: str, root: str | os.PathLike[str], split: str) -> list[Scene]:
    """Pictures of one split of the set ``name`` kept below ``root`` with all their labelled faces, sorted by key.

    Args:
        name: a key of ``SCENE_SETS``.
        root: where the set lies, in its official layout.
        split: one of the set's splits.

    Raises:
        ConfigError: unknown set or split.
        DataError: ``root`` lacks the set's layout, or a file is damaged.
    """
    dataset = lookup(SCENE_SETS, name, kind="set of scenes")
    if dataset.scan_scenes is None:
        return scenes_of_faces(load_dataset(name, root, split, scheme=IBUG_68.name))
    return dataset.scenes(Path(root), split)


def scenes_of_faces(faces: Sequence[Annotation]) -> list[Scene]:
    """Scenes out of landmarks: the box of a face is the hull of its 68 points; other faces may be there, unlabelled.

    Args:
        faces: faces of the scheme ``ibug_68``; those of one picture become one scene.

    Returns:
        One scene a picture, sorted by key.
    """
    by_picture: dict[Path, list[Annotation]] = {}
    for face in faces:
        by_picture.setdefault(face.path, []).append(face)
    return sorted((_scene(here) for here in by_picture.values()), key=lambda scene: scene.key)


def _scene(faces: Sequence[Annotation]) -> Scene:
    points = np.stack([face.points for face in faces])
    first = faces[0]
    return Scene(
        key=first.key.partition("#")[0],
        path=first.path,
        boxes=hull_box(points),
        points=convert(points, IBUG_68, FIVE),
        ignored=np.zeros(len(faces), np.bool_),
        labels=("",) * len(faces),
        complete=False,
        habit=BoxHabit(),
        group=first.group,
        subset=first.subset,
    )
