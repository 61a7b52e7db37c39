"""``canthus models``: cards, sizes and speeds of embedded and own models."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from canthus.errors import ConfigError

DETECTOR_REPEATS = 10


def detector_entry(name: str, path: Path, *, default: bool) -> dict[str, Any]:
    """The card of a detector with its size and speed on this machine."""
    import numpy as np

    from canthus.evaluation.timing import detector_shape, latency, time_in_turns
    from canthus.runtime.sessions import DetectorSession

    session = DetectorSession.open(path)
    picture = np.random.default_rng(0).integers(0, 256, detector_shape(session.card.strides), dtype=np.uint8)
    seconds = np.concatenate(list(time_in_turns([lambda: session(picture)], rounds=DETECTOR_REPEATS)), axis=1)
    return {
        **asdict(session.card),
        "name": name,
        "default": default,
        "size_bytes": session.size_bytes,
        "median_ms": round(latency(seconds[0]).median_s * 1e3, 4),
    }


def print_detectors(entries: list[dict[str, Any]]) -> None:
    """A table, one line a detector."""
    from rich.console import Console
    from rich.table import Table

    title = f"Embedded face detectors; ms: median of {_pixels()} on this machine, one thread"
    table = Table(title=title, title_justify="left")
    for column in ("detector", "measured", "size", "ms", "terms of the weights"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        table.add_row(
            entry["name"] + (" (default)" if entry["default"] else ""),
            _measured(entry["metrics"]),
            f"{entry['size_bytes'] / 1e6:.2f} MB",
            f"{entry['median_ms']:.2f}",
            entry["licence"],
        )
    Console().print(table)


def print_detector(entry: dict[str, Any]) -> None:
    """The whole card of one detector."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    strides = ", ".join(map(str, entry["strides"]))
    rows = {
        "detector": entry["name"],
        "architecture": entry["architecture"],
        "input": f"RGB, longer side usually {entry['size']} pixels; strides {strides}",
        "least score": f"{entry['score']:g}",
        "size": f"{entry['size_bytes'] / 1e6:.2f} MB",
        "speed": f"{entry['median_ms']:.2f} ms for {_pixels()} on this machine, one thread",
        "training data": ", ".join(entry["training_data"]),
        "recipe": entry["recipe"],
        "measured": _measured(entry["metrics"]),
        "terms of the weights": entry["licence"],
    }
    table = Table(show_header=False, box=None, pad_edge=False)
    for key, value in rows.items():
        table.add_row(f"[bold]{key}[/]", escape(value))
    Console(highlight=False).print(table)


def _measured(metrics: Mapping[str, float]) -> str:
    return "\n".join(f"{value:.2%} {name}" for name, value in metrics.items()) or "not measured"


def _pixels() -> str:
    from canthus.evaluation.timing import DETECTOR_PICTURE

    height, width = DETECTOR_PICTURE
    return f"{width} x {height} pixels"


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
    """List the embedded models with their error, size, speed and terms of use."""
    from canthus.cli.tables import write_json
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
    from canthus.runtime.cards import DETECTOR, LANDMARKS
    from canthus.runtime.sessions import find_model, model_kind
    from canthus.zoo import embedded_detectors

    path = find_model(name, kind=DETECTOR if name in embedded_detectors() else LANDMARKS)
    if path.suffix == ".npz":
        return {name: path}, {}
    return ({}, {name: path}) if model_kind(path) == DETECTOR else ({name: path}, {})


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
