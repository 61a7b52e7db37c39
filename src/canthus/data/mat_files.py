"""Read MATLAB files of version 5, in which data sets keep lists: numbers, texts and cells, no more.

Format: "MAT-File Format" (The MathWorks), Level 5: a header of 128 bytes, then data elements, each a tag (type and
number of bytes) and its data, padded to eight bytes; an element may be compressed whole.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, final

import numpy as np

from canthus.errors import DataError

MatValue: TypeAlias = np.ndarray | str
"""An array of numbers, an array of further values (a cell array, dtype ``object``), or a text."""

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _CHAR = 1, 4
_NUMERIC = range(6, 16)
_COMPLEX = 0x0800


@final
@dataclass(frozen=True)
class _Element:
    kind: int
    data: memoryview
    order: str

    def numbers(self) -> np.ndarray:
        if self.kind not in _NUMBERS:
            raise ValueError(f"numbers of the unknown type {self.kind}")
        return np.frombuffer(self.data, self.order + _NUMBERS[self.kind])

    def text(self) -> str:
        if self.kind not in _TEXTS:
            raise ValueError(f"a text of the unknown type {self.kind}")
        ends = {"<": "-le", ">": "-be"}[self.order] if _TEXTS[self.kind] in ("utf-16", "utf-32") else ""
        return bytes(self.data).decode(_TEXTS[self.kind] + ends)


def read_mat(path: str | os.PathLike[str]) -> dict[str, MatValue]:
    """Variables of a file by name.

    Raises:
        DataError: the file cannot be read, is damaged, of another version, or holds other kinds of values.
    """
    name = os.fspath(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror})") from error
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or len(data) < _HEADER:
        raise DataError(f"{name}: is no MATLAB file of version 5; files of 7.3 must be saved with '-v7'")
    try:
        return dict(_variable(element) for element in _elements(memoryview(data)[_HEADER:], order))
    except (ValueError, struct.error, zlib.error, IndexError, StopIteration) as error:
        raise DataError(f"{name}: damaged, or holds more than numbers, texts and cells ({error})") from error


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    position = 0
    while position + 8 <= len(data):
        (first,) = struct.unpack_from(order + "I", data, position)
        if first >> 16:  # up to four bytes of data lie in the tag itself
            kind, size, start, position = first & 0xFFFF, first >> 16, position + 4, position + 8
        else:
            (size,) = struct.unpack_from(order + "I", data, position + 4)
            kind, start = first, position + 8
            position = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if start + size > len(data):
            raise ValueError("the file ends within a value")
        if kind == _COMPRESSED:
            yield from _elements(memoryview(zlib.decompress(data[start : start + size])), order)
        else:
            yield _Element(kind, data[start : start + size], order)


def _variable(element: _Element) -> tuple[str, MatValue]:
    """Name and value of a matrix."""
    if element.kind != _MATRIX:
        raise ValueError(f"an element of type {element.kind} where a matrix was expected")
    if len(element.data) == 0:
        return "", np.zeros((0, 0))
    parts = list(_elements(element.data, element.order))
    flags = int(parts[0].numbers()[0])
    shape, name, kind = parts[1].numbers().tolist(), parts[2].text(), flags & 0xFF
    if kind == _CELL:
        cells = np.empty(len(parts) - 3, object)
        for index, part in enumerate(parts[3:]):
            cells[index] = _variable(part)[1]
        return name, cells.reshape(shape, order="F")
    if kind == _CHAR:
        return name, parts[3].text() if len(parts) > 3 else ""
    if kind in _NUMERIC and not flags & _COMPLEX:
        return name, parts[3].numbers().reshape(shape, order="F")
    raise ValueError(f"{name!r} is of class {kind}")
