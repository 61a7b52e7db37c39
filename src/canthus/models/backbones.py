"""Backbones by name, and MobileNet V1."""

from collections.abc import Callable
from typing import Any, final

from torch import Tensor, nn

from canthus.lookup import lookup
from canthus.models.layers import conv_bn_relu, divisible_channels
from canthus.models.mobilenet_v2 import MobileNetV2
from canthus.models.mobilenet_v3 import mobilenet_v3_large, mobilenet_v3_small
from canthus.models.output import Maps
from canthus.models.resnet import ResNet50Backbone

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


BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": MobileNetV2,
    "mobilenet_v3_large": mobilenet_v3_large,
    "mobilenet_v3_small": mobilenet_v3_small,
    "resnet50": ResNet50Backbone,
}
"""Name to backbone: takes a picture with the colours of ``NormalizeColours``, returns ``Maps``, and tells the channels
of both as ``feature_channels`` and ``channels``."""


def create_backbone(name: str, **settings: Any) -> nn.Module:
    """A fresh backbone with random weights: convolutions from He's normal distribution, as published training has it.

    Args:
        name: key of ``BACKBONES``.
        settings: its own keyword arguments, such as ``width``.

    Raises:
        ConfigError: unknown name.
        TypeError: a setting it does not take.
    """
    backbone = lookup(BACKBONES, name, kind="backbone")(**settings)
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return backbone
