"""Objectives of landmark networks: losses on points, on heatmaps, or on both, with one signature."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from canthus.errors import ConfigError
from canthus.losses.weights import PointLoss
from canthus.models.output import Output

JOINT = "joint"
"""Name of the loss on points and heatmaps in recipes."""

Objective = Callable[[Output, Tensor], Tensor]
"""From the output of a network and true points ``(n, k, 2)`` in the unit frame to a loss per face, ``(n,)``."""


@final
@dataclass(frozen=True)
class JointSettings:
    """Settings of the loss on points and heatmaps.

    Attributes:
        point_loss: key of ``LOSSES``; ``l2``, the paper's, takes points in the unit frame, all others in pixels.
        point_settings: settings of that loss.
        heatmap_weight: weight of the heatmaps over the points: one over the paper's lambda_rh, which is the weight of
            the regression over the heatmaps (section 4.2.4).  With 0 the network must not draw any.
        sigma: standard deviation of the true heatmaps, in cells.
        scale: factor of the whole loss.  Squared errors in the unit frame are tiny; for plain SGD it has the effect of
            a factor of the learning rate.
    """

    point_loss: str = "l2"
    point_settings: dict[str, Any] = field(default_factory=dict)
    heatmap_weight: float = 1.0
    sigma: float = 1.5
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (self.heatmap_weight >= 0 and self.sigma > 0 and self.scale > 0):
            raise ConfigError(
                "The joint loss needs sigma and scale above zero and a heatmap_weight of at least zero; found "
                f"{self.sigma:g}, {self.scale:g} and {self.heatmap_weight:g}"
            )


def points_objective(loss: PointLoss, *, size: float) -> Objective:
    """The loss on points; points without a true position count as correct.

    Args:
        loss: takes points in sides of the crop times ``size``.
        size: side of the input in pixels for losses in pixels; 1 for losses in the unit frame.
    """

    def objective(output: Output, truth: Tensor) -> Tensor:
        if not output.points.requires_grad:
            raise ConfigError(
                "The points of this network cannot be trained, only its heatmaps; set loss = 'heatmap_l2'"
            )
        points = output.points.float()
        known = torch.where(truth.isnan(), points.detach(), truth)
        return loss(points * size, known * size)

    return objective


def heatmaps_objective(loss: PointLoss) -> Objective:
    """The loss on heatmaps ``(n, s, k, h, h)`` against points of the unit frame."""

    def objective(output: Output, truth: Tensor) -> Tensor:
        if output.heatmaps is None:
            raise ConfigError(
                "This loss needs heatmaps, and the network draws none; choose another loss, or the model fan or joint"
            )
        return loss(output.heatmaps.float(), truth)

    return objective


def joint_objective(points: Objective, heatmaps: Objective, settings: JointSettings) -> Objective:
    """LOSS of "mobile-distill-prune" (2024): scale * (points + heatmap_weight * heatmaps)."""

    def objective(output: Output, truth: Tensor) -> Tensor:
        losses = points(output, truth)
        if settings.heatmap_weight > 0:
            losses = losses + settings.heatmap_weight * heatmaps(output, truth)
        elif output.heatmaps is not None:
            raise ConfigError("Nothing trains the heatmaps with heatmap_weight 0; set model_settings.heatmaps = false")
        return settings.scale * losses

    return objective
