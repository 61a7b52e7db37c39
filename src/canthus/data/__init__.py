"""Readers of face datasets: files in, ``Annotation`` out.

``load_dataset("300w", root, "validation")`` gives one ``Annotation`` a face; pictures are read later, by whoever
needs pixels.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool

from canthus.data import aflw, celeba, celeba_hq, cofw, folder, ibug_300w, wflw, wild21, ytf
from canthus.data.aflw import read_aflw
from canthus.data.celeba import read_celeba
from canthus.data.celeba_hq import read_celeba_hq
from canthus.data.check import check_dataset
from canthus.data.cofw import read_cofw
from canthus.data.folder import read_folder
from canthus.data.ibug_300w import read_300w
from canthus.data.problems import PartCount, Problem, Report
from canthus.data.splits import parse_fold
from canthus.data.wflw import read_wflw
from canthus.data.wild21 import read_wild21
from canthus.data.ytf import read_ytf
from canthus.errors import ConfigError
from canthus.geometry import hull_box
from canthus.lookup import lookup
from canthus.schemes import (
    AFLW_19,
    COFW_29,
    FIVE,
    IBUG_68,
    WFLW_98,
    WILD_21,
    Scheme,
    conversion_matrix,
    convert,
    find_scheme,
)
from canthus.types import Annotation

__all__ = ["DATASETS", "Dataset", "PartCount", "Problem", "Report", "check_dataset", "load_dataset"]


@final
@dataclass(frozen=True)
class Dataset:
    """How a set is read and checked.

    Attributes:
        read: ``read(root, split, scheme)`` gives the faces of a split.
        splits: names of the splits.
        scheme: name of the set's own scheme; None where the files decide.
        folds: the split that cross-validation divides by group, as ``fold-1-of-3-train`` and ``fold-1-of-3-test``.
    """

    read: Callable[[Path, str, str | None], list[Annotation]]
    splits: tuple[str, ...]
    scheme: str | None
    folds: str = "train"


DATASETS: dict[str, Dataset] = {
    "300w": Dataset(lambda root, split, _: read_300w(root, split), tuple(ibug_300w.SPLITS), IBUG_68.name),
    "ytf": Dataset(lambda root, split, _: read_ytf(root, split), tuple(ytf.SPLITS), IBUG_68.name, "all"),
    "wflw": Dataset(lambda root, split, _: read_wflw(root, split), tuple(wflw.SPLITS), WFLW_98.name),
    "wild21": Dataset(lambda root, split, _: read_wild21(root, split), tuple(wild21.SPLITS), WILD_21.name),
    "cofw": Dataset(lambda root, split, _: read_cofw(root, split), tuple(cofw.SPLITS), COFW_29.name),
    "celeba_hq": Dataset(lambda root, split, _: read_celeba_hq(root, split), tuple(celeba_hq.SPLITS), IBUG_68.name),
    "aflw": Dataset(lambda root, split, _: read_aflw(root, split), tuple(aflw.SPLITS), AFLW_19.name),
    "celeba": Dataset(lambda root, split, _: read_celeba(root, split), tuple(celeba.SPLITS), FIVE.name),
    "folder": Dataset(
        lambda root, split, scheme: read_folder(root, split, scheme=scheme), tuple(folder.SPLITS), None, "all"
    ),
}
"""Every dataset by name."""


def load_dataset(
    name: str, root: str | os.PathLike[str], split: str, *, scheme: str | None = None, variant: str | None = None
) -> list[Annotation]:
    """Faces of one split of the dataset ``name`` kept below ``root``, sorted by key.

    Args:
        name: a key of ``DATASETS``.
        root: where the set lies, in its official layout.
        split: one of the set's splits, or a fold of the split ``Dataset.folds``: ``fold-1-of-3-train``, everything but
            the first of three folds by group, ``fold-1-of-3-test``, that fold, and ``fold-1-of-3-fit`` and
            ``fold-1-of-3-validation``, the first divided 9 to 1.
        scheme: the scheme wanted; None for the set's own.  A set of another scheme is converted.  Of a ``folder`` it
            names the scheme of the files, where the number of points does not tell it.
        variant: which of several conversions, see ``canthus.schemes``; None is the default one.

    Raises:
        ConfigError: unknown dataset, split or scheme, or no such conversion.
        DataError: ``root`` lacks the dataset's layout, or a file is damaged.
    """
    dataset = lookup(DATASETS, name, kind="dataset")
    if dataset.scheme is None:
        if variant is not None:
            raise ConfigError(f"{name} is read as it is, found the variant {variant!r}; leave it out")
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
    fold = parse_fold(split)
    if fold is None:
        return dataset.read(root, split, scheme)
    return fold.faces(dataset.read(root, dataset.folds, scheme))


def _converted(face: Annotation, target: Scheme, variant: str | None, used: Bool[np.ndarray, "m k"]) -> Annotation:
    """A face in another scheme; a point is visible where all points behind it are."""
    points = convert(face.points, face.scheme, target, variant=variant)
    box = hull_box(points) if target == IBUG_68 else face.box  # what a face box is, is said of these 68 points
    return replace(face, points=points, scheme=target, box=box, visible=~(used & ~face.visible).any(axis=1))
