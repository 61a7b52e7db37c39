"""What is wrong with a dataset: problems of single faces, and the report over all of them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha1
from pathlib import Path
from typing import Any, final

from canthus.errors import DataError, ImageError
from canthus.images import decode_image
from canthus.types import Annotation, Image, Scene

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


Progress = Callable[[int, int], None]
"""Called with the number of pictures done and the number of all pictures."""


@final
@dataclass(frozen=True)
class PartCount:
    """How much of one part of a dataset is there.

    Attributes:
        name: as the papers call the part.
        faces: labelled faces found.
        published: faces in the published set; None for a folder of one's own.
        within: name of the part whose faces these are too; then they are not counted again.
    """

    name: str
    faces: int
    published: int | None = None
    within: str | None = None

    @property
    def status(self) -> str:
        """``complete``, ``partial``, ``absent``, ``larger`` than published, or ``counted`` where nothing is known."""
        if self.published is None:
            return "counted"
        if self.faces == self.published:
            return "complete"
        if self.faces == 0:
            return "absent"
        return "partial" if self.faces < self.published else "larger"


@final
@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        dataset: name of the dataset.
        root: where it lies.
        parts: what is there, part by part; a part that is not all there is no problem.
        pictures: number of pictures opened.
        problems: what is wrong.
        notes: what is worth knowing and not wrong.
    """

    dataset: str
    root: str
    parts: tuple[PartCount, ...]
    pictures: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def faces(self) -> int:
        """Labelled faces found."""
        return sum(part.faces for part in self.parts if part.within is None)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """The report as plain values for ``json.dump``."""
        parts = [{**asdict(part), "status": part.status} for part in self.parts]
        problems = [asdict(problem) for problem in self.problems]
        return {**asdict(self), "faces": self.faces, "clean": self.clean, "parts": parts, "problems": problems}


@final
@dataclass(frozen=True)
class Findings:
    """What was found so far, and which pictures were seen.

    Attributes:
        problems: what is wrong.
        notes: what is worth knowing and not wrong.
        seen: hash of a file or of its pixels -> the first picture that had it.
    """

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seen: dict[tuple[str, bytes], str] = field(default_factory=dict)

    def open(self, path: Path, key: str) -> Image | None:
        """The picture; None, and a problem, where it cannot be read or its bytes were seen before.

        A picture whose pixels alone were seen before is a problem too, and given.
        """
        try:
            data = path.read_bytes()
            image = decode_image(data, name=key)
        except (OSError, ImageError) as error:
            message = error.strerror if isinstance(error, OSError) else str(error).removeprefix(f"{key}: ")
            text = message or "cannot be read"
            self.problems.append(Problem("unreadable picture", key, text))
            return None
        if self._seen_before("file", data, key):
            return None
        self._seen_before("pixels", image.tobytes() + bytes(str(image.shape), "ascii"), key)
        return image

    def _seen_before(self, what: str, data: bytes, key: str) -> bool:
        first = self.seen.setdefault((what, sha1(data, usedforsecurity=False).digest()), key)
        if first == key:
            return False
        held = "bytes" if what == "file" else what
        self.problems.append(Problem(f"duplicate {what}", key, f"holds the same {held} as {first}"))
        return True
