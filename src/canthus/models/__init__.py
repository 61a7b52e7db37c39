"""Landmark networks: one file each, looked up by name."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.models.blaze_ghost import BlazeGhost
from canthus.models.blaze_landmark import blaze_landmark
from canthus.models.fan import Fan
from canthus.models.joint import JointNetwork
from canthus.models.mobilenet_l import MobileNetL
from canthus.models.output import Output
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
"""Name to network; every one takes ``points`` and ``size``, further keyword arguments are its own settings."""


def create_model(name: str, *, points: int, size: int, settings: Mapping[str, Any] | None = None) -> nn.Module:
    """A fresh network with random weights.

    Args:
        name: key of ``MODELS``.
        points: number of landmarks.
        size: side of the square input in pixels.
        settings: the network's own keyword arguments, such as ``width``.

    Raises:
        ConfigError: unknown name, or a setting the network does not take or refuses.
    """
    factory = lookup(MODELS, name, kind="model")
    try:
        return factory(points=points, size=size, **(settings or {}))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Model {name!r} cannot be made with {dict(settings or {})}, size {size}: {error}") from error


__all__ = ["MODELS", "Output", "Pfld", "ResNet50", "create_model"]
