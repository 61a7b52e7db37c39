"""Which channels of a network belong together: by measurement, or by the graph of Torch-Pruning."""

import copy
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from canthus.compression.layers import IN, OUT, is_channelwise, is_mixing
from canthus.lookup import require

Outputs = Callable[[Any], Sequence[Tensor]]
"""Of what a network returns, the tensors whose width must stay."""

Place = tuple[str, str, int]
"""Layer, side, channel."""


@final
@dataclass(frozen=True)
class Reach:
    """What the channels of one layer arrive at before the next layer mixes them.

    Attributes:
        places: each place with the channels of the layer that arrive there.
        obstacle: what they reach that cannot be cut; empty where there is no such thing.
    """

    places: Mapping[Place, frozenset[int]]
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

    hooks = [
        (layer.register_forward_hook, functools.partial(_note, found, name))
        for name, layer in network.named_modules()
        if is_mixing(layer)
    ]
    with torch.no_grad(), _hooked(hooks):
        network(example)
    return list(found)


def _note(found: dict[str, None], name: str, *_: Any) -> None:
    found.setdefault(name)


@contextmanager
def _hooked(hooks: Sequence[tuple[Callable[..., Any], Callable[..., Any]]]) -> Iterator[None]:
    handles = [register(hook) for register, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def reach(network: nn.Module, example: Tensor, name: str, outputs: Outputs) -> Reach:
    """Where the output channels of a layer arrive.

    Whatever is computed from NaN is NaN, so it marks a channel through activations, batch norms, pooling, flattening,
    joining and shortcuts; mixing layers are made to swallow it.  Every picture of a batch marks the channels that have
    a one (or a zero) at one place of their number in binary, so that a single run tells all channels apart.

    Args:
        network: in eval mode.
        example: an input; its first picture is used.
        name: of a plain convolution or linear layer.
        outputs: which of the tensors that the network returns must keep their width.
    """
    layer = network.get_submodule(name)
    channels = int(layer.weight.shape[0])  # type: ignore[index]  # of a mixing layer
    bits = max(1, (channels - 1).bit_length())
    code = torch.arange(channels)[None] >> torch.arange(bits)[:, None] & 1
    found = _send(network, example, name, torch.cat([code, 1 - code]).bool(), outputs)
    places: dict[Place, frozenset[int]] = {}
    for (reader, side), hits in found.arrived.items():
        ones, zeros = hits[:bits], hits[bits:]
        if (ones & zeros).any():  # channels of this layer meet: only one picture a channel tells which
            found = _send(network, example, name, torch.eye(channels, dtype=torch.bool), outputs)
            return Reach(_one_by_one(found.arrived), found.obstacle)
        numbers = (ones.long() << torch.arange(bits)[:, None]).sum(0)
        for place in hits.any(0).nonzero().flatten().tolist():
            places[reader, side, place] = frozenset([int(numbers[place])])
    return Reach(places, found.obstacle)


def _one_by_one(arrived: Mapping[tuple[str, str], Tensor]) -> dict[Place, frozenset[int]]:
    return {
        (reader, side, place): frozenset(hits[:, place].nonzero().flatten().tolist())
        for (reader, side), hits in arrived.items()
        for place in hits.any(0).nonzero().flatten().tolist()
    }


class _Arrivals:
    """What one run saw.

    Attributes:
        arrived: (layer, side) to ``(pictures, channels)``, True where NaN came in.
        obstacle: the last thing reached that cannot be cut.
    """

    def __init__(self) -> None:
        self.arrived: dict[tuple[str, str], Tensor] = {}
        self.obstacle = ""

    def read(self, reader: tuple[str, str, int], _: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Note which channels of which pictures come in as NaN."""
        name, side, axis = reader
        seen = torch.isnan(inputs[0].movedim(axis, 1).flatten(2) if inputs[0].ndim > 2 else inputs[0][:, :, None])
        hits = seen.any(2)
        hits = hits.cpu()
        self.arrived[name, side] = hits | self.arrived.get((name, side), torch.zeros_like(hits))

    def read_by_stranger(self, name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Note that a layer that cannot be cut reads NaN."""
        if any(torch.isnan(t).any() for t in all_tensors(inputs)):
            self.obstacle = f"read by {name}, a {type(layer).__name__} that cannot be cut"


def _swallow(_: nn.Module, __: Any, output: Any) -> Any:
    return torch.nan_to_num(output) if isinstance(output, Tensor) else output


def _mark(marks: Tensor, layer: nn.Module, _: Any, output: Tensor) -> Tensor:
    axis = channel_axis(layer)
    at = marks.to(output.device).view(len(marks), *[1] * (output.ndim - 2), -1)
    return output.movedim(axis, -1).masked_fill(at, torch.nan).movedim(-1, axis)


def channel_axis(layer: nn.Module) -> int:
    """Axis of the channels in what a layer reads and makes."""
    return -1 if isinstance(layer, nn.Linear) else 1


def _send(network: nn.Module, example: Tensor, name: str, marks: Tensor, outputs: Outputs) -> _Arrivals:
    """Run a picture a row of ``marks``, with NaN in the marked output channels of a layer."""
    found = _Arrivals()
    mark = functools.partial(_mark, marks)
    hooks: list[tuple[Callable[..., Any], Callable[..., Any]]] = []
    for key, layer in network.named_modules():
        if is_mixing(layer) or is_channelwise(layer):
            side = IN if is_mixing(layer) else OUT
            hooks.append(
                (layer.register_forward_pre_hook, functools.partial(found.read, (key, side, channel_axis(layer))))
            )
            if is_mixing(layer):
                hooks.append((layer.register_forward_hook, mark if key == name else _swallow))
        elif any(True for _ in layer.parameters(recurse=False)) and key:
            hooks.append((layer.register_forward_pre_hook, functools.partial(found.read_by_stranger, key)))
            hooks.append((layer.register_forward_hook, _swallow))
    with torch.no_grad(), _hooked(hooks):
        made = outputs(network(example[:1].expand(len(marks), *example.shape[1:])))
    if any(torch.isnan(t).any() for t in made):
        found.obstacle = "makes the outputs"
    return found


def graph_reach(network: nn.Module, example: Tensor, names: Sequence[str], outputs: Outputs) -> dict[str, Reach]:
    """What belongs to the channels of some layers, all from one trace of the network.

    Args:
        network: any module; it is left as it is.
        example: an input.
        names: of plain convolutions and linear layers.
        outputs: which of the tensors that the network returns are traced.

    Returns:
        For each layer that the graph knows, where its channels arrive; layers that it does not know are missing.  None
        is known of a network that flattens maps before a layer: the graph misnumbers those, or does not end (1.6.1).

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
    found: dict[str, Reach] = {}
    if _flattens(graph, own, library.ops.OPTYPE.RESHAPE):
        return found
    for name in names:
        layer = twin.get_submodule(name)
        if layer in graph.module2node:
            cut = library.prune_linear_out_channels if isinstance(layer, nn.Linear) else library.prune_conv_out_channels
            count = len(layer.get_parameter("weight"))
            found[name] = _reach(graph.get_pruning_group(layer, cut, list(range(count))), own)
    return found


def _flattens(graph: Any, own: Mapping[nn.Module, str], reshape: Any) -> bool:
    """Whether a layer comes after a change of shape."""
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
    """The layer that a ``torch_pruning.Group`` starts from, and what goes with each of its channels."""
    own = {layer: name for name, layer in network.named_modules()}
    first = group[0]
    elements: dict[int, list[Place]] = {int(root): [] for root in first.root_idxs}
    for place, roots in _reach(group, own).places.items():
        for root in roots:
            elements[root].append(place)
    return own[first.dep.target.module], list(elements.values())


def _reach(group: Any, own: Mapping[nn.Module, str]) -> Reach:
    places: dict[Place, frozenset[int]] = {}
    obstacle = ""
    for item in group:
        layer = item.dep.target.module
        name = own.get(layer) if isinstance(layer, nn.Module) else None
        if isinstance(layer, nn.Parameter):
            obstacle = "read by a parameter outside of layers, which cannot be cut"
        elif name is not None and (is_mixing(layer) or is_channelwise(layer)):
            reads = group._DG.is_in_channel_pruning_fn(item.dep.handler)  # noqa: SLF001  # it tells this nowhere else
            side = IN if is_mixing(layer) and reads else OUT
            for channel, root in zip(item.idxs, item.root_idxs, strict=True):
                place = (name, side, int(channel))
                places[place] = places.get(place, frozenset()) | {int(root)}
        elif name is not None:
            obstacle = f"read by {name}, a {type(layer).__name__} that cannot be cut"
    return Reach(places, obstacle)
