"""Least squares after the cut: new weights for the layers that read what is left of their input.

A layer that reads some channels is linear in them: ``y = W x``, with ``x`` the patch of its input under the kernel, and
a constant one for the bias.  When the channels g go and the channels k stay, the weights ``W_k + W_g G_gk (G_kk)^-1``
have the smallest squared change of ``y`` over a sample whose products of inputs sum to ``G`` (as in He et al., "Channel
Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, equation 2).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn import functional

from canthus.compression.groups import visit_inputs
from canthus.compression.plan import ChannelGroup, Convolution, Member

RIDGE = 1e-3
"""Weight of the change of the weights, relative to the mean square of an input: a layer may have more weights than the
sample has pictures."""


@final
@dataclass(frozen=True)
class Moments:
    """What least squares needs of a layer.

    Attributes:
        weight: the weights as a matrix. Its columns are the inputs, channel by channel; the last is the bias, if any.
        products: sum of the products of inputs over all pictures and places.
        each: number of columns of one channel.
    """

    weight: Float64[Tensor, "o f"]
    products: Float64[Tensor, "f f"]
    each: int

    def columns(self, channels: Sequence[int]) -> Tensor:
        """The columns of some channels."""
        return (torch.tensor(channels, dtype=torch.long)[:, None] * self.each + torch.arange(self.each)).flatten()

    def ridge(self) -> float:
        """What is added to the diagonal of the products."""
        return RIDGE * float(self.products.diagonal().mean()) + 1e-12


def refit(network: nn.Module, group: ChannelGroup, kept: Sequence[int], images: Float[Tensor, "n *shape"]) -> None:
    """Give the readers of a group, in place, the weights that best replace the elements that are about to be cut.

    Args:
        network: not yet cut; it runs in eval mode.
        group: with the present channel numbers.
        kept: elements that stay.
        images: sample over which the squared change is smallest.
    """
    gone = sorted(set(range(group.count)) - set(kept))
    found = moments(network, group, images)
    for member in group.readers:
        now = found[member.layer]
        lost = now.columns([c for element in gone for c in member.channels[element]])
        mask = torch.ones(now.weight.shape[1], dtype=torch.bool)
        mask[lost] = False
        stay = mask.nonzero().flatten()
        own = now.products[stay[:, None], stay] + now.ridge() * torch.eye(len(stay), dtype=torch.float64)
        lent = now.weight[:, lost] @ now.products[lost[:, None], stay]
        weight = now.weight.clone()
        weight[:, stay] += torch.cholesky_solve(lent.T, torch.linalg.cholesky(own)).T
        _put(network.get_submodule(member.layer), weight)


def greedy_scores(
    network: nn.Module, group: ChannelGroup, images: Float[Tensor, "n *shape"]
) -> Float[Tensor, " elements"]:
    """The order in which elements go if the readers are refitted after each: 0 for the first, and so on.

    Each time that element goes without which the refitted readers change least. With ``H`` the inverse of the products
    of what is left, an element costs ``tr(W_e (H_ee)^-1 W_e')``, as in optimal brain surgeon (Hassibi and Stork, 1993)
    with blocks for weights. Arguments and result are those of ``Scorer``.
    """
    found = moments(network, group, images)
    weights = {name: now.weight.clone() for name, now in found.items()}
    inverses = {
        name: torch.linalg.inv(now.products + now.ridge() * torch.eye(len(now.products), dtype=torch.float64))
        for name, now in found.items()
    }
    columns = {m.layer: [found[m.layer].columns(channels) for channels in m.channels] for m in group.readers}
    order = torch.zeros(group.count, dtype=images.dtype)
    left = torch.ones(group.count, dtype=torch.bool)
    for place in range(group.count):
        costs = torch.zeros(group.count, dtype=torch.float64)
        for name, own in columns.items():
            costs += _costs(weights[name], inverses[name], own, left)
        worst = int(costs.masked_fill(~left, torch.inf).argmin())
        for name, own in columns.items():
            weight, inverse, gone = weights[name], inverses[name], own[worst]
            rows = torch.linalg.solve(inverse[gone[:, None], gone], inverse[gone])
            weight -= weight[:, gone] @ rows
            inverse -= inverse[:, gone] @ rows
        order[worst] = place
        left[worst] = False
    return order


def _costs(weight: Tensor, inverse: Tensor, columns: Sequence[Tensor], left: Tensor) -> Tensor:
    """How much worse a layer becomes without each of the elements that are left; 0 for the others."""
    costs = torch.zeros(len(columns), dtype=torch.float64)
    for size in {len(own) for own in columns} - {0}:
        elements = [e for e, own in enumerate(columns) if left[e] and len(own) == size]
        if elements:
            own = torch.stack([columns[e] for e in elements])
            parts = weight[:, own].permute(1, 2, 0)  # (elements, size, o)
            solved = torch.linalg.solve(inverse[own[:, :, None], own[:, None, :]], parts)
            costs[elements] = (solved * parts).sum((1, 2))
    return costs


def moments(network: nn.Module, group: ChannelGroup, images: Float[Tensor, "n *shape"]) -> Mapping[str, Moments]:
    """The moments of each reader of a group over some pictures; the network runs in eval mode."""
    products: dict[str, Tensor] = {}

    def add(member: Member, layer: nn.Module, inputs: Tensor) -> None:
        for picture in inputs.split(1):
            rows = _patches(layer, picture)
            if layer.bias is not None:
                rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
            rows = rows.double()  # a sum over many places, whose inverse is wanted
            products[member.layer] = products.get(member.layer, 0) + (rows.T @ rows).cpu()

    visit_inputs(network, group, images, add)
    layers = {name: network.get_submodule(name) for name in products}
    return {name: Moments(_matrix(layer), products[name], _each(layer)) for name, layer in layers.items()}


def _patches(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Inputs of a layer as ``(places, columns)``: what each output is a product of."""
    if not isinstance(layer, Convolution):
        return inputs.reshape(-1, inputs.shape[-1])
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    maps = functional.pad(inputs, layer._reversed_padding_repeated_twice, mode)  # noqa: SLF001  # no public name
    for axis, (size, stride, step) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), 2):
        maps = maps.unfold(axis, step * (size - 1) + 1, stride)[..., ::step]
    places = len(layer.kernel_size)  # (n, channels, *places, *kernel)
    maps = maps.movedim(1, places + 1)
    return maps.reshape(math.prod(maps.shape[: places + 1]), -1)


def _matrix(layer: nn.Module) -> Tensor:
    weight = layer.get_parameter("weight").detach().flatten(1).double().cpu()
    bias = layer.bias
    return torch.cat([weight, bias.detach().double().cpu()[:, None]], dim=1) if isinstance(bias, Tensor) else weight


def _each(layer: nn.Module) -> int:
    return math.prod(layer.kernel_size) if isinstance(layer, Convolution) else 1


def _put(layer: nn.Module, matrix: Tensor) -> None:
    """Store weights, and the bias if there is one, in a layer."""
    weight = layer.get_parameter("weight")
    columns = weight[0].numel()
    with torch.no_grad():
        weight.copy_(matrix[:, :columns].reshape(weight.shape))
        if isinstance(layer.bias, nn.Parameter):
            layer.bias.copy_(matrix[:, columns])
