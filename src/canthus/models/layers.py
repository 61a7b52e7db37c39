"""Building blocks shared by the networks."""

from typing import final

from torch import Tensor, nn


@final
class NormalizeInput(nn.Module):
    """Map RGB in [0, 1] to [-1, 1], so that every network takes plain pictures."""

    def forward(self, image: Tensor) -> Tensor:
        return image * 2.0 - 1.0


def scaled_channels(channels: int, width: float, *, divisor: int = 4) -> int:
    """Channel count at a width multiplier, rounded to a multiple of ``divisor``, at least one multiple."""
    return max(divisor, int(channels * width / divisor + 0.5) * divisor)


def conv_bn_relu(inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution with same padding, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


@final
class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; a shortcut where shapes allow it.

    Sandler et al. (2018), "MobileNetV2", figure 3 (b) and 4 (d).

    Args:
        inputs: channels in.
        outputs: channels out.
        expansion: factor t of the hidden layer.
        stride: of the depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            conv_bn_relu(inputs, hidden, kernel=1),
            conv_bn_relu(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.shortcut else y
