"""Weights of faces: by how wrong the predicted pose is, and by how rare their kind is."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def pose_weights(predicted: Float[Tensor, "n 3"], target: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """1 + sum over yaw, pitch, roll of (1 - cos of the error): at least 1, at most 7.

    Yu et al. (2023), "Face Keypoint Detection Method Based on Blaze_ghost Network", ``euler_angle_weights`` in eq. 8.

    Differs: with the 1.  As printed (``pose_weights_as_printed``) the weight and with it the whole loss is zero where
    the pose is right, however wrong the points are.

    Args:
        predicted: angles in radians; never degrees, whose cosine is noise.
        target: truth in radians; a face with a NaN angle gets weight 1.
    """
    return 1 + pose_weights_as_printed(predicted, target)


def pose_weights_as_printed(predicted: Float[Tensor, "n 3"], target: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """Sum over yaw, pitch, roll of (1 - cos of the error): the factor of eq. 2 and 8 of Yu et al. (2023).

    Args:
        predicted: angles in radians.
        target: truth in radians; a face with a NaN angle gets weight 0.
    """
    # NaN goes before the cosine: behind it, the gradient would be zero times NaN.
    return (1 - torch.cos((predicted - target).nan_to_num(0.0))).sum(dim=1)


def no_pose_weights(predicted: Float[Tensor, "n 3"], target: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """1 for every face."""
    return torch.ones_like(target[:, 0])


POSE_WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "one_plus": pose_weights,
    "as_printed": pose_weights_as_printed,
    "none": no_pose_weights,
}
"""Name to weights of faces from (predicted, true) angles."""


def class_weights(members: Bool[Tensor, "n c"], fractions: Float[Tensor, " c"]) -> Float[Tensor, " n"]:
    """Mean inverse fraction of the classes a face belongs to: the omega of Guo et al. (2019), "PFLD", eq. 1.

    Differs: a face of no class weighs 1, where public code multiplies it away; and a class's weight is never above
    100, so that one face of a class that is all but absent does not rule the batch.

    Args:
        members: which face belongs to which class, such as those of ``canthus.data.face_kinds``.
        fractions: share of each class among the training faces, in [0, 1].

    Returns:
        At least 1 for every face.
    """
    inverse = 1 / fractions.clamp(0.01, 1.0)
    belongs = members.to(inverse.dtype)
    count = belongs.sum(dim=1)
    return torch.where(count > 0, (belongs * inverse).sum(dim=1) / count.clamp(min=1), torch.ones_like(count))
