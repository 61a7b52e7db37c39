"""Readers of face datasets: files in, ``Annotation`` out.

``load_dataset("300w", root, "validation")`` gives one ``Annotation`` a face; pictures are read later, by whoever
needs pixels.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from canthus.data import folder, ibug_300w, ytf
from canthus.data.check import PartCount, Report, check_dataset
from canthus.data.folder import read_folder
from canthus.data.ibug_300w import read_300w
from canthus.data.problems import Problem
from canthus.data.ytf import read_ytf
from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.schemes import IBUG_68
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
    """

    read: Callable[[Path, str, str | None], list[Annotation]]
    splits: tuple[str, ...]
    scheme: str | None


DATASETS: dict[str, Dataset] = {
    "300w": Dataset(lambda root, split, _: read_300w(root, split), tuple(ibug_300w.SPLITS), IBUG_68.name),
    "ytf": Dataset(lambda root, split, _: read_ytf(root, split), tuple(ytf.SPLITS), IBUG_68.name),
    "folder": Dataset(lambda root, split, scheme: read_folder(root, split, scheme=scheme), tuple(folder.SPLITS), None),
}
"""Every dataset by name."""


def load_dataset(name: str, root: str | os.PathLike[str], split: str, *, scheme: str | None = None) -> list[Annotation]:
    """Faces of one split of the dataset ``name`` kept below ``root``, sorted by key.

    Args:
        name: a key of ``DATASETS``.
        root: where the set lies, in its official layout.
        split: one of the set's splits.
        scheme: name of the scheme of a ``folder`` whose number of points does not tell it.

    Raises:
        ConfigError: unknown dataset, split or scheme, or a scheme that is not the set's own.
        DataError: ``root`` lacks the dataset's layout, or a file is damaged.
    """
    dataset = lookup(DATASETS, name, kind="dataset")
    if scheme is not None and dataset.scheme not in (None, scheme):
        raise ConfigError(f"{name} has points of {dataset.scheme}, not {scheme}; read it so and convert the points")
    return dataset.read(Path(root), split, scheme)
