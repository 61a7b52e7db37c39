"""The auxiliary branch that learns the head's pose while a network is trained; it is never exported."""

from typing import final

from torch import Tensor, nn

from canthus.models.layers import conv_bn_relu


@final
class PoseBranch(nn.Module):
    """Yaw, pitch and roll in radians from the feature map at 1/4 of the side.

    Guo et al. (2019), "PFLD", Table 2, as Yu et al. (2023) print it in their Table 2: conv3 stride 2 to 128, conv3
    128, conv3 stride 2 to 32, conv7 to 128, fully connected 32 and 3.

    Args:
        channels: of the feature map.
        size: side of the network's input in pixels, a multiple of 16; the last convolution covers the whole map.
    """

    def __init__(self, channels: int, *, size: int = 112) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_bn_relu(channels, 128, kernel=3, stride=2),
            conv_bn_relu(128, 128, kernel=3),
            conv_bn_relu(128, 32, kernel=3, stride=2),
            nn.Conv2d(32, 128, size // 16),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(128, 32),
            nn.ReLU(inplace=True),
            nn.Linear(32, 3),
        )

    def forward(self, features: Tensor) -> Tensor:
        angles: Tensor = self.layers(features)
        return angles
