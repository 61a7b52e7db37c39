"""Packed scenes to torch batches for face detectors."""

from collections.abc import Sequence
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from canthus.data.packs import ScenePack
from canthus.data.scene_transforms import SceneAugmentation, Scenery, random_mosaic, random_scenery
from canthus.images import fit_image
from canthus.models.face_detector import STRIDES
from canthus.training.loader import Draw, MixtureSampler, Source


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
