"""One backbone with two heads that learn together: regression of points, and heatmaps."""

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
from canthus.models.layers import NormalizeColours, conv_bn_relu, points_from_offsets
from canthus.models.output import Maps, Output, evaluating

DECODINGS = {"regression": 0.0, "heatmap": 1.0, "both": 0.5}
"""Sources of the points, with the share of the heatmaps."""

DOUBLINGS = 3
"""Number of times that the heatmap head doubles the side."""

START = -3.0
"""Bias of the last layer of the heatmaps: before training they are nearly empty, as true heatmaps are."""


@final
class PointHead(nn.Module):
    """Points ``(n, k, 2)`` in [0, 1] from the channel means of a map: linear layers with batch norm and ReLU, sigmoid.

    ``hidden`` are the widths of the layers with batch norm.
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
class FlatHead(nn.Module):
    """Points ``(n, k, 2)`` in the unit frame from flattened maps at 1/8, 1/16 and 1/32 of the side, as PFLD has them.

    A 1x1 convolution with batch norm and ReLU brings each map to few channels; one linear layer reads all of them and
    gives offsets from the centre of the crop.  The places in the maps are kept, which channel means lose.

    Args:
        maps: shapes ``(n, c, h, w)`` of the three maps.
        widths: channels to which they are brought.

    Attributes:
        coarse: how many numbers the maps at 1/16 and 1/32 have together.
    """

    def __init__(self, maps: Sequence[torch.Size], points: int, *, widths: Sequence[int]) -> None:
        super().__init__()
        self.points = points
        self.reduce = nn.ModuleList(conv_bn_relu(m[1], width) for m, width in zip(maps, widths, strict=True))
        cells = [width * m[2] * m[3] for m, width in zip(maps, widths, strict=True)]
        self.coarse = sum(cells[1:])
        self.last = nn.Linear(sum(cells), 2 * points)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return self.read(self.flatten(maps))

    def flatten(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The three maps with few channels, each ``(n, c h w)``."""
        return [layer(m).flatten(1) for m, layer in zip(maps, self.reduce, strict=True)]

    def read(self, flat: Sequence[Tensor]) -> Tensor:
        """The points from what ``flatten`` returned."""
        return points_from_offsets(self.last(torch.cat(list(flat), dim=1)), self.points)


@final
class HeatmapHead(nn.Module):
    """Heatmaps ``(n, k, side, side)`` in [0, 1] from the last map of a backbone.

    Differs: the side is doubled three times, each time before a convolution. The paper upsamples once before its
    convolutions, but 3x3 convolutions of 320 channels at 32x32 would cost more than the whole backbone.

    Args:
        side: of the heatmaps, a multiple of 8.
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


HEADS = {"pooled": PointHead, "flat": FlatHead}
"""Heads of the points by name: from the channel means of the last map, as the paper has it, or from flattened maps."""


@final
class JointNetwork(nn.Module):
    """Regression and heatmaps on one backbone: "mobile-distill-prune" (2024), sections 3.3 to 3.5.

    The points are those of the regression; see ``decoding`` for those of the heatmaps. The batch norms of the
    pooled head cannot learn from a batch of one face.

    Args:
        size: side of the square input in pixels, a multiple of 4.
        backbone: key of ``BACKBONES``.
        width: factor of the backbone's channels.
        top: whether a MobileNet V2 or V3 has its last 1x1 layer; without it V2 has the printed size.
        head: key of ``HEADS``: ``pooled``, the paper's, or ``flat``.
        hidden: widths of the fully connected layers of the pooled head before the last one.
        flat: channels of the flat head from the maps at 1/8, 1/16 and 1/32 of the side.
        heatmaps: whether there is a heatmap head.
        heatmap_side: side of the heatmaps in cells, a multiple of 8.
        heatmap_hidden: channels of the heatmap head after each doubling, three numbers.
        spread: whether the network also predicts the error of each point: with a flat head from its maps at 1/16 and
            1/32, else from the channel means.
        spread_means: whether the errors are also predicted from the channel means where the head is flat.
        rounded: whether the backbone clips its activations, and rounds them in training, as int8 does; for
            ``resnet_slim``.
    """

    def __init__(
        self,
        *,
        points: int,
        size: int = 128,
        backbone: str = "mobilenet_v2",
        width: float = 1.0,
        top: bool = True,
        head: str = "pooled",
        hidden: Sequence[int] = (256, 128),
        flat: Sequence[int] = (8, 16, 32),
        heatmaps: bool = True,
        heatmap_side: int = 32,
        heatmap_hidden: Sequence[int] = (128, 64, 64),
        spread: bool = False,
        spread_means: bool = False,
        rounded: bool = False,
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
        options = ({} if top else {"top": False}) | ({"rounded": True} if rounded else {})
        self.backbone = create_backbone(backbone, width=width, **options)
        channels: int = self.backbone.channels  # type: ignore[assignment]  # an attribute of every backbone
        self.feature_channels = self.backbone.feature_channels
        self.point_head: PointHead | FlatHead | None = (
            PointHead(channels, points, hidden=hidden)
            if lookup(HEADS, head, kind="head") is PointHead
            else FlatHead(self._map_shapes(), points, widths=flat)
        )
        self.heatmap_head = (
            HeatmapHead(channels, points, side=heatmap_side, hidden=heatmap_hidden) if heatmaps else None
        )
        self.heatmap_share = 0.0
        coarse = self.point_head.coarse if isinstance(self.point_head, FlatHead) else 0
        self._reads_means = spread_means or not coarse
        seen = coarse + (channels if self._reads_means else 0)
        self.spread = SpreadHead(seen, points) if spread else None

    def forward(self, image: Tensor) -> Output:
        found: Maps = self.backbone(self.normalize(image))
        deep = found.deep
        means = deep.mean(dim=(2, 3))
        flat = self.point_head.flatten(found.scales) if isinstance(self.point_head, FlatHead) else None
        maps = None if self.heatmap_head is None else self.heatmap_head(deep)
        return Output(
            points=self._points(means, flat, maps),
            features=found.features,
            spread=None if self.spread is None else self.spread(self._coarse(means, flat)),
            heatmaps=None if maps is None else maps[:, None],
            deep=deep,
        )

    def _coarse(self, means: Tensor, flat: Sequence[Tensor] | None) -> Tensor:
        """What the errors of the points are predicted from."""
        return torch.cat([*(flat or ())[1:], *([means] if self._reads_means else [])], dim=1)

    def _map_shapes(self) -> list[torch.Size]:
        with evaluating(self.backbone):
            return [scale.shape for scale in self.backbone(torch.zeros(1, 3, self.size, self.size)).scales]

    def _points(self, means: Tensor, flat: Sequence[Tensor] | None, maps: Tensor | None) -> Tensor:
        regressed: Tensor | None = None
        if isinstance(self.point_head, FlatHead) and flat is not None:
            regressed = self.point_head.read(flat)
        elif self.point_head is not None:
            regressed = self.point_head(means)
        if maps is None or (regressed is not None and self.heatmap_share == 0):
            if regressed is None:
                raise ConfigError("A joint network without a heatmap head needs its regression head")
            return regressed
        drawn = points_of_heatmaps(maps)
        return drawn if regressed is None else torch.lerp(regressed, drawn.to(regressed.dtype), self.heatmap_share)


def decoding(network: nn.Module, how: str) -> nn.Module:
    """Copy a trained joint network, choose the source of its points, and drop a head that is no longer needed.

    Args:
        network: a ``JointNetwork``.
        how: ``regression``; ``heatmap`` for the peaks of the heatmaps; ``both`` for the mean of the two.

    Raises:
        ConfigError: unknown decoding, another kind of network, or one without heatmaps.
    """
    share = lookup(DECODINGS, how, kind="decoding")
    if not isinstance(network, JointNetwork):
        raise ConfigError(f"{type(network).__name__} has only one source of points; leave out --decode")
    if share > 0 and network.heatmap_head is None:
        raise ConfigError(f"This network has no heatmaps, so {how!r} is not possible; use 'regression'")
    chosen = copy.deepcopy(network)
    chosen.heatmap_share = share
    if how == "regression":
        chosen.heatmap_head = None
    elif how == "heatmap" and not (isinstance(chosen.point_head, FlatHead) and chosen.spread is not None):
        chosen.point_head = None
    return chosen
