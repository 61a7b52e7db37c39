"""The labelled faces that models are evaluated on, and which of them a model has learned from."""

import contextlib
import os
from collections.abc import Sequence

from canthus.data import landmark_sets, load_dataset
from canthus.errors import ConfigError, DataError
from canthus.lookup import lookup
from canthus.runtime.cards import ModelCard
from canthus.schemes import Scheme
from canthus.types import Annotation

StrPath = str | os.PathLike[str]


def load_truth(
    dataset: str | None,
    root: StrPath | None,
    split: str | None = None,
    *,
    scheme: str | Scheme | None = None,
    conversion: str | None = None,
) -> tuple[str, list[Annotation]]:
    """Name of a split of a dataset, and its labelled faces.

    If ``split`` is None, it is the first of the dataset's ``default_splits`` that the folder holds.  ``scheme`` and
    ``conversion`` are those of ``evaluation.run.truth_for``.

    Raises:
        ConfigError: dataset or folder are missing, a name is unknown, or the dataset has no default split.
        DataError: the folder does not hold the split, or a file is damaged.
    """
    if dataset is None or root is None:
        raise ConfigError("Expected the name of a dataset and its folder, such as dataset 300w and root DIR")
    known = lookup(landmark_sets(), dataset, kind="dataset")
    splits = (split,) if split else known.default_splits
    if not splits:
        raise ConfigError(f"{dataset} has no default split; choose one of {', '.join(known.splits)}")
    failures = []
    for name in splits:
        try:
            annotations = load_dataset(dataset, root, name, scheme=scheme, variant=conversion)
        except DataError as error:
            failures.append(error)
            continue
        subsets = {annotation.subset for annotation in annotations}
        unions = known.unions.get(name, {}).values()
        if split or all(subsets.intersection(members) for members in unions):
            return name, annotations
    raise failures[-1]


def learned_faces(card: ModelCard, dataset: str | None, root: StrPath | None, faces: Sequence[Annotation]) -> str:
    """How many of the faces of a dataset a model has learned from, in words; empty if none, or if its card is silent.

    Two folders of somebody's own are not known to be the same, so they are not compared.
    """
    learned: set[str] = set()
    for name in card.learned_from:
        own, _, split = name.partition("/")
        if own == dataset and root is not None and landmark_sets()[own].scheme:
            with contextlib.suppress(
                ConfigError, DataError
            ):  # another version's part, or the folder holds others alone
                learned |= {face.key for face in load_dataset(own, root, split)}
    count = sum(face.key in learned for face in faces)
    if not count:
        return ""
    twin = f"; the errors in its card are those of {card.twin}, which has not" * bool(card.twin)
    return f"{card.name} has learned from {count} of these {len(faces)} faces{twin}"
