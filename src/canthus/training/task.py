"""Training a landmark network: the Lightning module, and the pose branch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from canthus.errors import ConfigError
from canthus.evaluation.errors import normalized_error, training_error, training_scale
from canthus.lookup import lookup
from canthus.losses import spread_loss
from canthus.losses.weights import POSE_WEIGHTS, pose_weights_as_printed
from canthus.models.heads import PoseBranch
from canthus.models.output import Network
from canthus.plain_data import NOT_NEGATIVE, check_ranges
from canthus.schemes import Scheme
from canthus.training.distillation import Distiller
from canthus.training.loader import Batch
from canthus.training.objectives import Objective
from canthus.training.optimizers import Optimization


@final
@dataclass(frozen=True)
class PoseConfig:
    """Settings of the pose branch.

    Attributes:
        branch: whether an auxiliary branch learns the head pose.
        face_weights: key of ``POSE_WEIGHTS``: how the error of the pose weighs the loss of a face's points.
        loss_weight: factor of the branch's own loss, the sum over the angles of 1 - cos of the error; with 0 the branch
            learns through the weights of the faces alone, as the papers print it.
    """

    branch: bool = False
    face_weights: str = "one_plus"
    loss_weight: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(
            self,
            loss_weight=NOT_NEGATIVE,
        )


@final
class PoseGuide(nn.Module):
    """Weighs the losses of faces by the error of the head pose: PFLD, as Yu et al. (2023) use it, eq. 2 and 8.

    Differs: the branch also has a loss of its own, because as a weight alone its error fades as the points become
    right; ``loss_weight`` 0 is as printed.

    Args:
        network: a ``Network`` whose output has ``features``.

    Raises:
        ConfigError: unknown weights, a branch that nothing would train, or a network without features.
    """

    def __init__(self, network: nn.Module, *, size: int, config: PoseConfig) -> None:
        super().__init__()
        if not isinstance(network, Network):
            raise ConfigError(f"{type(network).__name__} has no feature map; set pose.branch = false")
        self._weights = lookup(POSE_WEIGHTS, config.face_weights, kind="weights of faces")
        if config.loss_weight == 0 and config.face_weights == "none":
            raise ConfigError("A pose branch needs face_weights or a positive loss_weight, or nothing trains it")
        self._loss_weight = config.loss_weight
        self.branch = PoseBranch(network.feature_channels, size=size)

    def forward(self, features: Tensor, losses: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and its mean pose error sum(1 - cos).

        Args:
            features: ``Output.features``.
            losses: ``(n,)``, losses of the points of each face.
            truth: ``(n, 3)`` angles in radians; NaN for faces without a pose, which the pose loss leaves out.
        """
        angles = self.branch(features).float()
        errors = pose_weights_as_printed(angles, truth)
        loss = self._weights(angles, truth) * losses + self._loss_weight * errors
        return loss.mean(), errors.detach().mean()


def log_mean(task: L.LightningModule, batch_size: int, **values: Tensor) -> None:
    """Log values of a training batch as ``train/NAME``: one mean per epoch, over all processes."""
    for name, value in values.items():
        task.log(f"train/{name}", value, on_step=False, on_epoch=True, batch_size=batch_size, sync_dist=True)


def network_input(image: Tensor) -> Tensor:
    """uint8 ``(n, s, s, 3)`` RGB to float ``(n, 3, s, s)`` in [0, 1], in channels-last memory order."""
    return image.permute(0, 3, 1, 2).float() / 255.0


@final
class RegressionTask(L.LightningModule):
    """Training of a landmark network.

    Args:
        network: returns ``Output``.
        margin: side of the crops over the longer side of the face box.
        validation: names of the validation sets, in the order of their loaders.
        guide: the pose branch; batches must then have angles.
        spread_weight: weight of the loss of the expected errors, if the network predicts them.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        objective: Objective,
        scheme: Scheme,
        margin: float,
        optimization: Optimization,
        validation: Sequence[str],
        guide: PoseGuide | None = None,
        spread_weight: float = 1.0,
        distiller: Distiller | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its types
        self.guide = guide
        self.distiller = distiller
        self._objective = objective
        self._spread_weight = spread_weight
        self._scheme, self._margin = scheme, margin
        self._optimization = optimization
        self._validation = tuple(validation)
        self._errors: dict[str, list[np.ndarray]] = {}

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        image = network_input(batch.image)
        output = self.network(image)
        losses = self._objective(output, batch.points) * batch.weights
        if self.guide is None:
            loss = losses.mean()
        else:
            loss, pose_error = self.guide(output.features, losses, batch.angles)
            log_mean(self, len(losses), pose_error=pose_error)
        log_mean(self, len(losses), loss=loss)
        if self.distiller is not None:
            distilled, parts = self.distiller(image, output)
            log_mean(self, len(losses), **parts)
            loss = loss + distilled
        if output.spread is not None:
            # Errors without gradient: the points learn from their own loss alone.
            errors = torch.linalg.vector_norm(output.points.detach().float() - batch.points, dim=2)
            spread = spread_loss(output.spread.float(), errors).mean()
            log_mean(self, len(losses), spread_loss=spread)
            loss = loss + self._spread_weight * spread
        return loss

    def on_validation_epoch_start(self) -> None:
        self._errors = {name: [] for name in self._validation}

    def validation_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> None:
        with torch.autocast(batch.image.device.type, enabled=False):
            output = self.network(network_input(batch.image))
        predicted, truth = output.points.float().cpu().numpy(), batch.points.cpu().numpy()
        scale = training_scale(truth, self._scheme, box_side=1 / self._margin)
        errors = normalized_error(predicted, truth, scale)
        self._errors[self._validation[dataloader_idx]].append(errors)

    def on_validation_epoch_end(self) -> None:
        for name, errors in self._errors.items():
            found = np.concatenate(errors)
            if not np.isfinite(found).any():
                raise ConfigError(
                    f"The error on {name} is not finite: the network's points are not, or no face there has both outer "
                    "eye corners. Lower optimizer.learning_rate, or name another validation set; without eye_corners "
                    "in the scheme, errors are measured in longer sides of the face box"
                )
            # Some profiles lack an eye corner, so they have no inter-ocular distance.
            metric = f"{name}/{training_error(self._scheme)}"
            self.log(metric, float(found[np.isfinite(found)].mean()), prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return self._optimization.set_up(self)
