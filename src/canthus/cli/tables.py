"""Tables, JSON and text files that commands write."""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from canthus.data.datasets import USUAL
from canthus.errors import CanthusError, ConfigError
from canthus.evaluation.benchmark import Benchmark
from canthus.evaluation.openness import NARROW
from canthus.evaluation.reliability import Reliability
from canthus.evaluation.report import Report
from canthus.evaluation.rows import protocol_of
from canthus.evaluation.summary import Summary, divide, summarize


def write_json(target: str, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write to a file, or to standard output where ``target`` is ``-``.

    Raises:
        CanthusError: the file cannot be written.
    """
    text = json.dumps(value, indent=1) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CanthusError(f"{target}: cannot be written ({error.strerror}); choose another file for --json") from error


def cost_table(result: Benchmark) -> Table:
    """One line per network, within 80 characters beside a short name."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("model", overflow="fold")
    for name in ("MB", "params\nM", "mult-\nadds M", "median\nms", "p10\nms", "p90\nms", "ratio", "peak\n%"):
        table.add_column(name, justify="right", no_wrap=True)
    for cost in result.models:
        time = cost.latency
        table.add_row(
            escape(cost.name),
            f"{cost.size_bytes / 1e6:.2f}",
            f"{cost.count.parameters / 1e6:.3f}" if cost.count else "-",
            f"{cost.count.multiply_adds / 1e6:.1f}" if cost.count else "-",
            _milliseconds(time.median_s),
            _milliseconds(time.p10_s),
            _milliseconds(time.p90_s),
            f"{cost.ratio:.2f}",
            f"{100 * cost.peak_share:.1f}" if cost.peak_share is not None else "-",
        )
    return table


def report_tables(report: Report) -> list[Table]:
    """All tables of a report; those of parts, eyes and mouths where the set has the points for them."""
    tables = [error_table(report)]
    if protocol_of(report.dataset) is USUAL:
        tables += [part_table(report), openness_table(report)]
    return [*tables, confidence_table(report.reliability)] if report.reliability else tables


def error_table(report: Report) -> Table:
    """The whole and its divisions, in the numbers that are usual for the set."""
    heads, caption, numbers = _TABLES.get(report.dataset, _USUAL_TABLE)
    table = Table(title=escape(f"{report.title}\nboxes: {report.protocol}"), caption=caption)
    table.add_column("faces of")
    for name in ("faces", "missed", *heads):
        table.add_column(name, justify="right")
    for name, rows in {"all": report.rows, **divide(report.rows)}.items():
        summary = summarize(rows)
        table.add_row(escape(name), str(summary.faces), str(summary.missed), *numbers(summary))
    return table


def part_table(report: Report) -> Table:
    """Mean error of each part of the face; where the set marks hidden points, of these and the others."""
    table = Table(title="by part of the face")
    table.add_column("part")
    table.add_column("NME ION %", justify="right")
    summary = summarize(report.rows)
    for name, value in summary.parts.items():
        table.add_row(name.replace("_", " "), _percent(value, 3))
    if not math.isnan(summary.nme_hidden):
        table.add_section()
        table.add_row("visible points", _percent(summary.nme_visible, 3))
        table.add_row("hidden points", _percent(summary.nme_hidden, 3))
    return table


def openness_table(report: Report) -> Table:
    """How open eyes and mouths are predicted to be, beside how open they are."""
    table = Table(
        title="eyes and mouth, open or shut",
        caption="NME: of the points of both eyes, ION; EAR, MAR: mean height over width\n"
        f"bias: predicted less true; narrow: eyes with a true EAR below {NARROW}",
    )
    table.add_column("faces of")
    for name in ("eyes\nNME %", "EAR\nerror", "EAR\nbias", "EAR\ncorr.", "narrow\neyes", "bias,\nnarrow", "MAR\nerror"):
        table.add_column(name, justify="right")
    for name, rows in {"all": report.rows, **divide(report.rows)}.items():
        summary = summarize(rows)
        found = summary.openness
        table.add_row(
            escape(name),
            _percent(summary.nme_eyes, 3),
            _ratio(found.ear_error),
            _ratio(found.ear_bias),
            _ratio(found.ear_correlation),
            str(found.narrow_eyes),
            _ratio(found.ear_bias_narrow),
            _ratio(found.mar_error),
        )
    return table


def confidence_table(found: Reliability) -> Table:
    """Whether the confidence of the points keeps its word."""
    table = Table(
        title=f"confidence: right within {100 * found.tolerance:g} % of the face box",
        caption="ECE: mean gap between confidence and share of right points\n"
        "AUROC: chance that a wrong point has less confidence than a right one\n"
        "rank: correlation of confidence with the error, -1 at best",
    )
    columns = {
        "points": str(found.points),
        "right\n%": _percent(found.right, 2),
        "confidence\n%": _percent(found.confidence, 2),
        "of seen\n%": _percent(found.seen, 2),
        "of hidden\n%": _percent(found.hidden, 2),
        "ECE\n%": _percent(found.ece, 2),
        "AUROC\n%": _percent(found.auroc, 2),
        "rank": "-" if math.isnan(found.rank_correlation) else f"{found.rank_correlation:.3f}",
    }
    for name in columns:
        table.add_column(name, justify="right")
    table.add_row(*columns.values())
    return table


def _numbers(summary: Summary) -> tuple[str, ...]:
    return (
        _percent(summary.nme_ion, 3),
        _percent(summary.nme_ipn, 3),
        _percent(summary.fr_8, 3),
        _percent(summary.fr_10, 3),
        _percent(summary.auc_8, 2),
    )


def _box_numbers(summary: Summary) -> tuple[str, ...]:
    return (
        _percent(summary.nme_box, 3),
        _percent(summary.nme_diagonal, 3),
        _percent(summary.nme_longer, 3),
        _percent(summary.fr_box_7, 3),
        _percent(summary.auc_box_7, 2),
    )


def _five_numbers(summary: Summary) -> tuple[str, ...]:
    mse = "-" if math.isnan(summary.mse_unit) else f"{1e4 * summary.mse_unit:.3f}"
    return _percent(summary.nme_ion, 3), _percent(summary.fr_10, 3), mse


def _ratio(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _percent(fraction: float, digits: int) -> str:
    return "-" if math.isnan(fraction) else f"{100 * fraction:.{digits}f}"


def _milliseconds(seconds: float) -> str:
    """Three digits that count, which is more than a measurement holds."""
    value = 1e3 * seconds
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


_USUAL_TABLE = (
    ("NME\nION %", "NME\nIPN %", "FR@8\n%", "FR@10\n%", "AUC@8\n%"),
    "ION, IPN: error over inter-ocular, inter-pupil distance\nFR, AUC: of the ION error, threshold 8 % or 10 %",
    _numbers,
)
_TABLES = {
    "aflw": (
        ("NME\nbox %", "NME\ndiag. %", "NME\nlonger %", "FR@7\n%", "AUC@7\n%"),
        "visible points, over sqrt(w h), diagonal, longer side of the box\nFR, AUC: of the box error, threshold 7 %",
        _box_numbers,
    ),
    "celeba": (
        ("NME\neyes %", "FR@10\n%", "MSE\n1e-4"),
        "NME, FR: error over the distance of the eyes\nMSE: of coordinates, the crop (1.3 face boxes) being 1 by 1",
        _five_numbers,
    ),
}
"""Dataset -> heads, caption and numbers of its table."""


@contextmanager
def opened_text(name: str) -> Iterator[TextIO]:
    """A text file for writing, its folder made; ``-`` is standard output.

    Raises:
        ConfigError: it cannot be written.
    """
    if name == "-":
        yield sys.stdout
        return
    try:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(f"{name}: cannot be written ({error.strerror})") from error
    with file:
        yield file
