"""Blaze_ghost: the layout of BlazeFace with Ghost modules, a pyramid of dilations, one fully connected layer."""

from typing import final

from torch import Tensor, nn

from canthus.models.heads import spread_of_map
from canthus.models.layers import (
    AtrousPyramid,
    BlazeBlock,
    NormalizeInput,
    Pointwise,
    conv_bn_relu,
    ghost_pointwise,
    plain_pointwise,
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

    Differs: the second stage of double blocks halves the map once more; the printed H/8 does not fit the printed
    fully connected layer of 96 x 7 x 7.  The paper does not say how wide a double block is inside; with the 24 of
    BlazeFace both this network and the one without Ghost modules would have about 4 MB.  624 brings both within
    five percent of what is printed, 5.66 and 7.52 MB.

    Args:
        points: number of landmarks k.
        size: side of the square input in pixels, a multiple of 16.
        hidden: channels inside a Double BlazeBlock.
        ghost: whether Ghost modules replace the pointwise convolutions; without them the net is BlazeLandmark.
        spread: whether the network also tells the expected error of each point.
    """

    def __init__(
        self, *, points: int, size: int = 112, hidden: int = 624, ghost: bool = True, spread: bool = False
    ) -> None:
        super().__init__()
        if size % 16:
            raise ValueError(f"Blaze_ghost needs an input side that is a multiple of 16, not {size}")
        pointwise: Pointwise = ghost_pointwise if ghost else plain_pointwise
        self.points = points
        self.size = size
        self.feature_channels = 48
        self.stem = nn.Sequential(NormalizeInput(), conv_bn_relu(3, 24, kernel=5, stride=2))
        self.stage_4 = nn.Sequential(
            BlazeBlock(24, 24, pointwise=pointwise),
            BlazeBlock(24, 24, pointwise=pointwise),
            BlazeBlock(24, 48, pointwise=pointwise, stride=2),
            BlazeBlock(48, 48, pointwise=pointwise),
            BlazeBlock(48, 48, pointwise=pointwise),
        )
        self.stage_8 = nn.Sequential(
            BlazeBlock(48, 96, pointwise=pointwise, hidden=hidden, stride=2),
            BlazeBlock(96, 96, pointwise=pointwise, hidden=hidden),
            BlazeBlock(96, 96, pointwise=pointwise, hidden=hidden),
        )
        self.stage_16 = nn.Sequential(
            BlazeBlock(96, 96, pointwise=pointwise, hidden=hidden, stride=2),
            BlazeBlock(96, 96, pointwise=pointwise, hidden=hidden),
            BlazeBlock(96, 96, pointwise=pointwise, hidden=hidden),
        )
        self.pyramid = AtrousPyramid(96, dilations=DILATIONS)
        self.head = nn.Linear(96 * (size // 16) ** 2, 2 * points)
        self.spread = spread_of_map(96, size // 16, points) if spread else None

    def forward(self, image: Tensor) -> Output:
        features = self.stage_4(self.stem(image))
        deep = self.pyramid(self.stage_16(self.stage_8(features)))
        return Output(
            points=points_from_offsets(self.head(deep.flatten(1)), self.points),
            features=features,
            spread=None if self.spread is None else self.spread(deep),
        )
