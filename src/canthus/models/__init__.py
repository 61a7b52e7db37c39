"""Landmark networks: one file each, looked up by name."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.models.blaze_ghost import BlazeGhost, blaze_landmark
from canthus.models.fan import Fan
from canthus.models.joint import JointNetwork
from canthus.models.mobilenet_l import MobileNetL
from canthus.models.output import Network, Output
from canthus.models.pfld import Pfld
from canthus.models.resnet import ResNet50

MODELS: dict[str, Callable[..., nn.Module]] = {
    "blaze_ghost": BlazeGhost,
    "blaze_landmark": blaze_landmark,
    "fan": Fan,
    "joint": JointNetwork,
    "mobilenet_l": MobileNetL,
    "pfld": Pfld,
    "resnet50": ResNet50,
}
"""Network by name. Each entry takes ``points`` (number of landmarks), ``size`` (side of the square input in pixels),
``spread`` (whether the network also predicts the error of each point) and its own settings as keyword arguments, and
returns an ``nn.Module`` that is a ``Network``."""


def create_model(name: str, *, points: int, size: int, settings: Mapping[str, Any] | None = None) -> nn.Module:
    """Create a network with random weights.

    Args:
        name: key of ``MODELS``.
        points: number of landmarks.
        size: side of the square input in pixels.
        settings: the network's own keyword arguments, such as ``width``.

    Raises:
        ConfigError: unknown name, or settings that the network does not accept.
        TypeError: the entry of ``MODELS`` does not return a ``Network``.
    """
    factory = lookup(MODELS, name, kind="model")
    try:
        network = factory(points=points, size=size, **(settings or {}))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Cannot create model {name!r} with size {size}, {dict(settings or {})}: {error}") from error
    if not isinstance(network, Network):
        lacking = [attribute for attribute in Network.__annotations__ if not hasattr(network, attribute)]
        raise TypeError(f"The model {name!r} lacks {', '.join(lacking)}; see canthus.models.Network")
    return network


__all__ = ["MODELS", "Network", "Output", "Pfld", "ResNet50", "create_model"]
