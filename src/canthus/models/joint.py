"""One backbone with two heads, of points and of heatmaps, that learn together."""

import copy
import itertools
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.models.backbones import create_backbone
from canthus.models.heads import SpreadHead, points_of_heatmaps
from canthus.models.layers import NormalizeColours, conv_bn_relu
from canthus.models.output import Output

DECODINGS = {"regression": 0.0, "heatmap": 1.0, "both": 0.5}
"""Where points may come from, and the share of the heatmaps in them."""

DOUBLINGS = 3
"""How often the heatmap head doubles the side."""

START = -3.0
"""Of the last layer of the heatmaps before the sigmoid: a fresh head draws nearly empty maps, as the true ones are."""


@final
class PointHead(nn.Module):
    """Means of a map's channels to points ``(n, k, 2)`` in [0, 1]: layers with batch norm and ReLU, one more, sigmoid.

    Args:
        channels: in.
        points: number of landmarks k.
        hidden: widths of the layers with batch norm.
    """

    def __init__(self, channels: int, points: int, *, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = [channels, *hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 2 * points))

    def forward(self, means: Tensor) -> Tensor:
        points: Tensor = self.layers(means).sigmoid().unflatten(1, (-1, 2))
        return points


@final
class HeatmapHead(nn.Module):
    """A deep map to heatmaps ``(n, k, side, side)`` in [0, 1].

    Differs: the side is doubled three times with a convolution after each, where the paper upsamples once before its
    convolutions; 3x3 convolutions on 320 channels at 32x32 would cost more than the whole backbone.

    Args:
        channels: in.
        points: number of landmarks k.
        side: of the heatmaps, a multiple of 8 (the number of doublings).
        hidden: channels after each doubling.
    """

    def __init__(self, channels: int, points: int, *, side: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self._sides = [side >> n for n in reversed(range(DOUBLINGS))]
        inputs = [channels, *hidden[:-1]]
        self.layers = nn.ModuleList(conv_bn_relu(i, o, kernel=3) for i, o in zip(inputs, hidden, strict=True))
        self.last = nn.Conv2d(hidden[-1], points, 1)
        nn.init.constant_(self.last.bias, START)  # type: ignore[arg-type]  # there is one

    def forward(self, deep: Tensor) -> Tensor:
        x = deep
        for side, layer in zip(self._sides, self.layers, strict=True):
            x = layer(functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=False))
        maps: Tensor = self.last(x)
        return maps.sigmoid()


@final
class JointNetwork(nn.Module):
    """Regression and heatmaps on one backbone: "mobile-distill-prune" (2024), sections 3.3 to 3.5.

    The points are those of the regression; what the heatmaps say of them can be had with ``decoding``.  A batch norm of
    the regression cannot learn from a batch of one face.

    Args:
        points: number of landmarks k.
        size: side of the square input in pixels; any multiple of 4, because the last map is averaged.
        backbone: key of ``BACKBONES``.
        width: factor of the backbone's channels.
        top: whether a MobileNet V2 or V3 keeps its last 1x1 layer; without it V2 has the size that the paper prints.
        hidden: widths of the fully connected layers before the last.
        heatmaps: whether there is a heatmap head.
        heatmap_side: cells of a map's side, a multiple of 8.
        heatmap_hidden: channels of the heatmap head after each of its three doublings.
        spread: whether the network also tells the expected error of each point.
    """

    def __init__(
        self,
        *,
        points: int,
        size: int = 128,
        backbone: str = "mobilenet_v2",
        width: float = 1.0,
        top: bool = True,
        hidden: Sequence[int] = (256, 128),
        heatmaps: bool = True,
        heatmap_side: int = 32,
        heatmap_hidden: Sequence[int] = (128, 64, 64),
        spread: bool = False,
    ) -> None:
        super().__init__()
        if size % 4 or heatmap_side % (1 << DOUBLINGS) or len(heatmap_hidden) != DOUBLINGS:
            raise ValueError(
                f"the joint network needs a side that is a multiple of 4, heatmaps with a side that is a multiple of 8 "
                f"and {DOUBLINGS} heatmap_hidden; found {size}, {heatmap_side} and {list(heatmap_hidden)}"
            )
        self.points = points
        self.size = size
        self.normalize = NormalizeColours()
        self.backbone = create_backbone(backbone, width=width, **({} if top else {"top": False}))
        channels: int = self.backbone.channels  # type: ignore[assignment]  # what every backbone tells
        self.feature_channels = self.backbone.feature_channels
        self.point_head: PointHead | None = PointHead(channels, points, hidden=hidden)
        self.heatmap_head = (
            HeatmapHead(channels, points, side=heatmap_side, hidden=heatmap_hidden) if heatmaps else None
        )
        self.heatmap_share = 0.0
        self.spread = SpreadHead(channels, points) if spread else None

    def forward(self, image: Tensor) -> Output:
        features, deep = self.backbone(self.normalize(image))
        means = deep.mean(dim=(2, 3))
        maps = None if self.heatmap_head is None else self.heatmap_head(deep)
        return Output(
            points=self._points(means, maps),
            features=features,
            spread=None if self.spread is None else self.spread(means),
            heatmaps=None if maps is None else maps[:, None],
            deep=deep,
        )

    def _points(self, means: Tensor, maps: Tensor | None) -> Tensor:
        regressed: Tensor | None = None if self.point_head is None else self.point_head(means)
        if maps is None or (regressed is not None and self.heatmap_share == 0):
            if regressed is None:
                raise ConfigError("A joint network without heads gives no points")
            return regressed
        drawn = points_of_heatmaps(maps)
        return drawn if regressed is None else torch.lerp(regressed, drawn.to(regressed.dtype), self.heatmap_share)


def decoding(network: nn.Module, how: str) -> nn.Module:
    """A copy of a trained network that takes its points from elsewhere, without the head that it no longer needs.

    Args:
        network: any; only a ``JointNetwork`` has a choice.
        how: ``regression``; ``heatmap``: the peaks of the maps; ``both``: the mean of the two.

    Raises:
        ConfigError: no such decoding, or the network has no heatmaps beside its points.
    """
    share = lookup(DECODINGS, how, kind="decoding")
    if not isinstance(network, JointNetwork):
        raise ConfigError(f"{type(network).__name__} gives its points in one way only; leave out --decode")
    if share > 0 and network.heatmap_head is None:
        raise ConfigError(f"This network was made without heatmaps, so it cannot be decoded by {how}")
    chosen = copy.deepcopy(network)
    chosen.heatmap_share = share
    if how == "regression":
        chosen.heatmap_head = None
    elif how == "heatmap":
        chosen.point_head = None
    return chosen
