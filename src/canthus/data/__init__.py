"""Readers of face datasets: files in, ``Annotation`` (one face) or ``Scene`` (one picture) out.

``load_dataset("300w", root, "validation")`` gives one ``Annotation`` a face; pictures are read later, by whoever
needs pixels.  ``canthus.data.scenes.load_scenes`` reads whole pictures.  A new dataset is one file that defines a
``Dataset``, and one line in ``DATASETS``.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from canthus.data import (
    aflw,
    celeba,
    celeba_hq,
    cofw,
    facemask,
    fddb,
    folder,
    ibug_300w,
    wflw,
    widerface,
    wild21,
    ytf,
)
from canthus.data.check import check_dataset
from canthus.data.datasets import Dataset
from canthus.data.problems import PartCount, Problem, Report
from canthus.data.splits import parse_fold
from canthus.errors import ConfigError
from canthus.geometry import hull_box
from canthus.lookup import lookup
from canthus.schemes import IBUG_68, Scheme, conversion_matrix, convert, find_scheme
from canthus.types import Annotation

__all__ = ["DATASETS", "Dataset", "PartCount", "Problem", "Report", "check_dataset", "load_dataset"]

DATASETS: dict[str, Dataset] = {
    "300w": ibug_300w.DATASET,
    "ytf": ytf.DATASET,
    "wflw": wflw.DATASET,
    "wild21": wild21.DATASET,
    "cofw": cofw.DATASET,
    "celeba_hq": celeba_hq.DATASET,
    "aflw": aflw.DATASET,
    "celeba": celeba.DATASET,
    "facemask": facemask.DATASET,
    "widerface": widerface.DATASET,
    "fddb": fddb.DATASET,
    "folder": folder.DATASET,
}
"""Every dataset by name."""

LANDMARK_SETS = {name: dataset for name, dataset in DATASETS.items() if dataset.faces is not None}
"""The datasets with landmarks, which ``load_dataset`` reads."""


def load_dataset(
    name: str, root: str | os.PathLike[str], split: str, *, scheme: str | None = None, variant: str | None = None
) -> list[Annotation]:
    """Read the faces of one split of a dataset, sorted by key.

    Args:
        name: a key of ``LANDMARK_SETS``.
        root: folder of the dataset, in its official layout.
        split: one of the set's splits, or a fold of the split ``Dataset.folds``.  ``fold-1-of-3-test`` is the first of
            three folds by group and ``fold-1-of-3-train`` the other two; ``fold-1-of-3-fit`` and
            ``fold-1-of-3-validation`` divide ``fold-1-of-3-train`` 9 to 1.
        scheme: the scheme wanted; None for the set's own.  Points of another scheme are converted.  For ``folder`` it
            is the scheme of the files, needed where the number of points does not determine it.
        variant: which of several conversions, see ``canthus.schemes``; None for the default.

    Raises:
        ConfigError: unknown dataset, split or scheme, or no such conversion.
        DataError: ``root`` lacks the dataset's layout, or a file is damaged.
    """
    dataset = lookup(LANDMARK_SETS, name, kind="dataset")
    if dataset.scheme is None:
        if variant is not None:
            raise ConfigError(f"{name} is read without conversion, found the variant {variant!r}; leave it out")
        return _read(dataset, Path(root), split, scheme)
    if scheme in (None, dataset.scheme):
        # A variant is meant for the sets that need one; here there is nothing to convert.
        return _read(dataset, Path(root), split, dataset.scheme)
    target = find_scheme(scheme or dataset.scheme)
    try:
        used = conversion_matrix(find_scheme(dataset.scheme), target, variant=variant) > 0
    except ConfigError as error:
        raise ConfigError(f"{name} has points of {dataset.scheme}, not {target.name}: {error}") from error
    return [_converted(face, target, variant, used) for face in _read(dataset, Path(root), split, dataset.scheme)]


def _read(dataset: Dataset, root: Path, split: str, scheme: str | None) -> list[Annotation]:
    if dataset.faces is None:
        return []
    fold = parse_fold(split)
    if fold is None:
        return dataset.faces(root, split, scheme)
    return fold.faces(dataset.faces(root, dataset.folds, scheme))


def _converted(face: Annotation, target: Scheme, variant: str | None, used: Bool[np.ndarray, "m k"]) -> Annotation:
    """A face in another scheme; a point is visible where all points behind it are."""
    points = convert(face.points, face.scheme, target, variant=variant)
    box = hull_box(points) if target == IBUG_68 else face.box  # a face box is defined by these 68 points
    return replace(face, points=points, scheme=target, box=box, visible=~(used & ~face.visible).any(axis=1))
