"""Weights of faces and of points in a loss."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from canthus.errors import ConfigError
from canthus.schemes import Scheme


def pose_weights(predicted: Float[Tensor, "n 3"], target: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """1 + sum over yaw, pitch, roll of (1 - cos of the error): at least 1, at most 7.

    Yu et al. (2023), "Face Keypoint Detection Method Based on Blaze_ghost Network", ``euler_angle_weights`` in eq. 8.

    Differs: the 1 is added. As printed (``pose_weights_as_printed``), the weight and so the whole loss is zero for a
    face with the right pose, however wrong its points are.

    Args:
        predicted: angles in radians.
        target: ground truth in radians; a NaN angle counts as no error.
    """
    return 1 + pose_weights_as_printed(predicted, target)


def pose_weights_as_printed(predicted: Float[Tensor, "n 3"], target: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """Sum over yaw, pitch, roll of (1 - cos of the error): the factor of eq. 2 and 8 of Yu et al. (2023).

    Angles are in radians; a NaN angle counts as no error.
    """
    # NaN is replaced before the cosine: after it, the gradient would be zero times NaN.
    return (1 - torch.cos((predicted - target).nan_to_num(0.0))).sum(dim=1)


def no_pose_weights(predicted: Float[Tensor, "n 3"], target: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """1 for every face."""
    return torch.ones_like(target[:, 0])


POSE_WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "one_plus": pose_weights,
    "as_printed": pose_weights_as_printed,
    "none": no_pose_weights,
}
"""Weights of faces by name, from (predicted, true) angles."""


def class_weights(
    members: Bool[Tensor, "n c"], fractions: Float[Tensor, " c"], *, sums: bool = False
) -> Float[Tensor, " n"]:
    """Inverse fractions of the classes of a face, joined: the omega of Guo et al. (2019), "PFLD", eq. 2.

    Differs: the default is the mean over the classes of a face, not their sum. A face without a class has weight 1,
    where public code multiplies its loss by zero. The weight of a class is at most 100, so that a single face of a rare
    class does not dominate the batch.

    Args:
        members: which face belongs to which class, such as those of ``canthus.data.splits.face_kinds``.
        fractions: share of each class among the training faces, in [0, 1].
        sums: whether the weights of the classes are added, as printed.
    """
    inverse = 1 / fractions.clamp(0.01, 1.0)
    belongs = members.to(inverse.dtype)
    count = belongs.sum(dim=1)
    total = (belongs * inverse).sum(dim=1)
    return torch.where(count > 0, total if sums else total / count.clamp(min=1), torch.ones_like(count))


PointLoss = Callable[[Tensor, Tensor], Tensor]
"""From predictions for each point and true points, ``(n, k, 2)``, to the loss of each face, ``(n,)``."""


def weigh_points(loss: PointLoss, scheme: Scheme, weights: Mapping[str, Any], *, axis: int = 1) -> PointLoss:
    """Turn a loss into a weighted mean over the points: sum w_k L_k / sum w_k, where L_k is the loss of point k alone.

    The loss must be a mean over the points, as all in ``LOSSES`` and ``HEATMAP_LOSSES`` are. Equal weights change
    nothing.

    Args:
        loss: with equal weights.
        scheme: numbering of the points.
        weights: by group of the scheme, or by ``eyes``, ``brows``, ``mouth``; other points have weight 1.
        axis: of the points in the prediction; 2 for heatmaps.

    Raises:
        ConfigError: unknown part, a point in two parts, or a weight that is not a finite number above zero.
    """
    parts = _parts(scheme, weights)
    if len(parts) == 1:
        return loss
    total = sum(weight * len(indices) for weight, indices in parts)

    def weighted(predicted: Tensor, target: Tensor) -> Tensor:
        terms = []
        for weight, indices in parts:
            of_part = predicted.index_select(axis, torch.tensor(indices, device=predicted.device))
            terms.append(loss(of_part, target[:, indices]) * (weight * len(indices) / total))
        return torch.stack(terms).sum(dim=0)

    return weighted


def _parts(scheme: Scheme, weights: Mapping[str, Any]) -> list[tuple[float, list[int]]]:
    """Each distinct weight with its points."""
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
