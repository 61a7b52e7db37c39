"""Label files that several datasets share: lines of text, .pts, MATLAB 5, and lists of faces."""

import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Float32, Float64

from canthus.data.datasets import DAMAGED, Problem
from canthus.errors import DataError
from canthus.files import write_text
from canthus.lookup import require

MAX_TEXT, MAX_POINTS_FILE, MAX_MATLAB = 500_000_000, 1_000_000, 500_000_000
"""Most bytes of a label file, of a ``.pts`` file, which holds the points of one face, and of the variables in a MATLAB
file."""
_MATLAB_PACKED, _UNPACKED_AT_ONCE = 15, 1_000_000


def read_text(path: Path, expected: str = "", *, max_bytes: int = MAX_TEXT) -> str:
    """The text of a file, without a byte order mark.

    Raises:
        DataError: it cannot be read, or is longer than ``max_bytes``; the message names what was ``expected``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise DataError(f"{path}: is longer than {max_bytes / 1e6:.0f} MB, which is no file of labels")
        return data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        hint = f"; expected {expected}" if expected else ""
        raise DataError(f"{path}: cannot be read ({error.strerror}){hint}") from error


def numbered_lines(
    path: Path, expected: str = "", *, name: str = "", max_bytes: int = MAX_TEXT
) -> Iterator[tuple[str, str]]:
    """The lines of a file that are not empty, each with its place ``name:number``; raises as ``read_text`` does.

    ``name`` is the file's own where it is empty.
    """
    for number, line in enumerate(read_text(path, expected, max_bytes=max_bytes).splitlines(), start=1):
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
    for where, text in numbered_lines(path, name=str(path), max_bytes=MAX_POINTS_FILE):
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
    write_text(path, points_text(points))


def points_text(points: Float[np.ndarray, "k 2"]) -> str:
    """Points (pixels, counted from zero) as the text of a ``.pts`` file, which counts from one."""
    body = "".join(f"{x + 1:.3f} {y + 1:.3f}\n" for x, y in points.astype(np.float64))
    return f"version: 1\nn_points: {len(points)}\n{{\n{body}}}\n"


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
        DataError: it is no such file, is damaged, lacks a variable, or would take more than ``MAX_MATLAB`` bytes.
        MissingExtraError: scipy is not installed.
    """
    matlab = require("scipy.io.matlab", extra="datasets")
    try:
        if _matlab_bytes(path, MAX_MATLAB) > MAX_MATLAB:
            raise DataError(f"{path}: its variables take more than {MAX_MATLAB / 1e6:.0f} MB, which are no labels")
        content = matlab.loadmat(path)
    # scipy does not check what it reads. Seen on 6,000 files with changed bytes: OSError and MatReadError (cut),
    # zlib.error (packed data), ValueError (no MATLAB file, or lengths), TypeError (kinds of numbers), IndexError and
    # UnboundLocalError (classes of arrays). NotImplementedError is MATLAB 7.3, which is HDF5.
    except (
        OSError, matlab.MatReadError, zlib.error, ValueError, TypeError, IndexError, UnboundLocalError,
        NotImplementedError,
    ) as error:  # fmt: skip
        raise DataError(f"{path}: not a MATLAB file that can be read; expected a MATLAB 5 file ({error})") from error
    missing = [name for name in names if name not in content]
    if missing:
        wanted = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        raise DataError(f"{path}: expected {wanted}; found no {', '.join(missing)}")
    return {name: content[name] for name in names}


def _matlab_bytes(path: Path, enough: int) -> int:
    """Bytes of the variables of a MATLAB 5 file, unpacked; counted until they are more than ``enough``."""
    total = 0
    with path.open("rb") as file:
        order = ">" if file.read(128)[126:] == b"MI" else "<"
        while total <= enough and len(tag := file.read(8)) == 8:
            kind, size = struct.unpack(order + "II", tag)
            if kind != _MATLAB_PACKED:
                start = file.tell()
                total += min(file.seek(size, os.SEEK_CUR), path.stat().st_size) - start  # a damaged size says more
                continue
            unpacker, rest = zlib.decompressobj(), file.read(min(size, enough))
            while total <= enough and rest and not unpacker.eof:
                total += len(unpacker.decompress(rest, _UNPACKED_AT_ONCE))
                rest = unpacker.unconsumed_tail
    return total


def matlab_text(cell: Any) -> str:
    """The text in nested MATLAB cells; empty where there is none."""
    array = np.asarray(cell)
    while array.dtype == object and array.size:
        array = np.asarray(array.flat[0])
    return str(array.ravel()[0]) if array.size else ""


@final
@dataclass(frozen=True)
class ListedPicture:
    """One picture as a list names it, and the numbers of each face."""

    name: str
    rows: Float64[np.ndarray, "n f"]


def read_face_list(
    path: Path, *, fields: int, names_picture: Callable[[str], bool]
) -> tuple[list[tuple[str, ListedPicture]], list[Problem]]:
    """Read a list of pictures with the number of their faces and one line a face.

    Args:
        path: the list.
        fields: how many numbers a face has.
        names_picture: whether a line names a picture, and so begins an entry.

    Returns:
        The place (``file:line``) and content of each entry, and a problem for each that is damaged.

    Raises:
        DataError: the file cannot be read at all.
    """
    lines = [line.strip() for line in read_text(path, f"the list {path.name}").splitlines()]
    starts = [index for index, line in enumerate(lines) if names_picture(line)]
    first = [index for index, line in enumerate(lines) if line][:1]
    borders = [*sorted({*first, *starts}), len(lines)]
    pictures: list[tuple[str, ListedPicture]] = []
    problems: list[Problem] = []
    for start, end in pairwise(borders):
        where = [f"{path.name}:{number}" for number in range(start + 1, end + 2)]
        name, *body = "\n".join(lines[start:end]).rstrip().split("\n")
        if not names_picture(name):
            problems.append(Problem(DAMAGED, where[0], f"expected the name of a picture, found {name[:60]!r}"))
            continue
        rows = _rows(body, fields, where[1:])
        if isinstance(rows, Problem):
            problems.append(rows)
        else:
            pictures.append((where[0], ListedPicture(name, rows)))
    return pictures, problems


def _rows(body: list[str], fields: int, where: list[str]) -> Float64[np.ndarray, "n f"] | Problem:
    """The faces of one entry, the line with their number and one line each, or the first problem."""
    if not body or not body[0].isdecimal():
        text = f"expected the number of faces, found {body[0][:60] if body else 'nothing'!r}"
        return Problem(DAMAGED, where[0], text)
    count, faces = int(body[0]), body[1:]
    if count == 0 and len(faces) == 1:
        faces = []  # WIDER FACE puts one line of zeros where there is no face
    if len(faces) != count:
        return Problem(DAMAGED, where[0], f"promises {count} faces, found {len(faces)} lines")
    rows = np.empty((count, fields))
    for row, place, text in zip(rows, where[1:], faces, strict=False):
        try:
            numbers = finite_numbers(text.split())
        except DataError as error:
            return Problem(DAMAGED, place, str(error))
        if len(numbers) != fields:
            return Problem(DAMAGED, place, f"expected {fields} numbers, found {len(numbers)}")
        row[:] = numbers
    return rows
