"""Find the pictures that files, folders and patterns on the command line name."""

import glob
import io
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import final

from canthus.errors import ConfigError, DataError
from canthus.files import STANDARD_OUTPUT, check_targets
from canthus.images import IMAGE_SUFFIXES

KEPT_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
"""Overlays of such pictures keep the format; all others become PNG, under the full name with ``.png`` behind it."""


@final
class Inputs:
    """Pictures to work on, found while they are asked for.

    A file is used whatever its suffix.  A folder is searched with all its subfolders for files with the suffix of a
    picture (``images.IMAGE_SUFFIXES``); hidden files and folders are skipped.  A pattern (``*``, ``?``, ``[...]``,
    ``**``) yields the matching files with the suffix of a picture, and searches the matching folders.  Pictures come in
    the order of the names, each once, sorted within a folder or pattern.

    Each iteration searches anew and holds the names of one folder at a time, and, where there are several names, a text
    of each file already met.

    Args:
        names: what the user typed, or a ``ListFile``.
        leave_out: folders that are not searched, for the outputs of earlier runs.

    Attributes:
        problems: one line for each name without a picture, and for each folder that cannot be searched, in the last
            iteration.
    """

    def __init__(self, names: Iterable[str], *, leave_out: Sequence[Path | None] = ()) -> None:
        self._names = names
        self._hidden = {_absolute(folder) for folder in leave_out if folder is not None}
        self.problems: list[str] = []
        self._others: Counter[str] = Counter()
        self._several = not isinstance(names, Sequence) or len(names) > 1
        self._seen: dict[str, bool] = {}

    def __iter__(self) -> Iterator[Path]:
        return (path for path, _ in self.with_bases())

    @property
    def repeatable(self) -> bool:
        """Whether the pictures can be searched more than once."""
        return not isinstance(self._names, ListFile) or self._names.source != STANDARD_OUTPUT

    @property
    def paths(self) -> tuple[Path, ...]:
        """All pictures."""
        return tuple(self)

    @property
    def passed_over(self) -> dict[str, int]:
        """Suffix -> number of files that folders and patterns hold beside their pictures, most first.

        Hidden files are not counted; the numbers are those of the last iteration.
        """
        return {kind: count for kind, count in sorted(self._others.items(), key=lambda item: -item[1]) if count}

    def with_bases(self) -> Iterator[tuple[Path, Path]]:
        """Each picture, and the folder that was named, or the folder of the file that was named."""
        self.problems, self._others, self._seen = [], Counter(), {}
        for name in self._names:
            found = False
            for path, base in self._find(name):
                found = True
                if self._is_new(path):
                    yield path, base
            if not found:
                self.problems.append(_problem(name))

    def _is_new(self, path: Path, *, picture: bool = True) -> bool:
        """Whether a file is met for the first time as a picture, or as another file; one name gives each file once."""
        if not self._several:
            return True
        place = str(_absolute(path))
        known = self._seen.get(place)
        if known is False and picture:  # a folder passed it over, and now it is named
            self._others[_kind(path)] -= 1
        if known or known is picture:
            return False
        self._seen[place] = picture
        return True

    def _find(self, name: str) -> Iterator[tuple[Path, Path]]:
        """The pictures of one name, and the folder they are mirrored from."""
        path = Path(name)
        if path.is_dir():
            base = _absolute(path)
            yield from ((found, base) for found in self._below(path))
        elif path.exists():
            yield path, _absolute(path).parent
        elif glob.has_magic(name):
            yield from self._matching(name)

    def _matching(self, pattern: str) -> Iterator[tuple[Path, Path]]:
        path = Path(pattern)
        base = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        if "**" in path.parts:  # glob says nothing of folders that it cannot search
            for _ in os.walk(base, onerror=self._unreadable):
                pass
        for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
            matched = Path(match)
            found = self._below(matched) if matched.is_dir() else self._sorted_out([matched])
            yield from ((picture, _absolute(base)) for picture in found)

    def _below(self, folder: Path) -> Iterator[Path]:
        """The pictures in a folder and its subfolders, as ``sorted`` would order their paths."""
        try:
            with os.scandir(folder) as entries:
                listed = sorted((entry.name, _is_folder(entry), entry.is_symlink()) for entry in entries)
        except OSError as error:
            self._unreadable(error)
            return
        for name, is_folder, is_link in listed:
            here = folder / name
            if not is_folder:
                yield from self._sorted_out([here])
            elif not (is_link or name.startswith(".") or _absolute(here) in self._hidden):
                yield from self._below(here)

    def _sorted_out(self, files: Sequence[Path]) -> list[Path]:
        """The files that are named like pictures; the others are counted."""
        shown = [file for file in files if not file.name.startswith(".")]
        for file in shown:
            if not _named_like_a_picture(file) and self._is_new(file, picture=False):
                self._others[_kind(file)] += 1
        return [file for file in shown if _named_like_a_picture(file)]

    def _unreadable(self, error: OSError) -> None:
        problem = f"{error.filename}: this folder cannot be searched ({error.strerror})"
        if problem not in self.problems:
            self.problems.append(problem)


@final
class ListFile:
    """The names in a text file, one a line; ``-`` is standard input, which can be read once.

    Args:
        source: the file.
        first: names that come before those of the file.

    Raises:
        DataError: on iteration, the file cannot be read.
    """

    def __init__(self, source: str, *, first: Sequence[str] = ()) -> None:
        self.source, self._first = source, first

    def __iter__(self) -> Iterator[str]:
        yield from self._first
        if self.source == STANDARD_OUTPUT:
            lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="surrogateescape")
            yield from _names(lines)
            return
        try:
            with Path(self.source).open(encoding="utf-8", errors="surrogateescape") as lines:
                yield from _names(lines)
        except OSError as error:
            raise DataError(f"{self.source}: cannot be read ({error.strerror})") from error


def _names(lines: Iterable[str]) -> Iterator[str]:
    return (name for line in lines if (name := line.rstrip("\r\n")))


def mirrored_paths(pictures: Sequence[tuple[Path, Path]], folder: Path) -> list[Path]:
    """Where the results of each picture of ``Inputs.with_bases`` go below a folder.

    A named file goes to ``folder`` under its own name; the subfolders of a named folder are mirrored.  If two
    pictures would get the same path, all are mirrored from their common folder instead.
    """
    targets = [folder / _absolute(path).relative_to(base) for path, base in pictures]
    if len({_as_overlay(target) for target in targets}) < len(targets):
        root = _shared_root([place for path, base in pictures for place in (base, _absolute(path).parent)])
        targets = [folder / _absolute(path).relative_to(root) for path, _ in pictures]
    return targets


def overlay_paths(pictures: Sequence[tuple[Path, Path]], folder: Path) -> list[Path]:
    """Path of the overlay of each picture: ``mirrored_paths``, with ``.png`` behind suffixes that are not kept.

    Raises:
        ConfigError: an overlay would overwrite a picture that is read, or another overlay.
    """
    targets = [_as_overlay(target) for target in mirrored_paths(pictures, folder)]
    named = zip(pictures, targets, strict=True)
    check_targets(
        [path for path, _ in pictures], picture={f"the overlay of {path}": target for (path, _), target in named}
    )
    return targets


def _named_like_a_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _kind(path: Path) -> str:
    return path.suffix.lower() or "without suffix"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _problem(name: str) -> str:
    kinds = " ".join(sorted(IMAGE_SUFFIXES))
    if Path(name).is_dir():
        return f"{name}: no pictures in this folder or below it; looked for {kinds}"
    if glob.has_magic(name):
        return f"{name}: no file or picture matches this pattern; looked for {kinds}"
    return f"{name}: no such file or folder"


def _absolute(path: Path) -> Path:
    """Absolute and without ``..``; links are not followed, so that a link is mirrored where it lies."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps '..'


def _shared_root(folders: Sequence[Path]) -> Path:
    if not folders:
        return Path.cwd()
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:
        raise ConfigError(f"Inputs lie on several drives ({error}); run once for each") from error


def _as_overlay(target: Path) -> Path:
    return target if target.suffix.lower() in KEPT_SUFFIXES else target.with_name(target.name + ".png")
