"""Least squares after the cut, and the choices of filters that go with it."""

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from canthus.compression import refit as refits
from canthus.compression.groups import find_groups
from canthus.compression.plan import ChannelGroup, PrunePlan, apply_plan, step_of
from canthus.compression.prune import PruneSettings, prune
from canthus.compression.refit import greedy_scores, refit
from canthus.compression.scores import closed_form_scores, random_scores, weight_scores

IMAGES = torch.rand(24, 3, 12, 12, generator=torch.Generator().manual_seed(1))

READERS: dict[str, Callable[[], nn.Module]] = {
    "1x1": lambda: nn.Conv2d(8, 6, 1, stride=2),
    "3x3 without bias": lambda: nn.Conv2d(8, 6, 3, padding=1, bias=False),
    "dilated, reflected": lambda: nn.Conv2d(8, 6, 3, stride=2, padding=2, dilation=2, padding_mode="reflect"),
    "uneven": lambda: nn.Conv2d(8, 6, (1, 3), padding="same"),
    "linear": lambda: nn.Sequential(
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 6), nn.Unflatten(1, (6, 1, 1))
    ),
}


def network_with(kind: str) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 3), nn.ReLU(), READERS[kind](), nn.Conv2d(6, 2, 1)).eval()


def group_of_second(network: nn.Module) -> ChannelGroup:
    return next(group for group in find_groups(network, IMAGES[:2]).groups if group.layer == "1")


def reader_output(network: nn.Module) -> Tensor:
    made: Tensor = network[:4](IMAGES)  # type: ignore[index]
    return made


def change_without(network: nn.Module, group: ChannelGroup, gone: Sequence[int]) -> float:
    """Squared change of the readers' outputs, refitted, per picture."""
    twin = copy.deepcopy(network)
    kept = sorted(set(range(group.count)) - set(gone))
    refit(twin, group, kept, IMAGES)
    apply_plan(twin, PrunePlan((step_of(group, kept),)))
    return float((reader_output(twin) - reader_output(network)).detach().double().square().sum() / len(IMAGES))


@pytest.mark.parametrize("kind", READERS)
def test_no_other_weights_come_closer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of the squared change is zero at the new weights, and the change is smaller than without them."""
    monkeypatch.setattr(refits, "RIDGE", 0.0)
    network = network_with(kind)
    expected = reader_output(network).detach()
    changes = []
    for refitted in (False, True):
        keep = ("3.2" if kind == "linear" else "3",)
        settings = PruneSettings(0.5, round_to=1, keep=keep, refit=refitted)
        made = prune(copy.deepcopy(network), IMAGES, settings).network
        change = (reader_output(made) - expected).square().mean()
        made.zero_grad()
        change.backward()
        reader = next(layer for layer in made[3].modules() if isinstance(layer, nn.Conv2d | nn.Linear))  # type: ignore[index]
        slopes = torch.cat([p.grad.flatten() for p in reader.parameters() if p.grad is not None])
        changes.append((float(change.detach()), float(slopes.abs().max())))
    (plain, plain_slope), (best, slope) = changes
    assert best < 0.5 * plain
    assert slope < 1e-3 * plain_slope


def test_a_copy_of_a_filter_is_replaced_without_loss() -> None:
    network = network_with("3x3 without bias")
    with torch.no_grad():
        for part in network.get_submodule("1").parameters():
            part[5] = part[2]
        network.get_submodule("3").get_parameter("weight")[:, 5] *= 3
    group = group_of_second(network)
    assert change_without(network, group, [5]) < 1e-3 * float(closed_form_scores(network, group, IMAGES)[5])


def test_the_greedy_order_sees_what_filters_have_in_common() -> None:
    """Two strong copies: alone each matters most, together one of them is not needed."""
    network = network_with("1x1")
    with torch.no_grad():
        for part in network.get_submodule("1").parameters():
            part[5] = part[2]
        network.get_submodule("3").get_parameter("weight")[:, (2, 5)] *= 5
    group = group_of_second(network)
    assert set(closed_form_scores(network, group, IMAGES).topk(2).indices.tolist()) == {2, 5}
    order = greedy_scores(network, group, IMAGES)
    assert sorted(order.tolist()) == list(range(8))
    assert int(min(order[2], order[5])) < 6
    assert int(max(order[2], order[5])) == 7


@pytest.mark.parametrize("kind", READERS)
def test_each_greedy_step_is_the_cheapest(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refits, "RIDGE", 1e-9)
    network = network_with(kind)
    group = group_of_second(network)
    order = greedy_scores(network, group, IMAGES).argsort().tolist()
    for place in range(3):
        gone = order[:place]
        costs = {e: change_without(network, group, [*gone, e]) for e in range(group.count) if e not in gone}
        assert costs[order[place]] <= 1.01 * min(costs.values()) + 1e-9


def test_a_sample_smaller_than_the_layer_leaves_the_weights_near_what_they_were() -> None:
    network = network_with("linear")
    group = group_of_second(network)
    before = network.get_submodule("3.2").get_parameter("weight").detach().clone()
    refit(network, group, range(4), IMAGES[:3])
    after = network.get_submodule("3.2").get_parameter("weight").detach()
    assert torch.isfinite(after).all()
    assert float(after.norm()) < 3 * float(before.norm())


def test_baselines() -> None:
    network = network_with("1x1")
    group = group_of_second(network)
    weight = network.get_submodule("1").get_parameter("weight").detach()
    torch.testing.assert_close(weight_scores(network, group, IMAGES), weight.abs().sum((1, 2, 3)))
    drawn = random_scores(network, group, IMAGES)
    torch.testing.assert_close(drawn, random_scores(network, group, IMAGES), rtol=0, atol=0)
    assert (drawn != random_scores(network, group, IMAGES.flip(0))).all()
