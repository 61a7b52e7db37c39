"""The mean face of each scheme, and what a face is likely to suffer from that does not look like it.

The means are in ``mean_faces.json``, made by ``benchmarks/fit_mean_faces.py``.  A face is compared with the mean face
of its scheme after the rotation, scale and shift that fit best.  The residual is the root mean square distance of the
points over that of the face's points from their middle: about 0.15 for real faces and 1 for points in any order.
"""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex128, Float, Float64, Int

from canthus.schemes import SCHEMES, Scheme

FAR = 0.7
"""Residual from which points are no face.  The largest of the 7,834 real faces of 300-W, YouTube Faces and wild21 is
0.59, of a profile."""
BETTER = 0.8
"""Share of its residual to which another order must bring a face.  In the same faces no wrong order comes below 1.15
times the residual of the right one; of points in a wrong order, the right one leaves 0.68 at most."""
UPSIDE_DOWN = 2.4
"""Turn in radians from which a face is said to be upside down; the largest of the same faces is 1.7."""
GOOD = 0.3
"""Residual below which no other order is tried: 68 points whose numbering is shifted by one have 0.49 or more."""
FEW = 15
"""Number of points from which a large residual alone is a fault; five points of a profile may have one."""
LEAST_KNOWN = 0.6
"""Share of its points that a face must have, and at least five, to be compared."""
FAR_MIRRORED = 0.5
"""Distance of a point of the mean face from its mirror image, in root mean square distances from the middle, from which
the mirror order is doubted."""
ROUNDS = 10
SHIFTS = 5
"""Largest shift of the numbering that is looked for."""

_SWAPPED = "left and right are swapped: the numbers are those of a mirrored face, or the picture alone was mirrored"
_TRANSPOSED = "x and y are swapped"
_FLIPPED = "y counts from the bottom of the picture"
_BLOCKS = "all x stand before all y, but were read as pairs; name the columns x0, ..., y0, ... in a header line"


class Fit(NamedTuple):
    """How the mean face fits a face: the residual, and its turn in radians, clockwise on the screen."""

    residual: float
    turn: float


@cache
def mean_face(scheme: str) -> Float64[np.ndarray, "k 2"] | None:
    """The upright mean face of a scheme, about its middle and of mean square distance 1; None for a scheme without."""
    stored = json.loads(files("canthus.data").joinpath("mean_faces.json").read_text(encoding="utf-8"))
    points = stored["faces"].get(scheme)
    return None if points is None or len(points) != SCHEMES[scheme].count else np.array(points, np.float64)


def mean_of_faces(faces: Float[np.ndarray, "n k 2"]) -> Float64[np.ndarray, "k 2"]:
    """The mean shape of labelled faces, about its middle and of mean square distance 1.

    Each face is turned, scaled and shifted to fit the mean (generalized Procrustes analysis), which is a median, so
    that a few wrong labels do not change it.

    Args:
        faces: upright on the whole; NaN for points without position.

    Returns:
        NaN for points that no face has.
    """
    shapes, known = faces.astype(np.float64) @ np.array([1, 1j]), ~np.isnan(faces).any(axis=2)
    never, count = ~known.any(axis=0), np.maximum(known.sum(axis=1, keepdims=True), 1)
    shapes = _about_middle(np.where(known, shapes, 0), known, count)
    size = np.sqrt((np.abs(shapes) ** 2).sum(axis=1, keepdims=True) / count)
    placed = shapes / np.maximum(size, 1e-9)
    for _ in range(ROUNDS):
        seen = np.where(known | never, placed, complex(np.nan, np.nan))
        mean = np.nanmedian(seen.real, axis=0) + 1j * np.nanmedian(seen.imag, axis=0)
        mean = mean - mean[~never].mean()
        mean = mean / max(float(np.sqrt((np.abs(mean[~never]) ** 2).mean())), 1e-9)
        wanted = np.where(known, mean, 0)
        middle = wanted.sum(axis=1, keepdims=True) / count
        gain = (shapes.conj() * (wanted - middle)).sum(axis=1, keepdims=True)
        placed = gain / np.maximum((np.abs(shapes) ** 2).sum(axis=1, keepdims=True), 1e-9) * shapes + middle
    return np.where(never[:, None], np.nan, np.stack([mean.real, mean.imag], axis=1))


def _about_middle(
    shapes: Complex128[np.ndarray, "n k"], known: Bool[np.ndarray, "n k"], count: Int[np.ndarray, "n 1"]
) -> Complex128[np.ndarray, "n k"]:
    """The known points of each shape about their middle, and zero for the others."""
    return np.where(known, shapes - shapes.sum(axis=1, keepdims=True) / count, 0)


def mirror_faults(mean: Float64[np.ndarray, "k 2"], scheme: Scheme) -> list[int]:
    """The points of a mean face that do not lie where the mirror order says, after the best fit of its mirror image.

    A mirror image further than ``FAR_MIRRORED`` from its place is a fault.
    """
    if scheme.count < 3 or np.isnan(mean).any():
        return []
    shape = mean @ np.array([1, 1j])
    shape = shape - shape.mean()
    mirrored = -shape[list(scheme.mirror)].conj()
    turn = (mirrored.conj() * shape).sum()
    turn = turn / max(abs(turn), 1e-9)
    return np.flatnonzero(np.abs(shape - turn * mirrored) > FAR_MIRRORED).tolist()


def fit_of(mean: Float64[np.ndarray, "k 2"], points: Float[np.ndarray, "k 2"]) -> Fit:
    """Fit a mean face to points, of which some may be NaN, by least squares: rotation, scale and shift."""
    known = ~np.isnan(points).any(axis=1)
    to_complex = np.array([1, 1j])
    source, target = mean[known] @ to_complex, points[known] @ to_complex
    source, target = source - source.mean(), target - target.mean()
    size = float((np.abs(target) ** 2).mean())
    if not size > 0:
        return Fit(np.inf, 0.0)
    gain = (source.conj() * target).sum() / (np.abs(source) ** 2).sum()
    return Fit(float(np.sqrt((np.abs(target - gain * source) ** 2).mean() / size)), float(np.angle(gain)))


def likely_fault(
    points: Float[np.ndarray, "k 2"], scheme: Scheme, mean: Float64[np.ndarray, "k 2"] | None = None
) -> str | None:
    """What is likely wrong with the points of a face, in words; None if they look like a face of their scheme.

    Faces with few known points, and of schemes without mean face, are not judged.

    Args:
        mean: the mean face, for a scheme that has none here.
    """
    mean = mean_face(scheme.name) if mean is None else mean
    known = int((~np.isnan(points).any(axis=1)).sum())
    if mean is None or known < max(5, LEAST_KNOWN * scheme.count):
        return None
    here = fit_of(mean, points)
    if here.residual < GOOD:
        return None
    # Swapped sides, swapped axes and a flipped y have the same residual; the right one leaves the face upright.
    others = [(fit_of(mean, other), reason) for other, reason in _other_orders(points, scheme)]
    better = [(fit, reason) for fit, reason in others if fit.residual < BETTER * here.residual and fit.residual < FAR]
    if better:
        least = min(fit.residual for fit, _ in better)
        return min(((abs(fit.turn), why) for fit, why in better if fit.residual < least + 1e-3), key=lambda p: p[0])[1]
    if here.residual > FAR and scheme.count >= FEW:
        return (
            f"the points are no face of {scheme.name} (residual {here.residual:.2f}; real faces: below {FAR:g}); are "
            "they numbered by another scheme?"
        )
    return None


def is_upside_down(
    points: Float[np.ndarray, "k 2"], scheme: Scheme, mean: Float64[np.ndarray, "k 2"] | None = None
) -> bool:
    """Whether a face is turned by more than ``UPSIDE_DOWN``; ``mean`` as in ``likely_fault``."""
    mean = mean_face(scheme.name) if mean is None else mean
    known = int((~np.isnan(points).any(axis=1)).sum())
    if mean is None or known < max(5, LEAST_KNOWN * scheme.count):
        return False
    fit = fit_of(mean, points)
    return fit.residual < FAR and abs(fit.turn) > UPSIDE_DOWN


def _other_orders(points: Float[np.ndarray, "k 2"], scheme: Scheme) -> Iterator[tuple[Float[np.ndarray, "k 2"], str]]:
    """The points as they would be without each of the usual faults."""
    yield points[list(scheme.mirror)], _SWAPPED
    yield points[:, ::-1], _TRANSPOSED
    yield points * [1, -1], _FLIPPED
    if not np.isnan(points).any():
        yield points.reshape(2, -1).T, _BLOCKS
        yield points.T.reshape(-1, 2), "x and y alternate, but were read as all x before all y"
    # Five points are too few to tell a shift from a turned head.
    for shift in range(1, min(SHIFTS + 1, scheme.count // 4)):
        text = f"the numbering is shifted by {shift}: "
        yield np.roll(points, -shift, axis=0), f"{text}the first point stands at place {shift}, counted from 0"
        yield np.roll(points, shift, axis=0), f"{text}point {shift} stands at place 0, counted from 0"
