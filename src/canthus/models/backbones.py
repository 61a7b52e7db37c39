"""Backbones by name, and MobileNet V1."""

from collections.abc import Callable
from typing import Any

from torch import nn

from canthus.lookup import lookup
from canthus.models.layers import Backbone, conv_bn_relu, divisible_channels
from canthus.models.mobilenet_v2 import mobilenet_v2
from canthus.models.mobilenet_v3 import mobilenet_v3_large, mobilenet_v3_small
from canthus.models.resnet import ResNet18Backbone, ResNet50Backbone, SlimResNet

ROWS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
"""Channels out and stride of each depthwise-separable convolution; the last has stride 1, as in the original code."""


def mobilenet_v1(*, width: float = 1.0) -> Backbone:
    """Howard et al. (2017), "MobileNets", Table 1, up to the last map.

    Differs: channels are rounded to multiples of 8.

    Args:
        width: factor of all channels.
    """
    inputs = divisible_channels(32 * width)
    layers: list[nn.Module] = [conv_bn_relu(3, inputs, kernel=3, stride=2)]
    for channels, stride in ROWS:
        outputs = divisible_channels(channels * width)
        depthwise = conv_bn_relu(inputs, inputs, kernel=3, stride=stride, groups=inputs)
        layers.append(nn.Sequential(depthwise, conv_bn_relu(inputs, outputs)))
        inputs = outputs
    return Backbone(layers, quarter=4, feature_channels=divisible_channels(128 * width), channels=inputs)


BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_large": mobilenet_v3_large,
    "mobilenet_v3_small": mobilenet_v3_small,
    "resnet18": ResNet18Backbone,
    "resnet50": ResNet50Backbone,
    "resnet_slim": SlimResNet,
}
"""Backbone by name. A backbone takes a picture normalized by ``NormalizeColours`` and returns ``Maps``; its attributes
``feature_channels`` and ``channels`` are the widths of the two maps."""


def create_backbone(name: str, **settings: Any) -> nn.Module:
    """Create a backbone of ``BACKBONES`` with random weights.

    Convolutions follow He's normal distribution, as in published training.

    Raises:
        ConfigError: unknown name.
        TypeError: a setting that the backbone does not accept.
    """
    backbone = lookup(BACKBONES, name, kind="backbone")(**settings)
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return backbone
