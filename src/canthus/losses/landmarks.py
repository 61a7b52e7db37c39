"""Losses of landmarks: absolute and squared errors, the wing family, heatmaps, and expected errors."""

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
    """Squared error below ``delta``, linear above: Girshick (2015), "Fast R-CNN", eq. 3, with the knee at ``delta``.

    Mean of each face. ``delta`` has the unit of the points.
    """
    return functional.smooth_l1_loss(predicted, target, beta=delta, reduction="none").mean(dim=(1, 2))


def wing_loss(
    predicted: Float[Tensor, "n k 2"], target: Float[Tensor, "n k 2"], *, width: float = 10.0, curvature: float = 2.0
) -> Float[Tensor, " n"]:
    """Wing loss: logarithmic for small errors, which keep a strong gradient, and linear for large ones.

    wing(x) = w ln(1 + |x| / eps) for |x| < w, else |x| - C with C = w - w ln(1 + w / eps).
    Feng et al. (2018), "Wing Loss for Robust Facial Landmark Localisation", eq. 5.

    Points, ``width`` (w) and ``curvature`` (eps) are in pixels of the network's input. Returns the mean of each face.

    Raises:
        ValueError: ``width`` or ``curvature`` is not positive.
    """
    if width <= 0 or curvature <= 0:
        raise ValueError(f"width and curvature of the wing loss must be positive, found {width} and {curvature}")
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
    Yu et al. (2023), "Face Keypoint Detection Method Based on Blaze_ghost Network", eq. 3 to 7; the caller applies
    the weight of a face in eq. 8, see ``losses.weights``.

    Points, ``width``, ``curvature`` and ``delta`` are in pixels of the network's input. Returns the mean of each face.

    Raises:
        ValueError: ``width``, ``curvature`` or ``delta`` is not positive.
    """
    if delta <= 0:
        raise ValueError(f"delta of the Huber-wing loss must be positive, found {delta}")
    huber = functional.huber_loss(predicted, target, delta=delta, reduction="none").mean(dim=(1, 2))
    return huber + wing_loss(predicted, target, width=width, curvature=curvature)


def gaussian_maps(points: Float[Tensor, "n k 2"], side: int, *, sigma: float) -> Float[Tensor, "n k side side"]:
    """Draw Gaussians of height 1 at the points, as ``canthus.heatmaps.draw_heatmaps`` does.

    Args:
        points: in the unit frame; a NaN point has an empty map.
        side: of a map in cells.
        sigma: standard deviation in cells.
    """
    cells = torch.arange(side, dtype=points.dtype, device=points.device)
    place = points[..., None] * side - 0.5
    along = torch.nan_to_num(torch.exp(-(cells - place).square() / (2 * sigma**2)))
    return along[:, :, 1, :, None] * along[:, :, 0, None, :]


def heatmap_l2_loss(
    heatmaps: Float[Tensor, "n s k h h"], target: Float[Tensor, "n k 2"], *, sigma: float = 1.0
) -> Float[Tensor, " n"]:
    """Mean squared difference between heatmaps and Gaussians at the true points, summed over the stages.

    Newell et al. (2016), "Stacked Hourglass Networks", section 3.2: every stage is supervised.

    Args:
        heatmaps: maps of each of s stages.
        target: true points in the unit frame.
        sigma: standard deviation of the Gaussians, in cells.
    """
    wanted = gaussian_maps(target, heatmaps.shape[-1], sigma=sigma)
    return (heatmaps - wanted[:, None]).square().mean(dim=(2, 3, 4)).sum(dim=1)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "wing": wing_loss,
    "huber_wing": huber_wing_loss,
    "l1": l1_loss,
    "l2": l2_loss,
    "smooth_l1": smooth_l1_loss,
}
"""Loss by name, of points against points in pixels of the input. Keyword arguments are settings of a recipe. Each is a
mean over the points, one number for each face."""

HEATMAP_LOSSES: dict[str, Callable[..., Tensor]] = {"heatmap_l2": heatmap_l2_loss}
"""Loss by name, of ``Output.heatmaps`` against points in the unit frame."""


def spread_loss(spread: Float[Tensor, "n k"], errors: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Negative log-likelihood of errors e under exponential distributions with mean b = exp(spread); mean of each face.

    log b + e / b, for the density exp(-e / b) / b. The minimum is at b = E[e], so ``exp(spread)`` learns the expected
    error.

    Args:
        spread: natural logarithm of the expected errors.
        errors: distances between points and ground truth in the unit of ``exp(spread)``, without gradient; NaN errors
            are ignored.
    """
    known = torch.isfinite(errors)
    fitted = spread + torch.where(known, errors, 0.0) * torch.exp(-spread)
    return (fitted * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)
