"""Distillation: losses that pull the features and points of a network towards those of a frozen teacher."""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from canthus.errors import ConfigError
from canthus.models.output import Output, example_output
from canthus.plain_data import NOT_NEGATIVE, Range, check_ranges


@final
@dataclass(frozen=True)
class DistillConfig:
    """Settings of distillation.

    Attributes:
        teacher: checkpoint of the teacher; empty for none.
        feature_weight: weight of loss3, on the mean features.
        output_weight: weight of the mean squared distance from the teacher's points, in the unit frame.
        width: dimension to which the mean features of both networks are projected.
        learned_target: whether the projection of the teacher's features is learned too, as the paper has it; see
            ``Distiller``.
    """

    teacher: str = ""
    feature_weight: float = 1.0
    output_weight: float = 0.0
    width: int = 256
    learned_target: bool = False

    def __post_init__(self) -> None:
        check_ranges(
            self,
            feature_weight=NOT_NEGATIVE,
            output_weight=NOT_NEGATIVE,
            width=Range(1, 65536),
        )


@final
class Teacher:
    """A network that returns ``Output``, put into eval mode and frozen; ``half`` computes in bfloat16.

    It is not an ``nn.Module``, so that a module that holds it does not save, average, copy or train its weights.
    """

    def __init__(self, network: nn.Module, *, half: bool = False) -> None:
        self._network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its types
        self._half = half
        if half:  # once and for all, where autocast would do it at every call
            for layer in network.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    layer.to(torch.bfloat16)

    def __call__(self, image: Tensor) -> Output:
        """Output for pictures ``(n, 3, s, s)`` in [0, 1], on their device."""
        with torch.no_grad(), torch.autocast(image.device.type, torch.bfloat16, enabled=self._half):
            output: Output = self._network.to(image.device)(image)
        return output

    def __deepcopy__(self, memo: dict[int, Any]) -> "Teacher":
        return self


@final
class Distiller(nn.Module):
    """The distillation loss of "mobile-distill-prune" (2024), section 3.6; both networks return ``Output.deep``.

    loss3 is the mean squared difference of the last maps of both backbones, averaged over their cells and projected to
    a common width by a 1x1 convolution each.

    Differs: the projection of the teacher is random, with orthonormal rows, and fixed.  With ``learned_target`` it is
    learned, as printed, but then both projections may shrink to zero, which has no loss.

    Raises:
        ConfigError: no weight is positive, or one of the networks returns no last map.
    """

    def __init__(self, student: nn.Module, teacher: Teacher, *, size: int, config: DistillConfig) -> None:
        super().__init__()
        if config.feature_weight + config.output_weight == 0:
            raise ConfigError("Distillation needs a feature_weight or an output_weight above zero; found 0 and 0")
        self._teacher = teacher
        self._config = config
        self.student: nn.Linear | None = None
        self.target: nn.Linear | None = None
        if config.feature_weight > 0:
            taught = teacher(torch.full((1, 3, size, size), 0.5))
            self.student = nn.Linear(_channels(example_output(student, size), "student"), config.width)
            self.target = nn.Linear(_channels(taught, "teacher"), config.width, bias=False)
            nn.init.orthogonal_(self.target.weight)
            self.target.requires_grad_(config.learned_target)

    def forward(self, image: Tensor, output: Output) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss of a batch, and its parts without weights; ``image`` is the input of the student."""
        wanted = self._teacher(image)
        loss = output.points.new_zeros(())
        parts = {}
        if self.student is not None and self.target is not None and output.deep is not None and wanted.deep is not None:
            parts["feature_loss"] = functional.mse_loss(
                self.student(output.deep.mean(dim=(2, 3))).float(),
                self.target(wanted.deep.mean(dim=(2, 3)).float()).float(),
            )
            loss = loss + self._config.feature_weight * parts["feature_loss"]
        if self._config.output_weight > 0:
            parts["output_loss"] = functional.mse_loss(output.points.float(), wanted.points.float())
            loss = loss + self._config.output_weight * parts["output_loss"]
        return loss, {name: part.detach() for name, part in parts.items()}


def _channels(output: Output, who: str) -> int:
    if output.deep is None:
        raise ConfigError(
            f"The {who} returns no last feature map to distil; use the model joint or resnet50, or feature_weight = 0"
        )
    return output.deep.shape[1]
