"""Heads of networks: expected errors, head pose, and points from heatmaps."""

import math
from typing import final

import torch
from torch import Tensor, nn

from canthus.heatmaps import LEAST
from canthus.models.layers import conv_bn_relu

HIDDEN = 16
"""Width between the two layers. A few units are enough: what hides points hides many at a time."""

SQUEEZED = 8
"""Channels to which a feature map is reduced before a ``SpreadHead``."""

START = 0.05
"""Expected error of every point before training, in sides of the crop."""


@final
class SpreadHead(nn.Module):
    """Predict the logarithm of the error of each point, in sides of the crop, from flat features."""

    def __init__(self, inputs: int, points: int) -> None:
        super().__init__()
        last = nn.Linear(HIDDEN, points)
        nn.init.constant_(last.bias, math.log(START))
        self.layers = nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), last)

    def forward(self, features: Tensor) -> Tensor:
        spread: Tensor = self.layers(features)
        return spread


def spread_of_map(channels: int, side: int, points: int) -> nn.Sequential:
    """``SpreadHead`` for a feature map: a 1x1 convolution to few channels comes first and keeps positions."""
    return nn.Sequential(
        nn.Conv2d(channels, SQUEEZED, 1), nn.ReLU(), nn.Flatten(), SpreadHead(SQUEEZED * side**2, points)
    )


@final
class PoseBranch(nn.Module):
    """Predict yaw, pitch and roll in radians from the feature map at 1/4 of the side.

    Guo et al. (2019), "PFLD", Table 2, as Yu et al. (2023) print it in their Table 2: conv3 stride 2 to 128, conv3
    128, conv3 stride 2 to 32, conv7 to 128, fully connected 32 and 3. The last convolution covers the whole map of an
    input of ``size`` pixels, a multiple of 16.
    """

    def __init__(self, channels: int, *, size: int = 112) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_bn_relu(channels, 128, kernel=3, stride=2),
            conv_bn_relu(128, 128, kernel=3),
            conv_bn_relu(128, 32, kernel=3, stride=2),
            nn.Conv2d(32, 128, size // 16),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(128, 32),
            nn.ReLU(inplace=True),
            nn.Linear(32, 3),
        )

    def forward(self, features: Tensor) -> Tensor:
        angles: Tensor = self.layers(features)
        return angles


def points_of_heatmaps(maps: Tensor) -> Tensor:
    """Peaks of heatmaps ``(n, k, side, side)`` as points ``(n, k, 2)`` in the unit frame, as ``decode_heatmaps``.

    No gradient passes through: such networks learn from their heatmaps.
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
