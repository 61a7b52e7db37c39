"""A checkpoint of a face detector to a verified ONNX file."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from canthus.data.scenes import load_scenes
from canthus.errors import ConfigError
from canthus.evaluation.detection import match_scenes
from canthus.evaluation.detection_report import average_precision
from canthus.export.onnx import export_detector_onnx, verify_detector_export
from canthus.images import fit_image, read_image
from canthus.models.face_detector import STRIDES, FaceDetector
from canthus.recipes.config import DetectorConfig, from_values
from canthus.recipes.export import RESEARCH_TERMS
from canthus.recipes.train_detector import create_detector_network
from canthus.runtime.canthus_detector import CanthusDetector
from canthus.runtime.cards import DetectorCard
from canthus.runtime.sessions import DetectorSession
from canthus.training.checkpoint import checkpoint_config, network_weights, read_checkpoint
from canthus.types import Image, Scene

LEAST_SCORE = 0.02
"""Faces scored lower do not count in the card's average precision."""
COMPARED = 40
"""Pictures of each validation set on which torch and ONNX are compared."""


@final
@dataclass(frozen=True)
class DetectorExportReport:
    """What an export made and how it was checked.

    Attributes:
        path: the ONNX file.
        size_bytes: its size.
        pictures: number that torch and ONNX were compared on.
        real: True where those were photos, False where they were noise.
        difference: largest difference between the two: of logits, and of offsets and log sizes in strides.
        metrics: ``dataset/split/ap_50`` of the file itself, in the sets' own boxes; fractions.
    """

    path: Path
    size_bytes: int
    pictures: int
    real: bool
    difference: float
    metrics: Mapping[str, float]


def load_detector_network(checkpoint: Path) -> tuple[FaceDetector, DetectorConfig]:
    """The detector of a checkpoint with its (averaged) weights, in eval mode, and the recipe that made it.

    Raises:
        ModelFileError: not a checkpoint, or it carries no recipe.
        ConfigError: its recipe does not fit this version, or is not of a face detector.
    """
    state = read_checkpoint(checkpoint)
    config = from_values(DetectorConfig, checkpoint_config(state, source=checkpoint))
    network = create_detector_network(config)
    network.load_state_dict(network_weights(state))
    return network.eval(), config


def export_detector(
    checkpoint: Path,
    path: Path,
    *,
    roots: Mapping[str, Path],
    licence: str | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> DetectorExportReport:
    """Write a checkpoint's detector as ONNX, compare it with torch, and measure the file itself.

    Where the recipe's validation sets are at hand, they serve for both and the average precision on those with
    complete labels goes into the card; otherwise the comparison runs on noise and the card carries no numbers.

    Args:
        checkpoint: file of a run.
        path: ONNX file to write.
        roots: folder of each dataset at hand, by name.
        licence: terms of the weights; unless given, research terms naming the training sets.
        progress: called with (what, done, total) while the file is measured.

    Raises:
        ModelFileError: the checkpoint is unfit, or the file differs from the network.
        MissingExtraError: onnx is not installed.
    """
    network, config = load_detector_network(checkpoint)
    card = _card(config, name=path.stem, licence=licence)
    # Written aside first, so that a file that fails the comparison never lies under the wanted name.
    unchecked = path.with_suffix(".unchecked.onnx")
    try:
        export_detector_onnx(network, card, unchecked)
        session = DetectorSession.open(unchecked)
        pictures = _pictures(config, roots)
        difference = verify_detector_export(network, session, pictures or _noise(config.inference_size))
        metrics = _metrics(config, session, roots, progress)
        export_detector_onnx(network, replace(card, metrics=metrics), unchecked)
        unchecked.replace(path)
    finally:
        unchecked.unlink(missing_ok=True)
    return DetectorExportReport(
        path=path,
        size_bytes=path.stat().st_size,
        pictures=len(pictures) or len(_noise(config.inference_size)),
        real=bool(pictures),
        difference=difference,
        metrics=metrics,
    )


def _card(config: DetectorConfig, *, name: str, licence: str | None) -> DetectorCard:
    names = detector_training_sets(config)
    return DetectorCard(
        name=name,
        architecture="face_detector",
        strides=STRIDES,
        size=config.inference_size,
        score=config.score,
        training_data=names,
        licence=licence or RESEARCH_TERMS.format(names=", ".join(names)),
        recipe=config.name,
    )


def detector_training_sets(config: DetectorConfig) -> tuple[str, ...]:
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
        before = checkpoint_config(read_checkpoint(path), source=path)
        earlier = detector_training_sets(from_values(DetectorConfig, before))
    return tuple(dict.fromkeys([*earlier, *(source.dataset for source in config.train)]))


def _pictures(config: DetectorConfig, roots: Mapping[str, Path]) -> list[Image]:
    """Validation pictures as the network sees them."""
    here = [source for source in config.validation if source.dataset in roots]
    scenes = [scene for s in here for scene in load_scenes(s.dataset, roots[s.dataset], s.split)[:COMPARED]]
    multiple = max(STRIDES)
    return [fit_image(read_image(scene.path), config.inference_size, multiple=multiple)[0] for scene in scenes]


def _noise(size: int) -> list[Image]:
    rng = np.random.default_rng(0)
    side = max(STRIDES)
    return [rng.integers(0, 256, size=(side * n, size // side * side, 3), dtype=np.uint8) for n in (3, 8, 12)]


def _metrics(
    config: DetectorConfig,
    session: DetectorSession,
    roots: Mapping[str, Path],
    progress: Callable[[str, int, int], None],
) -> dict[str, float]:
    """Average precision of the file on the validation sets at hand whose labels are complete."""
    detector = CanthusDetector(session, least_score=LEAST_SCORE)
    metrics = {}
    for source in config.validation:
        if source.dataset not in roots:
            continue
        scenes = load_scenes(source.dataset, roots[source.dataset], source.split)
        if all(scene.complete for scene in scenes):
            found = (detector(read_image(s.path)) for s in _told(scenes, source.name, progress))
            metrics[f"{source.name}/ap_50"] = round(average_precision(match_scenes(scenes, found)), 6)
    return metrics


def _told(scenes: list[Scene], name: str, progress: Callable[[str, int, int], None]) -> Iterable[Scene]:
    for done, scene in enumerate(scenes, start=1):
        yield scene
        progress(name, done, len(scenes))
