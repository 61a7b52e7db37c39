"""How far off each point may be: a small head beside the one of the points."""

import math
from typing import final

from torch import Tensor, nn

HIDDEN = 16
"""Width between the two layers: what hides points (hands, hair, a turned head) hides many at a time."""

START = 0.05
"""Error that a fresh head expects of every point, sides of the crop."""


@final
class SpreadHead(nn.Module):
    """Logarithm of the expected error of each point, in sides of the crop, from flat features.

    Two layers with few units between them, so that it adds little to what the points cost.

    Args:
        inputs: width of the features.
        points: number of landmarks k.
    """

    def __init__(self, inputs: int, points: int) -> None:
        super().__init__()
        last = nn.Linear(HIDDEN, points)
        nn.init.constant_(last.bias, math.log(START))
        self.layers = nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), last)

    def forward(self, features: Tensor) -> Tensor:
        spread: Tensor = self.layers(features)
        return spread


def spread_of_map(channels: int, side: int, points: int, *, squeezed: int = 8) -> nn.Sequential:
    """The head for a map of features: a 1x1 convolution to few channels, so that places are kept, then ``SpreadHead``.

    Args:
        channels: of the map.
        side: of the map.
        points: number of landmarks.
        squeezed: channels that are left.
    """
    return nn.Sequential(
        nn.Conv2d(channels, squeezed, 1), nn.ReLU(), nn.Flatten(), SpreadHead(squeezed * side**2, points)
    )
