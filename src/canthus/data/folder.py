"""A folder of one's own pictures with landmarks.

One of:

- a ``.pts`` file beside each picture, in any sub-folder;
- one csv in the folder: the name of a picture and 2k numbers ``x0, y0, x1, ...`` a line, counted from zero, or the
  columns that a header line names (see ``point_columns``), as in what ``canthus detect --csv`` writes; an empty field
  means no position, several lines may name one picture;
- one json in the folder: a list of ``{"image", "points"}``, what ``canthus detect --json`` writes, or a COCO file with
  keypoints.

``root`` may also be the csv or json itself.  Pictures are looked for below the folder, by the name the file gives
and then by its last part alone.  The box of a face is the one in the file, or the hull of its points.  Points at (0, 0)
or (-1, -1), if there are two or more of them, have no position; annotations of other categories of a COCO file are
passed over.  Notes tell of both.
"""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
from jaxtyping import Bool, Float32, Float64

from canthus.data.datasets import (
    DAMAGED,
    NO_PICTURE,
    UNLABELLED,
    Dataset,
    LabelError,
    Problem,
    Scan,
    damaged,
    read_labels,
)
from canthus.data.formats import read_pts, read_text
from canthus.data.point_columns import PointColumns, point_columns
from canthus.errors import ConfigError, DataError
from canthus.geometry import hull_box
from canthus.images import IMAGE_SUFFIXES
from canthus.schemes import SCHEMES, Scheme, find_scheme, guess_scheme
from canthus.types import Annotation

Entry = TypeVar("Entry")

_FAR = 1e6
"""No coordinate may be larger, in pixels."""

_NOWHERE = ((0.0, 0.0), (-1.0, -1.0))
"""What files write for points without position."""
_BOX = ("x1", "y1", "x2", "y2")


@final
@dataclass(frozen=True)
class Label:
    """One face as a label file gives it.

    Attributes:
        picture: the picture as the file names it.
        points: in pixels; NaN where the file gives no position.
        visible: False for points marked as hidden or without position; None where the file marks none.
        box: ``x1, y1, x2, y2`` where the file gives one.
        scheme: name of the scheme where the file gives one.
    """

    picture: str
    points: Float32[np.ndarray, "k 2"]
    visible: Bool[np.ndarray, " k"] | None = None
    box: Float32[np.ndarray, " 4"] | None = None
    scheme: str | None = None


@final
@dataclass(frozen=True)
class LabelFile:
    """Content of one label file.

    Attributes:
        labels: the place of each face (``file:line``), and the face.
        pictures: every picture named, also those that hold no face.
        problems: the lines that could not be read.
        notes: remarks that are no problems.
    """

    labels: list[tuple[str, Label]] = field(default_factory=list)
    pictures: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, where: str, entry: Entry, read: Callable[[Entry], Label]) -> None:
        """Add the label that ``read`` makes of an entry, or a problem."""
        self.labels.extend((where, label) for label in read_labels([(where, entry)], read, self.problems))


def _scan_faces(root: Path, parts: Sequence[str], *, scheme: str | None = None) -> Scan[Annotation]:
    """Read every face of a folder, and list the lines and pictures that cannot be used."""
    folder = root if root.is_dir() else root.parent
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    pictures = {path.relative_to(folder).as_posix(): path for path in found}
    file = _labels(root, folder, pictures)
    problems = list(file.problems)
    faces = list(read_labels(file.labels, partial(_face, _scheme(file, scheme), folder, pictures), problems))
    named = {_picture(name, folder, pictures) for name in file.pictures}
    problems += [Problem(UNLABELLED, name, "no label names it") for name, path in pictures.items() if path not in named]
    return Scan(faces, problems, file.notes)


def _labels(root: Path, folder: Path, pictures: dict[str, Path]) -> LabelFile:
    if root.is_file():
        return _without_marks(_read_label_file(root))
    if not root.is_dir():
        raise DataError(f"{root}: no such folder or file; expected pictures with .pts files, one csv or one json")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".csv", ".json"))
    points = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".pts")
    if len(files) + bool(points) > 1:
        kinds = [path.name for path in files] + [f"{len(points)} .pts files"] * bool(points)
        raise DataError(f"{root}: expected one source of labels, found {', '.join(kinds)}; give the csv or json itself")
    if files:
        return _without_marks(_read_label_file(files[0]))
    if points:
        return _without_marks(_read_pts_labels(folder, points, pictures), first=1)
    raise DataError(
        f"{root}: found {len(pictures)} pictures and no labels; expected a .pts file beside each picture, "
        "or one csv or json in the folder"
    )


def _without_marks(file: LabelFile, *, first: int = 0) -> LabelFile:
    """The labels with NaN for points at (0, 0) or (-1, -1), where there are at least two of them.

    Args:
        first: the number of the first pixel in the file; points of labels are counted from zero.
    """
    marks = [np.array(mark, np.float32) - first for mark in _NOWHERE]
    counts = [sum(int((label.points == mark).all(axis=1).sum()) for _, label in file.labels) for mark in marks]
    used = [(name, mark, n) for name, mark, n in zip(_NOWHERE, marks, counts, strict=True) if n > 1]
    if not used:
        return file
    labels = []
    for where, label in file.labels:
        gone = np.any([(label.points == mark).all(axis=1) for _, mark, _ in used], axis=0)
        points = np.where(gone[:, None], np.float32(np.nan), label.points)
        if np.isnan(points).all():
            file.problems.append(Problem(DAMAGED, where, "gives no position for any point"))
        else:
            visible = None if label.visible is None else label.visible & ~gone
            labels.append((where, replace(label, points=points, visible=visible)))
    for (x, y), _, count in used:
        file.notes.append(f"{count} points at ({x:g}, {y:g}) are taken as points without position")
    return replace(file, labels=labels)


def _scheme(file: LabelFile, name: str | None) -> Scheme | None:
    """The scheme of a label file: the given one, the one in the file, or the usual one for its number of points."""
    if name is not None:
        return find_scheme(name)
    if not file.labels:
        return None
    said = Counter(label.scheme for _, label in file.labels if label.scheme is not None)
    if said:
        return find_scheme(said.most_common(1)[0][0])
    count = Counter(len(label.points) for _, label in file.labels).most_common(1)[0][0]
    try:
        return guess_scheme(count)
    except ConfigError as error:
        raise ConfigError(f"{file.labels[0][0]}: {error}") from error


def _face(scheme: Scheme | None, folder: Path, pictures: dict[str, Path], label: Label) -> Annotation:
    path = _picture(label.picture, folder, pictures)
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
        box = hull_box(label.points)
    visible = ~np.isnan(label.points).any(axis=1) if label.visible is None else label.visible
    return Annotation(key, path, label.points, scheme, box, visible, group=key)


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


def _read_label_file(path: Path) -> LabelFile:
    """Read a ``.csv`` or ``.json`` file; single bad lines become problems."""
    text = read_text(path)
    return _read_csv(path.name, text) if path.suffix.lower() == ".csv" else _read_json(path, text)


def _read_pts_labels(folder: Path, paths: Sequence[Path], pictures: dict[str, Path]) -> LabelFile:
    found = LabelFile()
    names = {path.with_suffix(""): name for name, path in pictures.items()}
    for path in paths:
        where = path.relative_to(folder).as_posix()
        picture = names.get(path.with_suffix(""), path.with_suffix(".jpg").relative_to(folder).as_posix())
        found.pictures.add(picture)
        try:
            points = read_pts(path)
        except DataError as error:
            found.problems.append(damaged(path, where, error))
        else:
            found.labels.append((where, Label(picture, points)))
    return found


def _read_csv(name: str, text: str) -> LabelFile:
    found = LabelFile()
    lines = text.splitlines() or [""]
    rows = enumerate(csv.reader(lines, delimiter=max(",;\t", key=lines[0].count)), start=1)
    labels = [(f"{name}:{number}", row) for number, row in rows if any(field.strip() for field in row)]
    named = labels and labels[0][0] == f"{name}:1" and _is_header(labels[0][1])
    header = labels.pop(0)[1] if named else []
    try:
        columns = point_columns(header)
    except DataError as error:
        raise DataError(f"{name}:1: {error}") from error
    picture = columns.picture if columns else 0
    found.pictures.update(row[picture].strip() for _, row in labels if len(row) > picture and row[picture].strip())
    for where, row in labels:
        found.add(where, row, partial(_label_of_row, header, columns))
    return found


def _label_of_row(header: Sequence[str], columns: PointColumns | None, row: Sequence[str]) -> Label:
    """A name and numbers, or the columns that the header names."""
    if columns is None:
        columns = PointColumns(0, tuple(range(1, len(row))))
    elif len(row) <= max(columns.picture, *columns.points):
        raise DataError(f"expected {len(header)} columns as in the header, found {len(row)}")
    name = row[columns.picture].strip()
    if not name:
        raise DataError(f"expected the name of a picture in the {'first column' if not columns.picture else 'header'}")
    points = _points_of_fields([(column + 1, row[column]) for column in columns.points])
    used = {columns.picture, *columns.points}
    named = {key: row[i] for i, key in enumerate(header[: len(row)]) if i not in used}
    box = None
    if all(side in named for side in _BOX):
        try:
            box = np.array([named[side] for side in _BOX], np.float32)
        except ValueError as error:
            raise DataError(f"expected numbers in the columns {', '.join(_BOX)} ({error})") from error
    return Label(name, points, box=box, scheme=named.get("scheme") or None)


def _is_header(row: Sequence[str]) -> bool:
    """Whether the first line names columns: its second field is text and no number."""
    if len(row) < 2 or not row[1].strip():
        return False
    try:
        float(row[1])
    except ValueError:
        return True
    return not row[0].strip()


def _points_of_fields(fields: Sequence[tuple[int, str]]) -> Float32[np.ndarray, "k 2"]:
    """Points of texts, each with the number of its column."""
    numbers = []
    for column, text in fields:
        try:
            numbers.append(float(text) if text.strip() else np.nan)
        except ValueError as error:
            raise DataError(f"expected a number in column {column}, found {text[:40]!r}") from error
    if not numbers or len(numbers) % 2:
        raise DataError(f"expected a name and pairs x, y; found a name and {len(numbers)} numbers")
    return _checked(np.array(numbers, np.float64).reshape(-1, 2))


def _read_json(path: Path, text: str) -> LabelFile:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg})") from error
    if isinstance(data, dict) and isinstance(data.get("annotations"), list) and isinstance(data.get("images"), list):
        return _read_coco(path.name, data["images"], data["annotations"], data.get("categories"))
    if isinstance(data, list):
        return _read_list(path.name, data)
    found = f"an object with {', '.join(map(repr, list(data)[:6]))}" if isinstance(data, dict) else repr(data)[:60]
    raise DataError(
        f"{path}: expected a list of {{'image', 'points'}} or {{'image', 'faces'}}, or a COCO file with 'images' and "
        f"'annotations'; found {found}"
    )


def _read_list(name: str, entries: Sequence[Any]) -> LabelFile:
    found = LabelFile()
    for number, entry in enumerate(entries):
        where = f"{name}[{number}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            found.problems.append(Problem(DAMAGED, where, "expected an object with a text 'image'"))
            continue
        found.pictures.add(entry["image"])
        faces = entry.get("faces", [entry])
        if not isinstance(faces, list):
            found.problems.append(Problem(DAMAGED, where, "expected a list under 'faces'"))
            continue
        for index, face in enumerate(faces):
            place = f"{where}.faces[{index}]" if "faces" in entry else where
            found.add(place, face, partial(_label_of_face, entry["image"]))
    return found


def _label_of_face(picture: str, face: Any) -> Label:
    if not isinstance(face, dict) or "points" not in face:
        raise DataError("expected an object with 'points'")
    points = _checked(_array(face["points"], "points", 2))
    scheme = face.get("scheme")
    if scheme is not None and not isinstance(scheme, str):
        raise DataError(f"expected the name of a scheme under 'scheme', found {scheme!r}")
    box = _array([face["box"]], "box", 4)[0].astype(np.float32) if face.get("box") is not None else None
    return Label(picture, points, box=box, scheme=scheme)


def _read_coco(name: str, images: Sequence[Any], annotations: Sequence[Any], categories: Any) -> LabelFile:
    found = LabelFile()
    names: dict[Any, str] = {}
    for number, image in enumerate(images):
        if isinstance(image, dict) and isinstance(image.get("file_name"), str) and "id" in image:
            names[image["id"]] = image["file_name"]
        else:
            found.problems.append(Problem(DAMAGED, f"{name}: images[{number}]", "expected 'id' and 'file_name'"))
    found.pictures.update(names.values())
    faces = _faces_of_coco(annotations, categories, found)
    # Flags: 0 not labelled, 1 labelled but hidden, 2 seen.  In files without any 2, 1 means seen.
    lists = [face.get("keypoints") for face in faces.values() if isinstance(face, dict)]
    graded = any(2 in keypoints[2::3] for keypoints in lists if isinstance(keypoints, list))
    for number, face in faces.items():
        found.add(f"{name}: annotations[{number}]", face, partial(_coco_face, names, graded))
    return found


def _faces_of_coco(annotations: Sequence[Any], categories: Any, found: LabelFile) -> dict[int, Any]:
    """The annotations of the categories that have the points of a face, by their place in the file; others are noted.

    Faces are the annotations with as many keypoints as a scheme has points; if there are several numbers, the most
    frequent.  Without any, all annotations are taken.
    """
    known = {scheme.count for scheme in SCHEMES.values()}
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for entry in annotations:
        if isinstance(entry, dict) and isinstance(entry.get("keypoints"), list):
            counts[_category(entry)][len(entry["keypoints"]) // 3] += 1
    total = Counter({n: sum(of[n] for of in counts.values()) for of in counts.values() for n in of if n in known})
    if not total:
        return dict(enumerate(annotations))
    usual = total.most_common(1)[0][0]
    taken = {category for category, of in counts.items() if of[usual]}
    kept = {i: e for i, e in enumerate(annotations) if not isinstance(e, dict) or _category(e) in taken}
    if len(kept) < len(annotations):
        listed = [c for c in categories if isinstance(c, dict)] if isinstance(categories, list) else []
        names = {str(c.get("id")): str(c.get("name", c.get("id"))) for c in listed}
        left = sorted({names.get(_category(e), _category(e)) for i, e in enumerate(annotations) if i not in kept})
        number = len(annotations) - len(kept)
        found.notes.append(f"annotations of other categories are passed over: {number} ({', '.join(left)})")
    return kept


def _category(annotation: dict[str, Any]) -> str:
    return str(annotation.get("category_id"))


def _coco_face(names: dict[Any, str], graded: bool, annotation: Any) -> Label:
    if not isinstance(annotation, dict) or "keypoints" not in annotation:
        raise DataError("expected an object with 'keypoints'")
    if annotation.get("image_id") not in names:
        raise DataError(f"names image {annotation.get('image_id')!r}, which is not under 'images'")
    flat = annotation["keypoints"]
    if not isinstance(flat, list) or not flat or len(flat) % 3:
        raise DataError("expected triples x, y, flag under 'keypoints'")
    triples = _array([flat[i : i + 3] for i in range(0, len(flat), 3)], "keypoints", 3)
    points, box = _checked(triples[:, :2]), None
    if annotation.get("bbox") is not None:
        corner_size = _array([annotation["bbox"]], "bbox", 4)[0]
        box = np.concatenate([corner_size[:2], corner_size[:2] + corner_size[2:]]).astype(np.float32)
    flags = triples[:, 2]
    points[flags == 0] = np.nan
    return Label(names[annotation["image_id"]], points, flags == 2 if graded else flags > 0, box)


def _array(value: Any, name: str, columns: int) -> Float64[np.ndarray, "r c"]:
    """Rows of ``columns`` numbers; ``null`` becomes NaN."""
    expected = f"expected rows of {columns} numbers under {name!r}"
    try:
        rows = np.array([[np.nan] * columns if row is None else row for row in value], np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{expected} ({error})") from error
    if rows.ndim != 2 or rows.shape[1] != columns or not len(rows):
        raise DataError(f"{expected}, found an array of shape {rows.shape}")
    return rows


def _checked(points: Float64[np.ndarray, "k 2"]) -> Float32[np.ndarray, "k 2"]:
    """Points with both numbers or neither; one that lacks x or y has no position."""
    if (np.abs(points) > _FAR).any():
        raise DataError(f"holds a coordinate beyond {_FAR:.0e} pixels")
    kept = points.astype(np.float32)
    kept[np.isnan(kept).any(axis=1)] = np.nan
    if np.isnan(kept).all():
        raise DataError("gives no position for any point")
    return kept


DATASET = Dataset(
    name="folder",
    parts={"all": ("all",), "fit": ("all",), "validation": ("all",)},
    scan_faces=_scan_faces,
    folds="all",
    default_splits=("all",),
)
