"""PFLD: MobileNetV2 blocks, three scales, one fully connected layer."""

from typing import final

import torch
from torch import Tensor, nn

from canthus.models.heads import SpreadHead
from canthus.models.layers import NormalizeInput, conv_bn_relu, inverted_residual, points_from_offsets, scaled_channels
from canthus.models.output import Output


@final
class Pfld(nn.Module):
    """Backbone of PFLD, the baseline of the Blaze_ghost paper (Yu et al., 2023, Table 1).

    Guo et al. (2019), "PFLD: A Practical Facial Landmark Detector", Table 1.  Maps S1 (1/8), S2 (1/16) and
    S3 (1x1) are flattened, not pooled, before the fully connected layer: width 0.25 then has the 1.1 MB that the
    Blaze_ghost paper prints.

    Differs: the fully connected layer gives offsets from the centre of the crop, see ``points_from_offsets``.

    Args:
        width: channel multiplier; the paper prints 1.0 and 0.25.
        size: side of the square input in pixels, a multiple of 16.
        spread: whether the network also predicts the error of each point, from S2 and S3.
    """

    def __init__(self, *, points: int, width: float = 1.0, size: int = 112, spread: bool = False) -> None:
        super().__init__()
        if size % 16:
            raise ValueError(f"PFLD needs an input side that is a multiple of 16, not {size}")
        c16, c32, c64, c128 = (scaled_channels(c, width) for c in (16, 32, 64, 128))
        self.points = points
        self.size = size
        self.feature_channels = c64
        self.stem = nn.Sequential(
            NormalizeInput(),
            conv_bn_relu(3, c64, kernel=3, stride=2),
            conv_bn_relu(c64, c64, kernel=3, groups=c64),
        )
        self.stage_4 = nn.Sequential(
            inverted_residual(c64, c64, expansion=2, stride=2),
            *(inverted_residual(c64, c64, expansion=2, stride=1) for _ in range(4)),
        )
        self.stage_8 = nn.Sequential(
            inverted_residual(c64, c128, expansion=2, stride=2),
            *(inverted_residual(c128, c128, expansion=4, stride=1) for _ in range(6)),
            inverted_residual(c128, c16, expansion=2, stride=1),
        )
        self.stage_16 = conv_bn_relu(c16, c32, kernel=3, stride=2)
        side = size // 16
        self.stage_global = nn.Sequential(nn.Conv2d(c32, c128, side), nn.ReLU(inplace=True))
        self.head = nn.Linear(c16 * (size // 8) ** 2 + c32 * side**2 + c128, 2 * points)
        self.spread = SpreadHead(c32 * side**2 + c128, points) if spread else None

    def forward(self, image: Tensor) -> Output:
        features = self.stage_4(self.stem(image))
        s1 = self.stage_8(features)
        s2 = self.stage_16(s1)
        s3 = self.stage_global(s2)
        coarse = torch.cat([s2.flatten(1), s3.flatten(1)], dim=1)
        joined = torch.cat([s1.flatten(1), coarse], dim=1)
        return Output(
            points=points_from_offsets(self.head(joined), self.points),
            features=features,
            spread=None if self.spread is None else self.spread(coarse),
        )
