"""Wing loss, and Huber-wing built on it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


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
