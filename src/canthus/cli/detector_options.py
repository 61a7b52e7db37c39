"""Options that say how faces are found, the same for every command that looks for them."""

from pathlib import Path
from typing import Annotated

import typer

DetectorOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="Face detector: canthus, haar, yunet, none (each picture is one face), or a detector's ONNX file. "
        "[canthus where it is embedded, else haar]",
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
