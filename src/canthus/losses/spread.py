"""The loss of an expected error: how well a scale fits the errors that were made."""

import torch
from jaxtyping import Float
from torch import Tensor


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
