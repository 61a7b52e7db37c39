"""Lightning's Trainer, set up once for every task."""

import functools
import json
import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader

from canthus.training.checkpoint import BEST, LAST
from canthus.training.loader import Batch
from canthus.training.record import EpochLines, MetricsRecorder, environment

logger = logging.getLogger(__name__)


@final
class _ConfigInCheckpoint(Callback):
    """Writes the resolved recipe into every checkpoint, so that it can be exported on its own."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._text = json.dumps(config)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["canthus_config"] = self._text


def moving_average(averaged: Tensor, current: Tensor, steps: Tensor, *, decay: float) -> Tensor:
    """Exponential moving average whose decay starts low, so that the random start weights are soon forgotten.

    The decay at step t is min(decay, (1 + t) / (10 + t)), as TensorFlow's ``ExponentialMovingAverage`` has it.

    Args:
        averaged: the average so far.
        current: the weights, or a buffer, after this step.
        steps: t, updates so far.
        decay: limit of the decay for large t.
    """
    if not averaged.is_floating_point():  # counters, such as the batches a batch norm has seen
        return current
    t = float(steps)
    return torch.lerp(current, averaged, min(decay, (1 + t) / (10 + t)))


def fit(
    task: L.LightningModule,
    train: DataLoader[Batch],
    validation: Sequence[DataLoader[Batch]],
    *,
    out: Path,
    config: Mapping[str, Any],
    epochs: int,
    monitor: str,
    ema_decay: float,
    precision: str,
    clip: float,
    devices: int = 1,
    accelerator: str = "auto",
    validate_every: int = 1,
    write: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train a task; go on where an earlier run in ``out`` was cut off.

    Args:
        task: what is learned.
        train: training batches.
        validation: one loader a validation set.
        out: folder of the run: ``config.json``, ``environment.json``, ``metrics.jsonl``, ``curves.png``,
            ``last.ckpt``, ``best.ckpt``.
        config: the resolved recipe, as plain data.
        epochs: number of epochs.
        monitor: metric whose least value is the best checkpoint.
        ema_decay: decay of the averaged weights per step; 0 for no average.
        precision: as Lightning names it: ``32-true``, ``bf16-mixed``.
        clip: largest norm of the gradient; 0 for no limit.
        devices: processes (CPU) or accelerators on this machine; more than one trains with DDP.
        accelerator: ``auto``, ``cpu``, ``gpu``.
        validate_every: epochs between two validations.
        write: takes one line an epoch where stderr is no terminal.

    Returns:
        Path of the best checkpoint.
    """
    out.mkdir(parents=True, exist_ok=True)
    last = out / LAST
    terminal = sys.stderr.isatty()
    best = ModelCheckpoint(out, BEST.removesuffix(".ckpt"), monitor=monitor, mode="min", enable_version_counter=False)
    callbacks: list[Callback] = [
        MetricsRecorder(out, title=str(config.get("name", out.name))),
        best,
        ModelCheckpoint(out, LAST.removesuffix(".ckpt"), every_n_epochs=1, enable_version_counter=False),
        _ConfigInCheckpoint(config),
        TQDMProgressBar() if terminal else EpochLines(write),
    ]
    if ema_decay > 0:
        callbacks.append(WeightAveraging(use_buffers=True, avg_fn=functools.partial(moving_average, decay=ema_decay)))
    trainer = L.Trainer(
        accelerator=accelerator,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        max_epochs=epochs,
        precision=precision,  # type: ignore[arg-type]
        gradient_clip_val=clip or None,
        callbacks=callbacks,
        logger=False,
        default_root_dir=out,
        check_val_every_n_epoch=validate_every,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=terminal,
    )
    if trainer.is_global_zero:
        (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        (out / "environment.json").write_text(json.dumps(environment(), indent=1) + "\n")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        if last.exists():
            logger.info("going on from %s", last)
        trainer.fit(task, train, list(validation), ckpt_path=last if last.exists() else None, weights_only=True)
    return Path(best.best_model_path)
