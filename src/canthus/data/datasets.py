"""What the package knows of one dataset: how it is read, divided, checked and reported."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from canthus.types import Annotation, Scene


@final
@dataclass(frozen=True)
class Protocol:
    """How errors on a dataset are reported.

    Attributes:
        error: the number of ``FaceError`` that is compared.
        scale: the length that this error is divided by, in words.
        short: the same in a word or two, for captions of pictures.
        threshold: error above which a face counts as failed; a fraction.
        visible_only: whether hidden points are left out of every error.
    """

    error: str
    scale: str
    short: str
    threshold: float
    visible_only: bool = False


USUAL = Protocol("nme_ion", "inter-ocular distance", "ION", 0.08)
"""The protocol of most datasets."""


@final
@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One dataset.

    Attributes:
        splits: names of the splits.
        faces: ``faces(root, split, scheme)`` reads the landmarks of a split; None for a set without landmarks.
        scenes: ``scenes(root, split)`` reads whole pictures with the boxes of all faces; None where the set has none.
        faces_as_scenes: whether a set without ``scenes`` trains face detectors by the hulls of its landmarks.
        scheme: name of the set's own scheme; None where the files decide.
        folds: the split that cross-validation divides by group, as ``fold-1-of-3-train`` and ``fold-1-of-3-test``.
        default_splits: splits that an evaluation of landmarks tries where none is named; it takes the first of them
            that the folder holds.
        default_scene_split: the split that an evaluation of detectors takes where none is named.
        protocol: how errors of landmarks are reported.
        unions: split -> name -> subsets that papers report together beside the whole split.
    """

    splits: tuple[str, ...]
    faces: Callable[[Path, str, str | None], list[Annotation]] | None = None
    scenes: Callable[[Path, str], list[Scene]] | None = None
    faces_as_scenes: bool = False
    scheme: str | None = None
    folds: str = "train"
    default_splits: tuple[str, ...] = ()
    default_scene_split: str = "validation"
    protocol: Protocol = USUAL
    unions: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
