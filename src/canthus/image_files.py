"""Size and completeness of a picture file, read from its bytes without decoding it.

Some decoders fill the missing part of a truncated file with grey, and a small file can declare a gigantic picture.
Both are checked here from the container alone, in well under a millisecond.
"""

import re
import struct

from canthus.errors import ImageError

MAX_PIXELS = 250_000_000
"""Larger pictures are refused; this is more than cameras take, and 750 MB after decoding."""

_JPEG_END = 0xD9
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257


def check_picture_file(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a picture file that is truncated or too large to decode; unknown formats are accepted.

    Raises:
        ImageError: a JPEG, PNG or WebP file is truncated, or the picture is too large.
    """
    try:
        sides = picture_sides(data)
    except (struct.error, IndexError) as error:
        raise ImageError(f"{name}: cut short, the file ends within its header; fetch or copy it again") from error
    if is_cut_short(data):
        raise ImageError(f"{name}: cut short, the file ends before its picture does; fetch or copy it again")
    if sides and sides[0] * sides[1] > max_pixels:
        raise ImageError(
            f"{name}: {sides[0]} x {sides[1]} pixels is more than the {max_pixels / 1e6:.0f} million allowed; shrink it"
        )


def picture_sides(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG, PNG, GIF, WebP, BMP or TIFF file, before rotation by EXIF; None for other formats."""
    if data.startswith(b"\xff\xd8"):
        return _walk_jpeg(data)[0]
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _pair(">II", data, 16)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _pair("<HH", data, 6)
    if data.startswith(b"BM"):
        width, height = struct.unpack_from("<ii", data, 18)
        return abs(width), abs(height)
    if data.startswith((b"II*\0", b"MM\0*")):
        return _tiff_sides(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp_sides(data)
    return None


def is_cut_short(data: bytes) -> bool:
    """Whether a JPEG, PNG or WebP file is truncated; False for other formats, whose decoders detect it."""
    if data.startswith(b"\xff\xd8"):
        return not _walk_jpeg(data)[1]
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data.rfind(b"IEND") < 0
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return len(data) < 8 + int(struct.unpack_from("<I", data, 4)[0])
    return False


def _pair(layout: str, data: bytes, offset: int) -> tuple[int, int]:
    first, second = struct.unpack_from(layout, data, offset)
    return int(first), int(second)


def _walk_jpeg(data: bytes) -> tuple[tuple[int, int] | None, bool]:
    """Sides, and whether the end marker of the picture is there (a thumbnail in EXIF has its own)."""
    sides, position = None, 2
    while True:
        found = _NEXT_MARKER.search(data, position)
        if found is None:
            return sides, False
        marker, position = data[found.start() + 1], found.end()
        if marker == _JPEG_END:
            return sides, True
        if marker in _JPEG_ALONE:
            continue
        if position + 2 > len(data):
            return sides, False
        if marker in _JPEG_FRAMES and position + 7 <= len(data):
            height, width = _pair(">HH", data, position + 3)
            sides = width, height
        position += max(2, int.from_bytes(data[position : position + 2], "big"))


def _webp_sides(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8 ":
        width, height = _pair("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = int(struct.unpack_from("<I", data, 21)[0])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def _tiff_sides(data: bytes) -> tuple[int, int] | None:
    """Read the first directory: entries of tag, type (3 = 16 bits, 4 = 32 bits), count and value."""
    order = "<" if data.startswith(b"II") else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, start)
    values = {}
    for number in range(entries):
        offset = start + 2 + 12 * number
        tag, kind = struct.unpack_from(order + "HH", data, offset)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            (values[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, offset + 8)
    if len(values) < 2:
        return None
    return int(values[_TIFF_WIDTH]), int(values[_TIFF_HEIGHT])
