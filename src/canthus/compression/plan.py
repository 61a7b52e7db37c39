"""Layers whose channels can be removed, the plan of a pruning as plain data, and applying it."""

import json
import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from canthus.errors import ConfigError, ModelFileError
from canthus.plain_data import from_values

VERSION = 1

IN, OUT = "in", "out"
"""Sides of a layer: the channels it reads, the channels it makes."""

Place = tuple[str, str, int]
"""Name of a layer, side, channel."""

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


def is_mixing(layer: nn.Module) -> bool:
    """Whether every output of a layer reads all inputs: a linear layer, or a convolution that is not in groups."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, Convolution) and layer.groups == 1)


def is_channelwise(layer: nn.Module) -> bool:
    """Whether each output channel has parameters of its own and reads the one input channel of the same number."""
    if isinstance(layer, Convolution):
        return 1 < layer.groups == layer.in_channels == layer.out_channels
    return isinstance(layer, _BatchNorm) or (isinstance(layer, nn.PReLU) and layer.num_parameters > 1)


def width(layer: nn.Module, side: str) -> int:
    """Number of channels on a side.

    Raises:
        TypeError: not a layer that can be cut.
    """
    count: int = getattr(layer, _width_attributes(layer, side)[0])
    return count


def _width_attributes(layer: nn.Module, side: str) -> tuple[str, ...]:
    """The attributes in which a layer of torch stores its number of channels."""
    way = "in" if side == IN else "out"
    if isinstance(layer, nn.Linear):
        return (f"{way}_features",)
    if isinstance(layer, _ConvNd):
        return (f"{way}_channels",) if layer.groups == 1 else ("in_channels", "out_channels", "groups")
    if isinstance(layer, _BatchNorm):
        return ("num_features",)
    if isinstance(layer, nn.PReLU):
        return ("num_parameters",)
    raise TypeError(f"A {type(layer).__name__} has no channels that can be cut")


def keep_channels(layer: nn.Module, side: str, kept: Sequence[int]) -> None:
    """Remove all channels of a side but those ``kept`` (ascending) from a layer, in place.

    A channelwise layer has one width, and ``OUT`` means both sides.

    Raises:
        TypeError: the layer is neither ``is_mixing`` nor ``is_channelwise``.
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
    for attribute in _width_attributes(layer, side):
        setattr(layer, attribute, len(kept))


def _put(layer: nn.Module, name: str, values: Tensor, index: Tensor, axis: int) -> None:
    chosen = values.detach().index_select(axis, index.to(values.device)).clone()
    if isinstance(values, nn.Parameter):
        chosen = nn.Parameter(chosen, requires_grad=values.requires_grad)
    setattr(layer, name, chosen)


@final
@dataclass(frozen=True)
class Member:
    """One side of a layer that loses channels with its group.

    Attributes:
        layer: its name in the network.
        side: ``in`` or ``out``; ``out`` for a layer with one width, such as a batch norm.
        channels: for each element of the group, the channels of this side that belong to it.
    """

    layer: str
    side: str
    channels: tuple[tuple[int, ...], ...]


@final
@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are pruned as one layer.

    An element is the smallest unit that can be removed: a filter, what normalizes or weighs its map, the filters that
    are added to it over shortcuts, and the weights that read it.

    Attributes:
        layer: of the layers that make these channels, the one that runs last.
        members: all sides of layers that lose channels: those that make and those that read them.
    """

    layer: str
    members: tuple[Member, ...]

    @property
    def count(self) -> int:
        """Number of elements."""
        return len(self.members[0].channels)

    @property
    def readers(self) -> tuple[Member, ...]:
        """The convolutions and linear layers that read the channels; their outputs are the next feature maps."""
        return tuple(member for member in self.members if member.side == IN)


@final
@dataclass(frozen=True)
class Cut:
    """Channels that one side of a layer loses, ascending, numbered as in the unpruned network; see ``Member``."""

    layer: str
    side: str
    dropped: tuple[int, ...]


@final
@dataclass(frozen=True)
class PrunedGroup:
    """One step of a pruning: of ``channels`` elements of a ``ChannelGroup`` those ``kept`` stay, ascending."""

    layer: str
    channels: int
    kept: tuple[int, ...]
    cuts: tuple[Cut, ...]


@final
@dataclass(frozen=True)
class PrunePlan:
    """All steps of a pruning in order; together with the weights enough to rebuild the network."""

    groups: tuple[PrunedGroup, ...] = ()

    def to_json(self) -> str:
        """The plan as JSON, which ``from_json`` reads."""
        return json.dumps({"version": VERSION, "groups": [asdict(group) for group in self.groups]})

    @staticmethod
    def from_json(text: str) -> "PrunePlan":
        """Read a plan from JSON.

        Raises:
            ModelFileError: not a plan, or a plan of another version.
        """
        try:
            values = json.loads(text)
            if values["version"] != VERSION:
                raise ModelFileError(f"The pruning plan has version {values['version']}; this canthus reads {VERSION}")
            return from_values(PrunePlan, {"groups": values["groups"]})
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            raise ModelFileError(f"Not a pruning plan: {type(error).__name__} {error}") from error

    def dropped(self, layer: str, side: str) -> tuple[int, ...]:
        """Channels that a side of a layer loses in all steps."""
        cuts = (cut for group in self.groups for cut in group.cuts if (cut.layer, cut.side) == (layer, side))
        return tuple(sorted({channel for cut in cuts for channel in cut.dropped}))


def read_plan(path: str | os.PathLike[str]) -> PrunePlan:
    """Read the file of a plan.

    Raises:
        ModelFileError: no such file, or not a plan.
    """
    if not Path(path).is_file():
        raise ModelFileError(f"{path}: there is no such pruning plan")
    return PrunePlan.from_json(Path(path).read_text())


def apply_plan(network: nn.Module, plan: PrunePlan) -> nn.Module:
    """Remove the channels that a plan names from a whole network, in place; the remaining weights keep their values.

    Returns:
        The same network.

    Raises:
        ModelFileError: the plan is for another network, or the network is pruned already.
    """
    for layer, side in dict.fromkeys((cut.layer, cut.side) for group in plan.groups for cut in group.cuts):
        try:
            part = network.get_submodule(layer)
            dropped, count = set(plan.dropped(layer, side)), width(part, side)
        except (AttributeError, TypeError) as error:
            raise ModelFileError(f"The pruning plan is for another network: {error}") from error
        kept = [c for c in range(count) if c not in dropped]
        if len(kept) != count - len(dropped) or not kept:
            raise ModelFileError(
                f"The pruning plan is for another network, or this one is pruned already: {layer} has {count} "
                f"channels ({side}); the plan removes {len(dropped)}, the last of them number {max(dropped)}"
            )
        keep_channels(part, side, kept)
    return network


def step_of(group: ChannelGroup, kept: Sequence[int]) -> PrunedGroup:
    """The step that keeps some elements of a group and removes the others."""
    gone = sorted(set(range(group.count)) - set(kept))
    cuts = (
        Cut(m.layer, m.side, tuple(sorted({c for element in gone for c in m.channels[element]}))) for m in group.members
    )
    return PrunedGroup(group.layer, group.count, tuple(sorted(kept)), tuple(cut for cut in cuts if cut.dropped))


def renumbered(group: ChannelGroup, plan: PrunePlan) -> ChannelGroup:
    """The group with channel numbers as the network has them after the steps of a plan."""
    members = []
    for member in group.members:
        gone = plan.dropped(member.layer, member.side)
        channels = tuple(tuple(c - bisect_left(gone, c) for c in element) for element in member.channels)
        members.append(replace(member, channels=channels))
    return replace(group, members=tuple(members))
