"""``canthus quantize``: a float landmark model or detector to a checked int8 file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from canthus.cli import options
from canthus.cli.output import markup
from canthus.cli.progress import ProgressBar
from canthus.files import check_targets
from canthus.lookup import require
from canthus.runtime.downloads import cache_folder
from canthus.zoo import FLOAT

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Landmark model or detector: embedded name, ONNX file, or checkpoint.")
]
CalibrateOption = Annotated[
    str | None,
    typer.Option(
        metavar="DATASET/SPLIT",
        show_default="300w/fit, or facemask/train for detectors",
        help="Faces that give the ranges of activations.",
    ),
]
CheckOption = Annotated[
    str | None,
    typer.Option(
        metavar="DATASET/SPLIT",
        show_default="300w/validation, or facemask/validation for detectors",
        help="Other faces, on which int8 and float are compared.",
    ),
]
KeepOption = Annotated[
    list[str],
    typer.Option(
        metavar="LAYER|auto",
        help="Layer that stays in float: its name, an operator such as Gemm, first or last. May be repeated. "
        "'auto' adds the most harmful layers until the loss is small enough.",
    ),
]
LossOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        show_default="0.10, or 0.50 for detectors",
        help="Largest allowed loss, in percentage points: of the error over the inter-ocular distance; or of the "
        "average precision and the recall of a detector.",
    ),
]
FailuresOption = Annotated[
    float,
    typer.Option(
        min=0, help="Largest allowed increase of the share of faces with an error above 8 %, in percentage points."
    ),
]
BitsOption = Annotated[
    int, typer.Option(min=7, max=8, help="Bits of the weights; 7 for processors without VNNI, where sums can saturate.")
]

RoundingOption = Annotated[
    str,
    typer.Option(help="How weights are rounded: fitted, so that the outputs of each layer change least, or nearest."),
]


def quantize(
    model: ModelArgument = FLOAT,
    data: options.DataOption = None,
    root: options.RootOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    cache: options.CacheOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default="NAME_int8.onnx", help="ONNX file to write.")
    ] = None,
    calibrate: CalibrateOption = None,
    check: CheckOption = None,
    method: Annotated[str, typer.Option(help="Method for the ranges: minmax, percentile or entropy.")] = "minmax",
    crops: Annotated[int, typer.Option(min=1, help="Crops or pictures for the ranges, drawn from --calibrate.")] = 256,
    seed: Annotated[int, typer.Option(help="Random seed for choosing crops.")] = 0,
    keep: KeepOption = [],  # noqa: B006
    most_loss: LossOption = None,
    most_failures: FailuresOption = 0.75,
    force: Annotated[bool, typer.Option("--force", help="Write the file even if the loss is larger.")] = False,
    weight_bits: BitsOption = 8,
    rounding: RoundingOption = "fitted",
    twin: options.TwinOption = None,
) -> None:
    """Quantize a landmark model or a face detector to int8. The file is kept only if it is nearly as good."""
    require("lightning", extra="train")
    # The recipes need the extra, and help must work without it.
    from canthus.recipes import quantize as recipes

    settings = recipes.QuantizeSettings(
        calibrate=calibrate, check=check, method=method, crops=crops, seed=seed, keep=tuple(keep),
        most_loss=None if most_loss is None else most_loss / 100, force=force, weight_bits=weight_bits,
        most_failures=most_failures / 100, rounding=rounding, twin=twin,
    )  # fmt: skip
    path = out or recipes.int8_path(model)
    check_targets([model], model={"--out" if out else "the int8 file": path})
    splits = [name for pair in recipes.SPLITS.values() for name in pair]
    names = sorted({name.partition("/")[0] for name in (calibrate, check, *splits) if name})
    console = Console(stderr=True, highlight=False)
    with ProgressBar(console) as bar:
        report = recipes.quantize(
            model,
            path,
            settings,
            roots=options.dataset_roots(data, root, names),
            cache=cache or cache_folder(),
            progress=bar,
        )
    for line in report.describe():
        console.print(markup(line), soft_wrap=True)
