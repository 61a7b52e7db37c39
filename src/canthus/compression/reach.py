"""Which channels of a network belong together: by measurement, or by the dependency graph of Torch-Pruning."""

import copy
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from canthus.compression.plan import IN, OUT, Place, is_channelwise, is_mixing
from canthus.lookup import require
from canthus.models.output import Hook, hooked

Outputs = Callable[[Any], Sequence[Tensor]]
"""From what a network returns to the tensors whose width must not change."""


@final
@dataclass(frozen=True)
class Reach:
    """Where the output channels of one layer arrive before the next layer mixes them.

    Attributes:
        places: each place with the channels of the layer that arrive there.
        obstacle: what the channels reach that cannot be cut; empty if there is nothing.
    """

    places: Mapping[Place, AbstractSet[int]]
    obstacle: str


def all_tensors(output: Any) -> list[Tensor]:
    """Every tensor of real numbers in what a network returns."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, Mapping):
        return all_tensors(list(output.values()))
    return [t for part in output for t in all_tensors(part)] if isinstance(output, list | tuple) else []


def running_order(network: nn.Module, example: Tensor) -> list[str]:
    """Names of the plain convolutions and linear layers in the order in which they run."""
    found: dict[str, None] = {}

    def note(name: str, *_: Any) -> None:
        found.setdefault(name)

    hooks = [
        (layer.register_forward_hook, functools.partial(note, name))
        for name, layer in network.named_modules()
        if is_mixing(layer)
    ]
    with torch.no_grad(), hooked(hooks):
        network(example)
    return list(found)


def channel_axis(layer: nn.Module) -> int:
    """Axis of the channels in the input and the output of a layer."""
    return -1 if isinstance(layer, nn.Linear) else 1


def reach(network: nn.Module, example: Tensor, name: str, outputs: Outputs) -> Reach:
    """Measure where the output channels of a layer arrive.

    NaN marks a channel: it passes through activations, batch norms, pooling, flattening, concatenation and shortcuts.
    Mixing layers replace it in their output. In a batch, picture i marks the channels whose number has a one in binary
    digit i, and a second half of the batch marks those with a zero, so that a single run distinguishes all channels.

    Args:
        network: in eval mode.
        example: an input; its first picture is used.
        name: of a plain convolution or linear layer.
        outputs: see ``Outputs``.
    """
    channels = len(network.get_submodule(name).get_parameter("weight"))
    bits = max(1, (channels - 1).bit_length())
    code = torch.arange(channels)[None] >> torch.arange(bits)[:, None] & 1
    marks = torch.cat([code, 1 - code]).bool()
    found = _send(network, example, name, marks, outputs)
    if any((hits[:bits] & hits[bits:]).any() for hits in found.arrived.values()):
        # Channels of this layer meet, and the code is ambiguous: one picture for each channel.
        marks = torch.eye(channels, dtype=torch.bool)
        found = _send(network, example, name, marks, outputs)
    places: dict[Place, set[int]] = {}
    for (reader, side), hits in found.arrived.items():
        missed = (~hits).T.float() @ marks.float()  # pictures that mark a channel without a hit at a place
        for place, channel in (missed == 0).nonzero().tolist():
            places.setdefault((reader, side, place), set()).add(channel)
    return Reach(places, found.obstacle)


@final
class _Arrivals:
    """What one run saw.

    Attributes:
        arrived: (layer, side) to ``(pictures, channels)``, True where NaN came in.
        obstacle: the last layer reached that cannot be cut.
    """

    def __init__(self) -> None:
        self.arrived: dict[tuple[str, str], Tensor] = {}
        self.obstacle = ""

    def read(self, name: str, side: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        maps = inputs[0].movedim(channel_axis(layer), 1)
        hits = torch.isnan(maps).reshape(*maps.shape[:2], -1).any(2).cpu()
        self.arrived[name, side] = hits | self.arrived.get((name, side), torch.zeros_like(hits))

    def read_whole(self, name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if any(torch.isnan(t).any() for t in all_tensors(inputs)):
            self.obstacle = f"read by {name}, a {type(layer).__name__} that cannot be cut"


def _without_nan(_: nn.Module, __: Any, output: Any) -> Any:
    return torch.nan_to_num(output) if isinstance(output, Tensor) else output


def _mark(marks: Tensor, layer: nn.Module, _: Any, output: Tensor) -> Tensor:
    axis = channel_axis(layer)
    at = marks.to(output.device).view(len(marks), *[1] * (output.ndim - 2), -1)
    return output.movedim(axis, -1).masked_fill(at, torch.nan).movedim(-1, axis)


def _send(network: nn.Module, example: Tensor, name: str, marks: Tensor, outputs: Outputs) -> _Arrivals:
    """Run one picture for each row of ``marks``, with NaN in the marked output channels of a layer."""
    found = _Arrivals()
    hooks: list[Hook] = []
    for key, layer in network.named_modules():
        if is_channelwise(layer):
            hooks.append((layer.register_forward_pre_hook, functools.partial(found.read, key, OUT)))
            continue
        if is_mixing(layer):
            hooks.append((layer.register_forward_pre_hook, functools.partial(found.read, key, IN)))
        elif key and any(True for _ in layer.parameters(recurse=False)):
            hooks.append((layer.register_forward_pre_hook, functools.partial(found.read_whole, key)))
        else:
            continue
        hooks.append((layer.register_forward_hook, functools.partial(_mark, marks) if key == name else _without_nan))
    with torch.no_grad(), hooked(hooks):
        made = outputs(network(example[:1].expand(len(marks), *example.shape[1:])))
    if any(torch.isnan(t).any() for t in made):
        found.obstacle = "makes the outputs"
    return found


def graph_reach(network: nn.Module, example: Tensor, names: Sequence[str], outputs: Outputs) -> dict[str, Reach]:
    """Read from the dependency graph of Torch-Pruning where the output channels of layers arrive.

    Args:
        network: any module; it is not changed.
        example: an input.
        names: of plain convolutions and linear layers.
        outputs: selects the tensors that are traced.

    Returns:
        The reach of each layer that the graph knows. It is empty for networks that the graph cannot trace, and for
        those that flatten maps before a layer: version 1.6.1 numbers their channels wrongly, or does not end.

    Raises:
        MissingExtraError: torch-pruning is not installed.
    """
    library = require("torch_pruning", extra="train")
    twin = copy.deepcopy(network).requires_grad_(True)
    graph = library.DependencyGraph()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph.build_dependency(twin, example, output_transform=outputs, verbose=False)
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError):
            return {}
    own = {layer: name for name, layer in twin.named_modules()}
    if _flattens(graph, own, library.ops.OPTYPE.RESHAPE):
        return {}
    found: dict[str, Reach] = {}
    for name in names:
        layer = twin.get_submodule(name)
        if layer in graph.module2node:
            cut = library.prune_linear_out_channels if isinstance(layer, nn.Linear) else library.prune_conv_out_channels
            count = len(layer.get_parameter("weight"))
            found[name] = _reach(graph.get_pruning_group(layer, cut, list(range(count))), own)
    return found


def _flattens(graph: Any, own: Mapping[nn.Module, str], reshape: Any) -> bool:
    """Whether a layer follows a change of shape."""
    waiting = [node for node in graph.module2node.values() if node.type == reshape]
    seen = set(waiting)
    while waiting:
        for node in waiting.pop().outputs:
            if node.module in own:
                return True
            if node not in seen:
                seen.add(node)
                waiting.append(node)
    return False


def elements_of(network: nn.Module, group: Any) -> tuple[str, list[list[Place]]]:
    """The layer that a ``torch_pruning.Group`` starts from, and the places that belong to each of its channels."""
    own = {layer: name for name, layer in network.named_modules()}
    first = group[0]
    elements: dict[int, list[Place]] = {int(root): [] for root in first.root_idxs}
    for place, roots in _reach(group, own).places.items():
        for root in roots:
            elements[root].append(place)
    return own[first.dep.target.module], list(elements.values())


def _reach(group: Any, own: Mapping[nn.Module, str]) -> Reach:
    places: dict[Place, set[int]] = {}
    obstacle = ""
    for item in group:
        layer = item.dep.target.module
        name = own.get(layer) if isinstance(layer, nn.Module) else None
        if isinstance(layer, nn.Parameter):
            obstacle = "read by a parameter outside of layers, which cannot be cut"
        elif name is not None and (is_mixing(layer) or is_channelwise(layer)):
            reads = group._DG.is_in_channel_pruning_fn(item.dep.handler)  # noqa: SLF001  # no public name
            side = IN if is_mixing(layer) and reads else OUT
            for channel, root in zip(item.idxs, item.root_idxs, strict=True):
                places.setdefault((name, side, int(channel)), set()).add(int(root))
        elif name is not None:
            obstacle = f"read by {name}, a {type(layer).__name__} that cannot be cut"
    return Reach(places, obstacle)
