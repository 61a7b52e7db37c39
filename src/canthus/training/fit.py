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
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader

from canthus.errors import ConfigError, ModelFileError
from canthus.models.weights import read_weights_file, write_weights_file
from canthus.training.checkpoint import BEST, CONFIG, CONFIG_KEY, LAST, read_checkpoint
from canthus.training.record import EpochLines, MetricsRecorder, environment
from canthus.training.run_folder import write_record

logger = logging.getLogger(__name__)

HARMLESS = (
    ".*LeafSpec.*",  # Lightning calls what torch has renamed
    ".*does not have many workers.*",  # one process makes batches ten times as fast as two cores train on them
    ".*exists and is not empty.*",  # that is what going on after a stop means
)
"""Warnings of Lightning that a user can do nothing about."""


def usable_precision(precision: str, accelerator: str = "auto") -> str:
    """The precision that is faster here: ``32-true`` for ``bf16-mixed`` on an x86 processor that computes without it.

    Such a processor converts every value of the type, which took 1.9 times as long as 32 bits for a training of
    ResNet-50, and 2.5 times for its output.
    """
    if precision != "bf16-mixed" or (accelerator != "cpu" and torch.accelerator.is_available()):
        return precision
    able = torch.cpu.get_capabilities()
    without = able.get("architecture") == "x86_64" and not (able.get("avx512_bf16") or able.get("amx_bf16"))
    return "32-true" if without else precision


@final
class _EntriesInCheckpoint(Callback):
    """Writes entries into every checkpoint, such as the recipe, with which it can be exported on its own."""

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._entries = entries

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint.update(self._entries)


@final
class _WholeFiles(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, with a digest, and compares it when they are read."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_weights_file(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_weights_file(Path(path))


@final
class _RunCheckpoint(ModelCheckpoint):
    """Keeps ``last.ckpt``, or the checkpoint of the best finite metric, also where the folder of the run was moved."""

    @property
    def state_key(self) -> str:
        """The key under which checkpoints hold the state of this callback, the same in all versions."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        return current is not None and bool(torch.isfinite(current)) and super().check_monitor_top_k(trainer, current)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = str(Path(self.dirpath or "") / f"{self.filename}{self.FILE_EXTENSION}")
        named = ("best_model_path", "kth_best_model_path", "last_model_path")
        paths = {name: own for name in named if state_dict.get(name)}
        scores = dict(zip([own], state_dict["best_k_models"].values(), strict=False))
        super().load_state_dict({**state_dict, **paths, "best_k_models": scores, "dirpath": self.dirpath})


LOOKED_AT = 16
"""Steps between two looks at the loss on an accelerator, where each look waits for the device."""


@final
class _StopAtNonFinite(Callback):
    """Ends a training whose loss or weights are no finite numbers, before they reach a checkpoint."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        loss, batch_idx = outputs["loss"], trainer.fit_loop.batch_idx
        if (loss.device.type == "cpu" or batch_idx % LOOKED_AT == 0) and not torch.isfinite(loss):
            raise _not_finite(trainer, f"step {batch_idx + 1}: the loss is {float(loss):g}")

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.on_train_epoch_end(trainer, pl_module)  # before the validation, whose checkpoint is the best one

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not all(bool(torch.isfinite(p).all()) for p in pl_module.parameters()):
            raise _not_finite(trainer, "at its end: the weights are not finite")


def _not_finite(trainer: L.Trainer, what: str) -> ConfigError:
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    return ConfigError(
        f"Epoch {trainer.current_epoch + 1}, {what}, so the training was stopped; checkpoints of earlier epochs are "
        f"kept. Lower optimizer.learning_rate (here {rate:.3g}), or bound the gradient with optimizer.clip=1, and "
        "choose another --out"
    )


def moving_averages(averaged: list[Tensor], current: list[Tensor], steps: Tensor, *, decay: float) -> None:
    """Exponential moving averages whose decay starts low, so that the random initial weights soon vanish from them.

    The decay at step t is min(decay, (1 + t) / (10 + t)), as TensorFlow's ``ExponentialMovingAverage`` has it.
    Nothing here waits for an accelerator.

    Args:
        averaged: the averages before this step, which are replaced; all on one device and of one type.
        current: the weights, or buffers, after this step.
        steps: t, number of updates before this step.
    """
    if not averaged[0].is_floating_point():  # counters, such as the batches a batch norm has seen
        torch._foreach_copy_(averaged, current)
        return
    t = steps.to(averaged[0].dtype)
    share = 1 - torch.clamp((1 + t) / (10 + t), max=decay)
    change = torch._foreach_sub(current, averaged)  # noqa: SLF001
    torch._foreach_mul_(change, share)
    torch._foreach_add_(averaged, change)


@final
@dataclass(frozen=True)
class FitSettings:
    """Length, precision and devices of a training.

    Attributes:
        monitor: metric that chooses the best checkpoint.
        mode: ``min`` or ``max``, whichever value of the metric is best.
        ema_decay, precision, clip: as in recipes.
        validate_every: epochs between two validations; a shorter training has one, at its end.
        devices: number of processes (CPU) or accelerators on each machine; more than one in all trains with DDP.
        nodes: number of machines.
    """

    epochs: int
    monitor: str
    mode: str = "min"
    ema_decay: float = 0.0
    precision: str = "32-true"
    clip: float = 0.0
    validate_every: int = 1
    devices: int = 1
    nodes: int = 1
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
            ``last.ckpt``, ``best.ckpt``; see ``run_folder.held``.
        config: the resolved recipe, as plain data.
        entries: further entries of every checkpoint, as text.
        write: called with one line per epoch if stderr is not a terminal.

    Raises:
        ConfigError: the loss, the weights or the errors of the validation are not finite.
        ModelFileError: ``last.ckpt`` is damaged, or cannot be resumed.
        OutputError: a file cannot be written, for example because the disk is full.
    """
    out.mkdir(parents=True, exist_ok=True)
    last = out / LAST
    checkpoint = functools.partial(_RunCheckpoint, out, enable_version_counter=False)
    best = checkpoint(BEST.removesuffix(".ckpt"), monitor=settings.monitor, mode=settings.mode)
    callbacks: list[Callback] = [
        best,
        _EntriesInCheckpoint({CONFIG_KEY: json.dumps(config), **entries}),
        MetricsRecorder(out, title=str(config.get("name", out.name))),
        checkpoint(LAST.removesuffix(".ckpt"), every_n_epochs=1, save_on_train_epoch_end=True),
        TQDMProgressBar() if sys.stderr.isatty() else EpochLines(write),
    ]
    if settings.ema_decay > 0:
        averages = functools.partial(moving_averages, decay=settings.ema_decay)
        callbacks.append(WeightAveraging(use_buffers=True, multi_avg_fn=averages))
    trainer = _trainer(out, settings, callbacks)
    if trainer.is_global_zero:
        write_record(out / CONFIG, config)
        write_record(out / "environment.json", environment() | {"precision": trainer.precision})
        if trainer.precision != settings.precision:
            write(
                f"precision {settings.precision}: this processor has no instructions for bfloat16 (AVX-512 BF16 or "
                "AMX), so that it would take longer; trained in 32 bits"
            )
    with warnings.catch_warnings():
        for message in HARMLESS:
            warnings.filterwarnings("ignore", message=message)
        resumed = last if last.exists() else None
        if resumed:
            _check_resumable(resumed)
            logger.info("resuming from %s", resumed)
        _fit(trainer, task, train, list(validation), ckpt_path=resumed, weights_only=True)
    return Path(best.best_model_path)


def _check_resumable(last: Path) -> None:
    missing = {"epoch", "loops", "callbacks", "optimizer_states", "lr_schedulers"} - read_checkpoint(last).keys()
    if missing:
        raise ModelFileError(
            f"{last}: lacks {', '.join(sorted(missing))}, so it cannot be resumed; choose another --out, or start from "
            "its weights with --set init=FILE"
        )


def fit_briefly(task: L.LightningModule, train: DataLoader[Any], *, out: Path, settings: FitSettings) -> None:
    """Train a task in place without checkpoints, curves, validation, or averaged weights."""
    with warnings.catch_warnings():
        for message in (*HARMLESS, ".*but have no `val_dataloader`.*"):
            warnings.filterwarnings("ignore", message=message)
        _fit(_trainer(out, settings, []), task, train)


def _fit(trainer: L.Trainer, *arguments: Any, **options: Any) -> None:
    """Train, and let Ctrl-C end the command as it ends all others; Lightning would exit with code 1.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the training.
    """
    try:
        trainer.fit(*arguments, **options)
    except SystemExit as end:
        if trainer.interrupted:
            raise KeyboardInterrupt from end
        raise


def _trainer(out: Path, settings: FitSettings, callbacks: Sequence[Callback]) -> L.Trainer:
    return L.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        strategy="ddp" if settings.devices * settings.nodes > 1 else "auto",
        max_epochs=settings.epochs,
        precision=usable_precision(settings.precision, settings.accelerator),  # type: ignore[arg-type]  # a recipe's text
        gradient_clip_val=settings.clip or None,
        callbacks=[_StopAtNonFinite(), *callbacks],
        plugins=[_WholeFiles()],
        logger=False,
        default_root_dir=out,
        check_val_every_n_epoch=min(settings.validate_every, settings.epochs),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=bool(callbacks) and sys.stderr.isatty(),
        enable_checkpointing=bool(callbacks),
    )
