"""A linear map that takes the points of a model to where the labels of a dataset put them.

Datasets differ in their habits: where along a contour a point lies, and how far outside.  A linear map of all points
together learns such habits from a few labelled faces (E. Wood et al., "Fake it till you make it", 2021, adapt the
answers of a network in this way).

Differs: the map moves, turns and grows with the face.  So it cannot learn where in the crop the box of the labels lies,
which is cut around them and tells more of them than the picture does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Complex128, Float, Float32, Float64, Int64

from canthus.data.splits import fold_of
from canthus.errors import DataError

RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0, 10000.0)
"""Weights of the squares of the map that are tried, for faces whose points have a mean square distance of 1 from their
mean."""
FOLDS = 5
SLACK = 0.003
"""The largest ridge is taken that misses left-out faces by at most this share more than the best, because a small map
lets points tremble least from frame to frame."""
LEAST_FACES = 8
_FAR = 3.0
"""Faces that the map misses by more than this many medians are left out of the fit."""
_ROUNDS = 3


@final
@dataclass(frozen=True)
class PointMap:
    """The map ``z + (z - mean(z)) weights`` of the points of a face as complex numbers, ``z = x + iy``.

    Complex weights turn and scale, so that the map of a turned, scaled, or moved face is the turned, scaled, or moved
    map of the face.
    """

    weights: Complex128[np.ndarray, "k k"]

    def points(self, points: Float[np.ndarray, "n k 2"]) -> Float64[np.ndarray, "n k 2"]:
        """Mapped points, in the same pixels."""
        z = _complex(points)
        moved = z + (z - z.mean(axis=1, keepdims=True)) @ self.weights
        return np.stack([moved.real, moved.imag], axis=2)

    @property
    def matrix(self) -> Float64[np.ndarray, "c c"]:
        """The same map for rows ``x1 y1 x2 y2 ...``: mapped = row @ matrix."""
        count = len(self.weights)
        centred = self.weights - self.weights.mean(axis=0)
        blocks = np.zeros((count, 2, count, 2))
        blocks[:, 0, :, 0] = blocks[:, 1, :, 1] = centred.real
        blocks[:, 0, :, 1], blocks[:, 1, :, 0] = centred.imag, -centred.imag
        return blocks.reshape(2 * count, 2 * count) + np.eye(2 * count)


@final
@dataclass(frozen=True)
class PointFit:
    """A fitted map.

    Attributes:
        ridge: the largest of ``RIDGES`` by which faces that are left out of the fit are missed by nearly the least; see
            ``SLACK``.
        held_out: mapped points of the faces of the fit, each by a map that was fitted without its fifth of them.
        used: False for faces whose labels are too far from the points to teach the map.
    """

    map: PointMap
    ridge: float
    held_out: Float64[np.ndarray, "n k 2"]
    used: Bool[np.ndarray, " n"]


def fit_point_map(
    points: Float32[np.ndarray, "n k 2"], labels: Float32[np.ndarray, "n k 2"], groups: Sequence[str]
) -> PointFit:
    """The map that brings points of a model closest to the labels of the same faces: a robust complex ridge regression.

    The labels of a face are divided by their root mean square distance from their mean.  The first singular vector of
    the points, which is the mean face in any turn and size, has no penalty, so that few faces teach at least how far
    each point is off in the mean.

    Args:
        points: of the model, in pixels of the crop.
        labels: in the same pixels.
        groups: of the faces, such as their photos; no group is divided between the folds.

    Raises:
        DataError: fewer than ``LEAST_FACES`` faces, or fewer than two groups.
    """
    if len(points) < LEAST_FACES or len(set(groups)) < 2:
        raise DataError(
            f"Found {len(points)} faces of {len(set(groups))} photos or people with all points labelled; a map of "
            f"points needs at least {LEAST_FACES} faces of 2"
        )
    inputs, changes = _scaled(points, labels)
    fold = _folds(groups)
    keep = np.ones(len(points), bool)
    for _ in range(_ROUNDS):
        parts = {
            part: _Solver(inputs[keep & (fold != part)], changes[keep & (fold != part)]) for part in set(fold.tolist())
        }
        tested = np.where(keep, fold, -1)
        missed_by = {tried: _left_out_error(inputs, changes, tested, parts, tried) for tried in RIDGES}
        ridge = max(tried for tried in RIDGES if missed_by[tried] <= (1 + SLACK) * min(missed_by.values()))
        weights = _Solver(inputs[keep], changes[keep]).weights(ridge)
        missed = np.abs(changes - inputs @ weights).mean(axis=1)
        used, keep = keep, missed <= _FAR * np.median(missed)
    held_out = np.empty(points.shape, np.float64)
    for part, solver in parts.items():
        held_out[fold == part] = PointMap(solver.weights(ridge)).points(points[fold == part])
    return PointFit(PointMap(weights), ridge, held_out, used)


def _complex(points: Float[np.ndarray, "n k 2"]) -> Complex128[np.ndarray, "n k"]:
    return points[..., 0].astype(np.float64) + 1j * points[..., 1]


def _scaled(
    points: Float32[np.ndarray, "n k 2"], labels: Float32[np.ndarray, "n k 2"]
) -> tuple[Complex128[np.ndarray, "n k"], Complex128[np.ndarray, "n k"]]:
    """Points relative to their mean, and changes to the labels, both in units of the face."""
    z, wanted = _complex(points), _complex(labels)
    spread = np.sqrt((np.abs(wanted - wanted.mean(axis=1, keepdims=True)) ** 2).mean(axis=1, keepdims=True))
    return (z - z.mean(axis=1, keepdims=True)) / spread, (wanted - z) / spread


def _folds(groups: Sequence[str]) -> Int64[np.ndarray, " n"]:
    """The fold of each face, at least two in all."""
    fold = np.array([fold_of(f"map {group}", FOLDS) for group in groups])
    if len(np.unique(fold)) < 2:  # few groups may all have the same hash
        order = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        fold = np.array([order[group] % FOLDS for group in groups])
    return fold


@final
class _Solver:
    """Weights with the least squares of the remaining changes plus a ridge times the squares of the weights."""

    def __init__(self, inputs: Complex128[np.ndarray, "n k"], changes: Complex128[np.ndarray, "n k"]) -> None:
        self._squares, self._vectors = np.linalg.eigh(inputs.conj().T @ inputs)
        self._wanted = self._vectors.conj().T @ (inputs.conj().T @ changes)

    def weights(self, ridge: float) -> Complex128[np.ndarray, "k k"]:
        penalty = np.full((len(self._squares), 1), ridge)
        penalty[-1] = 1e-9  # the mean face, whose square is the largest
        return np.asarray(self._vectors @ (self._wanted / (self._squares[:, None] + penalty)), np.complex128)


def _left_out_error(
    inputs: Complex128[np.ndarray, "n k"],
    changes: Complex128[np.ndarray, "n k"],
    fold: Int64[np.ndarray, " n"],
    solvers: Mapping[int, _Solver],
    ridge: float,
) -> float:
    """Sum of the distances of faces, each mapped without its fold."""
    total = 0.0
    for part, solver in solvers.items():
        seen = fold == part
        total += float(np.abs(changes[seen] - inputs[seen] @ solver.weights(ridge)).sum())
    return total
