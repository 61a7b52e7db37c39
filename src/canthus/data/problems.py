"""What is wrong with a dataset on disk, one line a problem."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from canthus.errors import DataError
from canthus.types import Annotation, Scene

UNLABELLED = "picture without points"
"""The one kind of problem a reader passes over: such a picture is simply no part of the set."""

DAMAGED = "damaged label"

SHOWN = 20
"""How many problems an error message, or notes of one kind, spell out."""


@final
@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: short name of what is wrong, the same for all problems of that sort.
        where: file, ``file:line`` or key of the face.
        message: what was found and what was expected.
    """

    kind: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@final
@dataclass(frozen=True)
class Scan:
    """What the labels of a dataset hold, before any picture is opened.

    Attributes:
        faces: the faces that can be read, sorted by key.
        problems: everything that cannot.
        notes: what is worth knowing and not wrong.
    """

    faces: list[Annotation]
    problems: list[Problem]
    notes: list[str] = field(default_factory=list)


@final
@dataclass(frozen=True)
class SceneScan:
    """What the labels of a set of scenes hold, before any picture is opened.

    Attributes:
        scenes: the pictures whose labels can be read, sorted by key.
        problems: everything that cannot.
    """

    scenes: list[Scene]
    problems: list[Problem]


def damaged(path: Path, key: str, error: DataError) -> Problem:
    """The problem behind an error that begins with ``path`` and perhaps a line number.

    Args:
        path: the label file.
        key: how a report calls it.
        error: what reading it raised.
    """
    line, _, message = str(error).removeprefix(str(path)).partition(": ")
    return Problem(DAMAGED, f"{key}{line}", message)


def readable(scan: Scan, *, name: str, root: Path) -> list[Annotation]:
    """The faces of a scan without problems; pictures without points do not count as one.

    Args:
        scan: what was found.
        name: of the dataset.
        root: where it lies.

    Raises:
        DataError: there are problems; the message lists the first of them.
    """
    _refuse(scan.problems, name, root)
    return scan.faces


def readable_scenes(scan: SceneScan, *, name: str, root: Path) -> list[Scene]:
    """The pictures of a scan without problems; pictures without labels do not count as one.

    Args:
        scan: what was found.
        name: of the set.
        root: where it lies.

    Raises:
        DataError: there are problems; the message lists the first of them.
    """
    _refuse(scan.problems, name, root)
    return scan.scenes


def _refuse(found: Sequence[Problem], name: str, root: Path) -> None:
    problems = [problem for problem in found if problem.kind != UNLABELLED]
    if problems:
        raise DataError(f"{root}: {_summary(problems, f'canthus data check {name} {root}')}")


def _summary(problems: Sequence[Problem], check: str) -> str:
    lines = "".join(f"\n  {problem}" for problem in problems[:SHOWN])
    more = f"\n  ... and {len(problems) - SHOWN} more; '{check}' lists them all" if len(problems) > SHOWN else ""
    return f"{counted(len(problems), 'problem')}:{lines}{more}"


def counted(number: int, word: str) -> str:
    """``1 problem`` or ``2 problems``."""
    return f"{number} {word}{'' if number == 1 else 's'}"
