"""``canthus models``: the models that lie inside the package."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from canthus.errors import ConfigError

if TYPE_CHECKING:
    from canthus.evaluation.benchmark import ModelCost
    from canthus.runtime.cards import ModelCard

REPEATS = 50


def models(
    name: Annotated[
        str | None, typer.Argument(help="Show the whole card of this model, or of a file: ONNX, or a cascade (.npz).")
    ] = None,
    json_file: Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write JSON; - is stdout.")] = None,
) -> None:
    """List the embedded models and face detectors with error, size, measured speed, scheme and terms."""
    from canthus.cli.detector_cards import detector_entry, print_detector, print_detectors
    from canthus.cli.results import write_json
    from canthus.zoo import DEFAULT_DETECTOR, embedded_detectors, embedded_models

    paths, detectors = (embedded_models(), embedded_detectors()) if name is None else _named(name)
    if not paths and not detectors:
        raise ConfigError("No model is embedded in this installation; install canthus again")
    entries = _landmark_entries(paths) if paths else []
    found = [detector_entry(key, path, default=key == DEFAULT_DETECTOR) for key, path in detectors.items()]
    if json_file:
        write_json(json_file, entries + found)
    elif name is None:
        if entries:
            _print_table(entries)
        if found:
            print_detectors(found)
    elif entries:
        _print_card(entries[0])
    else:
        print_detector(found[0])


def _named(name: str) -> tuple[dict[str, Path], dict[str, Path]]:
    """A landmark model or a detector, by name or file."""
    from canthus.runtime.cards import DETECTOR, card_kind
    from canthus.runtime.sessions import find_detector, find_model, open_onnx, read_model
    from canthus.zoo import embedded_detectors

    path = find_detector(name) if name in embedded_detectors() else find_model(name)
    if path.suffix == ".npz":
        return {name: path}, {}
    _, card = open_onnx(read_model(path), source=str(path), threads=1)
    return ({}, {name: path}) if card_kind(card, source=str(path)) == DETECTOR else ({name: path}, {})


def _landmark_entries(paths: Mapping[str, Path]) -> list[dict[str, Any]]:
    from canthus.evaluation.benchmark import benchmark_models
    from canthus.runtime.landmarker import open_model
    from canthus.zoo import DEFAULT

    cards = {key: open_model(path).card for key, path in paths.items()}
    costs = {cost.name: cost for cost in benchmark_models(paths, threads=1, repeats=REPEATS).models}
    return [_entry(key, cards[key], costs[key], default=key == DEFAULT) for key in paths]


def _entry(name: str, card: "ModelCard", cost: "ModelCost", *, default: bool) -> dict[str, Any]:
    return {
        **asdict(card),
        "name": name,
        "default": default,
        "kind": "landmarks",
        "numbers": card.quantization.describe() if card.quantization else "float",
        "size_bytes": cost.size_bytes,
        "parameters": cost.count.parameters if cost.count else None,
        "multiply_adds": cost.count.multiply_adds if cost.count else None,
        "note": cost.uncounted,
        "median_ms": round(cost.latency.median_s * 1e3, 4),
    }


def _print_table(entries: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Embedded models; ms: median of one face on this machine, one thread", title_justify="left")
    for column in ("model", "error (ION)", "size", "parameters", "ms", "scheme", "terms of the weights"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        table.add_row(
            entry["name"] + (" (default)" if entry["default"] else ""),
            _errors(entry["metrics"]),
            _megabytes(entry),
            _millions(entry),
            f"{entry['median_ms']:.2f}",
            entry["scheme"],
            entry["licence"],
        )
    Console().print(table)


def _print_card(entry: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    rows = {
        "model": entry["name"],
        "architecture": entry["architecture"],
        "scheme": entry["scheme"],
        "input": f"{entry['size']} x {entry['size']} RGB; crop of {entry['margin']:g} longer sides of the face box",
        "size": _megabytes(entry),
        "parameters": _millions(entry) + (f": {entry['note']}" if entry["note"] else ""),
        "speed": f"{entry['median_ms']:.2f} ms for one face on this machine, one thread, median of {REPEATS}",
        "training data": ", ".join(entry["training_data"]),
        "recipe": entry["recipe"],
        "numbers": entry["numbers"],
        "errors": _errors(entry["metrics"]),
        "terms of the weights": entry["licence"],
    }
    for key, value in rows.items():
        table.add_row(f"[bold]{key}[/]", escape(value))
    Console(highlight=False).print(table)


def _errors(metrics: Mapping[str, float]) -> str:
    """Mean errors over the inter-ocular distance, one line a set; truth boxes."""
    ending = "/nme_ion"
    lines = [f"{value:.2%} {name.removesuffix(ending)}" for name, value in metrics.items() if name.endswith(ending)]
    return "\n".join(lines) or "not measured"


def _megabytes(entry: Mapping[str, Any]) -> str:
    return f"{entry['size_bytes'] / 1e6:.2f} MB"


def _millions(entry: Mapping[str, Any]) -> str:
    return "not counted" if entry["parameters"] is None else f"{entry['parameters'] / 1e6:.2f} M"
