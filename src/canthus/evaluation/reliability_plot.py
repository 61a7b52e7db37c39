"""The reliability diagram as a picture (extra: plots)."""

import os
from pathlib import Path

from canthus.evaluation.reliability import BINS, Reliability
from canthus.lookup import require


def plot_reliability(path: str | os.PathLike[str], found: Reliability, *, title: str, boxes: str) -> None:
    """Write a reliability diagram: share of right points against confidence, and below how many points there are.

    Perfectly calibrated confidence lies on the diagonal; below it the model is too sure of itself.

    Args:
        path: file to write; its suffix names the format.
        found: what to draw.
        title: what was measured.
        boxes: where the boxes came from, for the title.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = require("matplotlib.figure", extra="plots").Figure(figsize=(5.6, 6.4), dpi=120, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    x = [100 * b.confidence for b in found.bins]
    # The middle of the bin that a mean lies in; a mean of exactly 1 belongs to the last.
    middles = [100 * (min(int(b.confidence * BINS), BINS - 1) + 0.5) / BINS for b in found.bins]
    upper.plot([0, 100], [0, 100], color="0.45", linestyle="--", linewidth=1, label="perfect")
    upper.bar(middles, [100 * b.right for b in found.bins], width=96 / BINS, color="C0", alpha=0.3)
    upper.plot(x, [100 * b.right for b in found.bins], "o-", color="C0", label=f"ECE {100 * found.ece:.1f} %")
    upper.set(xlim=(0, 100), ylim=(0, 100), title=f"{title}\nboxes: {boxes}")
    upper.set_ylabel(f"points within {100 * found.tolerance:g} % of the face box, %")
    upper.grid(alpha=0.3)
    upper.legend(loc="upper left")
    lower.bar(middles, [b.points for b in found.bins], width=96 / BINS, color="0.5")
    lower.set(xlabel="confidence, %", ylabel="points", yscale="log")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
