"""What was pruned, as plain data: with the weights enough to rebuild the network."""

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

from torch import nn

from canthus.compression.groups import ChannelGroup, Member
from canthus.compression.layers import keep_channels, width
from canthus.errors import ModelFileError

VERSION = 1


@final
@dataclass(frozen=True)
class Cut:
    """Channels that a layer loses.

    Attributes:
        layer: its name in the network.
        side: ``in`` or ``out``; of a layer with one width ``out``.
        dropped: channels, numbered as in the whole network, ascending.
    """

    layer: str
    side: str
    dropped: tuple[int, ...]


@final
@dataclass(frozen=True)
class PrunedGroup:
    """One step of a pruning.

    Attributes:
        layer: the layer it is named after.
        channels: number of elements before.
        kept: elements that stay, ascending.
        cuts: what each layer of the group loses.
    """

    layer: str
    channels: int
    kept: tuple[int, ...]
    cuts: tuple[Cut, ...]


@final
@dataclass(frozen=True)
class PrunePlan:
    """All steps of a pruning, in their order.

    Attributes:
        groups: the steps.
    """

    groups: tuple[PrunedGroup, ...] = ()

    def to_json(self) -> str:
        """As text; ``from_json`` reads it back."""
        return json.dumps({"version": VERSION, "groups": [asdict(group) for group in self.groups]})

    @staticmethod
    def from_json(text: str) -> "PrunePlan":
        """A plan from its text.

        Raises:
            ModelFileError: not the text of a plan, or of a newer version.
        """
        try:
            values = json.loads(text)
            if values["version"] != VERSION:
                raise ModelFileError(f"A pruning plan of version {values['version']}; this canthus reads {VERSION}")
            return PrunePlan(tuple(_read_group(group) for group in values["groups"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ModelFileError(f"Not a pruning plan: {type(error).__name__} {error}") from error

    def dropped(self, layer: str, side: str) -> tuple[int, ...]:
        """Channels that a side of a layer loses, over all steps."""
        found = {
            c for g in self.groups for cut in g.cuts if (cut.layer, cut.side) == (layer, side) for c in cut.dropped
        }
        return tuple(sorted(found))


def _read_group(values: dict[str, Any]) -> PrunedGroup:
    cuts = tuple(Cut(str(c["layer"]), str(c["side"]), tuple(map(int, c["dropped"]))) for c in values["cuts"])
    return PrunedGroup(str(values["layer"]), int(values["channels"]), tuple(map(int, values["kept"])), cuts)


def read_plan(path: Path) -> PrunePlan:
    """Read a plan's file.

    Raises:
        ModelFileError: no such file, or not a plan.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: no such pruning plan")
    return PrunePlan.from_json(path.read_text())


def apply_plan(network: nn.Module, plan: PrunePlan) -> nn.Module:
    """Cut a whole network to what a plan leaves, in place; weights that stay keep their values.

    Args:
        network: as it was made, with all its channels.
        plan: for this network.

    Returns:
        The same network.

    Raises:
        ModelFileError: the plan is for another network.
    """
    for layer, side in dict.fromkeys((cut.layer, cut.side) for group in plan.groups for cut in group.cuts):
        try:
            part = network.get_submodule(layer)
            dropped, count = set(plan.dropped(layer, side)), width(part, side)
        except (AttributeError, TypeError) as error:
            raise ModelFileError(f"The pruning plan is for another network: {error}") from error
        kept = [c for c in range(count) if c not in dropped]
        if len(kept) != count - len(dropped) or not kept:
            raise ModelFileError(
                f"The pruning plan is for another network, or this one is pruned already: {layer} has {count} "
                f"channels ({side}), of which {len(dropped)} up to number {max(dropped)} should go"
            )
        keep_channels(part, side, kept)
    return network


def step_of(group: ChannelGroup, kept: Sequence[int]) -> PrunedGroup:
    """The step that leaves some elements of a group."""
    gone = sorted(set(range(group.count)) - set(kept))
    cuts = (
        Cut(m.layer, m.side, tuple(sorted({c for element in gone for c in m.channels[element]}))) for m in group.members
    )
    return PrunedGroup(group.layer, group.count, tuple(sorted(kept)), tuple(cut for cut in cuts if cut.dropped))


def renumbered(group: ChannelGroup, plan: PrunePlan) -> ChannelGroup:
    """A group with the channel numbers that a network has after some steps."""
    return replace(group, members=tuple(_renumbered(member, plan) for member in group.members))


def _renumbered(member: Member, plan: PrunePlan) -> Member:
    gone = plan.dropped(member.layer, member.side)
    now = {c: c - bisect_left(gone, c) for cs in member.channels for c in cs} if gone else None
    return (
        member if now is None else replace(member, channels=tuple(tuple(now[c] for c in cs) for cs in member.channels))
    )
