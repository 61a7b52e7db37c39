"""A folder of one's own pictures with landmarks.

One of:

- a ``.pts`` file beside each picture, in any sub-folder;
- one csv in the folder: the name of a picture and 2k numbers ``x0, y0, x1, ...`` a line, counted from zero; a header
  line is optional, an empty field means no position, several lines may name one picture; or what
  ``canthus detect --csv`` writes;
- one json in the folder: a list of ``{"image", "points"}``, what ``canthus detect --json`` writes, or a COCO file with
  keypoints.

``root`` may also be the csv or json itself.  Pictures are looked for below the folder, by the name the file gives
and then by its last part alone.  The box of a face is the one in the file, or the hull of its points.
"""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

from canthus.data.datasets import Dataset
from canthus.data.labels import Label, LabelFile, read_label_file, read_pts_labels
from canthus.data.problems import UNLABELLED, Problem, Scan, readable
from canthus.data.splits import split_by_group
from canthus.errors import ConfigError, DataError
from canthus.geometry import hull_box
from canthus.images import IMAGE_SUFFIXES
from canthus.lookup import lookup
from canthus.schemes import Scheme, find_scheme, guess_scheme
from canthus.types import Annotation

SPLITS = {"all": "every face", "fit": "nine pictures in ten", "validation": "the tenth"}

_log = logging.getLogger(__name__)


def read_folder(root: Path, split: str, *, scheme: str | None = None) -> list[Annotation]:
    """Read a user's own folder, sorted by key.

    Args:
        root: the folder, or its csv or json file.
        split: ``all``, or ``fit``/``validation`` divided 9 to 1 by picture.
        scheme: name of the scheme; None where the number of points tells.

    Raises:
        ConfigError: unknown split or scheme, or the number of points does not tell the scheme.
        DataError: no labels, or lines that cannot be read: all of them, up to twenty, are in the message.
    """
    lookup(SPLITS, split, kind="split of folder")
    scan = scan_folder(root, scheme=scheme)
    annotations = readable(scan, name="folder", root=root)
    if not annotations:
        raise DataError(f"{root}: the labels hold no face")
    if scan.problems:
        _log.warning("%s: %d pictures have no points and are left out", root, len(scan.problems))
    if split == "all":
        return annotations
    fit, validation = split_by_group(annotations)
    return fit if split == "fit" else validation


def scan_folder(root: Path, *, scheme: str | None = None) -> Scan:
    """Every face of a folder, and every line or picture that is no face.

    Raises:
        ConfigError: unknown scheme, or the number of points does not tell the scheme.
        DataError: no labels, or more than one kind of them.
    """
    folder = root if root.is_dir() else root.parent
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    pictures = {path.relative_to(folder).as_posix(): path for path in found}
    file = _labels(root, folder, pictures)
    faces: list[Annotation] = []
    problems = list(file.problems)
    count: Counter[str] = Counter()
    numbering = _scheme(file, scheme)
    for label in file.labels:
        face = _face(label, numbering, folder, pictures)
        if isinstance(face, Problem):
            problems.append(face)
            continue
        count[face.key] += 1
        faces.append(face if count[face.key] == 1 else replace(face, key=f"{face.key}#{count[face.key]}"))
    named = {_picture(name, folder, pictures) for name in file.pictures}
    problems += [Problem(UNLABELLED, name, "no label names it") for name, path in pictures.items() if path not in named]
    return Scan(sorted(faces, key=lambda face: face.key), problems)


def _labels(root: Path, folder: Path, pictures: dict[str, Path]) -> LabelFile:
    if root.is_file():
        return read_label_file(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder or file; expected pictures with .pts files, one csv or one json")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".csv", ".json"))
    points = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".pts")
    if len(files) + bool(points) > 1:
        kinds = [path.name for path in files] + [f"{len(points)} .pts files"] * bool(points)
        raise DataError(f"{root}: expected one source of labels, found {', '.join(kinds)}; give the csv or json itself")
    if files:
        return read_label_file(files[0])
    if points:
        names = {path.with_suffix(""): name for name, path in pictures.items()}
        return read_pts_labels(folder, points, names)
    raise DataError(
        f"{root}: found {len(pictures)} pictures and no labels; expected a .pts file beside each picture, "
        "or one csv or json in the folder"
    )


def _scheme(file: LabelFile, name: str | None) -> Scheme | None:
    """The scheme of a label file: as given, as the file says, or as the usual number of points tells."""
    if name is not None:
        return find_scheme(name)
    if not file.labels:
        return None
    said = Counter(label.scheme for label in file.labels if label.scheme is not None)
    if said:
        return find_scheme(said.most_common(1)[0][0])
    count = Counter(len(label.points) for label in file.labels).most_common(1)[0][0]
    try:
        return guess_scheme(count)
    except ConfigError as error:
        raise ConfigError(f"{file.labels[0].where}: {error}") from error


def _face(label: Label, scheme: Scheme | None, folder: Path, pictures: dict[str, Path]) -> Annotation | Problem:
    path = _picture(label.picture, folder, pictures)
    if path is None:
        return Problem("points without picture", label.where, f"{label.picture!r} is not below {folder}")
    if scheme is None or len(label.points) != scheme.count or label.scheme not in (None, scheme.name):
        expected = f"{scheme.count} points of {scheme.name}" if scheme else "points"
        return Problem(
            "other scheme",
            label.where,
            f"expected {expected}, found {len(label.points)} of {label.scheme or 'unknown'}",
        )
    key = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else label.picture
    boxed = label.box is not None and bool((label.box[2:] > label.box[:2]).all())
    return Annotation(
        key=key,
        path=path,
        points=label.points,
        scheme=scheme,
        box=label.box if boxed and label.box is not None else hull_box(label.points),
        visible=label.visible,
        group=key,
    )


def _picture(name: str, folder: Path, pictures: dict[str, Path]) -> Path | None:
    """The file a label means by ``name``, which may be written with backslashes."""
    name = name.replace("\\", "/")
    if name in pictures:
        return pictures[name]
    given = Path(name)
    for path in (given if given.is_absolute() else folder / given, folder / given.name):
        if path.is_file():
            return path
    return None


DATASET = Dataset(
    splits=tuple(SPLITS),
    faces=lambda root, split, scheme: read_folder(root, split, scheme=scheme),
    folds="all",
    default_splits=("all",),
)
