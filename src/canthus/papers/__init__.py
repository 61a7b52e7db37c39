"""Published tables as values: which trainings they need, what was printed, what was claimed.  One paper a file."""

from collections.abc import Mapping

from canthus.papers.blaze_ghost import BLAZE_GHOST
from canthus.papers.mobilenet_l import MOBILENET_L
from canthus.recipes.experiments import Paper

PAPERS: Mapping[str, Paper] = {"blaze_ghost": BLAZE_GHOST, "mobilenet_l": MOBILENET_L}
"""Name to paper, as ``canthus reproduce`` takes it."""

__all__ = ["PAPERS"]
