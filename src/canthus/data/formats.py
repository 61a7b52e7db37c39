"""Label files that several datasets share: lines of text, .pts, MATLAB 5, and lists of faces."""

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Float32, Float64

from canthus.data.datasets import DAMAGED, Problem
from canthus.errors import DataError
from canthus.lookup import require


def read_text(path: Path, expected: str = "") -> str:
    """The text of a file, without a byte order mark.

    Args:
        path: the file.
        expected: what the file should be, for the message.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        hint = f"; expected {expected}" if expected else ""
        raise DataError(f"{path}: cannot be read ({error.strerror}){hint}") from error


def numbered_lines(path: Path, expected: str = "", *, name: str = "") -> Iterator[tuple[str, str]]:
    """The lines of a file that are not empty, each with its place ``name:number``.

    Args:
        path: the file.
        expected: what the file should be, for the message.
        name: how messages call the file; its own name where empty.

    Raises:
        DataError: the file cannot be read.
    """
    for number, line in enumerate(read_text(path, expected).splitlines(), start=1):
        if line.strip():
            yield f"{name or path.name}:{number}", line.strip()


def finite_numbers(fields: Sequence[str] | Sequence[float]) -> Float64[np.ndarray, " n"]:
    """Fields of a line as numbers.

    Raises:
        DataError: a field is no number, or is infinite or NaN.
    """
    try:
        numbers = np.array(fields, np.float64)
    except ValueError as error:
        raise DataError(f"expected numbers: {error}") from error
    if not np.isfinite(numbers).all():
        raise DataError("expected finite numbers, found inf or nan")
    return numbers


def read_pts(path: str | os.PathLike[str]) -> Float32[np.ndarray, "k 2"]:
    """Read a ``.pts`` file, with or without the header ``version / n_points / {``.

    The files count pixels from one, as their authors' MATLAB does; one is subtracted here.

    Returns:
        Points in pixels, the centre of the top-left pixel being (0, 0).

    Raises:
        DataError: the file is missing, a line is not a pair of finite numbers, or the header gives another count.
    """
    path = Path(path)
    promised: int | None = None
    rows: list[Float64[np.ndarray, " 2"]] = []
    for where, text in numbered_lines(path, name=str(path)):
        if text == "}":
            break
        if text == "{" or text.startswith("version"):
            continue
        try:
            if text.startswith("n_points"):
                promised = _count(text)
            else:
                rows.append(_pair(text))
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    if not rows:
        raise DataError(f"{path}: holds no point; expected one 'x y' pair a line")
    if promised is not None and promised != len(rows):
        raise DataError(f"{path}: the header promises {promised} points, found {len(rows)}. Is the file cut off?")
    return (np.array(rows, np.float64) - 1).astype(np.float32)


def write_pts(path: str | os.PathLike[str], points: Float[np.ndarray, "k 2"]) -> None:
    """Write points (pixels, counted from zero) as a ``.pts`` file, which counts from one."""
    body = "".join(f"{x + 1:.3f} {y + 1:.3f}\n" for x, y in points.astype(np.float64))
    Path(path).write_text(f"version: 1\nn_points: {len(points)}\n{{\n{body}}}\n", encoding="utf-8")


def _count(text: str) -> int:
    try:
        return int(text.partition(":")[2])
    except ValueError as error:
        raise DataError(f"expected 'n_points: <number>', found {text[:60]!r}") from error


def _pair(text: str) -> Float64[np.ndarray, " 2"]:
    fields = text.replace(",", " ").split()
    try:
        x, y = (float(field) for field in fields)
    except ValueError as error:
        raise DataError(f"expected two numbers 'x y', found {text[:60]!r}") from error
    return finite_numbers((x, y))


def read_matlab(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read some variables of a MATLAB 5 file, as scipy gives them: arrays, and cells as arrays of objects.

    Raises:
        DataError: it is no such file, is damaged, or lacks a variable.
        MissingExtraError: scipy is not installed.
    """
    matlab = require("scipy.io.matlab", extra="datasets")
    try:
        content = matlab.loadmat(path)
    # What scipy raises on files that are cut, damaged, of another version, or no MATLAB files at all.
    except (OSError, ValueError, TypeError, NotImplementedError, zlib.error, matlab.MatReadError) as error:
        raise DataError(f"{path}: not a MATLAB file that can be read; expected a MATLAB 5 file ({error})") from error
    missing = [name for name in names if name not in content]
    if missing:
        wanted = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        raise DataError(f"{path}: expected {wanted}; found no {', '.join(missing)}")
    return {name: content[name] for name in names}


def matlab_text(cell: Any) -> str:
    """The text in nested MATLAB cells; empty where there is none."""
    array = np.asarray(cell)
    while array.dtype == object and array.size:
        array = np.asarray(array.flat[0])
    return str(array.ravel()[0]) if array.size else ""


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
    """Read a list of pictures with the number of their faces and one line a face.

    A picture whose entry is damaged becomes a problem, and reading goes on at the next.

    Args:
        path: the list.
        fields: how many numbers a face has.
        names_picture: whether a line names a picture, and so begins an entry.

    Raises:
        DataError: the file cannot be read at all.
    """
    lines = [line.strip() for line in read_text(path, f"the list {path.name}").splitlines()]
    starts = [index for index, line in enumerate(lines) if names_picture(line)]
    first = next((index for index, line in enumerate(lines) if line), len(lines))
    starts = sorted({first, *starts})
    pictures: list[ListedPicture] = []
    problems: list[Problem] = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        entry, where = _without_last_blanks(lines[start:end]), f"{path.name}:{start + 1}"
        if not entry:
            continue
        if not names_picture(entry[0]):
            problems.append(Problem(DAMAGED, where, f"expected the name of a picture, found {entry[0][:60]!r}"))
            continue
        try:
            pictures.append(ListedPicture(where, entry[0], _rows(entry[1:], fields)))
        except _LineError as error:
            problems.append(Problem(DAMAGED, f"{path.name}:{start + 2 + error.line}", str(error)))
    return pictures, problems


def _without_last_blanks(lines: list[str]) -> list[str]:
    filled = [index for index, line in enumerate(lines) if line]
    return lines[: filled[-1] + 1] if filled else []


@final
class _LineError(Exception):
    """A problem of line ``line`` below the name of a picture."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


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
            numbers = finite_numbers(text.split())
        except DataError as error:
            raise _LineError(index + 1, str(error)) from error
        if len(numbers) != fields:
            raise _LineError(index + 1, f"expected {fields} numbers, found {len(numbers)}")
        rows[index] = numbers
    return rows
