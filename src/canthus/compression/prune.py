"""Prune a network layer by layer, from the last to the first."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from canthus.compression.groups import find_groups
from canthus.compression.plan import PrunePlan, apply_plan, renumbered, step_of
from canthus.compression.reach import Outputs, all_tensors
from canthus.compression.scores import SCORERS
from canthus.errors import ConfigError, ModelFileError
from canthus.lookup import lookup
from canthus.models.output import Output
from canthus.models.weights import read_weights_file, write_weights_file
from canthus.plain_data import COUNT, check_ranges
from canthus.training.checkpoint import STATE


def points_and_maps(output: Output) -> list[Tensor]:
    """The tensors that must keep their width: points, expected errors and heatmaps, but not feature maps."""
    return [part for part in (output.points, output.spread, output.heatmaps) if part is not None]


@final
@dataclass(frozen=True)
class PruneSettings:
    """How much of a network is pruned, and by which scores.

    Attributes:
        rate: share of each layer's channels that is removed; 0.75 leaves a quarter.
        scorer: key of ``SCORERS``.
        round_to: round the number of channels that stay up to a multiple of this, if the layer has as many.
        keep: names of layers that keep all output channels; the first layer and the outputs always do.
    """

    rate: float
    scorer: str = "closed"
    round_to: int = 1
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_ranges(self, round_to=COUNT)
        if not 0 < self.rate < 1:
            raise ConfigError(f"The setting rate is {self.rate:g}; expected a share between 0 and 1")


@final
@dataclass(frozen=True)
class Step:
    """Progress of a pruning.

    Attributes:
        number: of this layer, from 1.
        total: number of layers to prune.
        channels: number of channels before.
        kept: number of channels after.
    """

    number: int
    total: int
    layer: str
    channels: int
    kept: int


@final
@dataclass(frozen=True)
class Pruned:
    """Result of a pruning.

    Attributes:
        plan: for ``apply_plan``, which rebuilds it from an unpruned network.
        whole: layers that were left whole, each with the reason.
    """

    network: nn.Module
    plan: PrunePlan
    whole: Mapping[str, str]


def prune(
    network: nn.Module,
    images: Float[Tensor, "n *shape"],
    settings: PruneSettings,
    *,
    outputs: Outputs = all_tensors,
    retrain: Callable[[nn.Module, Step], None] = lambda network, step: None,
    progress: Callable[[Step], None] = lambda step: None,
    state: Path | None = None,
    made_from: Mapping[str, str] = MappingProxyType({}),
) -> Pruned:
    """Prune a network layer by layer, from the last to the first; see docs/pruning.md.

    In each layer the filters are scored and those with the lowest scores removed; then the network is retrained.

    Args:
        network: any module of convolutions and linear layers that takes a batch; it is cut in place.
        images: sample that filters are scored on; the first two also show the structure of the network.
        outputs: see ``Outputs``.
        retrain: called after each layer to train the network in place.
        progress: called for each layer before it is retrained.
        state: folder in which each layer is saved, so that an interrupted pruning can go on; None saves nothing.
        made_from: what else the result depends on, such as the checkpoint, in words -> its hash or value.

    Raises:
        ConfigError: an unknown scorer, or a folder with a pruning by other settings or from something else.
        ModelFileError: the saved state is damaged.
        OutputError: it cannot be written.
    """
    scorer = lookup(SCORERS, settings.scorer, kind="scorer")
    stored = _stored(settings, state, made_from)
    layers = find_groups(network, images[:2], outputs=outputs, keep=settings.keep)
    plan = PrunePlan() if stored is None else PrunePlan.from_json(stored["plan"])
    if stored is not None:
        apply_plan(network, plan).load_state_dict(stored["state_dict"])
    for number, group in enumerate(layers.groups[len(plan.groups) :], len(plan.groups) + 1):
        today = renumbered(group, plan)
        kept = _best(scorer(network, today, images), settings)
        apply_plan(network, PrunePlan((step_of(today, kept),)))
        plan = PrunePlan((*plan.groups, step_of(group, kept)))
        now = Step(number, len(layers.groups), group.layer, group.count, len(kept))
        progress(now)
        retrain(network, now)
        if state is not None:
            entries = {"settings": _as_text(settings), "plan": plan.to_json(), "made_from": dict(made_from)}
            write_weights_file(state / STATE, {**entries, "state_dict": network.state_dict()})
    return Pruned(network, plan, layers.whole)


def _best(scores: Tensor, settings: PruneSettings) -> list[int]:
    """Elements with the largest scores; among equal scores the first."""
    count = len(scores)
    wanted = count - math.floor(settings.rate * count + 1e-9)
    kept = min(count, max(1, math.ceil(wanted / settings.round_to) * settings.round_to))
    return sorted(torch.sort(scores, descending=True, stable=True).indices[:kept].tolist())


def _as_text(settings: PruneSettings) -> str:
    return json.dumps(asdict(settings))


def _stored(settings: PruneSettings, folder: Path | None, made_from: Mapping[str, str]) -> dict[str, Any] | None:
    """The state of an unfinished pruning, if the folder has one.

    Raises:
        ConfigError: it is one by other settings or from something else.
        ModelFileError: it is damaged.
    """
    if folder is None or not (folder / STATE).exists():
        return None
    stored = read_weights_file(folder / STATE)
    if missing := {"settings", "plan", "state_dict"} - stored.keys():
        raise ModelFileError(f"{folder / STATE}: lacks {', '.join(sorted(missing))}; expected a state of canthus prune")
    if stored["settings"] != _as_text(settings):
        raise ConfigError(
            f"{folder} has a pruning with other settings, {stored['settings']}; choose another folder, or delete it"
        )
    before = stored.get("made_from", made_from)  # earlier versions did not note it
    changed = sorted(name for name in {*before, *made_from} if before.get(name) != made_from.get(name))
    if changed:
        raise ConfigError(
            f"{folder} has a pruning with another {', another '.join(changed)}; choose another folder, or delete it"
        )
    return stored
