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

import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
from canthus.errors import ConfigError, DataError
from canthus.geometry import hull_box
from canthus.images import IMAGE_SUFFIXES
from canthus.schemes import Scheme, find_scheme, guess_scheme
from canthus.types import Annotation

Entry = TypeVar("Entry")

_FAR = 1e6
"""No coordinate may be larger, in pixels."""

_FIRST_POINT = "point_0_x"
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
    """

    labels: list[tuple[str, Label]] = field(default_factory=list)
    pictures: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

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
    return Scan(faces, problems)


def _labels(root: Path, folder: Path, pictures: dict[str, Path]) -> LabelFile:
    if root.is_file():
        return _read_label_file(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder or file; expected pictures with .pts files, one csv or one json")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".csv", ".json"))
    points = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".pts")
    if len(files) + bool(points) > 1:
        kinds = [path.name for path in files] + [f"{len(points)} .pts files"] * bool(points)
        raise DataError(f"{root}: expected one source of labels, found {', '.join(kinds)}; give the csv or json itself")
    if files:
        return _read_label_file(files[0])
    if points:
        return _read_pts_labels(folder, points, pictures)
    raise DataError(
        f"{root}: found {len(pictures)} pictures and no labels; expected a .pts file beside each picture, "
        "or one csv or json in the folder"
    )


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
    found.pictures.update(row[0].strip() for _, row in labels if row[0].strip())
    for where, row in labels:
        found.add(where, row, partial(_label_of_row, header))
    return found


def _label_of_row(header: Sequence[str], row: Sequence[str]) -> Label:
    """A name and numbers, or the columns of ``canthus detect --csv``, recognised by the name of the first point."""
    if not row[0].strip():
        raise DataError("expected the name of a picture in the first column")
    start = header.index(_FIRST_POINT) if _FIRST_POINT in header else 1
    points = _points_of_fields(row[start:], first_column=start + 1)
    named = dict(zip(header[:start], row[:start], strict=False))
    box = None
    if all(side in named for side in _BOX):
        try:
            box = np.array([named[side] for side in _BOX], np.float32)
        except ValueError as error:
            raise DataError(f"expected numbers in the columns {', '.join(_BOX)} ({error})") from error
    return Label(row[0].strip(), points, box=box, scheme=named.get("scheme"))


def _is_header(row: Sequence[str]) -> bool:
    """Whether the first line names columns: its second field is text and no number."""
    if len(row) < 2 or not row[1].strip():
        return False
    try:
        float(row[1])
    except ValueError:
        return True
    return not row[0].strip()


def _points_of_fields(fields: Sequence[str], *, first_column: int) -> Float32[np.ndarray, "k 2"]:
    numbers = []
    for column, text in enumerate(fields, start=first_column):
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
        return _read_coco(path.name, data["images"], data["annotations"])
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


def _read_coco(name: str, images: Sequence[Any], annotations: Sequence[Any]) -> LabelFile:
    found = LabelFile()
    names: dict[Any, str] = {}
    for number, image in enumerate(images):
        if isinstance(image, dict) and isinstance(image.get("file_name"), str) and "id" in image:
            names[image["id"]] = image["file_name"]
        else:
            found.problems.append(Problem(DAMAGED, f"{name}: images[{number}]", "expected 'id' and 'file_name'"))
    found.pictures.update(names.values())
    # Flags: 0 not labelled, 1 labelled but hidden, 2 seen.  In files without any 2, 1 means seen.
    lists = [face.get("keypoints") for face in annotations if isinstance(face, dict)]
    graded = any(2 in keypoints[2::3] for keypoints in lists if isinstance(keypoints, list))
    for number, face in enumerate(annotations):
        found.add(f"{name}: annotations[{number}]", face, partial(_coco_face, names, graded))
    return found


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
