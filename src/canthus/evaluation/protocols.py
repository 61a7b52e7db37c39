"""What a dataset's results are usually given in: the scale, the threshold, and which points count."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Protocol:
    """How errors on a dataset are reported.

    Attributes:
        error: the number of ``FaceError`` that decides.
        scale: what that error is divided by, in words.
        short: the same in a word or two, for captions of pictures.
        threshold: error above which a face has failed; a fraction.
        visible_only: whether hidden points are left out of every error.
    """

    error: str
    scale: str
    short: str
    threshold: float
    visible_only: bool = False


USUAL = Protocol("nme_ion", "inter-ocular distance", "ION", 0.08)

PROTOCOLS = {
    "aflw": Protocol("nme_box", "size of the box, sqrt(w h)", "box", 0.07, visible_only=True),
    "celeba": Protocol("nme_ion", "distance of the eyes", "eyes", 0.10),
}
"""Datasets whose results are given in another way than ``USUAL``.

AFLW: visible points over the size of the truth box, since profiles show one eye; failures at 7 % as in Kumar et al.
(2020), "LUVLi Face Alignment".  CelebA, like its part MAFL: the distance of the two eye points, failures at 10 %.
"""


def protocol_of(dataset: str) -> Protocol:
    """The protocol of a dataset; ``USUAL`` for any other name, such as that of a file of predictions."""
    return PROTOCOLS.get(dataset, USUAL)
