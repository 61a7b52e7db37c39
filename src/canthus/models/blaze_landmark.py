"""BlazeLandmark: Blaze_ghost with plain 1x1 convolutions, the baseline of its ablation."""

from canthus.models.blaze_ghost import BlazeGhost


def blaze_landmark(*, points: int, size: int = 112, hidden: int = 624, spread: bool = False) -> BlazeGhost:
    """The network of Yu et al. (2023), Table 6, row 1: Blaze_ghost without Ghost modules.

    Args:
        points: number of landmarks.
        size: side of the square input in pixels, a multiple of 16.
        hidden: channels inside a Double BlazeBlock.
        spread: whether the network also tells the expected error of each point.
    """
    return BlazeGhost(points=points, size=size, hidden=hidden, ghost=False, spread=spread)
