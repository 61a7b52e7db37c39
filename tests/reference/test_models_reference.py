"""Sizes and names of the networks against what is printed or published."""

from pathlib import Path

import pytest
import torch
from torch import nn

from canthus.errors import ModelFileError
from canthus.models import create_model
from canthus.models.layers import BlazeBlock, GhostModule, conv_bn
from canthus.models.weights import load_weights


def saved_size(network: nn.Module) -> float:
    """Size of the saved state, with the statistics of batch norms, in MiB."""
    return float(sum(value.numel() * value.element_size() for value in network.state_dict().values())) / 2**20


@pytest.mark.parametrize(
    ("name", "settings", "printed", "tolerance"),
    [
        # Yu et al. (2023), tables 5 and 6, column "Model Size".
        ("blaze_ghost", {"dead_layer": True}, 5.66, 0.02),
        ("blaze_landmark", {"dead_layer": True}, 7.52, 0.02),
        ("pfld", {"width": 0.25}, 1.1, 0.12),
    ],
)
def test_the_network_has_the_printed_size(
    name: str, settings: dict[str, float], printed: float, tolerance: float
) -> None:
    network = create_model(name, points=68, size=112, settings=settings)
    assert saved_size(network) == pytest.approx(printed, rel=tolerance)


@pytest.mark.parametrize("name", ["blaze_ghost", "blaze_landmark"])
def test_the_dead_layer_changes_nothing_but_the_size(name: str) -> None:
    plain, dead = (create_model(name, points=68, size=112, settings={"dead_layer": on}).eval() for on in (False, True))
    dead.load_state_dict(plain.state_dict(), strict=False)
    image = torch.rand(1, 3, 112, 112)
    assert saved_size(dead) > saved_size(plain) + 1.5
    torch.testing.assert_close(dead(image).points, plain(image).points)


def test_stages_have_the_printed_shapes() -> None:
    """Yu et al. (2023), table 4; the last stages at 1/16, as the fully connected layer of 96 x 7 x 7 wants it."""
    network = create_model("blaze_ghost", points=68, size=112).eval()
    shapes = []
    x = torch.rand(1, 3, 112, 112)
    for stage in ("stem", "stage_4", "stage_8", "stage_16", "pyramid"):
        x = network.get_submodule(stage)(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(24, 56, 56), (48, 28, 28), (96, 14, 14), (96, 7, 7), (96, 7, 7)]
    assert network.get_parameter("head.weight").shape == (136, 96 * 7 * 7)


def test_a_ghost_module_costs_half_of_a_pointwise_convolution_and_nine_weights_a_cheap_map() -> None:
    """Han et al. (2020), section 3.1: s = 2, primary 1x1, d = 3."""
    ghost = GhostModule(64, 96, active=nn.ReLU)
    convolutions = sum(p.numel() for p in ghost.parameters() if p.ndim == 4)
    assert convolutions == 64 * 48 + 48 * 9
    assert ghost(torch.rand(1, 64, 5, 5)).shape == (1, 96, 5, 5)


def test_a_double_blaze_block_is_two_single_ones_under_one_shortcut() -> None:
    single = BlazeBlock(8, 8, pointwise=conv_bn)
    double = BlazeBlock(8, 8, pointwise=conv_bn, hidden=8)
    assert sum(p.numel() for p in double.parameters()) == 2 * sum(p.numel() for p in single.parameters())
    with torch.no_grad():
        for parameter in double.layers.parameters():
            parameter.zero_()
    x = torch.rand(1, 8, 6, 6)
    torch.testing.assert_close(double.eval()(x), x)


def test_resnet_50_has_the_published_parameters_and_names() -> None:
    """He et al. (2016), table 1; 25,557,032 parameters with 1,000 classes is what published weight files hold."""
    network = create_model("resnet50", points=500, size=112)
    assert sum(p.numel() for p in network.parameters()) == 25_557_032
    names = list(network.state_dict())
    assert len(names) == 320
    assert names[:3] == ["conv1.weight", "bn1.weight", "bn1.bias"]
    assert {"layer1.0.downsample.0.weight", "layer3.5.bn3.running_var", "layer4.2.conv3.weight", "fc.bias"} <= set(
        names
    )


def test_a_weight_file_fills_everything_but_the_last_layer(tmp_path: Path) -> None:
    source = create_model("resnet50", points=500, size=112, settings={"width": 8})
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    network = create_model("resnet50", points=68, size=112, settings={"width": 8})
    assert load_weights(network, tmp_path / "weights.pth").left == ["fc.weight", "fc.bias"]
    name = "layer4.2.conv3.weight"
    torch.testing.assert_close(network.get_parameter(name), source.get_parameter(name))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2, 2)}, tmp_path / "weights.pth")
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    network = create_model("resnet50", points=68, size=112, settings={"width": 8})
    for name, message in (("weights", "none of its 1 entries"), ("broken", "safely"), ("missing", "no such file")):
        with pytest.raises(ModelFileError, match=message):
            load_weights(network, tmp_path / f"{name}.pth")
