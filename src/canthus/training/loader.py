"""Packed crops and scenes to torch batches.

All randomness of a picture follows from (seed, epoch, draw).  A resumed run therefore continues exactly as it would
have without the stop, with any number of worker processes.
"""

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, final

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from canthus.data.packs import CropPack, ScenePack
from canthus.data.scene_transforms import SceneAugmentation, Scenery, random_mosaic, random_scenery
from canthus.data.transforms import Augmentation, View, augment, plain_view
from canthus.errors import ConfigError
from canthus.geometry import pixels_to_unit
from canthus.images import fit_image
from canthus.models.face_detector import STRIDES
from canthus.pose import head_pose
from canthus.schemes import IBUG_68, convert
from canthus.types import Sample


class Batch(NamedTuple):
    """Faces for the training or validation of a landmark network.

    Attributes:
        image: uint8 ``(n, s, s, 3)`` RGB.
        points: float32 ``(n, k, 2)`` in the unit frame.
        angles: float32 ``(n, 3)``, yaw, pitch and roll in radians; ``(n, 0)`` if they were not asked for.
        visible: bool ``(n, k)``, False for points that augmentation covered; a point outside the crop is not covered.
        weights: float32 ``(n,)``, weight of each face in the loss of the points; 0 where they cannot be found.
    """

    image: Tensor
    points: Tensor
    angles: Tensor
    visible: Tensor
    weights: Tensor


class Draw(NamedTuple):
    """One picture to make: index of source and face, epoch, and number of the draw in that epoch."""

    source: int
    face: int
    epoch: int
    number: int


PackT = TypeVar("PackT", bound=Sized)
BatchT = TypeVar("BatchT")


@final
@dataclass(frozen=True)
class Source(Generic[PackT]):
    """One pack and its share of the training.

    Attributes:
        weight: share of an epoch, relative to the other sources in use.
        until: the source is used up to this fraction of the training.
        face_weights: weight of each face in the loss; None for 1.
    """

    pack: PackT
    weight: float = 1.0
    until: float = 1.0
    face_weights: Float32[np.ndarray, " n"] | None = None


@final
class MixtureSampler(Sampler[Draw]):
    """Draws over several sources, shuffled anew in each epoch and divided between processes.

    Every epoch has the same length, so schedules and validation do not depend on the sources in use.

    Args:
        sources: the packs; at least one must be used to the end.
        faces: draws of one epoch, over all processes.
        epochs: length of the training, for ``Source.until``.
        batch_size: draws per step and process; an epoch is cut to whole batches.

    Raises:
        ConfigError: no source is used to the end, a weight is not positive, or an epoch is shorter than a batch.
    """

    def __init__(self, sources: Sequence[Source[Any]], *, faces: int, epochs: int, batch_size: int, seed: int) -> None:
        if all(s.until < 1 for s in sources) or any(s.weight <= 0 for s in sources):
            raise ConfigError("Training sets need a positive weight, and one of them needs until = 1.0")
        if faces < batch_size:
            raise ConfigError(f"An epoch of {faces} faces is shorter than one batch of {batch_size}")
        self._sources = sources
        self._faces = faces
        self._epochs = epochs
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to draw; called by the trainer."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Draws of this process in one epoch: whole batches."""
        return max(1, self._faces // (self._batch_size * _processes()[1])) * self._batch_size

    def __iter__(self) -> Iterator[Draw]:
        rank, processes = _processes()
        rng = np.random.default_rng((self._seed, self._epoch))
        pairs = self._pairs(rng, len(self) * processes)
        for number in range(rank, len(pairs), processes):
            yield Draw(*pairs[number], epoch=self._epoch, number=number)

    def _pairs(self, rng: np.random.Generator, total: int) -> list[tuple[int, int]]:
        """(source, face) of every draw; a face repeats only after a whole round over its source."""
        active = [(i, s) for i, s in enumerate(self._sources) if self._epoch < s.until * self._epochs]
        shares = np.cumsum([s.weight for _, s in active]) / sum(s.weight for _, s in active)
        counts = np.diff(np.round(shares * total).astype(int), prepend=0)
        pairs: list[tuple[int, int]] = []
        for (i, source), count in zip(active, counts, strict=True):
            rounds = [rng.permutation(len(source.pack)) for _ in range(-(-int(count) // len(source.pack)))]
            pairs += [(i, int(face)) for face in np.concatenate(rounds)[:count]] if count else []
        return [pairs[i] for i in rng.permutation(len(pairs))]


@final
class CropDataset(Dataset[Batch]):
    """Batches of augmented crops from draws, with ``angles`` also of the head pose after augmentation."""

    def __init__(
        self,
        sources: Sequence[Source[CropPack]],
        settings: Augmentation,
        *,
        size: int,
        margin: float,
        seed: int,
        angles: bool = False,
    ) -> None:
        self._sources = sources
        self._settings = settings
        self._views = [View(size=size, margin=margin, pack_margin=s.pack.margin) for s in sources]
        self._seed = seed
        self._angles = angles

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        batch = _crop_batch([self._draw(draw) for draw in draws], angles=self._angles)
        weights = [self._sources[draw.source].face_weights for draw in draws]
        own = [1.0 if w is None else float(w[draw.face]) for w, draw in zip(weights, draws, strict=True)]
        return batch._replace(weights=batch.weights * torch.tensor(own))

    def _draw(self, draw: Draw) -> Sample:
        rng = np.random.default_rng((self._seed, draw.epoch, draw.number))
        sample = self._sources[draw.source].pack.sample(draw.face)
        return augment(sample, rng, self._settings, self._views[draw.source])


@final
class PlainDataset(Dataset[Batch]):
    """Batches of crops without augmentation, as for inference."""

    def __init__(self, pack: CropPack, *, size: int, margin: float) -> None:
        self._pack = pack
        self._view = View(size=size, margin=margin, pack_margin=pack.margin)

    def __len__(self) -> int:
        return len(self._pack)

    def __getitems__(self, faces: Sequence[int]) -> Batch:
        return _crop_batch([plain_view(self._pack.sample(face), self._view) for face in faces])


def _crop_batch(samples: Sequence[Sample], *, angles: bool = False) -> Batch:
    images, points = np.stack([s.image for s in samples]), np.stack([s.points for s in samples])
    pose = np.zeros((len(samples), 0), np.float32)
    if angles:
        pose = head_pose(convert(points, samples[0].scheme, IBUG_68)).angles
    unit = pixels_to_unit(points, images.shape[1])
    seen = [np.ones(len(s.points), bool) if s.visible is None else s.visible for s in samples]
    return Batch(
        image=torch.from_numpy(images),
        points=torch.from_numpy(unit),
        angles=torch.from_numpy(pose),
        visible=torch.from_numpy(np.stack(seen)),
        weights=torch.tensor([0.0 if sample.lost else 1.0 for sample in samples]),
    )


class SceneBatch(NamedTuple):
    """Pictures for the training of a face detector.

    Attributes:
        image: uint8 ``(b, s, s, 3)`` RGB.
        boxes: float32 ``(b, m, 4)``, face boxes in pixels; zeros where ``present`` is False.
        present: bool ``(b, m)``, False for padding.
        points: float32 ``(b, m, 5, 2)`` in edge coordinates, NaN where unknown.
        known: bool ``(b, s, s)``, False for pixels that may show an unlabelled face.
    """

    image: Tensor
    boxes: Tensor
    present: Tensor
    points: Tensor
    known: Tensor


@final
class SceneDataset(Dataset[SceneBatch]):
    """Batches of augmented scenes from draws; each batch draws one of ``sizes``, sides of the pictures in pixels."""

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
        return _scene_batch([self._draw(draw, size) for draw in draws])

    def _draw(self, draw: Draw, size: int) -> Scenery:
        rng = np.random.default_rng((self._seed, draw.epoch, draw.number))
        scenes = [self._sources[draw.source].pack.sample(draw.face)]
        for source in rng.choice(len(self._sources), size=random_mosaic(rng, self._settings) - 1, p=self._shares):
            pack = self._sources[source].pack
            scenes.append(pack.sample(int(rng.integers(len(pack)))))
        return random_scenery(scenes, rng, self._settings, size)


class PictureBatch(NamedTuple):
    """One whole picture for the validation of a face detector.

    Attributes:
        image: uint8 ``(1, h, w, 3)`` RGB.
        back: float64 ``(2, 3)``, affine map from its pixels to those of the pack.
    """

    image: Tensor
    back: Tensor


@final
class PictureDataset(Dataset[PictureBatch]):
    """The pictures of a pack in order, resized as for inference."""

    def __init__(self, pack: ScenePack, *, size: int) -> None:
        self._pack = pack
        self._size = size

    def __len__(self) -> int:
        return len(self._pack)

    def __getitem__(self, number: int) -> PictureBatch:
        image, back = fit_image(self._pack.sample(number).image, self._size, multiple=max(STRIDES))
        return PictureBatch(torch.from_numpy(image[None].copy()), torch.from_numpy(back.matrix))


def _scene_batch(sceneries: Sequence[Scenery]) -> SceneBatch:
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


def train_loader(
    dataset: Dataset[BatchT], sampler: MixtureSampler, *, batch_size: int, workers: int
) -> DataLoader[BatchT]:
    """Augmented batches of the draws of a sampler; each epoch has the sampler's length."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_already_batched,
        drop_last=True,
        persistent_workers=workers > 0,
    )


def plain_loader(pack: CropPack, *, size: int, margin: float, batch_size: int) -> DataLoader[Batch]:
    """The faces of a pack in order, without augmentation."""
    return DataLoader(
        PlainDataset(pack, size=size, margin=margin), batch_size=batch_size, collate_fn=_already_batched, shuffle=False
    )


def picture_loader(pack: ScenePack, *, size: int) -> DataLoader[PictureBatch]:
    """The pictures of a pack in order, one by one, without augmentation."""
    return DataLoader(PictureDataset(pack, size=size), batch_size=None, shuffle=False)


def _already_batched(batch: Any) -> Any:
    """``__getitems__`` has made the batch; torch's types know only single items."""
    return batch


def _processes() -> tuple[int, int]:
    """Rank of this process, and number of processes."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
