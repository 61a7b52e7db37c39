"""Plots of evaluations: error curves, box jitter, occlusion, cost, detectors and confidence (extra: plots).

Each function writes one file; the suffix of ``path`` selects the format, ``title`` says what was measured, and
``boxes`` where the face boxes came from.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from canthus.evaluation.detection_report import DetectorReport, detector_figures, precision_recall
from canthus.evaluation.reliability import BINS, Reliability
from canthus.evaluation.summary import area_under_curve, cumulative_curve, failure_rate
from canthus.files import written
from canthus.lookup import require
from canthus.types import Image

StrPath: TypeAlias = str | os.PathLike[str]


@contextmanager
def _figure(path: StrPath, width: float, height: float) -> Iterator[Any]:
    """A figure of a size in inches; it is written to ``path`` at the end of the block, in the format of the suffix.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    figure = require("matplotlib.figure", extra="plots").Figure(figsize=(width, height), dpi=120, layout="constrained")
    yield figure
    with written(path) as aside:
        figure.savefig(aside)


def plot_error_curves(
    path: StrPath,
    errors: Mapping[str, Float[np.ndarray, " n"]],
    *,
    threshold: float,
    scale: str,
    boxes: str,
    title: str,
) -> None:
    """Plot cumulative errors: the share of faces at or below each error, one staircase per name.

    Missed faces have no error, so their curve ends below one hundred percent.

    Args:
        errors: name of the curve -> errors as fractions, NaN for missed faces.
        threshold: fraction above which a face counts as a failure; the plot ends a quarter beyond it.
        scale: what the errors are divided by, in words.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(path, 7.5, 5.6) as figure:
        axes = figure.subplots()
        end = 1.25 * threshold
        for name, values in errors.items():
            x, share = cumulative_curve(values)
            inside = x <= end
            last = float(share[inside][-1]) if inside.any() else 0.0
            label = (
                f"{name}: n = {len(values)}, AUC {100 * area_under_curve(values, threshold):.1f} %, "
                f"FR {100 * failure_rate(values, threshold):.2f} %"
            )
            axes.step(
                100 * np.concatenate([[0.0], x[inside], [end]]),
                100 * np.concatenate([[0.0], share[inside], [last]]),
                where="post",
                label=label,
                linewidth=1.8,
            )
        axes.axvline(
            100 * threshold, color="0.45", linestyle="--", linewidth=1, label=f"threshold: {100 * threshold:g} %"
        )
        axes.set(xlim=(0, 100 * end), ylim=(0, 101), title=f"{title}\nboxes: {boxes}")
        axes.set_xlabel(f"error, mean over the points, in % of the {scale}")
        axes.set_ylabel("faces with at most this error, %")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)


def plot_jitter(
    path: StrPath,
    curves: Mapping[str, Mapping[float, float]],
    *,
    lines: Mapping[str, float],
    title: str,
) -> None:
    """Plot the mean error against the largest offset of jittered boxes, one curve per kind of offset.

    Args:
        curves: name of the curve -> largest offset, a fraction of the box -> mean error, a fraction.
        lines: further mean errors, such as that in the boxes of a detector, drawn as horizontal lines.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(path, 7.5, 5.2) as figure:
        axes = figure.subplots()
        for name, levels in curves.items():
            x, errors = ([100 * value for value in values] for values in (levels, levels.values()))
            axes.plot(x, errors, marker="o", linewidth=1.8, label=name)
        for number, (name, error) in enumerate(lines.items()):
            axes.axhline(100 * error, color=f"C{len(curves) + number}", linestyle="--", linewidth=1.4, label=name)
        everything = [error for levels in curves.values() for error in levels.values()] + list(lines.values())
        axes.set(
            ylim=(0, 110 * max(everything)), xlabel="largest offset of the boxes, % of their longer side", title=title
        )
        axes.set_xticks([100 * value for value in next(iter(curves.values()))])
        axes.set_ylabel("mean error, % of the inter-ocular distance")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)


def plot_error_by_cover(path: StrPath, models: Mapping[str, Mapping[str, tuple[float, float]]], *, title: str) -> None:
    """Plot the mean error against the covered share of the face, one line per model.

    Args:
        models: name -> condition -> (mean covered share, mean error over the inter-ocular distance), fractions.
            Conditions called ``centre ...`` are drawn as marks beside the line.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(path, 9.5, 5.0) as figure:
        axes = figure.subplots()
        for index, (name, places) in enumerate(models.items()):
            line = sorted(place for condition, place in places.items() if not condition.startswith("centre"))
            marks = [place for condition, place in places.items() if condition.startswith("centre")]
            color = f"C{index % 10}"
            axes.plot(*zip(*((100 * x, 100 * y) for x, y in line), strict=True), "o-", color=color, label=name)
            for (x, y), shape in zip(marks, "sD", strict=False):
                axes.plot(100 * x, 100 * y, shape, color=color, fillstyle="none")
        axes.set(xlabel="mean covered share of the face, %", ylabel="mean error in % of the inter-ocular distance")
        axes.set(title=f"{title}\nsquare: centre 25 % of the face; diamond: of the picture", ylim=(0, None))
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper")


def plot_error_by_strength(path: StrPath, models: Mapping[str, Mapping[str, Sequence[float]]], *, title: str) -> None:
    """Plot the mean error against the strength of corruptions: a panel for each kind, with one line per model.

    Args:
        models: name -> kind -> mean errors over the inter-ocular distance, fractions, without the corruption and at
            each strength, from the weakest.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    kinds = list(dict.fromkeys(kind for found in models.values() for kind in found))
    columns = min(5, len(kinds))
    rows = -(-len(kinds) // columns)
    with _figure(path, 2.5 * columns + 0.6, 2.6 * rows + 0.9) as figure:
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
        for kind, axes in zip(kinds, panels, strict=False):
            for name, found in models.items():
                axes.plot([100 * error for error in found[kind]], "o-", label=name, markersize=3.5)
            axes.set_title(kind.replace("_", " "))
            axes.grid(alpha=0.3)
        for axes in panels:
            axes.set_visible(False)
        figure.axes[0].set_ylim(0, None)
        figure.supxlabel("strength")
        figure.supylabel("mean error, % of the inter-ocular distance", fontsize=9)
        figure.suptitle(title)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower right", ncols=4)


def plot_moments(
    path: StrPath,
    curves: Mapping[str, tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]],
    moments: Mapping[str, Sequence[tuple[float, float, Image]]],
    *,
    title: str,
) -> None:
    """Plot curves of ratios over time, and above each the frames of its moments.

    Args:
        curves: name of the ratio -> times in seconds and values.
        moments: name of the ratio -> time, value and picture of each frame; without one, the row of frames says so.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(path, 11.5, 8.4) as figure:
        parts = figure.subfigures(2 * len(curves), 1, height_ratios=[1.25, 1] * len(curves))
        for (name, (times, values)), above, below in zip(curves.items(), parts[::2], parts[1::2], strict=True):
            shown = moments[name]
            panels = above.subplots(1, max(6, len(shown)), squeeze=False)[0]
            for axes in panels:
                axes.set_axis_off()
            for axes, (time_s, value, picture) in zip(panels, shown, strict=False):
                axes.imshow(picture)
                axes.set_title(f"{time_s:.2f} s, {name} {value:.2f}", fontsize=9)
            if not shown:
                panels[0].text(0, 0.5, f"no moment of {name} found")
            axes = below.subplots()
            axes.plot(times, values, linewidth=1)
            axes.plot([time for time, _, _ in shown], [value for _, value, _ in shown], "o", color="tab:red")
            axes.set(xlabel="s", ylabel=name, ylim=(0, None))
            axes.grid(alpha=0.3)
        figure.suptitle(title)


def plot_cost(path: StrPath, models: Mapping[str, tuple[float, float, float]], *, error: str, title: str) -> None:
    """Plot error against time and against size, one dot per model; those of models beaten in both numbers are hollow.

    Args:
        models: name -> (error in the unit of ``error``, milliseconds, megabytes).
        error: label of the axis, with the unit.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(path, 10.5, 5.0) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, place, label in zip(panels, (1, 2), ("time for one face, ms", "size, MB"), strict=True):
            costs = {name: (values[place], values[0]) for name, values in models.items()}
            for number, (name, (cost, value)) in enumerate(costs.items()):
                beaten = any(c <= cost and v <= value and (c, v) != (cost, value) for c, v in costs.values())
                kind = {"marker": "os^Dv"[number // 10 % 5], "color": f"C{number % 10}"}
                axes.plot(cost, value, linestyle="", fillstyle="none" if beaten else "full", label=name, **kind)
            axes.set(xscale="log", xlabel=label)
            _plain_ticks(axes.xaxis, wide=max(costs.values())[0] > 8 * min(costs.values())[0])
            axes.margins(x=0.1, y=0.12)
            axes.grid(alpha=0.3)
        panels[0].set_ylabel(error)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=9)
        figure.suptitle(title)


def _plain_ticks(axis: Any, *, wide: bool) -> None:
    """Ticks of a logarithmic axis as plain numbers: at 1, 2 and 5 times powers of ten if it is wide."""
    ticker = require("matplotlib.ticker", extra="plots")
    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)) if wide else ticker.MaxNLocator(5))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter("{x:g}")


def plot_sweep(path: StrPath, lines: Mapping[str, Mapping[float, float]], *, setting: str, error: str) -> None:
    """Plot an error against the values of a setting, one line per test set; the values are evenly spaced.

    Args:
        lines: name of a test set -> value of the setting -> error in the unit of ``error``.
        setting, error: labels of the axes, with units.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(path, 6.5, 4.5) as figure:
        axes = figure.subplots()
        for name, line in lines.items():
            axes.plot([f"{value:g}" for value in sorted(line)], [line[v] for v in sorted(line)], "o-", label=name)
        axes.set(xlabel=setting, ylabel=error)
        axes.grid(alpha=0.3)
        axes.legend()


def plot_detectors(path: StrPath, reports: Sequence[DetectorReport]) -> None:
    """Plot precision against recall on the left, and recall by face size on the right, for all detectors.

    A dot marks the usual score.  Without completely labelled pictures there is no precision and no left plot.

    Args:
        reports: at least one; all of the same dataset.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    curves = bool(reports[0].rows.complete.any())
    with _figure(path, 11.5 if curves else 6.5, 5.2) as figure:
        axes = figure.subplots(1, 2 if curves else 1, squeeze=False)[0]
        if curves:
            _draw_curves(axes[0], reports)
        _draw_sizes(axes[-1], reports)
        first = reports[0]
        pictures, complete = detector_figures(first).pictures
        figure.suptitle(f"{first.dataset} {first.split}: {pictures} pictures, {complete} completely labelled")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)


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
    axes.set_title("size: square root of the area of the labelled box", fontsize=10)
    axes.grid(axis="y", alpha=0.3)


def plot_reliability(path: StrPath, found: Reliability, *, title: str, boxes: str) -> None:
    """Plot a reliability diagram: the share of right points against confidence, and the number of points below it.

    Calibrated confidence lies on the diagonal; below the diagonal the model is overconfident.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _figure(path, 5.6, 6.4) as figure:
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
