"""Recipes: TOML files checked against frozen dataclasses."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast, final, get_args, get_origin, get_type_hints

from canthus.data.packs import PACK_SIZE
from canthus.data.scene_transforms import SceneAugmentation
from canthus.data.transforms import Augmentation
from canthus.errors import ConfigError
from canthus.lookup import unknown_name
from canthus.training.detection_task import DetectionLossConfig
from canthus.training.distillation import DistillConfig
from canthus.training.esr import EsrSettings
from canthus.training.optimizers import OptimizerConfig, ScheduleConfig
from canthus.training.task import PoseConfig


@final
@dataclass(frozen=True)
class TrainSource:
    """One training set.

    Attributes:
        dataset: key of ``DATASETS``.
        split: name of the split.
        weight: part of an epoch, relative to the other sets that are active.
        until: share of the training after which the set is no longer visited.
    """

    dataset: str
    split: str
    weight: float = 1.0
    until: float = 1.0


@final
@dataclass(frozen=True)
class ValidationSource:
    """One validation set; the first of a recipe decides which checkpoint is best."""

    dataset: str
    split: str

    @property
    def name(self) -> str:
        """``dataset/split``."""
        return f"{self.dataset}/{self.split}"


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

    @property
    def draws(self) -> int:
        """Pictures of one epoch, over all training sets."""
        return self.pictures_per_epoch


T = TypeVar("T")


@final
@dataclass(frozen=True)
class TrainConfig:
    """Everything that shapes a training run.

    Attributes:
        name: name of the run, and of the model it makes.
        model: key of ``MODELS``.
        epochs: number of epochs.
        faces_per_epoch: pictures drawn in one epoch, over all training sets.
        train: training sets.
        validation: validation sets; the first one chooses the best epoch.
        model_settings: the network's own arguments, such as ``width``.
        scheme: point scheme.
        conversion: variant by which sets of another scheme are converted; the default one where empty.
        size: side of the input in pixels.
        margin: side of the crop over the longer side of the face box.
        pack_size: side of the packed crops in pixels; nothing is lost from ``size * 1.8 / margin`` on.
        loss: key of ``LOSSES``, of ``HEATMAP_LOSSES`` for networks that draw heatmaps, or ``joint`` for those of both.
        loss_settings: the loss's own arguments.
        point_weights: weights of parts of the face in the loss, such as ``eyes``; the other points weigh 1.
        class_weights: whether faces of rare kinds (profiles, heads up or down, expressions, occlusions) weigh more.
        spread_weight: factor of the loss of the expected errors, where ``model_settings`` say ``spread = true``.
        pose: what the head's pose does in the training.
        distill: what a teacher does in the training.
        batch_size: faces a step and process.
        seed: of weights, order and augmentation.
        init: checkpoint, or plain file of weights, that the network starts from; random weights where empty.
        ema_decay: decay of the averaged weights per step; 0 for no average.
        precision: ``32-true`` or ``bf16-mixed``.
        validate_every: epochs between two validations.
        augmentation: strengths of the random changes.
        optimizer: which optimizer, with what.
        schedule: how the learning rate moves.
    """

    name: str
    model: str
    epochs: int
    faces_per_epoch: int
    train: tuple[TrainSource, ...]
    validation: tuple[ValidationSource, ...]
    model_settings: dict[str, Any] = field(default_factory=dict)
    scheme: str = "ibug_68"
    conversion: str = ""
    size: int = 112
    margin: float = 1.3
    pack_size: int = PACK_SIZE
    loss: str = "wing"
    loss_settings: dict[str, Any] = field(default_factory=dict)
    point_weights: dict[str, Any] = field(default_factory=dict)
    class_weights: bool = False
    spread_weight: float = 1.0
    pose: PoseConfig = field(default_factory=PoseConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    batch_size: int = 64
    seed: int = 0
    init: str = ""
    ema_decay: float = 0.999
    precision: str = "32-true"
    validate_every: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    @property
    def draws(self) -> int:
        """Pictures of one epoch, over all training sets."""
        return self.faces_per_epoch


Recipe = TrainConfig | DetectorConfig
"""What ``canthus train`` takes."""


@final
@dataclass(frozen=True)
class FitConfig:
    """Everything that shapes a cascade of ferns, which is fitted in one go.

    Attributes:
        name: of the model.
        train: sets to learn from; ``weight`` and ``until`` do not apply.
        validation: sets whose errors go into the model card.
        scheme: point scheme.
        size: side of the crop in pixels.
        margin: side of the crop over the longer side of the face box.
        seed: of all that is random.
        augmentation: what each picture and its mirror image go through once; ``flip`` must stay 0.
        cascade: sizes.
    """

    name: str
    train: tuple[TrainSource, ...]
    validation: tuple[ValidationSource, ...] = ()
    scheme: str = "ibug_68"
    size: int = 128
    margin: float = 1.3
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    cascade: EsrSettings = field(default_factory=EsrSettings)


FITTED = "fitted"
"""Folder of the recipes that ``canthus fit`` takes, below those of ``canthus train``."""


def recipe_names(folder: str = "") -> list[str]:
    """Names of the recipes that come with the package; ``folder`` is empty or ``FITTED``."""
    place = files("canthus.recipes") / folder if folder else files("canthus.recipes")
    return sorted(entry.name.removesuffix(".toml") for entry in place.iterdir() if entry.name.endswith(".toml"))


def load_recipe(recipe: str, changes: Sequence[str] = ()) -> TrainConfig:
    """Read the recipe of a landmark network by name or path and apply ``key=value`` changes.

    Args:
        recipe: a name that ``recipe_names`` lists, or the path of a TOML file.
        changes: such as ``optimizer.learning_rate=0.01`` or ``train.0.weight=2``; values are TOML.

    Raises:
        ConfigError: no such recipe, not TOML, an unknown field (with a suggestion), a value of the wrong type, or the
            recipe of something else.
    """
    config = load_any_recipe(recipe, changes)
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"{recipe} is the recipe of a face detector, not of a landmark network")
    return config


def load_any_recipe(recipe: str, changes: Sequence[str] = ()) -> Recipe:
    """Read the recipe of a landmark network or of a face detector; as ``load_recipe`` otherwise."""
    return read_config(_recipe_values(recipe, changes, ""))


def load_fit(recipe: str, changes: Sequence[str] = ()) -> FitConfig:
    """``load_recipe`` for a cascade of ferns.

    Raises:
        ConfigError: as ``load_recipe``.
    """
    return from_values(FitConfig, _recipe_values(recipe, changes, FITTED))


def _recipe_values(recipe: str, changes: Sequence[str], folder: str) -> dict[str, Any]:
    path = Path(recipe)
    if path.suffix == ".toml":
        if not path.is_file():
            raise ConfigError(f"{recipe}: no such recipe file")
        text = path.read_text()
    elif recipe in recipe_names(folder):
        text = (files("canthus.recipes") / folder / f"{recipe}.toml").read_text()
    else:
        raise unknown_name(recipe, recipe_names(folder), kind="recipe")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{recipe}: not valid TOML: {error}") from error
    return changed_values(values, changes)


def changed_values(values: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Plain data of a recipe, changed in place by ``key=value``; see ``load_recipe``.

    Raises:
        ConfigError: a change that cannot be read, or of a place that the recipe does not have.
    """
    for change in changes:
        _apply(values, change)
    return values


def read_config(values: Mapping[str, Any]) -> Recipe:
    """The recipe that plain data stands for: of a face detector where it says so, else of a landmark network.

    Raises:
        ConfigError: see ``from_values``.
    """
    if values.get("task") == TASK:
        return from_values(DetectorConfig, values)
    return from_values(TrainConfig, values)


def dataset_root(roots: Mapping[str, Path], dataset: str) -> Path:
    """Folder of a dataset.

    Raises:
        ConfigError: ``roots`` does not have it.
    """
    if dataset not in roots:
        raise ConfigError(
            f"The dataset {dataset!r} is needed; say where it is with --data DIR (a folder that holds {dataset}/) or "
            f"--root {dataset}=DIR"
        )
    return roots[dataset]


def to_values(config: Any) -> dict[str, Any]:
    """A config as plain data, ready for JSON; ``from_values`` reads it back."""
    return asdict(config)


def _apply(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals:
        raise ConfigError(f"Cannot read the change {change!r}; expected key=value, such as epochs=20")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.strip().split(".")
    place: Any = values
    for parent in parents:
        place = _item(place, parent, key)
    if isinstance(place, list):
        _item(place, last, key)
        place[int(last)] = value
    else:
        place[last] = value


def _item(place: Any, name: str, key: str) -> Any:
    if isinstance(place, dict):
        return place.setdefault(name, {})
    if isinstance(place, list) and name.isdigit() and int(name) < len(place):
        return place[int(name)]
    raise ConfigError(f"Cannot set {key!r}: the recipe has no {name!r} there")


def from_values(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Build a frozen dataclass from plain data, refusing what it does not know.

    Raises:
        ConfigError: an unknown field (with the nearest known one), a missing field, or a wrong type.
    """
    hints = get_type_hints(cls)
    names = {f.name for f in fields(cast(Any, cls))}
    for name in values:
        if name not in names:
            raise unknown_name(f"{where}{name}", [where + n for n in names], kind="setting")
    made = {}
    for f in fields(cast(Any, cls)):
        if f.name in values:
            made[f.name] = _convert(hints[f.name], values[f.name], f"{where}{f.name}")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"The setting {where}{f.name!r} is missing; expected {_type_name(hints[f.name])}")
    return cls(**made)


def _convert(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind) and isinstance(value, Mapping):
        return from_values(cast(Any, kind), value, f"{where}.")
    origin = get_origin(kind)
    if origin is tuple and isinstance(value, list | tuple):
        inner = get_args(kind)[0]
        return tuple(_convert(inner, item, f"{where}.{i}") for i, item in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return dict(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise ConfigError(f"The setting {where!r} must be {_type_name(kind)}, not {value!r}")


def _type_name(kind: Any) -> str:
    if is_dataclass(kind):
        return "a table"
    origin = get_origin(kind)
    if origin is tuple:
        return "a list"
    if origin is dict:
        return "a table"
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return names.get(kind, str(kind))
