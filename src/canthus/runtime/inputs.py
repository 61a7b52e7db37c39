"""Find the pictures that files, folders and patterns on the command line name."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import final

from canthus.errors import ConfigError
from canthus.files import check_targets
from canthus.images import IMAGE_SUFFIXES

KEPT_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
"""Overlays of such pictures keep the format; all others become PNG, under the full name with ``.png`` behind it."""


@final
@dataclass(frozen=True)
class Inputs:
    """Pictures to work on.

    Attributes:
        paths: in the order given, each once; sorted within a folder or pattern.
        problems: one line for each input without a picture, and for each folder that cannot be searched.
        bases: for each picture, the folder that was named, or the folder of the file that was named.
        root: folder that all pictures lie below.
        passed_over: suffix -> number of files that folders and patterns hold beside their pictures, most first; hidden
            files are not counted.
    """

    paths: tuple[Path, ...]
    problems: tuple[str, ...]
    bases: tuple[Path, ...]
    root: Path
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def overlay_paths(self, folder: Path) -> list[Path]:
        """Path of the overlay of each picture.

        A named file goes to ``folder`` under its own name; the subfolders of a named folder are mirrored.  If two
        pictures would get the same path, all are mirrored from their common folder instead.

        Raises:
            ConfigError: an overlay would overwrite a picture that is read, or another overlay.
        """
        targets = [_overlay_path(folder, path, base) for path, base in zip(self.paths, self.bases, strict=True)]
        if len(set(targets)) < len(targets):
            targets = [_overlay_path(folder, path, self.root) for path in self.paths]
        named = zip(self.paths, targets, strict=True)
        check_targets(self.paths, picture={f"the overlay of {path}": target for path, target in named})
        return targets


def find_inputs(names: Sequence[str], *, leave_out: Path | None = None) -> Inputs:
    """Find the pictures that ``names`` name.

    A file is used whatever its suffix.  A folder is searched with all its subfolders for files with the suffix of a
    picture (``images.IMAGE_SUFFIXES``); hidden files and folders are skipped.  A pattern (``*``, ``?``, ``[...]``,
    ``**``) yields the matching files with the suffix of a picture, and searches the matching folders.

    Args:
        names: what the user typed.
        leave_out: a folder that is not searched, for the output of earlier runs.
    """
    pictures: dict[Path, tuple[Path, Path]] = {}
    problems: list[str] = []
    others: set[Path] = set()
    search = _Search(None if leave_out is None else _absolute(leave_out), problems, others)
    for name in names:
        found, base = search.find(name)
        if not found:
            problems.append(_problem(name))
            continue
        for path in found:
            pictures.setdefault(_absolute(path), (path, base))
    paths, bases = zip(*pictures.values(), strict=True) if pictures else ((), ())
    root = _shared_root([*bases, *(path.parent for path in pictures)])
    kinds = Counter(path.suffix.lower() or "without suffix" for path in sorted(others - pictures.keys()))
    return Inputs(paths, tuple(problems), bases, root, dict(kinds.most_common()))


@final
@dataclass(frozen=True)
class _Search:
    """A search for pictures, and what it meets beside them.

    Attributes:
        hidden: a folder that is not searched.
        problems: gets one line for each folder that cannot be searched.
        others: gets the files that are not named like pictures.
    """

    hidden: Path | None
    problems: list[str]
    others: set[Path]

    def find(self, name: str) -> tuple[list[Path], Path]:
        """The pictures of one input and the folder they are mirrored from."""
        path = Path(name)
        if path.is_dir():
            return sorted(self._below(path)), _absolute(path)
        if path.exists() or not glob.has_magic(name):
            return ([path] if path.exists() else []), _absolute(path).parent
        base = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        if "**" in path.parts:  # glob says nothing of folders that it cannot search
            list(os.walk(base, onerror=self._unreadable))
        found: list[Path] = []
        for match in sorted(glob.glob(name, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
            matched = Path(match)
            found += sorted(self._below(matched)) if matched.is_dir() else self._sorted_out([matched])
        return found, _absolute(base)

    def _below(self, folder: Path) -> Iterator[Path]:
        for place, folders, files in os.walk(folder, onerror=self._unreadable):
            here = Path(place)
            folders[:] = [f for f in folders if not f.startswith(".") and _absolute(here / f) != self.hidden]
            yield from self._sorted_out([here / file for file in files])

    def _sorted_out(self, files: Sequence[Path]) -> list[Path]:
        """The files that are named like pictures; the others are noted."""
        shown = [file for file in files if not file.name.startswith(".")]
        self.others.update(_absolute(file) for file in shown if not _named_like_a_picture(file))
        return [file for file in shown if _named_like_a_picture(file)]

    def _unreadable(self, error: OSError) -> None:
        problem = f"{error.filename}: this folder cannot be searched ({error.strerror})"
        if problem not in self.problems:
            self.problems.append(problem)


def _named_like_a_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


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


def _overlay_path(folder: Path, picture: Path, root: Path) -> Path:
    target = folder / _absolute(picture).relative_to(root)
    return target if target.suffix.lower() in KEPT_SUFFIXES else target.with_name(target.name + ".png")
