"""Learning to find faces: batches of scenes and the Lightning module."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, Dataset

from canthus.data.packs import ScenePack
from canthus.data.scene_transforms import SceneAugmentation, Scenery, random_mosaic, random_scenery
from canthus.evaluation.detection import match_scenes
from canthus.evaluation.detection_report import average_precision, recall_at_false_finds
from canthus.geometry import Affine
from canthus.images import fit_image
from canthus.losses.detection import Locations, detection_losses, locations
from canthus.models.face_detector import STRIDES
from canthus.runtime.canthus_detector import decode
from canthus.training.loader import Draw, MixtureSampler, Source
from canthus.training.optimizers import OptimizerConfig, ScheduleConfig, create_optimizer, learning_rate_factor
from canthus.training.task import network_input
from canthus.types import Faces


class SceneBatch(NamedTuple):
    """Pictures as a face detector learns from them.

    ``image`` is uint8 ``(b, s, s, 3)`` RGB; ``boxes`` float32 ``(b, m, 4)`` face boxes in pixels, padded with zeros
    where ``present`` ``(b, m)`` is False; ``points`` float32 ``(b, m, 5, 2)`` in edge coordinates, NaN where unknown;
    ``known`` bool ``(b, s, s)``, True at pixels that are background wherever no face is.
    """

    image: Tensor
    boxes: Tensor
    present: Tensor
    points: Tensor
    known: Tensor


@final
class SceneDataset(Dataset[SceneBatch]):
    """Makes whole batches of augmented scenes from draws.

    Args:
        sources: the packs.
        settings: strengths of the augmentation.
        sizes: sides of the pictures in pixels; each batch draws one of them.
        seed: of all that is random.
    """

    def __init__(
        self, sources: Sequence[Source[ScenePack]], settings: SceneAugmentation, *, sizes: Sequence[int], seed: int
    ) -> None:
        self._sources = sources
        self._settings = settings
        self._sizes = tuple(sizes)
        self._seed = seed
        weights = np.array([source.weight for source in sources])
        self._shares = weights / weights.sum()

    def __getitems__(self, draws: Sequence[Draw]) -> SceneBatch:
        rng = np.random.default_rng((self._seed, draws[0].epoch, draws[0].number, len(draws)))
        size = int(rng.choice(self._sizes))
        return _as_batch([self._draw(draw, size) for draw in draws])

    def _draw(self, draw: Draw, size: int) -> Scenery:
        rng = np.random.default_rng((self._seed, draw.epoch, draw.number))
        scenes = [self._sources[draw.source].pack.sample(draw.face)]
        for source in rng.choice(len(self._sources), size=random_mosaic(rng, self._settings) - 1, p=self._shares):
            pack = self._sources[source].pack
            scenes.append(pack.sample(int(rng.integers(len(pack)))))
        return random_scenery(scenes, rng, self._settings, size)


class PictureBatch(NamedTuple):
    """One whole picture as inference sees it.

    ``image`` is uint8 ``(1, h, w, 3)`` RGB, ``back`` float64 ``(2, 3)`` the map from its pixels to those of the pack.
    """

    image: Tensor
    back: Tensor


@final
class PictureDataset(Dataset[PictureBatch]):
    """The pictures of a pack in order, brought to the size of inference."""

    def __init__(self, pack: ScenePack, *, size: int) -> None:
        self._pack = pack
        self._size = size

    def __len__(self) -> int:
        return len(self._pack)

    def __getitem__(self, number: int) -> PictureBatch:
        image, back = fit_image(self._pack.sample(number).image, self._size, multiple=max(STRIDES))
        return PictureBatch(torch.from_numpy(image[None].copy()), torch.from_numpy(back.matrix))


def picture_loader(pack: ScenePack, *, size: int) -> DataLoader[PictureBatch]:
    """Whole pictures, one by one."""
    return DataLoader(PictureDataset(pack, size=size), batch_size=None, shuffle=False)


def scene_loader(
    dataset: SceneDataset, sampler: MixtureSampler, *, batch_size: int, workers: int
) -> DataLoader[SceneBatch]:
    """Endless variety, finite epochs."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_already_batched,
        drop_last=True,
        persistent_workers=workers > 0,
    )


def _already_batched(batch: Any) -> Any:
    """``__getitems__`` has made the batch; torch's types know only single items."""
    return batch


def _as_batch(sceneries: Sequence[Scenery]) -> SceneBatch:
    most = max(1, *(len(s.boxes) for s in sceneries))
    boxes = np.zeros((len(sceneries), most, 4), np.float32)
    points = np.full((len(sceneries), most, 5, 2), np.nan, np.float32)
    present = np.zeros((len(sceneries), most), np.bool_)
    for i, scenery in enumerate(sceneries):
        n = len(scenery.boxes)
        boxes[i, :n], points[i, :n], present[i, :n] = scenery.boxes, scenery.points + 0.5, True
    return SceneBatch(
        image=torch.from_numpy(np.stack([s.image for s in sceneries])),
        boxes=torch.from_numpy(boxes),
        present=torch.from_numpy(present),
        points=torch.from_numpy(points),
        known=torch.from_numpy(np.stack([s.known for s in sceneries])),
    )


LEAST_SCORE = 0.02
"""Faces scored lower do not count in validation; they would lie at the far end of the precision-recall curve."""
FALSE_PER_PICTURE = 0.05
"""Recall is told at this many false finds a picture."""
MONITOR = "ap_50"
"""Mean average precision over the validation sets with complete labels."""


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
        validation: packs of the validation sets by name, in the order of their loaders.
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
        validation: Mapping[str, ScenePack],
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its types
        self._loss = loss
        self._optimizer = optimizer
        self._schedule = schedule
        self._epochs = epochs
        self._steps = steps
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
        for name, value in (("loss", loss), ("score", losses.score), ("box", losses.box), ("points", losses.points)):
            self.log(f"train/{name}", value, on_step=False, on_epoch=True, batch_size=len(batch.image), sync_dist=True)
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
        optimizer = create_optimizer(self, self._optimizer)
        # A plain function, because of any other callable LambdaLR puts the insides into the checkpoint.
        scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._factor(step))  # noqa: PLW0108
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _factor(self, step: int) -> float:
        """Schedule at an optimizer step."""
        return learning_rate_factor(step / self._steps, float(self._epochs), self._schedule)
