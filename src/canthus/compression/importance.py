"""The score of this package for the pruners of Torch-Pruning."""

from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from canthus.compression.graph import elements_of
from canthus.compression.groups import group_of
from canthus.compression.scores import SCORERS
from canthus.lookup import lookup


@final
class ReconstructionImportance:
    """How much the next feature map changes without a channel, as an ``importance`` of Torch-Pruning.

    Args:
        network: the one that is pruned.
        images: the sample that channels are scored on, ``(n, 3, s, s)``.
        scorer: key of ``SCORERS``.

    Raises:
        ConfigError: no such scorer.
    """

    def __init__(self, network: nn.Module, images: Tensor, *, scorer: str = "closed") -> None:
        self._network = network
        self._images = images
        self._score = lookup(SCORERS, scorer, kind="scorer")

    @torch.no_grad()
    def __call__(self, group: Any) -> Float[Tensor, " channels"] | None:
        """Scores of the channels of a ``torch_pruning.Group``; None where no layer reads them, which spares them."""
        name, elements = elements_of(self._network, group)
        found = group_of(name, elements)
        return self._score(self._network, found, self._images) if found.readers else None
