"""Backbones by name: networks that turn a picture into feature maps."""

from collections.abc import Callable
from typing import Any

from torch import nn

from canthus.lookup import lookup
from canthus.models.mobilenet_v1 import MobileNetV1
from canthus.models.mobilenet_v2 import MobileNetV2
from canthus.models.mobilenet_v3 import mobilenet_v3_large, mobilenet_v3_small
from canthus.models.resnet import ResNet50Backbone

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
