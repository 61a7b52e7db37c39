"""Wing loss against Feng et al. (2018), eq. 5, evaluated by hand for w = 10, eps = 2."""

import math

import pytest
import torch

from canthus.losses import wing_loss


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (0.0, 0.0),
        (2.0, 10 * math.log(2)),
        (8.0, 10 * math.log(5)),
        (10.0, 10 * math.log(6)),
        (15.0, 15 - (10 - 10 * math.log(6))),
    ],
)
def test_values_of_the_equation(error: float, expected: float) -> None:
    loss = wing_loss(torch.full((1, 1, 2), error), torch.zeros(1, 1, 2), width=10.0, curvature=2.0)
    assert float(loss) == pytest.approx(expected, abs=1e-5)


def test_both_branches_meet_at_the_width() -> None:
    below, above = (
        float(wing_loss(torch.full((1, 1, 2), 10 + d, dtype=torch.float64), torch.zeros(1, 1, 2, dtype=torch.float64)))
        for d in (-1e-9, 1e-9)
    )
    assert below == pytest.approx(above, abs=1e-6)
