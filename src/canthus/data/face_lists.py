"""Text lists of faces as face detection sets write them: the picture, the number of faces, one line of numbers a face.

WIDER FACE and FDDB share this format and differ in what the numbers are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float64

from canthus.data.problems import DAMAGED, Problem
from canthus.errors import DataError


@final
@dataclass(frozen=True)
class ListedPicture:
    """One picture of a list.

    Attributes:
        where: file and line, for messages.
        name: the picture as the list names it.
        rows: the numbers of each face.
    """

    where: str
    name: str
    rows: Float64[np.ndarray, "n f"]


def read_face_list(
    path: Path, *, fields: int, names_picture: Callable[[str], bool]
) -> tuple[list[ListedPicture], list[Problem]]:
    """Read a list; a picture whose entry is damaged becomes a problem, and reading goes on at the next.

    Args:
        path: the list.
        fields: how many numbers a face has.
        names_picture: whether a line names a picture, and so begins an entry.

    Raises:
        DataError: the file cannot be read at all.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected the list {path.name}") from error
    pictures: list[ListedPicture] = []
    problems: list[Problem] = []
    for start, entry in _entries(lines, names_picture):
        where = f"{path.name}:{start}"
        if not names_picture(entry[0]):
            problems.append(Problem(DAMAGED, where, f"expected the name of a picture, found {entry[0][:60]!r}"))
            continue
        try:
            pictures.append(ListedPicture(where, entry[0], _rows(entry[1:], fields)))
        except _LineError as error:
            problems.append(Problem(DAMAGED, f"{path.name}:{start + 1 + error.line}", str(error)))
    return pictures, problems


class _LineError(Exception):
    """What is wrong with line ``line`` below the name of a picture."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _entries(lines: list[str], names_picture: Callable[[str], bool]) -> Iterator[tuple[int, list[str]]]:
    """The number of the first line and the lines of each entry; empty lines at its end are left out."""
    entry: list[str] = []
    start = 1
    for number, line in enumerate([*lines, ""], start=1):
        text = line.strip()
        if entry and (names_picture(text) or number > len(lines)):
            while entry and not entry[-1]:
                entry.pop()
            yield start, entry
            entry = []
        if entry or text:
            start = start if entry else number
            entry.append(text)


def _rows(body: list[str], fields: int) -> Float64[np.ndarray, "n f"]:
    """The faces of one entry: the line with their number, then one line each."""
    if not body or not body[0].isdecimal():
        raise _LineError(0, f"expected the number of faces, found {body[0][:60] if body else 'nothing'!r}")
    count, faces = int(body[0]), body[1:]
    if count == 0 and len(faces) == 1:
        faces = []  # WIDER FACE puts one line of zeros where there is no face
    if len(faces) != count:
        raise _LineError(0, f"promises {count} faces, found {len(faces)} lines")
    rows = np.empty((count, fields))
    for index, text in enumerate(faces):
        try:
            numbers = [float(field) for field in text.split()]
        except ValueError as error:
            raise _LineError(index + 1, f"expected {fields} numbers: {error}") from error
        if len(numbers) != fields:
            raise _LineError(index + 1, f"expected {fields} numbers, found {len(numbers)}")
        rows[index] = numbers
    if not np.isfinite(rows).all():
        raise _LineError(0, "expected finite numbers, found inf or nan")
    return rows
