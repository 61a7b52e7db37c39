"""Options of ``canthus evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

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
DatasetOption = Annotated[
    str | None, typer.Option(help="300w, ytf, wflw, wild21, cofw, aflw, celeba, celeba_hq, folder.")
]
TilesOption = Annotated[
    bool | None, typer.Option("--detector-tiles", help="Look for small faces in tiles of larger pictures as well.")
]
RootOption = Annotated[Path | None, typer.Option(help="Folder of the dataset, or of the predictions' pictures.")]
SplitOption = Annotated[
    str | None,
    typer.Option(help="common, challenging, full, train, fit, validation ...; what the folder holds if absent."),
]
BoxesOption = Annotated[str | None, typer.Option(help="Face boxes: truth (hull of the true points) or detector.")]
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
    typer.Option(
        min=1, help="2 cuts each face out again by the points found first; if absent: haar and yunet 2, else 1."
    ),
]

JitterReportOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="Table and plot of the error in true boxes shifted and scaled by 0 to 20 %."),
]

ToleranceOption = Annotated[
    float | None,
    typer.Option(
        help="For --predictions with confidence: a point is right within this part of the face box's longer side; what "
        "the file says, or 0.05, if absent."
    ),
]
OcclusionOption = Annotated[
    str | None,
    typer.Option(help="Cover faces on purpose: paper_c (six classes of covered share, two squares) or natural."),
]
