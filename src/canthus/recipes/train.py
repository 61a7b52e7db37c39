"""Train a network by a recipe."""

import contextlib
import functools
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import lightning as L
import numpy as np
import torch
from jaxtyping import Float32
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.utils.data import DataLoader

from canthus.data import DATASETS, load_dataset
from canthus.data.face_kinds import face_kinds
from canthus.data.packs import CropPack, load_crops
from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.losses.weights import class_weights
from canthus.models.weights import WeightsReport
from canthus.recipes.build import load_teacher, objective_of, start_network
from canthus.recipes.config import DetectorConfig, TrainConfig, from_values, to_values
from canthus.runtime.downloads import cache_folder
from canthus.schemes import find_scheme
from canthus.training.distillation import Distiller
from canthus.training.fit import FitSettings, fit
from canthus.training.loader import Batch, CropDataset, MixtureSampler, Source, plain_loader, train_loader
from canthus.training.task import PoseGuide, RegressionTask, network_input
from canthus.types import Annotation

Progress = Callable[[str, int, int], None]

INIT_REPORT = "init.json"
"""File of a run with the names that a plain file of weights had for the network, and those it had not."""

INIT_BATCHES = 8
"""Batches on which the statistics of batch norms are measured where a training starts from an exported model."""


@final
@dataclass(frozen=True)
class Surroundings:
    """Where a recipe runs; nothing here changes a result on the same machine.

    Attributes:
        roots: folder of each dataset, by name.
        cache: folder of the packed crops.
        out: folder of the run.
        devices: processes, or accelerators.
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
            ConfigError: it was not given.
        """
        if dataset not in self.roots:
            raise ConfigError(
                f"The recipe needs the dataset {dataset!r}; say where it is with --data DIR (a folder that holds "
                f"{dataset}/) or --root {dataset}=DIR"
            )
        return self.roots[dataset]


def default_cache() -> Path:
    """Where packed crops are kept: ``canthus`` in the user's cache folder."""
    return cache_folder()


@final
@dataclass(frozen=True)
class Packs:
    """The faces of a recipe, cut out and ready.

    Attributes:
        train: training sets with their part of an epoch.
        validation: validation sets by name; the first decides which epoch is best.
    """

    train: Sequence[Source[CropPack]]
    validation: Mapping[str, CropPack]


def pack_faces(
    config: TrainConfig, place: Surroundings, *, progress: Progress = lambda what, done, total: None
) -> Packs:
    """Cut out the faces of all sets of a recipe, or find them in the cache.

    Args:
        config: the recipe.
        place: data and cache folders.
        progress: called with (what, done, total) while crops are made.

    Raises:
        ConfigError: unknown names, no validation set, or a dataset without a folder.
        DataError: a dataset is not there or damaged.
    """
    if not config.validation:
        raise ConfigError("The recipe has no [[validation]] set; the first one decides which epoch is best")
    weights = _class_weights(config, place) if config.class_weights else [None] * len(config.train)
    return Packs(
        train=[
            Source(_pack(s.dataset, s.split, config, place, progress), s.weight, s.until, face_weights)
            for s, face_weights in zip(config.train, weights, strict=True)
        ],
        validation={v.name: _pack(v.dataset, v.split, config, place, progress) for v in config.validation},
    )


def _class_weights(config: TrainConfig, place: Surroundings) -> list[Float32[np.ndarray, " n"] | None]:
    """Of each training set, the weight of each of its faces; classes are counted over all sets together."""
    kinds = [
        torch.from_numpy(face_kinds(load_faces(s.dataset, s.split, config, place.root_of(s.dataset))))
        for s in config.train
    ]
    shares = torch.cat(kinds).float().mean(dim=0)
    return [class_weights(members, shares).numpy() for members in kinds]


def train(
    config: TrainConfig, place: Surroundings, packs: Packs, *, write: Callable[[str], None] = lambda line: None
) -> Path:
    """Train by a recipe; goes on where an earlier run in the same folder was cut off.

    Args:
        config: the recipe.
        place: the run's folder and devices.
        packs: what ``pack_faces`` made for this recipe.
        write: takes one line an epoch where stderr is no terminal.

    Returns:
        Path of the best checkpoint.

    Raises:
        ConfigError: unknown names, or the folder holds a run of another recipe.
    """
    refuse_other_run(config, place.out)
    if place.threads:
        torch.set_num_threads(place.threads)
    L.seed_everything(config.seed, verbose=False)
    batches = training_batches(config, place, packs.train)
    network = start_network(
        config, functools.partial(_some_images, batches), tell=functools.partial(_keep_report, place.out, write)
    )
    return fit_network(network, config, place, packs, batches, write=write)


def fit_network(
    network: nn.Module,
    config: TrainConfig,
    place: Surroundings,
    packs: Packs,
    batches: DataLoader[Batch],
    *,
    entries: Mapping[str, str] = MappingProxyType({}),
    write: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train a network that is there, by a recipe.

    Args:
        network: returns ``Output``; it is trained in place.
        config: the recipe.
        place: the run's folder and devices.
        packs: for the validation sets.
        batches: as ``training_batches`` makes them.
        entries: what else goes into every checkpoint, as text.
        write: takes one line an epoch where stderr is no terminal.

    Returns:
        Path of the best checkpoint.
    """
    return fit(
        task_of(config, place, network, list(packs.validation)),
        batches,
        [_validation_batches(config, pack) for pack in packs.validation.values()],
        out=place.out,
        config=to_values(config),
        settings=FitSettings(
            epochs=config.epochs,
            monitor=f"{config.validation[0].name}/nme_ion",
            ema_decay=config.ema_decay,
            precision=config.precision,
            clip=config.optimizer.clip,
            validate_every=config.validate_every,
            devices=place.devices,
            accelerator=place.accelerator,
        ),
        entries=entries,
        write=write,
    )


def task_of(config: TrainConfig, place: Surroundings, network: nn.Module, validation: Sequence[str]) -> RegressionTask:
    """What a recipe teaches a network, as the training loop takes it.

    Raises:
        ConfigError: settings that do not go together.
    """
    scheme = find_scheme(config.scheme)
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
        scheme=scheme,
        optimizer=config.optimizer,
        schedule=config.schedule,
        epochs=config.epochs,
        # The other processes are not up yet when the schedule is made.
        steps=max(1, config.faces_per_epoch // (config.batch_size * place.devices)),
        validation=validation,
        spread_weight=config.spread_weight,
    )


def _distiller(config: TrainConfig, network: nn.Module) -> Distiller | None:
    if not config.distill.teacher:
        return None
    return Distiller(network, load_teacher(config), size=config.size, config=config.distill)


@rank_zero_only
def _keep_report(out: Path, write: Callable[[str], None], report: WeightsReport) -> None:
    """Which weights of a foreign file were taken, into the run's folder and to the user."""
    out.mkdir(parents=True, exist_ok=True)
    (out / INIT_REPORT).write_text(json.dumps(asdict(report), indent=1, default=str) + "\n")
    write(str(report))


def training_batches(
    config: TrainConfig, place: Surroundings, sources: Sequence[Source[CropPack]]
) -> DataLoader[Batch]:
    """Batches of a recipe's faces, augmented."""
    sampler = MixtureSampler(
        sources,
        faces=config.faces_per_epoch,
        epochs=config.epochs,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    dataset = CropDataset(
        sources,
        config.augmentation,
        size=config.size,
        margin=config.margin,
        seed=config.seed,
        angles=config.pose.branch,
    )
    return train_loader(dataset, sampler, batch_size=config.batch_size, workers=place.workers)


def _validation_batches(config: TrainConfig, pack: CropPack) -> DataLoader[Batch]:
    """Faces in order; fewer a batch where they are large, so that memory stays bounded."""
    batch = max(8, min(128, 128 * 112**2 // config.size**2))
    return plain_loader(pack, size=config.size, margin=config.margin, batch_size=batch)


def _some_images(batches: DataLoader[Batch]) -> Tensor:
    """Pictures of the first batches, as the network takes them."""
    return torch.cat([network_input(batch.image) for batch in itertools.islice(batches, INIT_BATCHES)])


def _pack(dataset: str, split: str, config: TrainConfig, place: Surroundings, progress: Progress) -> CropPack:
    annotations = load_faces(dataset, split, config, place.root_of(dataset))
    found = {a.scheme.name for a in annotations}
    if found != {config.scheme}:
        raise ConfigError(f"{dataset}/{split} has {', '.join(sorted(found))} points, the recipe wants {config.scheme}")
    return load_crops(
        annotations,
        place.cache,
        size=config.pack_size,
        progress=lambda done, total: progress(f"{dataset}/{split}", done, total),
    )


def load_faces(dataset: str, split: str, config: TrainConfig, root: Path) -> list[Annotation]:
    """Faces of a split in the recipe's scheme.

    Raises:
        ConfigError: unknown names, or the set has another scheme and does not convert.
        DataError: the dataset is not there or damaged.
    """
    if lookup(DATASETS, dataset, kind="dataset").scheme is None:
        return load_dataset(dataset, root, split)
    return load_dataset(dataset, root, split, scheme=config.scheme, variant=config.conversion or None)


def refuse_other_run(config: TrainConfig | DetectorConfig, out: Path) -> None:
    """A run folder belongs to one recipe; going on with another would make a curve of two.

    Raises:
        ConfigError: the folder holds a run of another recipe; the message names the settings that differ.
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


def _plain(config: TrainConfig | DetectorConfig) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists."""
    values: dict[str, Any] = json.loads(json.dumps(to_values(config)))
    return values
