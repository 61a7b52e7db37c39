"""Which datasets a recipe trains and validates on."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class TrainSource:
    """One training set.

    Attributes:
        dataset: key of ``DATASETS``.
        split: name of the split.
        weight: part of an epoch, relative to the other sets that are active.
        until: share of the training after which the set is no longer visited.
    """

    dataset: str
    split: str
    weight: float = 1.0
    until: float = 1.0


@final
@dataclass(frozen=True)
class ValidationSource:
    """One validation set; the first of a recipe decides which checkpoint is best."""

    dataset: str
    split: str

    @property
    def name(self) -> str:
        """``dataset/split``."""
        return f"{self.dataset}/{self.split}"
