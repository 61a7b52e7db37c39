"""``canthus export``: a checkpoint to one ONNX file, or any network to the format of another runtime."""

import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

import typer
from rich.console import Console

from canthus.cli import options
from canthus.cli.output import markup
from canthus.cli.progress import ProgressBar
from canthus.data import DATASETS
from canthus.errors import ConfigError
from canthus.files import check_targets
from canthus.lookup import require
from canthus.plain_data import checked_name
from canthus.runtime.downloads import cache_folder
from canthus.zoo import embedded_detectors, embedded_models

if TYPE_CHECKING:
    from canthus.export.convert import ConvertSettings

ONNX = "onnx"
"""Target of a checkpoint by default: the file that canthus runs itself."""

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Checkpoint of a run: best.ckpt or last.ckpt. With --to also an ONNX file of canthus, or the name of an "
        "embedded model or detector.",
    ),
]
TargetOption = Annotated[
    str, typer.Option("--to", help="Format: onnx, onnx-core, torchscript, openvino, tflite or coreml.")
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="WIDTHxHEIGHT", show_default="640x480", help="Sides of the picture of a detector, which are fixed."
    ),
]
CheckOption = Annotated[
    str,
    typer.Option(
        metavar="DATASET/SPLIT",
        show_default="a set that the model's card names, or drawn faces",
        help="Pictures on which the file is compared with ONNX Runtime.",
    ),
]


def export(
    model: ModelArgument,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default="NAME.onnx beside the model", help="File to write.")
    ] = None,
    to: TargetOption = ONNX,
    data: options.DataOption = None,
    root: options.RootOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    cache: options.CacheOption = None,
    licence: options.LicenceOption = None,
    decode: Annotated[
        str,
        typer.Option(
            show_default="regression",
            help="Head of a joint network that gives the points: regression, heatmap or both.",
        ),
    ] = "",
    batch: Annotated[int, typer.Option(min=1, max=1024, help="With --to: crops or pictures of one run.")] = 1,
    size: SizeOption = None,
    pixels: Annotated[
        bool, typer.Option("--pixels", help="With --to: scale inside, so that the input is 0 to 255.")
    ] = False,
    half: Annotated[
        bool,
        typer.Option(
            "--half", help="Store weights in 16 bits, so that the file is half as large; coreml also computes so."
        ),
    ] = False,
    check: CheckOption = "",
    twin: options.TwinOption = None,
) -> None:
    """Export a checkpoint to ONNX, or a network to another format, and compare the file with the network."""
    console = Console(stderr=True, highlight=False)
    source = _Source(Path(model), data, tuple(root), cache or cache_folder(), licence, decode)
    if to == ONNX:
        if (batch, size, pixels, check) != (1, None, False, ""):
            raise ConfigError("--batch, --size, --pixels and --check belong to --to with another format than onnx")
        lines = _to_onnx(source, out, console, half=half, twin=twin)
    elif twin:
        raise ConfigError("--twin belongs to the export of a checkpoint to onnx; leave it out")
    else:
        from canthus.export.convert import ConvertSettings  # needs the extra, and help must work without it

        settings = ConvertSettings(to, batch=batch, sides=_sides(size), scaled=pixels, half=half, check=check)
        lines = _to_target(model, source, out, settings, console)
    for line in lines:
        console.print(markup(line), soft_wrap=True)


@final
@dataclass(frozen=True)
class _Source:
    """A checkpoint or another model, and what is at hand to export it."""

    path: Path
    data: Path | None
    root: tuple[str, ...]
    cache: Path
    licence: str | None
    decode: str

    def roots(self, names: Iterable[str]) -> dict[str, Path]:
        return options.dataset_roots(self.data, self.root, sorted(set(names)))


def _to_onnx(
    source: _Source, out: Path | None, console: Console, *, half: bool = False, twin: Path | None = None
) -> list[str]:
    require("lightning", extra="train")
    # Torch takes seconds to import, and help must work without it.
    from canthus.recipes import export as recipes
    from canthus.recipes.config import read_config
    from canthus.training.checkpoint import checkpoint_config, read_checkpoint

    if source.path.suffix == ".onnx" or str(source.path) in _embedded():
        raise ConfigError(f"{source.path}: is an ONNX model already; name another format, such as --to openvino")
    config = read_config(checkpoint_config(read_checkpoint(source.path), source=source.path))
    path = out or source.path.parent / f"{checked_name(config.name, what='recipe')}.onnx"
    check_targets([source.path], model={"--out" if out else "the exported file": path})
    with ProgressBar(console, "packing") as bar:
        report = recipes.export(
            source.path,
            path,
            roots=source.roots(v.dataset for v in config.validation),
            cache=source.cache,
            licence=source.licence,
            decode=source.decode,
            half=half,
            twin=twin,
            progress=bar,
        )
    return report.describe(config)


def _to_target(
    model: str, source: _Source, out: Path | None, settings: "ConvertSettings", console: Console
) -> list[str]:
    require("onnx", extra="train")
    from canthus.export.convert import check_convert_targets, convert, open_network, target_path

    path = out or target_path(model, settings.target)
    check_convert_targets(model, path, settings.target)
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        if source.path.suffix == ".ckpt":
            exported = Path(folder) / f"{path.name.partition('.')[0] or 'model'}.onnx"
            lines = _to_onnx(source, exported, console)[1:]
            model = str(exported)
        elif source.licence is not None or source.decode:
            raise ConfigError("--licence and --decode belong to a checkpoint; an ONNX model has its card already")
        session, content = open_network(model)
        with ProgressBar(console, "converting") as bar:
            report = convert(
                session, content, path, settings, roots=source.roots(DATASETS), cache=source.cache, progress=bar
            )
    return [*lines, *report.describe(settings)]


def _sides(text: str | None) -> tuple[int, int] | None:
    """Height and width of ``WIDTHxHEIGHT``.

    Raises:
        ConfigError: another text.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if not found or min(int(side) for side in found.groups()) < 1:
        raise ConfigError(f"Cannot read --size {text!r}; expected WIDTHxHEIGHT, such as 640x480")
    return int(found[2]), int(found[1])


def _embedded() -> set[str]:
    return {*embedded_models(), *embedded_detectors(), "default"}
