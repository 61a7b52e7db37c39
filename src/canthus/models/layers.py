"""Building blocks that several networks share."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from canthus.models.output import Maps

OFFSET = 0.05
"""Length of one unit of a last layer's output, as a share of the crop's side."""

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Mean and standard deviation of the colours of ImageNet."""

OUTLIERS = 0.001
"""Share of the activations that a ``ByteRange`` clips at either end."""
FOLLOW = 0.01
"""Share of a batch in the moving average of a ``ByteRange``."""
LEVELS = 255
SAMPLE = 8192
"""Number of activations of a batch that a ``ByteRange`` looks at."""
UNSEEN = 10_000.0
"""End of a ``ByteRange`` before the first batch; activations of networks with batch norm stay far below."""

Activation = Callable[[], nn.Module]
RELU: Activation = partial(nn.ReLU, inplace=True)


def points_from_offsets(offsets: Tensor, points: int) -> Tensor:
    """Convert the output of a last layer, ``(n, 2k)`` offsets from the crop's centre, to points ``(n, k, 2)``.

    The points are in the unit frame. One unit of the output is a twentieth of the crop: optimizers of the Adam family
    change a weight by the learning rate whatever the gradient, and over thousands of inputs of a last layer such steps
    would move the points by whole faces.
    """
    return 0.5 + OFFSET * offsets.reshape(-1, points, 2)


@final
class NormalizeInput(nn.Module):
    """Map RGB from [0, 1] to [-1, 1]."""

    def forward(self, image: Tensor) -> Tensor:
        return image * 2.0 - 1.0


@final
class NormalizeColours(nn.Module):
    """Subtract the mean colour of ImageNet and divide by its standard deviation, as published weights expect.

    The state dict has no entry for it, so that its names are those of published weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.deviation


@final
class ByteRange(nn.Module):
    """Clip activations to a range, and in training round them to the 256 numbers that a byte has for it.

    The gradient is that of the clipping: Jacob et al. (2018), "Quantization and Training of Integer-Arithmetic-Only
    Inference", section 3.1.  The range leaves out ``OUTLIERS`` of the activations at either end, as a moving average
    over batches; an int8 export of the network gets it, because no activation is outside.  In eval mode and in float
    exports nothing is rounded.

    Args:
        signed: whether activations may be negative; else the range starts at 0.
    """

    low: Tensor
    high: Tensor

    def __init__(self, *, signed: bool = False) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(-UNSEEN if signed else 0.0))
        self.register_buffer("high", torch.tensor(UNSEEN))
        self._signed = signed

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return torch.clamp(x, self.low.to(x.dtype), self.high.to(x.dtype))
        self._follow(x.detach())
        step = (self.high - self.low) / LEVELS
        zero = torch.round(-self.low / step).to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(x.float(), step, zero, 0, LEVELS).to(x.dtype)

    def _follow(self, x: Tensor) -> None:
        """Move the range towards that of a sample of the activations."""
        flat = x.movedim(1, -1).flatten()
        sample = flat[:: max(1, len(flat) // SAMPLE) | 1].float()  # an odd step, so that all channels have a part
        self._move(self.high, sample.quantile(1 - OUTLIERS))
        if self._signed:
            self._move(self.low, sample.quantile(OUTLIERS))

    @staticmethod
    def _move(end: Tensor, found: Tensor) -> None:
        end.copy_(torch.where(end.abs() == UNSEEN, found, end.lerp(found, FOLLOW)))


def divisible_channels(channels: float, *, divisor: int = 8) -> int:
    """Round a channel count to a multiple of ``divisor``, down by a tenth at most.

    The rounding of MobileNetV2 and V3, which published weights follow.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def scaled_channels(channels: int, width: float, *, divisor: int = 4) -> int:
    """Multiply a channel count by ``width`` and round to a multiple of ``divisor``, at least one multiple."""
    return max(divisor, int(channels * width / divisor + 0.5) * divisor)


def conv_bn(
    inputs: int,
    outputs: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    active: Activation | None = None,
    norm: Callable[[int], nn.BatchNorm2d] = nn.BatchNorm2d,
) -> nn.Sequential:
    """Convolution with same padding, batch norm, and an activation if one is given."""
    padding = dilation * (kernel // 2)
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False), norm(outputs)]
    return nn.Sequential(*layers, *([active()] if active else []))


conv_bn_relu = partial(conv_bn, active=RELU)
"""``conv_bn`` with ReLU."""


@final
class Residual(nn.Sequential):
    """Layers with an optional shortcut around them.

    Args:
        shortcut: whether the input is added to their output.
        name: of the layers in the state dict; published weights have names of their own.
    """

    def __init__(self, layers: nn.Sequential, *, shortcut: bool, name: str = "layers") -> None:
        super().__init__()
        self.shortcut = shortcut
        self.add_module(name, layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # missing in its types
        return x + y if self.shortcut else y


def inverted_residual(
    inputs: int, outputs: int, *, expansion: int, stride: int, active: Activation = RELU, name: str = "layers"
) -> Residual:
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; a shortcut if input and output have the same shape.

    Sandler et al. (2018), "MobileNetV2", figures 3 (b) and 4 (d).

    Args:
        expansion: factor t of the hidden layer; factor 1 has no expansion layer.
        active: activation after the first two layers.
        name: see ``Residual``.
    """
    hidden = inputs * expansion
    expand = [conv_bn(inputs, hidden, active=active)] if expansion != 1 else []
    depthwise = conv_bn(hidden, hidden, kernel=3, stride=stride, groups=hidden, active=active)
    layers = nn.Sequential(*expand, depthwise, *conv_bn(hidden, outputs))
    return Residual(layers, shortcut=stride == 1 and inputs == outputs, name=name)


@final
class GhostModule(nn.Module):
    """1x1 convolution for half of the channels; a cheap 3x3 depthwise convolution of these for the other half.

    Han et al. (2020), "GhostNet: More Features from Cheap Operations", section 3.1, ratio 2.

    Raises:
        ValueError: ``outputs`` is odd.
    """

    def __init__(self, inputs: int, outputs: int, *, active: Activation | None = None) -> None:
        super().__init__()
        if outputs % 2:
            raise ValueError(f"A Ghost module has an even number of output channels, not {outputs}")
        half = outputs // 2
        self.primary = conv_bn(inputs, half, active=active)
        self.cheap = conv_bn(half, half, kernel=3, groups=half, active=active)

    def forward(self, x: Tensor) -> Tensor:
        first = self.primary(x)
        return torch.cat([first, self.cheap(first)], dim=1)


Pointwise = Callable[..., nn.Module]
"""Makes the layer that mixes channels from (channels in, channels out, ``active=``): ``conv_bn`` or ``GhostModule``."""


@final
class BlazeBlock(nn.Module):
    """One or two depthwise-separable convolutions with 5x5 kernels and a shortcut, then ReLU.

    Bazarevsky et al. (2019), "BlazeFace", figure 1: the single block has one pair of depthwise and pointwise
    convolutions, the double block two, with ``hidden`` channels between them.

    Differs: if the number of channels changes, the shortcut has a 1x1 convolution; the original pads with zeros.

    Args:
        stride: of the first depthwise convolution; above 1 the shortcut has a 3x3 max pool and a 1x1 convolution.
        hidden: channels between the two pairs of a double block; None makes a single block.
        pointwise: makes the convolutions that mix channels.
    """

    def __init__(
        self, inputs: int, outputs: int, *, pointwise: Pointwise, stride: int = 1, hidden: int | None = None
    ) -> None:
        super().__init__()
        layers = [*conv_bn(inputs, inputs, kernel=5, stride=stride, groups=inputs)]
        if hidden is None:
            layers.append(pointwise(inputs, outputs))
        else:
            layers.append(pointwise(inputs, hidden, active=RELU))
            layers += [*conv_bn(hidden, hidden, kernel=5, groups=hidden), pointwise(hidden, outputs)]
        self.layers = nn.Sequential(*layers)
        shortcut: list[nn.Module] = [nn.MaxPool2d(3, stride, padding=1)] if stride > 1 else []
        if stride > 1 or inputs != outputs:
            shortcut.append(pointwise(inputs, outputs))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.layers(x) + self.shortcut(x))


@final
class AtrousPyramid(nn.Module):
    """ASPP: a 1x1 convolution, dilated 3x3 convolutions and the mean of the map in parallel, joined by a 1x1 one.

    Chen et al. (2017), "Rethinking Atrous Convolution for Semantic Image Segmentation", figure 5.

    Differs: the branch of the mean has no batch norm unless asked for: a batch norm there sees one value a face and
    channel, and cannot learn from a batch of one face.

    Args:
        mean_norm: whether the branch of the mean has a batch norm, as the figure has it.
    """

    def __init__(self, channels: int, *, dilations: Sequence[int], mean_norm: bool = False) -> None:
        super().__init__()
        self.point = conv_bn_relu(channels, channels)
        self.dilated = nn.ModuleList(conv_bn_relu(channels, channels, kernel=3, dilation=d) for d in dilations)
        plain = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(inplace=True))
        self.mean = conv_bn_relu(channels, channels) if mean_norm else plain
        self.join = conv_bn_relu(channels * (len(dilations) + 2), channels)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.mean(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        joined: Tensor = self.join(torch.cat([self.point(x), *(branch(x) for branch in self.dilated), mean], dim=1))
        return joined


@final
class Backbone(nn.Module):
    """Layers in a row that return some of their maps as ``Maps``.

    Args:
        quarter: number of layers up to the last one whose map has 1/4 of the side.
        feature_channels: width of that map.
        channels: width of the last map.
    """

    def __init__(self, layers: Sequence[nn.Module], *, quarter: int, feature_channels: int, channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.quarter = quarter
        self.feature_channels = feature_channels
        self.channels = channels

    def forward(self, image: Tensor) -> Maps:
        features = self.features[: self.quarter](image)
        maps = [features]
        for layer in list(self.features)[self.quarter :]:
            made = layer(maps[-1])
            if made.shape[-1] < maps[-1].shape[-1]:
                maps.append(made)
            else:
                maps[-1] = made
        return Maps(features, tuple(maps[1:]))
