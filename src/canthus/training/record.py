"""Records of a training: environment, metrics and curves."""

import functools
import json
import math
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, final

import lightning as L
from lightning.pytorch.callbacks import Callback

from canthus.errors import DataError
from canthus.files import write_text, written
from canthus.lookup import require


def environment() -> dict[str, Any]:
    """Versions, machine and commit that a result depends on."""
    packages = {}
    for name in ("canthus", "torch", "lightning", "numpy", "opencv-python-headless", "onnx", "onnxruntime"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "absent"
    return {"python": platform.python_version(), "machine": platform.machine(), "commit": _commit(), **packages}


def _commit() -> str:
    """Commit of the source tree, with ``+`` if it has changes; empty outside a checkout."""
    ask = functools.partial(
        subprocess.run, cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
    )
    try:
        head, state = ask(["git", "rev-parse", "--short=12", "HEAD"]), ask(["git", "status", "--porcelain", "."])
    except (OSError, subprocess.SubprocessError):
        return ""
    return str(head.stdout.strip()) + ("+" if state.stdout.strip() else "")


PLOT_EVERY = 10
"""Epochs between two drawings of the curves."""


@final
class MetricsRecorder(Callback):
    """Appends one JSON line per epoch to ``metrics.jsonl`` and redraws ``curves.png``.

    When a run resumes, lines of epochs that are trained again are removed first, so the file holds one unbroken curve.
    """

    def __init__(self, out: Path, *, title: str) -> None:
        self._path = out / "metrics.jsonl"
        self._plot = out / "curves.png"
        self._title = title
        self._rows: list[dict[str, float]] = []
        self._start = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._path.exists():
            self._rows = [row for row in _read_rows(self._path) if row["epoch"] < trainer.current_epoch]

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        row = {"epoch": trainer.current_epoch, "seconds": round(time.monotonic() - self._start, 2)}
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        row.update(_metrics_of_epoch(trainer))
        self._rows.append(row)
        write_text(self._path, "".join(json.dumps(r) + "\n" for r in self._rows))
        if trainer.current_epoch % PLOT_EVERY == 0 or trainer.current_epoch + 1 == trainer.max_epochs:
            plot_curves(self._rows, self._plot, title=self._title)


def _read_rows(path: Path) -> Iterator[dict[str, float]]:
    """The lines of ``metrics.jsonl``.

    Raises:
        DataError: one is damaged.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row["epoch"], int):
                raise TypeError("no line of an epoch")
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}:{number}: damaged or cut off ({error}); delete the line, then go on") from error
        yield row


def _metrics_of_epoch(trainer: L.Trainer) -> dict[str, float]:
    """Metrics of this epoch; Lightning alone would repeat those of the last validation."""
    every = trainer.check_val_every_n_epoch
    validated = every is None or (trainer.current_epoch + 1) % every == 0
    found = sorted(trainer.callback_metrics.items())
    numbers = {name: float(value) for name, value in found if validated or name.startswith("train/")}
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


@final
class EpochLines(Callback):
    """Writes one line per epoch, for logs that are not a terminal."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            metrics = "  ".join(f"{name} {value:.4f}" for name, value in _metrics_of_epoch(trainer).items())
            self._write(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {metrics}")


def plot_curves(rows: Sequence[Mapping[str, float]], path: Path, *, title: str) -> None:
    """Draw the training loss (left axis) and the validation metrics in percent (right axis) against epochs.

    Args:
        rows: one mapping per epoch with ``epoch``, ``train/loss`` and any ``.../nme_ion`` or ``.../nme_longer``
            (landmarks) or ``.../ap_50`` (face detectors).

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    figure_module = require("matplotlib.figure", extra="plots")
    figure = figure_module.Figure(figsize=(8, 4.5), layout="constrained")
    left = figure.subplots()
    epochs = [row["epoch"] + 1 for row in rows]
    left.plot(epochs, [row.get("train/loss", math.nan) for row in rows], color="0.6", label="training loss")
    left.set(xlabel="epoch", ylabel="training loss", title=title)
    right = left.twinx()
    if any(name.endswith("/ap_50") for row in rows for name in row):
        _draw(right, rows, suffix="/ap_50", best=max)
        right.set_ylim(0, 100)
        right.set_ylabel("average precision, overlap 0.5 (%)")
    else:
        own = any(name.endswith("/nme_longer") for row in rows for name in row)
        suffix, scale = ("/nme_longer", "longer side of the face box") if own else ("/nme_ion", "inter-ocular")
        late = [v for values in _draw(right, rows, suffix=suffix, best=min) for v in values[len(values) // 10 :]]
        if late:
            right.set_ylim(0.95 * min(late), min(max(late) * 1.05, 4 * min(late)))
        right.set_ylabel(f"NME, {scale} (%)")
    right.grid(alpha=0.3)
    lines = [*left.get_lines(), *right.get_lines()]
    right.legend(lines, [line.get_label() for line in lines])
    with written(path) as aside:
        figure.savefig(aside, dpi=110)


def _draw(axes: Any, rows: Sequence[Mapping[str, float]], *, suffix: str, best: Any) -> list[list[float]]:
    """Draw one line per validation set, over the epochs with a validation; return its values in percent."""
    drawn = []
    for colour, name in enumerate(sorted({n for row in rows for n in row if n.endswith(suffix)})):
        places = [(row["epoch"] + 1, 100 * row[name]) for row in rows if not math.isnan(row.get(name, math.nan))]
        values = [value for _, value in places]
        label = f"{name.removesuffix(suffix)}: best {best(values, default=math.nan):.2f} %"
        few = "o" if len(places) < 10 else None
        axes.plot([epoch for epoch, _ in places], values, color=f"C{colour}", marker=few, label=label)
        drawn.append(values)
    return drawn
