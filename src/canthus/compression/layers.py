"""Layers whose channels can be taken out: what they hold for a channel, and cutting it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

IN, OUT = "in", "out"
"""Sides of a layer: the channels it reads, the channels it makes."""

Mixing = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
"""Layers every output of which reads all inputs."""


def is_mixing(layer: nn.Module) -> bool:
    """Whether it is a plain convolution or a linear layer, not a depthwise or grouped convolution."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return layer.groups == 1
    return isinstance(layer, nn.Linear)


def is_channelwise(layer: nn.Module) -> bool:
    """Whether each output channel depends on the one input channel of its number, by parameters of its own."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return 1 < layer.groups == layer.in_channels == layer.out_channels
    return isinstance(layer, _BatchNorm) or (isinstance(layer, nn.PReLU) and layer.num_parameters > 1)


def width(layer: nn.Module, side: str) -> int:
    """Number of channels on a side.

    Raises:
        TypeError: not a layer that can be cut.
    """
    if isinstance(layer, nn.Linear):
        return layer.in_features if side == IN else layer.out_features
    if isinstance(layer, _ConvNd):
        return layer.in_channels if side == IN else layer.out_channels
    if isinstance(layer, _BatchNorm):
        return layer.num_features
    if isinstance(layer, nn.PReLU):
        return layer.num_parameters
    raise TypeError(f"A {type(layer).__name__} has no channels that can be cut")


def keep_channels(layer: nn.Module, side: str, kept: Sequence[int]) -> None:
    """Leave some channels of a layer, in place.

    Args:
        layer: ``is_mixing`` or ``is_channelwise``.
        side: ``IN`` or ``OUT``; a channelwise layer has one width and ``OUT`` means both.
        kept: their numbers, ascending.

    Raises:
        TypeError: another kind of layer.
    """
    index = torch.tensor(kept, dtype=torch.long)
    if is_channelwise(layer):
        for name, values in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
            if values.ndim > 0:
                _put(layer, name, values, index, 0)
    elif is_mixing(layer):
        _put(layer, "weight", layer.get_parameter("weight"), index, 1 if side == IN else 0)
        bias = layer.bias
        if side == OUT and isinstance(bias, Tensor):
            _put(layer, "bias", bias, index, 0)
    else:
        raise TypeError(f"A {type(layer).__name__} has no channels that can be cut")
    _tell_width(layer, side, len(kept))


def _put(layer: nn.Module, name: str, values: Tensor, index: Tensor, axis: int) -> None:
    chosen = values.detach().index_select(axis, index.to(values.device)).clone()
    if isinstance(values, nn.Parameter):
        setattr(layer, name, nn.Parameter(chosen, requires_grad=values.requires_grad))
    else:
        setattr(layer, name, chosen)


def _tell_width(layer: nn.Module, side: str, count: int) -> None:
    """The numbers that torch's layers keep beside their weights."""
    if isinstance(layer, _BatchNorm):
        layer.num_features = count
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = count
    elif isinstance(layer, nn.Linear):
        setattr(layer, "in_features" if side == IN else "out_features", count)
    elif isinstance(layer, _ConvNd) and is_grouped(layer):
        layer.in_channels = layer.out_channels = layer.groups = count
    else:
        setattr(layer, "in_channels" if side == IN else "out_channels", count)


def is_grouped(layer: _ConvNd) -> bool:
    """Whether a convolution is depthwise or in groups."""
    return layer.groups > 1
