"""Readers of face datasets: files in, ``Annotation`` (one face) or ``Scene`` (one picture) out.

``load_dataset("300w", root, "validation")`` gives one ``Annotation`` a face; pictures are read later, by whoever
needs pixels.  ``canthus.data.scenes.load_scenes`` reads whole pictures.  A new dataset is one file that defines a
``Dataset``, and one line in ``DATASETS``.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from canthus.data import aflw, celeba, celeba_hq, cofw, facemask, fddb, folder, ibug_300w, wflw, widerface, wild21, ytf
from canthus.data.check import Report, check
from canthus.data.datasets import Dataset, PartCount, Problem, Progress
from canthus.errors import ConfigError
from canthus.geometry import hull_box
from canthus.lookup import lookup
from canthus.schemes import IBUG_68, Scheme, conversion_matrix, convert, find_scheme
from canthus.types import Annotation

__all__ = ["DATASETS", "Dataset", "PartCount", "Problem", "Report", "check_dataset", "load_dataset"]

DATASETS = {
    dataset.name: dataset
    for dataset in (
        ibug_300w.DATASET,
        ytf.DATASET,
        wflw.DATASET,
        wild21.DATASET,
        cofw.DATASET,
        celeba_hq.DATASET,
        celeba_hq.WHOLE,
        aflw.DATASET,
        celeba.DATASET,
        facemask.DATASET,
        widerface.DATASET,
        fddb.DATASET,
        folder.DATASET,
    )
}
"""Every dataset by name."""


def landmark_sets() -> dict[str, Dataset]:
    """The datasets with landmarks, which ``load_dataset`` reads, by name."""
    return {name: dataset for name, dataset in DATASETS.items() if dataset.scan_faces is not None}


def load_dataset(
    name: str,
    root: str | os.PathLike[str],
    split: str,
    *,
    scheme: str | Scheme | None = None,
    variant: str | None = None,
) -> list[Annotation]:
    """Read the faces of one split of a dataset, sorted by key.

    Args:
        name: a key of ``DATASETS`` whose set has landmarks.
        root: folder of the dataset, in its official layout.
        split: one of the set's splits, or a fold of the split ``Dataset.folds``.  ``fold-1-of-3-test`` is the first of
            three folds by group and ``fold-1-of-3-train`` the other two; ``fold-1-of-3-fit`` and
            ``fold-1-of-3-validation`` divide ``fold-1-of-3-train`` 9 to 1.
        scheme: the scheme wanted, its name or the path of its file; None for the set's own.  Points of another scheme
            are converted.  For ``folder`` it is the scheme of the files, needed where neither a ``scheme.toml`` there
            nor the number of points determines it.
        variant: which of several conversions, see ``canthus.schemes``; None for the default.

    Raises:
        ConfigError: unknown dataset, split or scheme, or no such conversion.
        DataError: ``root`` lacks the dataset's layout, or a file is damaged.
    """
    dataset, root = lookup(landmark_sets(), name, kind="dataset"), Path(root)
    if dataset.scheme is None:
        if variant is not None:
            raise ConfigError(f"{name} is read without conversion, found the variant {variant!r}; leave it out")
        return dataset.faces(root, split, scheme=scheme)
    target = find_scheme(dataset.scheme if scheme is None else scheme)
    if target.name == dataset.scheme:
        # A variant is meant for the sets that need one; here there is nothing to convert.
        return dataset.faces(root, split)
    try:
        used = conversion_matrix(find_scheme(dataset.scheme), target, variant=variant) > 0
    except ConfigError as error:
        raise ConfigError(f"{name} has points of {dataset.scheme}, not {target.name}: {error}") from error
    return [_converted(face, target, variant, used) for face in dataset.faces(root, split)]


def check_dataset(
    name: str, root: str | os.PathLike[str], *, scheme: str | Scheme | None = None, progress: Progress | None = None
) -> Report:
    """Read every label and open every picture of a dataset of ``DATASETS``.

    Args:
        scheme: the scheme of a ``folder``, its name or the path of its file, as for ``load_dataset``.

    Raises:
        ConfigError: unknown dataset, or a scheme named for a set that has its own.
        DataError: ``root`` lacks the dataset's layout altogether.
    """
    return check(lookup(DATASETS, name, kind="dataset"), root, scheme=scheme, progress=progress)


def _converted(face: Annotation, target: Scheme, variant: str | None, used: Bool[np.ndarray, "m k"]) -> Annotation:
    """A face in another scheme; a point is visible where all points behind it are."""
    points = convert(face.points, face.scheme, target, variant=variant)
    box = hull_box(points) if target == IBUG_68 else face.box  # a face box is defined by these 68 points
    return replace(face, points=points, scheme=target, box=box, visible=~(used & ~face.visible).any(axis=1))


def dataset_root(roots: Mapping[str, Path], dataset: str) -> Path:
    """Folder of a dataset.

    Raises:
        ConfigError: unknown dataset, or ``roots`` does not have it.
    """
    lookup(DATASETS, dataset, kind="dataset")
    if dataset not in roots:
        raise ConfigError(
            f"The dataset {dataset!r} is needed; say where it is with --data DIR (a folder that holds {dataset}/) or "
            f"--root {dataset}=DIR"
        )
    return roots[dataset]
