"""The loss of expected errors."""

import math

import pytest
import torch

from canthus.losses import spread_loss


def test_it_is_least_where_the_expected_error_is_the_mean_error() -> None:
    errors = torch.distributions.Exponential(torch.tensor(50.0)).sample((20000, 1))
    costs = {b: float(spread_loss(torch.full_like(errors, math.log(b)), errors).mean()) for b in (0.015, 0.02, 0.025)}
    assert min(costs, key=lambda b: costs[b]) == 0.02


def test_a_value_worked_out_by_hand() -> None:
    loss = spread_loss(torch.tensor([[0.0, math.log(2.0)]]), torch.tensor([[3.0, 4.0]]))
    assert loss.item() == pytest.approx(((0 + 3) + (math.log(2) + 2)) / 2)


def test_points_without_truth_take_no_part() -> None:
    spread = torch.zeros(2, 3, requires_grad=True)
    loss = spread_loss(spread, torch.tensor([[1.0, math.nan, 3.0], [math.nan, math.nan, math.nan]]))
    torch.autograd.backward(loss.sum())
    torch.testing.assert_close(loss.detach(), torch.tensor([2.0, 0.0]))
    assert spread.grad is not None
    torch.testing.assert_close(spread.grad, torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0]]))
