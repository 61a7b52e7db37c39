"""A teacher beside the truth: what it adds to the loss, what learns from it, and what stays out of it."""

import copy

import pytest
import torch
from torch import nn

from canthus.errors import ConfigError
from canthus.models import create_model
from canthus.training.distillation import DistillConfig, Distiller, Teacher

SIZE = 32


def small(backbone: str = "mobilenet_v2", *, head: str = "pooled") -> nn.Module:
    settings = {"backbone": backbone, "width": 0.125, "head": head, "heatmap_side": 8, "heatmap_hidden": (8, 8, 8)}
    settings |= {"hidden": (16,)} if head == "pooled" else {}
    return create_model("joint", points=68, size=SIZE, settings=settings)


def distiller(student: nn.Module, *, head: str = "pooled", **settings: float) -> Distiller:
    torch.manual_seed(1)
    config = DistillConfig("t", width=8, **settings)  # type: ignore[arg-type]
    return Distiller(student, Teacher(small("resnet50", head=head)), size=SIZE, config=config)


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    student, image = small(), torch.rand(4, 3, SIZE, SIZE)
    loss, parts = distiller(student, feature_weight=2.0, output_weight=3.0)(image, student(image))
    assert set(parts) == {"feature_loss", "output_loss"}
    assert float(loss.detach()) == pytest.approx(2 * float(parts["feature_loss"]) + 3 * float(parts["output_loss"]))


def test_a_teacher_may_compute_in_half_precision() -> None:
    network, image = small("resnet50"), torch.rand(4, 3, SIZE, SIZE)
    exact, half = Teacher(network)(image), Teacher(network, half=True)(image)
    assert half.deep is not None
    assert half.deep.dtype == torch.bfloat16
    assert (half.points.float() - exact.points).abs().mean() < 0.05
    student = small()
    config = DistillConfig("t", output_weight=1.0, width=8)
    loss, _ = Distiller(student, Teacher(network, half=True), size=SIZE, config=config)(image, student(image))
    assert loss.dtype == torch.float32
    torch.autograd.backward(loss)


def test_a_part_without_weight_is_not_computed() -> None:
    student, image = small(), torch.rand(4, 3, SIZE, SIZE)
    output = student(image)
    assert set(distiller(student)(image, output)[1]) == {"feature_loss"}
    only_points = distiller(student, feature_weight=0.0, output_weight=1.0)
    assert set(only_points(image, output)[1]) == {"output_loss"}
    assert list(only_points.parameters()) == []


def test_a_twin_of_the_teacher_has_no_loss_of_points() -> None:
    student = small().eval()
    twin = Distiller(student, Teacher(copy.deepcopy(student)), size=SIZE, config=DistillConfig("t", 0.0, 1.0))
    image = torch.rand(2, 3, SIZE, SIZE)
    assert float(twin(image, student(image))[0].detach()) == 0


@pytest.mark.parametrize("head", ["pooled", "flat"])
def test_the_student_and_its_projection_learn_and_the_teacher_does_not(head: str) -> None:
    student, image = small(head=head), torch.rand(4, 3, SIZE, SIZE)
    guide = distiller(student, head=head)
    torch.autograd.backward(guide(image, student(image))[0])
    learned = {name for name, p in guide.named_parameters() if p.grad is not None}
    assert learned == {"student.weight", "student.bias"}
    first = student.get_parameter("backbone.features.0.0.weight").grad
    assert first is not None
    assert first.abs().sum() > 0


def test_the_target_learns_where_it_is_asked_to() -> None:
    student, image = small(), torch.rand(4, 3, SIZE, SIZE)
    guide = distiller(student, learned_target=True)
    torch.autograd.backward(guide(image, student(image))[0])
    assert guide.get_parameter("target.weight").grad is not None


def test_the_teacher_is_neither_saved_nor_copied() -> None:
    guide = distiller(small())
    assert set(guide.state_dict()) == {"student.weight", "student.bias", "target.weight"}
    assert copy.deepcopy(guide)._teacher is guide._teacher


def test_the_target_is_a_rotation_of_the_mean_features() -> None:
    weight = distiller(small()).get_parameter("target.weight")
    torch.testing.assert_close(weight @ weight.T, torch.eye(8), atol=1e-5, rtol=0)


def test_asking_leaves_the_student_as_it_was() -> None:
    student = small().train()
    before = copy.deepcopy(student.state_dict())
    distiller(student)
    assert student.training
    for name, value in student.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_settings_without_meaning_are_refused() -> None:
    with pytest.raises(ConfigError, match="above zero"):
        Distiller(small(), Teacher(small()), size=SIZE, config=DistillConfig("t", 0.0, 0.0))


def test_a_network_that_shows_no_last_map_is_refused() -> None:
    pfld = create_model("pfld", points=68, size=SIZE, settings={"width": 0.25})
    with pytest.raises(ConfigError, match="The student returns no last feature map"):
        Distiller(pfld, Teacher(small()), size=SIZE, config=DistillConfig("t"))
