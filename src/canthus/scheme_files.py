"""What a scheme is and how it is checked, its TOML file, and schemes made from the names of points."""

import functools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Float32

from canthus.errors import ConfigError
from canthus.geometry import box_size, hull_box
from canthus.lookup import lookup
from canthus.plain_data import POSITIVE, Range, check_ranges, checked_name, from_values

FILE = "scheme.toml"
"""Name of the scheme file beside the labels of a dataset."""
ALL_POINTS = "points"
"""Group of the points of a scheme that states no groups; it is drawn without lines."""
MOST_POINTS = 1000
THIN = 0.01
"""Least shorter side of a face box, in longer sides; two points may lie on one line of pixels."""


@final
@dataclass(frozen=True)
class FaceBox:
    """The face box that belongs to points, where it is not the hull of all of them.

    Attributes:
        part: group or part whose hull is taken; empty for all points.
        shift: centre of the face box minus centre of the hull, right and down, in longer sides of the hull.
        size: width and height of the face box, in longer sides of the hull; None for the size of the hull.
    """

    part: str = ""
    shift: tuple[float, ...] = (0.0, 0.0)
    size: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_ranges(self, shift=Range(-100, 100), size=POSITIVE)
        if len(self.shift) != 2 or len(self.size or (1, 1)) != 2:
            raise ConfigError(
                f"The shift and the size of face_box are two numbers each, found {list(self.shift)} and "
                f"{None if self.size is None else list(self.size)}"
            )


_WHOLE_HULL = FaceBox()


@final
@dataclass(frozen=True)
class Scheme:
    """One numbering of facial landmarks.  Left and right are those of the subject.

    Attributes:
        name: short name, as in model cards.
        count: number of points.
        mirror: ``mirror[i]`` is the index of point ``i`` in the mirrored face.
        groups: indices of each part of the face; every point belongs to exactly one part.
        eye_corners: outer corners (right, left); the inter-ocular distance is the distance between them.  ``FIVE`` has
            no corners and uses the eye points, so that both distances agree, as is usual for CelebA.  Empty if
            the scheme has none.
        pupils: indices whose mean is the (right, left) pupil; the inter-pupil distance is the distance between them.
            Empty if the scheme has none.
        lids: upper and lower lid of the right and of the left eye, each from corner to corner in the same direction;
            empty if the scheme has no lids.
        names: name of each point; empty if they have none.
        face_box: the face box that belongs to points; None for their hull.

    Raises:
        ConfigError: the fields do not fit each other; the message says which points, and what to write instead.
    """

    name: str
    count: int
    mirror: tuple[int, ...]
    groups: Mapping[str, tuple[int, ...]]
    eye_corners: tuple[int, ...] = ()
    pupils: tuple[tuple[int, ...], ...] = ()
    lids: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    names: tuple[str, ...] = ()
    face_box: FaceBox | None = None

    def __post_init__(self) -> None:
        checked_name(self.name, what="scheme")
        try:
            if not 1 <= self.count <= MOST_POINTS:
                raise ConfigError(f"count is {self.count}; expected 1 to {MOST_POINTS} points")
            for check in (_check_mirror, _check_groups, _check_names, _check_eye_corners, _check_pupils, _check_lids):
                check(self)
            if self.face_box is not None and self.face_box.part:
                self.part(self.face_box.part)
        except ConfigError as error:
            raise ConfigError(f"The scheme {self.name}: {error}") from error

    def face_boxes(self, points: Float[np.ndarray, "*n k 2"]) -> Float32[np.ndarray, "*n 4"]:
        """The face box of each set of points in the same unit; NaN points are left out.

        A box has an area unless all its points lie on one spot: each side is at least ``THIN`` times the other.
        """
        habit = self.face_box or _WHOLE_HULL
        hull = hull_box(points[..., list(self.part(habit.part)), :] if habit.part else points)
        longer = box_size(hull).max(axis=-1, keepdims=True)
        size = box_size(hull) if habit.size is None else longer * np.array(habit.size, np.float32)
        thin = size < THIN * longer
        if self.face_box is None and not thin.any():
            return hull
        size = np.where(thin, THIN * longer, size)
        middle = (hull[..., :2] + hull[..., 2:]) / 2 + longer * np.array(habit.shift, np.float32)
        return np.concatenate([middle - size / 2, middle + size / 2], axis=-1).astype(np.float32)

    def is_numbered_as(self, other: "Scheme") -> bool:
        """Whether points of one scheme can be read as points of the other: the same name, number and mirror order."""
        return (self.name, self.count, self.mirror) == (other.name, other.count, other.mirror)

    @property
    def has_jaw_line(self) -> bool:
        """Whether the hull of all points is the whole face."""
        return len(self.groups.get("jaw", ())) >= 5

    @property
    def mouth(self) -> tuple[int, ...]:
        """The points of all groups whose name holds ``mouth``; empty if there are none."""
        return tuple(i for name, group in self.groups.items() if "mouth" in name for i in group)

    @functools.cached_property
    def _middles(self) -> Float32[np.ndarray, "3 k"] | None:
        """Weights of the points in the middles of the right eye, the left eye and the mouth."""
        if not (self.pupils and self.mouth):
            return None
        weights = np.zeros((3, self.count), np.float32)
        for row, indices in zip(weights, (*self.pupils, self.mouth), strict=True):
            row[list(indices)] = 1 / len(indices)
        return weights

    def middles(self, points: Float32[np.ndarray, "k 2"]) -> list[list[float]] | None:
        """Where the middles of the right eye, the left eye and the mouth of one face are, each x and y.

        None for a scheme without eyes or mouth.  Points have to be finite.
        """
        return None if self._middles is None else (self._middles @ points).tolist()

    def part(self, name: str) -> tuple[int, ...]:
        """Indices of a group, or of several groups that ``PARTS`` joins: ``eyes``, ``brows``, ``mouth``.

        Raises:
            ConfigError: the scheme has no such part; the message lists its parts.
        """
        wholes = {part: [g for g in groups if g in self.groups] for part, groups in PARTS.items()}
        known = {part: groups for part, groups in wholes.items() if groups} | {group: [group] for group in self.groups}
        return tuple(i for group in lookup(known, name, kind=f"part of {self.name}") for i in self.groups[group])


PARTS = {
    "eyes": ("right_eye", "left_eye"),
    "brows": ("right_brow", "left_brow"),
    "mouth": ("outer_mouth", "inner_mouth", "mouth"),
}
"""Parts of the face that consist of several groups."""


def _check_mirror(scheme: Scheme) -> None:
    """Check that the mirror order is its own inverse."""
    mirror = scheme.mirror
    if len(mirror) != scheme.count:
        raise ConfigError(f"mirror lists {len(mirror)} points, expected the mirror image of each of {scheme.count}")
    _check_indices(scheme, "mirror", mirror)
    for index, other in enumerate(mirror):
        if mirror[other] != index:
            raise ConfigError(
                f"mirror maps point {index} to {other}, but {other} to {mirror[other]}; expected pairs that map to "
                f"each other: mirror[{other}] = {index}, or mirror[{index}] = {index} for a point in the middle"
            )


def _check_groups(scheme: Scheme) -> None:
    """Check that each point is in one group."""
    home: dict[int, str] = {}
    for name, group in scheme.groups.items():
        _check_indices(scheme, f"the group {name!r}", group)
        for index in group:
            if index in home:
                where = f"twice in {name!r}" if home[index] == name else f"in the groups {home[index]!r} and {name!r}"
                raise ConfigError(f"point {index} is {where}; expected each point in one group, once")
            home[index] = name
    if missing := [index for index in range(scheme.count) if index not in home]:
        raise ConfigError(f"no group holds {_listed(missing)}; add them to one, such as other = {missing[:20]}")


def _check_names(scheme: Scheme) -> None:
    """Check that each point has a name of its own, or none has one."""
    names = scheme.names
    if names and len(names) != scheme.count:
        raise ConfigError(f"names lists {len(names)} names, expected {scheme.count}, or none")
    for name in names:
        if names.count(name) > 1:
            same = [index for index, other in enumerate(names) if other == name]
            raise ConfigError(f"{_listed(same)} are all called {name!r}; expected a name of its own for each point")


def _check_eye_corners(scheme: Scheme) -> None:
    """Check that there are two eye corners or none, which are mirror images."""
    if not scheme.eye_corners:
        return
    _check_indices(scheme, "eye_corners", scheme.eye_corners, expected=2)
    right, left = scheme.eye_corners
    if right == left or scheme.mirror[right] != left:
        raise ConfigError(
            f"eye_corners are {right} and {left}, but mirror maps {right} to {scheme.mirror[right]}; expected the "
            "outer corner of the right and of the left eye, which are mirror images"
        )


def _check_pupils(scheme: Scheme) -> None:
    """Check that there are two pupils or none, which are mirror images."""
    if not scheme.pupils:
        return
    if len(scheme.pupils) != 2 or not all(scheme.pupils):
        raise ConfigError("pupils must be two lists: the points whose mean is the right pupil, and those of the left")
    right, left = scheme.pupils
    _check_indices(scheme, "pupils", (*right, *left))
    mirrored = sorted(scheme.mirror[index] for index in right)
    if mirrored != sorted(left):
        raise ConfigError(
            f"pupils are {list(right)} and {list(left)}, which are not mirror images; expected {mirrored} for the left "
            "pupil, or another mirror"
        )


def _check_lids(scheme: Scheme) -> None:
    """Check that there are lids of two eyes or none, and that those of an eye have the same ends."""
    if len(scheme.lids) not in (0, 2) or any(len(eye) != 2 for eye in scheme.lids):
        raise ConfigError("lids must be two pairs: the upper and the lower lid of the right eye, and those of the left")
    for upper, lower in scheme.lids:
        _check_indices(scheme, "lids", (*upper, *lower))
        if min(len(upper), len(lower)) < 2 or (upper[0], upper[-1]) != (lower[0], lower[-1]):
            raise ConfigError("the lids of an eye must begin in one corner of it and end in the other, both of them")


def _check_indices(scheme: Scheme, what: str, indices: Sequence[int], *, expected: int | None = None) -> None:
    if expected is not None and len(indices) != expected:
        raise ConfigError(f"{what} lists {len(indices)} points, expected {expected}")
    wrong = [index for index in indices if not 0 <= index < scheme.count]
    if wrong:
        hint = "; points are counted from 0" if wrong == [scheme.count] else ""
        raise ConfigError(f"{what} names {_listed(wrong)}, expected 0 to {scheme.count - 1}{hint}")


def _listed(indices: Sequence[int]) -> str:
    shown = ", ".join(map(str, indices[:20])) + (", ..." if len(indices) > 20 else "")
    return f"point{'s' * (len(indices) > 1)} {shown}"


def mirror_of(count: int, pairs: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Mirror order of ``count`` points from the pairs that change places; all other points stay.

    Raises:
        ConfigError: an entry is no pair of two points, is out of range, or holds a point of another one.
    """
    order = list(range(count))
    for pair in pairs:
        if len(pair) != 2 or not all(0 <= i < count for i in pair):
            raise ConfigError(f"mirror holds {list(pair)}, expected pairs of points from 0 to {count - 1}")
        if taken := [i for i in pair if order[i] != i]:
            raise ConfigError(f"mirror has {_listed(taken)} in two pairs, such as {list(pair)}; expected each in one")
        a, b = pair
        order[a], order[b] = b, a
    return tuple(order)


def read_scheme(path: Path) -> Scheme:
    """Read a scheme file; ``docs/reference/scheme_files.md`` lists its fields.

    Raises:
        ConfigError: the file is missing, not TOML, or its fields are wrong; the message says what to write instead.
    """
    try:
        values = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: the scheme file cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # an error of TOML or of UTF-8
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return _of_values(values, source=str(path))


def _of_values(values: Mapping[str, Any], *, source: str) -> Scheme:
    """The scheme of a file, whose mirror may be a list of pairs, or follow from names."""
    made, count, names = dict(values), values.get("count"), values.get("names", [])
    named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    try:
        if "mirror" not in made:
            made["mirror"] = mirrored_names(names) if named else []
            if not made["mirror"]:
                raise ConfigError(
                    "mirror is missing, and no two names differ only in left and right; add the pairs of points that "
                    "change places in the mirrored face, such as mirror = [[0, 1]]. 'canthus schemes new' proposes them"
                )
        if type(count) is int and 0 < count <= MOST_POINTS:
            of_names = named and len(names) == count
            made.setdefault("groups", groups_of_names(names) if of_names else {ALL_POINTS: list(range(count))})
        mirror = made["mirror"]
        if isinstance(mirror, list) and (not mirror or any(isinstance(entry, list | tuple) for entry in mirror)):
            made["mirror"] = _mirror_of_pairs(count, mirror)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    return from_values(Scheme, made, source=source)


def _mirror_of_pairs(count: Any, pairs: list[Any]) -> list[int]:
    whole = all(isinstance(pair, list | tuple) and all(type(index) is int for index in pair) for pair in pairs)
    if type(count) is not int:
        return []  # which is refused with the field 'count'
    if not 1 <= count <= MOST_POINTS:
        raise ConfigError(f"count is {count}; expected 1 to {MOST_POINTS} points")
    if not whole:
        raise ConfigError(
            "mirror is a list with the mirror image of each point, such as [1, 0, 2], or the pairs that change places, "
            "such as [[0, 1]]; expected one of both, of whole numbers"
        )
    return list(mirror_of(count, pairs))


def named_scheme(name: str, names: Sequence[str], pairs: Sequence[Sequence[int]] | None = None) -> Scheme:
    """A scheme from the names of its points, as label files give them.

    Args:
        name: of the scheme.
        names: of the points, such as ``right_eye_outer``; equal names are numbered.
        pairs: the points that change places in the mirrored face; None for those whose names differ only in ``left``
            and ``right`` (or ``l`` and ``r``).

    Returns:
        The scheme, with groups by the parts of the face in the names, and without eye corners and pupils unless names
        tell them.

    Raises:
        ConfigError: the name cannot name a file, a pair does not fit, or no names differ only in left and right.
    """
    taken: dict[str, int] = {}
    unique = []
    for text in names:
        taken[text] = taken.get(text, 0) + 1
        unique.append(text if taken[text] == 1 else f"{text}#{taken[text]}")
    pairs = mirrored_names(unique) if pairs is None else pairs
    if not pairs and len(names) > 1:
        raise ConfigError(
            f"The names of the {len(names)} points of {name} do not tell left from right (such as {unique[0]!r}); "
            f"describe the points in a {FILE} beside the data, which 'canthus schemes new' proposes"
        )
    mirror = mirror_of(len(names), pairs)
    corners, pupils = (_pair(unique, mirror, *words) for words in (("eye", "outer"), ("pupil",)))
    return Scheme(
        name=name,
        count=len(names),
        mirror=mirror,
        groups={group: tuple(indices) for group, indices in groups_of_names(unique).items()},
        eye_corners=corners,
        pupils=tuple((index,) for index in pupils),
        names=tuple(unique),
    )


_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}
_WORD = re.compile(r"[a-z]+|\d+")
_PARTS = {
    "pupil": ("pupil", "iris"),
    "brow": ("brow", "eyebrow"),
    "eye": ("eye", "eyelid", "lid", "canthus"),
    "ear": ("ear", "tragus", "earlobe"),
    "nose": ("nose", "nostril", "nasal"),
    "mouth": ("mouth", "lip", "lips"),
    "jaw": ("jaw", "chin", "cheek", "contour"),
}
"""Part of the face -> words in the names of its points; the first part that fits is taken."""


def _words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case: ``LeftEye_outer2`` has ``left``, ``eye``, ``outer`` and ``2``."""
    return tuple(_WORD.findall(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name).lower()))


def mirrored_names(names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of points whose names differ only in left and right."""
    places = {_words(name): index for index, name in enumerate(names)}
    others = [places.get(tuple(_SIDES.get(word, word) for word in _words(name)), i) for i, name in enumerate(names)]
    return [(i, other) for i, other in enumerate(others) if i < other and others[other] == i]


def groups_of_names(names: Sequence[str]) -> dict[str, list[int]]:
    """Groups by the parts of the face in the names of points, such as ``right_eye``; ``other`` for all others."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        words = _words(name)
        part = next((part for part, known in _PARTS.items() if any(word in known for word in words)), "other")
        side = next((word for word in ("right", "left") if word in words or word[0] in words), "")
        paired = f"{side}_{part}" if side and part in ("brow", "eye", "ear") else part
        groups.setdefault("pupils" if part == "pupil" else paired, []).append(index)
    return groups


def _pair(names: Sequence[str], mirror: Sequence[int], *wanted: str) -> tuple[int, ...]:
    """The only point on the right whose name holds the words, and its mirror image; empty where there are several."""
    found = [
        index
        for index, words in enumerate(map(_words, names))
        if mirror[index] != index and {"right", "r"} & {*words} and {*wanted} <= {*words}
    ]
    return (found[0], mirror[found[0]]) if len(found) == 1 else ()


def scheme_toml(scheme: Scheme, *, comments: Sequence[str] = ()) -> str:
    """The text of a scheme file, which ``read_scheme`` reads back.

    Args:
        comments: lines at its top, without ``#``.
    """
    pairs = [[i, other] for i, other in enumerate(scheme.mirror) if i < other]
    lines = [f"# {line}".rstrip() for line in comments]
    lines += [f"name = {_text(scheme.name)}", f"count = {scheme.count}"]
    # An empty list of pairs would be a list of no points.
    lines.append(f"mirror = {_broken(pairs)}  # pairs of points" if pairs else f"mirror = {list(scheme.mirror)}")
    for field in ("eye_corners", "pupils", "lids"):
        if value := getattr(scheme, field):
            lines.append(f"{field} = {_lists(value)}")
    if scheme.names:
        lines += ["names = [", *(f"  {_text(name)},  # {index}" for index, name in enumerate(scheme.names)), "]"]
    lines += ["", "[groups]"]
    lines += [f"{_key(name)} = {list(group)}" for name, group in scheme.groups.items()]
    if scheme.face_box is not None:
        habit = {name: value for name, value in asdict(scheme.face_box).items() if value not in ("", None)}
        lines += ["", "[face_box]"]
        lines += [f"{name} = {_text(v) if isinstance(v, str) else _lists(v)}" for name, v in habit.items()]
    return "\n".join(lines) + "\n"


def _lists(value: Any) -> Any:
    return [_lists(entry) for entry in value] if isinstance(value, tuple) else value


def _broken(pairs: list[list[int]]) -> str:
    """A list of pairs, ten in a line."""
    rows = [", ".join(map(str, pairs[i : i + 10])) for i in range(0, len(pairs), 10)]
    return f"[{rows[0]}]" if len(rows) == 1 else "[\n" + "".join(f"  {row},\n" for row in rows) + "]"


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _text(text)


def _text(text: str) -> str:
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text) + '"'
