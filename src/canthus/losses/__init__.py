"""Losses of landmarks: each returns one number for each face; the caller weighs and averages them."""

from canthus.losses.landmarks import (
    HEATMAP_LOSSES,
    LOSSES,
    heatmap_l2_loss,
    huber_wing_loss,
    l1_loss,
    l2_loss,
    smooth_l1_loss,
    spread_loss,
    wing_loss,
)

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
