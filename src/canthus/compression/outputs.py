"""What of a landmark network's output keeps its width when the network is pruned."""

from torch import Tensor

from canthus.models.output import Output


def points_and_maps(output: Output) -> list[Tensor]:
    """Points, expected errors and heatmaps; ``features`` may become narrower."""
    return [part for part in (output.points, output.spread, output.heatmaps) if part is not None]
