"""Find the pictures that files, folders and patterns on the command line name."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
        problems: one line for each input without a picture.
        bases: for each picture, the folder that was named, or the folder of the file that was named.
        root: folder that all pictures lie below.
    """

    paths: tuple[Path, ...]
    problems: tuple[str, ...]
    bases: tuple[Path, ...]
    root: Path

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
    hidden = None if leave_out is None else _absolute(leave_out)
    for name in names:
        found, base = _find(name, hidden)
        if not found:
            problems.append(_problem(name))
            continue
        for path in found:
            pictures.setdefault(_absolute(path), (path, base))
    paths, bases = zip(*pictures.values(), strict=True) if pictures else ((), ())
    return Inputs(paths, tuple(problems), bases, _shared_root([*bases, *(path.parent for path in pictures)]))


def _find(name: str, hidden: Path | None) -> tuple[list[Path], Path]:
    """The pictures of one input and the folder they are mirrored from."""
    path = Path(name)
    if path.is_dir():
        return sorted(_pictures_below(path, hidden)), _absolute(path)
    if path.exists() or not glob.has_magic(name):
        return ([path] if path.exists() else []), _absolute(path).parent
    found: list[Path] = []
    for match in sorted(glob.glob(name, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
        matched = Path(match)
        if matched.is_dir():
            found += sorted(_pictures_below(matched, hidden))
        elif _named_like_a_picture(matched):
            found.append(matched)
    return found, _absolute(Path(*takewhile(lambda part: not glob.has_magic(part), path.parts)))


def _pictures_below(folder: Path, hidden: Path | None) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = [f for f in folders if not f.startswith(".") and _absolute(here / f) != hidden]
        yield from (here / file for file in files if _named_like_a_picture(here / file))


def _named_like_a_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


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
