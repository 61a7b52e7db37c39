"""MobileNet V3, small and large, as backbones; parameters are named as in torchvision."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, final

from torch import Tensor, nn
from torch.nn import functional

from canthus.models.layers import Backbone, Residual, conv_bn, divisible_channels


class RowV3(NamedTuple):
    """One bneck of Tables 1 and 2: kernel, expanded width, channels out, squeeze-and-excitation, h-swish, stride."""

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

_conv_bn = partial(conv_bn, norm=partial(nn.BatchNorm2d, eps=1e-3, momentum=1e-2))
"""With the settings of the batch norms of published weights."""


@final
class SqueezeExcite(nn.Module):
    """Weigh channels by their means: two 1x1 layers, ReLU, hard sigmoid.

    Howard et al. (2019), "Searching for MobileNetV3", section 5.3: the bottleneck has a quarter of the channels.
    ``names`` are those of the two layers in the state dict.
    """

    def __init__(self, channels: int, *, names: tuple[str, str] = ("fc1", "fc2")) -> None:
        super().__init__()
        reduced = divisible_channels(channels // 4)
        self.add_module(names[0], nn.Conv2d(channels, reduced, 1))
        self.add_module(names[1], nn.Conv2d(reduced, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        reduce, expand = self.children()
        return x * functional.hardsigmoid(expand(functional.relu(reduce(x.mean(dim=(2, 3), keepdim=True)))))


def activation(swish: bool) -> nn.Module:
    """h-swish or ReLU."""
    return nn.Hardswish() if swish else nn.ReLU()


def bneck_parts(
    inputs: int,
    row: RowV3,
    *,
    conv_bn: Callable[..., nn.Sequential] = _conv_bn,
    squeeze_excite: Callable[[int], nn.Module] = SqueezeExcite,
) -> list[nn.Module]:
    """1x1 expansion, depthwise convolution, squeeze-and-excitation, linear 1x1 projection.

    Howard et al. (2019), "Searching for MobileNetV3", figure 4.
    """
    active = partial(activation, row.swish)
    parts: list[nn.Module] = [conv_bn(inputs, row.hidden, active=active)] if row.hidden != inputs else []
    parts.append(
        conv_bn(row.hidden, row.hidden, kernel=row.kernel, stride=row.stride, groups=row.hidden, active=active)
    )
    parts += [squeeze_excite(row.hidden)] if row.squeeze else []
    return [*parts, conv_bn(row.hidden, row.outputs)]


def _mobilenet_v3(rows: Sequence[RowV3], *, width: float, top: bool) -> Backbone:
    inputs = divisible_channels(STEM * width)
    layers: list[nn.Module] = [_conv_bn(3, inputs, kernel=3, stride=2, active=nn.Hardswish)]
    side, quarter, feature_channels = 2, 1, inputs
    for row in rows:
        hidden, outputs = (divisible_channels(channels * width) for channels in (row.hidden, row.outputs))
        parts = bneck_parts(inputs, row._replace(hidden=hidden, outputs=outputs))
        shortcut = row.stride == 1 and inputs == outputs
        layers.append(Residual(nn.Sequential(*parts), shortcut=shortcut, name="block"))
        inputs = outputs
        side *= row.stride
        if side <= 4:
            quarter, feature_channels = len(layers), inputs
    if top:
        layers.append(_conv_bn(inputs, TOP_EXPANSION * inputs, active=nn.Hardswish))
        inputs *= TOP_EXPANSION
    return Backbone(layers, quarter=quarter, feature_channels=feature_channels, channels=inputs)


def mobilenet_v3_large(*, width: float = 1.0, top: bool = True) -> Backbone:
    """Howard et al. (2019), "Searching for MobileNetV3", Table 1, up to the last map.

    Args:
        width: factor of all channels.
        top: whether the 1x1 layer that widens the last map six times follows the blocks.
    """
    return _mobilenet_v3(LARGE, width=width, top=top)


def mobilenet_v3_small(*, width: float = 1.0, top: bool = True) -> Backbone:
    """The network of Table 2; otherwise as ``mobilenet_v3_large``."""
    return _mobilenet_v3(SMALL, width=width, top=top)
