"""Tables that ``evaluate-detector`` prints."""

import math
from collections.abc import Callable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from canthus.evaluation.detection_report import DetectorFigures, DetectorReport, detector_figures
from canthus.evaluation.wider_face import LEVELS, WiderPrecision

Groups = Callable[[DetectorFigures], Mapping[str, tuple[int, float]]]


def detector_tables(reports: Sequence[DetectorReport]) -> list[Table]:
    """One row per detector in each table: the whole, by size, by label, and offsets of the boxes."""
    figures = {report.detector: detector_figures(report) for report in reports}
    tables = [_whole_table(reports, figures)]
    tables.append(_group_table("recall % at the usual score, by size of the face in pixels", figures, _by_size))
    if any(value.by_label for value in figures.values()):
        tables.append(_group_table("recall % at the usual score, by label", figures, _by_label))
    if any(value.offsets for value in figures.values()):
        tables.append(_offset_table(figures))
    return tables


def official_table(results: Mapping[str, Mapping[str, WiderPrecision]]) -> Table:
    """Average precision by WIDER FACE's own protocol."""
    table = Table(
        title="WIDER FACE protocol: average precision %, 1000 scores (exact area in brackets)",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("detector", overflow="fold")
    for level in LEVELS:
        table.add_column(level, justify="right")
    for name, levels in results.items():
        values = [f"{_percent(levels[level].official)} ({_percent(levels[level].exact)})" for level in LEVELS]
        table.add_row(escape(name), *values)
    return table


def _whole_table(reports: Sequence[DetectorReport], figures: Mapping[str, DetectorFigures]) -> Table:
    first = next(iter(figures.values()))
    pictures, complete = first.pictures
    title = f"{reports[0].dataset} {reports[0].split}: {pictures} pictures, {first.faces} faces"
    if complete < pictures:
        title += f"\n{complete} pictures completely labelled: AP, precision, false of these; recall of all"
    table = Table(
        title=title,
        caption=f"AP: all-point interpolated area; a find is a face from overlap {reports[0].min_overlap:g}\n"
        "R@f: recall % at f false finds per picture; all else at the usual score\n"
        "false: per picture; other: finds per picture that are false or not labelled",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("detector", overflow="fold")
    columns = [_cells(report, figures[report.detector]) for report in reports]
    # A column that says nothing of any detector is left out.
    names = [name for name in columns[0] if any(cells[name] != "-" for cells in columns)]
    for name in names:
        table.add_column(name, justify="right")
    for report, cells in zip(reports, columns, strict=True):
        table.add_row(escape(report.detector), *(cells[name] for name in names))
    return table


def _cells(report: DetectorReport, figures: DetectorFigures) -> dict[str, str]:
    """Head of the column -> text."""
    return {
        "AP\n%": _percent(figures.average_precision),
        **{f"R@{allowed:g}": _percent(recall) for allowed, recall in figures.recall_at.items()},
        "usual\nscore": f"{report.usual_score:g}",
        "preci-\nsion %": _percent(figures.usual.precision),
        "recall\n%": _percent(figures.usual.recall),
        "false": _number(figures.usual.false_per_picture, 3),
        "other": _number(figures.usual.other_per_picture, 3),
        "median\nms": _number(figures.median_ms, 1),
    }


def _by_size(figures: DetectorFigures) -> Mapping[str, tuple[int, float]]:
    return figures.by_size


def _by_label(figures: DetectorFigures) -> Mapping[str, tuple[int, float]]:
    return figures.by_label


def _group_table(title: str, figures: Mapping[str, DetectorFigures], groups: Groups) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("detector", overflow="fold")
    for name, (faces, _) in groups(next(iter(figures.values()))).items():
        table.add_column(f"{escape(name)}\nn={faces}", justify="right")
    for detector, value in figures.items():
        table.add_row(escape(detector), *(_percent(recall) for _, recall in groups(value).values()))
    return table


def _offset_table(figures: Mapping[str, DetectorFigures]) -> Table:
    table = Table(
        title="found boxes against true face boxes: median and sigma",
        caption="shift in longer sides of the true box, right and down; scale: log of the ratio of longer sides",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("detector", overflow="fold")
    for name in ("pairs", "shift x", "shift y", "log scale"):
        table.add_column(name, justify="right")
    for detector, value in figures.items():
        offsets = value.offsets
        cells = [
            f"{offsets[f'{name}_median']:+.3f} ± {offsets[f'{name}_sigma']:.3f}" for name in ("x", "y", "log_scale")
        ]
        table.add_row(escape(detector), f"{offsets['pairs']:.0f}", *cells)
    return table


def _percent(fraction: float) -> str:
    return _number(100 * fraction, 1)


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
