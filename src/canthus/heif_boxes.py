"""The boxes of HEIC and AVIF files: the sides of the picture, and how it is turned.

A file consists of boxes, which may hold boxes (ISO/IEC 14496-12).  The box ``ipco`` lists properties, and ``ipma`` says
which of them each picture has (ISO/IEC 23008-12).
"""

import struct
from collections.abc import Iterator
from itertools import islice

_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"
)
_OUTER = frozenset({b"iprp", b"ipco", b"moov", b"trak"})
"""Boxes that hold nothing but boxes, on the way to the sides of a picture."""
_MOST = 10_000
"""Most boxes and items that are looked at."""


def read_heif(data: bytes) -> tuple[tuple[int, int], list[tuple[bytes, int]]]:
    """Width and height of the picture before it is turned, and its properties in the order in which they are applied.

    A property is given by its name and first byte: ``irot`` and the number of quarter turns anticlockwise, ``imir`` and
    the axis that is reversed, 0 for up and down.  The sides are 0 where the file has none.

    Raises:
        struct.error, IndexError: the data ends within a box.
    """
    boxes = list(islice(_boxes_below(data, 0, len(data)), _MOST))
    return _sides(data, boxes), list(_properties(data, boxes))


def heif_kind(data: bytes) -> str:
    """``AVIF`` or ``HEIC`` by the brands of the file; empty for other ISO media, such as videos."""
    if data[4:8] != b"ftyp":
        return ""
    end = min(int.from_bytes(data[:4], "big"), 256)
    kinds = {_BRANDS.get(data[at : at + 4], "") for at in (8, *range(16, end, 4))}
    return next((kind for kind in ("AVIF", "HEIC") if kind in kinds), "")


def _boxes(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each box of an ISO media file; at most ``_MOST``."""
    for _ in range(_MOST):
        if position + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        start = position + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        stop = end if length == 0 else min(end, position + length)
        if stop < start:
            return
        yield kind, start, stop
        position = stop


def _boxes_below(data: bytes, position: int, end: int, depth: int = 4) -> Iterator[tuple[bytes, int, int]]:
    """All boxes on the way to the sides of pictures and tracks, outer ones first."""
    for kind, start, stop in _boxes(data, position, end):
        yield kind, start, stop
        if depth > 1 and (kind in _OUTER or kind == b"meta"):
            yield from _boxes_below(data, start + (4 if kind == b"meta" else 0), stop, depth - 1)


def _sides(data: bytes, boxes: list[tuple[bytes, int, int]]) -> tuple[int, int]:
    """Sides of the largest picture or track: those of a grid, which consists of smaller ones; 0, 0 without any."""
    pictures = [struct.unpack_from(">II", data, start + 4) for kind, start, _ in boxes if kind == b"ispe"]
    tracks = [struct.unpack_from(">II", data, stop - 8) for kind, _, stop in boxes if kind == b"tkhd"]
    sides = [*pictures, *((width >> 16, height >> 16) for width, height in tracks)]
    return max(sides, key=lambda side: side[0] * side[1], default=(0, 0))


def _properties(data: bytes, boxes: list[tuple[bytes, int, int]]) -> Iterator[tuple[bytes, int]]:
    """Name and first byte of each property of the main picture, in the order in which they are applied."""
    item, properties = 0, list[tuple[bytes, int]]()
    applied: dict[int, list[int]] = {}
    for kind, start, stop in boxes:
        if kind == b"pitm":
            (item,) = struct.unpack_from(">I" if data[start] else ">H", data, start + 4)
        elif kind == b"ipco":
            properties = [(name, data[at]) for name, at, end in _boxes(data, start, stop) if at < end]
        elif kind == b"ipma":
            applied |= _associations(data, start)
    yield from (properties[number - 1] for number in applied.get(item, []) if 0 < number <= len(properties))


def _associations(data: bytes, start: int) -> dict[int, list[int]]:
    """Numbers of the properties of each item, counted from 1, in the order in which they are applied."""
    (flags,) = struct.unpack_from(">I", data, start)
    (items,) = struct.unpack_from(">I", data, start + 4)
    position, found = start + 8, {}
    for _ in range(min(items, _MOST)):
        item, count = struct.unpack_from(">IB" if flags >> 24 else ">HB", data, position)
        position += 5 if flags >> 24 else 3
        layout, most = (">H", 0x7FFF) if flags & 1 else (">B", 0x7F)
        size = struct.calcsize(layout)
        found[item] = [struct.unpack_from(layout, data, position + size * i)[0] & most for i in range(count)]
        position += size * count
    return found
