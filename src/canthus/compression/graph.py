"""Where the channels of a layer end up, by the dependency graph of Torch-Pruning (Fang et al., 2023)."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from canthus.compression.layers import IN, OUT, is_channelwise, is_mixing
from canthus.compression.probe import Outputs, Place, Reach
from canthus.lookup import require


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
