"""What every backbone returns."""

from typing import NamedTuple

from torch import Tensor


class Maps(NamedTuple):
    """Feature maps of one forward pass: ``features`` at 1/4 of the side, ``deep`` the last one, at 1/32."""

    features: Tensor
    deep: Tensor
