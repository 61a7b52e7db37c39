"""Faces as label files give them, in one form for all formats.

Every reader gives ``LabelFile``s, with points in pixels, the centre of the top-left pixel being (0, 0), and boxes as
edges.  Tools in which one draws (CVAT, labelme, Label Studio) count points from the corner of the picture, so that the
centre of the first pixel is at ``CENTRE``; their readers and writers convert.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, final

import numpy as np
from jaxtyping import Bool, Float32, Float64

from canthus.data.datasets import DAMAGED, Problem, read_labels
from canthus.errors import DataError
from canthus.scheme_files import MOST_POINTS, Scheme
from canthus.schemes import SCHEMES
from canthus.types import Annotation

Entry = TypeVar("Entry")
Sides = tuple[int, int]
"""Width and height of a picture."""
Described = tuple[str, Sides, Sequence[Annotation]]
"""Name of a picture for a file, its sides, and its faces."""

CENTRE = 0.5
"""Where drawing tools have the centre of the first pixel, along x and y."""
FARTHEST = 1e6
"""No coordinate may be larger, in pixels."""
HIDDEN = frozenset({"occluded", "hidden"})
"""Flags and choices that mark a point as hidden, in tools that leave their names to the user; the first is written."""
OCCLUDED = "occluded"
DIGITS = 4
"""Decimals of a coordinate in pixels that is written."""

_NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>\d{1,6})", re.DOTALL)
_MOST_SHOWN = 5


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
        names: name of each point where the file gives them; points of a face that it does not name are missing.
    """

    picture: str
    points: Float32[np.ndarray, "k 2"]
    visible: Bool[np.ndarray, " k"] | None = None
    box: Float32[np.ndarray, " 4"] | None = None
    scheme: str | None = None
    names: tuple[str, ...] = ()


@final
@dataclass
class LabelFile:
    """Content of one label file, or of several that belong together.

    Attributes:
        labels: the place of each face (``file:line``), and the face.
        pictures: every picture named, also those that hold no face.
        problems: the lines or entries that could not be read.
        notes: remarks that are no problems.
        names: names of the points in the order that the file declares; empty where it declares none.
        first: the number of the centre of the first pixel in the file.
        others: what holds no points of a face and is passed over: name -> number.
        others_are: what these are, in words.
        is_labelme: whether further files of labelme may belong to this one.
    """

    labels: list[tuple[str, Label]] = field(default_factory=list)
    pictures: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    names: tuple[str, ...] = ()
    first: float = 0
    others: Counter[str] = field(default_factory=Counter)
    others_are: str = ""
    is_labelme: bool = False

    def add(self, where: str, entry: Entry, read: Callable[[Entry], Label]) -> None:
        """Add the label that ``read`` makes of an entry, or a problem."""
        self.labels.extend((where, label) for label in read_labels([(where, entry)], read, self.problems))

    def damaged(self, where: str, message: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(DAMAGED, where, message))

    def passed_over(self) -> list[str]:
        """A note of what holds no points of a face, if there is anything."""
        told = ", ".join(sorted(self.others)[:_MOST_SHOWN]) + (", ..." if len(self.others) > _MOST_SHOWN else "")
        return [f"{self.others_are} are passed over: {self.others.total()} ({told})"] if self.others else []

    def extend(self, other: "LabelFile") -> None:
        """Add the content of another file of the same format."""
        self.labels += other.labels
        self.pictures |= other.pictures
        self.problems += other.problems
        self.others += other.others
        self.others_are = other.others_are or self.others_are


@final
@dataclass(frozen=True)
class NamedPoint:
    """One point of a face, in pixels from the centre of the first; NaN for a point without position."""

    name: str
    x: float
    y: float
    visible: bool = True


def named_label(
    picture: str,
    points: Sequence[NamedPoint],
    *,
    box: Float32[np.ndarray, " 4"] | None,
    apart: str,
    scheme: str | None = None,
) -> Label:
    """The face that named points make.

    Args:
        apart: what the user must do so that points of several faces are told apart.

    Raises:
        DataError: a name is empty or there twice, or a number is out of range.
    """
    times = Counter(point.name for point in points)
    for name, count in times.items():
        if not name:
            raise DataError("has a point without name; expected the name or number of each point")
        if count > 1:
            raise DataError(
                f"has {count} points called {name!r}; expected one. If they belong to several faces, {apart}"
            )
    rows = checked_points(np.array([(point.x, point.y) for point in points], np.float64).reshape(-1, 2))
    visible = np.array([point.visible for point in points], np.bool_) & ~np.isnan(rows).any(axis=1)
    return Label(picture, rows, visible, box, scheme, tuple(times))


def checked_points(points: Float64[np.ndarray, "k 2"]) -> Float32[np.ndarray, "k 2"]:
    """Points with both numbers or neither; one that lacks x or y has no position.

    Raises:
        DataError: a number is too large, or no point has a position.
    """
    if (np.abs(points) > FARTHEST).any():
        raise DataError(f"holds a coordinate beyond {FARTHEST:.0e} pixels")
    kept = points.astype(np.float32)
    kept[np.isnan(kept).any(axis=1)] = np.nan
    if np.isnan(kept).all():
        raise DataError("gives no position for any point")
    return kept


def checked_box(sides: Iterable[float]) -> Float32[np.ndarray, " 4"]:
    """A box of four finite numbers ``x1, y1, x2, y2``.

    Raises:
        DataError: a number is not finite or too large.
    """
    box = np.array(list(sides), np.float64)
    if not (np.abs(box) <= FARTHEST).all():
        raise DataError(f"expected a box of finite numbers up to {FARTHEST:.0e} pixels, found {box.tolist()}")
    return box.astype(np.float32)


def finite_number(value: Any, name: str) -> float:
    """A number of a JSON or xml file.

    Raises:
        DataError: it is no number, or not finite.
    """
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else np.nan
    except (ValueError, OverflowError):
        number = np.nan
    if not np.isfinite(number):
        raise DataError(f"expected a finite number {name}, found {str(value)[:40]!r}")
    return number


def numbers_of_names(names: Iterable[str]) -> dict[str, int] | None:
    """The number in each name, where all are numbers behind the same text (``7``, ``point_7``, ``kp07``); else None.

    Names of which two have one number, or one is larger than any scheme has points, are no numbers.
    """
    found = {name: _NUMBERED.fullmatch(name) for name in names}
    if not found or not all(found.values()) or len({match["prefix"] for match in found.values() if match}) > 1:
        return None
    numbers = {name: int(match["number"]) for name, match in found.items() if match}
    return numbers if len(set(numbers.values())) == len(numbers) and max(numbers.values()) <= MOST_POINTS else None


def known_scheme(name: Any) -> str | None:
    """The name itself, where it is that of a scheme of canthus; formats without a place for it keep it as a remark."""
    return name if isinstance(name, str) and name in SCHEMES else None


def point_names(scheme: Scheme) -> tuple[str, ...]:
    """Names under which points are written: those of the scheme, or their numbers from zero, with as many digits."""
    return scheme.names or tuple(f"{index:0{len(str(scheme.count - 1))}d}" for index in range(scheme.count))


def rounded(values: Float32[np.ndarray, "..."] | Float64[np.ndarray, "..."]) -> Any:
    """Numbers for a file, as nested lists."""
    return np.round(values.astype(np.float64), DIGITS).tolist()


def placed_points(face: Annotation) -> Iterator[tuple[str, Float64[np.ndarray, "2"], bool]]:
    """Name, place from the corner of the picture, and whether it is seen, of each point with a position."""
    for name, point, seen in zip(point_names(face.scheme), face.points, face.visible.tolist(), strict=True):
        if not np.isnan(point).any():
            yield name, point.astype(np.float64) + CENTRE, seen


def number_rows(value: Any, name: str, columns: int) -> Float64[np.ndarray, "r c"]:
    """Rows of ``columns`` numbers of a JSON file; ``null`` becomes NaN.

    Raises:
        DataError: the value is something else.
    """
    expected = f"expected rows of {columns} numbers under {name!r}"
    try:
        rows = np.array([[np.nan] * columns if row is None else row for row in value], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{expected} ({error})") from error
    if rows.ndim != 2 or rows.shape[1] != columns or not len(rows):
        raise DataError(f"{expected}, found an array of shape {rows.shape}")
    return rows


def json_text(value: Any, *, indent: int | None = None) -> str:
    """A JSON file; all characters beyond ASCII are escapes, so that every name of a file can be written."""
    return json.dumps(value, indent=indent, allow_nan=False) + "\n"
