"""Heatmaps: drawn from points, and decoded to points with subcell precision.

Cell ``(row, column)`` of a map has its centre at ``((column + 0.5) / side, (row + 0.5) / side)``, in the unit frame of
the networks.
"""

import math

import numpy as np
from jaxtyping import Float, Float32

LEAST = 1e-4
"""Smaller and negative values are raised to this before the logarithm."""


def draw_heatmaps(points: Float[np.ndarray, "*n 2"], side: int, *, sigma: float) -> Float32[np.ndarray, "*n side side"]:
    """Gaussians of height 1 at the points.

    Args:
        points: in the unit frame; NaN gives an empty map, a point outside the crop the part that reaches into it.
        side: side of a map in cells.
        sigma: standard deviation in cells.
    """
    cells = np.arange(side, dtype=np.float32)
    place = np.asarray(points, np.float32)[..., None] * side - 0.5
    along = np.exp(-np.square(cells - place) / np.float32(2 * sigma**2))
    along = np.nan_to_num(along, nan=0.0)
    return np.asarray(along[..., 1, :, None] * along[..., 0, None, :], np.float32)


def decode_heatmaps(maps: Float[np.ndarray, "*n side side"]) -> Float32[np.ndarray, "*n 2"]:
    """Position of the peak of each map in the unit frame.

    Along each axis it is the peak of the parabola through the logarithms of the largest cell and its two neighbours,
    which is exact for a Gaussian.  At the border it is the centre of the cell.
    """
    side = maps.shape[-1]
    flat = np.asarray(maps, np.float64).reshape(math.prod(maps.shape[:-2]), side, side)
    index = flat.reshape(len(flat), side * side).argmax(axis=1)
    row, column = index // side, index % side
    logs = np.log(np.maximum(flat, LEAST))
    n = np.arange(len(flat))
    x = column + _peak(logs[n, row], column)
    y = row + _peak(logs[n, :, column], row)
    unit = (np.stack([x, y], axis=-1) + 0.5) / side
    return np.asarray(unit.reshape(*maps.shape[:-2], 2), np.float32)


def _peak(lines: Float[np.ndarray, "n side"], at: np.ndarray) -> Float[np.ndarray, " n"]:
    """Offset of the peak of the parabola from the cells ``at``, in [-0.5, 0.5]."""
    side = lines.shape[1]
    n = np.arange(len(lines))
    left, middle, right = (lines[n, np.clip(at + step, 0, side - 1)] for step in (-1, 0, 1))
    bend = 2 * middle - left - right
    inner = (at > 0) & (at < side - 1) & (bend > 0)
    offset = np.divide(right - left, 2 * bend, out=np.zeros(len(lines)), where=inner)
    return np.asarray(np.clip(offset, -0.5, 0.5))
