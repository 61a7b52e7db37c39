"""Train a face detector by a recipe."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import lightning as L
import torch
from torch.utils.data import DataLoader

from canthus.data.packs import ScenePack, load_scene_pack
from canthus.data.scenes import load_scenes
from canthus.errors import ConfigError
from canthus.models.face_detector import STRIDES, FaceDetector
from canthus.recipes.build import init_file
from canthus.recipes.config import DetectorConfig, TrainSource, ValidationSource, to_values
from canthus.recipes.train import Progress, Surroundings, refuse_other_run
from canthus.training.checkpoint import network_weights, read_checkpoint
from canthus.training.detection_task import (
    MONITOR,
    DetectionTask,
    SceneBatch,
    SceneDataset,
    picture_loader,
    scene_loader,
)
from canthus.training.fit import FitSettings, fit
from canthus.training.loader import MixtureSampler, Source


@final
@dataclass(frozen=True)
class ScenePacks:
    """The pictures of a recipe, decoded and ready.

    Attributes:
        train: training sets with their part of an epoch.
        validation: validation sets by name.
    """

    train: Sequence[Source[ScenePack]]
    validation: Mapping[str, ScenePack]


def pack_scenes(
    config: DetectorConfig, place: Surroundings, *, progress: Progress = lambda what, done, total: None
) -> ScenePacks:
    """Decode the pictures of all sets of a recipe, or find them in the cache.

    Args:
        config: the recipe.
        place: data and cache folders.
        progress: called with (what, done, total) while packs are made.

    Raises:
        ConfigError: unknown names, no validation set with complete labels, or a dataset without a folder.
        DataError: a dataset is not there or damaged.
    """
    packs = ScenePacks(
        train=[Source(_pack(s, place, progress), weight=s.weight, until=s.until) for s in config.train],
        validation={v.name: _pack(v, place, progress) for v in config.validation},
    )
    if not any(pack.complete.all() for pack in packs.validation.values()):
        raise ConfigError(
            "The recipe has no [[validation]] set in which every face is labelled, such as facemask or wild21; "
            "average precision on such sets decides which epoch is best"
        )
    return packs


def _pack(source: TrainSource | ValidationSource, place: Surroundings, progress: Progress) -> ScenePack:
    scenes = load_scenes(source.dataset, place.root_of(source.dataset), source.split)
    return load_scene_pack(
        scenes, place.cache, progress=functools.partial(progress, f"{source.dataset}/{source.split}")
    )


def train_detector(
    config: DetectorConfig,
    place: Surroundings,
    packs: ScenePacks,
    *,
    write: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train by a recipe; goes on where an earlier run in the same folder was cut off.

    Args:
        config: the recipe.
        place: the run's folder and devices.
        packs: what ``pack_scenes`` made for this recipe.
        write: takes one line an epoch where stderr is no terminal.

    Returns:
        Path of the best checkpoint.

    Raises:
        ConfigError: a setting the network refuses, or the folder holds a run of another recipe.
    """
    refuse_other_run(config, place.out)
    if any(size % max(STRIDES) for size in config.sizes) or not config.sizes:
        raise ConfigError(f"The setting 'sizes' must list multiples of {max(STRIDES)}, not {list(config.sizes)}")
    if place.threads:
        torch.set_num_threads(place.threads)
    L.seed_everything(config.seed, verbose=False)
    return fit(
        _task(config, place, packs.validation),
        _training_batches(config, place, packs.train),
        [picture_loader(pack, size=config.inference_size) for pack in packs.validation.values()],
        out=place.out,
        config=to_values(config),
        settings=FitSettings(
            epochs=config.epochs,
            monitor=MONITOR,
            mode="max",
            ema_decay=config.ema_decay,
            precision=config.precision,
            clip=config.optimizer.clip,
            validate_every=config.validate_every,
            devices=place.devices,
            accelerator=place.accelerator,
        ),
        write=write,
    )


def _task(config: DetectorConfig, place: Surroundings, validation: Mapping[str, ScenePack]) -> DetectionTask:
    return DetectionTask(
        network=start_detector(config),
        loss=config.loss,
        optimizer=config.optimizer,
        schedule=config.schedule,
        epochs=config.epochs,
        steps=max(1, config.pictures_per_epoch // (config.batch_size * place.devices)),
        validation=validation,
    )


def _training_batches(
    config: DetectorConfig, place: Surroundings, sources: Sequence[Source[ScenePack]]
) -> DataLoader[SceneBatch]:
    sampler = MixtureSampler(
        sources,
        faces=config.pictures_per_epoch,
        epochs=config.epochs,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    dataset = SceneDataset(sources, config.augmentation, sizes=config.sizes, seed=config.seed)
    return scene_loader(dataset, sampler, batch_size=config.batch_size, workers=place.workers)


def create_detector_network(config: DetectorConfig) -> FaceDetector:
    """The recipe's network with random weights.

    Raises:
        ConfigError: a setting it does not take.
    """
    try:
        return FaceDetector(**config.model_settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"The face detector cannot be made with {config.model_settings}: {error}") from error


def start_detector(config: DetectorConfig) -> FaceDetector:
    """The recipe's network with the weights it starts from.

    Raises:
        ConfigError: a setting it does not take, or ``init`` is no checkpoint of such a network.
        ModelFileError: ``init`` is no file of weights.
    """
    network = create_detector_network(config)
    if not config.init:
        return network
    try:
        network.load_state_dict(network_weights(read_checkpoint(init_file(config.init))))
    except RuntimeError as error:
        raise ConfigError(f"init={config.init} holds the weights of another network: {error}") from error
    return network
