"""``canthus evaluate-detector``: how well faces are found, and by whom best."""

from pathlib import Path
from typing import Annotated

import typer

from canthus.cli.detector_options import DetectorModelOption, DetectorSizeOption, DetectorTilesOption

DatasetOption = Annotated[str, typer.Option(help="facemask, wild21, widerface, fddb, 300w, ytf ...")]
RootOption = Annotated[Path, typer.Option(help="Folder of the dataset.")]
SplitOption = Annotated[str | None, typer.Option(help="Part of the set; its test or validation part if absent.")]
DetectorsOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME|FILE", help="canthus, haar, yunet, or a detector's ONNX file; again for one row each."),
]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Threads of each detector, OpenCV's as well.")]
LeastScoreOption = Annotated[
    float | None, typer.Option(help="Measure from this score on, below what is shown in use; 0.02 if absent.")
]
OverlapOption = Annotated[
    float | None, typer.Option(help="A find is a face from this overlap (IoU) of the boxes; 0.5 if absent.")
]
PredictionsOption = Annotated[
    list[Path] | None,
    typer.Option(help="Folder of somebody's finds, <event>/<picture>.txt as for WIDER FACE; give it again for more."),
]
WriteOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the finds as such text files.")]
OfficialOption = Annotated[
    bool, typer.Option("--official", help="WIDER FACE's own protocol as well; its four .mat files lie below --root.")
]
PlotOption = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Draw precision against recall, and recall by size.")
]
JsonOption = Annotated[str | None, typer.Option(metavar="FILE|-", help="Write the figures as JSON, fractions.")]
CsvOption = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="Write one row per find and per labelled face.")
]
OutOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder for figures, rows, plot and a sheet of the worst pictures."),
]
WorstOption = Annotated[int | None, typer.Option(min=0, help="Pictures on the sheet in --out; 12 if absent.")]


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
    min_overlap: OverlapOption = None,
    predictions: PredictionsOption = None,
    write_predictions: WriteOption = None,
    official: OfficialOption = False,
    plot: PlotOption = None,
    json: JsonOption = None,
    rows: CsvOption = None,
    out: OutOption = None,
    worst: WorstOption = None,
) -> None:
    """Precision and recall of face detectors on a set of pictures with labelled faces."""
    from rich.console import Console

    from canthus.cli.detector_request import DetectorRequest, make_reports, official_precision, write_folder
    from canthus.cli.detector_tables import detector_tables, official_table
    from canthus.cli.results import write_json
    from canthus.errors import ConfigError
    from canthus.evaluation.detection_plots import plot_detectors
    from canthus.evaluation.detection_report import detectors_json, write_detection_rows

    if worst is not None and out is None:
        raise ConfigError("--worst needs --out DIR, the folder that the sheet of worst pictures goes to")
    request = DetectorRequest(
        dataset=dataset, root=root, split=split, detectors=tuple(detector or ()), model=detector_model,
        size=detector_size, tiles=detector_tiles, threads=threads,
        least_score=least_score, min_overlap=min_overlap, predictions=tuple(predictions or ()),
        write_predictions=write_predictions, official=official,
    )  # fmt: skip
    errors = Console(stderr=True, highlight=False)
    console = errors if json == "-" else Console(highlight=False)
    reports = make_reports(request, errors)
    console.print(*detector_tables(reports))
    levels = official_precision(root, reports) if official else None
    if levels is not None:
        console.print(official_table(levels))
    if json is not None:
        write_json(json, detectors_json(reports, levels))
    if rows is not None:
        write_detection_rows(rows, reports)
    if plot is not None:
        plot_detectors(plot, reports)
    if out is not None:
        for path in write_folder(out, reports, levels, worst=12 if worst is None else worst):
            errors.print(f"wrote {path}", soft_wrap=True, markup=False)
