"""What a picture file promises, read from its bytes before any pixel is decoded.

A small file can promise a gigantic picture, and some decoders fill what a file lacks with grey.  Size, memory and
completeness are therefore checked here from the container alone, in milliseconds.  A format whose sides are not found
in its header is not decoded at all.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import final

from canthus.errors import ImageError
from canthus.heif_boxes import heif_kind, read_heif

MAX_PIXELS = 250_000_000
"""Larger pictures are refused; this is more than cameras take, and 750 MB after decoding."""
MAX_MEMORY = 2_500_000_000
"""Most bytes that a file and its decoding may take together."""
FREE_PIXELS, MAX_PIXELS_PER_BYTE = 50_000_000, 1000
"""Pictures of more than ``FREE_PIXELS`` need a byte for so many pixels; photos have a byte for 20 pixels or fewer."""
_PER_PIXEL = 6.2
"""Bytes a pixel that OpenCV needs to decode most formats: the picture and one copy, and a little."""

_DEFLATE_MOST = 1032
"""No deflate stream grows by more than this factor."""
_JPEG_MOST = 512
"""Pixels that a byte of a JPEG holds at most: one bit for each block of 8 x 8."""
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_SCANS = 200
"""Most scans of a JPEG; encoders make about ten, and each one costs a pass over the whole picture."""
_JPEG_MARKERS, _PNG_CHUNKS = 10_000, 1_000_000
"""Most parts of a file that are looked at; encoders make fewer for the largest pictures."""
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_TIFF_KINDS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_SAMPLES, _TIFF_STRIP = 256, 257, 258, 277, 278
_TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT, _TIFF_FORMAT = 322, 323, 339
_FLOATING = "its pixels are floating-point numbers, which have no fixed white; save it with 8 or 16 bits"


@final
@dataclass(frozen=True)
class PictureHeader:
    """What a picture file says of itself.

    Attributes:
        kind: name of the format.
        width: in pixels, before any rotation.
        height: in pixels, before any rotation.
        per_pixel: bytes of memory a pixel that decoding needs, the decoded picture included.
        extra: bytes of memory that decoding needs beside that.
        whole: False if the file certainly ends before its picture does.
        problem: why such a file is not read; empty if it is.
        quarter_turns: how often the decoded picture is turned by 90 degrees anticlockwise; HEIC and AVIF alone.
        mirror: which axis of the decoded array is reversed after the turns, 0 or 1; None for none.
    """

    kind: str
    width: int
    height: int
    per_pixel: float = _PER_PIXEL
    extra: int = 0
    whole: bool = True
    problem: str = ""
    quarter_turns: int = 0
    mirror: int | None = None

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    @property
    def memory(self) -> int:
        """Bytes that decoding takes at its peak."""
        return round(self.pixels * self.per_pixel) + self.extra


def check_picture_file(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> PictureHeader | None:
    """Read the header of a picture file; refuse a file that is cut short or would take too much memory.

    Returns:
        The header; None if the data is of no known format, or its header lacks the sides.

    Raises:
        ImageError: the file is cut short, cannot be read, or the picture is too large.
    """
    try:
        header = read_header(data)
    except (struct.error, IndexError) as error:
        raise ImageError(f"{name}: cut short, the file ends within its header; fetch or copy it again") from error
    if header is None or (header.whole and min(header.width, header.height) <= 0):
        return None
    if header.problem:
        raise ImageError(f"{name}: {header.problem}")
    sides = f"{header.width} x {header.height} pixels"
    if header.pixels > max_pixels:
        raise ImageError(f"{name}: {sides} is more than the {max_pixels / 1e6:.0f} million allowed; shrink it")
    if not header.whole:
        raise ImageError(f"{name}: cut short, the file ends before its picture does; fetch or copy it again")
    if header.pixels > max(FREE_PIXELS, MAX_PIXELS_PER_BYTE * len(data)):
        raise ImageError(f"{name}: {sides} in {len(data):,} bytes cannot be a photo; save or shrink it anew")
    if header.memory + len(data) > MAX_MEMORY:
        raise ImageError(
            f"{name}: {sides} of {header.kind} would take {(header.memory + len(data)) / 1e9:.1f} GB to decode, "
            f"{MAX_MEMORY / 1e9:.1f} GB are allowed; shrink it"
        )
    return header


def read_header(data: bytes) -> PictureHeader | None:
    """The header of a picture file; None for data of no known format, or where the header lacks the sides.

    Raises:
        struct.error, IndexError: the data ends within the header.
    """
    return next((read(data) for is_kind, read in _FORMATS if is_kind(data)), None)


def is_known(data: bytes) -> bool:
    """Whether the first bytes of a file are those of a known format."""
    return any(is_kind(data) for is_kind, _ in _FORMATS)


def picture_sides(data: bytes) -> tuple[int, int] | None:
    """Width and height of a picture file, before any rotation; None for unknown formats."""
    header = read_header(data)
    return None if header is None else (header.width, header.height)


def is_cut_short(data: bytes) -> bool:
    """Whether a picture file certainly ends before its picture does; False where only its decoder can tell."""
    header = read_header(data)
    return header is not None and not header.whole


def without_animation(png: bytes) -> bytes:
    """A PNG file as programs read it that know no animation: its still picture alone.

    OpenCV decodes the frames of an animation into memory that it does not clear, and takes what a damaged frame lacks
    from there.  Its decoder of still pictures refuses such files.
    """
    kept, moves = [_PNG], False
    for kind, start, end in _png_chunks(png):
        if kind in _PNG_ANIMATION:
            moves = True
        else:
            kept.append(png[start - 8 : end + 4])
    return b"".join(kept) if moves else png


def _jpeg_markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Each marker up to the end of the picture, and the position behind it; a thumbnail in EXIF has its own end."""
    position = 2
    for _ in range(_JPEG_MARKERS):
        found = _NEXT_MARKER.search(data, position)
        if found is None:
            return
        marker, position = data[found.start() + 1], found.end()
        if marker in _JPEG_ALONE:
            continue
        yield marker, position
        if marker == _JPEG_END:
            return
        position += max(2, int.from_bytes(data[position : position + 2], "big"))


def _jpeg(data: bytes) -> PictureHeader:
    header, scans = PictureHeader("JPEG", 0, 0, whole=False), 0
    awaited: set[int] = set()
    for marker, position in _jpeg_markers(data):
        if marker == _JPEG_END:
            return replace(header, whole=not awaited and header.pixels <= _JPEG_MOST * len(data))
        if marker in _JPEG_FRAMES:
            if header.pixels:
                return replace(header, problem="damaged, it has two frame headers; expected one")
            header, awaited = _jpeg_frame(data, marker, position)
        elif marker == _JPEG_SCAN:
            scans += 1
            awaited -= set(data[position + 3 : position + 3 + 2 * data[position + 2] : 2])
        if scans > _JPEG_SCANS:
            return replace(header, problem=f"has more than {_JPEG_SCANS} scans, which no encoder makes")
    return header


def _jpeg_frame(data: bytes, marker: int, position: int) -> tuple[PictureHeader, set[int]]:
    """The header that a frame header describes, so far not whole, and the numbers of its components."""
    components = set(data[position + 8 : position + 8 + 3 * data[position + 7] : 3])
    height, width = struct.unpack_from(">HH", data, position + 3)
    needed = 3.2 + 2 * len(components) if marker in _JPEG_PROGRESSIVE else 0
    return PictureHeader("JPEG", width, height, per_pixel=max(needed, _PER_PIXEL), whole=False), components


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each chunk, up to the last or the one that is cut."""
    position = len(_PNG)
    for _ in range(_PNG_CHUNKS):
        if position + 8 > len(data):
            return
        (length,) = struct.unpack_from(">I", data, position)
        kind, start = data[position + 4 : position + 8], position + 8
        yield kind, start, min(start + length, len(data))
        position = start + length + 4
        if kind == b"IEND":
            return


def _png(data: bytes) -> PictureHeader:
    width, height, bits, color = struct.unpack_from(">IIBB", data, 16)
    stored, last = 0, b""
    for kind, start, end in _png_chunks(data):
        stored += end - start if kind == b"IDAT" else 0
        last = kind
    row = 1 + width * bits * _PNG_SAMPLES.get(color, 1) // 8
    return PictureHeader("PNG", width, height, whole=last == b"IEND" and row * height <= _DEFLATE_MOST * (stored + 1))


def _gif(data: bytes) -> PictureHeader:
    width, height = struct.unpack_from("<HH", data, 6)
    return PictureHeader("GIF", width, height, per_pixel=8.2)


def _bmp(data: bytes) -> PictureHeader:
    """Windows' header, or the one of OS/2 with 12 bytes."""
    start, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        packing = 0
    else:
        width, height, _, bits, packing = struct.unpack_from("<iiHHI", data, 18)
    stored = (abs(width) * bits + 31) // 32 * 4 * abs(height)
    compressed = packing in (1, 2)
    return PictureHeader("BMP", abs(width), abs(height), whole=compressed or start + stored <= len(data) + 3)


def _tiff(data: bytes) -> PictureHeader | None:
    """Read the first directory: entries of tag, type, count and value; BigTIFF has longer ones."""
    order, big = "<" if data.startswith(b"II") else ">", data[2:4] in (b"+\0", b"\0+")
    start, counted, entry, value_at = (16, "Q", 20, 12) if big else (8, "H", 12, 8)
    (start,) = struct.unpack_from(order + "Q", data, 8) if big else struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + counted, data, start)
    values: dict[int, int] = {}
    for number in range(min(entries, 65535)):
        offset = start + struct.calcsize(counted) + entry * number
        tag, kind = struct.unpack_from(order + "HH", data, offset)
        (count,) = struct.unpack_from(order + ("Q" if big else "I"), data, offset + 4)
        layout = _TIFF_KINDS.get(kind)
        if layout is None:
            continue
        if count * struct.calcsize(layout) > entry - value_at:  # the value lies elsewhere; all samples are alike
            (offset,) = struct.unpack_from(order + ("Q" if big else "I"), data, offset + value_at)
            offset -= value_at
        if offset + value_at + struct.calcsize(layout) <= len(data):
            (values[tag],) = struct.unpack_from(order + layout, data, offset + value_at)
    return _tiff_header(values)


def _tiff_header(values: dict[int, int]) -> PictureHeader | None:
    if not {_TIFF_WIDTH, _TIFF_HEIGHT} <= values.keys():
        return None
    width, height = values[_TIFF_WIDTH], values[_TIFF_HEIGHT]
    sample = values.get(_TIFF_SAMPLES, 1) * values.get(_TIFF_BITS, 1) / 8
    part = width * min(height, values.get(_TIFF_STRIP, height))
    if _TIFF_TILE_WIDTH in values:
        part = values[_TIFF_TILE_WIDTH] * values.get(_TIFF_TILE_HEIGHT, 1)
    problem = _FLOATING if values.get(_TIFF_FORMAT) == 3 else ""
    return PictureHeader("TIFF", width, height, extra=round(2 * part * sample), problem=problem)


def _webp(data: bytes) -> PictureHeader | None:
    kind, whole = data[12:16], len(data) >= 8 + int(struct.unpack_from("<I", data, 4)[0])
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        per_pixel = 12.0 if data[20] & 2 else 8.0
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
        per_pixel = _PER_PIXEL
    elif kind == b"VP8L":
        bits = int(struct.unpack_from("<I", data, 21)[0])
        width, height, per_pixel = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), 8.0
    else:
        return None
    return PictureHeader("WebP", width, height, per_pixel=per_pixel, whole=whole)


def _jpeg_2000(data: bytes) -> PictureHeader | None:
    """Read the marker SIZ, which comes first in the code stream, in or without a JP2 container."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", data, start + 8)
    (components,) = struct.unpack_from(">H", data, start + 40)
    problem = f"has {components} components, expected 1 to 4" if not 1 <= components <= 4 else ""
    return PictureHeader(
        "JPEG 2000", right - left, bottom - top, per_pixel=max(_PER_PIXEL, 3 + 5 * components), problem=problem
    )


def _pnm(data: bytes) -> PictureHeader | None:
    """PBM, PGM and PPM, as text (1, 2, 3) or binary (4, 5, 6)."""
    kind = data[1] - ord("0")
    found = _PNM_HEADER.match(data, 0, _TEXT_HEADER)
    if found is None:
        return None
    width, height = int(found[1]), int(found[2])
    samples = 3 if kind in (3, 6) else 1
    if kind in (1, 4):
        stored = width * height if kind == 1 else -(-width // 8) * height
        return PictureHeader("PBM", width, height, whole=found.end(2) + stored <= len(data))
    most = _PNM_MOST.match(data, found.end(), _TEXT_HEADER)
    if most is None:
        return None
    each = 2 if kind in (2, 3) or int(most[1]) > 255 else 1  # as text a digit and a blank
    whole = most.end() + width * height * samples * each <= len(data) + 1
    return PictureHeader("PGM" if samples == 1 else "PPM", width, height, whole=whole)


def _pam(data: bytes) -> PictureHeader | None:
    end = data.find(b"ENDHDR", 0, _TEXT_HEADER)
    fields = dict(_PAM_FIELD.findall(data[: max(end, 0)]))
    if not {b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"} <= fields.keys():
        return None
    width, height, depth, most = (int(fields[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
    stored = width * height * depth * (2 if most > 255 else 1)
    return PictureHeader("PAM", width, height, whole=end + len(b"ENDHDR\n") + stored <= len(data))


def _sun_raster(data: bytes) -> PictureHeader:
    width, height, bits, _, kind = struct.unpack_from(">5I", data, 4)
    stored = (width * bits + 15) // 16 * 2 * height
    return PictureHeader("Sun raster", width, height, whole=kind == 2 or 32 + stored <= len(data) + 1)


def _radiance(data: bytes) -> PictureHeader | None:
    found = _RADIANCE_SIDES.search(data, 0, _TEXT_HEADER)
    return None if found is None else PictureHeader("HDR", int(found[2]), int(found[1]), per_pixel=15.5)


def _floating(_: bytes) -> PictureHeader:
    """OpenEXR and PFM."""
    return PictureHeader("floating-point", 1, 1, problem=_FLOATING)


def _heif(data: bytes) -> PictureHeader:
    """HEIC and AVIF."""
    (width, height), properties = read_heif(data)
    header = PictureHeader(heif_kind(data), width, height, per_pixel=20.5)
    for name, value in properties:
        if name == b"irot":
            header = replace(header, quarter_turns=value & 3)
        elif name == b"imir":
            header = replace(header, mirror=value & 1)
    return header


_TEXT_HEADER = 65_536
"""Bytes in which a header that is text must end."""
_PNM_GAP = rb"(?:\s|#[^\r\n]{0,4096}[\r\n])+"
_PNM_HEADER = re.compile(rb"P[1-6]" + _PNM_GAP + rb"(\d{1,9})" + _PNM_GAP + rb"(\d{1,9})")
_PNM_MOST = re.compile(_PNM_GAP + rb"(\d{1,9})")
_PAM_FIELD = re.compile(rb"^(WIDTH|HEIGHT|DEPTH|MAXVAL)\s+(\d{1,9})\s", re.MULTILINE)
_RADIANCE_SIDES = re.compile(rb"\n-Y\s+(\d{1,9})\s+\+X\s+(\d{1,9})")
_FORMATS: tuple[tuple[Callable[[bytes], object], Callable[[bytes], PictureHeader | None]], ...] = (
    (lambda data: data.startswith(b"\xff\xd8"), _jpeg),
    (lambda data: data.startswith(_PNG), _png),
    (lambda data: data.startswith((b"GIF87a", b"GIF89a")), _gif),
    (lambda data: data.startswith(b"BM"), _bmp),
    (lambda data: data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")), _tiff),
    (lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP", _webp),
    (lambda data: data.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")), _jpeg_2000),
    (lambda data: re.match(rb"P[1-6]\s", data), _pnm),
    (lambda data: data.startswith(b"P7\n"), _pam),
    (lambda data: data.startswith(b"\x59\xa6\x6a\x95"), _sun_raster),
    (lambda data: data.startswith((b"#?RADIANCE", b"#?RGBE")), _radiance),
    (lambda data: data.startswith((b"v/1\x01", b"PF\n", b"Pf\n")), _floating),
    (heif_kind, _heif),
)
"""How each format is recognized, and what reads its header."""
