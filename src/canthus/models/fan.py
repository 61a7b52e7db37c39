"""FAN: stacked hourglasses with a heatmap for each point."""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from canthus.models.heads import SpreadHead, points_of_heatmaps
from canthus.models.layers import NormalizeInput, conv_bn
from canthus.models.output import Output


@final
class ParallelBlock(nn.Module):
    """Three 3x3 convolutions in a row, each after batch norm and ReLU; their joined outputs are added to a shortcut.

    Bulat and Tzimiropoulos (2017), "Binarized Convolutional Landmark Localizers", figure 4 (b): half, a quarter and a
    quarter of the channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half, quarter = outputs // 2, outputs // 4
        self.first = _before(inputs, half, 3)
        self.second = _before(half, quarter, 3)
        self.third = _before(quarter, quarter, 3)
        self.shortcut = nn.Identity() if inputs == outputs else _before(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x)
        b = self.second(a)
        shortcut: Tensor = self.shortcut(x)
        return torch.cat([a, b, self.third(b)], dim=1) + shortcut


@final
class Hourglass(nn.Module):
    """Halve the side ``depth`` times and double it again; each resolution has a shortcut from the way down.

    Newell et al. (2016), "Stacked Hourglass Networks", figure 3.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.beside = ParallelBlock(channels, channels)
        self.down = ParallelBlock(channels, channels)
        self.inner: nn.Module = Hourglass(channels, depth - 1) if depth > 1 else ParallelBlock(channels, channels)
        self.up = ParallelBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        low = self.up(self.inner(self.down(functional.max_pool2d(x, 2))))
        beside: Tensor = self.beside(x)
        return beside + functional.interpolate(low, size=beside.shape[2:], mode="nearest")


@final
class Stack(nn.Module):
    """One hourglass, its heatmaps, and, unless it is the last, the input of the next one."""

    def __init__(self, channels: int, points: int, *, depth: int, last: bool) -> None:
        super().__init__()
        self.hourglass = Hourglass(channels, depth)
        self.top = nn.Sequential(ParallelBlock(channels, channels), *conv_bn(channels, channels, active=nn.ReLU))
        self.maps = nn.Conv2d(channels, points, 1)
        self.back = None if last else nn.ModuleList([nn.Conv2d(channels, channels, 1), nn.Conv2d(points, channels, 1)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The heatmaps, and the input of the next stack."""
        top = self.top(self.hourglass(x))
        maps = self.maps(top)
        return maps, top if self.back is None else x + self.back[0](top) + self.back[1](maps)


@final
class Fan(nn.Module):
    """Face Alignment Network: Bulat and Tzimiropoulos (2017), "How far are we from solving the ... alignment problem?".

    Four hourglasses on maps of a quarter of the side; each draws heatmaps and learns from them. The points are the
    peaks of the last heatmaps.

    Differs: a parabola gives the peak between cells (``canthus.heatmaps``); the original moves the largest cell by a
    quarter of a cell.

    Args:
        size: side of the square input in pixels, a multiple of 4, at least 4 times 2 to the power of ``depth``.
        stacks: number of hourglasses.
        depth: number of times that an hourglass halves the side.
        channels: of the maps between hourglasses, a multiple of 16.
        spread: whether the network also predicts the error of each point, from the largest value of its heatmap and the
            mean features of the last stack.
    """

    def __init__(
        self,
        *,
        points: int,
        size: int = 256,
        stacks: int = 4,
        depth: int = 4,
        channels: int = 256,
        spread: bool = False,
    ) -> None:
        super().__init__()
        if size % 4 or size < 4 << depth or stacks < 1 or channels % 16:
            raise ValueError(
                f"FAN needs a size that is a multiple of 4 from {4 << depth} on, at least one stack and channels that "
                f"are a multiple of 16; found size {size}, stacks {stacks}, channels {channels}"
            )
        self.points = points
        self.size = size
        self.feature_channels = channels
        self.stem = nn.Sequential(
            NormalizeInput(),
            *conv_bn(3, channels // 4, kernel=7, stride=2, active=nn.ReLU),
            ParallelBlock(channels // 4, channels // 2),
            nn.AvgPool2d(2),
            ParallelBlock(channels // 2, channels // 2),
            ParallelBlock(channels // 2, channels),
        )
        self.stacks = nn.ModuleList(
            Stack(channels, points, depth=depth, last=number == stacks - 1) for number in range(stacks)
        )
        self.spread = SpreadHead(channels + points, points) if spread else None

    def forward(self, image: Tensor) -> Output:
        features = self.stem(image)
        x, maps = features, []
        for stack in self.stacks:
            found, x = stack(x)
            maps.append(found)
        spread = None
        if self.spread is not None:
            spread = self.spread(torch.cat([x.mean(dim=(2, 3)), maps[-1].amax(dim=(2, 3))], dim=1))
        return Output(
            points=points_of_heatmaps(maps[-1]), features=features, spread=spread, heatmaps=torch.stack(maps, dim=1)
        )


def _before(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Batch norm, ReLU, convolution."""
    return nn.Sequential(
        nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False)
    )
