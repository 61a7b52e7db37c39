"""Labels as tables, and as one ``.pts`` file a picture.

A csv has one face a line: the name of the picture and ``x0, y0, x1, ...`` counted from zero, or the columns that a
header names, as in what ``canthus detect --csv`` writes.  An empty field means no position.  ``.pts`` files are those
of 300-W (ibug.doc.ic.ac.uk/resources/300-W): a pair of numbers a line, counted from one, and no name of the picture.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool, Float32

from canthus.data.datasets import damaged
from canthus.data.formats import points_text, read_pts, read_text
from canthus.data.label_files import Described, Label, LabelFile, checked_box, checked_points, finite_number, rounded
from canthus.errors import DataError
from canthus.files import csv_line

NAMES = ("image", "image_name", "image_path", "file", "filename", "file_name", "name", "path", "picture")
"""Headings of the column with the name of the picture; else it is the first."""
FEWEST = 3
"""Number of points from which numbered or named columns are points: ``x1, y1, x2, y2`` are the corners of a box."""

_NUMBER_FIRST = re.compile(r"(?P<prefix>.*?)[_ .-]?(?P<number>\d{1,6})[_ .-]?(?P<axis>[xy]|visible)")
_AXIS_FIRST = re.compile(r"(?P<prefix>.*?)(?P<axis>[xy]|visible)[_ .-]?(?P<number>\d{1,6})")
_NAMED = re.compile(r"(?P<name>.*[^_ .-])[_ .-](?P<axis>[xy]|visible)", re.IGNORECASE | re.DOTALL)
_BOX = ("x1", "y1", "x2", "y2")
_SEEN = {"1": True, "true": True, "": True, "0": False, "false": False}

_Family = dict[tuple[int, str], int]
"""Number of the point and ``x``, ``y`` or ``visible`` -> column."""


@final
@dataclass(frozen=True)
class PointColumns:
    """Columns of a table, counted from zero.

    Attributes:
        picture: column with the name of the picture.
        points: columns of x and y of the first point, x and y of the second, and so on.
        visible: column of each point that says whether it is seen; empty without such columns.
        names: name of each point; empty where points are numbered.
    """

    picture: int
    points: tuple[int, ...]
    visible: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


def point_columns(header: Sequence[str]) -> PointColumns | None:
    """Find the columns of the points in a header such as ``x0, x1, ..., y0, y1, ...`` or ``nose_x, nose_y, ...``.

    Understood are ``x0`` ``x_0`` ``lm_x0`` ``p0x`` ``p0_x`` ``point_0_x`` ``0_x`` and the like, in any order, from zero
    or one; else names before ``_x`` and ``_y``.  ``visible`` in the place of the axis heads 1 or 0.

    Returns:
        None if the header names no x and y of at least three points.

    Raises:
        DataError: a point lacks its x or its y, is there twice or is left out, or several sets of columns are points.
    """
    families: dict[tuple[str, str], list[tuple[int, str, int]]] = defaultdict(list)
    for column, name in enumerate(name.strip().lower() for name in header):
        for style, pattern in (("number first", _NUMBER_FIRST), ("axis first", _AXIS_FIRST)):
            if found := pattern.fullmatch(name):
                families[style, found["prefix"].strip(" _.-")].append((int(found["number"]), found["axis"], column))
    # A lone letter before a number, as in box1, is no axis: both must be there.
    likely = [
        f for f in families.values() if len({n for n, _, _ in f}) >= FEWEST and {"x", "y"} <= {a for _, a, _ in f}
    ]
    if len(likely) > 1:
        told = " and ".join(header[family[0][2]] for family in likely)
        raise DataError(
            f"the header names several sets of points, which begin with the columns {told}; keep one of them"
        )
    names, columns = ((), likely[0]) if likely else _named_columns(header)
    if not columns:
        return None
    places = _places(columns, header)
    points = _ordered(places, names)
    picture = next((i for name in NAMES for i, head in enumerate(header) if head.strip().lower() == name), 0)
    if picture in points:
        raise DataError("the header names no column with the picture; expected one such as 'image'")
    numbers = sorted({number for number, axis in places if axis == "x"})
    visible = tuple(places.get((number, "visible"), -1) for number in numbers)
    return PointColumns(picture, points, () if -1 in visible else visible, names)


def _named_columns(header: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[int, str, int]]]:
    """Names of points and their columns, in the order of the header, where at least three have an x and a y."""
    found = [(column, match) for column, head in enumerate(header) if (match := _NAMED.fullmatch(head.strip()))]
    axes: dict[str, set[str]] = defaultdict(set)
    for _, match in found:
        axes[match["name"]].add(match["axis"].lower())
    names = tuple(name for name, there in axes.items() if {"x", "y"} <= there)
    if len(names) < FEWEST:
        return (), []
    return names, [(names.index(m["name"]), m["axis"].lower(), column) for column, m in found if m["name"] in names]


def _places(family: Sequence[tuple[int, str, int]], header: Sequence[str]) -> _Family:
    """Where the numbers of each point are.

    Raises:
        DataError: a column is there twice.
    """
    places: _Family = {}
    for number, axis, column in family:
        if (number, axis) in places:
            raise DataError(f"the header has the column {header[column]!r} twice")
        places[number, axis] = column
    return places


def _ordered(places: _Family, names: Sequence[str]) -> tuple[int, ...]:
    """The columns of a set of points in the order of their numbers.

    Raises:
        DataError: they are not numbered from zero or one without gaps, each with x and y once.
    """
    numbers = sorted({number for number, axis in places if axis != "visible"})
    for number in range(min(numbers[0], 1), numbers[-1] + 1):
        missing = [axis for axis in "xy" if (number, axis) not in places]
        if missing and not (number == 0 and len(missing) == 2):
            point = names[number] if names else number
            raise DataError(f"the header names no {' and no '.join(missing)} of point {point}; points are numbered on")
    return tuple(places[number, axis] for number in numbers for axis in "xy")


def read_csv_labels(path: Path) -> LabelFile:
    """Read a csv of faces; a line that cannot be read becomes a problem.

    Raises:
        DataError: the file cannot be read, or its header is wrong.
    """
    found, rows = LabelFile(), _rows(path)
    first = next(rows, ("", []))
    header = first[1] if _is_header(first[1]) and first[0] == f"{path.name}:1" else []
    try:
        columns = point_columns(header)
    except DataError as error:
        raise DataError(f"{path.name}:1: {error}") from error
    found.names = columns.names if columns else ()
    for where, row in rows if header else (first, *rows):
        picture = columns.picture if columns else 0
        if len(row) > picture and row[picture].strip():
            found.pictures.add(row[picture].strip())
        if row:
            found.add(where, row, partial(_label_of_row, header, columns))
    return found


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The rows that are not empty, each with the place of its first line."""
    text = read_text(path)
    start = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=start.count))
    line = 0
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield f"{path.name}:{line + 1}", row
            line = reader.line_num
    except csv.Error as error:
        raise DataError(f"{path.name}:{line + 1}: not a line of csv ({error})") from error


def _label_of_row(header: Sequence[str], columns: PointColumns | None, row: Sequence[str]) -> Label:
    """A name and numbers, or the columns that the header names."""
    if columns is None:
        columns = PointColumns(0, tuple(range(1, len(row))))
    elif len(row) <= max(columns.picture, *columns.points, *columns.visible):
        raise DataError(f"expected {len(header)} columns as in the header, found {len(row)}")
    name = row[columns.picture].strip()
    if not name:
        raise DataError(f"expected the name of a picture in the {'first column' if not columns.picture else 'header'}")
    points = _points_of_fields([(column + 1, row[column]) for column in columns.points])
    used = {columns.picture, *columns.points}
    named = {key: row[i] for i, key in enumerate(header[: len(row)]) if i not in used}
    visible = _visible([row[column] for column in columns.visible]) & ~np.isnan(points).any(axis=1)
    return Label(
        name,
        points,
        visible=visible if columns.visible else None,
        box=_box_of_fields(named),
        scheme=named.get("scheme") or None,
        names=columns.names,
    )


def _box_of_fields(named: Mapping[str, str]) -> Float32[np.ndarray, " 4"] | None:
    sides = [named.get(side, "").strip() for side in _BOX]
    if not any(sides):
        return None
    try:
        return checked_box(finite_number(side, name) for side, name in zip(sides, _BOX, strict=True))
    except DataError as error:
        raise DataError(f"expected numbers in the columns {', '.join(_BOX)} ({error})") from error


def _visible(fields: Sequence[str]) -> Bool[np.ndarray, " k"] | np.bool_:
    """Fields 1, 0, true or false; an empty one is of a point that is seen, or that has no position."""
    wrong = [field for field in fields if field.strip().lower() not in _SEEN]
    if wrong:
        raise DataError(f"expected 1 or 0 in the columns of what is visible, found {wrong[0][:40]!r}")
    return np.array([_SEEN[field.strip().lower()] for field in fields], np.bool_) if fields else np.True_


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
    return checked_points(np.array(numbers, np.float64).reshape(-1, 2))


def csv_text(pictures: Iterable[Described]) -> str:
    """A csv of faces with columns of ``canthus detect --csv``, and whether each point is visible where any is not."""
    described = list(pictures)
    faces = [face for _, _, of_picture in described for face in of_picture]
    hidden = any((~face.visible & ~np.isnan(face.points).any(axis=1)).any() for face in faces)
    count = faces[0].scheme.count
    columns = [f"point_{index}_{axis}" for index in range(count) for axis in "xy"]
    columns += [f"point_{index}_visible" for index in range(count) if hidden]
    lines = [csv_line(["image", "face", *_BOX, "scheme", *columns])]
    for name, _, of_picture in described:
        for index, face in enumerate(of_picture):
            places = ["" if np.isnan(value) else value for value in np.ravel(rounded(face.points)).tolist()]
            seen = face.visible.astype(int).tolist() if hidden else []
            lines.append(csv_line([name, index, *rounded(face.box), face.scheme.name, *places, *seen]))
    return "".join(lines)


def read_pts_labels(folder: Path, paths: Sequence[Path], pictures: Mapping[str, Path]) -> LabelFile:
    """Read ``.pts`` files, each beside the picture of the same name; one that cannot be read becomes a problem."""
    found = LabelFile(first=1)
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


def pts_text(pictures: Iterable[Described]) -> str:
    """The ``.pts`` file of a picture with one face; points without position are at (-1, -1)."""
    [(_, _, [face])] = pictures
    return points_text(np.where(np.isnan(face.points), np.float32(-2), face.points))
