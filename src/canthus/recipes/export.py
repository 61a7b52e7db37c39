"""A checkpoint to a verified ONNX file."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32, UInt8
from torch import nn

from canthus.data.crops import CropPack, load_crops
from canthus.data.synthetic import draw_face
from canthus.data.transforms import View, plain_view
from canthus.errors import ConfigError
from canthus.evaluation.errors import inter_ocular, normalized_error
from canthus.export.onnx import export_onnx
from canthus.export.verify import verify_export
from canthus.models import create_model
from canthus.models.weights import read_weights_file
from canthus.recipes.config import TrainConfig, from_values
from canthus.recipes.train import load_faces
from canthus.runtime.card import ModelCard
from canthus.runtime.session import LandmarkSession
from canthus.schemes import find_scheme
from canthus.training.checkpoint import CONFIG_KEY, checkpoint_config, network_weights, read_checkpoint

RESEARCH_TERMS = "research use only: trained on research datasets with non-commercial terms ({names})"
OWN_TERMS = "not stated: trained on a folder of the exporter's own; give them with --licence"


@final
@dataclass(frozen=True)
class ExportReport:
    """What an export made and how it was checked.

    Attributes:
        path: the ONNX file.
        size_bytes: its size.
        crops: pictures that torch and ONNX were compared on.
        real: True where those were real faces, False where they were drawn.
        difference_px: largest difference between the two, pixels of the crop.
        metrics: ``dataset/split/nme_ion`` of the file itself, truth boxes, fractions.
    """

    path: Path
    size_bytes: int
    crops: int
    real: bool
    difference_px: float
    metrics: Mapping[str, float]


def load_network(checkpoint: Path) -> tuple[nn.Module, TrainConfig]:
    """The network of a checkpoint with its (averaged) weights, in eval mode, and the recipe that made it.

    Raises:
        ModelFileError: not a checkpoint, or it carries no recipe.
        ConfigError: its recipe does not fit this version.
    """
    state = read_checkpoint(checkpoint)
    config = from_values(TrainConfig, checkpoint_config(state, source=checkpoint))
    points = find_scheme(config.scheme).count
    network = create_model(config.model, points=points, size=config.size, settings=config.model_settings)
    network.load_state_dict(network_weights(state))
    return network.eval(), config


def export(
    checkpoint: Path,
    path: Path,
    *,
    roots: Mapping[str, Path],
    cache: Path,
    licence: str | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> ExportReport:
    """Write a checkpoint's network as ONNX, compare it with torch, and score the file itself.

    Where the recipe's validation sets are at hand, they serve for both and their errors go into the model card;
    otherwise the comparison runs on drawn faces and the card carries no errors.

    Args:
        checkpoint: file of a run.
        path: ONNX file to write.
        roots: folder of each dataset at hand, by name.
        cache: folder of packed crops.
        licence: terms of the weights; unless given, research terms naming the training sets, or for a folder of one's
            own that none were stated.
        progress: called with (what, done, total) while crops are packed.

    Raises:
        ModelFileError: the checkpoint is unfit, or the file differs from the network.
        MissingExtraError: onnx is not installed.
    """
    network, config = load_network(checkpoint)
    card = _card(config, name=path.stem, licence=licence)
    # Written aside first, so that a file that fails the comparison never lies under the wanted name.
    unchecked = path.with_suffix(".unchecked.onnx")
    try:
        export_onnx(network, card, unchecked)
        session = LandmarkSession.open(unchecked)
        crops, real, metrics = _check_material(config, session, roots, cache, progress)
        difference = verify_export(network, session, crops)
        export_onnx(network, replace(card, metrics=metrics), unchecked)
        unchecked.replace(path)
    finally:
        unchecked.unlink(missing_ok=True)
    return ExportReport(
        path=path,
        size_bytes=path.stat().st_size,
        crops=len(crops),
        real=real,
        difference_px=difference,
        metrics=metrics,
    )


def training_sets(config: TrainConfig) -> tuple[str, ...]:
    """Names of the sets that weights have learned from, those of the stages before (``init``) first.

    Raises:
        ConfigError: the checkpoint of a stage before is gone, so that its sets cannot be named.
    """
    earlier: tuple[str, ...] = ()
    if config.init:
        path = Path(config.init)
        if not path.is_file():
            raise ConfigError(
                f"The network started from {config.init}, not here, so the card cannot name its training sets; "
                "export where the run was started"
            )
        if CONFIG_KEY in read_weights_file(path):
            before = checkpoint_config(read_checkpoint(path), source=path)
            earlier = training_sets(from_values(TrainConfig, before))
        else:
            earlier = (f"whatever made {path.name}",)
    return tuple(dict.fromkeys([*earlier, *(s.dataset for s in config.train)]))


def _card(config: TrainConfig, *, name: str, licence: str | None) -> ModelCard:
    names = training_sets(config)
    return ModelCard(
        name=name,
        architecture=config.model,
        scheme=config.scheme,
        size=config.size,
        margin=config.margin,
        training_data=names,
        licence=licence or (OWN_TERMS if names == ("folder",) else RESEARCH_TERMS.format(names=", ".join(names))),
        recipe=config.name,
    )


def _check_material(
    config: TrainConfig,
    session: LandmarkSession,
    roots: Mapping[str, Path],
    cache: Path,
    progress: Callable[[str, int, int], None],
) -> tuple[UInt8[np.ndarray, "n s s 3"], bool, dict[str, float]]:
    """Crops to compare on, whether they are real, and the file's errors on the validation sets."""
    crops: list[UInt8[np.ndarray, "n s s 3"]] = []
    metrics = {}
    for source in config.validation:
        if source.dataset in roots:
            faces = load_faces(source.dataset, source.split, config, roots[source.dataset])
            pack = load_crops(faces, cache, size=config.pack_size, progress=functools.partial(progress, source.name))
            images, truth = plain_crops(pack, config)
            errors = normalized_error(session(images), truth, inter_ocular(truth, pack.scheme))
            metrics[f"{source.name}/nme_ion"] = round(float(errors.mean()), 6)
            crops.append(images)
    if crops:
        return np.concatenate(crops), True, metrics
    rng = np.random.default_rng(0)
    return np.stack([draw_face(rng, size=config.size).image for _ in range(32)]), False, {}


def plain_crops(
    pack: CropPack, config: TrainConfig
) -> tuple[UInt8[np.ndarray, "n s s 3"], Float32[np.ndarray, "n k 2"]]:
    """All faces of a pack as the network sees them, with the truth in pixels of the crop."""
    view = View(size=config.size, margin=config.margin, pack_margin=pack.margin)
    samples = [plain_view(pack.sample(i), view) for i in range(len(pack))]
    return np.stack([s.image for s in samples]), np.stack([s.points for s in samples])
