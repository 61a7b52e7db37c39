"""``canthus quantize``: a float model to an int8 file that is checked before it is kept."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from canthus.cli.options import CacheOption, DataOption, RootOption

if TYPE_CHECKING:
    from canthus.recipes.quantize import QuantizeReport

_CALIBRATE_HELP = "Faces that show the ranges of activations."
_CHECK_HELP = "Other faces, on which int8 and float are compared."
_LOSS_HELP = "Largest loss allowed, points of percent of the inter-ocular distance."
_BITS_HELP = "7 for processors without VNNI, whose sums of products may saturate."
_KEEP_HELP = (
    "Layer left in float: its name, an operator such as Gemm, first or last; may be repeated. "
    "'auto' leaves out the most harmful until the loss is allowed."
)
_SHOWN = 8


def quantize(
    model: Annotated[str, typer.Argument(help="Embedded name, ONNX file, or checkpoint of a run.")] = "default",
    data: DataOption = None,
    root: RootOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    cache: CacheOption = None,
    out: Annotated[Path | None, typer.Option(help="ONNX file to write; NAME_int8.onnx unless given.")] = None,
    calibrate: Annotated[str, typer.Option(metavar="DATASET/SPLIT", help=_CALIBRATE_HELP)] = "300w/fit",
    check: Annotated[str, typer.Option(metavar="DATASET/SPLIT", help=_CHECK_HELP)] = "300w/validation",
    method: Annotated[str, typer.Option(help="minmax, percentile or entropy.")] = "minmax",
    crops: Annotated[int, typer.Option(min=1, help="Crops that show the ranges, drawn from --calibrate.")] = 256,
    seed: Annotated[int, typer.Option(help="Of that draw.")] = 0,
    keep: Annotated[list[str], typer.Option(metavar="LAYER|auto", help=_KEEP_HELP)] = [],  # noqa: B006
    most_loss: Annotated[float, typer.Option(min=0, help=_LOSS_HELP)] = 0.10,
    force: Annotated[bool, typer.Option("--force", help="Write the file even where it loses more.")] = False,
    weight_bits: Annotated[int, typer.Option(min=7, max=8, help=_BITS_HELP)] = 8,
) -> None:
    """Quantize a landmark model to int8. The file is kept only if its error is close to the float model's."""
    from canthus.lookup import require

    require("onnx", extra="train")
    from rich.console import Console

    from canthus.cli.progress import packing_bar
    from canthus.cli.train import dataset_roots
    from canthus.recipes.quantize import QuantizeSettings, split_name
    from canthus.recipes.quantize import quantize as quantize_model
    from canthus.runtime.downloads import cache_folder

    settings = QuantizeSettings(
        calibrate=calibrate, check=check, method=method, crops=crops, seed=seed, keep=tuple(keep),
        most_loss=most_loss / 100, force=force, weight_bits=weight_bits,
    )  # fmt: skip
    names = sorted({split_name(name)[0] for name in (calibrate, check)})
    console = Console(stderr=True, highlight=False)
    with packing_bar(console) as progress:
        report = quantize_model(
            model,
            out or int8_path(model),
            settings,
            roots=dataset_roots(data, root, names),
            cache=cache or cache_folder(),
            progress=progress,
        )
    for line in report_lines(report):
        console.print(line, soft_wrap=True, markup=False)


def int8_path(model: str) -> Path:
    """Where the result goes unless told: beside a file, or into the current folder for an embedded name."""
    from canthus.zoo import DEFAULT, embedded_models

    name = DEFAULT if model == "default" else model
    path = Path(name)
    return Path(f"{name}_int8.onnx") if name in embedded_models() else path.with_name(f"{path.stem}_int8.onnx")


def report_lines(report: "QuantizeReport") -> list[str]:
    """What was made, beside the float model."""
    made = report.quantization
    found, before = 100 * report.nme, 100 * report.float_nme
    errors = f"NME {found:.3f} %, the float model {before:.3f} % ({found - before:+.3f})"
    lines = [
        f"{report.path}: {report.size_bytes / 1e6:.2f} MB, the float model {report.float_bytes / 1e6:.2f} MB",
        f"{made.checked_on}, {report.faces} faces, truth boxes: {errors}",
        f"points moved by {report.moved_px:.2f} px of the crop",
    ]
    for name, value in report.confidence.items():
        lines.append(
            f"{name.upper()}: {100 * value:.2f} %, the float model {100 * report.float_confidence[name]:.2f} %"
        )
    lines.append(made.describe())
    if report.harms:
        lines.append("points move where one layer alone is quantized, px of the crop:")
        lines += [f"  {name}: {value:.3f}" for name, value in list(report.harms.items())[:_SHOWN]]
    return [*lines, f"speed: canthus benchmark --model FLOAT --model {report.path}"]
