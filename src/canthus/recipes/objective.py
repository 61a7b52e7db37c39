"""The objective of a recipe: its loss by name, settings filled in, points weighed."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.losses import HEATMAP_LOSSES, LOSSES, heatmap_l2_loss, l2_loss
from canthus.losses.weights import weigh_points
from canthus.recipes.config import TrainConfig, from_values
from canthus.schemes import find_scheme
from canthus.training.objectives import (
    JOINT,
    JointSettings,
    Objective,
    heatmaps_objective,
    joint_objective,
    points_objective,
)


def loss_of(config: TrainConfig) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss on points or on heatmaps with its settings filled in and the points weighed.

    Raises:
        ConfigError: unknown loss or part of the face, or settings it does not take.
    """
    function = lookup(LOSSES | HEATMAP_LOSSES, config.loss, kind="loss")
    loss = functools.partial(function, **config.loss_settings)
    predicted = torch.zeros(1, 1, 1, 4, 4) if config.loss in HEATMAP_LOSSES else torch.zeros(1, 1, 2)
    try:
        loss(predicted, torch.zeros(1, 1, 2))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Loss {config.loss!r} refuses {config.loss_settings}: {error}") from error
    axis = 2 if config.loss in HEATMAP_LOSSES else 1
    return weigh_points(loss, find_scheme(config.scheme), config.point_weights, axis=axis)


def _points(config: TrainConfig) -> Objective:
    return points_objective(loss_of(config), size=config.size)


def _heatmaps(config: TrainConfig) -> Objective:
    return heatmaps_objective(loss_of(config))


def _joint(config: TrainConfig) -> Objective:
    settings = from_values(JointSettings, config.loss_settings, "loss_settings.")
    scheme = find_scheme(config.scheme)
    maps = functools.partial(heatmap_l2_loss, sigma=settings.sigma)
    return joint_objective(
        weigh_points(l2_loss, scheme, config.point_weights),
        weigh_points(maps, scheme, config.point_weights, axis=2),
        settings,
    )


_OBJECTIVES: dict[str, Callable[[TrainConfig], Objective]] = {
    **dict.fromkeys(LOSSES, _points),
    **dict.fromkeys(HEATMAP_LOSSES, _heatmaps),
    JOINT: _joint,
}


def objective_of(config: TrainConfig) -> Objective:
    """What the recipe's network is to get right.

    Raises:
        ConfigError: unknown loss or part of the face, or settings it does not take.
    """
    return lookup(_OBJECTIVES, config.loss, kind="loss")(config)
