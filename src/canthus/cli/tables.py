"""Tables that several commands print."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from canthus.cli.output import markup, number, percent
from canthus.data.datasets import USUAL
from canthus.evaluation.benchmark import Benchmark
from canthus.evaluation.conditions import STRENGTHS
from canthus.evaluation.jitter import FRACTIONS, JitterReport
from canthus.evaluation.occlusion import PROFILE_YAW, CoverLine, cover_lines, strength_lines
from canthus.evaluation.openness import NARROW
from canthus.evaluation.reliability import Reliability
from canthus.evaluation.report import Report
from canthus.evaluation.rows import FaceError, protocol_of
from canthus.evaluation.summary import Summary, divide, summarize


def number_columns(names: Iterable[str], *, no_wrap: bool = False) -> list[Column]:
    """Columns of numbers, for ``Table``."""
    return [Column(name, justify="right", no_wrap=no_wrap) for name in names]


def cost_table(result: Benchmark) -> Table:
    """Table of costs, one row per model; at most 80 characters wide for a short name."""
    names = ["MB", "params\nM", "mult-\nadds M", "median\nms", "p10\nms", "p90\nms", "ratio", "peak\n%"]
    names += ["NME\n%"] if result.errors else []
    columns = (Column("model", overflow="fold"), *number_columns(names, no_wrap=True))
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for cost in result.models:
        time = cost.latency
        table.add_row(
            markup(cost.name),
            f"{cost.size_bytes / 1e6:.2f}",
            f"{cost.count.parameters / 1e6:.3f}" if cost.count else "-",
            f"{cost.count.multiply_adds / 1e6:.1f}" if cost.count else "-",
            _milliseconds(time.median_s),
            _milliseconds(time.p10_s),
            _milliseconds(time.p90_s),
            f"{cost.ratio:.2f}",
            f"{100 * cost.peak_share:.1f}" if cost.peak_share is not None else "-",
            *([f"{100 * result.errors.of[cost.name]:.2f}"] if result.errors else []),
        )
    return table


def report_tables(report: Report) -> list[Table]:
    """All tables of a report; parts, eyes and mouth only for datasets whose scheme has these points."""
    summaries = {name: summarize(rows) for name, rows in {"all": report.rows, **divide(report.rows)}.items()}
    tables = [_error_table(report, summaries)]
    if protocol_of(report.dataset, report.scale) is USUAL:
        tables.append(_part_table(summaries["all"]))
        if any("nme_eyes" in row.openness for row in report.rows):
            tables.append(_openness_table(summaries))
    return [*tables, _confidence_table(report.reliability)] if report.reliability else tables


def _error_table(report: Report, summaries: Mapping[str, Summary]) -> Table:
    """Errors over all faces and over each subset, in the metrics that are usual for the dataset."""
    protocol = protocol_of(report.dataset, report.scale)
    own = {f"NME\n{protocol.short} %": (protocol.error, 100, 3)}, f"NME: error over the {protocol.scale}"
    metrics, caption = _ERRORS.get(protocol.short, own)
    columns = number_columns(("faces", "missed", *metrics))
    title = f"{markup(report.title)}\nboxes: {markup(report.protocol)}"
    table = Table("faces of", *columns, title=title, caption=caption)
    for name, summary in summaries.items():
        cells = [number(factor * getattr(summary, key), digits) for key, factor, digits in metrics.values()]
        table.add_row(markup(name), str(summary.faces), str(summary.missed), *cells)
    return table


def _part_table(summary: Summary) -> Table:
    """Mean error of each part of the face and, where the dataset marks them, of visible and hidden points."""
    table = Table("part", *number_columns(["NME ION %"]), title="by part of the face")
    for name, value in summary.parts.items():
        table.add_row(name.replace("_", " "), percent(value, 3))
    if not math.isnan(summary.nme_hidden):
        table.add_section()
        table.add_row("visible points", percent(summary.nme_visible, 3))
        table.add_row("hidden points", percent(summary.nme_hidden, 3))
    return table


def _openness_table(summaries: Mapping[str, Summary]) -> Table:
    names = ("eyes\nNME %", "EAR\nerror", "EAR\nbias", "EAR\ncorr.", "narrow\neyes", "bias,\nnarrow", "MAR\nerror")
    table = Table(
        "faces of",
        *number_columns(names),
        title="eyes and mouth, open or shut",
        caption="NME: of the points of both eyes, ION; EAR, MAR: mean height over width\n"
        f"bias: predicted less true; narrow: eyes with a true EAR below {NARROW}",
    )
    for name, summary in summaries.items():
        found = summary.openness
        table.add_row(
            markup(name),
            percent(summary.nme_eyes, 3),
            number(found.ear_error),
            number(found.ear_bias),
            number(found.ear_correlation),
            str(found.narrow_eyes),
            number(found.ear_bias_narrow),
            number(found.mar_error),
        )
    return table


def _confidence_table(found: Reliability) -> Table:
    cells = {
        "points": str(found.points),
        "right\n%": percent(found.right, 2),
        "confidence\n%": percent(found.confidence, 2),
        "of seen\n%": percent(found.seen, 2),
        "of hidden\n%": percent(found.hidden, 2),
        "ECE\n%": percent(found.ece, 2),
        "AUROC\n%": percent(found.auroc, 2),
        "rank": number(found.rank_correlation),
    }
    table = Table(
        *number_columns(cells),
        title=f"confidence: right within {100 * found.tolerance:g} % of the face box",
        caption="ECE: mean gap between confidence and share of right points\n"
        "AUROC: chance that a wrong point has less confidence than a right one\n"
        "rank: correlation of confidence with the error, -1 at best",
    )
    table.add_row(*cells.values())
    return table


def jitter_table(jitter: JitterReport) -> Table:
    """Mean error over the size of the jitter for each kind, and in detected boxes."""
    table = Table(
        "",
        *number_columns(f"{100 * fraction:g} %" for fraction in FRACTIONS),
        title=f"{markup(jitter.title)}\nNME ION % in true boxes jittered by up to % of their longer side",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for kind, levels in jitter.curves().items():
        table.add_row(kind, *(percent(error, 3) for error in levels.values()))
    for name, error in jitter.lines().items():
        table.add_row(name, percent(error, 3))
    return table


def covered_tables(models: Mapping[str, Sequence[FaceError]], *, protocol: str) -> Iterator[Table]:
    """For each model a table of all faces; then one table of all models for frontal and one for profile faces."""
    for name, rows in models.items():
        names = ("faces", "covered\n%", "NME\nION %", "x none", "visible\nION %", "hidden\nION %")
        title = f"{name}: {sets_in_words(rows)}, occlusion {protocol}"
        table = _covered_table(title, number_columns(names, no_wrap=True))
        for line in cover_lines(rows):
            table.add_row(
                markup(line.occlusion),
                str(line.faces),
                percent(line.covered, 1),
                percent(line.nme_ion, 2),
                number(line.ratio, 2),
                percent(line.nme_visible, 2),
                percent(line.nme_hidden, 2),
            )
        yield table
    limit = round(math.degrees(PROFILE_YAW))
    for group, meaning in (("frontal", f"yaw up to {limit} degrees"), ("profile", f"yaw above {limit} degrees")):
        lines = {name: {line.occlusion: line for line in cover_lines(rows, group)} for name, rows in models.items()}
        heads = (head for name in models for head in (f"{markup(name)}\nprinted", "\nsquared"))
        table = _covered_table(
            f"{group} faces ({meaning})",
            number_columns(("faces", *heads)),
            "printed: NMSE by the paper's formula, which is the error over the inter-pupil distance\n"
            "squared: mean squared error over the squared inter-pupil distance; both in %",
        )
        for condition in dict.fromkeys(key for found in lines.values() for key in found):
            ours = [found.get(condition) for found in lines.values()]
            count = max(line.faces for line in ours if line)
            table.add_row(markup(condition), str(count), *(cell for line in ours for cell in _squares(line)))
        yield table


def corrupted_tables(models: Mapping[str, Sequence[FaceError]], *, protocol: str) -> Iterator[Table]:
    """For each model a table of errors and failures by kind and strength of the corruption."""
    heads = ("none", *map(str, range(1, STRENGTHS + 1)))
    for name, rows in models.items():
        kinds = strength_lines(rows)
        faces = next(iter(kinds.values()))[0].faces
        title = f"{name}: {sets_in_words(rows)}, corruption {protocol}, {faces} faces: "
        errors, failures = (
            _covered_table(title + what, number_columns(heads, no_wrap=True), first="corruption")
            for what in ("NME ION % by strength", "faces above 10 %, in %")
        )
        for kind, lines in kinds.items():
            errors.add_row(kind, *(percent(line.nme_ion, 2) for line in lines))
            failures.add_row(kind, *(percent(line.fr_10, 1) for line in lines))
        yield from (errors, failures)


def sets_in_words(rows: Sequence[FaceError]) -> str:
    """The datasets and splits of rows: ``300w validation + ytf validation``."""
    return " + ".join(dict.fromkeys(f"{row.dataset} {row.split}" for row in rows))


def _covered_table(
    title: str, columns: Sequence[Column], caption: str | None = None, *, first: str = "covered"
) -> Table:
    left: dict[str, Any] = {"title_justify": "left", "caption_justify": "left"}
    return Table(first, *columns, title=markup(title), caption=caption, box=SIMPLE_HEAD, **left)


def _squares(line: CoverLine | None) -> tuple[str, str]:
    return ("-", "-") if line is None else (percent(line.nmse_as_printed, 2), percent(line.nmse_squared, 3))


def _milliseconds(seconds: float) -> str:
    """Milliseconds with three significant digits."""
    value = 1e3 * seconds
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


_ERRORS: dict[str, tuple[dict[str, tuple[str, float, int]], str]] = {
    "ION": (
        {
            "NME\nION %": ("nme_ion", 100, 3),
            "NME\nIPN %": ("nme_ipn", 100, 3),
            "FR@8\n%": ("fr_8", 100, 3),
            "FR@10\n%": ("fr_10", 100, 3),
            "AUC@8\n%": ("auc_8", 100, 2),
        },
        "ION, IPN: error over inter-ocular, inter-pupil distance\nFR, AUC: of the ION error, threshold 8 % or 10 %",
    ),
    "box": (
        {
            "NME\nbox %": ("nme_box", 100, 3),
            "NME\ndiag. %": ("nme_diagonal", 100, 3),
            "NME\nlonger %": ("nme_longer", 100, 3),
            "FR@7\n%": ("fr_box_7", 100, 3),
            "AUC@7\n%": ("auc_box_7", 100, 2),
        },
        "visible points, over sqrt(w h), diagonal, longer side of the box\nFR, AUC: of the box error, threshold 7 %",
    ),
    "eyes": (
        {
            "NME\neyes %": ("nme_ion", 100, 3),
            "FR@10\n%": ("fr_10", 100, 3),
            "MSE\n1e-4": ("mse_unit", 1e4, 3),
        },
        "NME, FR: error over the distance of the eyes\nMSE: of coordinates, the crop (1.3 face boxes) being 1 by 1",
    ),
}
_ERRORS |= dict.fromkeys(
    ("side", "size", "diagonal"),
    (
        {
            "NME\nside %": ("nme_longer", 100, 3),
            "NME\nsize %": ("nme_box", 100, 3),
            "NME\ndiag. %": ("nme_diagonal", 100, 3),
        },
        "side: error over the longer side of the face box\nsize, diag.: over its size, sqrt(w h), and its diagonal",
    ),
)
"""``Protocol.short`` -> columns of the error table (heading -> name in ``Summary``, factor, digits) and its caption.

The table of any other protocol has one column, the mean of its error.
"""
