"""One training run with Lightning's Trainer, for every task."""

import functools
import json
import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader

from canthus.training.checkpoint import BEST, CONFIG_KEY, LAST
from canthus.training.record import EpochLines, MetricsRecorder, environment

logger = logging.getLogger(__name__)

HARMLESS = (
    ".*LeafSpec.*",  # Lightning calls what torch has renamed
    ".*does not have many workers.*",  # one process makes batches ten times as fast as two cores train on them
    ".*exists and is not empty.*",  # that is what going on after a stop means
)
"""Warnings of Lightning that a user can do nothing about."""


@final
class _EntriesInCheckpoint(Callback):
    """Writes entries into every checkpoint, such as the recipe, with which it can be exported on its own."""

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._entries = entries

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint.update(self._entries)


def moving_average(averaged: Tensor, current: Tensor, steps: Tensor, *, decay: float) -> Tensor:
    """Exponential moving average whose decay starts low, so that the random initial weights soon vanish from it.

    The decay at step t is min(decay, (1 + t) / (10 + t)), as TensorFlow's ``ExponentialMovingAverage`` has it.

    Args:
        averaged: the average before this step.
        current: the weights, or a buffer, after this step.
        steps: t, number of updates before this step.
    """
    if not averaged.is_floating_point():  # counters, such as the batches a batch norm has seen
        return current
    t = float(steps)
    return torch.lerp(current, averaged, min(decay, (1 + t) / (10 + t)))


@final
@dataclass(frozen=True)
class FitSettings:
    """Length, precision and devices of a training.

    Attributes:
        monitor: metric that chooses the best checkpoint.
        mode: ``min`` or ``max``, whichever value of the metric is best.
        ema_decay, precision, clip: as in recipes.
        validate_every: epochs between two validations; a shorter training has one, at its end.
        devices: number of processes (CPU) or accelerators on this machine; more than one trains with DDP.
    """

    epochs: int
    monitor: str
    mode: str = "min"
    ema_decay: float = 0.0
    precision: str = "32-true"
    clip: float = 0.0
    validate_every: int = 1
    devices: int = 1
    accelerator: str = "auto"


def fit(
    task: L.LightningModule,
    train: DataLoader[Any],
    validation: Sequence[DataLoader[Any]],
    *,
    out: Path,
    config: Mapping[str, Any],
    settings: FitSettings,
    entries: Mapping[str, str] = MappingProxyType({}),
    write: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train a task and return the path of the best checkpoint; resume if ``out`` holds an unfinished run.

    Args:
        validation: one loader per validation set.
        out: folder of the run: ``config.json``, ``environment.json``, ``metrics.jsonl``, ``curves.png``,
            ``last.ckpt``, ``best.ckpt``.
        config: the resolved recipe, as plain data.
        entries: further entries of every checkpoint, as text.
        write: called with one line per epoch if stderr is not a terminal.
    """
    out.mkdir(parents=True, exist_ok=True)
    last = out / LAST
    checkpoint = functools.partial(ModelCheckpoint, out, enable_version_counter=False)
    best = checkpoint(BEST.removesuffix(".ckpt"), monitor=settings.monitor, mode=settings.mode)
    callbacks: list[Callback] = [
        best,
        _EntriesInCheckpoint({CONFIG_KEY: json.dumps(config), **entries}),
        MetricsRecorder(out, title=str(config.get("name", out.name))),
        ModelCheckpoint(
            out,
            LAST.removesuffix(".ckpt"),
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
        TQDMProgressBar() if sys.stderr.isatty() else EpochLines(write),
    ]
    if settings.ema_decay > 0:
        average = functools.partial(moving_average, decay=settings.ema_decay)
        callbacks.append(WeightAveraging(use_buffers=True, avg_fn=average))
    trainer = _trainer(out, settings, callbacks)
    if trainer.is_global_zero:
        (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        (out / "environment.json").write_text(json.dumps(environment(), indent=1) + "\n")
    with warnings.catch_warnings():
        for message in HARMLESS:
            warnings.filterwarnings("ignore", message=message)
        if last.exists():
            logger.info("resuming from %s", last)
        trainer.fit(task, train, list(validation), ckpt_path=last if last.exists() else None, weights_only=True)
    return Path(best.best_model_path)


def fit_briefly(task: L.LightningModule, train: DataLoader[Any], *, out: Path, settings: FitSettings) -> None:
    """Train a task in place without checkpoints, curves, validation, or averaged weights."""
    with warnings.catch_warnings():
        for message in (*HARMLESS, ".*but have no `val_dataloader`.*"):
            warnings.filterwarnings("ignore", message=message)
        _trainer(out, settings, []).fit(task, train)


def _trainer(out: Path, settings: FitSettings, callbacks: list[Callback]) -> L.Trainer:
    return L.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy="ddp" if settings.devices > 1 else "auto",
        max_epochs=settings.epochs,
        precision=settings.precision,  # type: ignore[arg-type]  # a recipe's text; Lightning refuses unknown ones
        gradient_clip_val=settings.clip or None,
        callbacks=callbacks,
        logger=False,
        default_root_dir=out,
        check_val_every_n_epoch=min(settings.validate_every, settings.epochs),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=bool(callbacks) and sys.stderr.isatty(),
        enable_checkpointing=bool(callbacks),
    )
