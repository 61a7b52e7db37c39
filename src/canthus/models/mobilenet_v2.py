"""MobileNet V2 as a backbone; parameters are named as in torchvision."""

from functools import partial

from torch import nn

from canthus.models.layers import Backbone, conv_bn, divisible_channels, inverted_residual

ROWS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels out, repetitions, stride of the first block."""

STEM, TOP = 32, 1280
"""Channels of the first layer, and of the 1x1 layer after the blocks."""

RELU6 = partial(nn.ReLU6, inplace=True)


def mobilenet_v2(*, width: float = 1.0, top: bool = True) -> Backbone:
    """Sandler et al. (2018), "MobileNetV2", Table 2, up to the last map.

    Args:
        width: factor of all channels.
        top: whether the 1x1 layer of 1,280 channels follows the blocks. It has two fifths of the weights of a network
            of 68 points.
    """
    inputs = divisible_channels(STEM * width)
    layers: list[nn.Module] = [conv_bn(3, inputs, kernel=3, stride=2, active=RELU6)]
    for expansion, channels, count, first in ROWS:
        outputs = divisible_channels(channels * width)
        for number in range(count):
            stride = 1 if number else first
            layers.append(
                inverted_residual(inputs, outputs, expansion=expansion, stride=stride, active=RELU6, name="conv")
            )
            inputs = outputs
    if top:
        outputs = divisible_channels(TOP * max(1.0, width))
        layers.append(conv_bn(inputs, outputs, active=RELU6))
        inputs = outputs
    return Backbone(layers, quarter=4, feature_channels=divisible_channels(ROWS[1][1] * width), channels=inputs)
