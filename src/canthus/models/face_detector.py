"""Single-stage face detector: separable convolutions, a feature pyramid, a box and five points for each location."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from canthus.models.layers import conv_bn_relu, scaled_channels

STRIDES = (8, 16, 32)
"""Distance between two locations in pixels of the input, for each level of the pyramid."""
OUTPUTS = 15
"""Numbers for each location: score, box (4), five points (10); see ``FaceDetector``."""
PRIOR_SCORE = 0.01
"""Score of every location before training. Low, because most locations have no face."""
PRIOR_SIZE = 3.0
"""Side of every box before training, in strides."""


def separable(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Depthwise convolution, 1x1 convolution, batch norm, ReLU.

    Nothing stands between the two convolutions, as in Xception (Chollet, 2017, section 4.7) and BlazeFace: on a CPU a
    norm and a ReLU there would take longer than the convolution.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, kernel, stride, kernel // 2, groups=inputs, bias=False),
        conv_bn_relu(inputs, outputs, kernel=1),
    )


@final
class FaceDetector(nn.Module):
    """A detector after RetinaFace with a backbone of the size of MobileNet-0.25.

    Deng et al. (2019), "RetinaFace: Single-stage Dense Face Localisation in the Wild": one pass over a pyramid of
    features gives score, box and five points of every location.

    Differs: one box for each location instead of anchors, as in FCOS (Tian et al., 2019); one subnet shared by score,
    box and points; no mean is subtracted from the picture, because the first batch norm does that; 5x5 kernels deep in
    the backbone, so that large faces fit into the receptive field of 32-pixel cells.

    The output ``(n, locations, 15)`` lists the levels one after the other, each row by row.  With the cell (i, j) of
    stride s, a row is: logit of the score; centre of the face box minus ``(i + 0.5, j + 0.5)``, in strides; natural
    logarithms of its width and height in strides; the points of the scheme ``five`` minus ``(i + 0.5, j + 0.5)`` in
    strides.  All are edge coordinates, see ``docs/coordinates.md``.

    Args:
        width: channel multiplier.
        depth: number of separable blocks of the levels 8, 16 and 32 after the one with stride 2.
    """

    def __init__(self, *, width: float = 1.0, depth: Sequence[int] = (2, 3, 3)) -> None:
        super().__init__()
        c16, c32, c64, c128, c192 = (scaled_channels(c, width, divisor=8) for c in (16, 32, 64, 128, 192))
        self.stem = nn.Sequential(
            conv_bn_relu(3, c16, kernel=3, stride=2),
            separable(c16, c32, stride=2),
            separable(c32, c32),
        )
        self.level_8 = nn.Sequential(separable(c32, c64, stride=2), *(separable(c64, c64) for _ in range(depth[0])))
        self.level_16 = nn.Sequential(
            separable(c64, c128, stride=2), *(separable(c128, c128, kernel=5) for _ in range(depth[1]))
        )
        self.level_32 = nn.Sequential(
            separable(c128, c192, kernel=5, stride=2), *(separable(c192, c192, kernel=5) for _ in range(depth[2]))
        )
        self.lateral = nn.ModuleList(conv_bn_relu(c, c64, kernel=1) for c in (c64, c128, c192))
        self.smooth = nn.ModuleList(separable(c64, c64) for _ in STRIDES)
        self.context = separable(c64, c64, kernel=5)
        self.head = nn.Conv2d(c64, OUTPUTS, 1)
        # Small weights and priors in the biases of the last layer.
        nn.init.normal_(self.head.weight, std=0.01)
        bias = torch.zeros(OUTPUTS)
        bias[0] = torch.logit(torch.tensor(PRIOR_SCORE))
        bias[3:5] = torch.log(torch.tensor(PRIOR_SIZE))
        self.head.bias = nn.Parameter(bias)

    @property
    def first_convolution(self) -> nn.Conv2d:
        """The first convolution."""
        return next(layer for layer in self.stem.modules() if isinstance(layer, nn.Conv2d))

    def forward(self, image: Tensor) -> Tensor:
        """RGB in [0, 1], ``(n, 3, h, w)`` with sides that are multiples of 32, to ``(n, locations, 15)``."""
        level_8 = self.level_8(self.stem(image))
        level_16 = self.level_16(level_8)
        level_32 = self.level_32(level_16)
        coarse = self.lateral[2](level_32)
        middle = self.lateral[1](level_16) + functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        fine = self.lateral[0](level_8) + functional.interpolate(middle, scale_factor=2.0, mode="nearest")
        levels = zip(self.smooth, (fine, middle, coarse), strict=True)
        outputs = [self.head(self.context(smooth(level))) for smooth, level in levels]
        return torch.cat([output.flatten(2).transpose(1, 2) for output in outputs], dim=1)
