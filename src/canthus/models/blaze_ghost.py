"""Blaze_ghost: BlazeFace with Ghost modules, a pyramid of dilations, one fully connected layer; and BlazeLandmark."""

from functools import partial
from typing import Any, final

from torch import Tensor, nn

from canthus.models.heads import spread_of_map
from canthus.models.layers import (
    AtrousPyramid,
    BlazeBlock,
    GhostModule,
    NormalizeInput,
    conv_bn,
    conv_bn_relu,
    points_from_offsets,
)
from canthus.models.output import Output

DILATIONS = (2, 3, 5)


@final
class BlazeGhost(nn.Module):
    """Network of Yu et al. (2023), "Face Keypoint Detection Method Based on Blaze_ghost Network", Table 4.

    3 -> 24 at 1/2, BlazeBlocks -> 48 at 1/4, Double BlazeBlocks -> 96 at 1/8 and at 1/16, ASPP, fully connected.
    Five single blocks and two times three double ones, as in BlazeFace (Bazarevsky et al., 2019, Table 4).
    ``Output.features`` is the 48-channel map at 1/4 of the side.

    Differs: the second stage of double blocks halves the map once more, because the printed H/8 contradicts the printed
    fully connected layer of 96 x 7 x 7.  The paper does not give the width inside a double block; 24 is BlazeFace's.
    The printed sizes are those of saved states that contain a 7x7 convolution, or a Ghost module with one, which the
    network never calls.

    Args:
        size: side of the square input in pixels, a multiple of 16.
        hidden: channels inside a Double BlazeBlock.
        ghost: whether Ghost modules replace the pointwise convolutions; without them it is BlazeLandmark.
        mean_norm: whether the branch of the mean in ASPP has a batch norm.
        dead_layer: whether the network holds the 7x7 convolution that it never calls, for the printed sizes.
    """

    def __init__(
        self,
        *,
        points: int,
        size: int = 112,
        hidden: int = 24,
        ghost: bool = True,
        mean_norm: bool = False,
        dead_layer: bool = False,
        spread: bool = False,
    ) -> None:
        super().__init__()
        if size % 16:
            raise ValueError(f"Blaze_ghost needs an input side that is a multiple of 16, not {size}")
        self.points = points
        self.size = size
        self.feature_channels = 48
        self.stem = nn.Sequential(NormalizeInput(), conv_bn_relu(3, 24, kernel=3, stride=2))
        single = partial(BlazeBlock, pointwise=GhostModule if ghost else conv_bn)
        double = partial(single, hidden=hidden)
        self.stage_4 = nn.Sequential(
            single(24, 24), single(24, 24), single(24, 48, stride=2), single(48, 48), single(48, 48)
        )
        self.stage_8 = nn.Sequential(double(48, 96, stride=2), double(96, 96), double(96, 96))
        self.stage_16 = nn.Sequential(double(96, 96, stride=2), double(96, 96), double(96, 96))
        self.pyramid = AtrousPyramid(96, dilations=DILATIONS, mean_norm=mean_norm)
        self.head = nn.Linear(96 * (size // 16) ** 2, 2 * points)
        self.spread = spread_of_map(96, size // 16, points) if spread else None
        if dead_layer:
            wide = 96 if ghost else 192
            cheap = conv_bn(96, 96, kernel=3, groups=96) if ghost else nn.Sequential()
            self.dead = nn.Sequential(nn.Conv2d(96, wide, 7), nn.BatchNorm2d(wide), *cheap)

    def forward(self, image: Tensor) -> Output:
        features = self.stage_4(self.stem(image))
        deep = self.pyramid(self.stage_16(self.stage_8(features)))
        return Output(
            points=points_from_offsets(self.head(deep.flatten(1)), self.points),
            features=features,
            spread=None if self.spread is None else self.spread(deep),
        )


def blaze_landmark(**settings: Any) -> BlazeGhost:
    """BlazeLandmark: Yu et al. (2023), Table 6, row 1; ``BlazeGhost`` with plain 1x1 convolutions."""
    return BlazeGhost(ghost=False, **settings)
