"""MobileNet-L against the paper's Table 1, row by row, and FAN against its published size."""

import pytest
import torch
from torch import nn

from canthus.models import create_model
from canthus.models.fan import ParallelBlock
from canthus.models.layers import Residual
from canthus.models.mobilenet_v3 import SqueezeExcite

# Input side, input channels, kernel, expanded width, channels out, SE, stride: the table's bneck rows.
TABLE_1 = [
    (128, 16, 3, 16, 16, True, 2),
    (64, 16, 3, 72, 24, False, 2),
    (32, 24, 3, 88, 24, False, 1),
    (32, 24, 5, 96, 40, True, 2),
    (16, 40, 5, 240, 40, True, 1),
    (16, 40, 5, 240, 40, True, 1),
    (16, 40, 5, 120, 48, True, 1),
    (16, 48, 5, 144, 48, True, 1),
    (16, 48, 5, 288, 96, True, 2),
    (8, 96, 5, 576, 96, True, 1),
    (8, 96, 5, 576, 96, True, 1),
]


def squeeze_width(channels: int) -> int:
    """MobileNetV3: a quarter, as the nearest multiple of 8."""
    return max(8, int(channels / 4 + 4) // 8 * 8)


def expected() -> tuple[int, int]:
    """Weights of convolutions and linear layers, and multiply-adds at 256 x 256, counted from the table by hand."""
    weights, work = 3 * 16 * 9, 3 * 16 * 9 * 128**2
    for side, inputs, kernel, hidden, outputs, squeeze, stride in TABLE_1:
        after = side // stride
        expand = inputs * hidden if hidden != inputs else 0
        weights += expand + hidden * kernel**2 + hidden * outputs
        work += expand * side**2 + (hidden * kernel**2 + hidden * outputs) * after**2
        if squeeze:
            weights += 2 * hidden * squeeze_width(hidden)
            work += 2 * hidden * squeeze_width(hidden)
    weights += 96 * 576 + 2 * 576 * squeeze_width(576)  # C2
    work += 96 * 576 * 64 + 2 * 576 * squeeze_width(576)
    weights += 576 * 1024 + 1024 * 64 + 96 * 128 + 576 * 128 + 320 * 136  # S3, S1, S2, the points
    work += 576 * 1024 + 1024 * 64 + (96 * 128 + 576 * 128) * 64 + 320 * 136
    return weights, work


def multiply_adds(network: nn.Module, size: int) -> int:
    """Counted while a picture passes."""
    total = 0

    def count(layer: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d | nn.Linear):
            places = output.shape[2] * output.shape[3] if output.ndim == 4 else 1
            total += layer.weight.numel() * places

    hooks = [layer.register_forward_hook(count) for layer in network.modules()]
    network.eval()(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return total


def test_weights_and_work_follow_from_the_table() -> None:
    network = create_model("mobilenet_l", points=68, size=256)
    weights, work = expected()
    assert sum(p.numel() for p in network.parameters() if p.ndim > 1) == weights
    assert multiply_adds(network, 256) == work
    assert weights == 1_862_792
    assert work == 77_931_008


def test_maps_have_the_printed_shapes() -> None:
    network = create_model("mobilenet_l", points=68, size=256).eval()
    x = network.get_submodule("stage_4")(network.get_submodule("stem")(torch.zeros(1, 3, 256, 256)))
    shapes = [tuple(x.shape[1:])]
    for block in network.get_submodule("stage_32").children():
        x = block(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(row[4], row[0] // row[6], row[0] // row[6]) for row in TABLE_1]
    assert network.get_submodule("top")(x).shape == (1, 576, 8, 8)
    assert network.get_parameter("head.weight").shape == (136, 320)


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ("squeeze_excite", lambda m: isinstance(m, SqueezeExcite)),
        ("hard_swish", lambda m: isinstance(m, nn.Hardswish)),
        ("inverted_residual", lambda m: isinstance(m, Residual) and m.shortcut),
    ],
)
def test_each_switch_takes_its_part_out(switch: str, gone) -> None:  # type: ignore[no-untyped-def]
    """Figure 9: the four parts whose use the paper measures."""
    whole = create_model("mobilenet_l", points=68, size=64)
    without = create_model("mobilenet_l", points=68, size=64, settings={switch: False})
    assert any(gone(m) for m in whole.modules())
    assert not any(gone(m) for m in without.modules())
    assert without.eval()(torch.rand(1, 3, 64, 64)).points.shape == (1, 68, 2)


def test_without_a_linear_bottleneck_blocks_end_in_an_activation() -> None:
    whole = create_model("mobilenet_l", points=68, size=64)
    without = create_model("mobilenet_l", points=68, size=64, settings={"linear_bottleneck": False})
    for network, last in ((whole, nn.BatchNorm2d), (without, (nn.ReLU, nn.Hardswish))):
        blocks = [m for m in network.modules() if isinstance(m, Residual)]
        assert len(blocks) == 11
        assert all(isinstance([*block.get_submodule("layers").children()][-1], last) for block in blocks)
    parameters = {sum(p.numel() for p in network.parameters()) for network in (whole, without)}
    assert len(parameters) == 1


def test_fan_has_the_published_size() -> None:
    """Bulat and Tzimiropoulos (2017), section 7 (size): "from 24M"; 4 stacks, 256 channels, 68 maps of 64 x 64."""
    network = create_model("fan", points=68, size=256)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(24e6, rel=0.02)
    small = create_model("fan", points=68, size=64, settings={"channels": 16}).eval()
    assert small(torch.zeros(1, 3, 64, 64)).heatmaps.shape == (1, 4, 68, 16, 16)


def test_a_parallel_block_joins_a_half_and_two_quarters() -> None:
    block = ParallelBlock(64, 64)
    widths = [layer.weight.shape[:2] for layer in block.modules() if isinstance(layer, nn.Conv2d)]
    assert [tuple(width) for width in widths] == [(32, 64), (16, 32), (16, 16)]
    assert block(torch.rand(2, 64, 4, 4)).shape == (2, 64, 4, 4)
