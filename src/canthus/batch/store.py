"""The results of ``canthus batch``: Parquet files that a killed run leaves whole and its next start completes.

``DST/faces/*.parquet`` has one row a face, ``DST/pictures/*.parquet`` one row a picture or video, ``DST/manifest.json``
says how they were made.  The two files of a shard have the same name; a shard counts once its file of pictures is
there, which is written last.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from canthus.batch.rows import DAMAGED, FAILED, faces_of, pictures_of
from canthus.batch.sources import Names, Part, Storage
from canthus.errors import ConfigError, DataError, OutputError
from canthus.files import disk_problem
from canthus.training.run_folder import held

FACES, PICTURES, MANIFEST = "faces", "pictures", "manifest.json"
UNFINISHED = "unfinished"
"""Folder of locks, and of files while they are written."""
MOST_ROWS = 50_000
"""A shard with more rows is written at once, whatever the number of its pictures."""
_WHOLE_AT_ONCE = {"s3", "gcs", "abfs"}
"""Storages in which a file appears when it is whole, so that none is moved into place."""


@final
@dataclass
class Tally:
    """Numbers of pictures and videos, of their faces, and of those that are damaged or could not be read."""

    pictures: int = 0
    faces: int = 0
    failed: int = 0
    damaged: int = 0

    def add(self, pictures: pa.Table) -> None:
        """Count the rows of a table of pictures."""
        self.pictures += pictures.num_rows
        self.faces += pc.sum(pictures["faces"]).as_py() or 0
        self.failed += pc.sum(pc.equal(pictures["status"], FAILED)).as_py() or 0
        self.damaged += pc.sum(pc.equal(pictures["status"], DAMAGED)).as_py() or 0


@final
class Store:
    """One part of a dataset of faces, open for writing; a context manager.

    Args:
        address: a folder, or an address such as ``s3://bucket/faces``.
        manifest: how the results are made; equal in all runs of a dataset.
        part: which pictures this run is about.
        shard: pictures in a file.
        retry_failed: forget the pictures that could not be read, so that they are tried again.

    Attributes:
        done: names of the pictures of this part that are in the dataset.
        tally: their numbers.
        shards: number of files of pictures that this run has written.

    Raises:
        ConfigError: the dataset was made in another way, the folder holds something else, or another run works on the
            part.
        DataError: a file of the dataset is damaged.
        OutputError: a file cannot be written.
    """

    def __init__(
        self, address: str, manifest: Mapping[str, Any], part: Part, *, shard: int = 1000, retry_failed: bool = False
    ) -> None:
        self._storage = Storage(address)
        self._manifest, self._part, self._shard, self._retry_failed = manifest, part, shard, retry_failed
        self._waiting: list[tuple[pa.Table, pa.Table]] = []
        self._open, self._is_new, self._made_folder, self._next = ExitStack(), False, False, 0
        self.done, self.tally, self.shards = Names(), Tally(), 0

    def __enter__(self) -> "Store":
        with ExitStack() as stack:
            self._check_manifest()
            if self._storage.is_local:
                stack.enter_context(held(Path(self._name(self._aside))))
            self._remove_halves()
            names = self._shards(PICTURES)
            self._next = max((int(name.split("-")[-1].split(".")[0]) for name in names), default=-1) + 1
            for name in names:
                self._read_done(f"{PICTURES}/{name}")
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.flush()
        finally:
            self._open.close()
            if self._storage.is_local:
                for folder in (self._aside, UNFINISHED, *([""] if self._made_folder else [])):
                    with contextlib.suppress(OSError):  # another part may be at work
                        Path(self._name(folder)).rmdir()

    @property
    def _aside(self) -> str:
        return f"{UNFINISHED}/{self._part.number:05d}-of-{self._part.count:05d}"

    def _name(self, name: str) -> str:
        return f"{self._storage.base}/{name}"

    def _shards(self, kind: str) -> list[str]:
        """Names of the files of this part."""
        with self._writing(kind):
            found = self._storage.files.get_file_info(
                pafs.FileSelector(self._storage.path(self._name(kind)), allow_not_found=True)
            )
        prefix = self._aside.split("/")[1]
        return sorted(file.base_name for file in found if file.base_name.startswith(prefix))

    def _check_manifest(self) -> None:
        """Compare the manifest with the one of earlier runs, where there is one.

        Raises:
            ConfigError: they differ, or the folder holds something else.
            DataError: it is damaged.
        """
        storage, name = self._storage, self._name(MANIFEST)
        self._is_new = storage.info(name).type == pafs.FileType.NotFound
        if self._is_new:
            self._refuse_other_files()
            return
        try:
            earlier = json.loads(storage.read(name))
        except ValueError as error:
            raise DataError(f"{name}: is damaged ({error}); name another folder for the results") from error
        differing = [key for key, value in self._manifest.items() if earlier.get(key) != value]
        if differing:
            shown = "; ".join(f"{key} was {earlier.get(key)}, is {self._manifest[key]}" for key in differing)
            raise ConfigError(
                f"{storage.base}: holds results that were made otherwise: {shown}. Run the same command as before, or "
                "name another folder"
            )

    def _refuse_other_files(self) -> None:
        base = self._storage.base
        kind = self._storage.info(base).type
        self._made_folder = kind == pafs.FileType.NotFound  # its lock will make it
        if kind == pafs.FileType.File:
            raise ConfigError(f"{base}: is a file; name a folder for the results")
        if kind == pafs.FileType.Directory and any(
            name != self._name(UNFINISHED) for name, _ in self._storage.children(base)
        ):
            raise ConfigError(f"{base}: holds other files and no {MANIFEST} of canthus batch; name another folder")

    def _remove_halves(self) -> None:
        """Remove what a killed run has left: files aside, and faces without their pictures."""
        whole = set(self._shards(PICTURES))
        left = [f"{FACES}/{name}" for name in self._shards(FACES) if name not in whole]
        if self._storage.is_local:
            left += [f"{self._aside}/{path.name}" for path in Path(self._name(self._aside)).glob("*.parquet")]
        for name in left:
            with self._writing(name):
                self._storage.files.delete_file(self._storage.path(self._name(name)))

    def _read_done(self, name: str) -> None:
        """Note the pictures of a shard; write it anew without those that failed, where they are to be tried again.

        Raises:
            DataError: the file is damaged.
        """
        path = self._storage.path(self._name(name))
        try:
            with self._storage.files.open_input_file(path) as file:
                pictures = pq.read_table(file)
        except (OSError, pa.ArrowException) as error:
            twin = self._name(f"{FACES}/{name.partition('/')[2]}")
            raise DataError(
                f"{self._name(name)}: cannot be read ({' '.join(str(error).split())}); remove it and {twin}, and run "
                "the command again"
            ) from error
        failed = pc.equal(pictures["status"], FAILED)
        if self._retry_failed and pc.any(failed).as_py():  # they have no faces, so the other file stays as it is
            pictures = pictures.filter(pc.invert(failed))
            self._put(name, _parquet(pictures))
        for picture in pictures["picture"].to_pylist():
            self.done.add(picture)
        self.tally.add(pictures)

    def add(self, rows: pa.Table) -> None:
        """Add the rows of pictures, without those that are in the dataset already; they are written a shard at a time.

        Raises:
            OutputError: a file cannot be written.
        """
        pictures = pictures_of(rows)
        new = np.array([self.done.add(name) for name in pictures["picture"].to_pylist()], bool)
        if not new.all():
            rows = rows.filter(pa.array(np.repeat(new, np.maximum(pictures["faces"].to_numpy(), 1))))
            pictures = pictures.filter(pa.array(new))
        self.tally.add(pictures)
        self._waiting.append((faces_of(rows), pictures))
        waiting = [sum(table.num_rows for table in tables) for tables in zip(*self._waiting, strict=True)]
        if waiting[0] >= MOST_ROWS or waiting[1] >= self._shard:
            self.flush()

    def flush(self) -> None:
        """Write what waits as a shard.

        Raises:
            OutputError: a file cannot be written.
        """
        if not self._waiting:
            return
        if self._is_new:  # not before, so that a command that can do nothing leaves nothing
            self._put(MANIFEST, (json.dumps(self._manifest, indent=1) + "\n").encode())
            self._check_manifest()  # another part may have been faster
        faces, pictures = (pa.concat_tables(tables) for tables in zip(*self._waiting, strict=True))
        name = f"{self._aside.split('/')[1]}-{self._next:06d}.parquet"
        self._put(f"{FACES}/{name}", _parquet(faces))
        self._put(f"{PICTURES}/{name}", _parquet(pictures))
        self._waiting, self._next, self.shards = [], self._next + 1, self.shards + 1

    def _put(self, name: str, data: bytes | pa.Buffer) -> None:
        """Write a file whole or not at all."""
        files, path = self._storage.files, self._storage.path(self._name(name))
        with self._writing(name):
            if files.type_name in _WHOLE_AT_ONCE:
                with files.open_output_stream(path) as file:
                    file.write(data)
                return
            aside = self._storage.path(self._name(f"{self._aside}/{name.rpartition('/')[2]}"))
            for folder in (aside, path):
                files.create_dir(folder.rpartition("/")[0], recursive=True)
            with files.open_output_stream(aside) as file:
                file.write(data)
            if self._storage.is_local:
                _sync(aside)
            files.move(aside, path)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        """Turn errors of the storage into one that names the file."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            reason = disk_problem(error) if isinstance(error, OSError) and error.errno else " ".join(str(error).split())
            raise OutputError(f"{self._name(name)}: cannot be written ({reason}); choose another place") from error


def _parquet(table: pa.Table) -> pa.Buffer:
    """A Parquet file in memory."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _sync(path: str) -> None:
    """Let a file reach the disk, so that it is whole even where the machine loses its power."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
