"""Single-stage face detector: separable convolutions, a feature pyramid, a box and five points for each location."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from canthus.lookup import lookup
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


def _stem(channels: Sequence[int], *, patches: bool) -> nn.Sequential:
    """Layers that bring the picture to a quarter of its size; see ``Design``."""
    first, second, *_ = channels
    if patches:
        whole = [nn.Conv2d(3, first, 4, 4, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True)]
        start = [nn.Sequential(*whole), separable(first, second)]
    else:
        start = [conv_bn_relu(3, first, kernel=3, stride=2), separable(first, second, stride=2)]
    return nn.Sequential(*start, *(separable(a, b) for a, b in itertools.pairwise(channels[1:])))


def _with_norms(network: nn.Module, weights: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Give the weights of earlier versions, which had one mean and variance for all levels, those of each level."""
    for name in network.state_dict():
        before = prefix + re.sub(r"^norms\.\d", "context.1.1", name)
        if prefix + name not in weights and before in weights:
            weights[prefix + name] = weights[before].clone()


@final
@dataclass(frozen=True)
class Design:
    """Layers of a face detector.

    Attributes:
        stem: channels of the layers before the levels: of a convolution at 1/2, and of separable blocks at 1/4 of the
            picture.
        levels: channels of the levels 8, 16 and 32.
        depth: number of separable blocks of these levels after the one with stride 2.
        neck: channels of the feature pyramid.
        smooth: whether each level of the pyramid has a separable block of its own before the shared ones.
        context: side of the kernels of the shared block.
        patches: whether the first convolution takes patches of 4 x 4 pixels that do not overlap, so that nothing is
            computed at 1/2.
    """

    stem: tuple[int, ...]
    levels: tuple[int, int, int]
    depth: tuple[int, int, int]
    neck: int
    smooth: tuple[bool, bool, bool] = (True, True, True)
    context: int = 5
    patches: bool = False


DESIGNS = {
    "base": Design(stem=(16, 32, 32), levels=(64, 128, 192), depth=(2, 3, 3), neck=64),
    "fast": Design(
        stem=(16, 24),
        levels=(48, 96, 192),
        depth=(2, 2, 2),
        neck=32,
        smooth=(False, True, True),
        context=3,
        patches=True,
    ),
}
"""Designs by name.  On one thread of a CPU, ``fast`` takes about half of the time of ``base``: three quarters
of that of ``base`` are spent at 1/2, 1/4 and 1/8 of the picture, where ``fast`` has fewer layers and channels."""


@final
class FaceDetector(nn.Module):
    """A detector after RetinaFace with a backbone of the size of MobileNet-0.25.

    Deng et al. (2019), "RetinaFace: Single-stage Dense Face Localisation in the Wild": one pass over a pyramid of
    features gives score, box and five points of every location.

    Differs: one box for each location instead of anchors, as in FCOS (Tian et al., 2019); one subnet shared by score,
    box and points; no mean is subtracted from the picture, because the first batch norm does that; 5x5 kernels deep in
    the backbone, so that large faces fit into the receptive field of 32-pixel cells.

    The levels share the weights of that subnet, but not the mean and variance of its batch norm: training normalizes
    each level by its own, and with one for all, small faces get too high scores and large ones too low.

    The output ``(n, locations, 15)`` lists the levels one after the other, each row by row.  With the cell (i, j) of
    stride s, a row is: logit of the score; centre of the face box minus ``(i + 0.5, j + 0.5)``, in strides; natural
    logarithms of its width and height in strides; the points of the scheme ``five`` minus ``(i + 0.5, j + 0.5)`` in
    strides.  All are edge coordinates, see ``docs/coordinates.md``.

    Args:
        width: channel multiplier.
        depth: as in ``Design``; by default that of the design.
        design: a key of ``DESIGNS``.

    Raises:
        ConfigError: unknown design.
        ValueError: ``depth`` does not have three numbers.
    """

    def __init__(self, *, width: float = 1.0, depth: Sequence[int] | None = None, design: str = "base") -> None:
        super().__init__()
        plan = lookup(DESIGNS, design, kind="design of a face detector")
        depths = plan.depth if depth is None else tuple(depth)
        *stem, c8, c16, c32, neck = (
            scaled_channels(c, width, divisor=8) for c in (*plan.stem, *plan.levels, plan.neck)
        )
        self.stem = _stem(stem, patches=plan.patches)
        before = stem[-1]
        blocks_8, blocks_16, blocks_32 = depths
        self.level_8 = nn.Sequential(separable(before, c8, stride=2), *(separable(c8, c8) for _ in range(blocks_8)))
        self.level_16 = nn.Sequential(
            separable(c8, c16, stride=2), *(separable(c16, c16, kernel=5) for _ in range(blocks_16))
        )
        self.level_32 = nn.Sequential(
            separable(c16, c32, kernel=5, stride=2), *(separable(c32, c32, kernel=5) for _ in range(blocks_32))
        )
        self.lateral = nn.ModuleList(conv_bn_relu(c, neck, kernel=1) for c in (c8, c16, c32))
        self.smooth = nn.ModuleList(separable(neck, neck) if own else nn.Identity() for own in plan.smooth)
        self.context = separable(neck, neck, kernel=plan.context)
        self.norms = nn.ModuleList(nn.BatchNorm2d(neck) for _ in STRIDES[1:])
        for norm in self.norms:
            norm.weight, norm.bias = self._norm.weight, self._norm.bias
        self.register_load_state_dict_pre_hook(_with_norms)  # type: ignore[no-untyped-call]
        self.head = nn.Conv2d(neck, OUTPUTS, 1)
        # Small weights and priors in the biases of the last layer.
        nn.init.normal_(self.head.weight, std=0.01)
        bias = torch.zeros(OUTPUTS)
        bias[0] = torch.logit(torch.tensor(PRIOR_SCORE))
        bias[3:5] = torch.log(torch.tensor(PRIOR_SIZE))
        self.head.bias = nn.Parameter(bias)

    @property
    def _norm(self) -> nn.BatchNorm2d:
        """The norm of the shared block for the first level; those of the others share its weights."""
        (norm,) = (layer for layer in self.context.modules() if isinstance(layer, nn.BatchNorm2d))
        return norm

    def _shared(self, level: Tensor, norm: nn.Module) -> Tensor:
        """The shared block, with the norm of a level in the place of its own."""
        for layer in self.context.modules():
            if isinstance(layer, nn.BatchNorm2d):
                level = norm(level)
            elif not isinstance(layer, nn.Sequential):
                level = layer(level)
        return level

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
        levels = zip(self.smooth, (fine, middle, coarse), (self._norm, *self.norms), strict=True)
        outputs = [self.head(self._shared(smooth(level), norm)) for smooth, level, norm in levels]
        return torch.cat([output.flatten(2).transpose(1, 2) for output in outputs], dim=1)
