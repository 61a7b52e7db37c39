"""From one point scheme to another.

A conversion is a row-stochastic matrix: every target point is a weighted mean of source points.  So converting
commutes with every affine map, and no point leaves the hull of the source.  Only conversions to fewer points exist;
what a scheme does not hold is never invented.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64

from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.schemes import AFLW_19, AFLW_21, COFW_29, FIVE, IBUG_68, WFLW_98, WILD_21, Scheme

_Row = Mapping[int, float]
"""Source index -> weight."""


def _one(index: int) -> _Row:
    return {index: 1.0}


def _mean(indices: Sequence[int]) -> _Row:
    return {index: 1 / len(indices) for index in indices}


def _blend(near: int, far: int) -> _Row:
    return {near: 2 / 3, far: 1 / 3}


def _ones(indices: Sequence[int]) -> list[_Row]:
    return [_one(index) for index in indices]


_EDGE_BROWS = _ones([*range(33, 38), *range(42, 47)])
_MIDDLE_BROWS = [
    _one(33), _mean((34, 41)), _mean((35, 40)), _mean((36, 39)), _mean((37, 38)),
    _mean((42, 50)), _mean((43, 49)), _mean((44, 48)), _mean((45, 47)), _one(46),
]  # fmt: skip
_CHORD_EYES = [
    _one(60), _mean((60, 62)), _mean((62, 64)), _one(64), _mean((64, 66)), _mean((60, 66)),
    _one(68), _mean((68, 70)), _mean((70, 72)), _one(72), _mean((72, 74)), _mean((68, 74)),
]  # fmt: skip
_THIRDS_EYES = [
    _one(60), _blend(61, 62), _blend(63, 62), _one(64), _blend(65, 66), _blend(67, 66),
    _one(68), _blend(69, 70), _blend(71, 70), _one(72), _blend(73, 74), _blend(75, 74),
]  # fmt: skip
_PICKED_EYES = _ones([60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75])


def _wflw_to_ibug(brows: list[_Row], eyes: list[_Row]) -> list[_Row]:
    return [*_ones(range(0, 33, 2)), *brows, *_ones(range(51, 60)), *eyes, *_ones(range(76, 96))]


_IBUG_TO_FIVE = [_mean(range(36, 42)), _mean(range(42, 48)), _one(30), _one(48), _one(54)]

CONVERSIONS: dict[tuple[str, str], dict[str, list[_Row]]] = {
    (WFLW_98.name, IBUG_68.name): {
        "thirds": _wflw_to_ibug(_MIDDLE_BROWS, _THIRDS_EYES),
        "chord": _wflw_to_ibug(_EDGE_BROWS, _CHORD_EYES),
        "picks": _wflw_to_ibug(_EDGE_BROWS, _PICKED_EYES),
    },
    (WFLW_98.name, FIVE.name): {"pupils": _ones([96, 97, 54, 76, 82])},
    (IBUG_68.name, FIVE.name): {"centres": _IBUG_TO_FIVE},
    (COFW_29.name, FIVE.name): {"pupils": _ones([16, 17, 20, 22, 23])},
    (AFLW_21.name, AFLW_19.name): {"picks": _ones([*range(12), 13, 14, 15, 17, 18, 19, 20])},
    (AFLW_21.name, FIVE.name): {"pupils": _ones([7, 10, 14, 17, 19])},
    (AFLW_19.name, FIVE.name): {"pupils": _ones([7, 10, 13, 15, 17])},
    (WILD_21.name, FIVE.name): {"pupils": _ones([16, 17, 18, 19, 20])},
}
"""(source, target) -> variant -> one row a target point; the first variant is the default.

WFLW draws four upper and four lower points along an eye's edge, iBUG two, so three readings are in use and each gives
another eye openness: ``thirds`` puts the points at one and two thirds of the edge, ``chord`` on the chords between a
corner and the middle of the lid (flatter), ``picks`` takes the nearest WFLW points.  ``thirds`` also moves the brows
from their upper edge to their middle, where iBUG has them.
"""


def conversion_matrix(source: Scheme, target: Scheme, *, variant: str | None = None) -> Float64[np.ndarray, "m k"]:
    """Weights that take points of ``source`` to points of ``target``; the identity where they are the same.

    Args:
        source: scheme of the points at hand.
        target: scheme of the points wanted.
        variant: which of several readings; None is the default one.

    Raises:
        ConfigError: no such conversion, or no such variant of it.
    """
    if source.name == target.name:
        if variant is not None:
            raise ConfigError(f"{source.name} to itself has no variant, found {variant!r}; leave it out")
        return np.eye(source.count)
    variants = CONVERSIONS.get((source.name, target.name))
    if variants is None:
        reachable = ", ".join(end for start, end in CONVERSIONS if start == source.name) or "nothing"
        raise ConfigError(f"No conversion from {source.name} to {target.name}; {source.name} converts to {reachable}")
    chosen = next(iter(variants)) if variant is None else variant
    rows = lookup(variants, chosen, kind=f"variant of {source.name} to {target.name}")
    matrix = np.zeros((target.count, source.count))
    for matrix_row, weights in zip(matrix, rows, strict=True):
        for index, weight in weights.items():
            matrix_row[index] = weight
    return matrix


def convert(
    points: Float[np.ndarray, "*n k 2"], source: Scheme, target: Scheme, *, variant: str | None = None
) -> Float32[np.ndarray, "*n m 2"]:
    """Points of ``source`` as points of ``target``.

    A target point is NaN where a source point it rests on is NaN, and only there.

    Args:
        points: in any frame.
        source: their scheme.
        target: the scheme wanted.
        variant: which of several readings; None is the default one (see ``CONVERSIONS``).

    Returns:
        Points in the same frame.

    Raises:
        ConfigError: no such conversion or variant.
        ValueError: ``points`` are not as many as ``source`` has.
    """
    if points.shape[-2] != source.count:
        raise ValueError(f"{source.name} has {source.count} points, found {points.shape[-2]}")
    matrix = conversion_matrix(source, target, variant=variant)
    missing = np.isnan(points)
    moved = matrix @ np.where(missing, 0, points)
    moved[(matrix > 0).astype(np.float64) @ missing > 0] = np.nan
    return moved.astype(np.float32)
