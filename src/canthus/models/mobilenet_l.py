"""MobileNet-L: MobileNetV3 blocks, three scales, one fully connected layer, for occluded faces."""

from functools import partial
from typing import final

import torch
from torch import Tensor, nn

from canthus.models.heads import SpreadHead
from canthus.models.layers import NormalizeInput, Residual, conv_bn, points_from_offsets
from canthus.models.mobilenet_v3 import SMALL, RowV3, SqueezeExcite, activation, bneck_parts
from canthus.models.output import Output

ROWS = SMALL
"""The bnecks of the paper's Table 1 are those of MobileNetV3-small."""

STEM, TOP, GLOBAL, S3, SCALE = 16, 576, 1024, 64, 128
"""Channels of the first layer, of C2, of the 1x1 layer after pooling, of S3, and of S1 and S2."""

_squeeze_excite = partial(SqueezeExcite, names=("reduce", "expand"))


def bneck(inputs: int, row: RowV3, *, linear: bool, inverted: bool) -> Residual:
    """The block of MobileNetV3, with two of its parts optional; a shortcut if input and output have the same shape.

    Args:
        inputs: channels in.
        row: of the table.
        linear: whether nothing follows the projection; otherwise the block's activation does.
        inverted: whether there is an expansion and a shortcut; otherwise the block is depthwise-separable.
    """
    row = row if inverted else row._replace(hidden=inputs)
    parts = bneck_parts(inputs, row, conv_bn=conv_bn, squeeze_excite=_squeeze_excite)
    layers = [layer for part in parts for layer in (part if isinstance(part, nn.Sequential) else [part])]
    layers += [] if linear else [activation(row.swish)]
    return Residual(nn.Sequential(*layers), shortcut=inverted and row.stride == 1 and inputs == row.outputs)


@final
class MobileNetL(nn.Module):
    """The network of "Research on Lightweight Facial Landmark Prediction Network" (2025), Table 1, for occluded faces.

    C1 is the last map of the bnecks, C2 that map widened to 576 channels. S1 and S2 are their means in 128 channels.
    Two layers without batch norm compute S3 from the mean of C2. The points are a linear function of the three.

    Differs: the fully connected layer gives offsets from the centre of the crop, see ``points_from_offsets``. What the
    table calls pooling over 8x8 is the mean of the whole map, so that other input sides work. The paper does not say
    what replaces inverted residuals in its ablation; here depthwise-separable blocks without expansion and shortcut do.

    Args:
        size: side of the square input in pixels, 256 in the paper. Any works: the last maps are averaged.
        squeeze_excite: whether the rows marked so in the table have squeeze-and-excitation.
        hard_swish: whether the rows marked so in the table have h-swish; otherwise all have ReLU.
        linear_bottleneck: whether projections have no activation.
        inverted_residual: whether blocks expand and have shortcuts.
        spread: whether the network also predicts the error of each point, from S1, S2 and S3.
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
            bneck(i, row, linear=linear_bottleneck, inverted=inverted_residual)
            for i, row in zip(inputs[:-1], rows, strict=True)
        ]
        active = partial(activation, hard_swish)
        self.stem = nn.Sequential(NormalizeInput(), *conv_bn(3, STEM, kernel=3, stride=2, active=active))
        self.stage_4 = blocks[0]
        self.stage_32 = nn.Sequential(*blocks[1:])
        channels = inputs[-1]
        self.top = nn.Sequential(
            *conv_bn(channels, TOP, active=active), *([_squeeze_excite(TOP)] if squeeze_excite else [])
        )
        self.scale_1 = conv_bn(channels, SCALE)
        self.scale_2 = conv_bn(TOP, SCALE)
        self.scale_3 = nn.Sequential(nn.Conv2d(TOP, GLOBAL, 1), active(), nn.Conv2d(GLOBAL, S3, 1))
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
