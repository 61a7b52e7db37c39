"""Whether a video file is whole by its own structure, read from its bytes without decoding a picture.

FFmpeg plays what is there and passes over the rest in silence, so that a file that was cut or has a hole looks like a
shorter one. Containers state how long their parts are; here the parts are followed from the first to the last.
"""

import io
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, final

import numpy as np

CUT = "cut short, the file ends at byte {at} of at least {end}"
MOST_READS = 3_000_000
"""A file of more parts is not judged; eleven hours of Matroska at 25 frames a second with sound have fewer."""
BROKEN = "its structure breaks off at byte {at} of {end}"


def structure_problem(path: str | os.PathLike[str] | bytes, container: str) -> str | None:
    """What the structure of a video file says against it, or None.

    Args:
        path: the file, or its content.
        container: the name of the format as FFmpeg gives it; other formats than Matroska, WebM, AVI, FLV, GIF, MPEG-TS,
            MPEG-PS, WMV and MXF have no check and give None.
    """
    check = next((check for name, check in _CHECKS.items() if name in container.split(",")), None)
    if check is None or not (isinstance(path, bytes) or Path(path).is_file()):
        return None
    try:
        with io.BytesIO(path) if isinstance(path, bytes) else Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            return check(_Parts(file), size)
    except _TooManyPartsError:
        return None
    except OSError as error:
        return f"the file cannot be read ({error.strerror})"


class _TooManyPartsError(Exception):
    """The file has more parts than are followed."""


@final
class _Parts:
    """A file from which at most ``MOST_READS`` parts are read, so that one made of tiny parts takes seconds."""

    def __init__(self, file: BinaryIO | io.BytesIO) -> None:
        self._file = file
        self._left = MOST_READS
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """The next bytes, fewer at the end of the file."""
        self._left -= 1
        if self._left < 0:
            raise _TooManyPartsError
        return self._file.read(size)


_EBML_HEAD, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_DESCENDED = (_SEGMENT, _CLUSTER)
_CLUSTER_PARTS = (0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, 0xEC, 0xBF)
"""Time, tracks, position, size, block, group of blocks, encrypted block, void, checksum."""


def _matroska_problem(file: _Parts, size: int) -> str | None:
    """Follow the elements of Matroska and WebM down to the blocks.

    Elements of 4-byte names that are not known are passed over, as the format asks for.
    """
    at, end = 0, size
    while at < end:
        file.seek(at)
        head = file.read(12)
        name, length, data = _ebml_element(head)
        if data == 0 or not (name > 0xFFFFFF or name in _CLUSTER_PARTS):
            return BROKEN.format(at=at, end=end)
        if name == _SEGMENT and length is not None:
            if at + data + length > size:
                return CUT.format(at=size, end=at + data + length)
            end = at + data + length  # bytes after the segment are not its own
        if length is None and name not in _DESCENDED:
            return BROKEN.format(at=at, end=end)
        at += data + (0 if name in _DESCENDED else length or 0)
    return CUT.format(at=size, end=at) if at > end else None


def _ebml_element(head: bytes) -> tuple[int, int | None, int]:
    """Name, length of the data (None: not stated) and length of the head, which is 0 if it is none."""
    first = head[0]
    width = 9 - first.bit_length()
    if width > 4 or len(head) <= width:
        return 0, None, 0
    mark = head[width]
    wide = 9 - mark.bit_length()
    if wide > 8 or len(head) < width + wide:
        return 0, None, 0
    unknown = (1 << 7 * wide) - 1
    length = int.from_bytes(head[width : width + wide], "big") & unknown
    return int.from_bytes(head[:width], "big"), None if length == unknown else length, width + wide


def _avi_problem(file: _Parts, size: int) -> str | None:
    """Follow the RIFF chunks, of which large files have several, and the chunks in each."""
    at = 0
    while at + 12 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF":
            return None if at else BROKEN.format(at=at, end=size)  # bytes after the last chunk are not its own
        if length == 0:
            return "the header was never completed, as after a crash of the recorder"
        end = at + 8 + length
        if end > size:
            return CUT.format(at=size, end=end)
        at += 12
        while at + 8 <= end:
            file.seek(at)
            name, length = struct.unpack("<4sI", file.read(8))
            if at + 8 + length > end or not (name.isascii() and name.decode().isprintable()):
                return BROKEN.format(at=at, end=size)
            at += 8 + length + length % 2
        at = end + end % 2
    return None


def _flv_problem(file: _Parts, size: int) -> str | None:
    """Follow the tags, each of which is followed by its own length."""
    file.seek(5)
    at = int.from_bytes(file.read(4), "big") + 4
    while at < size:
        file.seek(at)
        head = file.read(11)
        if len(head) < 11:
            return CUT.format(at=size, end=at + 11)
        length = int.from_bytes(head[1:4], "big")
        if head[0] & 0x1F not in (8, 9, 18):
            return BROKEN.format(at=at, end=size)
        if at + 15 + length > size:
            return CUT.format(at=size, end=at + 15 + length)
        file.seek(at + 11 + length)
        if int.from_bytes(file.read(4), "big") not in (0, length, length + 11):
            return BROKEN.format(at=at + 11 + length, end=size)
        at += 15 + length
    return None


_GIF_EXTENSION, _GIF_PICTURE, _GIF_END = 0x21, 0x2C, 0x3B


def _gif_problem(file: _Parts, size: int) -> str | None:
    """Follow the blocks to the end mark."""
    head = file.read(13)
    if len(head) < 13:
        return CUT.format(at=size, end=14)
    file.seek(_palette_length(head[10]), os.SEEK_CUR)
    while kind := file.read(1):
        if kind[0] == _GIF_END:
            return None
        if kind[0] == _GIF_PICTURE:
            flags = file.read(9)[8:]
            file.seek((_palette_length(flags[0]) if flags else 0) + 1, os.SEEK_CUR)
        elif kind[0] == _GIF_EXTENSION:
            file.seek(1, os.SEEK_CUR)
        else:
            return BROKEN.format(at=file.tell() - 1, end=size)
        while length := file.read(1):
            if length[0] == 0:
                break
            file.seek(length[0], os.SEEK_CUR)
    return CUT.format(at=size, end=max(file.tell(), size) + 1)


def _palette_length(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


_PACKETS = 20_000
"""Transport packets looked at together."""


def _mpegts_problem(file: _Parts, size: int) -> str | None:
    """Look for the mark with which every transport packet begins."""
    start = file.read(5 * 204)
    for packet, first in ((188, 0), (192, 4), (204, 0)):
        if start[first::packet][:4].count(0x47) == len(start[first::packet][:4]):
            break
    else:
        return None  # begins within a packet, as recordings may
    at = 0
    file.seek(0)
    while block := file.read(packet * _PACKETS):
        marks = np.frombuffer(block, np.uint8)[first::packet]
        if not (good := marks == 0x47).all():
            return BROKEN.format(at=at + packet * int(np.argmin(good)), end=size)
        at += len(block)
    return f"cut short, the file ends within a transport packet, at byte {size}" if size % packet else None


_PACK, _END_OF_PROGRAM = 0xBA, 0xB9
_MOST_STUFFING = 2048


def _program_stream_problem(file: _Parts, size: int) -> str | None:
    """Follow the packs and packets of MPEG-PS, between which a sector may be filled with zeros."""
    at, zeros = 0, 0
    while at + 4 <= size:
        file.seek(at)
        head = file.read(14)
        length = _program_part(head)
        if length is None and not at:
            return None  # begins within a packet, as recordings may
        if length is None and head[:1] == b"\0" and zeros < _MOST_STUFFING:
            at, zeros = at + 1, zeros + 1
            continue
        if length is None:
            return BROKEN.format(at=at, end=size)
        at, zeros = at + length, 0
    return CUT.format(at=size, end=at) if at > size else None


def _program_part(head: bytes) -> int | None:
    """Length of the pack header or packet that begins here; None if none does."""
    if len(head) < 4 or head[:3] != b"\0\0\1" or head[3] < _END_OF_PROGRAM:
        return None
    if head[3] == _END_OF_PROGRAM:
        return 4
    if head[3] == _PACK:
        return 12 if len(head) < 14 or head[4] & 0xC0 != 0x40 else 14 + (head[13] & 7)
    return 6 + int.from_bytes(head[4:6], "big")


_ASF_HEADER, _ASF_DATA = (
    bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c"),
)
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _asf_problem(file: _Parts, size: int) -> str | None:
    """Follow the objects of WMV and ASF, and the packets of equal length in the object that holds the data."""
    at, packet = 0, 0
    while at + 24 <= size:
        file.seek(at)
        head = file.read(24)
        length = int.from_bytes(head[16:], "little")
        if length < 24:
            return BROKEN.format(at=at, end=size)
        if head.startswith(_ASF_HEADER):
            header = head + file.read(min(length, size) - 24)
            place = header.find(_ASF_PROPERTIES)
            packet = int.from_bytes(header[place + 96 : place + 100], "little") if place >= 0 else 0
        if at + length > size:
            return CUT.format(at=size, end=at + length)
        if head.startswith(_ASF_DATA) and packet:
            for start in range(at + 50, at + length, packet):
                file.seek(start)
                if file.read(1) == b"\0":
                    return BROKEN.format(at=start, end=size)
        at += length
    return None


_MXF_KEY = bytes.fromhex("060e2b34")


def _mxf_problem(file: _Parts, size: int) -> str | None:
    """Follow the keys and lengths of MXF."""
    at = 0
    while at + 17 <= size:
        file.seek(at)
        head = file.read(25)
        if not head.startswith(_MXF_KEY):
            return BROKEN.format(at=at, end=size) if at else None  # other bytes may come before the first key
        wide = head[16] & 0x7F if head[16] & 0x80 else 0
        length = int.from_bytes(head[17 : 17 + wide], "big") if wide else head[16]
        at += 17 + wide + length
    return CUT.format(at=size, end=at) if at > size else None


_CHECKS: Mapping[str, Callable[[_Parts, int], str | None]] = {
    "matroska": _matroska_problem,
    "avi": _avi_problem,
    "flv": _flv_problem,
    "gif": _gif_problem,
    "mpegts": _mpegts_problem,
    "mpeg": _program_stream_problem,
    "asf": _asf_problem,
    "mxf": _mxf_problem,
}


_HEVC_PICTURES, _HEVC_OPEN = 32, (16, 17, 18, 21)


def hevc_starts_open(packet: bytes) -> bool:
    """Whether the first packet of an HEVC stream in MP4 begins a group whose first frames lean on frames before it.

    Such a stream was cut out of a longer one without encoding it again, and some of its first frames cannot be shown.
    """
    at = 0
    while at + 6 <= len(packet):
        kind = packet[at + 4] >> 1 & 0x3F
        if kind < _HEVC_PICTURES:
            return kind in _HEVC_OPEN
        at += 4 + int.from_bytes(packet[at : at + 4], "big")
    return True
