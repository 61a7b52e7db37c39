"""Loss and error curves of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from canthus.optional import require


def plot_curves(rows: Sequence[Mapping[str, float]], path: Path, *, title: str) -> None:
    """Draw training loss (left axis) and validation errors in percent (right axis) against epochs.

    Args:
        rows: one mapping an epoch with ``epoch``, ``train/loss`` and any ``.../nme_ion``.
        path: PNG to write.
        title: heading.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure_module = require("matplotlib.figure", extra="plots")
    figure = figure_module.Figure(figsize=(8, 4.5), layout="constrained")
    left = figure.subplots()
    epochs = [row["epoch"] + 1 for row in rows]
    left.plot(epochs, [row.get("train/loss", float("nan")) for row in rows], color="0.6", label="training loss")
    left.set(xlabel="epoch", ylabel="training loss", title=title)
    right = left.twinx()
    names = sorted({name for row in rows for name in row if name.endswith("/nme_ion")})
    errors = {name: [100 * row.get(name, float("nan")) for row in rows] for name in names}
    for colour, (name, values) in enumerate(errors.items()):
        best = min((v for v in values if v == v), default=float("nan"))
        right.plot(epochs, values, color=f"C{colour}", label=f"{name.removesuffix('/nme_ion')}: best {best:.2f} %")
    late = [v for values in errors.values() for v in values[len(values) // 10 :] if v == v]
    if late:
        right.set_ylim(0.95 * min(late), min(max(late) * 1.05, 4 * min(late)))
    right.set_ylabel("NME, inter-ocular (%)")
    right.grid(alpha=0.3)
    lines = [*left.get_lines(), *right.get_lines()]
    right.legend(lines, [line.get_label() for line in lines])
    figure.savefig(path, dpi=110)
