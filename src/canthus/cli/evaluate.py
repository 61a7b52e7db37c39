"""``canthus evaluate``: errors of a model, or of anybody's predictions, on a dataset."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from canthus.cli import evaluation_options as options
from canthus.cli.detector_options import DetectorModelOption, DetectorOption, DetectorSizeOption
from canthus.errors import ConfigError

if TYPE_CHECKING:
    from canthus.cli.evaluation_request import Request


@final
@dataclass(frozen=True)
class _Wanted:
    """What the command shall write, beside the tables it prints."""

    json: str | None
    out: Path | None
    rows: Path | None
    worst: int | None
    jitter: Path | None


def evaluate(
    model: options.ModelOption = None,
    predictions: options.PredictionsOption = None,
    dataset: options.DatasetOption = None,
    root: options.RootOption = None,
    split: options.SplitOption = None,
    boxes: options.BoxesOption = None,
    detector: DetectorOption = None,
    detector_model: DetectorModelOption = None,
    detector_size: DetectorSizeOption = None,
    detector_tiles: options.TilesOption = None,
    min_overlap: options.OverlapOption = None,
    box_jitter: options.JitterOption = None,
    seed: options.SeedOption = None,
    scheme: options.SchemeOption = None,
    json: options.JsonOption = None,
    out: options.OutOption = None,
    rows: options.RowsOption = None,
    worst: options.WorstOption = None,
    threads: options.ThreadsOption = None,
    passes: options.PassesOption = None,
    jitter_report: options.JitterReportOption = None,
    tolerance: options.ToleranceOption = None,
    occlusion: options.OcclusionOption = None,
) -> None:
    """Errors of a model on a dataset, or of a file of predictions: NME, failure rate, area under the curve."""
    from canthus.cli.evaluation_request import Request
    from canthus.evaluation.rows import check_rows_path

    models, files = model or [], predictions or []
    if worst is not None and out is None:
        raise ConfigError("--worst needs --out DIR, the folder that the sheet of worst faces goes to")
    if rows is not None:
        check_rows_path(rows)
    if occlusion is None and max(len(models), len(files)) > 1:
        raise ConfigError("Several --model or --predictions are compared with --occlusion only; give one")
    request = Request(
        model=next(iter(models), None), predictions=next(iter(files), None),
        dataset=dataset, root=root, split=split, boxes=boxes, detector=detector,
        detector_model=detector_model, detector_size=detector_size, detector_tiles=detector_tiles,
        min_overlap=min_overlap, box_jitter=box_jitter, seed=seed, scheme=scheme, threads=threads, passes=passes,
        tolerance=tolerance,
    )  # fmt: skip
    wanted = _Wanted(json=json, out=out, rows=rows, worst=worst, jitter=jitter_report)
    if occlusion is None:
        _plain(request, wanted)
    else:
        _covered(request, wanted, occlusion, models, files)


def _plain(request: "Request", wanted: _Wanted) -> None:
    from rich.console import Console

    from canthus.cli.evaluation_request import make_report, report_notes
    from canthus.cli.jitter_request import check_jitter_request, jitter_table, make_jitter_report, write_jitter_plot
    from canthus.cli.results import report_tables, write_json
    from canthus.evaluation.report import report_json
    from canthus.evaluation.rows import write_rows

    errors = Console(stderr=True, highlight=False)
    check_jitter_request(request, wanted.jitter)
    report = make_report(request, errors)
    console = errors if wanted.json == "-" else Console(highlight=False)
    console.print(*report_tables(report))
    if wanted.jitter is not None:
        jitter = make_jitter_report(request, report, errors)
        console.print(jitter_table(jitter))
        write_jitter_plot(wanted.jitter, jitter)
    if wanted.json is not None:
        write_json(wanted.json, report_json(report))
    if wanted.rows is not None:
        write_rows(wanted.rows, report.rows)
    if wanted.out is not None:
        for note in report_notes(wanted.out, report, wanted.worst):
            errors.print(note, soft_wrap=True, markup=False)


def _covered(request: "Request", wanted: _Wanted, occlusion: str, models: list[str], files: list[Path]) -> None:
    from rich.console import Console

    from canthus.cli.evaluation_occlusion import cover_notes, cover_rows, cover_tables
    from canthus.cli.results import write_json
    from canthus.evaluation.occlusion_report import cover_json
    from canthus.evaluation.rows import write_rows

    for name, value in (("--worst", wanted.worst), ("--jitter-report", wanted.jitter)):
        if value is not None:
            raise ConfigError(f"{name} has no effect with --occlusion; leave it out")
    if wanted.rows is not None and len(models) + len(files) > 1:
        raise ConfigError("--rows holds one model; with several, --out DIR writes one file a model")
    errors = Console(stderr=True, highlight=False)
    found = cover_rows(request, occlusion, models, files, errors)
    console = errors if wanted.json == "-" else Console(highlight=False)
    console.print(*cover_tables(found, protocol=occlusion))
    if wanted.json is not None:
        write_json(wanted.json, cover_json(found))
    if wanted.rows is not None:
        write_rows(wanted.rows, next(iter(found.values())))
    if wanted.out is not None:
        for note in cover_notes(wanted.out, found, protocol=occlusion):
            errors.print(note, soft_wrap=True, markup=False)
