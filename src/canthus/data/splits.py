"""Divide faces or scenes by group, so that one photo or one person never lies on both sides.

The side is a hash of the group's name: it does not depend on the order of the files, on which of them are there, or
on a random seed, so a face that was validation once is validation for ever.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import TypeVar, final

from canthus.errors import ConfigError
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


@final
@dataclass(frozen=True)
class Fold:
    """One side of a cross-validation by group, named ``fold-1-of-3-train``, ``-fit``, ``-validation`` or ``-test``.

    Attributes:
        number: which fold, from 1.
        of: how many there are.
        part: ``test`` for the fold itself, ``train`` for all others; ``fit`` and ``validation`` divide ``train`` 9 to
            1, for a recipe that chooses its best epoch and must not choose it by the test.
    """

    number: int
    of: int
    part: str

    def faces(self, annotations: Iterable[Annotation]) -> list[Annotation]:
        """Those of the faces that lie on this side, in the order given; the sides are those of ``k_fold``."""
        return [a for a in annotations if self._holds(a.group)]

    def _holds(self, group: str) -> bool:
        tested = fold_of(group, self.of) == self.number - 1
        # Another hash than that of the folds, or of ten folds the first would leave the others no validation.
        kept = fold_of(f"validation/{group}", VALIDATION_PARTS) == 0
        sides = {"test": tested, "train": not tested, "fit": not (tested or kept), "validation": kept and not tested}
        return sides[self.part]


def parse_fold(split: str) -> Fold | None:
    """The fold that the name of a split means; None for a split of another name.

    Raises:
        ConfigError: it begins like a fold and is none.
    """
    if not split.startswith("fold-"):
        return None
    found = re.fullmatch(r"fold-(\d{1,3})-of-(\d{1,3})-(train|fit|validation|test)", split)
    if found is not None:
        fold = Fold(int(found[1]), int(found[2]), found[3])
        if fold.of >= 2 and 1 <= fold.number <= fold.of:
            return fold
    raise ConfigError(
        f"A fold is named fold-1-of-3-train, -fit, -validation or -test, its number at most that of folds; "
        f"found {split!r}"
    )
