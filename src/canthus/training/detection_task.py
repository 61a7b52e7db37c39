"""Face detection as a Lightning module: network, losses, optimizer, average precision while it trains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim

from canthus.losses.detection import Locations, detection_losses, locations
from canthus.models.face_detector import STRIDES
from canthus.training.detection_loader import SceneBatch
from canthus.training.optimizers import OptimizerConfig, ScheduleConfig, create_optimizer, learning_rate_factor
from canthus.training.task import network_input


@final
@dataclass(frozen=True)
class DetectionLossConfig:
    """What a face detector is trained for.

    Attributes:
        box: weight of the box loss; the score's is 1.
        points: weight of the loss of the five points.
        sizes: least and largest face that the cells of each stride answer for, longer side in pixels.
    """

    box: float = 2.0
    points: float = 0.5
    sizes: tuple[tuple[float, ...], ...] = ((0.0, 64.0), (40.0, 144.0), (96.0, 1e5))


@final
class DetectionTask(L.LightningModule):
    """Training of a face detector.

    Args:
        network: maps pictures to the rows that ``models.face_detector`` describes.
        loss: weights of the losses.
        optimizer: settings.
        schedule: settings.
        epochs: length of the training, for the schedule.
        steps: optimizer steps of one epoch.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        loss: DetectionLossConfig,
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        epochs: int,
        steps: int,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its types
        self._loss = loss
        self._optimizer = optimizer
        self._schedule = schedule
        self._epochs = epochs
        self._steps = steps
        self._places: dict[tuple[int, int], Locations] = {}

    def training_step(self, batch: SceneBatch, batch_index: int) -> Tensor:
        output = self.network(network_input(batch.image)).float()
        height, width = batch.image.shape[1:3]
        places = self._locations(height, width, output.device)
        known = torch.cat([batch.known[:, s // 2 :: s, s // 2 :: s].flatten(1) for s in STRIDES], dim=1)
        losses = detection_losses(
            output, batch.boxes, batch.points, present=batch.present, known=known, places=places
        )
        loss = losses.score + self._loss.box * losses.box + self._loss.points * losses.points
        for name, value in (("loss", loss), ("score", losses.score), ("box", losses.box), ("points", losses.points)):
            self.log(f"train/{name}", value, on_step=False, on_epoch=True, batch_size=len(batch.image), sync_dist=True)
        return loss

    def _locations(self, height: int, width: int, device: torch.device) -> Locations:
        if (height, width) not in self._places:
            sizes = [(least, most) for least, most in self._loss.sizes]
            self._places[height, width] = locations(height, width, strides=STRIDES, sizes=sizes, device=device)
        return self._places[height, width]
