"""ResNet-50 with a fully connected layer for the points, ResNet-18, and a slim ResNet for 8 bits.

Parameters of the first two are named as in torchvision.
"""

import itertools
from typing import final

from torch import Tensor, nn
from torch.nn import functional

from canthus.models.heads import SpreadHead
from canthus.models.layers import ByteRange, NormalizeColours, conv_bn, divisible_channels, points_from_offsets
from canthus.models.output import Maps, Output

DEPTHS = (3, 4, 6, 3)
EXPANSION = 4
SLIM = ((48, 1), (128, 3), (128, 4), (128, 1))
"""Channels and number of blocks of ``SlimResNet`` at 1/4, 1/8, 1/16 and 1/32 of the side."""
PATCH = 4
"""Side of its patches in pixels."""


@final
class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the channels, and a shortcut: He et al. (2016), figure 5.

    Differs: the stride is on the 3x3 convolution, which has ``channels``, as in recent published weights.
    """

    def __init__(self, inputs: int, channels: int, *, stride: int) -> None:
        super().__init__()
        outputs = channels * EXPANSION
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = conv_bn(inputs, outputs, stride=stride) if stride != 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


@final
class BasicBlock(nn.Module):
    """Two 3x3 convolutions, the first with the stride, and a shortcut: He et al. (2016), figure 5, left.

    Args:
        rounded: whether the activations are clipped, and rounded in training, see ``ByteRange``.
    """

    def __init__(self, inputs: int, channels: int, *, stride: int, rounded: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = conv_bn(inputs, channels, stride=stride) if stride != 1 or inputs != channels else None
        self.range1, self.range2, self.range3 = (_range(rounded, signed=signed) for signed in (False, True, False))
        if self.downsample is not None and rounded:
            self.downsample.append(ByteRange(signed=True))

    def forward(self, x: Tensor) -> Tensor:
        y = self.range1(functional.relu(self.bn1(self.conv1(x))))
        y = self.range2(self.bn2(self.conv2(y)))
        found: Tensor = self.range3(functional.relu(y + (x if self.downsample is None else self.downsample(x))))
        return found


@final
class ResNet50(nn.Module):
    """He et al. (2016), "Deep Residual Learning for Image Recognition", Table 1, with k points as output.

    ``Output.features`` is the map at 1/4 of the side, 256 channels.

    Args:
        size: side of the square input in pixels; any works, because the last map is averaged.
        width: channels of the first layer; published weights need 64.
    """

    def __init__(self, *, points: int, size: int = 112, width: int = 64, spread: bool = False) -> None:
        super().__init__()
        self.points = points
        self.size = size
        self.feature_channels = width * EXPANSION
        self.normalize = NormalizeColours()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, DEPTHS[0], stride=1)
        self.layer2 = _stage(width * EXPANSION, width * 2, DEPTHS[1], stride=2)
        self.layer3 = _stage(width * 2 * EXPANSION, width * 4, DEPTHS[2], stride=2)
        self.layer4 = _stage(width * 4 * EXPANSION, width * 8, DEPTHS[3], stride=2)
        self.fc = nn.Linear(width * 8 * EXPANSION, 2 * points)
        self.spread = SpreadHead(width * 8 * EXPANSION, points) if spread else None

    def forward(self, image: Tensor) -> Output:
        maps = _maps(self, self.normalize(image))
        mean = maps.deep.mean(dim=(2, 3))
        return Output(
            points=points_from_offsets(self.fc(mean), self.points),
            features=maps.features,
            spread=None if self.spread is None else self.spread(mean),
            deep=maps.deep,
        )


@final
class ResNet50Backbone(nn.Module):
    """The layers of ``ResNet50`` before the fully connected one, under the same names.

    Args:
        width: factor of all channels; published weights need 1.
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        whole = ResNet50(points=1, width=divisible_channels(64 * width))
        self.feature_channels = whole.feature_channels
        self.channels = whole.fc.in_features
        self.conv1, self.bn1 = whole.conv1, whole.bn1
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4

    def forward(self, image: Tensor) -> Maps:
        return _maps(self, image)


@final
class ResNet18Backbone(nn.Module):
    """ResNet-18 before its fully connected layer: He et al. (2016), Table 1.

    Args:
        width: factor of all channels; published weights need 1.
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        first, *wider = (divisible_channels(channels * width) for channels in (64, 128, 256, 512))
        self.feature_channels = first
        self.channels = wider[-1]
        self.conv1 = nn.Conv2d(3, first, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _blocks(first, first, 2, stride=1)
        self.layer2, self.layer3, self.layer4 = (
            _blocks(inputs, channels, 2, stride=2) for inputs, channels in itertools.pairwise((first, *wider))
        )

    def forward(self, image: Tensor) -> Maps:
        return _maps(self, image)


@final
class SlimResNet(nn.Module):
    """Patches of 4x4 pixels, then the blocks of ResNet-18: ``SLIM``.

    Made for int8 on processors.  Dense 3x3 convolutions of 128 channels do four times as many multiply-adds in a
    microsecond there as depthwise-separable ones, so that most of the work is in such layers, at 1/8 and 1/16.  Patches
    in the place of a convolution of stride 2 and a pool spare the layers at 1/2, which are slow for their three
    channels in.

    Args:
        width: factor of all channels.
        rounded: whether the activations are clipped, and rounded in training, as int8 does.
    """

    def __init__(self, *, width: float = 1.0, rounded: bool = False) -> None:
        super().__init__()
        channels = [divisible_channels(count * width) for count, _ in SLIM]
        self.feature_channels, self.channels = channels[0], channels[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels[0], PATCH, PATCH, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU(inplace=True)
        )
        if rounded:
            self.stem.append(ByteRange())
        inputs = [channels[0], *channels[:-1]]
        self.stages = nn.ModuleList(
            _blocks(first, count, depth, stride=1 if number == 0 else 2, rounded=rounded)
            for number, (first, count, (_, depth)) in enumerate(zip(inputs, channels, SLIM, strict=True))
        )

    def forward(self, image: Tensor) -> Maps:
        x = self.stem(image)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return Maps(maps[0], tuple(maps[1:]))


def _blocks(inputs: int, channels: int, depth: int, *, stride: int, rounded: bool = False) -> nn.Sequential:
    first = BasicBlock(inputs, channels, stride=stride, rounded=rounded)
    more = (BasicBlock(channels, channels, stride=1, rounded=rounded) for _ in range(depth - 1))
    return nn.Sequential(first, *more)


def _range(rounded: bool, *, signed: bool) -> nn.Module:
    return ByteRange(signed=signed) if rounded else nn.Identity()


def _maps(network: ResNet18Backbone | ResNet50 | ResNet50Backbone, image: Tensor) -> Maps:
    x = functional.relu(network.bn1(network.conv1(image)))
    features = network.layer1(functional.max_pool2d(x, 3, 2, 1))
    eighth = network.layer2(features)
    sixteenth = network.layer3(eighth)
    return Maps(features, (eighth, sixteenth, network.layer4(sixteenth)))


def _stage(inputs: int, channels: int, depth: int, *, stride: int) -> nn.Sequential:
    first = Bottleneck(inputs, channels, stride=stride)
    return nn.Sequential(first, *(Bottleneck(channels * EXPANSION, channels, stride=1) for _ in range(depth - 1)))
