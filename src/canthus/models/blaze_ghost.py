"""Blaze_ghost: BlazeFace with Ghost modules, a pyramid of dilations, one fully connected layer; and BlazeLandmark."""

from functools import partial
from typing import final

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
    fully connected layer of 96 x 7 x 7. The paper does not give the hidden width of a double block. With the 24 of
    BlazeFace this network and the one without Ghost modules would each have about 4 MB; with 624 both are within five
    percent of the printed 5.66 and 7.52 MB.

    Args:
        size: side of the square input in pixels, a multiple of 16.
        hidden: channels inside a Double BlazeBlock.
        ghost: whether Ghost modules replace the pointwise convolutions; without them it is BlazeLandmark.
    """

    def __init__(
        self, *, points: int, size: int = 112, hidden: int = 624, ghost: bool = True, spread: bool = False
    ) -> None:
        super().__init__()
        if size % 16:
            raise ValueError(f"Blaze_ghost needs an input side that is a multiple of 16, not {size}")
        self.points = points
        self.size = size
        self.feature_channels = 48
        self.stem = nn.Sequential(NormalizeInput(), conv_bn_relu(3, 24, kernel=5, stride=2))
        single = partial(BlazeBlock, pointwise=GhostModule if ghost else conv_bn)
        double = partial(single, hidden=hidden)
        self.stage_4 = nn.Sequential(
            single(24, 24), single(24, 24), single(24, 48, stride=2), single(48, 48), single(48, 48)
        )
        self.stage_8 = nn.Sequential(double(48, 96, stride=2), double(96, 96), double(96, 96))
        self.stage_16 = nn.Sequential(double(96, 96, stride=2), double(96, 96), double(96, 96))
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


def blaze_landmark(*, points: int, size: int = 112, hidden: int = 624, spread: bool = False) -> BlazeGhost:
    """BlazeLandmark: Yu et al. (2023), Table 6, row 1; ``BlazeGhost`` with plain 1x1 convolutions."""
    return BlazeGhost(points=points, size=size, hidden=hidden, ghost=False, spread=spread)
