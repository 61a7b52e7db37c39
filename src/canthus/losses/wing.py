"""Wing loss."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


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
