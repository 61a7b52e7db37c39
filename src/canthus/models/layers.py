"""Building blocks shared by the networks."""

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

OFFSET = 0.05
"""Length of one output unit of a last layer, in sides of the crop."""

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of the colours of ImageNet."""


def points_from_offsets(offsets: Tensor, points: int) -> Tensor:
    """Output of a last layer, ``(n, 2k)``, as points ``(n, k, 2)`` in the unit frame: offsets from the crop's centre.

    Optimizers of the Adam family step by the learning rate whatever the gradient; over thousands of inputs of a
    last layer such steps would throw the points about by whole faces, hence the small unit.
    """
    return 0.5 + OFFSET * offsets.reshape(-1, points, 2)


@final
class NormalizeInput(nn.Module):
    """Map RGB in [0, 1] to [-1, 1], so that every network takes plain pictures."""

    def forward(self, image: Tensor) -> Tensor:
        return image * 2.0 - 1.0


@final
class NormalizeColours(nn.Module):
    """Take off the mean colour of ImageNet and divide by its deviation, as published weights expect it.

    Leaves nothing in the state dict, whose names are to be those of published weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.deviation


def divisible_channels(channels: float, *, divisor: int = 8) -> int:
    """Channel count rounded to a multiple of ``divisor``, never by more than a tenth downwards.

    The rounding of MobileNetV2 and V3, which published weights follow.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def scaled_channels(channels: int, width: float, *, divisor: int = 4) -> int:
    """Channel count at a width multiplier, rounded to a multiple of ``divisor``, at least one multiple."""
    return max(divisor, int(channels * width / divisor + 0.5) * divisor)


def conv_bn_relu(inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution with same padding, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


@final
class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; a shortcut where shapes allow it.

    Sandler et al. (2018), "MobileNetV2", figure 3 (b) and 4 (d).

    Args:
        inputs: channels in.
        outputs: channels out.
        expansion: factor t of the hidden layer.
        stride: of the depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            conv_bn_relu(inputs, hidden, kernel=1),
            conv_bn_relu(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.shortcut else y


@final
class GhostModule(nn.Module):
    """1x1 convolution for the first half of the channels, a cheap 3x3 depthwise one of these for the second.

    Han et al. (2020), "GhostNet: More Features from Cheap Operations", section 3.1, ratio 2.

    Args:
        inputs: channels in.
        outputs: channels out, an even number.
        active: whether a ReLU follows each half.

    Raises:
        ValueError: ``outputs`` is odd.
    """

    def __init__(self, inputs: int, outputs: int, *, active: bool) -> None:
        super().__init__()
        if outputs % 2:
            raise ValueError(f"A Ghost module makes an even number of channels, not {outputs}")
        half = outputs // 2
        self.primary = conv_bn(inputs, half, active=active)
        self.cheap = conv_bn(half, half, kernel=3, groups=half, active=active)

    def forward(self, x: Tensor) -> Tensor:
        first = self.primary(x)
        return torch.cat([first, self.cheap(first)], dim=1)


def conv_bn(inputs: int, outputs: int, *, kernel: int = 1, groups: int = 1, active: bool = False) -> nn.Sequential:
    """Convolution with same padding, batch norm, and a ReLU where ``active``."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if active else nn.Sequential(*layers)


Pointwise = Callable[[int, int, bool], nn.Module]
"""(channels in, channels out, whether a ReLU follows) -> the layer that mixes channels: plain 1x1, or Ghost."""


def plain_pointwise(inputs: int, outputs: int, active: bool) -> nn.Module:
    """1x1 convolution and batch norm."""
    return conv_bn(inputs, outputs, active=active)


def ghost_pointwise(inputs: int, outputs: int, active: bool) -> nn.Module:
    """A Ghost module in place of the 1x1 convolution."""
    return GhostModule(inputs, outputs, active=active)


@final
class BlazeBlock(nn.Module):
    """One or two depthwise-separable convolutions with 5x5 kernels beside a shortcut, then ReLU.

    Bazarevsky et al. (2019), "BlazeFace", figure 1: the single block has one pair of depthwise and pointwise
    convolution, the double block two, with ``hidden`` channels between them.

    Differs: where channels change, the shortcut has a 1x1 convolution; the original pads with zeros.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: of the first depthwise convolution; above 1 the shortcut has a max pool and a 1x1 convolution.
        hidden: channels between the two pairs of a double block; None makes a single block.
        pointwise: makes the convolutions that mix channels.
    """

    def __init__(
        self, inputs: int, outputs: int, *, pointwise: Pointwise, stride: int = 1, hidden: int | None = None
    ) -> None:
        super().__init__()
        middle = outputs if hidden is None else hidden
        layers = [*_depthwise(inputs, stride), pointwise(inputs, middle, hidden is not None)]
        if hidden is not None:
            layers += [*_depthwise(hidden, 1), pointwise(hidden, outputs, False)]
        self.layers = nn.Sequential(*layers)
        shortcut: list[nn.Module] = [nn.MaxPool2d(stride)] if stride > 1 else []
        if stride > 1 or inputs != outputs:
            shortcut.append(pointwise(inputs, outputs, False))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.layers(x) + self.shortcut(x))


def _depthwise(channels: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, channels, 5, stride, 2, groups=channels, bias=False), nn.BatchNorm2d(channels)]


@final
class AtrousPyramid(nn.Module):
    """ASPP: a 1x1 convolution, dilated 3x3 ones and the mean of the picture side by side, joined by a 1x1 one.

    Chen et al. (2017), "Rethinking Atrous Convolution for Semantic Image Segmentation", figure 5.

    Differs: the branch of the mean has no batch norm, which could not learn from a batch of one face.

    Args:
        channels: in, out and of each branch.
        dilations: of the 3x3 convolutions.
    """

    def __init__(self, channels: int, *, dilations: Sequence[int]) -> None:
        super().__init__()
        self.point = conv_bn(channels, channels, active=True)
        self.dilated = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=d, dilation=d, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            )
            for d in dilations
        )
        self.mean = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(inplace=True))
        self.join = conv_bn(channels * (len(dilations) + 2), channels, active=True)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.mean(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        joined: Tensor = self.join(torch.cat([self.point(x), *(branch(x) for branch in self.dilated), mean], dim=1))
        return joined
