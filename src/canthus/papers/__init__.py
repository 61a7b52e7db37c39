"""Published tables as values: which trainings they need, what was printed, what was claimed.  One paper a file."""

from collections.abc import Mapping

from canthus.papers.blaze_ghost import BLAZE_GHOST
from canthus.papers.mobile_distill_prune import MOBILE_DISTILL_PRUNE
from canthus.papers.mobilenet_l import MOBILENET_L
from canthus.reproduce.values import Paper

PAPERS: Mapping[str, Paper] = {
    "blaze_ghost": BLAZE_GHOST,
    "mobile_distill_prune": MOBILE_DISTILL_PRUNE,
    "mobilenet_l": MOBILENET_L,
}
"""Name to paper, as ``canthus reproduce`` takes it."""

__all__ = ["PAPERS"]
