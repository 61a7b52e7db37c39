"""Options that several commands share, and what they stand for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from canthus.errors import ConfigError

if TYPE_CHECKING:
    from canthus.runtime.chips import Chips
    from canthus.runtime.measures import FaceMeasures
    from canthus.runtime.pipeline import Pipeline
    from canthus.schemes import Scheme

FACES, ADDED, RUNNING = "How faces are found", "What is added for each face", "How the work is done"
"""Headings of groups of options in ``--help``."""

LandmarkModelOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="Landmark model: a name from 'canthus models', an ONNX file, or a .npz.",
        rich_help_panel=FACES,
    ),
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        show_default="canthus",
        help="Face detector: canthus, haar, yunet, none (the whole picture is one face), or a detector's ONNX file.",
        rich_help_panel=FACES,
    ),
]
DetectorModelOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="ONNX file for --detector yunet or canthus, in place of the usual one.",
        rich_help_panel=FACES,
    ),
]
DetectorSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="PIXELS",
        show_default="640",
        help="Longer side to which pictures are resized for the detector. Smaller is faster.",
        rich_help_panel=FACES,
    ),
]
DetectorTilesOption = Annotated[
    bool,
    typer.Option(
        "--detector-tiles", help="Also search tiles of larger pictures for small faces. Slower.", rich_help_panel=FACES
    ),
]
AutoTilesOption = Annotated[
    bool | None,
    typer.Option(
        "--detector-tiles/--no-detector-tiles",
        show_default="for pictures of more than twice the --detector-size",
        help="Also search tiles of larger pictures for small faces. Slower.",
        rich_help_panel=FACES,
    ),
]
PassesOption = Annotated[
    int | None,
    typer.Option(
        show_default="2 for haar, yunet and --boxes, 2 to 4 for none, else 1",
        help="Crops per face. 2 re-crops around the first landmarks; helps with loose boxes.",
        rich_help_panel=FACES,
    ),
]
MinScoreOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="SCORE",
        show_default="the detector's own",
        help="Leave out faces of a lower score. Without it, faces from 0.3 on are kept in pictures, not videos, "
        "where the landmarks call them faces.",
        rich_help_panel=FACES,
    ),
]
MinConfidenceOption = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="CHANCE",
        help="Leave out faces whose points are right with a lower probability.",
        rich_help_panel=FACES,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        metavar="cpu|cuda|directml|coreml|auto",
        help="Where the networks run; auto: the first of these that the installed ONNX Runtime has, else cpu.",
        rich_help_panel=RUNNING,
    ),
]
BackendOption = Annotated[
    str,
    typer.Option(
        metavar="onnxruntime|openvino|openvino-bf16",
        help="What runs the networks. OpenVINO needs the extra 'openvino', bf16 a processor that has it.",
        rich_help_panel=RUNNING,
    ),
]
VideoArgument = Annotated[
    str,
    typer.Argument(
        metavar="VIDEO|CAMERA",
        help="A video file; a folder of pictures, or a pattern such as seq/%05d.png; the number of a camera, or its "
        "device, such as /dev/video0; or an address, such as rtsp://...",
    ),
]
MostFacesOption = Annotated[
    int | None,
    typer.Option(
        "--faces",
        min=1,
        metavar="N",
        show_default="all",
        help="Follow at most N faces. While N are followed and their points are sure, the detector rests: faster.",
        rich_help_panel=FACES,
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

ParquetOption = Annotated[
    Path | None,
    typer.Option(
        "--parquet", metavar="FILE", help="Write one row per face to a Parquet file. Needs the extra 'batch'."
    ),
]
PoseOption = Annotated[
    bool,
    typer.Option(
        "--pose",
        help="Yaw, pitch, roll of the head in degrees: to the left of the picture, down, clockwise on the screen.",
        rich_help_panel=ADDED,
    ),
]
RatiosOption = Annotated[
    bool,
    typer.Option("--ratios", help="Openness of each eye (EAR) and of the mouth (MAR).", rich_help_panel=ADDED),
]
SchemeOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Convert the points to another scheme, such as five. 'docs/schemes.md' lists the conversions.",
        rich_help_panel=ADDED,
    ),
]
CropsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Write an upright square picture of each face to this folder.", rich_help_panel=ADDED
    ),
]
CropSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="PIXELS", show_default="256", help="Side of the pictures of --crops.", rich_help_panel=ADDED
    ),
]
AlignOption = Annotated[
    str | None,
    typer.Option(
        show_default="eyes",
        metavar="eyes|five|box",
        help="How --crops are turned and cut: level eyes, five points at the places of face recognition, or the box.",
        rich_help_panel=ADDED,
    ),
]
CropFormatOption = Annotated[
    str | None,
    typer.Option(
        metavar="png|jpg", show_default="png", help="Format of the pictures of --crops.", rich_help_panel=ADDED
    ),
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
TwinOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.onnx",
        help="The same network, trained without the faces that measure; its errors and confidence go into the card.",
    ),
]
LicenceOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Licence of the model, written to its model card.")
]


def added_faces(
    pipeline: "Pipeline", *, pose: bool, ratios: bool, scheme: str | None
) -> "tuple[FaceMeasures, Scheme | None]":
    """The measures of --pose and --ratios, and the scheme of --scheme.

    Raises:
        ConfigError: the points of the model do not convert to what they need.
    """
    from canthus.runtime.measures import FaceMeasures
    from canthus.schemes import conversion_matrix, find_scheme

    source = pipeline.landmarker.session.scheme
    target = None if scheme is None else find_scheme(scheme)
    if target is not None:
        conversion_matrix(source, target)
    return FaceMeasures(source, pose=pose, ratios=ratios), target


def scheme_file(scheme: str | None) -> str | None:
    """The file that --scheme reads, if any."""
    return scheme if scheme and scheme.endswith(".toml") else None


def chips(
    pipeline: "Pipeline", folder: Path | None, *, size: int | None, align: str | None, file_format: str | None
) -> "Chips | None":
    """What --crops and its settings ask for.

    Raises:
        ConfigError: settings without --crops, an unknown alignment or format, points that cannot be aligned, or a
            folder with pictures that canthus did not write.
    """
    from canthus.runtime.chips import Chips

    given: dict[str, Any] = {
        name: value for name, value in (("size", size), ("align", align), ("format", file_format)) if value
    }
    if folder is None:
        if given:
            raise ConfigError("--crop-size, --align and --crop-format are settings of --crops DIR; name that folder")
        return None
    made = Chips(folder, **given)
    made.check(pipeline.landmarker.session.scheme)
    return made


def dataset_roots(data: Path | None, roots: Sequence[str], names: Sequence[str]) -> dict[str, Path]:
    """Folder of each dataset: from ``NAME=DIR`` where given, else ``data/NAME`` where that folder exists.

    Raises:
        ConfigError: an entry of ``roots`` is not NAME=DIR.
    """
    found = {name: data / name for name in names if data is not None and (data / name).is_dir()}
    return found | named_paths("--root", roots, "NAME=DIR, such as 300w=/data/300w")


def named_paths(option: str, entries: Sequence[str], expected: str) -> dict[str, Path]:
    """Name -> path for each entry ``NAME=PATH`` of an option.

    Raises:
        ConfigError: an entry without ``=``.
    """
    found = {}
    for entry in entries:
        name, equals, path = entry.partition("=")
        if not equals:
            raise ConfigError(f"Cannot read {option} {entry!r}; expected {expected}")
        found[name] = Path(path)
    return found
