"""Which filters matter: reconstruction error of the next layer, as a function and as an importance of Torch-Pruning."""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from canthus.compression.groups import ChannelGroup, Member, group_of
from canthus.compression.reach import elements_of
from canthus.lookup import lookup

BATCH = 16
"""Pictures that run at a time."""

LIMIT = 1 << 24
"""Numbers in one block of responses: 64 MB."""

Scorer = Callable[[nn.Module, ChannelGroup, Tensor], Tensor]
"""(network, group with the network's present channel numbers, pictures) to a score an element."""


def closed_form_scores(
    network: nn.Module, group: ChannelGroup, images: Float[Tensor, "n *shape"]
) -> Float[Tensor, " elements"]:
    """Scores in closed form.

    Before its activation the next feature map is linear in its input channels, so the change is the response to the
    element's channels alone; one grouped convolution gives the responses of all elements.  For a 1x1 convolution their
    squares need not even be spelt out: they are products of the Gram matrices of weights and inputs.

    Args:
        network: is run in eval mode.
        group: channels as the network has them now.
        images: the sample.
    """
    scores = torch.zeros(group.count, dtype=torch.float64)
    add = functools.partial(_add, scores)
    with _evaluating(network), _pre_hooks(network, group.readers, add):
        for part in images.split(BATCH):
            network(part)
    return (scores / len(images)).to(images.dtype)


def _add(scores: Tensor, member: Member, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    for elements, channels in _by_size(member):
        scores[elements] += _responses(layer, inputs[0], channels.to(inputs[0].device)).double().cpu()


def literal_scores(
    network: nn.Module, group: ChannelGroup, images: Float[Tensor, "n *shape"]
) -> Float[Tensor, " elements"]:
    """Scores as they are defined: take an element out, run the network, compare the next feature maps.

    A reader whose change is measured hands the unchanged map on, so that a reader behind another one meets its own
    change alone.

    Args:
        network: is run in eval mode, once an element and batch.
        group: channels as the network has them now.
        images: the sample.
    """
    scores = torch.zeros(group.count, dtype=torch.float64)
    with _evaluating(network):
        for part in images.split(BATCH):
            reference = _reader_outputs(network, group, part)
            for element in range(group.count):
                scores[element] += _change(network, group, element, part, reference)
    return (scores / len(images)).to(images.dtype)


SCORERS: dict[str, Scorer] = {"closed": closed_form_scores, "literal": literal_scores}
"""Name to scorer; they agree, the first is faster."""


class _SeenError(Exception):
    """All readers have run; what follows is not needed."""


def _reader_outputs(network: nn.Module, group: ChannelGroup, images: Tensor) -> list[Tensor]:
    found: list[Tensor] = []
    handles = [
        network.get_submodule(m.layer).register_forward_hook(lambda _, __, output: found.append(output.clone()))
        for m in group.readers
    ]
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _change(
    network: nn.Module, group: ChannelGroup, element: int, images: Tensor, reference: Sequence[Tensor]
) -> float:
    comparison = _Comparison(reference)
    handles = []
    for member in group.readers:
        layer = network.get_submodule(member.layer)
        channels = torch.tensor(member.channels[element], dtype=torch.long)
        axis = -1 if isinstance(layer, nn.Linear) else 1
        handles.append(layer.register_forward_pre_hook(functools.partial(_take_out, channels, axis)))
        handles.append(layer.register_forward_hook(comparison))
    try:
        network(images)
    except _SeenError:
        return comparison.total
    finally:
        for handle in handles:
            handle.remove()
    return comparison.total


def _take_out(channels: Tensor, axis: int, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0].index_fill(axis, channels.to(inputs[0].device), 0.0), *inputs[1:])


@final
class _Comparison:
    """Adds up the changes of the readers' outputs, in the order in which they run, and hands on the unchanged ones."""

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
    """Squared responses of a layer to sets of its input channels, summed over pictures and places.

    Args:
        layer: a plain convolution or a linear layer.
        inputs: what it reads.
        channels: ``(elements, m)``.
    """
    weight: Tensor = layer.get_parameter("weight")
    if isinstance(layer, nn.Linear):
        chosen = inputs.reshape(-1, inputs.shape[-1])[:, channels]
        return torch.cat(
            [
                torch.einsum("nkm,okm->kno", x, weight[:, c]).square().sum((1, 2))
                for x, c in _blocks(chosen, channels, len(weight), axis=1)
            ]
        )
    if not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        raise TypeError(f"Cannot score what a {type(layer).__name__} reads")
    if max(layer.kernel_size) == 1 and not any(layer.padding):
        for axis, stride in enumerate(layer.stride):
            inputs = inputs.index_select(
                axis + 2, torch.arange(0, inputs.shape[axis + 2], stride, device=inputs.device)
            )
        x = inputs.flatten(2)[:, channels]
        w = weight.flatten(1)[:, channels]
        return (torch.einsum("nkmp,nklp->kml", x, x) * torch.einsum("okm,okl->kml", w, w)).sum((1, 2))
    return torch.cat(
        [_grouped(layer, inputs[:, c.flatten()], c) for c in _chunks(channels, inputs[:, 0].numel() * len(weight))]
    )


def _grouped(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, inputs: Tensor, channels: Tensor) -> Tensor:
    """One grouped convolution: a group an element, each with all filters."""
    elements, size = channels.shape
    weight = layer.weight[:, channels.flatten()].unflatten(1, (elements, size)).transpose(0, 1).flatten(0, 1)
    padding: Any = layer.padding
    if layer.padding_mode != "zeros":
        inputs, padding = functional.pad(inputs, layer._reversed_padding_repeated_twice, layer.padding_mode), 0  # noqa: SLF001
    convolve: Any = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}[inputs.ndim]
    made: Tensor = convolve(inputs, weight, None, layer.stride, padding, layer.dilation, elements)
    return made.reshape(len(made), elements, -1).square().sum((0, 2))


def _chunks(channels: Tensor, cost: int) -> tuple[Tensor, ...]:
    """Parts of the elements whose responses fit the limit."""
    parts: tuple[Tensor, ...] = channels.split(max(1, LIMIT // cost))
    return parts


def _blocks(chosen: Tensor, channels: Tensor, outputs: int, *, axis: int) -> Iterator[tuple[Tensor, Tensor]]:
    parts = _chunks(channels, chosen.shape[0] * outputs)
    yield from zip(chosen.split(len(parts[0]), axis), parts, strict=True)


def _by_size(member: Member) -> Iterator[tuple[Tensor, Tensor]]:
    """Elements with equally many channels in a reader, and these channels ``(elements, m)``."""
    for size in sorted({len(c) for c in member.channels} - {0}):
        elements = [i for i, c in enumerate(member.channels) if len(c) == size]
        yield torch.tensor(elements), torch.tensor([member.channels[i] for i in elements])


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    training = {layer: layer.training for layer in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for layer, mode in training.items():
            layer.training = mode


@contextmanager
def _pre_hooks(network: nn.Module, members: Sequence[Member], call: Callable[..., None]) -> Iterator[None]:
    handles = [
        network.get_submodule(member.layer).register_forward_pre_hook(functools.partial(call, member))
        for member in members
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@final
class ReconstructionImportance:
    """How much the next feature map changes without a channel, as an ``importance`` of Torch-Pruning.

    Args:
        network: the one that is pruned.
        images: the sample that channels are scored on, ``(n, 3, s, s)``.
        scorer: key of ``SCORERS``.

    Raises:
        ConfigError: no such scorer.
    """

    def __init__(self, network: nn.Module, images: Tensor, *, scorer: str = "closed") -> None:
        self._network = network
        self._images = images
        self._score = lookup(SCORERS, scorer, kind="scorer")

    @torch.no_grad()
    def __call__(self, group: Any) -> Float[Tensor, " channels"] | None:
        """Scores of the channels of a ``torch_pruning.Group``; None where no layer reads them, which spares them."""
        name, elements = elements_of(self._network, group)
        found = group_of(name, elements)
        return self._score(self._network, found, self._images) if found.readers else None
