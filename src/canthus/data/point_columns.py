"""Which columns of a table hold the points, told from its header line."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from canthus.errors import DataError

NAMES = ("image", "image_name", "image_path", "file", "filename", "file_name", "name", "path", "picture")
"""Headings of the column with the name of the picture; else it is the first."""
FEWEST = 3
"""Number of points from which numbered columns are points: ``x1, y1, x2, y2`` are the corners of a box."""

_NUMBER_FIRST = re.compile(r"(?P<prefix>.*?)[_ .-]?(?P<number>\d+)[_ .-]?(?P<axis>[xy])")
_AXIS_FIRST = re.compile(r"(?P<prefix>.*?)(?P<axis>[xy])[_ .-]?(?P<number>\d+)")


@final
@dataclass(frozen=True)
class PointColumns:
    """Columns of a table, counted from zero.

    Attributes:
        picture: column with the name of the picture.
        points: columns of x and y of the first point, x and y of the second, and so on.
    """

    picture: int
    points: tuple[int, ...]


def point_columns(header: Sequence[str]) -> PointColumns | None:
    """Find the columns of the points in a header such as ``x0, x1, ..., y0, y1, ...`` or ``point_0_x, point_0_y, ...``.

    Understood are ``x0`` ``x_0`` ``lm_x0`` ``p0x`` ``p0_x`` ``point_0_x`` ``0_x`` and the like, in any order, from zero
    or one.

    Returns:
        None if the header names no numbered x and y.

    Raises:
        DataError: a number lacks its x or its y, is there twice or is left out, or several sets of columns are points.
    """
    names = [name.strip().lower() for name in header]
    families: dict[tuple[str, str], list[tuple[int, str, int]]] = defaultdict(list)
    for column, name in enumerate(names):
        for style, pattern in (("number first", _NUMBER_FIRST), ("axis first", _AXIS_FIRST)):
            if found := pattern.fullmatch(name):
                families[style, found["prefix"].strip(" _.-")].append((int(found["number"]), found["axis"], column))
    # A lone letter before a number, as in box1, is no axis: both must be there.
    likely = [
        f for f in families.values() if len({n for n, _, _ in f}) >= FEWEST and {a for _, a, _ in f} == {"x", "y"}
    ]
    if not likely:
        return None
    if len(likely) > 1:
        told = " and ".join(header[family[0][2]] for family in likely)
        raise DataError(
            f"the header names several sets of points, which begin with the columns {told}; keep one of them"
        )
    points = _ordered(likely[0], header)
    picture = next((names.index(name) for name in NAMES if name in names), 0)
    if picture in points:
        raise DataError("the header names no column with the picture; expected one such as 'image'")
    return PointColumns(picture, points)


def _ordered(family: Sequence[tuple[int, str, int]], header: Sequence[str]) -> tuple[int, ...]:
    """The columns of a set of points in the order of their numbers.

    Raises:
        DataError: they are not numbered from zero or one without gaps, each with x and y once.
    """
    places: dict[tuple[int, str], int] = {}
    for number, axis, column in family:
        if (number, axis) in places:
            raise DataError(f"the header has the column {header[column]!r} twice")
        places[number, axis] = column
    numbers = sorted({number for number, _ in places})
    for number in range(min(numbers[0], 1), numbers[-1] + 1):
        missing = [axis for axis in "xy" if (number, axis) not in places]
        if missing and not (number == 0 and len(missing) == 2):
            raise DataError(f"the header names no {' and no '.join(missing)} of point {number}; points are numbered on")
    return tuple(places[number, axis] for number in numbers for axis in "xy")
