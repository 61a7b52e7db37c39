"""Losses of landmarks: squared and absolute errors, the wing family, heatmaps, and the expected error of each point."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def l1_loss(predicted: Float[Tensor, "n k 2"], target: Float[Tensor, "n k 2"]) -> Float[Tensor, " n"]:
    """Mean absolute difference of each face, in the unit of the points."""
    return (predicted - target).abs().mean(dim=(1, 2))


def l2_loss(predicted: Float[Tensor, "n k 2"], target: Float[Tensor, "n k 2"]) -> Float[Tensor, " n"]:
    """Mean squared difference of each face, in the squared unit of the points."""
    return (predicted - target).square().mean(dim=(1, 2))


def smooth_l1_loss(
    predicted: Float[Tensor, "n k 2"], target: Float[Tensor, "n k 2"], *, delta: float = 1.0
) -> Float[Tensor, " n"]:
    """Squared below ``delta``, linear above: Girshick (2015), "Fast R-CNN", eq. 3, with the knee at ``delta``.

    Args:
        predicted: points in any unit.
        target: truth in the same unit.
        delta: the knee, in that unit.
    """
    return functional.smooth_l1_loss(predicted, target, beta=delta, reduction="none").mean(dim=(1, 2))


def wing_loss(
    predicted: Float[Tensor, "n k 2"],
    target: Float[Tensor, "n k 2"],
    *,
    width: float = 10.0,
    curvature: float = 2.0,
) -> Float[Tensor, " n"]:
    """Logarithmic near the truth, linear far from it, so that small errors keep a strong gradient.

    wing(x) = w ln(1 + |x| / eps) for |x| < w, else |x| - C with C = w - w ln(1 + w / eps).
    Feng et al. (2018), "Wing Loss for Robust Facial Landmark Localisation", eq. 5.

    Args:
        predicted: points in pixels of the network's input.
        target: truth in the same unit.
        width: w, pixels.
        curvature: eps, pixels.

    Returns:
        Mean over points and coordinates of each face.

    Raises:
        ValueError: ``width`` or ``curvature`` is not positive.
    """
    if width <= 0 or curvature <= 0:
        raise ValueError(f"The wing loss needs positive width and curvature, not {width} and {curvature}")
    error = (predicted - target).abs()
    offset = width - width * math.log1p(width / curvature)
    curved = width * torch.log1p(error / curvature)
    return torch.where(error < width, curved, error - offset).mean(dim=(1, 2))


def huber_wing_loss(
    predicted: Float[Tensor, "n k 2"],
    target: Float[Tensor, "n k 2"],
    *,
    width: float = 10.0,
    curvature: float = 2.0,
    delta: float = 1.0,
) -> Float[Tensor, " n"]:
    """Sum of the Huber and the wing loss.

    Huber(x) = x^2 / 2 for |x| <= delta, else delta (|x| - delta / 2).
    Yu et al. (2023), "Face Keypoint Detection Method Based on Blaze_ghost Network", eq. 3 to 7; the weight of a face
    in eq. 8 is the caller's, see ``losses.weights``.

    Args:
        predicted: points in pixels of the network's input.
        target: truth in the same unit.
        width: w of the wing, pixels.
        curvature: eps of the wing, pixels.
        delta: knee of the Huber loss, pixels.

    Returns:
        Mean over points and coordinates of each face.

    Raises:
        ValueError: ``width``, ``curvature`` or ``delta`` is not positive.
    """
    if delta <= 0:
        raise ValueError(f"The Huber-wing loss needs a positive delta, not {delta}")
    huber = functional.huber_loss(predicted, target, delta=delta, reduction="none").mean(dim=(1, 2))
    return huber + wing_loss(predicted, target, width=width, curvature=curvature)


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


def spread_loss(spread: Float[Tensor, "n k"], errors: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Negative log-likelihood of errors under exponential distributions whose means are expected, mean of each face.

    log b + e / b with b = exp(spread): for the density exp(-e / b) / b.  Its least value is at b = E[e], so that
    ``exp(spread)`` becomes the expected error.

    Args:
        spread: logarithm of the expected errors.
        errors: distances between points and truth in the unit of ``exp(spread)``, without gradient; NaN where the
            truth is not known, which takes no part.
    """
    known = torch.isfinite(errors)
    fitted = spread + torch.where(known, errors, 0.0) * torch.exp(-spread)
    return (fitted * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)
