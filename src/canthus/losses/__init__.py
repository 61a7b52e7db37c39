"""Losses for landmark regression: each returns one number a face; the caller weighs and reduces."""

from collections.abc import Callable

from torch import Tensor

from canthus.losses.landmarks import (
    HEATMAP_LOSSES,
    heatmap_l2_loss,
    huber_wing_loss,
    l1_loss,
    l2_loss,
    smooth_l1_loss,
    spread_loss,
    wing_loss,
)

LOSSES: dict[str, Callable[..., Tensor]] = {
    "wing": wing_loss,
    "huber_wing": huber_wing_loss,
    "l1": l1_loss,
    "l2": l2_loss,
    "smooth_l1": smooth_l1_loss,
}
"""Name to loss; keyword arguments of the function are the settings a recipe may give."""

__all__ = [
    "HEATMAP_LOSSES",
    "LOSSES",
    "heatmap_l2_loss",
    "huber_wing_loss",
    "l1_loss",
    "l2_loss",
    "smooth_l1_loss",
    "spread_loss",
    "wing_loss",
]
