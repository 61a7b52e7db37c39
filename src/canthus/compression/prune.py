"""Prune a network layer by layer, from the last to the first."""

import bisect
import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from canthus.compression.groups import find_groups, trial
from canthus.compression.plan import ChannelGroup, PrunePlan, apply_plan, renumbered, step_of
from canthus.compression.reach import Outputs, all_tensors
from canthus.compression.refit import refit
from canthus.compression.scores import SCORERS
from canthus.errors import ConfigError, ModelFileError
from canthus.lookup import lookup
from canthus.models.output import Output, evaluating
from canthus.models.weights import read_weights_file, write_weights_file
from canthus.plain_data import COUNT, NOT_NEGATIVE, check_ranges
from canthus.training.checkpoint import STATE


def points_and_maps(output: Output) -> list[Tensor]:
    """The tensors that must keep their width: points, expected errors and heatmaps, but not feature maps."""
    return [part for part in (output.points, output.spread, output.heatmaps) if part is not None]


@final
@dataclass(frozen=True)
class PruneSettings:
    """How much of a network is pruned, and by which scores.

    Attributes:
        rate: share of each layer's channels that is removed; 0.75 leaves a quarter.  The network that is left has about
            the square of that share of its weights.
        scorer: key of ``SCORERS``.
        round_to: round the number of channels that stay up to a multiple of this, if the layer has as many.
        keep: names of layers that keep all output channels; the first layer and the outputs always do.
        refit: whether the layers that read a pruned layer get new weights by least squares (``compression.refit``).
        weights: instead of a rate, the largest number of weights that the network may have; 0 if there is a rate.
    """

    rate: float = 0.0
    scorer: str = "closed"
    round_to: int = 8
    keep: tuple[str, ...] = ()
    refit: bool = True
    weights: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, round_to=COUNT, weights=NOT_NEGATIVE)
        if self.weights and self.rate:
            raise ConfigError(
                f"The pruning has a rate ({self.rate:g}) and weights ({self.weights}); expected one of them"
            )
        if not self.weights and not 0 < self.rate < 1:
            raise ConfigError(f"The setting rate is {self.rate:g}; expected a share between 0 and 1")

    def kept(self, channels: int, rate: float) -> int:
        """How many of the channels of a layer stay at a rate."""
        wanted = channels - math.floor(rate * channels + 1e-9)
        return min(channels, max(1, math.ceil(wanted / self.round_to) * self.round_to))


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

    def text(self) -> str:
        """One line for a progress bar."""
        return f"layer {self.number} of {self.total}: {self.layer}, {self.channels} -> {self.kept}"


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

    In each layer the filters are scored and those with the lowest scores removed; what reads the layer is refitted, and
    the network is retrained.  A layer stays whole if the network computes something else without the chosen filters
    than where they are ignored, as after a shuffle of channels.

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
    rate = settings.rate or rate_for(settings, network, layers.groups)
    plan, whole, done = PrunePlan(), dict(layers.whole), 0
    if stored is not None:
        plan = PrunePlan.from_json(stored["plan"])
        whole = dict(stored.get("whole", whole))  # earlier versions noted neither
        done = stored.get("done", len(plan.groups))
        apply_plan(network, plan).load_state_dict(stored["state_dict"])
    for number, group in enumerate(layers.groups[done:], done + 1):
        today = renumbered(group, plan)
        kept = _best(scorer(network, today, images), settings.kept(group.count, rate))
        gone = sorted(set(range(group.count)) - set(kept))
        with evaluating(network):
            reason = trial(network, images[:2], today, gone, outputs) if gone else "so few channels that all stay"
        if reason:
            whole[group.layer] = reason
        else:
            if settings.refit:
                refit(network, today, kept, images)
            apply_plan(network, PrunePlan((step_of(today, kept),)))
            plan = PrunePlan((*plan.groups, step_of(group, kept)))
            now = Step(number, len(layers.groups), group.layer, group.count, len(kept))
            progress(now)
            retrain(network, now)
        if state is not None:
            entries = {"settings": _as_text(settings), "made_from": dict(made_from), "plan": plan.to_json()}
            progressed = {"whole": whole, "done": number, "state_dict": network.state_dict()}
            write_weights_file(state / STATE, {**entries, **progressed})
    return Pruned(network, plan, whole)


def rate_for(settings: PruneSettings, network: nn.Module, groups: Sequence[ChannelGroup]) -> float:
    """The smallest rate, in thousandths, at which a network has at most ``settings.weights`` weights.

    Raises:
        ConfigError: it has more at any rate.
    """

    def enough(thousandths: int) -> bool:
        return _weights_left(settings, network, groups, thousandths / 1000) <= settings.weights

    rates = range(1, 1000)
    place = bisect.bisect_left(rates, True, key=enough)
    if place == len(rates):
        least = _weights_left(settings, network, groups, 0.999)
        raise ConfigError(
            f"The pruning asks for {settings.weights} weights; this network keeps at least {least} "
            f"(channels in multiples of {settings.round_to})"
        )
    return rates[place] / 1000


def _weights_left(settings: PruneSettings, network: nn.Module, groups: Sequence[ChannelGroup], rate: float) -> int:
    steps = tuple(step_of(group, range(settings.kept(group.count, rate))) for group in groups)
    return sum(p.numel() for p in apply_plan(copy.deepcopy(network), PrunePlan(steps)).parameters())


def _best(scores: Tensor, count: int) -> list[int]:
    """The elements with the largest scores; among equal scores the first."""
    return sorted(torch.sort(scores, descending=True, stable=True).indices[:count].tolist())


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
    if missing := {"settings", "made_from", "plan", "state_dict"} - stored.keys():
        raise ModelFileError(
            f"{folder / STATE}: lacks {', '.join(sorted(missing))}; expected a state of canthus prune as it is now. "
            "Delete it to begin anew"
        )
    earlier: dict[str, Any] = {"refit": False, "weights": 0} | json.loads(stored["settings"])
    if earlier != json.loads(_as_text(settings)):
        raise ConfigError(
            f"{folder} has a pruning with other settings, {stored['settings']}; choose another folder, or delete it"
        )
    before = stored["made_from"]
    changed = sorted(name for name in {*before, *made_from} if before.get(name) != made_from.get(name))
    if changed:
        raise ConfigError(
            f"{folder} has a pruning with another {', another '.join(changed)}; choose another folder, or delete it"
        )
    return stored
