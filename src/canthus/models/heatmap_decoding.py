"""Heatmaps to points inside a network, so that an exported file answers with points; see ``canthus.heatmaps``."""

import torch
from torch import Tensor

from canthus.heatmaps import LEAST


def points_of_heatmaps(maps: Tensor) -> Tensor:
    """Peaks of maps ``(n, k, side, side)`` as points ``(n, k, 2)`` of the unit frame; computes ``decode_heatmaps``.

    Nothing flows back through it: networks of heatmaps learn from their maps.
    """
    side = maps.shape[-1]
    flat = maps.detach().float().flatten(2)
    index = flat.argmax(dim=2, keepdim=True)
    row, column = torch.div(index, side, rounding_mode="floor"), index % side
    logs = flat.clamp(min=LEAST).log()
    x = column + _peak(logs, index, column, side, step=1)
    y = row + _peak(logs, index, row, side, step=side)
    return (torch.cat([x, y], dim=2) + 0.5) / side


def _peak(logs: Tensor, index: Tensor, place: Tensor, side: int, *, step: int) -> Tensor:
    """Offset of the parabola's peak from each largest cell along one axis, in [-0.5, 0.5]."""
    inner = (place > 0) & (place < side - 1)
    moved = torch.where(inner, step, 0)
    left, middle, right = (logs.gather(2, index + way * moved) for way in (-1, 0, 1))
    bend = 2 * middle - left - right
    offset = (right - left) / (2 * bend).clamp(min=1e-12)
    return torch.where(inner & (bend > 0), offset.clamp(-0.5, 0.5), 0.0)
