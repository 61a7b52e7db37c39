"""Options that several commands share, and what they stand for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from canthus.errors import ConfigError

LandmarkModelOption = Annotated[
    str,
    typer.Option(metavar="NAME|FILE", help="Landmark model: a name from 'canthus models', an ONNX file, or a .npz."),
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        show_default="canthus",
        help="Face detector: canthus, haar, yunet, none (the whole picture is one face), or a detector's ONNX file.",
    ),
]
DetectorModelOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="ONNX file for --detector yunet or canthus, in place of the usual one."),
]
DetectorSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="PIXELS",
        show_default="640",
        help="Longer side to which pictures are resized for the detector. Smaller is faster.",
    ),
]
DetectorTilesOption = Annotated[
    bool, typer.Option("--detector-tiles", help="Also search tiles of larger pictures for small faces. Slower.")
]
MinScoreOption = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, metavar="SCORE", show_default="the detector's own", help="Leave out faces of a lower score."
    ),
]
MinConfidenceOption = Annotated[
    float,
    typer.Option(
        min=0, max=1, metavar="CHANCE", help="Leave out faces whose points are right with a lower probability."
    ),
]
VideoArgument = Annotated[
    str,
    typer.Argument(
        metavar="VIDEO|CAMERA",
        help="A video file; a folder of pictures, or a pattern such as seq/%05d.png; or the number of a camera.",
    ),
]
PicturesRateOption = Annotated[
    float | None,
    typer.Option(
        "--fps", metavar="HZ", show_default="25", help="Pictures a second, only for a folder or pattern of pictures."
    ),
]
VideoOutOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write an annotated H.264 video (.mp4, .mkv or .mov).")
]
VideoThreadsOption = Annotated[
    int, typer.Option(min=1, help="Threads for video decoding, the detector and the landmark model.")
]
JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Write the results as JSON; - is standard output.")
]

JsonFractionsOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE|-", help="Write the numbers as JSON, in fractions; - is standard output."),
]
RecipeArgument = Annotated[str, typer.Argument(help="Name of a recipe, or a TOML file. 'list' prints all names.")]
CheckpointArgument = Annotated[Path, typer.Argument(help="Checkpoint of a run: best.ckpt or last.ckpt.")]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the recipe. May be repeated.")
]
DataOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder that holds one folder per dataset, such as DIR/300w.")
]
RootOption = Annotated[
    list[str], typer.Option("--root", metavar="NAME=DIR", help="Folder of one dataset. May be repeated.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", show_default="canthus in the user's cache folder", help="Folder of packed crops."),
]
AcceleratorOption = Annotated[str, typer.Option(help="Device to train on: auto, cpu or gpu.")]
TorchThreadsOption = Annotated[int, typer.Option(min=0, help="CPU threads of torch; 0 lets torch choose.")]
LicenceOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Licence of the model, written to its model card.")
]


def dataset_roots(data: Path | None, roots: Sequence[str], names: Sequence[str]) -> dict[str, Path]:
    """Folder of each dataset: from ``NAME=DIR`` where given, else ``data/NAME`` where that folder exists.

    Raises:
        ConfigError: an entry of ``roots`` is not NAME=DIR.
    """
    found = {name: data / name for name in names if data is not None and (data / name).is_dir()}
    for entry in roots:
        name, equals, folder = entry.partition("=")
        if not equals:
            raise ConfigError(f"Cannot read --root {entry!r}; expected NAME=DIR, such as 300w=/data/300w")
        found[name] = Path(folder)
    return found
