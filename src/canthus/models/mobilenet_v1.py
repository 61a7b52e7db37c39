"""MobileNet V1 as a backbone."""

from typing import final

from torch import Tensor, nn

from canthus.models.layers import conv_bn_relu, divisible_channels
from canthus.models.maps import Maps

ROWS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
"""Channels out and stride of each depthwise-separable convolution; the last has stride 1, as in the original code."""

QUARTER = 4
"""Layers up to the last one at 1/4 of the side."""


@final
class MobileNetV1(nn.Module):
    """Howard et al. (2017), "MobileNets", Table 1, up to the last map.

    Differs: channels are rounded to multiples of 8.

    Args:
        width: factor of all channels.
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        inputs = divisible_channels(32 * width)
        layers: list[nn.Module] = [conv_bn_relu(3, inputs, kernel=3, stride=2)]
        for channels, stride in ROWS:
            outputs = divisible_channels(channels * width)
            layers.append(
                nn.Sequential(
                    conv_bn_relu(inputs, inputs, kernel=3, stride=stride, groups=inputs),
                    conv_bn_relu(inputs, outputs, kernel=1),
                )
            )
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.feature_channels = divisible_channels(128 * width)
        self.channels = inputs

    def forward(self, image: Tensor) -> Maps:
        features = self.features[:QUARTER](image)
        return Maps(features, self.features[QUARTER:](features))
