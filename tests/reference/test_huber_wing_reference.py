"""Huber-wing and the pose weights against the printed equations, computed by hand."""

import math

import pytest
import torch

from canthus.data.splits import CLASSES
from canthus.losses import huber_wing_loss, wing_loss
from canthus.losses.weights import POSE_WEIGHTS, class_weights, pose_weights, pose_weights_as_printed


@pytest.mark.parametrize("error", [0.0, 0.3, 1.0, 1.5, 9.9, 10.5, 60.0])
def test_huber_wing_is_equation_7(error: float) -> None:
    """Yu et al. (2023), eq. 3 to 7."""
    w, eps, delta = 10.0, 2.0, 1.0
    huber = error**2 / 2 if error <= delta else delta * (error - delta / 2)
    c = w - w * math.log(1 + w / eps)
    wing = w * math.log(1 + error / eps) if error <= w else error - c
    got = huber_wing_loss(torch.full((1, 3, 2), error), torch.zeros(1, 3, 2), width=w, curvature=eps, delta=delta)
    assert float(got) == pytest.approx(huber + wing, rel=1e-5, abs=1e-7)


def test_huber_wing_needs_a_positive_delta() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        huber_wing_loss(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), delta=0.0)


def test_huber_wing_is_more_than_wing_off_the_truth() -> None:
    predicted, truth = torch.rand(4, 68, 2) * 20, torch.rand(4, 68, 2) * 20
    assert (huber_wing_loss(predicted, truth) > wing_loss(predicted, truth)).all()


@pytest.mark.parametrize(
    ("unit", "errors", "least", "most"),
    [("sides", (0.001, 0.01, 0.1), 0.0, 0.021), ("pixels of a crop of 112", (0.5, 2.0, 11.0), 0.11, 0.51)],
)
def test_in_sides_huber_wing_is_wing_and_in_pixels_it_is_not(
    unit: str, errors: tuple[float, ...], least: float, most: float
) -> None:
    """The share of Huber's part in the derivative, for errors up to a tenth of the crop."""
    for error in errors:
        predicted = torch.full((1, 1, 2), error, requires_grad=True)
        both, wing = (torch.autograd.grad(loss(predicted, torch.zeros(1, 1, 2)).sum(), predicted)[0].sum()
                      for loss in (huber_wing_loss, wing_loss))  # fmt: skip
        assert least <= float(1 - wing / both) <= most, (unit, error)


def test_pose_weights_are_the_printed_sum_plus_one() -> None:
    predicted, truth = torch.tensor([[0.3, -0.2, 1.0]]), torch.tensor([[0.0, 0.1, -1.0]])
    printed = sum(1 - math.cos(d) for d in (0.3, -0.3, 2.0))
    assert float(pose_weights_as_printed(predicted, truth)) == pytest.approx(printed, rel=1e-5)
    assert float(pose_weights(predicted, truth)) == pytest.approx(1 + printed, rel=1e-5)


def test_the_right_pose_weighs_one_and_zero_only_as_printed() -> None:
    angles = torch.rand(6, 3)
    found = {name: weights(angles, angles).tolist() for name, weights in POSE_WEIGHTS.items()}
    assert found == {"one_plus": [1.0] * 6, "as_printed": [0.0] * 6, "none": [1.0] * 6}


def test_a_turn_of_a_whole_circle_is_no_error() -> None:
    angles = torch.tensor([[0.1, 0.2, 3.1]])
    torch.testing.assert_close(pose_weights(angles, angles + 2 * math.pi), torch.ones(1))


def test_the_weight_grows_with_the_error_up_to_half_a_turn() -> None:
    errors = torch.linspace(0, math.pi, 30)
    weights = pose_weights(torch.stack([errors, errors * 0, errors * 0], dim=1), torch.zeros(30, 3))
    assert (weights.diff() > 0).all()
    assert float(weights[-1]) == pytest.approx(3.0)


def test_a_face_without_true_pose_weighs_one() -> None:
    predicted = torch.zeros(1, 3, requires_grad=True)
    weights = pose_weights(predicted, torch.full((1, 3), torch.nan))
    assert weights.tolist() == [1.0]
    torch.autograd.backward(weights.sum())
    assert predicted.grad is not None
    assert predicted.grad.tolist() == [[0.0, 0.0, 0.0]]


def test_class_weights_are_inverse_fractions_and_never_zero() -> None:
    fractions = torch.tensor([0.1, 0.5, 0.2, 0.2, 0.25, 0.0])
    assert len(fractions) == len(CLASSES)
    members = torch.zeros(4, 6, dtype=torch.bool)
    members[0, 0] = members[1, 1] = members[1, 4] = members[2, 5] = True
    assert class_weights(members, fractions).tolist() == pytest.approx([10.0, 3.0, 100.0, 1.0])
    assert class_weights(members, fractions, sums=True).tolist() == pytest.approx([10.0, 6.0, 100.0, 1.0])
