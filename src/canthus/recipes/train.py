"""Train a landmark network or a face detector by a recipe."""

import contextlib
import functools
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, final

import lightning as L
import numpy as np
import torch
from jaxtyping import Float32
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.utils.data import DataLoader

from canthus.data import LANDMARK_SETS, load_dataset
from canthus.data.packs import CropPack, ScenePack, load_crops, load_scene_pack
from canthus.data.scenes import load_scenes
from canthus.data.splits import face_kinds
from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.losses.weights import class_weights
from canthus.models.face_detector import STRIDES
from canthus.models.weights import WeightsReport
from canthus.recipes.build import load_teacher, objective_of, start_network
from canthus.recipes.config import (
    DetectorConfig,
    Progress,
    Recipe,
    TrainConfig,
    TrainSource,
    ValidationSource,
    dataset_root,
    from_values,
    to_values,
)
from canthus.schemes import find_scheme
from canthus.training.detection_task import MONITOR, DetectionTask
from canthus.training.distillation import Distiller
from canthus.training.fit import FitSettings, fit
from canthus.training.loader import (
    Batch,
    CropDataset,
    MixtureSampler,
    PackT,
    SceneDataset,
    Source,
    picture_loader,
    plain_loader,
    train_loader,
)
from canthus.training.optimizers import Optimization
from canthus.training.task import PoseGuide, RegressionTask, network_input
from canthus.types import Annotation

INIT_REPORT = "init.json"
"""File of a run that lists the tensors taken, and not taken, from a plain file of weights."""

INIT_BATCHES = 8
"""Batches on which the statistics of batch norms are measured when training starts from an exported model."""


@final
@dataclass(frozen=True)
class Surroundings:
    """Where a recipe runs; nothing here changes a result on the same machine.

    Attributes:
        roots: folder of each dataset, by name.
        cache: folder of the packed crops.
        devices: number of processes, or of accelerators.
        accelerator: ``auto``, ``cpu`` or ``gpu``.
        workers: worker processes that make batches; 0 makes them in the training process.
        threads: threads of torch; 0 leaves the choice to torch.
    """

    roots: Mapping[str, Path]
    cache: Path
    out: Path
    devices: int = 1
    accelerator: str = "auto"
    workers: int = 0
    threads: int = 0

    def root_of(self, dataset: str) -> Path:
        """Folder of a dataset.

        Raises:
            ConfigError: ``roots`` does not have it.
        """
        return dataset_root(self.roots, dataset)


@final
@dataclass(frozen=True)
class Packs(Generic[PackT]):
    """The packed datasets of a recipe.

    Attributes:
        train: training sets with their shares of an epoch.
    """

    train: Sequence[Source[PackT]]
    validation: Mapping[str, PackT]


def pack_faces(
    config: Recipe, place: Surroundings, *, progress: Progress = lambda what, done, total: None
) -> Packs[Any]:
    """Pack all datasets of a recipe, or open the packs in the cache: crops of faces, or whole pictures for a detector.

    Raises:
        ConfigError: unknown names, a dataset without a folder, or no validation set that can choose the best epoch.
        DataError: a dataset is missing or damaged.
    """
    return _task_of(config).pack(config, place, progress)


def train(
    config: Recipe, place: Surroundings, packs: Packs[Any], *, write: Callable[[str], None] = lambda line: None
) -> Path:
    """Train by a recipe; resume if the folder holds an unfinished run of it.

    Args:
        packs: what ``pack_faces`` returned for this recipe.
        write: called with one line per epoch if stderr is not a terminal.

    Returns:
        Path of the best checkpoint.

    Raises:
        ConfigError: unknown names, settings that do not work, or the folder holds a run of another recipe.
    """
    refuse_other_run(config, place.out)
    if place.threads:
        torch.set_num_threads(place.threads)
    L.seed_everything(config.seed, verbose=False)
    batches = training_batches(config, place, packs.train)
    images = functools.partial(_some_images, batches) if isinstance(config, TrainConfig) else None
    network = start_network(config, images, report=functools.partial(_keep_report, place.out, write))
    return fit_network(network, config, place, packs, batches, write=write)


def fit_network(
    network: nn.Module,
    config: Recipe,
    place: Surroundings,
    packs: Packs[Any],
    batches: DataLoader[Any],
    *,
    entries: Mapping[str, str] = MappingProxyType({}),
    write: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train a given network by a recipe.

    Args:
        batches: what ``training_batches`` returned.
        entries: further entries of every checkpoint, as text.
        write: called with one line per epoch if stderr is not a terminal.

    Returns:
        Path of the best checkpoint.
    """
    task = _task_of(config)
    return fit(
        task.module(config, place, network, packs.validation),
        batches,
        [task.validation_batches(config, pack) for pack in packs.validation.values()],
        out=place.out,
        config=to_values(config),
        settings=fit_settings(config, place),
        entries=entries,
        write=write,
    )


def fit_settings(config: Recipe, place: Surroundings) -> FitSettings:
    """Length, precision and devices of a recipe's training, and the metric that chooses its best epoch."""
    task = _task_of(config)
    return FitSettings(
        epochs=config.epochs,
        monitor=task.monitor(config),
        mode=task.mode,
        ema_decay=config.ema_decay,
        precision=config.precision,
        clip=config.optimizer.clip,
        validate_every=config.validate_every,
        devices=place.devices,
        accelerator=place.accelerator,
    )


def training_batches(config: Recipe, place: Surroundings, sources: Sequence[Source[Any]]) -> DataLoader[Any]:
    """Augmented batches of a recipe's training sets.

    Raises:
        ConfigError: weights or sizes that do not work.
    """
    sampler = MixtureSampler(
        sources, faces=config.draws, epochs=config.epochs, batch_size=config.batch_size, seed=config.seed
    )
    dataset = _task_of(config).dataset(config, sources)
    return train_loader(dataset, sampler, batch_size=config.batch_size, workers=place.workers)


def refuse_other_run(config: Recipe, out: Path) -> None:
    """Refuse a folder with the run of another recipe, because resuming it would mix two curves.

    Raises:
        ConfigError: the folder holds such a run; the message names the settings that differ.
    """
    path = out / "config.json"
    if not path.exists():
        return
    old, new = json.loads(path.read_text()), _plain(config)
    # A run of an earlier version lacks the settings that came later; it ran with what are their defaults now.
    with contextlib.suppress(ConfigError):
        old = _plain(from_values(type(config), old))
    if old != new:
        changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        raise ConfigError(
            f"{out} holds a run with other settings ({', '.join(changed)}); choose another --out, or delete it"
        )


def _plain(config: Recipe) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists."""
    values: dict[str, Any] = json.loads(json.dumps(to_values(config)))
    return values


def load_faces(dataset: str, split: str, config: TrainConfig, root: Path) -> list[Annotation]:
    """Faces of a split in the recipe's scheme.

    Raises:
        ConfigError: unknown names, or the set has another scheme and cannot be converted.
        DataError: the dataset is missing or damaged.
    """
    if lookup(LANDMARK_SETS, dataset, kind="dataset").scheme is None:
        return load_dataset(dataset, root, split)
    return load_dataset(dataset, root, split, scheme=config.scheme, variant=config.conversion or None)


def task_of(config: TrainConfig, place: Surroundings, network: nn.Module, validation: Sequence[str]) -> RegressionTask:
    """The Lightning module that trains a landmark network by a recipe.

    Raises:
        ConfigError: settings that do not work together.
    """
    if not config.spread_weight > 0:
        raise ConfigError(
            f"spread_weight must be positive, not {config.spread_weight:g}; leave out model_settings.spread to train "
            "without expected errors"
        )
    return RegressionTask(
        network=network,
        guide=PoseGuide(network, size=config.size, config=config.pose) if config.pose.branch else None,
        distiller=_distiller(config, network),
        objective=objective_of(config),
        scheme=find_scheme(config.scheme),
        optimization=_optimization(config, place),
        validation=validation,
        spread_weight=config.spread_weight,
    )


def _distiller(config: TrainConfig, network: nn.Module) -> Distiller | None:
    if not config.distill.teacher:
        return None
    return Distiller(network, load_teacher(config), size=config.size, config=config.distill)


def _optimization(config: Recipe, place: Surroundings) -> Optimization:
    # The other processes are not up yet when the schedule is made.
    steps = max(1, config.draws // (config.batch_size * place.devices))
    return Optimization(config.optimizer, config.schedule, config.epochs, steps)


@rank_zero_only
def _keep_report(out: Path, write: Callable[[str], None], report: WeightsReport) -> None:
    """Which weights of a foreign file were taken, into the run's folder and to the user."""
    out.mkdir(parents=True, exist_ok=True)
    (out / INIT_REPORT).write_text(json.dumps(asdict(report), indent=1, default=str) + "\n")
    write(str(report))


def _some_images(batches: DataLoader[Batch]) -> Tensor:
    """Pictures of the first batches, as the network takes them."""
    return torch.cat([network_input(batch.image) for batch in itertools.islice(batches, INIT_BATCHES)])


def _pack_crops(config: TrainConfig, place: Surroundings, progress: Progress) -> Packs[CropPack]:
    if not config.validation:
        raise ConfigError("The recipe has no [[validation]] set; the first one decides which epoch is best")

    def faces_of(source: TrainSource | ValidationSource) -> list[Annotation]:
        return load_faces(source.dataset, source.split, config, place.root_of(source.dataset))

    def pack(source: TrainSource | ValidationSource) -> CropPack:
        faces = faces_of(source)
        found = {face.scheme.name for face in faces}
        if found != {config.scheme}:
            raise ConfigError(f"{source.name} has {', '.join(sorted(found))} points, the recipe wants {config.scheme}")
        return load_crops(faces, place.cache, size=config.pack_size, progress=functools.partial(progress, source.name))

    weights: list[Float32[np.ndarray, " n"] | None] = [None] * len(config.train)
    if config.class_weights:
        kinds = [torch.from_numpy(face_kinds(faces_of(source))) for source in config.train]
        shares = torch.cat(kinds).float().mean(dim=0)
        weights = [class_weights(members, shares).numpy() for members in kinds]
    return Packs(
        train=[Source(pack(s), s.weight, s.until, own) for s, own in zip(config.train, weights, strict=True)],
        validation={v.name: pack(v) for v in config.validation},
    )


def _crop_dataset(config: TrainConfig, sources: Sequence[Source[CropPack]]) -> CropDataset:
    return CropDataset(
        sources,
        config.augmentation,
        size=config.size,
        margin=config.margin,
        seed=config.seed,
        angles=config.pose.branch,
    )


def _crop_batches(config: TrainConfig, pack: CropPack) -> DataLoader[Batch]:
    """Faces in order; fewer per batch if they are large, so that memory stays bounded."""
    batch = max(8, min(128, 128 * 112**2 // config.size**2))
    return plain_loader(pack, size=config.size, margin=config.margin, batch_size=batch)


def _pack_scenes(config: DetectorConfig, place: Surroundings, progress: Progress) -> Packs[ScenePack]:
    def pack(source: TrainSource | ValidationSource) -> ScenePack:
        scenes = load_scenes(source.dataset, place.root_of(source.dataset), source.split)
        return load_scene_pack(scenes, place.cache, progress=functools.partial(progress, source.name))

    packs = Packs(
        train=[Source(pack(s), s.weight, s.until) for s in config.train],
        validation={v.name: pack(v) for v in config.validation},
    )
    if not any(found.complete.all() for found in packs.validation.values()):
        raise ConfigError(
            "The recipe has no [[validation]] set in which every face is labelled, such as facemask or wild21; "
            "average precision on such sets decides which epoch is best"
        )
    return packs


def _scene_dataset(config: DetectorConfig, sources: Sequence[Source[ScenePack]]) -> SceneDataset:
    if any(size % max(STRIDES) for size in config.sizes) or not config.sizes:
        raise ConfigError(f"The setting 'sizes' must list multiples of {max(STRIDES)}, not {list(config.sizes)}")
    return SceneDataset(sources, config.augmentation, sizes=config.sizes, seed=config.seed)


def _detection_task(
    config: DetectorConfig, place: Surroundings, network: nn.Module, validation: Mapping[str, ScenePack]
) -> DetectionTask:
    return DetectionTask(
        network=network, loss=config.loss, optimization=_optimization(config, place), validation=validation
    )


@final
@dataclass(frozen=True)
class _Task:
    """What differs between the trainings.

    Attributes:
        pack: packs the datasets.
        dataset: makes augmented batches of the training sets.
        validation_batches: batches of one validation set.
        module: the Lightning module.
        monitor: name of the metric that chooses the best epoch.
        mode: ``min`` or ``max``, whichever of that metric is best.
    """

    pack: Callable[[Any, Surroundings, Progress], Packs[Any]]
    dataset: Callable[[Any, Sequence[Source[Any]]], CropDataset | SceneDataset]
    validation_batches: Callable[[Any, Any], DataLoader[Any]]
    module: Callable[[Any, Surroundings, nn.Module, Mapping[str, Any]], L.LightningModule]
    monitor: Callable[[Any], str]
    mode: str


_TASKS: dict[type, _Task] = {
    TrainConfig: _Task(
        pack=_pack_crops,
        dataset=_crop_dataset,
        validation_batches=_crop_batches,
        module=lambda config, place, network, packs: task_of(config, place, network, list(packs)),
        monitor=lambda config: f"{config.validation[0].name}/nme_ion",
        mode="min",
    ),
    DetectorConfig: _Task(
        pack=_pack_scenes,
        dataset=_scene_dataset,
        validation_batches=lambda config, pack: picture_loader(pack, size=config.inference_size),
        module=_detection_task,
        monitor=lambda config: MONITOR,
        mode="max",
    ),
}


def _task_of(config: Recipe) -> _Task:
    return _TASKS[type(config)]
