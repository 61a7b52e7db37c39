"""Divide faces or scenes by group, so that one photo or one person never lies on both sides.

The side is a hash of the group's name: it does not depend on the order of the files, on which of them are there, or
on a random seed, so a face that was validation once is validation for ever.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha1
from typing import TypeVar

from canthus.types import Annotation, Scene

Grouped = TypeVar("Grouped", Annotation, Scene)
"""What can be divided by group."""

VALIDATION_PARTS = 10
"""One group in this many is kept for validation by the splits ``fit`` and ``validation``."""


def fold_of(group: str, folds: int) -> int:
    """The fold a group belongs to: ``sha1(group) mod folds``."""
    if folds < 1:
        raise ValueError(f"expected at least one fold, found {folds}")
    return int(sha1(group.encode(), usedforsecurity=False).hexdigest(), 16) % folds


def split_by_group(items: Iterable[Grouped], *, parts: int = VALIDATION_PARTS) -> tuple[list[Grouped], list[Grouped]]:
    """Keep about one group in ``parts`` apart.

    Returns:
        Faces or scenes to fit on and those to validate on, each in the order given.
    """
    fit: list[Grouped] = []
    validation: list[Grouped] = []
    for item in items:
        (validation if fold_of(item.group, parts) == 0 else fit).append(item)
    return fit, validation


def k_fold(annotations: Sequence[Annotation], folds: int) -> list[tuple[list[Annotation], list[Annotation]]]:
    """Cross-validation by group: ``folds`` pairs of (fit, validation); every face is validated once.

    Raises:
        ValueError: fewer than two folds.
    """
    if folds < 2:
        raise ValueError(f"expected at least two folds, found {folds}")
    sides = [fold_of(annotation.group, folds) for annotation in annotations]
    return [
        (
            [a for a, side in zip(annotations, sides, strict=True) if side != fold],
            [a for a, side in zip(annotations, sides, strict=True) if side == fold],
        )
        for fold in range(folds)
    ]
