"""Point schemes: the numbering, mirroring and grouping of landmarks, and conversions between schemes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Float32, Float64

from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.scheme_files import FaceBox as FaceBox  # noqa: PLC0414  documented here
from canthus.scheme_files import Scheme as Scheme  # noqa: PLC0414
from canthus.scheme_files import mirror_of, read_scheme


def _span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


_IBUG_PAIRS = (
    *((i, 16 - i) for i in range(8)),
    *((17 + i, 26 - i) for i in range(5)),
    (31, 35), (32, 34),
    (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46),
    (48, 54), (49, 53), (50, 52), (55, 59), (56, 58),
    (60, 64), (61, 63), (65, 67),
)  # fmt: skip

IBUG_68 = Scheme(
    name="ibug_68",
    count=68,
    mirror=mirror_of(68, _IBUG_PAIRS),
    groups={
        "jaw": _span(0, 16),
        "right_brow": _span(17, 21),
        "left_brow": _span(22, 26),
        "nose": _span(27, 35),
        "right_eye": _span(36, 41),
        "left_eye": _span(42, 47),
        "outer_mouth": _span(48, 59),
        "inner_mouth": _span(60, 67),
    },
    eye_corners=(36, 45),
    pupils=(_span(36, 41), _span(42, 47)),
    lids=(((36, 37, 38, 39), (36, 41, 40, 39)), ((42, 43, 44, 45), (42, 47, 46, 45))),
)

_WFLW_PAIRS = (
    *((i, 32 - i) for i in range(16)),
    (33, 46), (34, 45), (35, 44), (36, 43), (37, 42), (38, 50), (39, 49), (40, 48), (41, 47),
    (55, 59), (56, 58),
    (60, 72), (61, 71), (62, 70), (63, 69), (64, 68), (65, 75), (66, 74), (67, 73),
    (76, 82), (77, 81), (78, 80), (83, 87), (84, 86),
    (88, 92), (89, 91), (93, 95),
    (96, 97),
)  # fmt: skip

WFLW_98 = Scheme(
    name="wflw_98",
    count=98,
    mirror=mirror_of(98, _WFLW_PAIRS),
    groups={
        "jaw": _span(0, 32),
        "right_brow": _span(33, 41),
        "left_brow": _span(42, 50),
        "nose": _span(51, 59),
        "right_eye": _span(60, 67),
        "left_eye": _span(68, 75),
        "outer_mouth": _span(76, 87),
        "inner_mouth": _span(88, 95),
        "pupils": (96, 97),
    },
    eye_corners=(60, 72),
    pupils=((96,), (97,)),
    lids=(((60, 61, 62, 63, 64), (60, 67, 66, 65, 64)), ((68, 69, 70, 71, 72), (68, 75, 74, 73, 72))),
)

_COFW_PAIRS = (
    (0, 1), (2, 3), (4, 6), (5, 7),
    (8, 9), (10, 11), (12, 14), (13, 15), (16, 17),
    (18, 19), (22, 23),
)  # fmt: skip

COFW_29 = Scheme(
    name="cofw_29",
    count=29,
    mirror=mirror_of(29, _COFW_PAIRS),
    groups={
        "right_brow": (0, 2, 4, 5),
        "left_brow": (1, 3, 6, 7),
        "right_eye": (8, 10, 12, 13),
        "left_eye": (9, 11, 14, 15),
        "pupils": (16, 17),
        "nose": _span(18, 21),
        "mouth": _span(22, 27),
        "jaw": (28,),
    },
    eye_corners=(8, 9),
    pupils=((16,), (17,)),
)

AFLW_21 = Scheme(
    name="aflw_21",
    count=21,
    mirror=mirror_of(21, ((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 16), (13, 15), (17, 19))),
    groups={
        "right_brow": _span(0, 2),
        "left_brow": _span(3, 5),
        "right_eye": _span(6, 8),
        "left_eye": _span(9, 11),
        "ears": (12, 16),
        "nose": _span(13, 15),
        "mouth": _span(17, 19),
        "jaw": (20,),
    },
    eye_corners=(6, 11),
    pupils=((7,), (10,)),
)
"""All points of AFLW.  The usual protocol omits the ear lobes, 12 and 16 (``AFLW_19``)."""

AFLW_19 = Scheme(
    name="aflw_19",
    count=19,
    mirror=mirror_of(19, ((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 14), (15, 17))),
    groups={
        "right_brow": _span(0, 2),
        "left_brow": _span(3, 5),
        "right_eye": _span(6, 8),
        "left_eye": _span(9, 11),
        "nose": _span(12, 14),
        "mouth": _span(15, 17),
        "jaw": (18,),
    },
    eye_corners=(6, 11),
    pupils=((7,), (10,)),
)

WILD_21 = Scheme(
    name="wild_21",
    count=21,
    mirror=mirror_of(21, ((0, 5), (1, 4), (2, 3), (6, 9), (7, 8), (10, 12), (16, 17), (19, 20))),
    groups={
        "right_brow": _span(0, 2),
        "left_brow": _span(3, 5),
        "right_eye": (6, 7),
        "left_eye": (8, 9),
        "nose": (10, 11, 12, 18),
        "mouth": (13, 14, 15, 19, 20),
        "pupils": (16, 17),
    },
    eye_corners=(6, 9),
    pupils=((16,), (17,)),
)
"""Points of the phone photos ``wild21``: another order than ``AFLW_21``, with pupils and without ears and chin."""

FIVE = Scheme(
    name="five",
    count=5,
    mirror=mirror_of(5, ((0, 1), (3, 4))),
    groups={"right_eye": (0,), "left_eye": (1,), "nose": (2,), "mouth": (3, 4)},
    eye_corners=(0, 1),
    pupils=((0,), (1,)),
    face_box=FaceBox(shift=(0.0, 0.147), size=(1.975, 1.931)),
)
"""Centres of the right and the left eye, tip of the nose, right and left corner of the mouth.

The face box: medians over 2,009 training faces of 300-W (``benchmarks/fit_five_point_boxes.py``); it overlaps that of
68 points by 0.79 (mean IoU), the hull of the five points by 0.23.
"""

SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme for scheme in (WFLW_98, IBUG_68, COFW_29, AFLW_21, WILD_21, AFLW_19, FIVE)
}


_OF_CANTHUS = dict(SCHEMES)

OWN_HINT = (
    "Points of your own are described by a scheme file, such as --scheme my12.toml or a scheme.toml beside the labels; "
    "'canthus schemes new' proposes one"
)


def find_scheme(name: str | Scheme) -> Scheme:
    """The scheme of a name, or of the path of a scheme file, which ends in ``.toml``; a scheme is returned as it is.

    Raises:
        ConfigError: the name is unknown (the message suggests the nearest), or the file is missing or wrong.
    """
    if isinstance(name, Scheme):
        return name
    if name.endswith(".toml"):
        scheme = read_scheme(Path(name))
        try:
            own_scheme(scheme)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error
        return scheme
    return _named(name)


def _named(name: str) -> Scheme:
    try:
        return lookup(SCHEMES, name, kind="scheme")
    except ConfigError as error:
        raise ConfigError(f"{error} {OWN_HINT}.") from error


def own_scheme(scheme: Scheme) -> Scheme | None:
    """What a file that names a scheme must carry: the scheme itself, or None for a scheme of canthus.

    Raises:
        ConfigError: another scheme than that of canthus has its name.
    """
    known = _OF_CANTHUS.get(scheme.name)
    if known is not None and known != scheme:
        raise ConfigError(f"The name {scheme.name} belongs to a scheme of canthus; give the scheme another name")
    return None if known is not None else scheme


def carried_scheme(name: str, own: Scheme | None) -> Scheme:
    """The scheme of a recipe, model or pack: the one that it carries, or the one of canthus that it names.

    Raises:
        ConfigError: the name is unknown, or is not that of the carried scheme.
    """
    if own is None:
        return _named(name)  # never a path: the name may come from a stranger's file
    if own.name != name:
        raise ConfigError(f"The scheme is called {name}, but own_scheme {own.name}; expected one name")
    own_scheme(own)
    return own


def guess_scheme(count: int) -> Scheme:
    """Return the only scheme with ``count`` points.

    Raises:
        ConfigError: no scheme or several schemes have this number of points.
    """
    matches = [scheme for scheme in SCHEMES.values() if scheme.count == count]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(f"{count} points may be {' or '.join(s.name for s in matches)}; name the scheme")
    known = ", ".join(f"{scheme.name} ({scheme.count})" for scheme in SCHEMES.values())
    raise ConfigError(f"No scheme has {count} points. Known: {known}. {OWN_HINT}.")


_Row: TypeAlias = int | tuple[int, ...]
"""Source point of a target point, or the source points whose mean it is; a repeated index weighs more."""

_EDGE_BROWS = [*range(33, 38), *range(42, 47)]
_MIDDLE_BROWS: list[_Row] = [33, (34, 41), (35, 40), (36, 39), (37, 38), (42, 50), (43, 49), (44, 48), (45, 47), 46]
_CHORD_EYES: list[_Row] = [
    60, (60, 62), (62, 64), 64, (64, 66), (60, 66),
    68, (68, 70), (70, 72), 72, (72, 74), (68, 74),
]  # fmt: skip
_THIRDS_EYES: list[_Row] = [
    60, (61, 61, 62), (63, 63, 62), 64, (65, 65, 66), (67, 67, 66),
    68, (69, 69, 70), (71, 71, 70), 72, (73, 73, 74), (75, 75, 74),
]  # fmt: skip
_PICKED_EYES = [60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75]


def _wflw_to_ibug(brows: Sequence[_Row], eyes: Sequence[_Row]) -> list[_Row]:
    return [*range(0, 33, 2), *brows, *range(51, 60), *eyes, *range(76, 96)]


CONVERSIONS: dict[tuple[str, str], dict[str, list[_Row]]] = {
    (WFLW_98.name, IBUG_68.name): {
        "thirds": _wflw_to_ibug(_MIDDLE_BROWS, _THIRDS_EYES),
        "chord": _wflw_to_ibug(_EDGE_BROWS, _CHORD_EYES),
        "picks": _wflw_to_ibug(_EDGE_BROWS, _PICKED_EYES),
    },
    (WFLW_98.name, FIVE.name): {"pupils": [96, 97, 54, 76, 82]},
    (IBUG_68.name, FIVE.name): {"centres": [_span(36, 41), _span(42, 47), 30, 48, 54]},
    (COFW_29.name, FIVE.name): {"pupils": [16, 17, 20, 22, 23]},
    (AFLW_21.name, AFLW_19.name): {"picks": [*range(12), 13, 14, 15, 17, 18, 19, 20]},
    (AFLW_21.name, FIVE.name): {"pupils": [7, 10, 14, 17, 19]},
    (AFLW_19.name, FIVE.name): {"pupils": [7, 10, 13, 15, 17]},
    (WILD_21.name, FIVE.name): {"pupils": [16, 17, 18, 19, 20]},
}
"""(source, target) -> variant -> one row per target point; the first variant is the default.

Between the corners of an eye, WFLW has three points on each lid and iBUG has two.  Three conversions are in use, and
each gives another eye openness: ``thirds`` places the points at one and two thirds of the lid, ``chord`` on the chords
between a corner and the middle of the lid (flatter), and ``picks`` takes the nearest WFLW points.  ``thirds`` also
moves the brows from their upper edge to their middle, where iBUG has them.
"""


def conversion_matrix(source: Scheme, target: Scheme, *, variant: str | None = None) -> Float64[np.ndarray, "m k"]:
    """Return the weights of the ``k`` source points for each of the ``m`` target points.

    Args:
        variant: name of the conversion in ``CONVERSIONS``; None is the first one.

    Raises:
        ConfigError: there is no such conversion or variant.
    """
    if source.name == target.name:
        if variant is not None:
            raise ConfigError(f"{source.name} to itself has no variant, found {variant!r}; leave it out")
        return np.eye(source.count)
    variants = CONVERSIONS.get((source.name, target.name))
    if variants is None:
        reachable = ", ".join(end for start, end in CONVERSIONS if start == source.name) or "nothing"
        why = ""
        if target.name == IBUG_68.name:
            why = ". Head pose, ratios of eyes and mouth, and fatigue are computed from these 68 points"
        raise ConfigError(
            f"No conversion from {source.name} ({source.count} points) to {target.name}, which this needs; "
            f"{source.name} converts to {reachable}{why}"
        )
    chosen = next(iter(variants)) if variant is None else variant
    rows = lookup(variants, chosen, kind=f"variant of {source.name} to {target.name}")
    matrix = np.zeros((target.count, source.count))
    for weights, sources in zip(matrix, rows, strict=True):
        np.add.at(weights, np.atleast_1d(sources), 1 / np.size(sources))
    return matrix


def convert(
    points: Float[np.ndarray, "*n k 2"], source: Scheme, target: Scheme, *, variant: str | None = None
) -> Float32[np.ndarray, "*n m 2"]:
    """Convert points to another scheme, in the same coordinates.

    A target point is NaN if and only if one of its source points is NaN.

    Args:
        variant: name of the conversion in ``CONVERSIONS``; None is the first one.

    Raises:
        ConfigError: there is no such conversion or variant.
        ValueError: the number of points does not match ``source``.
    """
    if points.shape[-2] != source.count:
        raise ValueError(f"{source.name} has {source.count} points, found {points.shape[-2]}")
    matrix = conversion_matrix(source, target, variant=variant)
    missing = np.isnan(points)
    moved = matrix @ np.where(missing, 0, points)
    moved[(matrix > 0).astype(np.float64) @ missing > 0] = np.nan
    return moved.astype(np.float32)
