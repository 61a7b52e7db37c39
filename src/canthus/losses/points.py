"""Weights of points: some parts of the face count more than others."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from canthus.errors import ConfigError
from canthus.schemes import Scheme

PointLoss = Callable[[Tensor, Tensor], Tensor]
"""From predicted and true points, ``(n, k, 2)``, to a loss for each face, ``(n,)``: a mean over the points."""


def weigh_points(loss: PointLoss, scheme: Scheme, weights: Mapping[str, Any]) -> PointLoss:
    """The loss as a weighted mean over the points: sum w_k L_k / sum w_k, where L_k is the loss of point k alone.

    Holds for every loss that is a mean over the points, which ``LOSSES`` are: points of one weight are given to it
    together.  Weights that are all the same change nothing.

    Args:
        loss: of all points alike.
        scheme: numbering of the points.
        weights: by group of the scheme, or by ``eyes``, ``brows``, ``mouth``; the other points weigh 1.

    Raises:
        ConfigError: no such part, a point is named twice, or a weight is no finite number above zero.
    """
    parts = _parts(scheme, weights)
    if len(parts) == 1:
        return loss
    total = sum(weight * len(indices) for weight, indices in parts)

    def weighted(predicted: Tensor, target: Tensor) -> Tensor:
        terms = [
            loss(predicted[:, indices], target[:, indices]) * (weight * len(indices) / total)
            for weight, indices in parts
        ]
        return torch.stack(terms).sum(dim=0)

    return weighted


def _parts(scheme: Scheme, weights: Mapping[str, Any]) -> list[tuple[float, list[int]]]:
    """Points by weight."""
    by_point: dict[int, float] = {}
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise ConfigError(f"point_weights.{name} must be a number above zero, found {weight!r}")
        for index in scheme.part(name):
            if index in by_point:
                raise ConfigError(f"point_weights names point {index} twice, last as {name!r}; name each part once")
            by_point[index] = float(weight)
    values = [by_point.get(index, 1.0) for index in range(scheme.count)]
    return [(value, [i for i, v in enumerate(values) if v == value]) for value in dict.fromkeys(values)]
