"""Pictures and videos of a folder, a pattern, a list, Parquet files or a bucket, found one after the other.

Nothing is sorted and no list of all names is made, so that the memory does not grow with their number.
"""

import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any, TypeAlias, final
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from canthus.batch.rows import as_text
from canthus.errors import ConfigError, DataError
from canthus.images import IMAGE_SUFFIXES, MAX_BYTES
from canthus.lookup import require

Item: TypeAlias = tuple[str, bytes | None]
"""Name of a picture or video, and its file where that is at hand; otherwise it is read by its name."""

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm", ".wmv"})
"""Files of these names are followed as videos."""
LIST_SUFFIXES = frozenset({".list", ".lst", ".txt"})
CONTENT_COLUMNS = ("image", "bytes", "path", "picture", "file_name", "url")
"""Columns of a Parquet file that hold pictures or their paths; the first that exists is read."""
_OF_PYARROW = frozenset({"abfs", "abfss", "gcs", "gs", "hdfs", "s3", "viewfs"})
"""Kinds of addresses that pyarrow opens by itself; fsspec opens all others."""
_ROWS = 16
"""Rows of a Parquet file that are read at once."""
_BATCH_BYTES = 16_000_000
"""A batch is full when its files take more."""
_WEB = ("http://", "https://")
_MAGIC = re.compile(r"[*?\[]")


def suffix(name: str) -> str:
    """Suffix of a path or address, in small letters; only addresses of the web have something behind it."""
    return PurePosixPath(urlsplit(name).path if name.startswith(_WEB) else name).suffix.lower()


def is_video(name: str) -> bool:
    """Whether a file is followed as a video, by its suffix."""
    return suffix(name) in VIDEO_SUFFIXES


@final
class Storage:
    """Files below a folder of this machine, or below an address such as ``s3://bucket/photos``.

    The names of files begin with ``base``: a path as it was given, or an address without password and without its
    query, which has settings such as ``?endpoint_override=http://localhost:9000``.

    Args:
        address: a path, or what pyarrow or fsspec take for an address.

    Raises:
        ConfigError: no library at hand knows such addresses.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.is_local = "://" not in address or parts.scheme == "file"
        self.query = ""
        if not self.is_local:
            address, mark, query = address.partition("?")
            self.query = mark + query
        path = address.partition("://")[2].removeprefix(parts.netloc) if "://" in address else address
        if self.is_local:
            self.base = self._root = path.rstrip("/") or path[:1]
            self.files = pafs.LocalFileSystem()
        else:
            path = path.rstrip("/")
            user, _, host = parts.netloc.rpartition("@")
            host = host if ":" in user else parts.netloc  # a password does not belong into the names of pictures
            self.base = f"{parts.scheme}://{host}{path}"
            # Only the bucket or server is read as an address: names may hold blanks and other marks.
            self.files, root = _file_system(f"{parts.scheme}://{parts.netloc}{self.query}", self.base)
            self._root = root.rstrip("/") + path

    def path(self, name: str) -> str:
        """Path of a file within ``files``, by its name."""
        return self._root + name[len(self.base) :] or "."

    def info(self, name: str) -> pafs.FileInfo:
        """What is known of a file or folder.

        Raises:
            DataError: the storage does not answer.
        """
        with _reading(name):
            return self.files.get_file_info(self.path(name))

    def children(self, folder: str) -> Iterator[tuple[str, bool]]:
        """Files and folders in a folder: the name, and whether it is a folder; hidden ones are left out.

        Raises:
            DataError: the folder cannot be read.
        """
        with _reading(folder):
            if self.is_local:
                separator = "" if folder in ("", "/") else "/"
                with os.scandir(folder or ".") as entries:
                    for entry in entries:
                        if not entry.name.startswith("."):
                            yield f"{folder}{separator}{entry.name}", entry.is_dir(follow_symlinks=False)
                return
            for found in self.files.get_file_info(pafs.FileSelector(self.path(folder))):
                if not found.base_name.startswith("."):
                    yield self.base + found.path[len(self._root) :], found.type == pafs.FileType.Directory

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            DataError: it cannot be read, or is larger than a picture.
        """
        with _reading(name), self.files.open_input_file(self.path(name)) as file:
            if file.size() > MAX_BYTES:
                raise DataError(f"{name}: {file.size() / 1e6:.0f} MB is more than a picture holds; is it one?")
            return bytes(file.read())

    def open(self, name: str) -> Any:
        """A file, open for reading from front to back.

        Raises:
            DataError: it cannot be opened.
        """
        with _reading(name):
            return self.files.open_input_stream(self.path(name))

    def holds(self, name: str) -> bool:
        """Whether a file lies here, by its name."""
        return name.startswith(f"{self.base}/") or name == self.base

    @classmethod
    def around(cls, name: str, *, like: "Storage | None" = None) -> "Storage":
        """The bucket or server of a file; its settings are those of ``like`` where that is of the same kind."""
        parts = urlsplit(name)
        query = like.query if like is not None and like.base.startswith(f"{parts.scheme}://") else ""
        return cls(f"{parts.scheme}://{parts.netloc}{query}")


def _file_system(address: str, shown: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it; pyarrow's own, or else one of fsspec.

    Args:
        shown: the address for messages.

    Raises:
        ConfigError: neither knows it, it has a wrong setting, or what it needs is not installed.
        DataError: the server does not answer.
    """
    try:
        if urlsplit(address).scheme in _OF_PYARROW:
            found: tuple[Any, str] = pafs.FileSystem.from_uri(address)
            return found
    except OSError as error:
        raise DataError(f"{shown}: cannot be reached ({' '.join(str(error).split())})") from error
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{shown}: such an address cannot be opened ({error})") from error
    except pa.ArrowNotImplementedError:
        pass  # a pyarrow that was built without it; fsspec has all of them
    try:
        files, path = require("fsspec.core", extra="batch").url_to_fs(address)
    except (ImportError, ValueError) as error:  # fsspec's own: a library or a kind of address that is not there
        raise ConfigError(f"{shown}: such an address cannot be opened ({error})") from error
    return pafs.PyFileSystem(pafs.FSSpecHandler(files)), path


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn errors of reading a file or folder into one that names it."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError(f"{name}: cannot be read ({' '.join(reason.split())})") from error


@final
@dataclass(frozen=True)
class Source:
    """Where pictures and videos come from.

    Attributes:
        address: a folder, a pattern, a picture, a video, a list of names (``.txt``) or a Parquet file, as a path or as
            an address; a pattern may name several Parquet files.
        column: column of Parquet files with pictures or their paths; by default the first of ``CONTENT_COLUMNS``.
        name_column: column with the names of pictures that lie in the file itself; by default they are called by the
            file and the number of the row, ``faces.parquet#17``.
        skipped: a folder that is not searched, for the results.
    """

    address: str
    column: str | None = None
    name_column: str | None = None
    skipped: str = ""

    def items(self, report: Callable[[str], None]) -> Iterator[Item]:
        """All pictures and videos, in no particular order.

        Args:
            report: gets one line for each folder or file that cannot be read.

        Raises:
            DataError: there is nothing at the address, or it cannot be read.
            ConfigError: a Parquet file has no such column.
        """
        storage = Storage(self.address)
        found = storage.info(storage.base)
        if found.type == pafs.FileType.Directory:
            for name in self._below(storage, storage.base, (), report):
                yield name, None
        elif found.type == pafs.FileType.File:
            yield from self._file(storage, storage.base)
        elif _MAGIC.search(storage.base):
            parts = storage.base.split("/")
            plain = next(index for index, part in enumerate(parts) if _MAGIC.search(part))
            storage = Storage(("/".join(parts[:plain]) or "/" * min(plain, 1)) + storage.query)
            if storage.info(storage.base).type != pafs.FileType.Directory:
                raise DataError(f"{self.address}: there is no folder {storage.base}")
            for name in self._below(storage, storage.base, tuple(parts[plain:]), report):
                yield from self._file(storage, name)
        else:
            raise DataError(f"{self.address}: no such file or folder")

    def _file(self, storage: Storage, name: str) -> Iterator[Item]:
        if suffix(name) == ".parquet":
            yield from self._rows(storage, name)
        elif suffix(name) in LIST_SUFFIXES:
            with _reading(name), storage.files.open_input_stream(storage.path(name)) as file:
                for line in io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape"):
                    if line.strip():
                        yield line.rstrip("\r\n"), None
        else:
            yield name, None

    def _below(
        self, storage: Storage, top: str, pattern: tuple[str, ...], report: Callable[[str], None]
    ) -> Iterator[str]:
        """Files below a folder that are named like pictures or videos, or as the pattern says."""
        asked = suffix(pattern[-1] if pattern else top)
        kinds = IMAGE_SUFFIXES | VIDEO_SUFFIXES | ({asked} & {".parquet"})
        folders = [top]
        while folders:
            try:
                for name, is_folder in storage.children(folders.pop()):
                    parts = tuple(name[len(top) :].strip("/").split("/"))
                    if is_folder:
                        if _may_hold(parts, pattern) and not self._is_skipped(name):
                            folders.append(name)
                    elif suffix(name) in kinds and _is_wanted(parts, pattern):
                        yield name
            except DataError as error:
                report(str(error))

    def _is_skipped(self, folder: str) -> bool:
        if "://" in folder or "://" in self.skipped:
            return folder == self.skipped
        return os.path.realpath(folder) == os.path.realpath(self.skipped)

    def _rows(self, storage: Storage, file: str) -> Iterator[Item]:
        """The pictures of a Parquet file, a few at a time."""
        with _reading(file), storage.files.open_input_file(storage.path(file)) as opened:
            table = pq.ParquetFile(opened, buffer_size=1 << 20, pre_buffer=False)
            known = table.schema_arrow.names
            wanted = [self.column] if self.column else [name for name in CONTENT_COLUMNS if name in known][:1]
            columns = [*wanted, *([self.name_column] if self.name_column else [])]
            if not wanted or not set(columns) <= set(known):
                missing = ", ".join(columns) or f"any of {', '.join(CONTENT_COLUMNS)}"
                raise ConfigError(f"{file}: expected the column {missing}; found {', '.join(known)}. Name it: --column")
            number = 0
            for batch in table.iter_batches(batch_size=_ROWS, columns=columns):
                for row in batch.to_pylist():
                    name = row[self.name_column] if self.name_column else f"{file}#{number}"
                    yield _item(row[wanted[0]], str(name))
                    number += 1


def _item(content: Any, name: str) -> Item:
    """The picture of a row: a path; the bytes of a file; or a record of both, as in data sets of Hugging Face."""
    if isinstance(content, dict):
        content = content.get("bytes") or content.get("path")
    return (content, None) if isinstance(content, str) else (name, content or b"")


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path matches a pattern, part by part; ``**`` stands for any number of parts."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _fits(parts, pattern[1:]) or (bool(parts) and _fits(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _is_wanted(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a file, or a folder that holds it, matches; all files match an empty pattern."""
    return not pattern or any(_fits(parts[:end], pattern) for end in range(1, len(parts) + 1))


def _may_hold(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether files in a folder may match."""
    fixed = list(takewhile(lambda part: part != "**", pattern))
    return all(fnmatchcase(part, wanted) for part, wanted in zip(parts, fixed, strict=False))


@final
class Names:
    """A set of names that takes 16 bytes each: digests of 128 bits, most of them in a sorted array."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, "S16")
        self._new: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._new)

    def __contains__(self, name: str) -> bool:
        return self._has(_digest(name))

    def _has(self, digest: bytes) -> bool:
        if digest in self._new:
            return True
        key = np.array(digest, "S16")
        place = int(np.searchsorted(self._sorted, key))
        return place < len(self._sorted) and bool(self._sorted[place] == key)

    def add(self, name: str) -> bool:
        """Add a name; return whether it is new."""
        digest = _digest(name)
        if self._has(digest):
            return False
        self._new.add(digest)
        if len(self._new) > 20_000 + len(self._sorted) // 8:
            self._sorted = np.sort(np.concatenate([self._sorted, np.array(list(self._new), "S16")]))
            self._new = set()
        return True


def _digest(name: str) -> bytes:
    return hashlib.blake2b(as_text(name).encode(), digest_size=16).digest()


@final
@dataclass(frozen=True)
class Part:
    """One of ``count`` parts of the pictures, chosen by their names alone; ``number`` counts from 1."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ConfigError(f"Expected a part such as 1/10, ..., 10/10; found {self.number}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> "Part":
        """A part as it is given on the command line, ``3/10``.

        Raises:
            ConfigError: the text is not of this form.
        """
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if found is None:
            raise ConfigError(f"Expected a part such as 3/10, found {text!r}")
        return cls(int(found[1]), int(found[2]))

    def __contains__(self, name: str) -> bool:
        return self.count == 1 or int.from_bytes(_digest(name)[:8], "big") % self.count == self.number - 1


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut items into lists of ``size``, or fewer where files are at hand and large; each video is alone."""
    batch: list[Item] = []
    held = 0
    for item in items:
        if is_video(item[0]):
            yield [item]
            continue
        batch.append(item)
        held += len(item[1] or b"")
        if len(batch) >= size or held > _BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
