"""MobileNet V3, small and large, as backbones; parameters are named as in torchvision."""

from collections.abc import Sequence
from typing import NamedTuple, final

from torch import Tensor, nn
from torch.nn import functional

from canthus.models.layers import divisible_channels
from canthus.models.output import Maps


class RowV3(NamedTuple):
    """A bneck of Tables 1 and 2: kernel, expanded width, channels out, squeeze-and-excitation, h-swish, stride."""

    kernel: int
    hidden: int
    outputs: int
    squeeze: bool
    swish: bool
    stride: int


LARGE = (
    RowV3(3, 16, 16, False, False, 1),
    RowV3(3, 64, 24, False, False, 2),
    RowV3(3, 72, 24, False, False, 1),
    RowV3(5, 72, 40, True, False, 2),
    RowV3(5, 120, 40, True, False, 1),
    RowV3(5, 120, 40, True, False, 1),
    RowV3(3, 240, 80, False, True, 2),
    RowV3(3, 200, 80, False, True, 1),
    RowV3(3, 184, 80, False, True, 1),
    RowV3(3, 184, 80, False, True, 1),
    RowV3(3, 480, 112, True, True, 1),
    RowV3(3, 672, 112, True, True, 1),
    RowV3(5, 672, 160, True, True, 2),
    RowV3(5, 960, 160, True, True, 1),
    RowV3(5, 960, 160, True, True, 1),
)
SMALL = (
    RowV3(3, 16, 16, True, False, 2),
    RowV3(3, 72, 24, False, False, 2),
    RowV3(3, 88, 24, False, False, 1),
    RowV3(5, 96, 40, True, True, 2),
    RowV3(5, 240, 40, True, True, 1),
    RowV3(5, 240, 40, True, True, 1),
    RowV3(5, 120, 48, True, True, 1),
    RowV3(5, 144, 48, True, True, 1),
    RowV3(5, 288, 96, True, True, 2),
    RowV3(5, 576, 96, True, True, 1),
    RowV3(5, 576, 96, True, True, 1),
)

STEM = 16
"""Channels of the first layer."""

TOP_EXPANSION = 6
"""Channels of the 1x1 layer after the blocks, over those of the last block."""

EPS, MOMENTUM = 1e-3, 1e-2
"""Of the batch norms that published weights were trained with."""


@final
class SqueezeExciteV3(nn.Module):
    """``mobilenet_l.SqueezeExcite`` with the names and the rounding of published weights.

    Args:
        channels: in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = divisible_channels(channels // 4)
        self.fc1 = nn.Conv2d(channels, reduced, 1)
        self.fc2 = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.fc2(functional.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True))))
        return x * functional.hardsigmoid(weights)


@final
class BneckV3(nn.Module):
    """1x1 expansion, depthwise convolution, squeeze-and-excitation, linear 1x1 projection; a shortcut where it fits.

    Howard et al. (2019), "Searching for MobileNetV3", figure 4.

    Args:
        inputs: channels in.
        row: of the table, at the width of the network.
    """

    def __init__(self, inputs: int, row: RowV3) -> None:
        super().__init__()
        self.shortcut = row.stride == 1 and inputs == row.outputs
        active = nn.Hardswish if row.swish else nn.ReLU
        layers: list[nn.Module] = []
        if row.hidden != inputs:
            layers.append(_conv_bn(inputs, row.hidden, 1, active=active))
        layers.append(_conv_bn(row.hidden, row.hidden, row.kernel, stride=row.stride, groups=row.hidden, active=active))
        layers += [SqueezeExciteV3(row.hidden)] if row.squeeze else []
        self.block = nn.Sequential(*layers, _conv_bn(row.hidden, row.outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.shortcut else y


@final
class MobileNetV3(nn.Module):
    """Howard et al. (2019), "Searching for MobileNetV3", up to the last map.

    Args:
        rows: ``LARGE`` (Table 1) or ``SMALL`` (Table 2).
        width: factor of all channels.
        top: whether the blocks are followed by the 1x1 layer that widens the last map six times.
    """

    def __init__(self, rows: Sequence[RowV3], *, width: float = 1.0, top: bool = True) -> None:
        super().__init__()
        inputs = divisible_channels(STEM * width)
        layers: list[nn.Module] = [_conv_bn(3, inputs, 3, stride=2, active=nn.Hardswish)]
        side = 2
        for row in rows:
            scaled = row._replace(
                hidden=divisible_channels(row.hidden * width), outputs=divisible_channels(row.outputs * width)
            )
            layers.append(BneckV3(inputs, scaled))
            inputs = scaled.outputs
            side *= row.stride
            if side <= 4:
                self._quarter, self.feature_channels = len(layers), inputs
        if top:
            layers.append(_conv_bn(inputs, TOP_EXPANSION * inputs, 1, active=nn.Hardswish))
            inputs *= TOP_EXPANSION
        self.features = nn.Sequential(*layers)
        self.channels = inputs

    def forward(self, image: Tensor) -> Maps:
        features = self.features[: self._quarter](image)
        return Maps(features, self.features[self._quarter :](features))


def mobilenet_v3_large(*, width: float = 1.0, top: bool = True) -> MobileNetV3:
    """``MobileNetV3`` of Table 1."""
    return MobileNetV3(LARGE, width=width, top=top)


def mobilenet_v3_small(*, width: float = 1.0, top: bool = True) -> MobileNetV3:
    """``MobileNetV3`` of Table 2."""
    return MobileNetV3(SMALL, width=width, top=top)


def _conv_bn(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    active: type[nn.Module] | None = None,
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=EPS, momentum=MOMENTUM),
    ]
    return nn.Sequential(*layers, *([active()] if active else []))
