"""The plain distances: L1, L2, smooth L1."""

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
