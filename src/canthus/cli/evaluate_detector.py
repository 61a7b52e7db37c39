"""``canthus evaluate-detector``: precision and recall of face detectors on a dataset."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from canthus.cli.options import (
    DetectorModelOption,
    DetectorSizeOption,
    DetectorTilesOption,
    JsonFractionsOption,
    MinConfidenceOption,
)
from canthus.cli.output import markup, number, percent, write_json
from canthus.cli.tables import number_columns
from canthus.data.scenes import scene_sets
from canthus.errors import ConfigError
from canthus.evaluation.detection import MIN_OVERLAP
from canthus.evaluation.detection_report import (
    DetectorFigures,
    DetectorReport,
    Recalls,
    detector_figures,
    detector_json,
    write_detection_rows,
)
from canthus.evaluation.detectors import LEAST_SCORE, evaluate_detectors, write_detector_reports
from canthus.evaluation.plots import plot_detectors
from canthus.evaluation.wider_face import LEVELS, write_wider_predictions
from canthus.files import check_targets

DatasetOption = Annotated[str, typer.Option(help=f"One of {', '.join(scene_sets())}.")]
RootOption = Annotated[Path, typer.Option(help="Folder of the dataset.")]
SplitOption = Annotated[
    str | None, typer.Option(help="Part of the dataset.", show_default="its test or validation part")
]
DetectorsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|FILE", help="canthus, haar, yunet, or a detector's ONNX file. May be repeated, one row each."
    ),
]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Threads of each detector and of OpenCV.")]
LeastScoreOption = Annotated[
    float | None,
    typer.Option(
        "--least-score", "--min-score", help="Leave out detections of a lower score.", show_default=f"{LEAST_SCORE:g}"
    ),
]
OverlapOption = Annotated[
    float, typer.Option(help="A detection matches a labelled face from this IoU (intersection over union) on.")
]
PredictionsOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder of detections to evaluate, <event>/<picture>.txt as for WIDER FACE. May be repeated, one row each."
    ),
]
WriteOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Write the detections as such text files.")]
OfficialOption = Annotated[
    bool,
    typer.Option("--official", help="Also use WIDER FACE's own protocol; its four .mat files must be below --root."),
]
PlotOption = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Plot precision against recall, and recall by size.")
]
CsvOption = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write one row per detection and per labelled face.")
]
OutOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder for figures, rows, plot and a sheet of the worst pictures."),
]
WorstOption = Annotated[
    int | None, typer.Option(min=0, help="Number of pictures on the sheet in --out.", show_default="12")
]


def evaluate_detector(
    dataset: DatasetOption,
    root: RootOption,
    split: SplitOption = None,
    detector: DetectorsOption = None,
    detector_model: DetectorModelOption = None,
    detector_size: DetectorSizeOption = None,
    detector_tiles: DetectorTilesOption = False,
    threads: ThreadsOption = 1,
    least_score: LeastScoreOption = None,
    min_confidence: MinConfidenceOption = 0.0,
    min_overlap: OverlapOption = MIN_OVERLAP,
    predictions: PredictionsOption = None,
    write_predictions: WriteOption = None,
    official: OfficialOption = False,
    plot: PlotOption = None,
    json: JsonFractionsOption = None,
    rows: CsvOption = None,
    out: OutOption = None,
    worst: WorstOption = None,
) -> None:
    """Evaluate face detectors on a dataset: precision and recall."""
    if worst is not None and out is None:
        raise ConfigError("--worst needs --out DIR, the folder for the sheet of worst pictures")
    if write_predictions is not None and (len(detector or []) > 1 or predictions):
        raise ConfigError("--write-predictions takes one --detector, so that its files do not mix with others")
    check_targets(
        [*(detector or []), *(predictions or []), detector_model],
        text={"--json": json, "--csv": rows}, picture={"--plot": plot} | _pictures(out),
    )  # fmt: skip
    errors = Console(stderr=True, highlight=False)
    reports = evaluate_detectors(
        dataset, root, split=split, detectors=detector or (), predictions=predictions or (),
        detector_model=detector_model, detector_size=detector_size, detector_tiles=detector_tiles, threads=threads,
        least_score=least_score, min_confidence=min_confidence, min_overlap=min_overlap, official=official,
        progress=partial(track, console=errors, transient=True),
    )  # fmt: skip
    if write_predictions is not None:
        write_wider_predictions(write_predictions, reports[0].scenes, reports[0].found)
    console = errors if json == "-" else Console(highlight=False)
    console.print(*_tables(reports))
    if json is not None:
        write_json(json, [detector_json(report) for report in reports])
    _write_files(reports, rows=rows, plot=plot)
    if out is not None:
        for path in write_detector_reports(out, reports, worst=worst):
            errors.print(f"wrote {markup(path)}", soft_wrap=True)


def _pictures(out: Path | None) -> dict[str, Path | None]:
    """Pictures in the folder of ``--out`` that a run would replace."""
    found = [] if out is None else [out / "curves.png", *out.glob("worst_*.png")]
    return {f"--out, {path.name}": path for path in found}


def _write_files(reports: Sequence[DetectorReport], *, rows: Path | None, plot: Path | None) -> None:
    if rows is not None:
        write_detection_rows(rows, reports)
    if plot is not None:
        plot_detectors(plot, reports)


def _tables(reports: Sequence[DetectorReport]) -> Iterator[Table]:
    """One row per detector in each table: main figures, by size, by label, offsets of the boxes, WIDER FACE levels."""
    figures = {report.detector: detector_figures(report) for report in reports}
    yield _main_table(reports, figures)
    sizes = {name: value.by_size for name, value in figures.items()}
    if any(sizes.values()):
        yield _recall_table("recall % at the usual score, by size of the face in pixels", sizes)
    labels = {name: value.by_label for name, value in figures.items()}
    if any(labels.values()):
        yield _recall_table("recall % at the usual score, by label", labels)
    if any(value.offsets for value in figures.values()):
        yield _offset_table(figures)
    if any(report.official for report in reports):
        yield _official_table(reports)


def _official_table(reports: Sequence[DetectorReport]) -> Table:
    table = _table("WIDER FACE protocol: average precision %, 1000 scores (exact area in brackets)", LEVELS)
    for report in reports:
        levels = [report.official[level] for level in LEVELS]
        values = [f"{percent(level.official)} ({percent(level.exact)})" for level in levels]
        table.add_row(markup(report.detector), *values)
    return table


def _main_table(reports: Sequence[DetectorReport], figures: Mapping[str, DetectorFigures]) -> Table:
    first = next(iter(figures.values()))
    pictures, complete = first.pictures
    title = f"{reports[0].dataset} {reports[0].split}: {pictures} pictures, {first.faces} faces"
    if complete < pictures:
        title += f"\n{complete} pictures completely labelled: AP, precision, false of these; recall of all"
    rows = [_cells(report, figures[report.detector]) for report in reports]
    names = [name for name in rows[0] if any(cells[name] != "-" for cells in rows)]  # no empty columns
    table = _table(
        title,
        names,
        caption=f"AP: all-point interpolated area; a detection matches a face from IoU {reports[0].min_overlap:g}\n"
        "R@f: recall % at f false detections per picture; the rest at the usual score\n"
        "false: per picture; other: detections per picture that are false or not labelled",
        collapse_padding=True,
    )
    for report, cells in zip(reports, rows, strict=True):
        table.add_row(markup(report.detector), *(cells[name] for name in names))
    return table


def _cells(report: DetectorReport, figures: DetectorFigures) -> dict[str, str]:
    """Heading of the column -> text of the cell."""
    return {
        "AP\n%": percent(figures.average_precision),
        **{f"R@{allowed:g}": percent(recall) for allowed, recall in figures.recall_at.items()},
        "usual\nscore": f"{report.usual_score:g}",
        "preci-\nsion %": percent(figures.usual.precision),
        "recall\n%": percent(figures.usual.recall),
        "false": number(figures.usual.false_per_picture, 3),
        "other": number(figures.usual.other_per_picture, 3),
        "median\nms": number(figures.median_ms, 1),
    }


def _recall_table(title: str, groups: Mapping[str, Recalls]) -> Table:
    """Recall of each detector in groups of faces, each with its number of faces."""
    first = next(iter(groups.values()))
    table = _table(title, [f"{markup(name)}\nn={faces}" for name, (faces, _) in first.items()])
    for detector, found in groups.items():
        table.add_row(markup(detector), *(percent(recall) for _, recall in found.values()))
    return table


def _offset_table(figures: Mapping[str, DetectorFigures]) -> Table:
    table = _table(
        "found boxes against true face boxes: median and sigma",
        ("pairs", "shift x", "shift y", "log scale"),
        caption="shift in longer sides of the true box, right and down; scale: log of the ratio of longer sides",
    )
    for detector, value in figures.items():
        offsets = value.offsets
        cells = [
            f"{offsets[f'{name}_median']:+.3f} ± {offsets[f'{name}_sigma']:.3f}" for name in ("x", "y", "log_scale")
        ]
        table.add_row(markup(detector), f"{offsets['pairs']:.0f}", *cells)
    return table


def _table(title: str, headings: Sequence[str], **style: Any) -> Table:
    columns = (Column("detector", overflow="fold"), *number_columns(headings))
    return Table(*columns, title=title, box=SIMPLE_HEAD, pad_edge=False, **style)
