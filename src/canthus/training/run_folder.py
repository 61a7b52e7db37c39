"""The folder of a run: one process at a time, and small files of JSON."""

import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from canthus.errors import ConfigError, DataError
from canthus.files import write_text, writing

_log = logging.getLogger(__name__)

LOCK = "run.lock"
"""File that a running process locks; it names the process, and goes when the run ends."""
_BUSY = (BlockingIOError, PermissionError, FileNotFoundError)
"""What an operating system raises where another process has the lock."""


@final
class BusyError(ConfigError):
    """Another process works in a folder."""


@contextmanager
def held(folder: Path, lock: str = LOCK) -> Iterator[None]:
    """Keep a folder to this process while the block runs.

    The lock is one of the operating system, which frees it when the process ends in any way: a file that a killed run
    left behind is taken over.

    Args:
        lock: name of the file that is locked; a process may hold several of one folder.

    Raises:
        BusyError: another process runs in the folder.
        OutputError: the folder cannot be written.
    """
    path = folder / lock
    with writing(path, folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(file, path)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows keeps files that are open
                path.unlink()
    finally:
        os.close(file)


def _acquire(file: int, path: Path) -> None:
    try:
        _lock(file)
        if not os.path.samestat(os.fstat(file), path.stat()):
            raise BlockingIOError  # another run has ended, and a third has made the file anew
    except _BUSY as error:
        raise BusyError(
            f"{path.parent}: another run works in this folder (process {_owner(path)}). Wait until it has ended, or "
            "choose another folder"
        ) from error
    except OSError as error:  # a file system without locks
        _log.warning("%s: cannot be locked (%s); take care that only one run uses the folder", path, error.strerror)
    with writing(path):
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()} on {socket.gethostname()}\n".encode())


def _lock(file: int) -> None:
    """Lock an open file; worker processes do not inherit the lock."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(file, 1 << 20, os.SEEK_SET)  # beyond the text, which others may read
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _owner(path: Path) -> str:
    try:
        return path.read_text().strip() or "unknown"
    except OSError:
        return "unknown"


def read_record(path: Path, *, remedy: str) -> dict[str, Any]:
    """Read a file of JSON that an earlier run wrote.

    Args:
        remedy: what to do where it is damaged, for the message.

    Raises:
        DataError: it is cut off or damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read, is damaged or cut off ({_reason(error)}); {remedy}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected a table, found {type(values).__name__}; {remedy}")
    return values


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def write_record(path: Path, values: Any) -> None:
    """Write a file of JSON whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(path, json.dumps(values, indent=1) + "\n")
