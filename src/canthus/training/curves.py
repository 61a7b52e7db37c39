"""Loss and error curves of a run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from canthus.lookup import require

ERROR = "/nme_ion"
PRECISION = "/ap_50"


def plot_curves(rows: Sequence[Mapping[str, float]], path: Path, *, title: str) -> None:
    """Draw training loss (left axis) and what was validated in percent (right axis) against epochs.

    Args:
        rows: one mapping an epoch with ``epoch``, ``train/loss`` and any ``.../nme_ion`` (landmarks) or ``.../ap_50``
            (face detectors).
        path: PNG to write.
        title: heading.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure_module = require("matplotlib.figure", extra="plots")
    figure = figure_module.Figure(figsize=(8, 4.5), layout="constrained")
    left = figure.subplots()
    epochs = [row["epoch"] + 1 for row in rows]
    left.plot(epochs, [row.get("train/loss", math.nan) for row in rows], color="0.6", label="training loss")
    left.set(xlabel="epoch", ylabel="training loss", title=title)
    right = left.twinx()
    if any(name.endswith(PRECISION) for row in rows for name in row):
        _draw(right, rows, suffix=PRECISION, best=max)
        right.set_ylim(0, 100)
        right.set_ylabel("average precision, overlap 0.5 (%)")
    else:
        late = [v for values in _draw(right, rows, suffix=ERROR, best=min) for v in values[len(values) // 10 :]]
        if late:
            right.set_ylim(0.95 * min(late), min(max(late) * 1.05, 4 * min(late)))
        right.set_ylabel("NME, inter-ocular (%)")
    right.grid(alpha=0.3)
    lines = [*left.get_lines(), *right.get_lines()]
    right.legend(lines, [line.get_label() for line in lines])
    figure.savefig(path, dpi=110)


def _draw(axes: Any, rows: Sequence[Mapping[str, float]], *, suffix: str, best: Any) -> list[list[float]]:
    """One line a validation set, over the epochs that were validated; the values in percent."""
    drawn = []
    for colour, name in enumerate(sorted({n for row in rows for n in row if n.endswith(suffix)})):
        places = [(row["epoch"] + 1, 100 * row[name]) for row in rows if not math.isnan(row.get(name, math.nan))]
        values = [value for _, value in places]
        label = f"{name.removesuffix(suffix)}: best {best(values, default=math.nan):.2f} %"
        few = "o" if len(places) < 10 else None
        axes.plot([epoch for epoch, _ in places], values, color=f"C{colour}", marker=few, label=label)
        drawn.append(values)
    return drawn
