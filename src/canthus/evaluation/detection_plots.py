"""Precision against recall, and recall by size of the face, as one picture (extra: plots)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from canthus.evaluation.detection_figures import precision_recall
from canthus.evaluation.detection_report import DetectorReport, detector_figures
from canthus.lookup import require


def plot_detectors(path: str | os.PathLike[str], reports: Sequence[DetectorReport]) -> None:
    """Write one picture of all reports: precision against recall on the left, recall by size on the right.

    A dot marks the usual score.  Without completely labelled pictures there is no precision, and the left is left out.

    Args:
        path: file to write; its suffix names the format.
        reports: of detectors measured on the same set; at least one.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    curves = bool(reports[0].rows.complete.any())
    figure = require("matplotlib.figure", extra="plots").Figure(
        figsize=(11.5 if curves else 6.5, 5.2), dpi=120, layout="constrained"
    )
    axes = figure.subplots(1, 2 if curves else 1, squeeze=False)[0]
    if curves:
        _draw_curves(axes[0], reports)
    _draw_sizes(axes[-1], reports)
    first = reports[0]
    pictures, complete = detector_figures(first).pictures
    figure.suptitle(f"{first.dataset} {first.split}: {pictures} pictures, {complete} completely labelled")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_curves(axes: Any, reports: Sequence[DetectorReport]) -> None:
    for number, report in enumerate(reports):
        curve, figures = precision_recall(report.rows), detector_figures(report)
        recall = 100 * np.concatenate([curve.recall[:1] * 0, curve.recall])
        precision = 100 * np.concatenate([curve.precision[:1], curve.precision])
        label = f"{report.detector}: AP {100 * figures.average_precision:.1f} %"
        axes.plot(recall, precision, color=f"C{number}", linewidth=1.8, label=label)
        shown = curve.scores >= report.usual_score
        if shown.any():
            last = int(shown.sum())
            axes.plot(recall[last], precision[last], "o", color=f"C{number}", markersize=7)
    axes.set(xlim=(0, 100), ylim=(0, 101), xlabel="recall, %", ylabel="precision, %")
    axes.set_title(f"faces from an overlap of {reports[0].min_overlap:g}; dot: usual score", fontsize=10)
    axes.grid(alpha=0.3)


def _draw_sizes(axes: Any, reports: Sequence[DetectorReport]) -> None:
    sizes = detector_figures(reports[0]).by_size
    places = np.arange(len(sizes))
    width = 0.8 / len(reports)
    for number, report in enumerate(reports):
        recall = [100 * share for _, share in detector_figures(report).by_size.values()]
        offset = (number - (len(reports) - 1) / 2) * width
        label = f"{report.detector}: from score {report.usual_score:g}"
        bars = axes.bar(places + offset, recall, 0.92 * width, color=f"C{number}", label=label)
        axes.bar_label(bars, [f"{value:.0f}" for value in recall], fontsize=8, padding=1)
    axes.set_xticks(places, [f"{name}\nn = {faces}" for name, (faces, _) in sizes.items()], fontsize=9)
    axes.set(ylim=(0, 106), ylabel="recall at the usual score, %", xlabel="size of the face, pixels")
    axes.set_title("size: square root of the area of the set's own box", fontsize=10)
    axes.grid(axis="y", alpha=0.3)
