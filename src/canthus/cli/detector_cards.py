"""What ``canthus models`` says of face detectors."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

REPEATS = 10


def detector_entry(name: str, path: Path, *, default: bool) -> dict[str, Any]:
    """The card of a detector with its size and speed on this machine."""
    import numpy as np

    from canthus.evaluation.timing import detector_shape, latency, time_in_turns
    from canthus.runtime.sessions import DetectorSession

    session = DetectorSession.open(path)
    picture = np.random.default_rng(0).integers(0, 256, detector_shape(session.card.strides), dtype=np.uint8)
    seconds = np.concatenate(list(time_in_turns([lambda: session(picture)], rounds=REPEATS)), axis=1)
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
