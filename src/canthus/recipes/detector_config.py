"""Recipes of face detectors."""

from dataclasses import dataclass, field
from typing import Any, final

from canthus.data.scene_transforms import SceneAugmentation
from canthus.recipes.sources import TrainSource, ValidationSource
from canthus.training.detection_task import DetectionLossConfig
from canthus.training.optimizers import OptimizerConfig, ScheduleConfig

TASK = "detector"


@final
@dataclass(frozen=True)
class DetectorConfig:
    """Everything that shapes the training of a face detector.

    Attributes:
        name: name of the run, and of the model it makes.
        epochs: number of epochs.
        pictures_per_epoch: pictures drawn in one epoch, over all training sets.
        train: training sets, keys of ``SCENE_SETS``.
        validation: validation sets; the mean average precision over those with complete labels chooses the best epoch.
        task: tells these recipes from those of landmark networks.
        model_settings: the network's own arguments, such as ``width``.
        sizes: sides of the training pictures in pixels, multiples of 32; each batch draws one of them.
        inference_size: longer side to which pictures are brought in validation and later.
        score: least score of a face in use.
        batch_size: pictures a step and process.
        seed: of weights, order and augmentation.
        init: checkpoint of a face detector that the network starts from; random weights where empty.
        ema_decay: decay of the averaged weights per step; 0 for no average.
        precision: ``32-true`` or ``bf16-mixed``.
        validate_every: epochs between two validations.
        loss: weights of the losses.
        augmentation: strengths of the random changes.
        optimizer: which optimizer, with what.
        schedule: how the learning rate moves.
    """

    name: str
    epochs: int
    pictures_per_epoch: int
    train: tuple[TrainSource, ...]
    validation: tuple[ValidationSource, ...]
    task: str = TASK
    model_settings: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[int, ...] = (256,)
    inference_size: int = 640
    score: float = 0.5
    batch_size: int = 32
    seed: int = 0
    init: str = ""
    ema_decay: float = 0.998
    precision: str = "32-true"
    validate_every: int = 1
    loss: DetectionLossConfig = field(default_factory=DetectionLossConfig)
    augmentation: SceneAugmentation = field(default_factory=SceneAugmentation)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
