"""A folder of one's own pictures with landmarks, in any of the formats of label files.

- ``.pts`` files, or JSON files of labelme, beside the pictures, in any sub-folder;
- one file in the folder: a csv (see ``label_tables``), a JSON of faces, COCO keypoints or Label Studio (``label_json``,
  ``label_drawn``), or an xml of CVAT or dlib (``label_xml``).

``root`` may also be that file itself.  Pictures are looked for below the folder, by the name the file gives and then by
as much of its end as a picture has.  The box of a face is the one in the file, or the face box of its points.
Points at (-1, -1), and at (0, 0) if there are two or more of them, have no position; annotations of other things are
passed over.  Notes tell of both.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import final

import numpy as np

from canthus.data.datasets import (
    NO_PICTURE,
    UNLABELLED,
    Dataset,
    LabelError,
    Problem,
    Scan,
    damaged,
    read_labels,
)
from canthus.data.label_files import CENTRE, Label, LabelFile, numbers_of_names
from canthus.data.label_json import read_json_labels
from canthus.data.label_tables import read_csv_labels, read_pts_labels
from canthus.data.label_xml import CVAT, DLIB, read_xml_labels
from canthus.data.xml_files import xml_root
from canthus.errors import ConfigError, DataError
from canthus.images import IMAGE_SUFFIXES
from canthus.scheme_files import ALL_POINTS, FILE, Scheme, mirror_of, mirrored_names, named_scheme
from canthus.schemes import SCHEMES, find_scheme, guess_scheme
from canthus.types import Annotation

_NOWHERE = {(0.0, 0.0): 2, (-1.0, -1.0): 1}
"""What files write for points without position, and how many of them there must be."""
_SHOWN = 5
"""How many label files a message names."""
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of a picture that was uploaded."""
_EXPECTED = "a .pts file beside each picture, or JSON files of labelme, or one csv, json or xml in the folder"


@final
@dataclass(frozen=True)
class _Pictures:
    """The pictures below a folder: name from there -> path."""

    folder: Path
    paths: Mapping[str, Path]
    by_end: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def find(self, name: str) -> Path | None:
        """The file that a label means by ``name``, which may be written with backslashes; None if there is none.

        Raises:
            LabelError: several pictures may be meant.
        """
        name = PurePosixPath(name.replace("\\", "/")).as_posix()
        if name in self.paths:
            return self.paths[name]
        given = Path(name)
        try:
            found = next((path for path in (self.folder / given, self.folder / given.name) if path.is_file()), None)
        except OSError:  # a name that is too long for any file
            return None
        uploaded = _UPLOADED.match(given.name)
        return found or self._by_end(name) or (self._by_end(given.name[uploaded.end() :]) if uploaded else None)

    def _by_end(self, name: str) -> Path | None:
        """The picture whose path ends with the name, or that the name ends with; the longest such path."""
        alike = [
            path for path in self.by_end[name.rpartition("/")[2]]
            if f"/{path}".endswith(f"/{name}") or f"/{name}".endswith(f"/{path}")
        ]  # fmt: skip
        longer = [path for path in alike if f"/{path}".endswith(f"/{name}")]
        if len(longer) > 1:
            raise LabelError(f"{name!r} may be {longer[0]} or {longer[1]}; give more of the path", kind=NO_PICTURE)
        return self.paths[max(alike, key=len)] if alike else None


def _pictures(folder: Path) -> _Pictures:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    pictures = _Pictures(folder, {path.relative_to(folder).as_posix(): path for path in found})
    for name in pictures.paths:
        pictures.by_end[name.rpartition("/")[2]].append(name)
    return pictures


def _scan_faces(root: Path, parts: Sequence[str], *, scheme: str | Scheme | None = None) -> Scan[Annotation]:
    """Read every face of a folder, and list the lines and pictures that cannot be used."""
    pictures = _pictures(root if root.is_dir() else root.parent)
    asked = _asked_scheme(scheme, pictures.folder)
    file = _labels(root, pictures, asked and asked.count)
    asked = asked or _named_in(file)
    used = tuple(dict.fromkeys(name for _, label in file.labels for name in label.names))
    order = _order(file.names, used, asked)
    chosen = asked or _scheme_of_labels(file, order)
    file = _without_marks(_in_order(file, order, chosen))
    problems = list(file.problems)
    faces = list(read_labels(file.labels, partial(_face, chosen, pictures), problems))
    named = set(_found(file.pictures, pictures))
    problems += [Problem(UNLABELLED, n, "no label names it") for n, path in pictures.paths.items() if path not in named]
    return Scan(faces, problems, file.notes + file.passed_over())


def undescribed_faces(root: Path) -> tuple[list[Annotation], tuple[str, ...]]:
    """The faces of a folder or label file whose points no scheme describes yet, and the names of their points, if any.

    Faces with another number of points than most are left out.  The scheme of the others stands in for theirs: it has
    their number of points, one group, and no mirror images.

    Raises:
        DataError: there are no labels.
    """
    pictures = _pictures(root if root.is_dir() else root.parent)
    file = _labels(root, pictures, None)
    order = _order(file.names, tuple(dict.fromkeys(name for _, label in file.labels for name in label.names)), None)
    file = _without_marks(_in_order(file, order, None))
    if not file.labels:
        raise DataError(f"{root}: the labels hold no face; expected at least one")
    count = Counter(len(label.points) for _, label in file.labels).most_common(1)[0][0]
    every = tuple(range(count))
    stand_in = Scheme("unnamed", count, every, {ALL_POINTS: every})
    labels = [(where, replace(label, scheme=None)) for where, label in file.labels]
    return list(read_labels(labels, partial(_face, stand_in, pictures), [])), order


def _found(names: set[str], pictures: _Pictures) -> Iterator[Path | None]:
    for name in names:
        try:
            yield pictures.find(name)
        except LabelError:  # told of the face
            yield None


def _labels(root: Path, pictures: _Pictures, count: int | None) -> LabelFile:
    """The labels of a file or folder.

    Raises:
        DataError: there is no label file, or more than one.
    """
    if root.is_file():
        return _read_label_file(root, count)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder or file; expected pictures with {_EXPECTED}")
    files = sorted(path for path in root.iterdir() if _is_label_file(path))
    points = sorted(path for path in root.rglob("*") if path.suffix.lower() == ".pts")
    if not points and (len(files) != 1 or files[0].suffix.lower() == ".json"):
        found = _read_labelme_files(root, files, pictures, count)
        if found is not None:
            return found
    if len(files) + bool(points) > 1:
        kinds = [path.name for path in files[:_SHOWN]]
        kinds += [f"{len(files) - _SHOWN} more"] * (len(files) > _SHOWN) + [f"{len(points)} .pts files"] * bool(points)
        raise DataError(
            f"{root}: expected one source of labels, found {', '.join(kinds)}; give the file itself, or move the others"
        )
    if files:
        return _read_label_file(files[0], count)
    if points:
        return read_pts_labels(root, points, pictures.paths)
    raise DataError(f"{root}: found {len(pictures.paths)} pictures and no labels; expected {_EXPECTED}")


def _is_label_file(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in (".csv", ".json") or (suffix == ".xml" and xml_root(path) in (CVAT, DLIB))


def _read_label_file(path: Path, count: int | None) -> LabelFile:
    """Read one file; single bad lines become problems.

    Raises:
        DataError: the file cannot be read, or is of no known format.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return read_csv_labels(path)
    return read_xml_labels(path) if suffix == ".xml" else read_json_labels(path, count=count)


def _read_labelme_files(root: Path, files: Sequence[Path], pictures: _Pictures, count: int | None) -> LabelFile | None:
    """The labels of all labelme files below a folder.

    Args:
        root: the folder.
        files: label files in the folder itself.
        pictures: those below it.
        count: number of points of a face, if known.

    Returns:
        The labels of the only file, if it is another JSON; None if no file is of labelme, or one of several is not.

    Raises:
        DataError: the only file cannot be read.
    """
    if len(files) == 1:
        alone = read_json_labels(files[0], count=count)
        if not alone.is_labelme:
            return alone
    if any(path.suffix.lower() != ".json" for path in files):
        return None
    found = LabelFile(first=CENTRE, is_labelme=True)
    beside = {path.with_suffix(".json") for path in pictures.paths.values()}
    for path in sorted(path for path in root.rglob("*") if path.suffix.lower() == ".json"):
        read = _read_labelme_file(path, root, needed=path in files or path in beside)
        if read.is_labelme:
            found.extend(read)
        elif path in files:
            return None
    return found if found.pictures else None


def _read_labelme_file(path: Path, root: Path, *, needed: bool) -> LabelFile:
    """A JSON file that may be of labelme; a problem where it is ``needed`` and cannot be read."""
    place = path.relative_to(root)
    try:
        return read_json_labels(path, folder=place.parent.as_posix())
    except DataError as error:
        return LabelFile(problems=[damaged(path, place.as_posix(), error)], is_labelme=True) if needed else LabelFile()


def _asked_scheme(given: str | Scheme | None, folder: Path) -> Scheme | None:
    """The given scheme, or the one beside the labels; None if there is neither.

    Raises:
        ConfigError: the given one contradicts the one beside the labels, or is unknown.
    """
    path = folder / FILE
    beside = find_scheme(str(path)) if path.is_file() else None
    if given is None:
        return beside
    scheme = beside if beside is not None and given == beside.name else find_scheme(given)
    if beside is not None and not scheme.is_numbered_as(beside):
        raise ConfigError(
            f"{path} describes {beside.name} ({beside.count} points), and {scheme.name} ({scheme.count} points) "
            "was asked for, with another name, number or mirror order; remove or correct one of the two"
        )
    return scheme


def _named_in(file: LabelFile) -> Scheme | None:
    """The scheme that most faces name."""
    said = Counter(label.scheme for _, label in file.labels if label.scheme is not None)
    return find_scheme(said.most_common(1)[0][0]) if said else None


def _scheme_of_labels(file: LabelFile, order: tuple[str, ...]) -> Scheme | None:
    """The scheme that the names of points describe, else the usual one for their number; None without labels.

    Names in an order that the file declares may be those of a scheme of canthus, whose pairs of left and right agree.

    Raises:
        ConfigError: neither tells the scheme.
    """
    if not file.labels:
        return None
    where = file.labels[0][0]
    counts = Counter(len(label.points) for _, label in file.labels if not label.names)
    try:
        if not order or numbers_of_names(order) is not None:
            return guess_scheme(len(order) or counts.most_common(1)[0][0])
        pairs = mirrored_names(order)
        usual = [scheme for scheme in SCHEMES.values() if scheme.count == len(order)] if file.names else []
        alike = [scheme for scheme in usual if not pairs or mirror_of(len(order), pairs) == scheme.mirror]
        return alike[0] if len(alike) == 1 else named_scheme(f"named_{len(order)}", order)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _order(declared: tuple[str, ...], used: tuple[str, ...], scheme: Scheme | None) -> tuple[str, ...]:
    """Names of points in the order of a scheme: as the scheme names them, as the file declares, or by their numbers.

    Raises:
        ConfigError: the names do not say which point of the scheme each is.
    """
    own = scheme.names if scheme else ()
    numbers = numbers_of_names(used)
    if not used or (own and (numbers is None or set(used) <= set(own))):
        return own if used else ()
    if declared and set(used) <= set(declared):
        return declared
    if numbers is None and scheme is not None:
        raise ConfigError(
            f"the names of points, such as {used[0]!r}, do not say which of the {scheme.count} points of {scheme.name} "
            "each is; number them from 0, or give a scheme with these names"
        )
    if numbers is None:
        return tuple(sorted(used))
    names = {number: name for name, number in numbers.items()}
    last = max(names)
    first = 0 if 0 in names or (scheme is not None and last < scheme.count) else 1
    last = max(last, scheme.count - 1 + first) if scheme is not None else last
    return tuple(names.get(number, str(number)) for number in range(first, last + 1))


def _in_order(file: LabelFile, order: tuple[str, ...], scheme: Scheme | None) -> LabelFile:
    """The labels with the points of named ones in an order; a face with another name becomes a problem."""
    index = {name: place for place, name in enumerate(order)}
    labels = []
    for where, label in file.labels:
        unknown = [name for name in label.names if name not in index]
        if unknown:
            told = ", ".join(order[:5]) + (", ..." if len(order) > 5 else "")
            of = f"{scheme.name} has no such point" if scheme else "the file declares no such point"
            file.damaged(where, f"names a point {unknown[0]!r}; {of}, expected {told}")
        elif not label.names:
            labels.append((where, label))
        else:
            places = [index[name] for name in label.names]
            points = np.full((len(order), 2), np.nan, np.float32)
            visible = np.zeros(len(order), np.bool_)
            points[places] = label.points
            visible[places] = True if label.visible is None else label.visible
            labels.append((where, replace(label, points=points, visible=visible, names=order)))
    return replace(file, labels=labels)


def _without_marks(file: LabelFile) -> LabelFile:
    """The labels with NaN for points at (-1, -1) in the file, and for those at (0, 0) where there are several."""
    marks = [np.array(mark, np.float32) - np.float32(file.first) for mark in _NOWHERE]
    counts = [sum(int((label.points == mark).all(axis=1).sum()) for _, label in file.labels) for mark in marks]
    used = [(name, mark, n) for name, mark, n in zip(_NOWHERE, marks, counts, strict=True) if n >= _NOWHERE[name]]
    if not used:
        return file
    labels = []
    for where, label in file.labels:
        gone = np.any([(label.points == mark).all(axis=1) for _, mark, _ in used], axis=0)
        points = np.where(gone[:, None], np.float32(np.nan), label.points)
        if np.isnan(points).all():
            file.damaged(where, "gives no position for any point")
        else:
            visible = None if label.visible is None else label.visible & ~gone
            labels.append((where, replace(label, points=points, visible=visible)))
    for (x, y), _, count in used:
        told = "1 point at {} is taken as a point" if count == 1 else f"{count} points at {{}} are taken as points"
        file.notes.append(told.format(f"({x:g}, {y:g})") + " without position")
    return replace(file, labels=labels)


def _face(scheme: Scheme | None, pictures: _Pictures, label: Label) -> Annotation:
    path, folder = pictures.find(label.picture), pictures.folder
    if path is None:
        raise LabelError(f"{label.picture!r} is not below {folder}", kind=NO_PICTURE)
    if scheme is None or len(label.points) != scheme.count or label.scheme not in (None, scheme.name):
        expected = f"{scheme.count} points of {scheme.name}" if scheme else "points"
        raise LabelError(
            f"expected {expected}, found {len(label.points)} of {label.scheme or 'unknown'}", kind="other scheme"
        )
    key = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else label.picture
    box = label.box
    if box is None or not (box[2:] > box[:2]).all():
        box = scheme.face_boxes(label.points)
        if scheme.count == 1:
            raise LabelError("one point gives no face box; give labels with boxes, such as 'box' in json")
    visible = ~np.isnan(label.points).any(axis=1) if label.visible is None else label.visible
    return Annotation(key, path, label.points, scheme, box, visible, group=key)


DATASET = Dataset(
    name="folder",
    parts={"all": ("all",), "fit": ("all",), "validation": ("all",)},
    scan_faces=_scan_faces,
    folds="all",
    default_splits=("all",),
)
