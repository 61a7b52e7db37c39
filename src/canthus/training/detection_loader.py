"""Packed scenes to torch batches for face detectors."""

from collections.abc import Sequence
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from canthus.data.scene_packs import ScenePack
from canthus.data.scene_transforms import SceneAugmentation, Scenery, random_mosaic, random_scenery
from canthus.training.loader import Draw, MixtureSampler, Source


class SceneBatch(NamedTuple):
    """Pictures as a face detector learns from them.

    ``image`` is uint8 ``(b, s, s, 3)`` RGB; ``boxes`` float32 ``(b, m, 4)`` face boxes in pixels, padded with zeros where
    ``present`` ``(b, m)`` is False; ``points`` float32 ``(b, m, 5, 2)`` in edge coordinates, NaN where unknown; ``known``
    bool ``(b, s, s)``, True at pixels that are background wherever no face is.
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
        size: side of the pictures in pixels.
        seed: of all that is random.
    """

    def __init__(
        self, sources: Sequence[Source[ScenePack]], settings: SceneAugmentation, *, size: int, seed: int
    ) -> None:
        self._sources = sources
        self._settings = settings
        self._size = size
        self._seed = seed
        weights = np.array([source.weight for source in sources])
        self._shares = weights / weights.sum()

    def __getitems__(self, draws: Sequence[Draw]) -> SceneBatch:
        return _as_batch([self._draw(draw) for draw in draws])

    def _draw(self, draw: Draw) -> Scenery:
        rng = np.random.default_rng((self._seed, draw.epoch, draw.number))
        scenes = [self._sources[draw.source].pack.sample(draw.face)]
        for source in rng.choice(len(self._sources), size=random_mosaic(rng, self._settings) - 1, p=self._shares):
            pack = self._sources[source].pack
            scenes.append(pack.sample(int(rng.integers(len(pack)))))
        return random_scenery(scenes, rng, self._settings, self._size)


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
