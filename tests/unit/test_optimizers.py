"""Optimizers of recipes: in one pass over the parameters where torch can do that."""

import copy

import pytest
import torch
from torch import nn

from canthus.training.optimizers import FUSED, OPTIMIZERS, OptimizerConfig, create_optimizer


def trained(network: nn.Module, config: OptimizerConfig) -> dict[str, torch.Tensor]:
    """The weights of a copy after five steps."""
    network = copy.deepcopy(network)
    optimizer = create_optimizer(network, config)
    for step in range(5):
        inputs = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        network(inputs).square().mean().backward()
        optimizer.step()
    return dict(network.state_dict())


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_steps_are_those_of_the_plain_optimizer(name: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    found = trained(network, OptimizerConfig(name, 1e-2, weight_decay=0.1))
    expected = trained(network, OptimizerConfig(name, 1e-2, weight_decay=0.1, settings={"foreach": False}))
    for key, values in expected.items():
        torch.testing.assert_close(found[key], values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(FUSED))
@pytest.mark.parametrize(
    ("clip", "settings", "fused"), [(0.0, {}, True), (1.0, {}, None), (0.0, {"fused": False}, False)]
)
def test_one_pass_unless_the_gradient_is_limited_or_the_recipe_says_so(
    name: str, clip: float, settings: dict[str, bool], fused: bool | None
) -> None:
    optimizer = create_optimizer(nn.Linear(3, 2), OptimizerConfig(name, 0.1, settings=dict(settings), clip=clip))
    assert [group["fused"] for group in optimizer.param_groups] == [fused] * 2
