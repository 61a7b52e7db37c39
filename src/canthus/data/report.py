"""What a check of a dataset finds, and how its pictures are opened."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import sha1
from pathlib import Path
from typing import Any, final

from canthus.data.problems import Problem
from canthus.errors import ImageError
from canthus.images import decode_image
from canthus.types import Image

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
