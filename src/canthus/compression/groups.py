"""Which channels of which layers must be removed together."""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from canthus.compression.plan import OUT, ChannelGroup, Member, Place, keep_channels, width
from canthus.compression.reach import Outputs, Reach, all_tensors, graph_reach, reach, running_order
from canthus.errors import ConfigError
from canthus.models.output import evaluating, hooked

BATCH = 16
"""Pictures in one run."""
TOLERANCE = 1e-3
"""Largest change of the outputs, relative to their largest value, when channels are cut that no layer weighs."""


@final
@dataclass(frozen=True)
class Layers:
    """The layers of a network, from the last to the first.

    Attributes:
        groups: the layers that can be pruned, with what belongs to them.
        whole: the layers that cannot, each with the reason.
    """

    groups: tuple[ChannelGroup, ...]
    whole: Mapping[str, str]


def find_groups(
    network: nn.Module, example: Tensor, *, outputs: Outputs = all_tensors, keep: Sequence[str] = ()
) -> Layers:
    """Find the groups of a network, last layer first.

    The first layer and the layers that make the outputs stay whole. The dependency graph of Torch-Pruning gives which
    channels belong together. Each group is tried: cutting every other element from a copy must not change the outputs
    more than setting the weights that read them to zero, and so must cutting the first half and a random half.  For
    groups that fail, and for layers that the graph does not know, it is measured by sending NaN through the network.

    Args:
        network: any module of convolutions and linear layers; it is not changed.
        example: an input.
        outputs: see ``Outputs``.
        keep: names of further layers that keep their output channels.

    Raises:
        ConfigError: ``keep`` names an unknown layer, or the network has no convolution or linear layer.
        MissingExtraError: torch-pruning is not installed.
    """
    twin = copy.deepcopy(network).eval()
    order = running_order(twin, example)
    unknown = sorted(set(keep) - set(order))
    if unknown or not order:
        raise ConfigError(f"Cannot keep {unknown}; the convolutions and linear layers that run are {order}")
    kept = {order[0]: "the first layer"} | dict.fromkeys(keep, "kept as asked")
    reached = graph_reach(twin, example, order, outputs)
    doubtful = set(order) - set(reached)
    measured = set[str]()
    while True:
        reached |= {name: reach(twin, example, name, outputs) for name in doubtful}
        measured |= doubtful
        layers, failed = _tried(twin, example, reached, order, kept=kept, outputs=outputs)
        doubtful = failed - measured
        if not doubtful:
            return layers


def _tried(
    network: nn.Module,
    example: Tensor,
    reached: Mapping[str, Reach],
    order: Sequence[str],
    *,
    kept: Mapping[str, str],
    outputs: Outputs,
) -> tuple[Layers, set[str]]:
    """The groups that pass the trial, and the layers that make the channels of those that fail."""
    whole = dict(kept)
    whole |= {name: found.obstacle for name, found in reached.items() if found.obstacle and name not in whole}
    groups: list[ChannelGroup] = []
    failed = set[str]()
    for group in _coupled(network, reached, order):
        reason = _bound(group, whole)
        if not reason and (reason := _trials(network, example, group, outputs)):
            failed |= {member.layer for member in group.members if member.layer in reached}
        if reason:
            whole.setdefault(group.layer, reason)
        else:
            groups.append(group)
    return Layers(tuple(groups), whole), failed


def _coupled(network: nn.Module, reached: Mapping[str, Reach], order: Sequence[str]) -> list[ChannelGroup]:
    """All elements, grouped by the last layer that makes them."""
    elements = _elements(reached)
    groups, taken = [], set[Place]()
    for name in reversed(order):
        own = [(name, OUT, c) for c in range(width(network.get_submodule(name), OUT))]
        new = [elements.get(place, (place,)) for place in own if place not in taken]
        new = list(dict.fromkeys(new))
        taken.update(place for element in new for place in element)
        if new:
            groups.append(group_of(name, new))
    return groups


def _elements(reached: Mapping[str, Reach]) -> dict[Place, tuple[Place, ...]]:
    """Each place with all places that belong to it: all channels that arrive at one place belong together."""
    parents: dict[Place, Place] = {}

    def root(place: Place) -> Place:
        while (parent := parents.setdefault(place, place)) != place:
            parents[place] = parents[parent]
            place = parent
        return place

    for name, found in reached.items():
        for place, channels in found.places.items():
            for channel in channels:
                parents[root(place)] = root((name, OUT, channel))
    together: dict[Place, list[Place]] = {}
    for place in list(parents):
        together.setdefault(root(place), []).append(place)
    return {place: element for element in map(tuple, together.values()) for place in element}


def group_of(name: str, elements: Sequence[Sequence[Place]]) -> ChannelGroup:
    """The group of some elements, named after a layer that makes them."""
    sides = dict.fromkeys([(name, OUT), *sorted({(layer, side) for e in elements for layer, side, _ in e})])
    channels: dict[tuple[str, str], list[list[int]]] = {key: [[] for _ in elements] for key in sides}
    for number, element in enumerate(elements):
        for layer, side, channel in element:
            channels[layer, side][number].append(channel)
    members = (
        Member(layer, side, tuple(tuple(sorted(cs)) for cs in found)) for (layer, side), found in channels.items()
    )
    return ChannelGroup(name, tuple(members))


def visit_inputs(
    network: nn.Module,
    group: ChannelGroup,
    images: Float[Tensor, "n *shape"],
    visit: Callable[[Member, nn.Module, Tensor], None],
) -> None:
    """Run a network in eval mode, and call ``visit`` with the input of each reader of a group, batch by batch."""

    def seen(member: Member, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        visit(member, layer, inputs[0])

    hooks = [
        (network.get_submodule(m.layer).register_forward_pre_hook, functools.partial(seen, m)) for m in group.readers
    ]
    with evaluating(network), hooked(hooks):
        for part in images.split(BATCH):
            network(part)


def _bound(group: ChannelGroup, whole: Mapping[str, str]) -> str:
    makers = sorted({m.layer for m in group.members if m.side == OUT} & set(whole))
    if group.layer in whole:
        return whole[group.layer]
    return f"bound to {makers[0]}, which stays whole: {whole[makers[0]]}" if makers else ""


def _trials(network: nn.Module, example: Tensor, group: ChannelGroup, outputs: Outputs) -> str:
    """Why a group cannot be cut; empty if it can."""
    if group.count < 2:
        return "cannot become smaller: it has one channel, or its channels all depend on each other"
    if not group.readers:
        return "no convolution or linear layer reads it"
    shuffled = np.random.default_rng(0).permutation(group.count)
    # A network that splits or permutes its channels may survive one regular choice.
    choices = (range(0, group.count, 2), range(group.count // 2), sorted(shuffled[: group.count // 2].tolist()))
    return next(filter(None, (trial(network, example, group, gone, outputs) for gone in choices)), "")


def trial(
    network: nn.Module, example: Tensor, group: ChannelGroup, gone: Sequence[int], outputs: Outputs = all_tensors
) -> str:
    """Why some elements of a group cannot be cut; empty if they can.

    Without them the network must compute what it computes where the layers that read them ignore them.  The network is
    in eval mode, and left as it was.
    """
    dropped = {(m.layer, m.side): {c for element in gone for c in m.channels[element]} for m in group.members}
    with torch.no_grad(), _restored([network.get_submodule(m.layer) for m in group.members]):
        try:
            for member in group.readers:
                layer = network.get_submodule(member.layer)
                weight = layer.get_parameter("weight").clone()
                weight[:, sorted(dropped[member.layer, member.side])] = 0
                layer.register_parameter("weight", nn.Parameter(weight))
            expected = outputs(network(example))
            for (name, side), channels in dropped.items():
                layer = network.get_submodule(name)
                keep_channels(layer, side, [c for c in range(width(layer, side)) if c not in channels])
            found = outputs(network(example))
        except (RuntimeError, ValueError, IndexError) as error:
            return f"the network does not run without its channels: {str(error).splitlines()[0]}"
    return _difference(expected, found)


def _difference(expected: Sequence[Tensor], found: Sequence[Tensor]) -> str:
    for before, after in zip(expected, found, strict=True):
        if before.shape != after.shape:
            return f"an output of shape {tuple(before.shape)} becomes {tuple(after.shape)}"
        if not torch.allclose(before, after, rtol=0, atol=TOLERANCE * float(before.abs().max().clamp(min=1e-6))):
            return "the outputs depend on its channels in a way that cutting would change"
    return ""


@contextmanager
def _restored(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Restore the parameters, buffers and attributes of layers at the end; faster than copying the network."""
    tables = ("_parameters", "_buffers")
    saved = {layer: {k: dict(v) if k in tables else v for k, v in vars(layer).items()} for layer in layers}
    try:
        yield
    finally:
        for layer, attributes in saved.items():
            vars(layer).update(attributes)
