"""``canthus models``: the models that lie inside the package."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from canthus.errors import ConfigError

if TYPE_CHECKING:
    from canthus.evaluation.benchmark import ModelCost
    from canthus.runtime.card import ModelCard

REPEATS = 50


def models(
    name: Annotated[str | None, typer.Argument(help="Show the whole card of this model, or of an ONNX file.")] = None,
    json_file: Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write JSON; - is stdout.")] = None,
) -> None:
    """List the embedded models with error, size, parameters, measured speed, scheme and terms."""
    from canthus.cli.results import write_json
    from canthus.evaluation.benchmark import benchmark_models
    from canthus.runtime.session import LandmarkSession, find_model
    from canthus.zoo import DEFAULT, embedded_models

    paths = embedded_models() if name is None else {name: find_model(name)}
    if not paths:
        raise ConfigError("No model is embedded in this installation; install canthus again")
    cards = {key: LandmarkSession.open(path).card for key, path in paths.items()}
    costs = {cost.name: cost for cost in benchmark_models(paths, threads=1, repeats=REPEATS).models}
    entries = [_entry(key, cards[key], costs[key], default=key == DEFAULT) for key in paths]
    if json_file:
        write_json(json_file, entries)
    elif name is None:
        _print_table(entries)
    else:
        _print_card(entries[0])


def _entry(name: str, card: "ModelCard", cost: "ModelCost", *, default: bool) -> dict[str, Any]:
    return {
        **asdict(card),
        "name": name,
        "default": default,
        "size_bytes": cost.size_bytes,
        "parameters": cost.count.parameters if cost.count else None,
        "multiply_adds": cost.count.multiply_adds if cost.count else None,
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
        "parameters": _millions(entry),
        "speed": f"{entry['median_ms']:.2f} ms for one face on this machine, one thread, median of {REPEATS}",
        "training data": ", ".join(entry["training_data"]),
        "recipe": entry["recipe"],
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
    return "unknown" if entry["parameters"] is None else f"{entry['parameters'] / 1e6:.2f} M"
