"""What networks return."""

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """Result of one forward pass.

    ``points`` is ``(n, k, 2)`` in the unit frame of the crop: ``(x + 0.5) / size``, so that 0 and 1 are the
    crop's outer edges.  ``features`` is the map that a training-only branch reads (the pose branch of PFLD,
    say), or ``None`` where the network offers none.  ``spread`` is ``(n, k)``, the logarithm of the error that the
    network expects of each point, in sides of the crop, or ``None`` where it expects nothing.  ``heatmaps`` is
    ``(n, s, k, h, h)``, the maps of each of s stages, of which the last gave the points or is
    learned beside them, or ``None``.  ``deep`` is the last map of the backbone, which distillation compares, or
    ``None`` where the network shows none.
    """

    points: Tensor
    features: Tensor | None = None
    spread: Tensor | None = None
    heatmaps: Tensor | None = None
    deep: Tensor | None = None


class Maps(NamedTuple):
    """Feature maps of one forward pass: ``features`` at 1/4 of the side, ``deep`` the last one, at 1/32."""

    features: Tensor
    deep: Tensor
