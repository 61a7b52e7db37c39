"""Curves of errors as pictures (extra: plots)."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from canthus.evaluation.summary import area_under_curve, cumulative_curve, failure_rate
from canthus.lookup import require


def plot_error_curves(
    path: str | os.PathLike[str],
    errors: Mapping[str, Float[np.ndarray, " n"]],
    *,
    threshold: float,
    scale: str,
    boxes: str,
    title: str,
) -> None:
    """Write a cumulative error plot: the share of faces at or below each error, one staircase per name.

    Faces that were missed never come in, so their curve ends below one hundred percent.

    Args:
        path: file to write; its suffix names the format.
        errors: name of the curve -> errors as fractions, NaN where missed.
        threshold: fraction at which failures are counted; the plot ends a quarter beyond it.
        scale: what the errors are divided by, for the axis.
        boxes: where the boxes came from, for the title.
        title: what was measured.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = require("matplotlib.figure", extra="plots").Figure(figsize=(7.5, 5.6), dpi=120, layout="constrained")
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
    axes.axvline(100 * threshold, color="0.45", linestyle="--", linewidth=1, label=f"threshold: {100 * threshold:g} %")
    axes.set(xlim=(0, 100 * end), ylim=(0, 101), title=f"{title}\nboxes: {boxes}")
    axes.set_xlabel(f"error, mean over the points, in % of the {scale}")
    axes.set_ylabel("faces with at most this error, %")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def plot_jitter(
    path: str | os.PathLike[str],
    curves: Mapping[str, Mapping[float, float]],
    *,
    lines: Mapping[str, float],
    title: str,
) -> None:
    """Write the mean error over how far the boxes were set off, one curve per kind.

    Args:
        path: file to write; its suffix names the format.
        curves: name of the curve -> fraction of the box -> mean error, a fraction.
        lines: further mean errors, such as that in a detector's boxes, as level lines.
        title: what was measured.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = require("matplotlib.figure", extra="plots").Figure(figsize=(7.5, 5.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, levels in curves.items():
        x, errors = ([100 * value for value in values] for values in (levels, levels.values()))
        axes.plot(x, errors, marker="o", linewidth=1.8, label=name)
    for number, (name, error) in enumerate(lines.items()):
        axes.axhline(100 * error, color=f"C{len(curves) + number}", linestyle="--", linewidth=1.4, label=name)
    everything = [error for levels in curves.values() for error in levels.values()] + list(lines.values())
    axes.set(ylim=(0, 110 * max(everything)), xlabel="boxes set off by up to, % of their longer side", title=title)
    axes.set_xticks([100 * value for value in next(iter(curves.values()))])
    axes.set_ylabel("mean error, % of the inter-ocular distance")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def plot_error_by_cover(
    path: str | os.PathLike[str], models: Mapping[str, Mapping[str, tuple[float, float]]], *, title: str
) -> None:
    """Write the mean error against the covered share of the face, one line a model.

    Args:
        path: file to write; its suffix names the format.
        models: for each model, condition -> (mean covered share, mean error over the inter-ocular distance), fractions.
            Conditions called ``centre ...`` are marks beside the line.
        title: what was measured.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = require("matplotlib.figure", extra="plots").Figure(figsize=(9.5, 5.0), dpi=120, layout="constrained")
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
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def plot_cost(
    path: str | os.PathLike[str], models: Mapping[str, tuple[float, float, float]], *, error: str, title: str
) -> None:
    """Write error against time and against size, one dot a model; models that another beats in both are grey.

    Args:
        path: file to write; its suffix names the format.
        models: name -> error in the unit of ``error``, milliseconds, megabytes.
        error: label of the axis, with the unit.
        title: what was measured.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = require("matplotlib.figure", extra="plots").Figure(figsize=(10.5, 5.0), dpi=120, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, place, label in zip(panels, (1, 2), ("time for one face, ms", "size, MB"), strict=True):
        costs = {name: (values[place], values[0]) for name, values in models.items()}
        for name, (cost, value) in costs.items():
            beaten = any(c <= cost and v <= value and (c, v) != (cost, value) for c, v in costs.values())
            axes.plot(cost, value, "o", color="0.65" if beaten else "tab:blue")
            axes.annotate(name, (cost, value), xytext=(5, 4), textcoords="offset points", fontsize=8)
        axes.set(xscale="log", xlabel=label)
        axes.margins(x=0.25, y=0.12)
        axes.grid(alpha=0.3, which="both")
    panels[0].set_ylabel(error)
    figure.suptitle(title)
    figure.savefig(path)
