"""Files that are written whole or not at all, and never over something that nobody asked to replace.

A result is written to a file beside its target and moved into place when it is complete, so that a full disk, an
interruption or an error leaves an earlier result as it was.  Archives of arrays are read here, too, within a bound on
memory.
"""

import csv
import errno
import io
import lzma
import math
import os
import secrets
import shutil
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar, final

from canthus.errors import ConfigError, DataError, OutputError

if TYPE_CHECKING:
    import numpy as np

Name: TypeAlias = str | os.PathLike[str]
Readable = TypeVar("Readable", bound=Name)

STANDARD_OUTPUT = "-"
MARK = b"written by canthus"
"""Comment in the pictures and videos that canthus writes; a later run may replace a file that has it."""
_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed here",
    errno.EIO: "the disk reports an error",
    errno.EROFS: "the disk is read-only",
}
_ENDS = 8_192
"""Bytes at each end of a file in which a mark is looked for."""
_MARKS = {
    "picture": (MARK, b"Matplotlib"),
    "video": (MARK,),
    "model": (b"canthus",),
    "archive": (b"card.npy", b"habit.npy", b"extra/canthus.json"),
}
"""What the files that canthus writes have near their start or end."""
_BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)


@contextmanager
def written(path: Name) -> Iterator[Path]:
    """Yield a path beside ``path``, with the same suffix; what is written there is moved to ``path`` at the end.

    Where the block raises, the partial file is removed and an existing ``path`` stays as it was.  Missing folders are
    made, links are followed, and devices and pipes are written directly.

    Raises:
        OutputError: the file cannot be written, for example because the disk is full.
    """
    target, direct = _checked_target(path)
    if direct:
        with writing(path):
            yield target
        return
    aside = target.with_name(f".canthus-{secrets.token_hex(6)}{target.suffix}")
    try:
        with writing(path, aside, target):
            yield aside
            if target.exists():
                shutil.copymode(target, aside)
            aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _checked_target(path: Name) -> tuple[Path, bool]:
    """The file behind all links, and whether it is a device or pipe; its folder is made.

    Raises:
        OutputError: it is a folder, or cannot be written.
    """
    target = Path(os.path.realpath(path))
    with writing(path, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            return target, False
        mode = target.stat().st_mode
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if stat.S_ISDIR(mode):
        raise OutputError(f"{path}: cannot be written (it is a folder); name a file")
    return target, not stat.S_ISREG(mode)


@contextmanager
def writing(path: Name, *also: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the block about ``path``, or about no file in particular, into one clear line.

    Args:
        path: the file that is written, as the user names it.
        also: other paths that are touched for its sake.

    Raises:
        OutputError: the block raised such an error.  A closed pipe and errors about other files pass unchanged.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        about = {os.fspath(path), *map(str, also), *(str(parent) for place in also for parent in place.parents)}
        if error.filename is not None and str(error.filename) not in about:
            raise
        raise OutputError(f"{path}: cannot be written ({disk_problem(error)}); choose another place") from error


def disk_problem(error: OSError) -> str:
    """What went wrong, in words."""
    return _DISK.get(error.errno or 0, error.strerror or str(error))


def is_disk_problem(error: OSError) -> bool:
    """Whether the error comes from a disk that is full, over its quota, read-only or defective."""
    return error.errno in _DISK


def write_bytes(path: Name, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with written(path) as aside:
        aside.write_bytes(data)


def write_text(path: Name, text: str) -> None:
    """Write a UTF-8 file whole or not at all; names of files that are no valid text survive.

    Raises:
        OutputError: the file cannot be written.
    """
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def csv_line(cells: Iterable[object]) -> str:
    r"""One line of CSV, ended by ``\n``.

    Text with line breaks is quoted.  Text that a spreadsheet would take for a formula, such as the file name
    ``=1.jpg``, gets ``./`` in front: as the name of a file it means the same.
    """
    line = io.StringIO(newline="")
    csv.writer(line).writerow([f"./{cell}" if _is_formula(cell) else cell for cell in cells])
    return line.getvalue().removesuffix("\r\n") + "\n"


def _is_formula(cell: object) -> bool:
    return isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") and cell != cell[:1]


@final
class LineFile:
    """A text file that grows by whole lines, for results that are read while they grow.

    Each ``write`` reaches the disk at once.  A line that does not fit on the disk is removed again, so that the file
    ends with a whole line.  An existing file is emptied by the first ``write``, not before.

    Args:
        path: the file.
        keep: number of bytes at the start of an existing file that stay; what follows is cut off at once.

    Raises:
        OutputError: the file cannot be opened or written.
    """

    def __init__(self, path: Name, *, keep: int | None = None) -> None:
        self._path, self._size, self._new = Path(path), -1, not Path(path).exists()
        with writing(path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
            if keep is not None:
                self._cut(keep)

    def write(self, text: str, /) -> None:
        """Add whole lines."""
        with writing(self._path):
            if self._size < 0:
                self._cut(0)
            rest = memoryview(text.encode("utf-8", "surrogateescape"))
            whole = self._size + len(rest)
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._cut(self._size)
                raise
            self._size = whole

    def _cut(self, size: int) -> None:
        self._size = size
        if self._path.is_file():  # neither a pipe nor a device
            self._file.truncate(size)

    def __enter__(self) -> "LineFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._new and self._size <= 0 and self._path.is_file():
            self._path.unlink()


def check_targets(
    inputs: Iterable[Name | None],
    *,
    text: Mapping[str, Name | None] | None = None,
    picture: Mapping[str, Name | None] | None = None,
    video: Mapping[str, Name | None] | None = None,
    model: Mapping[str, Name | None] | None = None,
) -> None:
    """Refuse outputs that would overwrite an input, each other, or a picture, video or model.

    Files are compared by device and inode, so that links do not hide them.  A picture, video or model that canthus
    wrote is replaced by an output of the same kind.  Each mapping gives outputs of one kind: option -> file, None where
    the option is not given, ``-`` for standard output.

    Args:
        inputs: files that are read.

    Raises:
        ConfigError: an output would.
    """
    kinds = {"text": text, "picture": picture, "video": video, "model": model}
    outputs = [
        (option, name, kind)
        for kind, named in kinds.items()
        for option, name in (named or {}).items()
        if name is not None
    ]
    for _ in apart((name for name in inputs if name is not None), {option: name for option, name, _ in outputs}):
        pass
    for option, name, kind in outputs:
        if name != STANDARD_OUTPUT and _identity(name) is not None:
            _check_content(option, Path(name), kind)


def apart(inputs: Iterable[Readable], outputs: Mapping[str, Name | None]) -> Iterator[Readable]:
    """Yield each input once it is known to be none of the outputs, ``option -> file``; no input is kept.

    Raises:
        ConfigError: two outputs are the same file, or an input is an output.
    """
    taken: dict[object, tuple[str, Name]] = {}
    for option, name in outputs.items():
        identity = STANDARD_OUTPUT if name == STANDARD_OUTPUT else None if name is None else _identity(name)
        if identity in taken:
            raise _same_target(taken[identity][0], option, taken[identity][1])
        if identity is not None:
            taken[identity] = (option, name or "")
    for read in inputs:
        if taken and (found := taken.get(_identity(read))):
            option, name = found
            raise ConfigError(f"{option}: {name} would overwrite the input {read}; choose another file")
        yield read


def _same_target(first: str, second: str, name: Name) -> ConfigError:
    if name == STANDARD_OUTPUT:
        return ConfigError(f"{first} - and {second} - would mix on standard output; write one of them to a file")
    return ConfigError(f"{first} and {second} are the same file, {name}; choose another file for one of them")


def _check_content(option: str, path: Path, kind: str) -> None:
    """Refuse to replace a picture, video or model by something else, or one that canthus did not write.

    Raises:
        ConfigError: it would.
    """
    found = content_kind(path)
    if found is None or (found == kind and is_ours(path, found)):
        return
    what = {"picture": "a picture or drawing", "video": "a video or sound", "model": "a model or archive"}[found]
    raise ConfigError(f"{option}: {path} would overwrite {what}; choose another file, or remove it first")


def _identity(name: Name) -> object:
    """Device and inode of a file, or its full path if it does not exist; None for devices and pipes."""
    try:
        status = Path(name).stat()
    except (OSError, ValueError):
        return os.path.realpath(name)
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def content_kind(path: Path) -> str | None:
    """``picture``, ``video`` or ``model`` by the first bytes of a file; None for everything else, or no file."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            start = file.read(1024)
    except OSError:
        return None
    return bytes_kind(start)


def bytes_kind(start: bytes) -> str | None:
    """``picture``, ``video`` or ``model`` by the first bytes of a file; None for everything else."""
    return next((kind for kind, is_kind in _KINDS.items() if is_kind(start)), None)


_STARTS = {
    "picture": (
        b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",
        b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"8BPS", b"P1\n", b"P2\n", b"P3\n", b"P4\n", b"P5\n", b"P6\n", b"P7\n",
        b"Pf\n", b"PF\n", b"v/1\x01", b"#?RADIANCE", b"%PDF",
    ),
    "video": (
        b"\x1aE\xdf\xa3", b"FLV\x01", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"OggS", b"0&\xb2u", b"YUV4MPEG2", b"DKIF",
        b"ID3\x02", b"ID3\x03", b"ID3\x04", b"fLaC",
    ),
    "model": (b"PK\x03\x04", b"\x93NUMPY", b"\x80\x02", b"\x80\x04", b"\x89HDF\r\n"),
}  # fmt: skip
_HEIF_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
_RIFF = (b"AVI ", b"AVIX", b"WAVE")
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def _is_picture(start: bytes) -> bool:
    bitmap = start[:2] == b"BM" and start[6:10] == bytes(4)
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    heif = start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS
    return start.startswith(_STARTS["picture"]) or bitmap or webp or heif


def _is_video(start: bytes) -> bool:
    stream = len(start) > 376 and start[0] == start[188] == start[376] == 0x47
    return (
        start.startswith(_STARTS["video"])
        or (start[:4] == b"RIFF" and start[8:12] in _RIFF)
        or start[4:8] in _MP4_BOXES
        or stream
    )


def _is_model(start: bytes) -> bool:
    """Whether the bytes begin as an archive, a numpy array, or a model of ONNX, OpenVINO or TensorFlow Lite.

    An ONNX model begins with field 1 (the version of the format), then a text or the graph.
    """
    fields = (0x12, 0x1A, 0x22, 0x2A, 0x3A, 0x42)
    onnx = len(start) > 3 and start[0] == 0x08 and start[1] < 0x40 and start[2] in fields
    openvino = start.startswith(b"<?xml") and b"<net " in start
    return start.startswith(_STARTS["model"]) or start[4:8] == b"TFL3" or onnx or openvino


_KINDS = {"picture": _is_picture, "video": _is_video, "model": _is_model}


def is_ours(path: Path, kind: str) -> bool:
    """Whether canthus wrote this picture, video or model, by the mark near its start or end."""
    with path.open("rb") as file:
        start = file.read(_ENDS)
        if start.startswith(b"PK"):
            kind = "archive"  # a cascade, an adaptation or a network of TorchScript, and never a checkpoint
        file.seek(max(0, path.stat().st_size - _ENDS))
        ends = start + file.read(_ENDS)
    return any(mark in ends for mark in _MARKS[kind])


def read_arrays(path: Name, max_bytes: int = 1_000_000_000) -> "dict[str, np.ndarray]":
    """Read an ``.npz`` file without pickle, after checking what its headers promise.

    The sizes in the archive's directory and in the header of each array are compared with each other and with
    ``max_bytes`` before any array is allocated, so that a small file cannot fill the memory.

    Args:
        path: the file.
        max_bytes: the most that all arrays together may take, and that the file may have.

    Raises:
        DataError: the file is missing, is no ``.npz`` file, is damaged, holds Python objects, or is larger.
    """
    try:
        size = Path(path).stat().st_size
        if size > max_bytes:
            raise DataError(f"{path}: has {size:,} bytes, more than the {max_bytes:,} allowed")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            promised = sum(member.file_size for member in members)
            if promised > max_bytes:
                raise DataError(f"{path}: its arrays would take {promised:,} bytes, {max_bytes:,} are allowed")
            return {member.filename.removesuffix(".npy"): _read_array(archive, member) for member in members}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    # ValueError is from _read_array; EOFError of packed data that end early; RuntimeError of members that are encrypted
    # or, as NotImplementedError, packed in an unknown way.
    except (ValueError, EOFError, RuntimeError, *_BAD_ARCHIVE) as error:
        raise DataError(f"{path}: not an .npz file, or damaged ({error})") from error


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> "np.ndarray":
    """One array of an ``.npz`` file.

    Raises:
        ValueError: its header promises more or less than the archive holds, or Python objects.
    """
    import numpy as np

    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise ValueError(f"{member.filename}: format {version} is not known")
        try:
            shape, by_columns, dtype = readers[version](file)
        # The header is a dict written in Python: it may not be one, have keys of any type, or be nested too deep.
        except (SyntaxError, tokenize.TokenError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError(f"{member.filename}: its header cannot be read") from error
        count = math.prod(shape)
        if dtype.hasobject:
            raise ValueError(f"{member.filename}: holds Python objects, which are not read")
        if (
            any(type(side) is not int or side < 0 for side in shape)
            or count * dtype.itemsize != member.file_size - file.tell()
        ):
            raise ValueError(f"{member.filename}: promises {count:,} numbers of type {dtype}, holds others")
        array = np.frombuffer(bytearray(file.read()), dtype, count)
    return array.reshape(shape, order="F" if by_columns else "C")
