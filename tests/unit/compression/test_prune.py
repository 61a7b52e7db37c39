"""Pruning of any module: what stays, how much goes, going on after a stop."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from canthus.compression.plan import PrunePlan, apply_plan, read_plan
from canthus.compression.prune import PruneSettings, Step, prune
from canthus.errors import ConfigError, ModelFileError
from canthus.training.checkpoint import STATE


def own_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 20, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(20, 12, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12 * 9, 4),
    )


IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def learn(network: nn.Module, step: Step) -> None:
    torch.manual_seed(step.number)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    optimizer.zero_grad()
    network(IMAGES + 0.1 * torch.rand_like(IMAGES)).square().mean().backward()
    optimizer.step()


class StopError(Exception):
    """Stands for a kill."""


def test_the_last_layer_comes_first_and_ends_stay_whole() -> None:
    steps: list[Step] = []
    made = prune(own_network(), IMAGES, PruneSettings(0.75, round_to=1), progress=steps.append)
    assert [(s.number, s.total, s.layer, s.channels, s.kept) for s in steps] == [(1, 2, "5", 12, 3), (2, 2, "3", 20, 5)]
    assert set(made.whole) == {"0", "8"}
    assert made.network(IMAGES).shape == (4, 4)


@pytest.mark.parametrize(("rate", "round_to", "kept"), [(0.99, 1, [1, 1]), (0.5, 8, [8, 16]), (0.75, 8, [8, 8])])
def test_how_many_stay(rate: float, round_to: int, kept: list[int]) -> None:
    made = prune(own_network(), IMAGES, PruneSettings(rate, round_to=round_to))
    assert [len(group.kept) for group in made.plan.groups] == kept


def test_filters_without_effect_go_first() -> None:
    network = own_network()
    with torch.no_grad():
        network.get_submodule("3").get_parameter("bias").fill_(1.0)  # no filter is dead of itself
        network.get_submodule("5").get_parameter("weight")[:, ::2] = 0
    made = prune(network, IMAGES, PruneSettings(0.5, round_to=1, keep=("5",)))
    assert made.plan.groups[0].kept == tuple(range(1, 20, 2))
    assert made.whole["5"] == "kept as asked"


def test_going_on_after_a_stop_equals_an_unbroken_pruning(tmp_path: Path) -> None:
    whole = prune(own_network(), IMAGES, PruneSettings(0.5, round_to=1), retrain=learn)

    def stop(step: Step) -> None:
        if step.number == 2:
            raise StopError

    with pytest.raises(StopError):
        prune(own_network(), IMAGES, PruneSettings(0.5, round_to=1), retrain=learn, progress=stop, state=tmp_path)
    steps: list[Step] = []
    made = prune(
        own_network(), IMAGES, PruneSettings(0.5, round_to=1), retrain=learn, progress=steps.append, state=tmp_path
    )
    assert [step.number for step in steps] == [2]
    assert made.plan == whole.plan
    torch.testing.assert_close(made.network(IMAGES), whole.network(IMAGES), rtol=0, atol=0)
    with pytest.raises(ConfigError, match="other settings"):
        prune(own_network(), IMAGES, PruneSettings(0.25), state=tmp_path)
    kept = torch.load(tmp_path / STATE)
    del kept["made_from"]
    torch.save(kept, tmp_path / STATE)
    with pytest.raises(ModelFileError, match="lacks made_from"):
        prune(own_network(), IMAGES, PruneSettings(0.5, round_to=1), state=tmp_path)


def test_what_cannot_be_cut_stays_whole_and_says_why() -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3)
            self.norm, self.last = nn.GroupNorm(2, 8), nn.Conv2d(8, 2, 1)
            self.shift = nn.Parameter(torch.rand(8, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(self.norm(self.c(self.b(self.a(x)) + self.shift)))
            return out

    made = prune(Normed(), IMAGES, PruneSettings(0.5, round_to=1))
    assert made.plan == PrunePlan()
    assert "GroupNorm" in made.whole["c"]
    assert "a parameter outside of layers" in made.whole["b"]


class Shuffled(nn.Module):
    """A shuffle of channels between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.wide = nn.Conv2d(1, 8, 3, 1, 1), nn.Conv2d(8, 16, 1)
        self.next, self.last = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 4, 1)

    def between(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.relu().view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)

    def forward(self, x: Tensor) -> Tensor:
        x = self.wide(self.first(x).relu())
        out: Tensor = self.last(self.next(self.between(x)).relu()).mean((2, 3))
        return out


class Gated(Shuffled):
    """One half of the channels, times a gate of the other half."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(8, 32, 1)

    def between(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        return a * b.sigmoid()


class Split(Shuffled):
    """One half of the channels goes on, the other half through a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Conv2d(8, 8, 3, 1, 1)

    def between(self, x: Tensor) -> Tensor:
        a, b = x.relu().chunk(2, 1)
        return torch.cat([a, self.side(b).relu()], 1)


class Finer(Shuffled):
    """Four channels become one of twice the size."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.next = nn.Conv2d(8, 32, 1), nn.Conv2d(8, 8, 1)

    def between(self, x: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(x.relu(), 2)


@pytest.mark.parametrize(
    ("kind", "kept", "reason"),
    [
        (Shuffled, {"next": 4}, "in a way that cutting would change"),
        (Gated, {"next": 4, "wide": 8}, ""),
        (Split, {"next": 4, "side": 4}, "does not run without its channels"),
        (Finer, {"next": 4, "wide": 4}, ""),
    ],
)
def test_channels_that_are_split_or_permuted(kind: type[Shuffled], kept: dict[str, int], reason: str) -> None:
    """What can be cut computes what the whole network does with its filters set to zero; the rest stays whole."""
    torch.manual_seed(0)
    network = kind().eval()
    made = prune(copy.deepcopy(network), IMAGES, PruneSettings(0.5, round_to=1, refit=False))
    assert {group.layer: len(group.kept) for group in made.plan.groups} == kept
    assert reason in made.whole.get("wide", "")
    for cut in (cut for group in made.plan.groups for cut in group.cuts if cut.side == "out"):
        with torch.no_grad():
            for part in network.get_submodule(cut.layer).parameters():
                part[list(cut.dropped)] = 0
    torch.testing.assert_close(made.network(IMAGES), network(IMAGES))
    rebuilt = apply_plan(kind(), made.plan)
    rebuilt.load_state_dict(made.network.state_dict())


def test_a_choice_that_the_trials_did_not_show_is_tried_before_the_cut() -> None:
    class Odd(nn.Module):
        """Runs with 8 channels, and with the halves that are tried, but not with others."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.wide, self.last = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 8, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.wide(self.first(x))
            if maps.shape[1] not in (4, 8):
                raise ValueError("expected 4 or 8 channels")
            out: Tensor = self.last(maps)
            return out

    assert len(prune(Odd(), IMAGES, PruneSettings(0.5, round_to=1)).plan.groups) == 1
    made = prune(Odd(), IMAGES, PruneSettings(0.25, round_to=1))
    assert made.plan == PrunePlan()
    assert "expected 4 or 8 channels" in made.whole["wide"]


def test_a_number_of_weights_instead_of_a_rate() -> None:
    whole = sum(p.numel() for p in own_network().parameters())
    for wanted in (whole // 2, whole // 5):
        made = prune(own_network(), IMAGES, PruneSettings(weights=wanted, round_to=1))
        left = sum(p.numel() for p in made.network.parameters())
        assert 0.8 * wanted < left <= wanted
    with pytest.raises(ConfigError, match="asks for 20 weights; this network keeps at least 211"):
        prune(own_network(), IMAGES, PruneSettings(weights=20, round_to=1))
    with pytest.raises(ConfigError, match="expected one of them"):
        PruneSettings(0.5, weights=20)


def test_wrong_requests_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        prune(own_network(), IMAGES, PruneSettings(1.0))
    with pytest.raises(ConfigError, match="Cannot keep"):
        prune(own_network(), IMAGES, PruneSettings(0.5, keep=("nothing",)))
    plan = prune(own_network(), IMAGES, PruneSettings(0.5, round_to=1)).plan
    with pytest.raises(ModelFileError, match="another network"):
        apply_plan(nn.Sequential(nn.Conv2d(1, 8, 3)), plan)
    with pytest.raises(ModelFileError, match="pruned already"):
        apply_plan(apply_plan(own_network(), plan), plan)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(ModelFileError, match="Not a pruning plan"):
        read_plan(tmp_path / "plan.json")
