"""Training a face detector: the Lightning module."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from canthus.data.packs import ScenePack
from canthus.evaluation.detection import match_scenes
from canthus.evaluation.detection_report import average_precision, recall_at_false_finds
from canthus.geometry import Affine
from canthus.losses.detection import Locations, detection_losses, locations
from canthus.models.face_detector import STRIDES
from canthus.plain_data import NOT_NEGATIVE, check_ranges
from canthus.runtime.canthus_detector import decode
from canthus.training.loader import PictureBatch, SceneBatch
from canthus.training.optimizers import Optimization
from canthus.training.task import log_mean, network_input
from canthus.types import Faces

LEAST_SCORE = 0.02
"""Faces with a lower score do not count in validation; they lie at the far end of the precision-recall curve."""
FALSE_PER_PICTURE = 0.05
"""False positives per picture at which recall is measured."""
MONITOR = "ap_50"
"""Mean average precision over the validation sets with complete labels."""


@final
@dataclass(frozen=True)
class DetectionLossConfig:
    """Weights of the losses of a face detector.

    Attributes:
        box, points: weights of the losses of the box and of the five points; that of the score is 1.
        sizes: smallest and largest face that the cells of each stride are trained to find, longer side in pixels.
    """

    box: float = 2.0
    points: float = 0.5
    sizes: tuple[tuple[float, ...], ...] = ((0.0, 64.0), (40.0, 144.0), (96.0, 1e5))

    def __post_init__(self) -> None:
        check_ranges(
            self,
            box=NOT_NEGATIVE,
            points=NOT_NEGATIVE,
            sizes=NOT_NEGATIVE,
        )


@final
class DetectionTask(L.LightningModule):
    """Training of a face detector.

    Args:
        network: maps pictures to the rows that ``models.face_detector`` describes.
        validation: packs of the validation sets by name, in the order of their loaders.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        loss: DetectionLossConfig,
        optimization: Optimization,
        validation: Mapping[str, ScenePack],
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its types
        self._loss = loss
        self._optimization = optimization
        self._validation = dict(validation)
        self._found: dict[str, list[Faces]] = {}
        self._places: dict[tuple[int, int], Locations] = {}

    def training_step(self, batch: SceneBatch, batch_index: int) -> Tensor:
        output = self.network(network_input(batch.image)).float()
        height, width = batch.image.shape[1:3]
        places = self._locations(height, width, output.device)
        known = torch.cat([batch.known[:, s // 2 :: s, s // 2 :: s].flatten(1) for s in STRIDES], dim=1)
        losses = detection_losses(output, batch.boxes, batch.points, present=batch.present, known=known, places=places)
        loss = losses.score + self._loss.box * losses.box + self._loss.points * losses.points
        log_mean(self, len(batch.image), loss=loss, score=losses.score, box=losses.box, points=losses.points)
        return loss

    def _locations(self, height: int, width: int, device: torch.device) -> Locations:
        if (height, width) not in self._places:
            sizes = [(least, most) for least, most in self._loss.sizes]
            self._places[height, width] = locations(height, width, strides=STRIDES, sizes=sizes, device=device)
        return self._places[height, width]

    def on_validation_epoch_start(self) -> None:
        self._found = {name: [] for name in self._validation}

    def validation_step(self, batch: PictureBatch, batch_index: int, dataloader_idx: int = 0) -> None:
        with torch.autocast(batch.image.device.type, enabled=False):
            output = self.network(network_input(batch.image))[0].float().cpu().numpy()
        height, width = batch.image.shape[1:3]
        faces = decode(output, height, width, STRIDES, LEAST_SCORE)
        self._found[list(self._validation)[dataloader_idx]].append(faces.moved(Affine(batch.back.cpu().numpy())))

    def on_validation_epoch_end(self) -> None:
        precisions = []
        for name, found in self._found.items():
            pack = self._validation[name]
            rows = match_scenes([pack.scene(i) for i in range(len(pack))], found)
            recall = recall_at_false_finds(rows, FALSE_PER_PICTURE)
            self.log(f"{name}/recall", recall, prog_bar=True, sync_dist=True)
            if pack.complete.all():
                precisions.append(average_precision(rows))
                self.log(f"{name}/ap_50", precisions[-1], prog_bar=True, sync_dist=True)
        self.log(MONITOR, float(np.mean(precisions)) if precisions else 0.0, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return self._optimization.set_up(self)
