"""MobileNet V2 as a backbone; parameters are named as in torchvision."""

from typing import final

from torch import Tensor, nn

from canthus.models.layers import divisible_channels
from canthus.models.output import Maps

ROWS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels out, repetitions, stride of the first block."""

STEM, TOP = 32, 1280
"""Channels of the first layer, and of the 1x1 layer after the blocks."""

QUARTER = 4
"""Layers up to the last one at 1/4 of the side."""


@final
class InvertedResidualV2(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; a shortcut where shapes allow it.

    Sandler et al. (2018), "MobileNetV2", figure 4 (d).  Computes what ``layers.InvertedResidual`` does; published
    weights want other names, and no expansion at factor 1.

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
        layers: list[nn.Module] = [_conv_bn_relu6(inputs, hidden, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *layers,
            _conv_bn_relu6(hidden, hidden, 3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


@final
class MobileNetV2(nn.Module):
    """Sandler et al. (2018), "MobileNetV2", Table 2, up to the last map.

    Args:
        width: factor of all channels.
        top: whether the blocks are followed by the 1x1 layer of 1,280 channels, which holds two fifths of the weights
            of a network of 68 points.
    """

    def __init__(self, *, width: float = 1.0, top: bool = True) -> None:
        super().__init__()
        inputs = divisible_channels(STEM * width)
        layers: list[nn.Module] = [_conv_bn_relu6(3, inputs, 3, stride=2)]
        for expansion, channels, count, first in ROWS:
            outputs = divisible_channels(channels * width)
            for number in range(count):
                stride = 1 if number else first
                layers.append(InvertedResidualV2(inputs, outputs, expansion=expansion, stride=stride))
                inputs = outputs
        if top:
            outputs = divisible_channels(TOP * max(1.0, width))
            layers.append(_conv_bn_relu6(inputs, outputs, 1))
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.feature_channels = divisible_channels(ROWS[1][1] * width)
        self.channels = inputs

    def forward(self, image: Tensor) -> Maps:
        features = self.features[:QUARTER](image)
        return Maps(features, self.features[QUARTER:](features))


def _conv_bn_relu6(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )
