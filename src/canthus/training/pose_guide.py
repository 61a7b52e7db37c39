"""The pose branch as a part of training: angles from features, weights of faces, a loss of its own."""

from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.losses.weights import POSE_WEIGHTS, pose_weights_as_printed
from canthus.models.heads import PoseBranch


@final
@dataclass(frozen=True)
class PoseConfig:
    """How the head's pose takes part in a training.

    Attributes:
        branch: whether a branch learns the pose beside the points.
        face_weights: key of ``POSE_WEIGHTS``, by which the error of the pose weighs the loss of a face's points:
            ``one_plus``, ``as_printed`` or ``none``.
        loss_weight: factor of the branch's own loss, the sum over the angles of 1 - cos of the error; 0 trains the
            branch by the weights of the faces alone, as the papers print it.
    """

    branch: bool = False
    face_weights: str = "one_plus"
    loss_weight: float = 1.0


@final
class PoseGuide(nn.Module):
    """Turns the losses of faces into one, with the pose as guide: PFLD, as Yu et al. (2023) use it, eq. 2 and 8.

    Differs: the branch also has a loss of its own, because its error as a weight alone fades as the points get right;
    ``loss_weight`` 0 is as printed.

    Args:
        network: returns ``Output`` with features, and names their width as ``feature_channels``.
        size: side of the input in pixels.
        config: settings.

    Raises:
        ConfigError: unknown weights, a branch that nothing would train, or a network without features.
    """

    def __init__(self, network: nn.Module, *, size: int, config: PoseConfig) -> None:
        super().__init__()
        channels = getattr(network, "feature_channels", None)
        if not isinstance(channels, int):
            raise ConfigError(f"{type(network).__name__} has no feature map for a pose branch; set pose.branch = false")
        self._weights = lookup(POSE_WEIGHTS, config.face_weights, kind="weights of faces")
        if config.loss_weight < 0 or (config.loss_weight == 0 and config.face_weights == "none"):
            raise ConfigError("A pose branch needs face_weights or a positive loss_weight, else nothing trains it")
        self._loss_weight = config.loss_weight
        self.branch = PoseBranch(channels, size=size)

    def forward(self, features: Tensor, losses: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and the mean pose error sum(1 - cos) for the record.

        Args:
            features: ``Output.features``.
            losses: ``(n,)``, of the points of each face.
            truth: ``(n, 3)`` angles in radians; faces without pose are NaN and take no part in the pose's loss.
        """
        angles = self.branch(features).float()
        errors = pose_weights_as_printed(angles, truth)
        loss = self._weights(angles, truth) * losses + self._loss_weight * errors
        return loss.mean(), errors.detach().mean()
