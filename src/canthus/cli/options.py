"""Options that several commands share, and the pipeline they lead to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from canthus.runtime.pipeline import Pipeline

DetectorOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="Face detector: canthus, haar, yunet, none (each picture is one face), or a detector's ONNX file. "
        "[canthus]",
    ),
]
DetectorModelOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="ONNX file of --detector yunet or canthus, instead of the usual.")
]
DetectorSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="PIXELS", help="Bring pictures to this longer side for the detector; 320: faster. [640]"
    ),
]
DetectorTilesOption = Annotated[
    bool, typer.Option("--detector-tiles", help="Look for small faces in tiles of larger pictures as well; slower.")
]


def open_pipeline(
    model: str,
    *,
    detector: str | None,
    detector_model: Path | None,
    detector_size: int | None,
    detector_tiles: bool,
    threads: int,
    passes: int | None = None,
) -> "Pipeline":
    """The pipeline that the options ask for; OpenCV gets as many threads as the networks."""
    import cv2

    from canthus.runtime.pipeline import load_pipeline

    pipeline = load_pipeline(
        model,
        detector=detector or "default",
        detector_model=detector_model,
        detector_size=detector_size,
        detector_tiles=detector_tiles,
        threads=threads,
        passes=passes,
    )
    cv2.setNumThreads(threads)
    return pipeline


RecipeArgument = Annotated[str, typer.Argument(help="Name of a recipe, or a TOML file; 'list' names them.")]
SetOption = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")]
DataOption = Annotated[Path | None, typer.Option(help="Folder that holds the datasets, each by its name.")]
RootOption = Annotated[
    list[str], typer.Option("--root", metavar="NAME=DIR", help="Folder of one dataset; may be repeated.")
]
CacheOption = Annotated[Path | None, typer.Option(help="Folder of packed crops; the user's cache unless given.")]
