"""Pruning of any module: what stays, how much goes, going on after a stop."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from canthus.compression.plan import PrunePlan, apply_plan, read_plan
from canthus.compression.prune import PruneSettings, Step, prune
from canthus.errors import ConfigError, ModelFileError


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
    made = prune(own_network(), IMAGES, PruneSettings(0.75), progress=steps.append)
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
    made = prune(network, IMAGES, PruneSettings(0.5, keep=("5",)))
    assert made.plan.groups[0].kept == tuple(range(1, 20, 2))
    assert made.whole["5"] == "kept as asked"


def test_going_on_after_a_stop_equals_an_unbroken_pruning(tmp_path: Path) -> None:
    whole = prune(own_network(), IMAGES, PruneSettings(0.5), retrain=learn)

    def stop(step: Step) -> None:
        if step.number == 2:
            raise StopError

    with pytest.raises(StopError):
        prune(own_network(), IMAGES, PruneSettings(0.5), retrain=learn, progress=stop, state=tmp_path)
    steps: list[Step] = []
    made = prune(own_network(), IMAGES, PruneSettings(0.5), retrain=learn, progress=steps.append, state=tmp_path)
    assert [step.number for step in steps] == [2]
    assert made.plan == whole.plan
    torch.testing.assert_close(made.network(IMAGES), whole.network(IMAGES), rtol=0, atol=0)
    with pytest.raises(ConfigError, match="other settings"):
        prune(own_network(), IMAGES, PruneSettings(0.25), state=tmp_path)


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

    made = prune(Normed(), IMAGES, PruneSettings(0.5))
    assert made.plan == PrunePlan()
    assert "GroupNorm" in made.whole["c"]
    assert "a parameter outside of layers" in made.whole["b"]


def test_wrong_requests_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        prune(own_network(), IMAGES, PruneSettings(1.0))
    with pytest.raises(ConfigError, match="Cannot keep"):
        prune(own_network(), IMAGES, PruneSettings(0.5, keep=("nothing",)))
    plan = prune(own_network(), IMAGES, PruneSettings(0.5)).plan
    with pytest.raises(ModelFileError, match="another network"):
        apply_plan(nn.Sequential(nn.Conv2d(1, 8, 3)), plan)
    with pytest.raises(ModelFileError, match="pruned already"):
        apply_plan(apply_plan(own_network(), plan), plan)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(ModelFileError, match="Not a pruning plan"):
        read_plan(tmp_path / "plan.json")
