"""Recipes: TOML files checked against frozen dataclasses."""

import contextlib
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, final

from canthus.data import dataset_root as dataset_root  # noqa: PLC0414  documented here
from canthus.data.packs import PACK_SIZE
from canthus.data.scene_transforms import SceneAugmentation
from canthus.data.transforms import Augmentation
from canthus.errors import ConfigError
from canthus.lookup import lookup, unknown_name
from canthus.plain_data import CHANCE, COUNT, NOT_NEGATIVE, POSITIVE, Range, check_ranges, checked_name
from canthus.plain_data import from_values as from_values  # noqa: PLC0414  documented here
from canthus.plain_data import to_values as to_values  # noqa: PLC0414
from canthus.runtime.cards import MARGINS, SIDES
from canthus.schemes import Scheme, carried_scheme, find_scheme, own_scheme
from canthus.training.detection_task import DetectionLossConfig
from canthus.training.distillation import DistillConfig
from canthus.training.esr import EsrSettings
from canthus.training.optimizers import OptimizerConfig, ScheduleConfig
from canthus.training.task import PoseConfig

Progress = Callable[[str, int, int], None]
"""Callback with (what, done, total)."""


@final
@dataclass(frozen=True)
class TrainSource:
    """One training set.

    Attributes:
        dataset: name of a dataset.
        split: part of the dataset, such as ``fit``.
        weight: share of an epoch, relative to the other sets in use.
        until: fraction of the training after which the set is no longer used.
        adapt: adaptation of its labels, a name of the package or a file of ``canthus data adapt``; empty for none.
        teacher: checkpoint or export of a landmark network, or the name of an embedded one, whose points are mixed
            into the labels; or predictions of these faces (.json, as ``canthus evaluate --out`` writes it); empty for
            none.  The input of a network may have another side and margin than that of the recipe.
        teacher_share: share of the teacher's points in the labels: 0 leaves the labels, 1 replaces them.
    """

    dataset: str
    split: str
    weight: float = 1.0
    until: float = 1.0
    adapt: str = ""
    teacher: str = ""
    teacher_share: float = 0.5

    def __post_init__(self) -> None:
        check_ranges(
            self,
            weight=POSITIVE,
            until=Range(0, 1, open=True),
            teacher_share=CHANCE,
        )

    @property
    def name(self) -> str:
        """``dataset/split``."""
        return f"{self.dataset}/{self.split}"


@final
@dataclass(frozen=True)
class ValidationSource:
    """One validation set; its labels are never adapted.

    Attributes:
        dataset: name of a dataset.
        split: part of the dataset, such as ``validation``.
    """

    adapt: ClassVar[str] = ""
    dataset: str
    split: str

    @property
    def name(self) -> str:
        """``dataset/split``."""
        return f"{self.dataset}/{self.split}"


TASK = "detector"

UNITS = dict.fromkeys(("pixels", "sides"))
"""Units of points in a loss."""
PRECISIONS = dict.fromkeys(("32-true", "bf16-mixed", "16-mixed"))
"""Precisions of a training, by Lightning's names."""
_SIDE, _CROP_SIDE, _SEED = Range(8, 4096), Range(8, SIDES.most), Range(0, 2**32 - 1)
_LENGTH = {"epochs": COUNT, "batch_size": COUNT, "validate_every": COUNT, "seed": _SEED, "ema_decay": CHANCE}


def _refuse_teachers(sources: Sequence[TrainSource], what: str) -> None:
    """Refuse teachers where labels are not mixed with their points."""
    if source := next((source for source in sources if source.teacher), None):
        raise ConfigError(
            f"{source.name} has teacher = {source.teacher!r}; {what} learns from labels as they are. Leave it out"
        )


@final
@dataclass(frozen=True)
class DetectorConfig:
    """Settings of the training of a face detector.

    The settings that ``TrainConfig`` has too mean the same, with pictures for faces.

    Attributes:
        pictures_per_epoch: pictures drawn in one epoch, over all training sets.
        validation: validation sets; the mean average precision over those with complete labels chooses the best epoch.
        task: always ``detector``; recipes of landmark networks have no ``task``.
        sizes: sides of the training pictures in pixels, multiples of 32; each batch draws one of them.
        inference_size: longer side to which pictures are resized for validation and in use.
        score: score below which faces are left out in use.
        init: checkpoint or plain file of weights of a face detector to start from; empty for random weights.
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

    def __post_init__(self) -> None:
        checked_name(self.name, what="recipe")
        lookup(PRECISIONS, self.precision, kind="precision")
        if source := next((source for source in self.train if source.adapt), None):
            raise ConfigError(f"{source.name} has adapt = {source.adapt!r}; labels of face detectors are not adapted")
        _refuse_teachers(self.train, "a face detector")
        check_ranges(
            self,
            **_LENGTH,
            pictures_per_epoch=COUNT,
            sizes=Range(32, 4096),
            inference_size=Range(32, 8192),
            score=CHANCE,
        )

    @property
    def draws(self) -> int:
        """Pictures of one epoch."""
        return self.pictures_per_epoch


@final
@dataclass(frozen=True)
class TrainConfig:
    """Settings of the training of a landmark network.

    Attributes:
        name: name of the run and of its model.
        model: name of the network.
        epochs: length of the training; an epoch is ``faces_per_epoch`` faces.
        faces_per_epoch: faces drawn in one epoch, over all training sets.
        train: training sets.
        validation: validation sets; the first one chooses the best epoch.
        model_settings: keyword arguments of the network, such as ``width``.
        scheme: name of the point scheme, or in a TOML file the path of a scheme file.
        own_scheme: the point scheme, if it is none of canthus; read from the scheme file.
        conversion: variant by which sets of another scheme are converted; empty for the default.
        size: side of the input in pixels.
        margin: side of the crop over the longer side of the face box.
        pack_size: side of the packed crops in pixels; ``size * 1.8 / margin`` or more keeps all detail.
        loss: name of the loss of points in pixels of the input; ``heatmap_l2`` for networks with heatmaps, or
            ``joint`` for networks with both.
        loss_settings: keyword arguments of the loss.
        loss_unit: unit of the points that the loss compares: ``pixels`` of the input, or ``sides`` of the crop.
        point_weights: weights of parts of the face in the loss, such as ``eyes``; the other points weigh 1.
        class_weights: whether rare faces (profiles, heads up or down, expressions, occlusions) weigh more.
        class_weight_sum: whether the weight of a face is the sum over its classes, as PFLD prints it, not their mean.
        spread_weight: weight of the loss of the expected errors, with ``model_settings.spread = true``.
        batch_size: faces per step and process.
        seed: random seed of weights, order and augmentation.
        init: checkpoint or exported model to start from, which must fit as a whole but for the number of points, or a
            plain file of weights, of which the tensors that fit are taken; empty for random weights.
        ema_decay: decay per step of the averaged weights; 0 for no average.
        precision: ``32-true``, or ``bf16-mixed``, which is nearly twice as fast on processors with AVX-512 BF16 or AMX;
            x86 processors without them compute in 32 bits all the same, see ``training.fit.usable_precision``.
        validate_every: epochs between two validations.
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
    loss_unit: str = "pixels"
    point_weights: dict[str, Any] = field(default_factory=dict)
    class_weights: bool = False
    class_weight_sum: bool = False
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
    own_scheme: Scheme | None = None

    def __post_init__(self) -> None:
        checked_name(self.name, what="recipe")
        self.find_scheme()
        lookup(PRECISIONS, self.precision, kind="precision")
        lookup(UNITS, self.loss_unit, kind="loss_unit")
        if self.class_weight_sum and not self.class_weights:
            raise ConfigError("class_weight_sum says how class weights are joined; set class_weights = true as well")
        if self.augmentation.lost and not self.model_settings.get("spread"):
            raise ConfigError(
                "augmentation.lost makes crops from which only the expected errors of the points learn; set "
                "model_settings.spread = true, or augmentation.lost = 0"
            )
        check_ranges(
            self,
            **_LENGTH,
            faces_per_epoch=COUNT,
            size=_CROP_SIDE,
            margin=MARGINS,
            pack_size=_SIDE,
            point_weights=NOT_NEGATIVE,
            spread_weight=NOT_NEGATIVE,
        )

    @property
    def draws(self) -> int:
        """Pictures of one epoch."""
        return self.faces_per_epoch

    def find_scheme(self) -> Scheme:
        """The point scheme."""
        return carried_scheme(self.scheme, self.own_scheme)


Recipe = TrainConfig | DetectorConfig
"""Recipes of ``canthus train``."""


@final
@dataclass(frozen=True)
class FitConfig:
    """Settings of a cascade of ferns.

    Attributes:
        train: training sets; their ``weight`` and ``until`` are not used.
        validation: sets whose errors go into the model card.
        scheme, own_scheme: as in ``TrainConfig``.
        size, margin: of the crop, as in ``TrainConfig``.
        augmentation: applied once to each picture and to its mirror image; ``flip`` must stay 0.
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
    own_scheme: Scheme | None = None

    def __post_init__(self) -> None:
        checked_name(self.name, what="recipe")
        self.find_scheme()
        _refuse_teachers(self.train, "a cascade of ferns")
        if self.augmentation.lost:
            raise ConfigError("A cascade of ferns predicts no errors of its points; set augmentation.lost = 0")
        check_ranges(self, size=_CROP_SIDE, margin=MARGINS, seed=_SEED)

    def find_scheme(self) -> Scheme:
        """The point scheme."""
        return carried_scheme(self.scheme, self.own_scheme)


def dataset_names(config: TrainConfig | DetectorConfig | FitConfig) -> list[str]:
    """Names of the datasets that a recipe trains or validates on."""
    return sorted({s.dataset for s in config.train} | {v.dataset for v in config.validation})


FITTED = "fitted"
"""Folder of the recipes for ``canthus fit``, inside the folder of those for ``canthus train``."""


def recipe_names(folder: str = "") -> list[str]:
    """Names of the recipes in the package for ``canthus train``; with ``FITTED``, for ``canthus fit``."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in files("canthus.recipes").joinpath(folder).iterdir()
        if entry.name.endswith(".toml")
    )


def load_recipe(recipe: str, changes: Sequence[str] = ()) -> TrainConfig:
    """Read the recipe of a landmark network and apply ``key=value`` changes.

    Args:
        recipe: a name that ``recipe_names`` lists, or the path of a TOML file.
        changes: such as ``optimizer.learning_rate=0.01`` or ``train.0.weight=2``; values are TOML.

    Raises:
        ConfigError: no such recipe, not TOML, an unknown field (with a suggestion), a value of the wrong type, or the
            recipe of a face detector.
    """
    config = load_any_recipe(recipe, changes)
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"{recipe} is the recipe of a face detector; expected that of a landmark network")
    return config


def load_any_recipe(recipe: str, changes: Sequence[str] = ()) -> Recipe:
    """Read the recipe of a landmark network or of a face detector, as ``load_recipe`` does."""
    return read_config(_recipe_values(recipe, changes), source=recipe)


def load_fit(recipe: str, changes: Sequence[str] = ()) -> FitConfig:
    """Read the recipe of a cascade of ferns, as ``load_recipe`` does."""
    return from_values(FitConfig, _recipe_values(recipe, changes, FITTED), source=recipe)


def _recipe_values(recipe: str, changes: Sequence[str], folder: str = "") -> dict[str, Any]:
    path = Path(recipe)
    if path.suffix == ".toml":
        if not path.is_file():
            raise ConfigError(f"{recipe}: no such recipe file")
        text = path.read_text()
    elif recipe in recipe_names(folder):
        text = files("canthus.recipes").joinpath(folder, f"{recipe}.toml").read_text()
    else:
        raise unknown_name(recipe, recipe_names(folder), kind="recipe")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{recipe}: not valid TOML: {error}") from error
    # A path in the recipe is relative to it, one on the command line to the current folder.
    return _with_scheme(changed_values(_with_scheme(values, path.parent), changes), Path())


def _with_scheme(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe that names a scheme file, with its scheme instead."""
    name = values.get("scheme")
    if not isinstance(name, str):
        return values
    if name.endswith(".toml"):
        beside = folder / name
        scheme = find_scheme(str(beside if beside.is_file() else name))
        return values | {"scheme": scheme.name, "own_scheme": _plain(own_scheme(scheme))}
    own = values.get("own_scheme")
    replaced = isinstance(own, dict) and own.get("name") != name  # by a name on the command line
    return values | {"own_scheme": None} if replaced else values


def _plain(scheme: Scheme | None) -> dict[str, Any] | None:
    return None if scheme is None else to_values(scheme)


def read_config(values: Mapping[str, Any], *, source: str = "") -> Recipe:
    """The recipe in plain data: of a face detector with ``task = "detector"``, else of a landmark network.

    Raises:
        ConfigError: see ``from_values``.
    """
    if values.get("task") == TASK:
        return from_values(DetectorConfig, values, source=source)
    return from_values(TrainConfig, values, source=source)


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as read back from JSON: tuples become lists."""
    made: dict[str, Any] = json.loads(json.dumps(values))
    return made


def completed(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Settings of an earlier version with the defaults of the fields that were added since, as JSON has them."""
    with contextlib.suppress(ConfigError):
        return as_json(to_values(from_values(kind, values)))
    return values


def changed_values(values: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Apply ``key=value`` changes to the plain data of a recipe, in place; see ``load_recipe``.

    Raises:
        ConfigError: a change that cannot be read, or of an entry that the recipe does not have.
    """
    for change in changes:
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
    return values


def _item(place: Any, name: str, key: str) -> Any:
    if isinstance(place, dict):
        return place.setdefault(name, {})
    if isinstance(place, list) and name.isdigit() and int(name) < len(place):
        return place[int(name)]
    raise ConfigError(f"Cannot set {key!r}: the recipe has no {name!r} there")
