"""Scores of filters: the change of the next feature map without them, also as an importance of Torch-Pruning."""

import contextlib
import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from canthus.compression.groups import BATCH, group_of, visit_inputs
from canthus.compression.plan import OUT, ChannelGroup, Convolution, Member, is_mixing
from canthus.compression.reach import channel_axis, elements_of
from canthus.compression.refit import greedy_scores
from canthus.lookup import lookup
from canthus.models.output import Hook, evaluating, hooked

LIMIT = 1 << 24
"""Numbers in one block of responses: 64 MB."""

Scorer = Callable[[nn.Module, ChannelGroup, Tensor], Tensor]
"""From (network, group with the present channel numbers, pictures) to a score for each element."""


def closed_form_scores(
    network: nn.Module, group: ChannelGroup, images: Float[Tensor, "n *shape"]
) -> Float[Tensor, " elements"]:
    """Compute the scores in closed form.

    Before its activation the next feature map is linear in its input channels, so the change is the response to the
    channels of the element alone. One grouped convolution gives the responses of all elements. For a 1x1 convolution
    their squares are products of the Gram matrices of weights and inputs.

    Arguments and result are those of ``Scorer``; the network runs in eval mode.
    """
    scores = torch.zeros(group.count, dtype=torch.float64)

    def add(member: Member, layer: nn.Module, inputs: Tensor) -> None:
        for elements, channels in _by_size(member):
            scores[elements] += _responses(layer, inputs, channels.to(inputs.device)).double().cpu()

    visit_inputs(network, group, images, add)
    return (scores / len(images)).to(images.dtype)


def literal_scores(
    network: nn.Module, group: ChannelGroup, images: Float[Tensor, "n *shape"]
) -> Float[Tensor, " elements"]:
    """Compute the scores by their definition: remove an element, run the network, compare the next feature maps.

    A reader passes the unchanged map on once its change is measured, so that a reader behind it sees only the change of
    its own input.

    Arguments and result are those of ``Scorer``; the network runs in eval mode, once for each element and batch.
    """
    scores = torch.zeros(group.count, dtype=torch.float64)
    with evaluating(network):
        for part in images.split(BATCH):
            reference = _reader_outputs(network, group, part)
            for element in range(group.count):
                scores[element] += _change(network, group, element, part, reference)
    return (scores / len(images)).to(images.dtype)


def weight_scores(
    network: nn.Module, group: ChannelGroup, images: Float[Tensor, "n *shape"]
) -> Float[Tensor, " elements"]:
    """Sum of the absolute weights of the filters of each element, the first baseline of pruning (L1).

    Arguments and result are those of ``Scorer``; the pictures are not looked at.
    """
    scores = images.new_zeros(group.count)
    for member in group.members:
        layer = network.get_submodule(member.layer)
        if member.side == OUT and is_mixing(layer):
            sums = layer.get_parameter("weight").detach().flatten(1).abs().sum(1).to(scores)
            scores += torch.stack([sums[list(channels)].sum() for channels in member.channels])
    return scores


def random_scores(
    network: nn.Module, group: ChannelGroup, images: Float[Tensor, "n *shape"]
) -> Float[Tensor, " elements"]:
    """Random numbers, the second baseline of pruning; they depend on the values of the pictures.

    Arguments and result are those of ``Scorer``.
    """
    seed = zlib.crc32(group.layer.encode() + images[0].cpu().numpy().tobytes())
    return torch.rand(group.count, generator=torch.Generator().manual_seed(seed)).to(images.dtype)


SCORERS: dict[str, Scorer] = {
    "closed": closed_form_scores,
    "literal": literal_scores,
    "greedy": greedy_scores,
    "l1": weight_scores,
    "random": random_scores,
}
"""Scorer by name.  ``closed`` and ``literal`` give the same scores, and ``closed`` is faster."""


class _SeenError(Exception):
    """All readers have run; the rest of the network is not needed."""


def _reader_outputs(network: nn.Module, group: ChannelGroup, images: Tensor) -> list[Tensor]:
    found: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        found.append(output.clone())

    with hooked([(network.get_submodule(m.layer).register_forward_hook, keep) for m in group.readers]):
        network(images)
    return found


def _change(
    network: nn.Module, group: ChannelGroup, element: int, images: Tensor, reference: Sequence[Tensor]
) -> float:
    comparison = _Comparison(reference)
    hooks: list[Hook] = []
    for member in group.readers:
        layer = network.get_submodule(member.layer)
        channels = torch.tensor(member.channels[element], dtype=torch.long)
        hooks.append((layer.register_forward_pre_hook, functools.partial(_without, channels)))
        hooks.append((layer.register_forward_hook, comparison))
    with hooked(hooks), contextlib.suppress(_SeenError):
        network(images)
    return comparison.total


def _without(channels: Tensor, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0].index_fill(channel_axis(layer), channels.to(inputs[0].device), 0.0), *inputs[1:])


@final
class _Comparison:
    """Hook that sums the changes of the readers' outputs, in running order, and passes the unchanged outputs on."""

    def __init__(self, reference: Sequence[Tensor]) -> None:
        self.total = 0.0
        self._reference = reference
        self._call = 0

    def __call__(self, _: nn.Module, __: Any, output: Tensor) -> Tensor:
        unchanged = self._reference[self._call]
        self._call += 1
        self.total += float((output - unchanged).double().square().sum())
        if self._call == len(self._reference):
            raise _SeenError
        return unchanged.clone()


def _responses(layer: nn.Module, inputs: Tensor, channels: Tensor) -> Tensor:
    """Squared responses of a layer to sets ``(elements, m)`` of its input channels, summed over pictures and places."""
    weight: Tensor = layer.get_parameter("weight")
    if isinstance(layer, nn.Linear):
        flat = inputs.reshape(-1, inputs.shape[-1])
        parts = _chunks(channels, len(flat) * len(weight))
        return torch.cat([torch.einsum("nkm,okm->kno", flat[:, c], weight[:, c]).square().sum((1, 2)) for c in parts])
    if not isinstance(layer, Convolution):
        raise TypeError(f"Cannot score the input of a {type(layer).__name__}; expected a convolution or linear layer")
    if max(layer.kernel_size) == 1 and not any(layer.padding):
        inputs = inputs[(slice(None), slice(None), *(slice(None, None, stride) for stride in layer.stride))]
        x = inputs.flatten(2)[:, channels]
        w = weight.flatten(1)[:, channels]
        return (torch.einsum("nkmp,nklp->kml", x, x) * torch.einsum("okm,okl->kml", w, w)).sum((1, 2))
    return torch.cat(
        [_grouped(layer, inputs[:, c.flatten()], c) for c in _chunks(channels, inputs[:, 0].numel() * len(weight))]
    )


def _grouped(layer: Convolution, inputs: Tensor, channels: Tensor) -> Tensor:
    """One grouped convolution: one group for each element, each with all filters."""
    elements, size = channels.shape
    weight = layer.weight[:, channels.flatten()].unflatten(1, (elements, size)).transpose(0, 1).flatten(0, 1)
    padding: Any = layer.padding
    if layer.padding_mode != "zeros":
        inputs, padding = functional.pad(inputs, layer._reversed_padding_repeated_twice, layer.padding_mode), 0  # noqa: SLF001
    convolve: Any = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}[inputs.ndim]
    made: Tensor = convolve(inputs, weight, None, layer.stride, padding, layer.dilation, elements)
    return made.reshape(len(made), elements, -1).square().sum((0, 2))


def _chunks(channels: Tensor, cost: int) -> tuple[Tensor, ...]:
    """Parts of the elements whose responses fit into ``LIMIT``."""
    parts: tuple[Tensor, ...] = channels.split(max(1, LIMIT // cost))
    return parts


def _by_size(member: Member) -> Iterator[tuple[Tensor, Tensor]]:
    """Elements with the same number m of channels in a reader, and these channels ``(elements, m)``."""
    for size in sorted({len(c) for c in member.channels} - {0}):
        elements = [i for i, c in enumerate(member.channels) if len(c) == size]
        yield torch.tensor(elements), torch.tensor([member.channels[i] for i in elements])


@final
class ReconstructionImportance:
    """The change of the next feature map without a channel, as an ``importance`` of Torch-Pruning.

    Args:
        network: the network that is pruned.
        images: sample that channels are scored on, ``(n, 3, s, s)``.
        scorer: key of ``SCORERS``.

    Raises:
        ConfigError: unknown scorer.
    """

    def __init__(self, network: nn.Module, images: Tensor, *, scorer: str = "closed") -> None:
        self._network = network
        self._images = images
        self._score = lookup(SCORERS, scorer, kind="scorer")

    @torch.no_grad()
    def __call__(self, group: Any) -> Float[Tensor, " channels"] | None:
        """Scores of the channels of a ``torch_pruning.Group``; None if no layer reads them, so that they are kept."""
        name, elements = elements_of(self._network, group)
        found = group_of(name, elements)
        return self._score(self._network, found, self._images) if found.readers else None
