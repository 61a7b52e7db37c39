"""MobileNet-L: MobileNetV3 blocks, three scales, one fully connected layer, for covered faces."""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from canthus.models.heads import SpreadHead
from canthus.models.layers import NormalizeInput, points_from_offsets
from canthus.models.mobilenet_v3 import SMALL, RowV3
from canthus.models.output import Output

ROWS = SMALL
"""The bnecks of the paper's Table 1 are those of MobileNetV3-small."""

STEM, TOP, GLOBAL, S3, SCALE = 16, 576, 1024, 64, 128
"""Channels of the first layer, of C2, of the 1x1 layer after pooling, of S3, and of S1 and S2."""


@final
class SqueezeExcite(nn.Module):
    """Weigh channels by their means: two 1x1 layers, ReLU, hard sigmoid.

    Howard et al. (2019), "Searching for MobileNetV3", section 5.3: the bottleneck is a quarter of the channels.

    Args:
        channels: in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = max(8, (channels // 4 + 4) // 8 * 8)
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.expand(functional.relu(self.reduce(x.mean(dim=(2, 3), keepdim=True))))
        return x * functional.hardsigmoid(weights)


@final
class Bneck(nn.Module):
    """1x1 expansion, depthwise convolution, squeeze-and-excitation, 1x1 projection; a shortcut where shapes allow it.

    Args:
        inputs: channels in.
        row: of the table.
        linear: whether nothing follows the projection; else the block's activation does.
        inverted: whether there is an expansion and a shortcut; else the block is depthwise-separable.
    """

    def __init__(self, inputs: int, row: RowV3, *, linear: bool, inverted: bool) -> None:
        super().__init__()
        hidden = row.hidden if inverted else inputs
        self.shortcut = inverted and row.stride == 1 and inputs == row.outputs
        layers: list[nn.Module] = []
        if hidden != inputs:
            layers += [nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), _activation(row.swish)]
        layers += [
            nn.Conv2d(hidden, hidden, row.kernel, row.stride, row.kernel // 2, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            _activation(row.swish),
        ]
        layers += [SqueezeExcite(hidden)] if row.squeeze else []
        layers += [nn.Conv2d(hidden, row.outputs, 1, bias=False), nn.BatchNorm2d(row.outputs)]
        layers += [] if linear else [_activation(row.swish)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.shortcut else y


@final
class MobileNetL(nn.Module):
    """The network for covered faces of "Research on Lightweight Facial Landmark Prediction Network" (2025), Table 1.

    C1 is the last map of the bnecks, C2 that map widened to 576.  S1 and S2 are their means in 128 channels, S3 comes
    of the mean of C2 by two layers without batch norm; the points are a linear function of the three.

    Differs: the fully connected layer gives offsets from the centre of the crop, see ``points_from_offsets``; what the
    table calls pooling over 8x8 is the mean of the whole map, so that other input sides work.  The paper does not say
    what it put in place of inverted residuals; here it is depthwise-separable blocks without expansion and shortcut.

    Args:
        points: number of landmarks k.
        size: side of the square input in pixels; the paper has 256, any works, because the last maps are averaged.
        squeeze_excite: whether the marked layers weigh their channels.
        hard_swish: whether the marked layers use h-swish; else ReLU.
        linear_bottleneck: whether projections have no activation.
        inverted_residual: whether blocks expand and have shortcuts.
        spread: whether the network also tells the expected error of each point, from S1, S2 and S3.
    """

    def __init__(
        self,
        *,
        points: int,
        size: int = 256,
        squeeze_excite: bool = True,
        hard_swish: bool = True,
        linear_bottleneck: bool = True,
        inverted_residual: bool = True,
        spread: bool = False,
    ) -> None:
        super().__init__()
        self.points = points
        self.size = size
        self.feature_channels = ROWS[0].outputs
        rows = [r._replace(squeeze=r.squeeze and squeeze_excite, swish=r.swish and hard_swish) for r in ROWS]
        inputs = [STEM, *(row.outputs for row in rows)]
        blocks = [
            Bneck(i, row, linear=linear_bottleneck, inverted=inverted_residual)
            for i, row in zip(inputs[:-1], rows, strict=True)
        ]
        self.stem = nn.Sequential(NormalizeInput(), *_conv_bn(3, STEM, 3, 2), _activation(hard_swish))
        self.stage_4 = blocks[0]
        self.stage_32 = nn.Sequential(*blocks[1:])
        channels = inputs[-1]
        top: list[nn.Module] = [*_conv_bn(channels, TOP, 1), _activation(hard_swish)]
        self.top = nn.Sequential(*top, *([SqueezeExcite(TOP)] if squeeze_excite else []))
        self.scale_1 = nn.Sequential(*_conv_bn(channels, SCALE, 1))
        self.scale_2 = nn.Sequential(*_conv_bn(TOP, SCALE, 1))
        self.scale_3 = nn.Sequential(nn.Conv2d(TOP, GLOBAL, 1), _activation(hard_swish), nn.Conv2d(GLOBAL, S3, 1))
        self.head = nn.Linear(2 * SCALE + S3, 2 * points)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)  # keeps the signal through eleven blocks
        self.spread = SpreadHead(2 * SCALE + S3, points) if spread else None

    def forward(self, image: Tensor) -> Output:
        features = self.stage_4(self.stem(image))
        c1 = self.stage_32(features)
        c2 = self.top(c1)
        s1, s2 = (scale(c).mean(dim=(2, 3)) for scale, c in ((self.scale_1, c1), (self.scale_2, c2)))
        s3 = self.scale_3(c2.mean(dim=(2, 3), keepdim=True)).flatten(1)
        joined = torch.cat([s1, s2, s3], dim=1)
        return Output(
            points=points_from_offsets(self.head(joined), self.points),
            features=features,
            spread=None if self.spread is None else self.spread(joined),
        )


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)


def _activation(swish: bool) -> nn.Module:
    return nn.Hardswish() if swish else nn.ReLU()
