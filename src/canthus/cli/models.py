"""``canthus models``: cards, sizes and speeds of models."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from canthus.cli import options
from canthus.cli.output import markup, write_json
from canthus.evaluation.benchmark import MODEL_REPEATS, model_entries
from canthus.evaluation.timing import DETECTOR_PICTURE
from canthus.files import check_targets
from canthus.runtime.cards import DETECTOR

Entry = Mapping[str, Any]
NameArgument = Annotated[
    str | None,
    typer.Argument(help="Print the whole card of one model: its name, an ONNX file, or a .npz of 'canthus fit'."),
]
PICTURE = f"{DETECTOR_PICTURE[1]} x {DETECTOR_PICTURE[0]} pixels"


def models(name: NameArgument = None, json_file: options.JsonOption = None) -> None:
    """List the embedded models with their error, size, speed and terms of use."""
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
        "scheme": entry["scheme"],
        "input": f"{entry['size']} x {entry['size']} RGB; crop of {entry['margin']:g} longer sides of the face box",
        "size": _size(entry),
        "parameters": _parameters(entry) + (f": {entry['note']}" if entry["note"] else ""),
        "speed": f"{entry['median_ms']:.2f} ms for one face on this machine, one thread, median of {MODEL_REPEATS}",
        "training data": ", ".join(entry["training_data"]),
        "recipe": entry["recipe"],
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
