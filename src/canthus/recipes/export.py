"""A checkpoint to an ONNX file that is compared with torch and measured before it is kept."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from torch import nn

from canthus.data.scenes import load_scenes
from canthus.data.synthetic import draw_face
from canthus.errors import ConfigError, printable
from canthus.evaluation.detection import match_scenes
from canthus.evaluation.detection_report import average_precision
from canthus.evaluation.onnx_counts import count_graph
from canthus.evaluation.timing import detector_shape
from canthus.export.onnx import Card, export_onnx, replace_card, verify_export
from canthus.export.rounding import store_half
from canthus.files import written
from canthus.images import fit_image, read_image
from canthus.models.face_detector import STRIDES
from canthus.models.joint import JointNetwork, decoding
from canthus.models.weights import read_weights_file
from canthus.recipes.build import fresh_network, init_file, load_network
from canthus.recipes.config import DetectorConfig, Progress, Recipe, TrainConfig, read_config
from canthus.recipes.held_out import calibrate, crop_held_out
from canthus.recipes.quantize_report import TWIN_LINE
from canthus.recipes.train import load_faces
from canthus.runtime.canthus_detector import CanthusDetector
from canthus.runtime.cards import Calibration, DetectorCard, ModelCard
from canthus.runtime.sessions import DetectorSession, LandmarkSession
from canthus.schemes import own_scheme
from canthus.training.checkpoint import CONFIG_KEY, checkpoint_config, read_checkpoint
from canthus.training.detection_task import LEAST_SCORE

RESEARCH_TERMS = "research use only: trained on research datasets with non-commercial terms ({names})"
OWN_TERMS = "not stated: trained on a folder of the exporter's own; give them with --licence"
UNTRAINED_TERMS = "none needed: random weights"

Compare = Callable[..., float]
"""``verify_export`` of a network: from a session of its file and pictures to the largest difference."""

BATCH = 64
"""Crops compared at once."""
COMPARED = 40
"""Pictures of each validation set on which a detector is compared with its file."""


@final
@dataclass(frozen=True)
class ExportReport:
    """Result of an export.

    Attributes:
        pictures: number of crops, or whole pictures, on which torch and ONNX were compared.
        real: True for photos, False for drawn faces or noise.
        difference: largest difference between the two: of points in pixels of the crop; of a detector's logits, and
            its offsets and log sizes in strides.
        metrics: measured with the file itself, as fractions.  Landmarks: ``dataset/split/nme_ion`` with true boxes
            and, with a calibration, ``ece`` and ``auroc`` on faces that did not calibrate, see ``calibrate``.
            Detectors: ``dataset/split/ap_50``, for the boxes of the dataset.
        calibration: from expected errors to confidence; None if the network predicts no errors, or if the first
            validation set is not at hand.
        tells_spread: whether the network predicts expected errors.
        twin: file of the model that ``metrics`` and ``calibration`` were measured of, if it is another.
    """

    path: Path
    size_bytes: int
    pictures: int
    real: bool
    difference: float
    metrics: Mapping[str, float]
    calibration: Calibration | None = None
    tells_spread: bool = False
    twin: Path | None = None

    def describe(self, config: Recipe) -> list[str]:
        """Lines of text about an export of this recipe."""
        lines = [f"{self.path}: {self.size_bytes / 1e6:.2f} MB"]
        if isinstance(config, DetectorConfig):
            kind = "photos" if self.real else "pictures of noise (give --data DIR to use the validation photos)"
            lines.append(f"torch against ONNX: at most {self.difference:.1e} strides on {self.pictures} {kind}")
            return lines + [f"{name}: {100 * value:.2f} %" for name, value in self.metrics.items()]
        kind = "real" if self.real else "drawn (give --data DIR to use the validation faces)"
        lines.append(
            f"torch against ONNX: at most {self.difference:.1e} px of the crop on {self.pictures} crops, {kind}"
        )
        lines += [f"{name}: {100 * value:.2f} % (ground-truth boxes)" for name, value in self.metrics.items()]
        if self.calibration:
            within = f"within {100 * self.calibration.tolerance:g} % of the longer side of the face box"
            lines.append(f"confidence: probability that a point is {within}")
        elif self.tells_spread:
            faces = config.validation[0].name
            lines.append(f"no confidence: it is calibrated on {faces}; give --data DIR or --root to add it")
        return lines + [TWIN_LINE.format(twin=self.twin)] * bool(self.twin)


def export(
    checkpoint: Path,
    path: Path,
    *,
    roots: Mapping[str, Path],
    cache: Path,
    licence: str | None = None,
    decode: str = "",
    half: bool = False,
    twin: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> ExportReport:
    """Write a checkpoint's network as ONNX, compare the file with torch, and measure the file.

    The recipe's validation sets serve for both where they are at hand, and what was measured goes into the model card.
    Without them the comparison runs on drawn faces (landmarks) or noise (detectors), and the card has no metrics.

    Args:
        path: ONNX file to write; an earlier file stays as it is unless the comparison succeeds.
        roots: folder of each dataset at hand, by name.
        licence: terms of the weights; by default research terms that name the training sets, or for a folder of one's
            own that none were stated.
        decode: key of ``DECODINGS``, for a joint network; ``regression`` by default.
        half: store the weights in 16 bits; the network computes in 32 bits as before.
        twin: file of the landmark model whose errors and calibrations the card gets, see ``measured_by_twin``.

    Raises:
        ConfigError: the network does not give points in the way that ``decode`` names, or ``twin`` is no twin.
        ModelFileError: not a checkpoint, the file differs from the network, or an answer is not finite.
        OutputError: the file cannot be written.
        MissingExtraError: onnx is not installed.
    """
    network, config = load_network(checkpoint)
    network = _decoded(network, decode)
    learned = learned_from(config)
    names = _sets_of(learned)
    terms = OWN_TERMS if names == ("folder",) else RESEARCH_TERMS.format(names=", ".join(names))
    card = _card(config, learned, name=printable(path.stem), licence=licence or terms)
    # The file gets its name only after the comparison, and only its card changes in between.
    with written(path) as unchecked:
        export_onnx(network, card, unchecked)
        if half:
            store_half(unchecked)
        compared = functools.partial(verify_export, network, half=half)
        if isinstance(config, DetectorConfig):
            report = _check_detector(compared, config, unchecked, roots, progress=progress)
        else:
            report = _check_landmarks(compared, config, unchecked, roots, cache=cache, progress=progress)
        entries: dict[str, Any] = {"metrics": report.metrics} | graph_counts(unchecked, card)
        if report.calibration:
            entries["calibration"] = report.calibration
        card = replace(card, **entries)
        if twin:
            card = measured_by_twin(card, twin)
            report = replace(report, metrics=card.metrics, calibration=card.calibration, twin=twin)
        replace_card(unchecked, card)
    return replace(report, path=path, size_bytes=path.stat().st_size)


def export_untrained(config: Recipe, path: Path) -> None:
    """Write a recipe's network with random weights as ONNX, to measure its size and speed.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    card = _card(config, (), name=printable(path.stem), licence=UNTRAINED_TERMS)
    with written(path) as unfinished:
        export_onnx(_decoded(fresh_network(config)), card, unfinished)
        replace_card(unfinished, replace(card, **graph_counts(unfinished, card)))


def measured_by_twin(card: Card, twin: Path) -> ModelCard:
    """The card with what was measured of a twin: the same network, trained without the faces that measure.

    Errors, and the calibrations of confidence, would be too good on faces that the network has learned from.

    Raises:
        ConfigError: the card is that of a detector, the twin is another network, or one of the two is int8 and the
            other is not.
        ModelFileError: the file is missing, or is not a landmark model of canthus.
    """
    if not isinstance(card, ModelCard):
        raise ConfigError("--twin belongs to landmark models, found a detector; leave it out")
    other = LandmarkSession.open(twin).card
    how, measured = card.quantization, other.quantization
    if (how is None) != (measured is None):
        kinds = ("float", "int8") if measured is None else ("int8", "float")
        raise ConfigError(f"{twin}: is no twin of {card.name}: it is {kinds[0]}, expected {kinds[1]}")
    for name in ("architecture", "scheme", "size", "margin", "parameters", "multiply_adds"):
        found, expected = getattr(other, name), getattr(card, name)
        if found != expected:
            raise ConfigError(f"{twin}: is no twin of {card.name}: its {name} is {found}, expected {expected}")
    if how and measured:
        how = replace(how, float_nme_ion=measured.float_nme_ion)
    return replace(
        card, metrics=other.metrics, calibration=other.calibration, face_calibration=other.face_calibration,
        quantization=how, twin=other.name,
    )  # fmt: skip


def _decoded(network: nn.Module, how: str = "") -> nn.Module:
    """A joint network without the head that its points do not come from; any other network as it is."""
    return decoding(network, how or "regression") if how or isinstance(network, JointNetwork) else network


def _card(config: Recipe, learned: tuple[str, ...], **entries: Any) -> Card:
    entries["training_data"] = _sets_of(learned)
    if isinstance(config, DetectorConfig):
        return DetectorCard(
            architecture="face_detector",
            strides=STRIDES,
            size=config.inference_size,
            score=config.score,
            recipe=config.name,
            **entries,
        )
    return ModelCard(
        architecture=config.model,
        scheme=config.scheme,
        own_scheme=own_scheme(config.find_scheme()),
        size=config.size,
        margin=config.margin,
        recipe=config.name,
        conversion=config.conversion or None,
        learned_from=tuple(name for name in learned if "/" in name),
        **entries,
    )


def graph_counts(file: Path, card: Card) -> dict[str, Any]:
    """The entries of a card on the cost of one face, or of one picture."""
    shape = (1, card.size, card.size, 3) if isinstance(card, ModelCard) else detector_shape(card.strides)
    count = count_graph(file, {"image": np.zeros(shape, np.uint8)})
    return {"parameters": count.parameters, "multiply_adds": count.multiply_adds}


def training_sets(config: Recipe) -> tuple[str, ...]:
    """Names of the sets that the weights have learned from, including those behind ``init`` and behind a teacher.

    Raises:
        ConfigError: the file behind ``init`` or the teacher's checkpoint is missing.
    """
    return _sets_of(learned_from(config))


def _sets_of(learned: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the sets of ``dataset/split``."""
    return tuple(dict.fromkeys(name.partition("/")[0] for name in learned))


def learned_from(config: Recipe) -> tuple[str, ...]:
    """``dataset/split`` of everything in ``training_sets``; only the set where a model file does not name the split.

    Raises:
        ConfigError: as in ``training_sets``.
    """
    sources = (config.init,) if isinstance(config, DetectorConfig) else (config.init, config.distill.teacher)
    earlier = [name for source in sources if source for name in _sets_behind(source)]
    return tuple(dict.fromkeys([*earlier, *(s.name for s in config.train)]))


def _sets_behind(source: str) -> tuple[str, ...]:
    try:
        path = init_file(source)
    except ConfigError as error:
        raise ConfigError(
            f"The network learned from {source}, which is not here, so the card cannot name its training sets; "
            "export where the run was started"
        ) from error
    if path.suffix == ".onnx":
        card = LandmarkSession.open(path).card
        return card.learned_from or card.training_data
    if CONFIG_KEY in read_weights_file(path):
        return learned_from(read_config(checkpoint_config(read_checkpoint(path), source=path)))
    return (f"whatever made {path.name}",)


def _check_landmarks(
    compared: Compare, config: TrainConfig, file: Path, roots: Mapping[str, Path], *, cache: Path, progress: Progress
) -> ExportReport:
    session = LandmarkSession.open(file)
    held = [
        crop_held_out(
            source.name,
            load_faces(
                source.dataset,
                source.split,
                roots[source.dataset],
                scheme=config.find_scheme(),
                conversion=config.conversion,
            ),
            cache,
            size=config.size,
            margin=config.margin,
            pack_size=config.pack_size,
            progress=progress,
        )
        for source in config.validation
        if source.dataset in roots
    ]
    rng = np.random.default_rng(0)
    drawn = [] if held else [np.stack([draw_face(rng, size=config.size).image for _ in range(32)])]
    crops = np.concatenate([part.crops for part in held] + drawn)
    difference = compared(session, (crops[i : i + BATCH] for i in range(0, len(crops), BATCH)))
    metrics = {part.metric: round(part.error(session(part.crops)), 6) for part in held}
    calibration = None
    if session.tells_spread and held and held[0].name == config.validation[0].name:
        calibration, measured = calibrate(session, held[0].samples, held[0].groups)
        metrics |= {f"{held[0].name}/{name}": value for name, value in measured.items()}
    checked = (file, session.size_bytes, len(crops), bool(held), difference)
    return ExportReport(*checked, metrics, calibration, session.tells_spread)


def _check_detector(
    compared: Compare, config: DetectorConfig, file: Path, roots: Mapping[str, Path], *, progress: Progress
) -> ExportReport:
    session = DetectorSession.open(file)
    scenes = {
        s.name: load_scenes(s.dataset, roots[s.dataset], s.split) for s in config.validation if s.dataset in roots
    }
    pictures = [
        fit_image(read_image(scene.path), config.inference_size, multiple=max(STRIDES))[0]
        for part in scenes.values()
        for scene in part[:COMPARED]
    ]
    if not pictures:
        rng, side = np.random.default_rng(0), max(STRIDES)
        wide = config.inference_size // side * side
        pictures = [rng.integers(0, 256, size=(side * n, wide, 3), dtype=np.uint8) for n in (3, 8, 12)]
    difference = compared(session, (np.ascontiguousarray(picture[None]) for picture in pictures))
    detector = CanthusDetector(session, least_score=LEAST_SCORE)
    metrics = {}
    for name, part in scenes.items():
        if all(scene.complete for scene in part):
            found = []
            for done, scene in enumerate(part, start=1):
                found.append(detector(read_image(scene.path)))
                progress(name, done, len(part))
            metrics[f"{name}/ap_50"] = round(average_precision(match_scenes(part, found)), 6)
    return ExportReport(file, session.size_bytes, len(pictures), bool(scenes), difference, metrics)
