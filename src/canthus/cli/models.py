"""``canthus models``: cards, sizes and speeds of models; ``canthus models adopt``: a card for a model of others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, final

import typer
import typer.core
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from canthus.cli import options
from canthus.cli.output import markup, write_json
from canthus.evaluation.benchmark import MODEL_REPEATS, model_entries
from canthus.evaluation.timing import DETECTOR_PICTURE
from canthus.files import check_targets
from canthus.lookup import require
from canthus.runtime.cards import DETECTOR

Entry = Mapping[str, Any]
NameArgument = Annotated[
    str | None,
    typer.Argument(help="Print the whole card of one model: its name, an ONNX file, or a .npz of 'canthus fit'."),
]
PICTURE = f"{DETECTOR_PICTURE[1]} x {DETECTOR_PICTURE[0]} pixels"


@final
class _Models(typer.core.TyperGroup):
    """``adopt``, and for every other first argument the list or the card of a model."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args[:1] == ["adopt"] else ["show", *args])


SUMMARY = "List the embedded models with their error, size, speed and terms of use."
app = typer.Typer(cls=_Models, help=SUMMARY, add_completion=False, pretty_exceptions_enable=False)


@app.command("show", help=SUMMARY, epilog="canthus models adopt --help: make a landmark model of others run here.")
def models(name: NameArgument = None, json_file: options.JsonOption = None) -> None:
    """List the embedded models, or print the card of one model."""
    entries = model_entries(name)
    landmarks, detectors = ([e for e in entries if (e["kind"] == DETECTOR) is kind] for kind in (False, True))
    if json_file:
        check_targets([name], text={"--json": json_file})
        write_json(json_file, entries)
    elif name is None:
        console = Console()
        for found, listed in ((landmarks, _landmark_table), (detectors, _detector_table)):
            if found:
                console.print(listed(found))
            for entry in found:
                console.print(f"terms of the weights of {markup(entry['name'])}: {markup(entry['licence'])}\n")
    else:
        table = Table(show_header=False, box=None, pad_edge=False)
        for key, value in (_landmark_card(landmarks[0]) if landmarks else _detector_card(detectors[0])).items():
            table.add_row(f"[bold]{key}[/]", markup(value))
        Console(highlight=False).print(table)


@app.command()
def adopt(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="ONNX file of a landmark network.")],
    scheme: Annotated[str, typer.Option(metavar="NAME|FILE", help="Scheme of its points: a name, or a scheme file.")],
    margin: Annotated[
        float,
        typer.Option(help="Side of the crop that it expects, in longer sides of the face box (hull of 68 points)."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="ONNX file to write.")],
    layout: Annotated[str, typer.Option(help="Order of the input: nchw, nhwc, ncwh or nwhc.")] = "nchw",
    range_: Annotated[
        str,
        typer.Option(
            "--range",
            metavar="RANGE",
            help="Range of the input: 0..1, -1..1, 0..255, or MEAN/DEVIATION of pixels of 0 to 255, such as 127.5/128 "
            "or three numbers with commas each.",
        ),
    ] = "0..1",
    colour: Annotated[str, typer.Option(help="Order of the colours: rgb or bgr.")] = "rgb",
    output: Annotated[
        str, typer.Option(metavar="NAME", show_default="the only one", help="Output that holds the points.")
    ] = "",
    units: Annotated[
        str, typer.Option(help="Coordinates of the output: pixels of the input, 0..1 or -1..1.")
    ] = "pixels",
    origin: Annotated[
        str,
        typer.Option(
            show_default="centre for pixels, else corner",
            help="Zero of the pixels: the centre of the first pixel, or the outer corner of the picture.",
        ),
    ] = "",
    order: Annotated[
        str, typer.Option(help="Order of coordinates: pairs (x and y of each point) or planes (all x, then all y).")
    ] = "pairs",
    size: Annotated[int, typer.Option(min=0, show_default="from the file", help="Side of the input in pixels.")] = 0,
    name: Annotated[str, typer.Option(show_default="that of --out", help="Name of the model.")] = "",
    licence: options.LicenceOption = None,
) -> None:
    """Write an ONNX landmark model of others with a card, so that it runs like those of canthus.

    Read are outputs (n, 2k) and (n, k, 2), (n, 3k) and (n, k, 3) without their third number, and heatmaps (n, k, h, w)
    and (n, h, w, k). The written file is compared with the given one.
    """
    require("onnx", extra="train")
    from canthus.export import adopt as export  # needs the extra, and help must work without it

    check_targets([file], model={"--out": out})
    terms = {} if licence is None else {"licence": licence}
    how = export.Adoption(scheme, margin, layout, range_, colour, output, units, origin, order, size, name, **terms)
    console = Console(stderr=True, highlight=False)
    for line in export.adopt(file, out, how).describe():
        console.print(markup(line), soft_wrap=True)


def _landmark_table(entries: Sequence[Entry]) -> Table:
    title = "Embedded models; ms: median of one face on this machine, one thread"
    table = _table(title, "model", "error (ION)", "size", "weights", "ms", "scheme")
    for entry in entries:
        numbers = (_size(entry), _parameters(entry), f"{entry['median_ms']:.2f}")
        table.add_row(_name(entry), _errors(entry), *numbers, entry["scheme"])
    return table


def _detector_table(entries: Sequence[Entry]) -> Table:
    table = _table(
        f"Embedded face detectors; ms: median of {PICTURE}, one thread", "detector", "measured", "size", "ms"
    )
    for entry in entries:
        table.add_row(_name(entry), _measured(entry), _size(entry), f"{entry['median_ms']:.2f}")
    return table


def _table(title: str, *columns: str) -> Table:
    """A table that fits into 80 columns; what does not is folded, never cut."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _landmark_card(entry: Entry) -> dict[str, str]:
    return {
        "model": entry["name"],
        "architecture": entry["architecture"],
        "scheme": entry["scheme"] + (f", converted by {entry['conversion']}" if entry.get("conversion") else ""),
        "input": f"{entry['size']} x {entry['size']} RGB; crop of {entry['margin']:g} longer sides of the face box",
        "size": _size(entry),
        "parameters": _parameters(entry) + (f": {entry['note']}" if entry["note"] else ""),
        "speed": f"{entry['median_ms']:.2f} ms for one face on this machine, one thread, median of {MODEL_REPEATS}",
        "training data": ", ".join(entry["training_data"]),
        "recipe": entry["recipe"] + (f", adapted to {entry['adapted']}" if entry.get("adapted") else ""),
        "numbers": entry["numbers"],
        "errors": _errors(entry),
        "terms of the weights": entry["licence"],
    }


def _detector_card(entry: Entry) -> dict[str, str]:
    strides = ", ".join(map(str, entry["strides"]))
    return {
        "detector": entry["name"],
        "architecture": entry["architecture"],
        "input": f"RGB, longer side usually {entry['size']} pixels; strides {strides}",
        "least score": f"{entry['score']:g}",
        "size": _size(entry),
        "speed": f"{entry['median_ms']:.2f} ms for {PICTURE} on this machine, one thread",
        "training data": ", ".join(entry["training_data"]),
        "recipe": entry["recipe"],
        "measured": _measured(entry),
        "terms of the weights": entry["licence"],
    }


def _name(entry: Entry) -> str:
    return str(entry["name"]) + (" (default)" if entry["default"] else "")


def _errors(entry: Entry) -> str:
    """Mean errors over the inter-ocular distance with ground-truth boxes, one line per dataset."""
    ending = "/nme_ion"
    metrics = {name: value for name, value in entry["metrics"].items() if name.endswith(ending)}
    return "\n".join(f"{value:.2%} {name.removesuffix(ending)}" for name, value in metrics.items()) or "not measured"


def _measured(entry: Entry) -> str:
    return "\n".join(f"{value:.2%} {name}" for name, value in entry["metrics"].items()) or "not measured"


def _size(entry: Entry) -> str:
    return f"{entry['size_bytes'] / 1e6:.2f} MB"


def _parameters(entry: Entry) -> str:
    return "not counted" if entry["parameters"] is None else f"{entry['parameters'] / 1e6:.2f} M"
