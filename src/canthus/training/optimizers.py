"""Optimizers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, final

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn, optim

from canthus.errors import ConfigError
from canthus.lookup import lookup
from canthus.plain_data import NOT_NEGATIVE, POSITIVE, check_ranges

OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "adadelta": optim.Adadelta,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "rmsprop": optim.RMSprop,
    "sgd": optim.SGD,
}
"""Name to optimizer class."""

FUSED = {"adam", "adamw", "sgd"}
"""Those that torch can run in one pass over the parameters, in a quarter of the time."""


@final
@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer and its settings.

    Attributes:
        name: key of ``OPTIMIZERS``.
        learning_rate: before the schedule.
        weight_decay: not applied to biases and batch norms.
        settings: further keyword arguments of the torch class (``momentum``, ``betas``, ``rho``, ``eps``).
        clip: largest norm of the gradient; 0 for no limit.
    """

    name: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    clip: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(
            self,
            learning_rate=NOT_NEGATIVE,
            weight_decay=NOT_NEGATIVE,
            clip=NOT_NEGATIVE,
        )


@final
@dataclass(frozen=True)
class ScheduleConfig:
    """Schedule of the learning rate.

    Attributes:
        name: key of ``SCHEDULES``.
        warmup_epochs: length of a linear rise at the start, on top of the schedule.
        step_epochs: epochs between two drops of ``step``.
        step_factor: factor of each drop of ``step``.
        final_factor: last factor of ``cosine`` and ``linear``, and smallest factor of ``step``.
    """

    name: str = "cosine"
    warmup_epochs: float = 0.0
    step_epochs: float = 20.0
    step_factor: float = 0.1
    final_factor: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(
            self,
            warmup_epochs=NOT_NEGATIVE,
            step_epochs=POSITIVE,
            step_factor=POSITIVE,
            final_factor=NOT_NEGATIVE,
        )


def _constant(epoch: float, epochs: float, config: ScheduleConfig) -> float:
    return 1.0


def _cosine(epoch: float, epochs: float, config: ScheduleConfig) -> float:
    """Loshchilov and Hutter (2017), "SGDR", eq. 5, without restarts."""
    progress = min(epoch / epochs, 1.0)
    return config.final_factor + (1 - config.final_factor) * 0.5 * (1 + math.cos(math.pi * progress))


def _linear(epoch: float, epochs: float, config: ScheduleConfig) -> float:
    return 1 - (1 - config.final_factor) * min(epoch / epochs, 1.0)


def _step(epoch: float, epochs: float, config: ScheduleConfig) -> float:
    return max(config.step_factor ** math.floor(epoch / config.step_epochs), config.final_factor)


SCHEDULES: dict[str, Callable[[float, float, ScheduleConfig], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
    "step": _step,
}
"""Name to factor of the learning rate as a function of (fractional epoch, number of epochs, settings)."""


def create_optimizer(network: nn.Module, config: OptimizerConfig) -> optim.Optimizer:
    """The optimizer of all parameters that require a gradient.

    It runs in one pass over the parameters where torch can do that.  With a limit on the gradient it does not, because
    Lightning does not clip for such optimizers in mixed precision.

    Raises:
        ConfigError: unknown name or settings.
    """
    factory = lookup(OPTIMIZERS, config.name, kind="optimizer")
    trained = [p for p in network.parameters() if p.requires_grad]
    groups: Iterable[dict[str, Any]] = (
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    )
    settings = dict(config.settings)
    if config.name in FUSED and not config.clip and not {"foreach", "differentiable"} & settings.keys():
        settings = {"fused": True} | settings
    try:
        return factory([g for g in groups if g["params"]], lr=config.learning_rate, **settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Optimizer {config.name!r} refuses {config.settings}: {error}") from error


@final
@dataclass(frozen=True)
class Optimization:
    """Optimizer and learning rate of a whole training.

    Attributes:
        steps: optimizer steps of one epoch.
    """

    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    epochs: int
    steps: int

    def set_up(self, network: nn.Module) -> OptimizerLRScheduler:
        """What ``LightningModule.configure_optimizers`` returns; the learning rate changes after every step.

        Raises:
            ConfigError: unknown optimizer, settings or schedule.
        """
        optimizer = create_optimizer(network, self.optimizer)
        schedule = lookup(SCHEDULES, self.schedule.name, kind="schedule")
        warmup = self.schedule.warmup_epochs

        # A plain function: the attributes of any other callable would be saved in every checkpoint.
        def factor(step: int) -> float:
            epoch = step / self.steps
            rise = (epoch + 1e-3) / warmup if epoch < warmup else 1.0
            return schedule(epoch, float(self.epochs), self.schedule) * rise

        scheduler = optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
