"""The same questions to every loss on points."""

from typing import Any

import pytest
import torch

from canthus.errors import ConfigError
from canthus.losses import HEATMAP_LOSSES, LOSSES
from canthus.losses.weights import weigh_points
from canthus.schemes import IBUG_68
from contract_checks import check_loss_gradient, check_loss_is_a_mean, check_loss_values, some_points

every_loss = pytest.mark.parametrize("name", sorted(LOSSES))


@every_loss
def test_values_grow_from_zero_at_the_truth(name: str) -> None:
    check_loss_values(LOSSES[name])


@every_loss
def test_there_is_a_gradient_everywhere_but_at_the_truth(name: str) -> None:
    check_loss_gradient(LOSSES[name])


@every_loss
def test_a_loss_is_a_mean_over_points_that_can_be_weighed(name: str) -> None:
    check_loss_is_a_mean(LOSSES[name])


@pytest.mark.parametrize("settings", [{"width": 0.0}, {"curvature": -1.0}])
def test_wing_refuses_settings_without_meaning(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="positive"):
        LOSSES["wing"](*some_points(), **settings)


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
