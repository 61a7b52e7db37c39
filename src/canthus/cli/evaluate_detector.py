"""``canthus evaluate-detector``: how well faces are found, and by whom best."""

from pathlib import Path
from typing import Annotated

import typer

from canthus.cli.options import DetectorModelOption, DetectorSizeOption, DetectorTilesOption

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
    """Evaluate face detectors on a dataset: precision and recall."""
    from canthus.cli.detector_output import DetectorOutputs, run_detector_evaluation
    from canthus.cli.detector_request import DetectorRequest

    request = DetectorRequest(
        dataset=dataset, root=root, split=split, detectors=tuple(detector or ()), model=detector_model,
        size=detector_size, tiles=detector_tiles, threads=threads, least_score=least_score, min_overlap=min_overlap,
        predictions=tuple(predictions or ()), write_predictions=write_predictions, official=official,
    )  # fmt: skip
    run_detector_evaluation(request, DetectorOutputs(json=json, rows=rows, plot=plot, out=out, worst=worst))
