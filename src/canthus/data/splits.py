"""Divide faces or scenes by group, so that one photo or one person never lies on both sides.

The side is a hash of the group's name.  It does not depend on a random seed, on the order of the files or on which of
them are there, so a face that was used for validation once is used for validation always.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import TypeVar, final

import numpy as np
from jaxtyping import Bool

from canthus.errors import ConfigError
from canthus.pose import head_pose
from canthus.schemes import IBUG_68, convert
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


@final
@dataclass(frozen=True)
class Fold:
    """One side of a cross-validation by group, named ``fold-1-of-3-train``, ``-fit``, ``-validation`` or ``-test``.

    Attributes:
        number: which fold, from 1.
        of: number of folds.
        part: ``test`` for the fold itself, ``train`` for all others; ``fit`` and ``validation`` divide ``train`` 9 to
            1, for a recipe that chooses its best epoch and must not choose it by the test.
    """

    number: int
    of: int
    part: str

    def faces(self, items: Iterable[Grouped]) -> list[Grouped]:
        """The faces or scenes on this side, in the order given."""
        return [item for item in items if self._holds(item.group)]

    def _holds(self, group: str) -> bool:
        tested = fold_of(group, self.of) == self.number - 1
        # Another hash than that of the folds: with ten folds, the same hash would leave nine of them no validation.
        kept = fold_of(f"validation/{group}", VALIDATION_PARTS) == 0
        sides = {"test": tested, "train": not tested, "fit": not (tested or kept), "validation": kept and not tested}
        return sides[self.part]


def parse_fold(split: str) -> Fold | None:
    """The fold that a split is named after; None for a split whose name does not begin with ``fold-``.

    Raises:
        ConfigError: the name begins with ``fold-`` and is not that of a fold.
    """
    if not split.startswith("fold-"):
        return None
    found = re.fullmatch(r"fold-(\d{1,3})-of-(\d{1,3})-(train|fit|validation|test)", split)
    if found is not None:
        fold = Fold(int(found[1]), int(found[2]), found[3])
        if fold.of >= 2 and 1 <= fold.number <= fold.of:
            return fold
    raise ConfigError(
        f"Unknown fold {split!r}; expected a name such as fold-1-of-3-train, -fit, -validation or -test, "
        "with a number from 1 to the number of folds"
    )


CLASSES = ("profile", "frontal", "head_up", "head_down", "expression", "occlusion")
"""Kinds in the order of ``face_kinds``: Guo et al. (2019), "PFLD", section 2.2."""

TURNED, TILTED = math.radians(30), math.radians(15)
"""A profile is turned by more than ``TURNED``, a head up or down is tilted by more than ``TILTED``; PFLD gives no
angles."""


def face_kinds(faces: Sequence[Annotation]) -> Bool[np.ndarray, "n 6"]:
    """Find which of ``CLASSES`` each face belongs to; a face may belong to several.

    The pose is computed from the true points.  Expression and occlusion are attributes of sets such as WFLW; in a set
    without these attributes no face belongs to the two classes.

    Args:
        faces: all of one scheme that converts to the 68 points.

    Raises:
        ConfigError: the scheme does not convert.
    """
    kinds = np.zeros((len(faces), len(CLASSES)), np.bool_)
    if not faces:
        return kinds
    pose = head_pose(convert(np.stack([face.points for face in faces]), faces[0].scheme, IBUG_68))
    with np.errstate(invalid="ignore"):
        kinds[:, 0] = np.abs(pose.yaw) > TURNED
        kinds[:, 1] = np.abs(pose.yaw) <= TURNED
        kinds[:, 2] = pose.pitch < -TILTED
        kinds[:, 3] = pose.pitch > TILTED
    for column, name in ((4, "expression"), (5, "occlusion")):
        kinds[:, column] = [face.attributes.get(name, False) for face in faces]
    return kinds
