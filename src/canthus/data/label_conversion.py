"""Write the faces of a dataset as label files in other formats."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from canthus.data.datasets import Progress, counted
from canthus.data.label_drawn import label_studio_text, labelme_text
from canthus.data.label_files import Described, Sides
from canthus.data.label_json import coco_text, list_text
from canthus.data.label_tables import csv_text, pts_text
from canthus.data.label_xml import cvat_text, dlib_text
from canthus.errors import ConfigError, DataError
from canthus.files import check_targets, write_text, written
from canthus.geometry import box_size
from canthus.images import read_image
from canthus.lookup import lookup
from canthus.scheme_files import FILE, scheme_toml
from canthus.schemes import own_scheme
from canthus.types import Annotation, by_picture

_WHOLE = 0.001
"""Pixels by which a coordinate may differ from a whole number, or a box from a hull, and count as the same."""


@final
@dataclass(frozen=True)
class Format:
    """A format of label files.

    Attributes:
        title: its name for people.
        suffix: of its files.
        text: the file of pictures with their faces.
        one_file: whether one file holds all pictures; else each picture has a file beside it.
        sides: whether it needs the sides of pictures.
        hidden: whether it tells hidden points from others.
        missing: whether it tells that a point has no position.
        boxes: whether it has boxes other than those that the points give.
        fractions: whether it has fractions of pixels.
        several: whether a picture may have several faces.
    """

    title: str
    suffix: str
    text: Callable[[Iterable[Described]], str]
    one_file: bool = True
    sides: bool = True
    hidden: bool = True
    missing: bool = True
    boxes: bool = True
    fractions: bool = True
    several: bool = True


FORMATS = {
    "pts": Format(
        ".pts files", ".pts", pts_text, one_file=False, sides=False, hidden=False, missing=False, boxes=False,
        several=False,
    ),
    "csv": Format("csv", ".csv", csv_text, sides=False),
    "json": Format("a JSON list of pictures with faces", ".json", list_text),
    "coco": Format("COCO keypoints", ".json", coco_text),
    "cvat": Format("CVAT for images 1.1", ".xml", cvat_text),
    "labelme": Format("labelme files", ".json", labelme_text, one_file=False),
    "dlib": Format("xml of dlib's imglab", ".xml", dlib_text, hidden=False, fractions=False),
    "labelstudio": Format("tasks of Label Studio", ".json", label_studio_text),
}  # fmt: skip
"""Every format that is written, by name; the folder reader reads all of them."""
USUAL = {".csv": "csv", ".json": "coco", ".xml": "cvat"}
"""The format that the suffix of a file stands for."""


@final
@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        format: of the files.
        files: the label files.
        faces: number of faces written.
        pictures: number of pictures that they are in.
        lost: what the format cannot hold, in words.
        unreadable: what is wrong with each picture that could not be read, and was left out.
    """

    format: Format
    files: tuple[Path, ...]
    faces: int
    pictures: int
    lost: tuple[str, ...]
    unreadable: tuple[str, ...]


def format_of(out: Path, name: str | None) -> Format:
    """The format of a name, or of the suffix of the file to write.

    Raises:
        ConfigError: the name is unknown, is missing, or does not fit the path.
    """
    kind = lookup(FORMATS, name or USUAL.get(out.suffix.lower(), ""), kind="format") if name or out.suffix else None
    if kind is None:
        raise ConfigError(f"{out}: has no suffix that tells a format; give one of {', '.join(FORMATS)} with --to")
    if kind.one_file and (out.is_dir() or out.suffix.lower() != kind.suffix):
        raise ConfigError(f"{out}: {kind.title} are one file; name one that ends in {kind.suffix}")
    if not kind.one_file and (out.is_file() or out.suffix):
        raise ConfigError(f"{out}: {kind.title} are one for each picture; name the folder to write them to")
    return kind


def convert_labels(
    faces: Sequence[Annotation],
    root: Path,
    out: Path,
    to: str | None = None,
    *,
    lossy: bool = False,
    copy_pictures: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Write faces as label files; pictures are named from where the label file lies.  No existing file is replaced.

    Args:
        faces: all of one scheme.  A scheme of one's own is written beside them, as ``scheme.toml``.
        root: folder, or file in the folder, that the faces were read from.
        out: the file, or the folder for formats with a file for each picture.
        to: name of the format; None to take it from the suffix of ``out``.
        lossy: whether to write what the format can hold, and leave out the rest.
        copy_pictures: whether to copy the pictures into the folder of the labels.
        progress: called after each picture.

    Raises:
        ConfigError: the format cannot hold everything, or a file is there already.
        DataError: there is no face, or no picture can be read.
        OutputError: a file cannot be written.
    """
    kind = format_of(out, to)
    if not faces:
        raise DataError(f"{root}: holds no face that can be written")
    lost = tuple(losses(faces, kind))
    if lost and not lossy:
        raise ConfigError(f"{kind.title} cannot hold {'; '.join(lost)}. Give --lossy to write the rest")
    place = _Place(root if root.is_dir() else root.parent, out.parent if kind.one_file else out, copy_pictures)
    pictures = by_picture(_largest(faces) if lost and not kind.several else faces)
    targets = _targets(pictures, out, kind, place)
    scheme = own_scheme(faces[0].scheme)
    scheme_file = {place.out / FILE: scheme_toml(scheme)} if scheme is not None else {}
    copies = {path: place.copy_of(path) for path in pictures} if copy_pictures else {}
    _check_free([root, *pictures], [*targets, *copies.values()], scheme_file)
    unreadable: list[str] = []
    sides = _sides(pictures, kind, unreadable, progress or (lambda done, total: None))
    if not sides:
        raise DataError(f"none of the {counted(len(pictures), 'picture')} can be read: {unreadable[0]}")
    for path in sides if copy_pictures else ():
        with written(copies[path]) as aside:
            shutil.copyfile(path, aside)
    made = []
    for target, named in targets.items():
        described = [(name, sides[path], pictures[path]) for path, name in named.items() if path in sides]
        if described:
            write_text(target, kind.text(described))
            made.append(target)
    for path, text in scheme_file.items():
        write_text(path, text)
    return Conversion(
        kind, tuple(made), sum(len(pictures[path]) for path in sides), len(sides), lost, tuple(unreadable)
    )


@final
@dataclass(frozen=True)
class _Place:
    """Where labels are read and written: folders."""

    root: Path
    out: Path
    copies: bool

    def below(self, picture: Path) -> Path:
        """The path of a picture below the root; its name alone, if it lies elsewhere."""
        return picture.relative_to(self.root) if picture.is_relative_to(self.root) else Path(picture.name)

    def copy_of(self, picture: Path) -> Path:
        """Where the picture is copied to."""
        return self.out / self.below(picture)

    def name_from(self, folder: Path, picture: Path) -> str:
        """The name of a picture in a label file of the folder."""
        shown = self.copy_of(picture) if self.copies else picture
        real = os.path.join(os.path.realpath(shown.parent), shown.name)  # noqa: PTH118  a picture may be a link
        try:
            return Path(os.path.relpath(real, os.path.realpath(folder))).as_posix()
        except ValueError:  # another drive
            return Path(real).as_posix()


def losses(faces: Sequence[Annotation], kind: Format) -> Iterator[str]:
    """What a format cannot hold of the faces, in words."""
    missing = np.stack([np.isnan(face.points).any(axis=1) for face in faces])
    hidden = ~np.stack([face.visible for face in faces]) & ~missing
    if not kind.hidden and hidden.any():
        yield f"{counted(int(hidden.sum()), 'mark')} of hidden points"
    if not kind.missing and missing.any():
        yield f"{counted(int(missing.sum()), 'point')} without position, written as (-1, -1)"
    own = sum(bool((np.abs(face.box - face.scheme.face_boxes(face.points)) > _WHOLE).any()) for face in faces)
    if not kind.boxes and own:
        yield f"{own} box{'' if own == 1 else 'es'} other than those that the points give"
    if not kind.fractions and any(_has_fractions(face) for face in faces):
        yield "fractions of pixels, which are rounded"
    more = len(faces) - len({face.path for face in faces})
    if not kind.several and more:
        yield f"{counted(more, 'face')} beside the largest of its picture"
    if any(face.attributes for face in faces):
        yield f"the attributes {', '.join(sorted({name for face in faces for name in face.attributes}))}"


def _has_fractions(face: Annotation) -> bool:
    numbers = np.concatenate([face.points.ravel(), face.box])
    return bool((np.abs(numbers - np.rint(numbers)) > _WHOLE).any())


def _largest(faces: Sequence[Annotation]) -> list[Annotation]:
    """The face with the largest box of each picture."""
    return [max(of, key=lambda face: float(box_size(face.box).prod())) for of in by_picture(faces).values()]


def _targets(pictures: Iterable[Path], out: Path, kind: Format, place: _Place) -> dict[Path, dict[Path, str]]:
    """Each file to write, with its pictures and their names.

    Raises:
        ConfigError: two pictures would share one file.
    """
    if kind.one_file:
        return {out: {path: place.name_from(out.parent, path) for path in pictures}}
    targets: dict[Path, dict[Path, str]] = {}
    for path in pictures:
        target = place.copy_of(path).with_suffix(kind.suffix)
        if target in targets:
            raise ConfigError(f"{path} and {next(iter(targets[target]))} would share {target}; rename one of them")
        targets[target] = {path: place.name_from(target.parent, path)}
    return targets


def _check_free(inputs: Sequence[Path], targets: Sequence[Path], scheme_file: dict[Path, str]) -> None:
    """Refuse to replace any file; a scheme file with the same text may be there.

    Raises:
        ConfigError: a file is there already.
    """
    check_targets(inputs, text={"OUT" if len(targets) == 1 else f"OUT, {path}": path for path in targets})
    wrong = [path for path, text in scheme_file.items() if os.path.lexists(path) and path.read_bytes() != text.encode()]
    for path in [*targets, *wrong]:
        if os.path.lexists(path):
            raise ConfigError(
                f"{path} is there already, and labels are never replaced; remove it or choose another OUT"
            )


def _sides(pictures: Iterable[Path], kind: Format, unreadable: list[str], progress: Progress) -> dict[Path, Sides]:
    """Width and height of each picture that can be read; 0 where the format does not need them."""
    if not kind.sides:
        return dict.fromkeys(pictures, (0, 0))
    sides, paths = {}, list(pictures)
    for done, path in enumerate(paths, start=1):
        try:
            height, width = read_image(path).shape[:2]
        except DataError as error:
            unreadable.append(str(error))
        else:
            sides[path] = (width, height)
        progress(done, len(paths))
    return sides
