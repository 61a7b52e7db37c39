"""The interface of a network, what it returns, and running it for a measurement."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class Output(NamedTuple):
    """Result of one forward pass.

    Attributes:
        points: ``(n, k, 2)`` in the unit frame of the crop, ``(x + 0.5) / size``; 0 and 1 are its outer edges.
        features: feature map at 1/4 of the side, read by branches that exist in training only, such as the pose branch
            of PFLD; None if the network has none.
        spread: ``(n, k)``, natural logarithm of the expected error of each point, in sides of the crop; None if the
            network does not predict errors.
        heatmaps: ``(n, s, k, h, h)``, heatmaps of each of s stages; None if the network draws none.
        deep: last feature map of the backbone, which distillation compares; None if it is not available.
    """

    points: Tensor
    features: Tensor | None = None
    spread: Tensor | None = None
    heatmaps: Tensor | None = None
    deep: Tensor | None = None


@runtime_checkable
class Network(Protocol):
    """What training, distillation, pruning and export read of a landmark network, which is also an ``nn.Module``.

    Attributes:
        points: number of landmarks k.
        size: side of the square input in pixels.
        feature_channels: width of ``Output.features``.
    """

    points: int
    size: int
    feature_channels: int

    def forward(self, image: Tensor) -> Output:
        """Landmarks of RGB pictures ``(n, 3, size, size)`` in [0, 1]."""
        ...


class Maps(NamedTuple):
    """Feature maps of one forward pass of a backbone.

    Attributes:
        features: at 1/4 of the side.
        scales: the last maps at 1/8, 1/16 and 1/32 of the side.
    """

    features: Tensor
    scales: tuple[Tensor, ...]

    @property
    def deep(self) -> Tensor:
        """The last map."""
        return self.scales[-1]


Hook = tuple[Callable[..., Any], Callable[..., Any]]
"""A method of a layer that registers a hook, and the hook."""


@contextmanager
def hooked(hooks: Sequence[Hook]) -> Iterator[None]:
    """Register hooks and remove them at the end."""
    handles = [register(hook) for register, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode without gradients; restore the mode of each layer at the end."""
    training = {layer: layer.training for layer in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for layer, mode in training.items():
            layer.training = mode


def example_output(network: nn.Module, size: int) -> Output:
    """Output of a network for one grey picture of the given side, computed in eval mode."""
    device = next(network.parameters()).device
    with evaluating(network):
        output: Output = network(torch.full((1, 3, size, size), 0.5, device=device))
    return output
