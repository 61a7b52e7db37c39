"""Train a landmark network or a face detector by a recipe."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
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

from canthus.data import landmark_sets, load_dataset
from canthus.data.packs import PACK_MARGIN, CropPack, ScenePack, load_crops, load_scene_pack
from canthus.data.scenes import load_scenes
from canthus.data.splits import face_kinds
from canthus.data.transforms import masks_of
from canthus.errors import ConfigError
from canthus.evaluation.errors import training_error
from canthus.lookup import lookup
from canthus.losses.weights import class_weights
from canthus.models.face_detector import STRIDES
from canthus.models.weights import WeightsReport
from canthus.recipes.adapt import adapted
from canthus.recipes.build import load_teacher, objective_of, start_network
from canthus.recipes.config import (
    DetectorConfig,
    Progress,
    Recipe,
    TrainConfig,
    TrainSource,
    ValidationSource,
    as_json,
    completed,
    dataset_root,
    to_values,
)
from canthus.recipes.taught_labels import taught, teacher_file
from canthus.runtime.sessions import usable_threads
from canthus.scheme_files import FILE
from canthus.schemes import IBUG_68, SCHEMES, Scheme, conversion_matrix, own_scheme
from canthus.training.checkpoint import CONFIG, LAST, STATE, checkpoint_config, file_digest, read_checkpoint
from canthus.training.detection_task import MONITOR, DetectionTask
from canthus.training.distillation import Distiller
from canthus.training.fit import FitSettings, fit
from canthus.training.loader import (
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
from canthus.training.run_folder import held, read_record, write_record
from canthus.training.task import PoseGuide, RegressionTask, network_input
from canthus.types import Annotation

INIT_REPORT = "init.json"
"""File of a run that lists the tensors taken, and not taken, from a plain file of weights."""

DATA = "data.json"
"""File of a run with the SHA-256 of each dataset it learns from; see ``CropPack.content``."""

INIT_BATCHES = 8
"""Batches on which the statistics of batch norms are measured when training starts from an exported model."""


@final
@dataclass(frozen=True)
class Surroundings:
    """Where a recipe runs; nothing here changes a result on the same machine.

    Attributes:
        roots: folder of each dataset, by name.
        cache: folder of the packed crops.
        out: folder of the run.
        devices: number of processes, or of accelerators, on each machine.
        nodes: number of machines that train together; a launcher such as ``torchrun`` or Slurm starts the processes.
        accelerator: ``auto``, ``cpu`` or ``gpu``.
        workers: worker processes that make batches; 0 makes them in the training process.
        threads: threads of torch; 0 leaves the choice to torch.
    """

    roots: Mapping[str, Path]
    cache: Path
    out: Path
    devices: int = 1
    nodes: int = 1
    accelerator: str = "auto"
    workers: int = 0
    threads: int = 0


@final
@dataclass(frozen=True)
class Packs(Generic[PackT]):
    """The packed training sets of a recipe, with their shares of an epoch, and its validation sets by name."""

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
    if isinstance(config, DetectorConfig):
        return _pack_scenes(config, place, progress)
    return _pack_crops(config, place, progress)


def train(
    config: Recipe, place: Surroundings, packs: Packs[Any], *, write: Callable[[str], None] = lambda line: None
) -> Path:
    """Train by a recipe and return the path of the best checkpoint; resume if the folder holds an unfinished run of it.

    Args:
        packs: what ``pack_faces`` returned for this recipe.
        write: called with one line per epoch if stderr is not a terminal.

    Raises:
        ConfigError: unknown names, settings that do not work, or see ``own_folder``; the loss is not finite.
        DataError: a file of an earlier run is damaged.
        ModelFileError: a checkpoint is damaged.
        OutputError: a file cannot be written, for example because the disk is full.
    """
    with own_folder(config, place, packs):
        return _train(config, place, packs, write)


def _train(config: Recipe, place: Surroundings, packs: Packs[Any], write: Callable[[str], None]) -> Path:
    if place.threads:
        torch.set_num_threads(usable_threads(place.threads))
    L.seed_everything(config.seed, verbose=False)
    batches = training_batches(config, place, packs.train)

    def images() -> Tensor:
        """Pictures of the first batches, as the network takes them."""
        return torch.cat([network_input(batch.image) for batch in itertools.islice(batches, INIT_BATCHES)])

    network = start_network(
        config,
        images if isinstance(config, TrainConfig) else None,
        report=functools.partial(_keep_report, place.out, write),
    )
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
    """Train a given network by a recipe on its ``training_batches``; see ``train`` and ``training.fit.fit``."""
    task: L.LightningModule
    validation: list[DataLoader[Any]]
    if isinstance(config, DetectorConfig):
        task = DetectionTask(
            network=network, loss=config.loss, optimization=_optimization(config, place), validation=packs.validation
        )
        validation = [picture_loader(pack, size=config.inference_size) for pack in packs.validation.values()]
    else:
        task = task_of(config, place, network, list(packs.validation))
        few = max(8, min(128, 128 * 112**2 // config.size**2))  # large crops in small batches, to bound memory
        validation = [
            plain_loader(pack, size=config.size, margin=config.margin, batch_size=few)
            for pack in packs.validation.values()
        ]
    return fit(
        task,
        batches,
        validation,
        out=place.out,
        config=to_values(config),
        settings=fit_settings(config, place),
        entries=entries,
        write=write,
    )


def fit_settings(config: Recipe, place: Surroundings) -> FitSettings:
    """Length, precision and devices of a recipe's training, and the metric that chooses its best epoch."""
    monitor = MONITOR
    if isinstance(config, TrainConfig):
        monitor = f"{config.validation[0].name}/{training_error(config.find_scheme())}"
    return FitSettings(
        epochs=config.epochs,
        monitor=monitor,
        mode="min" if isinstance(config, TrainConfig) else "max",
        ema_decay=config.ema_decay,
        precision=config.precision,
        clip=config.optimizer.clip,
        validate_every=config.validate_every,
        devices=place.devices,
        nodes=place.nodes,
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
    dataset: CropDataset | SceneDataset
    if isinstance(config, TrainConfig):
        dataset = CropDataset(
            sources,
            config.augmentation,
            size=config.size,
            margin=config.margin,
            seed=config.seed,
            angles=config.pose.branch,
        )
    elif config.sizes and not any(size % max(STRIDES) for size in config.sizes):
        dataset = SceneDataset(sources, config.augmentation, sizes=config.sizes, seed=config.seed)
    else:
        raise ConfigError(f"The setting 'sizes' must list multiples of {max(STRIDES)}, not {list(config.sizes)}")
    return train_loader(dataset, sampler, batch_size=config.batch_size, workers=place.workers)


@contextmanager
def own_folder(config: Recipe, place: Surroundings, packs: Packs[Any]) -> Iterator[None]:
    """Keep the folder of a run to this process, this recipe and these data while the block runs.

    Raises:
        ConfigError: another process runs there, or the folder holds a run by another recipe or on other data.
        DataError: a file of the run is damaged.
    """
    alone = held(place.out) if _is_first_process() else nullcontext()
    with alone:
        refuse_other_run(config, place.out)
        _refuse_other_data(config, place.out, packs)
        yield


def _is_first_process() -> bool:
    """Whether this is the only process of a training, or the first of several."""
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


def _refuse_other_data(config: Recipe, out: Path, packs: Packs[Any]) -> None:
    """Refuse a folder whose run has learnt from other data, and note the data of a run that begins.

    Raises:
        ConfigError: pictures, labels or the teacher have changed since the run began.
    """
    names = [source.name for source in config.train]
    now = dict(zip(names, (source.pack.content for source in packs.train), strict=True))
    now |= {name: pack.content for name, pack in packs.validation.items()}
    teachers = {source.teacher for source in config.train}
    if isinstance(config, TrainConfig):
        teachers.add(config.distill.teacher)
    now |= {name: file_digest(teacher_file(name)) for name in teachers if name and teacher_file(name).is_file()}
    path, begun = out / DATA, any((out / name).exists() for name in (LAST, STATE))
    if begun and path.exists():
        before = read_record(path, remedy="delete it if the data are those of the run")
        changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        if changed:
            raise ConfigError(
                f"{out} holds a run on other data: {', '.join(changed)} changed since it began (pictures, labels or "
                "weights). Choose another --out, or restore the data"
            )
    elif _is_first_process():
        write_record(path, now)


def refuse_other_run(config: Recipe, out: Path) -> None:
    """Refuse a folder with the run of another recipe, because resuming it would mix two curves.

    Raises:
        ConfigError: the folder holds such a run; the message names the settings that differ.
        DataError: its settings cannot be read.
        ModelFileError: its settings are missing, and its last checkpoint cannot be read.
    """
    path = out / CONFIG
    if path.exists():
        values = read_record(path, remedy=f"delete it, as {LAST} holds the settings too")
    elif (out / LAST).exists():
        values = checkpoint_config(read_checkpoint(out / LAST), source=out / LAST)
    else:
        return
    old, new = completed(type(config), values), as_json(to_values(config))
    if old != new:
        changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        raise ConfigError(
            f"{out} holds a run with other settings ({', '.join(changed)}); choose another --out, or delete it"
        )


def load_faces(dataset: str, split: str, root: Path, *, scheme: Scheme, conversion: str) -> list[Annotation]:
    """Faces of a split in a scheme; ``conversion`` is empty for the default variant.

    Points of a ``folder`` are not converted: they are read in the scheme if it is none of canthus, else in their own.

    Raises:
        ConfigError: unknown names, or the set has another scheme and cannot be converted.
        DataError: the dataset is missing or damaged.
    """
    if lookup(landmark_sets(), dataset, kind="dataset").scheme is None:
        return load_dataset(dataset, root, split, scheme=own_scheme(scheme))
    return load_dataset(dataset, root, split, scheme=scheme, variant=conversion or None)


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
    distiller = None
    if config.distill.teacher:
        distiller = Distiller(network, load_teacher(config), size=config.size, config=config.distill)
    return RegressionTask(
        network=network,
        guide=PoseGuide(network, size=config.size, config=config.pose) if config.pose.branch else None,
        distiller=distiller,
        objective=objective_of(config),
        scheme=config.find_scheme(),
        margin=config.margin,
        optimization=_optimization(config, place),
        validation=validation,
        spread_weight=config.spread_weight,
    )


def _optimization(config: Recipe, place: Surroundings) -> Optimization:
    # The other processes are not up yet when the schedule is made.
    steps = max(1, config.draws // (config.batch_size * place.devices * place.nodes))
    return Optimization(config.optimizer, config.schedule, config.epochs, steps)


@rank_zero_only
def _keep_report(out: Path, write: Callable[[str], None], report: WeightsReport) -> None:
    """Which weights of a foreign file were taken, into the run's folder and to the user."""
    write_record(out / INIT_REPORT, {**asdict(report), "path": str(report.path)})
    write(str(report))


def _empty_split(source: TrainSource | ValidationSource) -> ConfigError:
    """The error for a split that holds nothing, as happens in small datasets."""
    return ConfigError(
        f"{source.name} is empty: the dataset has too few pictures to divide. 'fit' and 'validation' take about nine "
        'and one of ten photos (or people). Add pictures, or name other splits in the recipe; with split = "all" of a '
        "folder for training and validation, the errors are those of faces that the network has seen"
    )


def _refuse_other_points(source: TrainSource | ValidationSource, faces: Sequence[Annotation], scheme: Scheme) -> None:
    others = sorted({face.scheme.name for face in faces if not face.scheme.is_numbered_as(scheme)})
    if others:
        told = f"scheme = '{others[0]}' in the recipe" if others[0] in SCHEMES else "the path of their scheme file"
        raise ConfigError(
            f"{source.name} has {', '.join(others)} points, the recipe wants {scheme.name}; to train on them, write "
            f"{told}, such as scheme = 'DIR/{FILE}', which 'canthus schemes new' proposes"
        )


def _pack_crops(config: TrainConfig, place: Surroundings, progress: Progress) -> Packs[CropPack]:
    if not config.validation:
        raise ConfigError("The recipe has no [[validation]] set; the first one decides which epoch is best")
    if config.margin > PACK_MARGIN:
        raise ConfigError(
            f"The setting margin is {config.margin:g}; expected at most {PACK_MARGIN:g}, as packed crops show no more"
        )

    scheme = config.find_scheme()
    if config.pose.branch:
        conversion_matrix(scheme, IBUG_68)  # head poses are computed from these points
    masks_of(config.augmentation)  # refuses an empty folder at once

    def faces_of(source: TrainSource | ValidationSource) -> list[Annotation]:
        root = dataset_root(place.roots, source.dataset)
        faces = load_faces(source.dataset, source.split, root, scheme=scheme, conversion=config.conversion)
        return adapted(faces, source.adapt)

    def pack(source: TrainSource | ValidationSource) -> CropPack:
        faces = faces_of(source)
        if not faces:
            raise _empty_split(source)
        _refuse_other_points(source, faces, scheme)
        return load_crops(faces, place.cache, size=config.pack_size, progress=functools.partial(progress, source.name))

    weights: list[Float32[np.ndarray, " n"] | None] = [None] * len(config.train)
    if config.class_weights:
        kinds = [torch.from_numpy(face_kinds(faces_of(source))) for source in config.train]
        shares = torch.cat(kinds).float().mean(dim=0)
        weights = [class_weights(members, shares, sums=config.class_weight_sum).numpy() for members in kinds]
    packs = [
        taught(s, pack(s), functools.partial(faces_of, s), cache=place.cache, progress=progress) for s in config.train
    ]
    return Packs(
        train=[Source(own, s.weight, s.until, each) for own, s, each in zip(packs, config.train, weights, strict=True)],
        validation={v.name: pack(v) for v in config.validation},
    )


def _pack_scenes(config: DetectorConfig, place: Surroundings, progress: Progress) -> Packs[ScenePack]:
    def pack(source: TrainSource | ValidationSource) -> ScenePack:
        scenes = load_scenes(source.dataset, dataset_root(place.roots, source.dataset), source.split)
        if not scenes:
            raise _empty_split(source)
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
