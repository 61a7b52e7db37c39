"""Prune a network layer by layer, from the last to the first."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from canthus.compression.groups import find_groups
from canthus.compression.layers import keep_channels, width
from canthus.compression.plan import PrunedGroup, PrunePlan, apply_plan, renumbered, step_of
from canthus.compression.reach import Outputs, all_tensors
from canthus.compression.scores import SCORERS
from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.models.output import Output
from canthus.models.weights import read_weights_file


def points_and_maps(output: Output) -> list[Tensor]:
    """Points, expected errors and heatmaps; ``features`` may become narrower."""
    return [part for part in (output.points, output.spread, output.heatmaps) if part is not None]


STATE = "pruning.pt"
"""File of a pruning that is under way: settings, plan so far, weights."""


@final
@dataclass(frozen=True)
class PruneSettings:
    """How a network is pruned.

    Attributes:
        rate: share of the channels that goes, of each layer; 0.75 leaves a quarter.
        scorer: key of ``SCORERS``.
        round_to: channels that stay are rounded up to a multiple of this, as far as the layer has them.
        keep: layers whose output channels all stay, by name; the first layer and the outputs stay anyway.
    """

    rate: float
    scorer: str = "closed"
    round_to: int = 1
    keep: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Step:
    """Where a pruning is.

    Attributes:
        number: of this layer, from 1.
        total: number of layers that are pruned.
        layer: its name.
        channels: before.
        kept: after.
    """

    number: int
    total: int
    layer: str
    channels: int
    kept: int


@final
@dataclass(frozen=True)
class Pruned:
    """What a pruning made.

    Attributes:
        network: the network, cut and retrained.
        plan: rebuilds it from a whole one, with ``apply_plan``.
        whole: layers that were left whole, with the reason.
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
) -> Pruned:
    """Score the filters of a layer, drop the least, retrain, and go on with the layer before; see docs/pruning.md.

    Args:
        network: any module of convolutions and linear layers that takes a batch; it is cut in place.
        images: the sample that filters are scored on; the first one also shows the network's structure.
        settings: how much, and by what.
        outputs: which of the tensors that the network returns must keep their width.
        retrain: trains the network in place after each layer.
        progress: told of each layer before it is retrained.
        state: folder for what is needed to go on after a stop, written after every layer; None keeps nothing.

    Raises:
        ConfigError: a rate that is no share, an unknown scorer, or a folder with a pruning by other settings.
    """
    if not 0 < settings.rate < 1 or settings.round_to < 1:
        raise ConfigError(f"The rate lies between 0 and 1 and round_to is 1 or more, not {settings}")
    scorer = lookup(SCORERS, settings.scorer, kind="scorer")
    layers = find_groups(network, images[:2], outputs=outputs, keep=settings.keep)
    plan = _resume(network, settings, state)
    for number, group in enumerate(layers.groups[len(plan.groups) :], len(plan.groups) + 1):
        scores = scorer(network, renumbered(group, plan), images)
        step = step_of(group, _best(scores, settings))
        _cut(network, step, plan)
        plan = PrunePlan((*plan.groups, step))
        now = Step(number, len(layers.groups), group.layer, group.count, len(step.kept))
        progress(now)
        retrain(network, now)
        if state is not None:
            _write_state(network, settings, plan, state)
    return Pruned(network, plan, layers.whole)


def _best(scores: Tensor, settings: PruneSettings) -> list[int]:
    """Elements with the largest scores; of equal ones the first."""
    count = len(scores)
    wanted = count - math.floor(settings.rate * count + 1e-9)
    kept = min(count, max(1, math.ceil(wanted / settings.round_to) * settings.round_to))
    return sorted(torch.sort(scores, descending=True, stable=True).indices[:kept].tolist())


def _cut(network: nn.Module, step: PrunedGroup, before: PrunePlan) -> None:
    for cut in step.cuts:
        layer = network.get_submodule(cut.layer)
        gone = before.dropped(cut.layer, cut.side)
        alive = sorted(set(range(width(layer, cut.side) + len(gone))) - set(gone))
        dropped = set(cut.dropped)
        keep_channels(layer, cut.side, [now for now, channel in enumerate(alive) if channel not in dropped])


def _write_state(network: nn.Module, settings: PruneSettings, plan: PrunePlan, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{STATE}.part"
    torch.save({"settings": _as_text(settings), "plan": plan.to_json(), "state_dict": network.state_dict()}, unfinished)
    unfinished.replace(folder / STATE)


def _resume(network: nn.Module, settings: PruneSettings, folder: Path | None) -> PrunePlan:
    if folder is None or not (folder / STATE).exists():
        return PrunePlan()
    stored = read_weights_file(folder / STATE)
    if stored["settings"] != _as_text(settings):
        raise ConfigError(
            f"{folder} holds a pruning with other settings, {stored['settings']}; choose another folder, or delete it"
        )
    plan = PrunePlan.from_json(stored["plan"])
    apply_plan(network, plan).load_state_dict(stored["state_dict"])
    return plan


def _as_text(settings: PruneSettings) -> str:
    return json.dumps(asdict(settings))
