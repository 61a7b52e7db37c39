"""Losses of networks that draw heatmaps."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def gaussian_maps(points: Float[Tensor, "n k 2"], side: int, *, sigma: float) -> Float[Tensor, "n k side side"]:
    """Gaussians of height 1 at the points; computes ``canthus.heatmaps.draw_heatmaps``.

    Args:
        points: in the unit frame; NaN gives an empty map.
        side: cells of a map's side.
        sigma: standard deviation in cells.
    """
    cells = torch.arange(side, dtype=points.dtype, device=points.device)
    place = points[..., None] * side - 0.5
    along = torch.nan_to_num(torch.exp(-(cells - place).square() / (2 * sigma**2)))
    return along[:, :, 1, :, None] * along[:, :, 0, None, :]


def heatmap_l2_loss(
    heatmaps: Float[Tensor, "n s k h h"], target: Float[Tensor, "n k 2"], *, sigma: float = 1.0
) -> Float[Tensor, " n"]:
    """Mean squared difference of each face's maps from Gaussians at its points, summed over the stages.

    Newell et al. (2016), "Stacked Hourglass Networks", section 3.2: every stage is supervised.

    Args:
        heatmaps: of each stage.
        target: true points in the unit frame.
        sigma: standard deviation of the Gaussians, in cells.
    """
    wanted = gaussian_maps(target, heatmaps.shape[-1], sigma=sigma)
    return (heatmaps - wanted[:, None]).square().mean(dim=(2, 3, 4)).sum(dim=1)


HEATMAP_LOSSES: dict[str, Callable[..., Tensor]] = {"heatmap_l2": heatmap_l2_loss}
"""Name to loss of ``Output.heatmaps`` against points in the unit frame; keyword arguments are settings."""
