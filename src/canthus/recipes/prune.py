"""Prune the network of a checkpoint, retraining it by its own recipe."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from canthus.compression.plan import PrunePlan
from canthus.compression.prune import PruneSettings, Step, points_and_maps
from canthus.compression.prune import prune as prune_network
from canthus.data.packs import CropPack
from canthus.data.transforms import View, plain_view
from canthus.errors import ConfigError
from canthus.models.weights import read_weights_file
from canthus.recipes.build import fresh_network, update_feature_channels
from canthus.recipes.config import TrainConfig, changed_values, from_values, to_values
from canthus.recipes.train import (
    Packs,
    Surroundings,
    fit_network,
    fit_settings,
    refuse_other_run,
    task_of,
    training_batches,
)
from canthus.training.checkpoint import (
    BEST,
    CONFIG_KEY,
    PLAN_KEY,
    checkpoint_config,
    network_weights,
    read_checkpoint,
)
from canthus.training.fit import fit_briefly
from canthus.training.task import network_input

PLAN = "plan.json"
"""File of the plan in the folder of a pruning."""


@final
@dataclass(frozen=True)
class PruneRun:
    """How a checkpoint is pruned.

    Attributes:
        settings: how much of each layer, by which scorer.
        images: faces of the training sets that filters are scored on.
        layer_epochs: length of the retraining after each layer, as a share of the recipe's epoch; 0 for none.
        final_epochs: epochs of training after the last layer; 0 for none.
    """

    settings: PruneSettings
    images: int = 64
    layer_epochs: float = 0.1
    final_epochs: int = 0


@final
@dataclass(frozen=True)
class PruneReport:
    """What a pruning made.

    Attributes:
        checkpoint: of the pruned network.
        plan: file of the plan, which the checkpoint holds as well.
        parameters_before: number of weights of the whole network.
        parameters: number that is left.
        whole: layers that were left whole, with the reason.
    """

    checkpoint: Path
    plan: Path
    parameters_before: int
    parameters: int
    whole: Mapping[str, str]


def pruning_config(checkpoint: Path, run: PruneRun, changes: Sequence[str] = ()) -> TrainConfig:
    """The recipe of a checkpoint as its pruning trains by it: ``final_epochs`` long, ``_pruned`` at its name.

    Raises:
        ModelFileError: not a checkpoint.
        ConfigError: it is pruned already, or the changes do not fit.
    """
    state = read_checkpoint(checkpoint)
    if PLAN_KEY in state:
        raise ConfigError(f"{checkpoint} is pruned already; prune the checkpoint it was made from, at a higher rate")
    values = checkpoint_config(state, source=checkpoint)
    values |= {"name": f"{values.get('name', checkpoint.stem)}_pruned", "epochs": max(1, run.final_epochs)}
    return from_values(TrainConfig, changed_values(values, changes))


def prune(
    checkpoint: Path,
    config: TrainConfig,
    place: Surroundings,
    packs: Packs[CropPack],
    run: PruneRun,
    *,
    progress: Callable[[Step], None] = lambda step: None,
    write: Callable[[str], None] = lambda line: None,
) -> PruneReport:
    """Prune layer by layer from the last to the first; goes on where an earlier run in the same folder was cut off.

    Args:
        checkpoint: of the whole network.
        config: what ``pruning_config`` gave.
        place: the run's folder and devices.
        packs: what ``pack_faces`` made for this recipe.
        run: how much, and how long it is retrained.
        progress: told of each layer before it is retrained.
        write: takes one line an epoch of the last training where stderr is no terminal.

    Raises:
        ConfigError: the folder holds a pruning by other settings.
        ModelFileError: the weights do not fit their own recipe.
    """
    refuse_other_run(config, place.out)
    if place.threads:
        torch.set_num_threads(place.threads)
    network = fresh_network(config)
    network.load_state_dict(network_weights(read_checkpoint(checkpoint)))
    before = _parameters(network)
    made = prune_network(
        network,
        sample_images(packs, config, run.images),
        run.settings,
        outputs=points_and_maps,
        retrain=_Retraining(config, place, packs, run.layer_epochs) if run.layer_epochs > 0 else _leave,
        progress=progress,
        state=place.out,
    )
    update_feature_channels(network)
    place.out.mkdir(parents=True, exist_ok=True)
    (place.out / PLAN).write_text(made.plan.to_json() + "\n")
    if run.final_epochs > 0:
        best = _train_on(network, made.plan, config, place, packs=packs, write=write)
    else:
        best = _save(network, made.plan, config, place.out)
    return PruneReport(best, place.out / PLAN, before, _parameters(network), made.whole)


def _train_on(
    network: nn.Module,
    plan: PrunePlan,
    config: TrainConfig,
    place: Surroundings,
    *,
    packs: Packs[CropPack],
    write: Callable[[str], None],
) -> Path:
    L.seed_everything(config.seed, verbose=False)
    batches = training_batches(config, place, packs.train)
    return fit_network(network, config, place, packs, batches, entries={PLAN_KEY: plan.to_json()}, write=write)


def sample_images(packs: Packs[CropPack], config: TrainConfig, count: int) -> Tensor:
    """Faces of the training sets as the network sees them, not augmented; the same ones for a seed."""
    rng = np.random.default_rng(config.seed)
    images = []
    for number in range(count):
        pack = packs.train[number % len(packs.train)].pack
        view = View(size=config.size, margin=config.margin, pack_margin=pack.margin)
        images.append(plain_view(pack.sample(int(rng.integers(len(pack)))), view).image)
    return network_input(torch.from_numpy(np.stack(images)))


@final
class _Retraining:
    """A short training after each layer, by the recipe: part of an epoch over which its schedule runs once.

    What learns beside the network (a pose branch, the projection of a distillation) goes on from layer to layer as far
    as its shapes stay; the moving average of weights is left to the last training.
    """

    def __init__(self, config: TrainConfig, place: Surroundings, packs: Packs[CropPack], epochs: float) -> None:
        faces = max(config.batch_size * place.devices, round(config.faces_per_epoch * epochs))
        self._config = replace(
            config, epochs=1, faces_per_epoch=faces, schedule=replace(config.schedule, warmup_epochs=0.0)
        )
        self._place = place
        self._packs = packs

    def __call__(self, network: nn.Module, step: Step) -> None:
        update_feature_channels(network)
        config = replace(self._config, seed=self._config.seed + step.number)
        L.seed_everything(config.seed, verbose=False)
        task = task_of(config, self._place, network, [])
        own = task.state_dict()
        earlier = self._beside(step.number - 1)
        beside = read_weights_file(earlier) if earlier.exists() else {}
        task.load_state_dict({n: t for n, t in beside.items() if n in own and own[n].shape == t.shape}, strict=False)
        batches = training_batches(config, self._place, self._packs.train)
        fit_briefly(task, batches, out=self._place.out, settings=fit_settings(config, self._place))
        task.to("cpu")
        self._place.out.mkdir(parents=True, exist_ok=True)
        torch.save(
            {name: t for name, t in task.state_dict().items() if not name.startswith("network.")},
            self._beside(step.number),
        )
        self._beside(step.number - 2).unlink(missing_ok=True)

    def _beside(self, number: int) -> Path:
        """What learned beside the network up to a layer, for the next one, also after a stop."""
        return self._place.out / f"beside_{number:03d}.pt"


def _leave(network: nn.Module, step: Step) -> None:
    """No retraining."""


def _save(network: nn.Module, plan: PrunePlan, config: TrainConfig, out: Path) -> Path:
    path = out / BEST
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": weights, CONFIG_KEY: json.dumps(to_values(config)), PLAN_KEY: plan.to_json()}, path)
    return path


def _parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
