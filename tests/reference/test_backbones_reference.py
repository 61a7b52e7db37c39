"""The backbones against published sizes and the names in published files of weights."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from canthus.models import create_model
from canthus.models.backbones import create_backbone
from canthus.models.joint import decoding
from canthus.models.weights import load_weights

CLASSIFIERS: dict[str, dict[str, tuple[int, ...]]] = {
    "mobilenet_v2": {"classifier.1.weight": (1000, 1280), "classifier.1.bias": (1000,)},
    "mobilenet_v3_large": {
        "classifier.0.weight": (1280, 960),
        "classifier.0.bias": (1280,),
        "classifier.3.weight": (1000, 1280),
        "classifier.3.bias": (1000,),
    },
    "mobilenet_v3_small": {
        "classifier.0.weight": (1024, 576),
        "classifier.0.bias": (1024,),
        "classifier.3.weight": (1000, 1024),
        "classifier.3.bias": (1000,),
    },
    "resnet50": {"fc.weight": (1000, 2048), "fc.bias": (1000,)},
}
"""What the published files hold beside the backbone."""

NAMED: dict[str, dict[str, tuple[int, ...]]] = {
    "mobilenet_v2": {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.0.1.running_mean": (32,),
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.1.conv.2.bias": (16,),
        "features.2.conv.0.0.weight": (96, 16, 1, 1),
        "features.2.conv.1.0.weight": (96, 1, 3, 3),
        "features.2.conv.2.weight": (24, 96, 1, 1),
        "features.2.conv.3.running_var": (24,),
        "features.17.conv.2.weight": (320, 960, 1, 1),
        "features.18.0.weight": (1280, 320, 1, 1),
    },
    "mobilenet_v3_large": {
        "features.1.block.0.0.weight": (16, 1, 3, 3),
        "features.1.block.1.0.weight": (16, 16, 1, 1),
        "features.4.block.2.fc1.weight": (24, 72, 1, 1),
        "features.4.block.2.fc2.bias": (72,),
        "features.4.block.3.1.running_var": (40,),
        "features.15.block.1.0.weight": (960, 1, 5, 5),
        "features.16.0.weight": (960, 160, 1, 1),
    },
    "mobilenet_v3_small": {
        "features.1.block.1.fc1.weight": (8, 16, 1, 1),
        "features.1.block.2.0.weight": (16, 16, 1, 1),
        "features.4.block.2.fc1.weight": (24, 96, 1, 1),
        "features.11.block.3.0.weight": (96, 576, 1, 1),
        "features.12.0.weight": (576, 96, 1, 1),
    },
    "resnet50": {
        "conv1.weight": (64, 3, 7, 7),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer3.5.conv2.weight": (256, 256, 3, 3),
        "layer4.2.bn3.running_var": (2048,),
    },
}
ENTRIES = {"mobilenet_v2": 314, "mobilenet_v3_large": 312, "mobilenet_v3_small": 244, "resnet50": 320}
"""Entries of the published files."""


def published_file(name: str, width: float = 1.0) -> dict[str, Tensor]:
    """Random weights in the layout of the published file."""
    state = dict(create_backbone(name, width=width).state_dict())
    return state | {key: torch.zeros(shape) for key, shape in CLASSIFIERS[name].items()}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # With 1,000 classes: Howard et al. (2017), table 8, 4.2 million; the published files 3,504,872, 5,483,032,
        # 2,542,856 and 25,557,032.
        ("mobilenet_v1", 4_231_976 - 1_025_000),
        ("mobilenet_v2", 3_504_872 - 1_281_000),
        ("mobilenet_v3_large", 5_483_032 - 1_230_080 - 1_281_000),
        ("mobilenet_v3_small", 2_542_856 - 590_848 - 1_025_000),
        ("resnet50", 25_557_032 - 2_049_000),
    ],
)
def test_the_backbone_has_the_published_parameters(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in create_backbone(name).parameters()) == parameters


@pytest.mark.parametrize("name", sorted(NAMED))
def test_parameters_have_the_published_names(name: str) -> None:
    state = published_file(name)
    assert len(state) == ENTRIES[name]
    assert {key: tuple(state[key].shape) for key in NAMED[name]} == NAMED[name]


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_published_file_fills_the_backbone_of_the_joint_network(name: str, tmp_path: Path) -> None:
    state = published_file(name, 0.25)
    torch.save(state, tmp_path / "weights.pth")
    network = create_model("joint", points=68, size=128, settings={"backbone": name, "width": 0.25})
    report = load_weights(network, tmp_path / "weights.pth")
    assert (report.part, report.missing, report.mismatched) == ("backbone", (), {})
    assert report.unexpected == tuple(sorted(CLASSIFIERS[name]))
    for key in NAMED[name]:
        torch.testing.assert_close(network.state_dict()[f"backbone.{key}"], state[key])


def test_the_report_tells_what_did_not_fit(tmp_path: Path) -> None:
    torch.save(published_file("mobilenet_v2", 0.25), tmp_path / "weights.pth")
    network = create_model("joint", points=68, size=128, settings={"width": 0.25, "top": False})
    report = load_weights(network, tmp_path / "weights.pth")
    assert [name for name in report.unexpected if name.startswith("features")] == [
        "features.18.0.weight", "features.18.1.bias", "features.18.1.running_mean", "features.18.1.running_var",
        "features.18.1.weight",
    ]  # fmt: skip
    wider = create_model("joint", points=68, size=128, settings={"width": 0.5})
    report = load_weights(wider, tmp_path / "weights.pth")
    assert report.mismatched["features.0.0.weight"] == ((8, 3, 3, 3), (16, 3, 3, 3))
    assert "features.0.0.weight 8x3x3x3 -> 16x3x3x3" in str(report)
    assert "of the backbone taken" in str(report)
    assert "unused: classifier.1.bias, classifier.1.weight" in str(report)


def test_the_student_has_the_printed_size() -> None:
    """Table 5 of "mobile-distill-prune" (2024): 7.8 MB, without the heatmaps, which only training needs."""
    network = create_model("joint", points=68, size=128, settings={"top": False})
    megabytes = 4 * sum(p.numel() for p in decoding(network, "regression").parameters()) / 1e6
    assert megabytes == pytest.approx(7.8, rel=0.01)
