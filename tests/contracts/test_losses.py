"""The same questions to every loss on points."""

from typing import Any

import pytest
import torch
from torch import Tensor

from canthus.errors import ConfigError
from canthus.losses import HEATMAP_LOSSES, LOSSES
from canthus.losses.weights import weigh_points
from canthus.schemes import IBUG_68

every_loss = pytest.mark.parametrize("name", sorted(LOSSES))


def some_points(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(5, 68, 2, generator=generator) * 112
    return truth + torch.randn(5, 68, 2, generator=generator) * 6, truth


@every_loss
def test_one_number_a_face(name: str) -> None:
    assert LOSSES[name](*some_points()).shape == (5,)


@every_loss
def test_zero_at_the_truth_and_positive_elsewhere(name: str) -> None:
    predicted, truth = some_points()
    assert LOSSES[name](truth, truth).abs().max() == 0
    assert (LOSSES[name](predicted, truth) > 0).all()


@every_loss
@pytest.mark.parametrize("offset", [0.01, 0.5, 3.0, 9.99, 10.01, 50.0])
def test_there_is_a_gradient_everywhere_but_at_the_truth(name: str, offset: float) -> None:
    predicted = torch.full((1, 4, 2), offset, requires_grad=True)
    torch.autograd.backward(LOSSES[name](predicted, torch.zeros(1, 4, 2)).sum())
    assert predicted.grad is not None
    assert (predicted.grad > 0).all()


@every_loss
def test_faces_do_not_mix(name: str) -> None:
    predicted, truth = some_points()
    alone = torch.cat([LOSSES[name](predicted[i : i + 1], truth[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(LOSSES[name](predicted, truth), alone)


@every_loss
def test_larger_errors_cost_more(name: str) -> None:
    costs = [float(LOSSES[name](torch.full((1, 3, 2), x), torch.zeros(1, 3, 2))) for x in (0.1, 1.0, 5.0, 10.0, 11.0)]
    assert costs == sorted(costs)
    assert len(set(costs)) == len(costs)


@pytest.mark.parametrize("settings", [{"width": 0.0}, {"curvature": -1.0}])
def test_wing_refuses_settings_without_meaning(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="positive"):
        LOSSES["wing"](*some_points(), **settings)


@every_loss
def test_a_loss_is_the_mean_over_its_points(name: str) -> None:
    predicted, truth = some_points()
    alone = torch.stack([LOSSES[name](predicted[:, [k]], truth[:, [k]]) for k in range(68)])
    torch.testing.assert_close(LOSSES[name](predicted, truth), alone.mean(dim=0))


@every_loss
def test_weighed_points_are_a_weighted_mean(name: str) -> None:
    predicted, truth = some_points()
    weights = torch.ones(68)
    weights[36:48], weights[48:60] = 3.0, 0.5
    alone = torch.stack([LOSSES[name](predicted[:, [k]], truth[:, [k]]) for k in range(68)], dim=1)
    weighed = weigh_points(LOSSES[name], IBUG_68, {"eyes": 3, "outer_mouth": 0.5})
    torch.testing.assert_close(weighed(predicted, truth), (alone * weights).sum(dim=1) / weights.sum())


def test_weighed_maps_are_a_weighted_mean() -> None:
    maps, truth = torch.rand(2, 3, 68, 8, 8), torch.rand(2, 68, 2)
    loss = HEATMAP_LOSSES["heatmap_l2"]
    weights = torch.ones(68)
    weights[36:48] = 3.0
    alone = torch.stack([loss(maps[:, :, [k]], truth[:, [k]]) for k in range(68)], dim=1)
    weighed = weigh_points(loss, IBUG_68, {"eyes": 3}, axis=2)
    torch.testing.assert_close(weighed(maps, truth), (alone * weights).sum(dim=1) / weights.sum())


def test_weights_that_are_all_the_same_change_nothing() -> None:
    loss = LOSSES["l1"]
    assert weigh_points(loss, IBUG_68, {}) is loss
    assert weigh_points(loss, IBUG_68, {"eyes": 1.0}) is loss


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"eye": 2.0}, "Did you mean 'eyes'"),
        ({"eyes": 0}, "above zero, found 0"),
        ({"eyes": "2"}, "above zero, found '2'"),
        ({"eyes": 2.0, "left_eye": 3.0}, "twice, last as 'left_eye'"),
    ],
)
def test_weights_without_meaning_are_refused(weights: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        weigh_points(LOSSES["l1"], IBUG_68, weights)
