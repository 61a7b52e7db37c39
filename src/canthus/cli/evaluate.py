"""``canthus evaluate``: errors of a network, or of anybody's predictions, with their protocol."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from canthus.cli.evaluation_request import Request

ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Embedded name, or an ONNX file with a model card; the default model if absent. "
        "Several with --occlusion, once each."
    ),
]
PredictionsOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Score this instead of a model: JSON of predictions or of detect, or rows kept by --rows. "
        "Several files of rows with --occlusion."
    ),
]
DatasetOption = Annotated[str | None, typer.Option(help="300w, ytf, wflw, cofw, celeba_hq, folder.")]
RootOption = Annotated[Path | None, typer.Option(help="Folder of the dataset, or of the predictions' pictures.")]
SplitOption = Annotated[
    str | None,
    typer.Option(help="common, challenging, full, train, fit, validation ...; what the folder holds if absent."),
]
BoxesOption = Annotated[str | None, typer.Option(help="Face boxes: truth (hull of the true points) or detector.")]
DetectorOption = Annotated[str | None, typer.Option(help="For --boxes detector: haar (the default) or none.")]
OverlapOption = Annotated[
    float | None, typer.Option(help="A face is found above this overlap (IoU) of detected and true box; 0.3 if absent.")
]
JitterOption = Annotated[
    float | None, typer.Option(help="Shift and scale truth boxes by up to this fraction, to test robustness.")
]
SeedOption = Annotated[int | None, typer.Option(help="Of --box-jitter or --occlusion; 0 if absent.")]
SchemeOption = Annotated[
    str | None, typer.Option(help="Numbering of predictions or of a folder; ibug_68 for predictions that do not say.")
]
JsonOption = Annotated[str | None, typer.Option(metavar="FILE|-", help="Write the numbers as JSON, fractions.")]
OutOption = Annotated[
    Path | None, typer.Option(help="Folder for summary, rows, predictions, error curves and worst faces.")
]
RowsOption = Annotated[Path | None, typer.Option(metavar="FILE.csv|.parquet", help="Write one row per face.")]
WorstOption = Annotated[
    int | None, typer.Option(min=0, help="Faces on the sheet of worst faces in --out; 16 if absent.")
]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of the model; 1 if absent.")]
PassesOption = Annotated[
    int | None,
    typer.Option(min=1, help="2 cuts each face out again by the points found first; if absent: haar 2, else 1."),
]
OcclusionOption = Annotated[
    str | None,
    typer.Option(help="Cover faces on purpose: paper_c (six classes of covered share, two squares) or natural."),
]
ToleranceOption = Annotated[
    float | None,
    typer.Option(
        help="For --predictions with confidence: a point is right within this part of the face box's longer side; what "
        "the file says, or 0.05, if absent."
    ),
]


def evaluate(
    model: ModelOption = None,
    predictions: PredictionsOption = None,
    dataset: DatasetOption = None,
    root: RootOption = None,
    split: SplitOption = None,
    boxes: BoxesOption = None,
    detector: DetectorOption = None,
    min_overlap: OverlapOption = None,
    box_jitter: JitterOption = None,
    seed: SeedOption = None,
    scheme: SchemeOption = None,
    json: JsonOption = None,
    out: OutOption = None,
    rows: RowsOption = None,
    worst: WorstOption = None,
    threads: ThreadsOption = None,
    passes: PassesOption = None,
    tolerance: ToleranceOption = None,
    occlusion: OcclusionOption = None,
) -> None:
    """Errors of a model on a dataset, or of a file of predictions: NME, failure rate, area under the curve."""
    from canthus.cli.evaluation_request import Request
    from canthus.errors import ConfigError
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
        min_overlap=min_overlap, box_jitter=box_jitter, seed=seed, scheme=scheme, threads=threads, passes=passes,
        tolerance=tolerance,
    )  # fmt: skip
    if occlusion is None:
        _plain(request, json, out, rows, worst)
    elif worst is not None:
        raise ConfigError("--worst has no effect with --occlusion; leave it out")
    else:
        _covered(request, occlusion, (models, files), json, out, rows)


def _plain(request: "Request", json: str | None, out: Path | None, rows: Path | None, worst: int | None) -> None:
    from rich.console import Console

    from canthus.cli.evaluation_request import make_report, report_notes
    from canthus.cli.results import confidence_table, error_table, part_table, write_json
    from canthus.evaluation.report import report_json
    from canthus.evaluation.rows import write_rows

    errors = Console(stderr=True, highlight=False)
    report = make_report(request, errors)
    console = errors if json == "-" else Console(highlight=False)
    console.print(error_table(report), part_table(report))
    if report.reliability:
        console.print(confidence_table(report.reliability))
    if json is not None:
        write_json(json, report_json(report))
    if rows is not None:
        write_rows(rows, report.rows)
    if out is not None:
        for note in report_notes(out, report, worst):
            errors.print(note, soft_wrap=True, markup=False)


def _covered(
    request: "Request",
    occlusion: str,
    sources: tuple[list[str], list[Path]],
    json: str | None,
    out: Path | None,
    rows: Path | None,
) -> None:
    from rich.console import Console

    from canthus.cli.evaluation_occlusion import cover_notes, cover_rows, cover_tables
    from canthus.cli.results import write_json
    from canthus.errors import ConfigError
    from canthus.evaluation.occlusion_report import cover_json
    from canthus.evaluation.rows import write_rows

    models, files = sources
    if rows is not None and len(models) + len(files) > 1:
        raise ConfigError("--rows holds one model; with several, --out DIR writes one file a model")
    errors = Console(stderr=True, highlight=False)
    found = cover_rows(request, occlusion, models, files, errors)
    console = errors if json == "-" else Console(highlight=False)
    console.print(*cover_tables(found, protocol=occlusion))
    if json is not None:
        write_json(json, cover_json(found))
    if rows is not None:
        write_rows(rows, next(iter(found.values())))
    if out is not None:
        for note in cover_notes(out, found, protocol=occlusion):
            errors.print(note, soft_wrap=True, markup=False)
