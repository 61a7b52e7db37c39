"""A checkpoint to a verified ONNX file."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import UInt8
from torch import nn

from canthus.data.packs import CropPack, load_crops
from canthus.data.synthetic import draw_face
from canthus.data.transforms import View, plain_view
from canthus.errors import ConfigError
from canthus.evaluation.errors import inter_ocular, normalized_error
from canthus.export.onnx import export_onnx, replace_card
from canthus.export.verify import verify_export
from canthus.models.joint import JointNetwork, decoding
from canthus.models.weights import read_weights_file
from canthus.recipes.build import fresh_network, init_file, load_network
from canthus.recipes.calibrate import calibrate
from canthus.recipes.config import TrainConfig, from_values
from canthus.recipes.train import load_faces
from canthus.runtime.cards import Calibration, ModelCard
from canthus.runtime.sessions import LandmarkSession
from canthus.training.checkpoint import CONFIG_KEY, checkpoint_config, read_checkpoint
from canthus.types import Sample

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
        metrics: ``dataset/split/nme_ion`` of the file itself, truth boxes, fractions; of a file with confidence also
            ``ece`` and ``auroc`` on held-out faces that the calibration has not seen, see ``calibrate``.
        calibration: how expected errors become confidence; None where the network tells none, or where the first
            validation set is not at hand.
        tells_spread: whether the network tells expected errors.
    """

    path: Path
    size_bytes: int
    crops: int
    real: bool
    difference_px: float
    metrics: Mapping[str, float]
    calibration: Calibration | None
    tells_spread: bool


@final
@dataclass(frozen=True)
class _Held:
    """A validation set at hand.

    Attributes:
        name: ``dataset/split``.
        samples: its faces as the network sees them.
        groups: of each face.
    """

    name: str
    samples: Sequence[Sample]
    groups: Sequence[str]

    @property
    def crops(self) -> UInt8[np.ndarray, "n s s 3"]:
        return np.stack([sample.image for sample in self.samples])


def export(
    checkpoint: Path,
    path: Path,
    *,
    roots: Mapping[str, Path],
    cache: Path,
    licence: str | None = None,
    decode: str = "",
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> ExportReport:
    """Write a checkpoint's network as ONNX, compare it with torch, and score the file itself.

    Where the recipe's validation sets are at hand, they serve for both and their errors go into the model card;
    otherwise the comparison runs on drawn faces and the card carries no errors.  A network that tells expected errors
    is calibrated on the first validation set; without that the file gives no confidence.

    Args:
        checkpoint: file of a run.
        path: ONNX file to write.
        roots: folder of each dataset at hand, by name.
        cache: folder of packed crops.
        licence: terms of the weights; unless given, research terms naming the training sets, or for a folder of one's
            own that none were stated.
        decode: key of ``DECODINGS``, where a joint network takes its points from; the regression unless given.
        progress: called with (what, done, total) while crops are packed.

    Raises:
        ConfigError: the network does not give points in the way ``decode`` asks for.
        ModelFileError: the checkpoint is unfit, or the file differs from the network.
        MissingExtraError: onnx is not installed.
    """
    network, config = load_network(checkpoint)
    network = _decoded(network, decode)
    card = _card(config, name=path.stem, licence=licence)
    # Written aside first, so that a file that fails the comparison never lies under the wanted name.
    unchecked = path.with_suffix(".unchecked.onnx")
    try:
        export_onnx(network, card, unchecked)
        session = LandmarkSession.open(unchecked)
        held = _held_out(config, roots, cache, progress)
        crops = np.concatenate([part.crops for part in held]) if held else _drawn_crops(config.size)
        difference = verify_export(network, session, crops)
        calibration, metrics = _scored(config, session, held)
        replace_card(unchecked, replace(card, metrics=metrics, calibration=calibration))
        unchecked.replace(path)
    finally:
        unchecked.unlink(missing_ok=True)
    checked = (path, path.stat().st_size, len(crops), bool(held), difference)
    return ExportReport(*checked, metrics, calibration, session.tells_spread)


def _decoded(network: nn.Module, how: str = "") -> nn.Module:
    """The network as it is used: a joint one without the head that its points do not come from."""
    return decoding(network, how or "regression") if how or isinstance(network, JointNetwork) else network


def export_untrained(config: TrainConfig, path: Path) -> None:
    """Write a recipe's network with random weights as ONNX: its size and time are those of the trained one.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    network = _decoded(fresh_network(config))
    card = ModelCard(
        name=path.stem,
        architecture=config.model,
        scheme=config.scheme,
        size=config.size,
        margin=config.margin,
        training_data=(),
        licence="none needed: random weights",
        recipe=config.name,
    )
    export_onnx(network, card, path)


def training_sets(config: TrainConfig) -> tuple[str, ...]:
    """Names of the sets that weights have learned from: those of the stages before (``init``), the teacher's, its own.

    Raises:
        ConfigError: the checkpoint of a stage before or of the teacher is gone, so that its sets cannot be named.
    """
    earlier = [name for source in (config.init, config.distill.teacher) if source for name in _sets_behind(source)]
    return tuple(dict.fromkeys([*earlier, *(s.dataset for s in config.train)]))


def _sets_behind(source: str) -> tuple[str, ...]:
    """Names of the sets that another file of weights has learned from."""
    try:
        path = init_file(source)
    except ConfigError as error:
        raise ConfigError(
            f"The network learned from {source}, not here, so the card cannot name its training sets; "
            "export where the run was started"
        ) from error
    if path.suffix == ".onnx":
        return LandmarkSession.open(path).card.training_data
    if CONFIG_KEY in read_weights_file(path):
        return training_sets(from_values(TrainConfig, checkpoint_config(read_checkpoint(path), source=path)))
    return (f"whatever made {path.name}",)


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


def _held_out(
    config: TrainConfig, roots: Mapping[str, Path], cache: Path, progress: Callable[[str, int, int], None]
) -> list[_Held]:
    """The validation sets that are at hand, in the recipe's order."""
    held = []
    for source in config.validation:
        if source.dataset in roots:
            faces = load_faces(source.dataset, source.split, config, roots[source.dataset])
            pack = load_crops(faces, cache, size=config.pack_size, progress=functools.partial(progress, source.name))
            held.append(_Held(source.name, plain_samples(pack, config), [face.group for face in faces]))
    return held


def _scored(
    config: TrainConfig, session: LandmarkSession, held: Sequence[_Held]
) -> tuple[Calibration | None, dict[str, float]]:
    """The calibration of a file that tells a spread, where the first validation set is at hand; what was measured."""
    metrics = {f"{part.name}/nme_ion": _error(session, part) for part in held}
    if not session.tells_spread or not held or held[0].name != config.validation[0].name:
        return None, metrics
    calibration, measured = calibrate(session, held[0].samples, held[0].groups)
    return calibration, metrics | {f"{held[0].name}/{name}": value for name, value in measured.items()}


def _drawn_crops(size: int) -> UInt8[np.ndarray, "n s s 3"]:
    rng = np.random.default_rng(0)
    return np.stack([draw_face(rng, size=size).image for _ in range(32)])


def _error(session: LandmarkSession, held: _Held) -> float:
    truth = np.stack([sample.points for sample in held.samples])
    errors = normalized_error(session(held.crops), truth, inter_ocular(truth, session.scheme))
    return round(float(errors[np.isfinite(errors)].mean()), 6)


def plain_samples(pack: CropPack, config: TrainConfig) -> list[Sample]:
    """All faces of a pack as the network sees them."""
    view = View(size=config.size, margin=config.margin, pack_margin=pack.margin)
    return [plain_view(pack.sample(i), view) for i in range(len(pack))]
