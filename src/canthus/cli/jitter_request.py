"""``canthus evaluate --jitter-report``: the error in boxes that are set off from the true ones."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from canthus.cli.evaluation_request import Request, wanted_passes
from canthus.evaluation.jitter import FRACTIONS, JITTER_LEVELS, JitterReport, measure_jitter
from canthus.evaluation.plots import plot_jitter
from canthus.evaluation.report import Report
from canthus.runtime.landmarker import Landmarker, open_model


def check_jitter_request(request: Request, path: Path | None) -> None:
    """Refuse what a jitter report cannot be made of, if one goes to ``path``.

    Raises:
        ConfigError: there is no model, or its boxes are set off already.
    """
    if path is None:
        return
    request.refuse(("predictions", "box_jitter"), because="with --jitter-report, which sets off the boxes of a model")


def make_jitter_report(request: Request, report: Report, console: Console) -> JitterReport:
    """Predict the faces of a report again, in boxes that are set off ever farther.

    Raises:
        CanthusError: a picture cannot be read.
    """
    session = open_model(request.model or "default", threads=request.threads or 1)
    passes = wanted_passes(request)
    faces = [prediction.truth for prediction in report.predictions]
    levels = measure_jitter(faces, Landmarker(session, passes=passes), dataset=report.dataset, split=report.split)
    bar = track(levels, "setting boxes off", total=JITTER_LEVELS, console=console, transient=True)
    return JitterReport(
        title=f"{report.title}, {passes} pass{'es' if passes > 1 else ''}",
        levels=list(bar),
        detected=report.rows if report.boxes == "detector" else (),
    )


def jitter_table(jitter: JitterReport) -> Table:
    """Mean error over how far the boxes were set off, and in a detector's boxes."""
    table = Table(
        title=escape(f"{jitter.title}\nNME ION % in true boxes set off by up to % of their longer side"),
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("")
    for fraction in FRACTIONS:
        table.add_column(f"{100 * fraction:g} %", justify="right")
    for kind, levels in jitter.curves().items():
        table.add_row(kind, *(f"{100 * error:.3f}" for error in levels.values()))
    for name, error in jitter.lines().items():
        table.add_row(name, f"{100 * error:.3f}", *[""] * (len(FRACTIONS) - 1))
    return table


def write_jitter_plot(path: Path, jitter: JitterReport) -> None:
    """Draw the table.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    plot_jitter(path, jitter.curves(), lines=jitter.lines(), title=jitter.title)
