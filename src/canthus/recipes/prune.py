"""Prune the network of a checkpoint and retrain it by its own recipe."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from canthus.compression.prune import PruneSettings, Step, points_and_maps
from canthus.compression.prune import prune as prune_network
from canthus.data.packs import CropPack
from canthus.data.transforms import View, plain_view
from canthus.errors import ConfigError
from canthus.files import write_text
from canthus.models.weights import read_weights_file, write_weights_file
from canthus.plain_data import COUNT, NOT_NEGATIVE, check_ranges
from canthus.recipes.build import fresh_network, update_feature_channels
from canthus.recipes.config import Progress, TrainConfig, changed_values, from_values, to_values
from canthus.recipes.train import (
    Packs,
    Surroundings,
    fit_network,
    fit_settings,
    own_folder,
    task_of,
    training_batches,
)
from canthus.runtime.sessions import usable_threads
from canthus.training.checkpoint import (
    BEST,
    CONFIG_KEY,
    PLAN_KEY,
    checkpoint_config,
    file_digest,
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
    """Settings of a pruning with retraining.

    Attributes:
        images: number of training faces on which filters are scored.
        layer_epochs: length of the retraining after each layer, as a fraction of the recipe's epoch; 0 for none.
        final_epochs: epochs of training after the last layer; 0 for none.
    """

    settings: PruneSettings
    images: int = 64
    layer_epochs: float = 0.1
    final_epochs: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, images=COUNT, layer_epochs=NOT_NEGATIVE, final_epochs=NOT_NEGATIVE)


@final
@dataclass(frozen=True)
class PruneReport:
    """Result of a pruning.

    Attributes:
        checkpoint: of the pruned network.
        plan: file of the plan, which is also in the checkpoint.
        whole: layers that were not pruned, with the reason.
    """

    checkpoint: Path
    plan: Path
    parameters_before: int
    parameters: int
    whole: Mapping[str, str]

    def describe(self) -> list[str]:
        """Lines of text: layers that were not pruned, numbers of weights, and files."""
        share = self.parameters / self.parameters_before
        return [
            *(f"left whole: {layer} ({reason})" for layer, reason in self.whole.items()),
            f"weights:      {self.parameters_before} -> {self.parameters} ({share:.0%})",
            f"best weights: {self.checkpoint}",
            f"plan:         {self.plan}",
        ]


def pruning_config(checkpoint: Path, run: PruneRun, changes: Sequence[str] = ()) -> TrainConfig:
    """The recipe by which a pruning trains: that of the checkpoint, ``final_epochs`` long and named ``NAME_pruned``.

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
    progress: Progress = lambda what, done, total: None,
    write: Callable[[str], None] = lambda line: None,
) -> PruneReport:
    """Prune layer by layer, from the last to the first; resume if the folder holds an unfinished pruning.

    Args:
        checkpoint: of the whole network.
        config: what ``pruning_config`` returned.
        packs: what ``pack_faces`` returned for this recipe.
        write: called with one line per epoch of the last training if stderr is not a terminal.

    Raises:
        ConfigError: the folder holds a pruning with other settings, of another checkpoint or on other data, or
            another process runs there; or the loss is not finite.
        ModelFileError: the weights do not fit their own recipe, or a saved state is damaged.
        OutputError: a file cannot be written, for example because the disk is full.
    """
    with own_folder(config, place, packs):
        return _prune(checkpoint, config, place, packs, run, progress=progress, write=write)


def _prune(
    checkpoint: Path,
    config: TrainConfig,
    place: Surroundings,
    packs: Packs[CropPack],
    run: PruneRun,
    *,
    progress: Progress,
    write: Callable[[str], None],
) -> PruneReport:
    if place.threads:
        torch.set_num_threads(usable_threads(place.threads))
    network = fresh_network(config)
    network.load_state_dict(network_weights(read_checkpoint(checkpoint)))
    before = _parameters(network)
    retraining = _Retraining(config, place, packs, run.layer_epochs) if run.layer_epochs > 0 else None
    made = prune_network(
        network,
        sample_images(packs, config, run.images),
        run.settings,
        outputs=points_and_maps,
        retrain=retraining or (lambda network, step: None),
        progress=lambda step: progress(step.text(), step.number, step.total),
        state=place.out,
        made_from=_made_from(checkpoint, config, run),
    )
    update_feature_channels(network)
    plan = made.plan.to_json()
    write_text(place.out / PLAN, plan + "\n")
    if run.final_epochs > 0:
        L.seed_everything(config.seed, verbose=False)
        batches = training_batches(config, place, packs.train)
        best = fit_network(network, config, place, packs, batches, entries={PLAN_KEY: plan}, write=write)
    else:
        best = place.out / BEST
        weights = {f"network.{name}": value for name, value in network.state_dict().items()}
        entries = {CONFIG_KEY: json.dumps(to_values(config)), PLAN_KEY: plan}
        write_weights_file(best, {"state_dict": weights, **entries})
    return PruneReport(best, place.out / PLAN, before, _parameters(network), made.whole)


def _made_from(checkpoint: Path, config: TrainConfig, run: PruneRun) -> dict[str, str]:
    """What a pruning depends on beside its ``PruneSettings``; the length of the last training comes after it."""
    values = to_values(config).items()
    recipe = {name: value for name, value in values if name != "epochs" and value is not None}
    return {
        "checkpoint": file_digest(checkpoint),
        "number of images": str(run.images),
        "number of epochs per layer": str(run.layer_epochs),
        "recipe": json.dumps(recipe, sort_keys=True),
    }


def sample_images(packs: Packs[CropPack], config: TrainConfig, count: int) -> Tensor:
    """Random faces of the training sets as the network sees them, without augmentation; the seed is the recipe's."""
    rng = np.random.default_rng(config.seed)
    images = []
    for number in range(count):
        pack = packs.train[number % len(packs.train)].pack
        view = View(size=config.size, margin=config.margin, pack_margin=pack.margin)
        images.append(plain_view(pack.sample(int(rng.integers(len(pack)))), view).image)
    return network_input(torch.from_numpy(np.stack(images)))


@final
class _Retraining:
    """A short training by the recipe after each layer: a part of an epoch, over which the schedule runs once.

    Modules beside the network (a pose branch, the projections of a distillation) keep their weights from layer to layer
    as far as their shapes stay.  Only the training after the last layer averages weights.
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
        kept = {name: t for name, t in task.state_dict().items() if not name.startswith("network.")}
        write_weights_file(self._beside(step.number), kept)
        self._beside(step.number - 2).unlink(missing_ok=True)

    def _beside(self, number: int) -> Path:
        """File with the weights of the modules beside the network after a layer, for the next one or a resumed run."""
        return self._place.out / f"beside_{number:03d}.pt"


def _parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
