"""Held-out faces: what a model errs or finds on them, and confidence fitted on one half and measured on the other."""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from canthus.data import landmark_sets, load_dataset
from canthus.data.occlusion import random_cover
from canthus.data.packs import PACK_MARGIN, PACK_SIZE, load_crops
from canthus.data.scenes import scene_sets
from canthus.data.splits import fold_of
from canthus.data.transforms import View, plain_view
from canthus.errors import ConfigError
from canthus.evaluation.detection import match_scenes
from canthus.evaluation.detection_report import average_precision
from canthus.evaluation.detectors import LEAST_SCORE
from canthus.evaluation.errors import normalized_error, training_error, training_scale
from canthus.evaluation.reliability import fit_calibration, reliability
from canthus.images import fit_image, read_image
from canthus.lookup import lookup
from canthus.recipes.config import Progress, dataset_root
from canthus.runtime.canthus_detector import CanthusDetector
from canthus.runtime.cards import DETECTOR, LANDMARKS, TOLERANCE, Calibration, DetectorCard, ModelCard
from canthus.runtime.sessions import DetectorSession, LandmarkSession
from canthus.types import Annotation, Sample, Scene


@final
@dataclass(frozen=True)
class HeldOut:
    """Faces of a split as a network sees them.

    Attributes:
        name: ``dataset/split``.
        groups: group of each face, such as its photo or its person.
        margin: side of the crops over the longer side of the face box.
    """

    name: str
    samples: Sequence[Sample]
    groups: Sequence[str]
    margin: float

    @property
    def metric(self) -> str:
        """Name of the error in model cards, such as ``300w/validation/nme_ion``."""
        return f"{self.name}/{training_error(self.samples[0].scheme)}"

    @property
    def scale(self) -> str:
        """What errors are divided by, in words."""
        return scale_in_words(self.metric)

    @property
    def crops(self) -> UInt8[np.ndarray, "n s s 3"]:
        """Pixels of all faces."""
        return np.stack([sample.image for sample in self.samples])

    def error(self, points: Float32[np.ndarray, "n k 2"]) -> float:
        """Mean error of points in pixels of the crops, see ``errors``."""
        return float(self.errors(points).mean())

    def errors(self, points: Float32[np.ndarray, "n k 2"]) -> Float64[np.ndarray, " m"]:
        """Error of each face, a fraction of the scale of ``metric``.

        Faces without an eye corner have no inter-ocular distance and are left out.
        """
        truth = np.stack([sample.points for sample in self.samples])
        side = self.samples[0].image.shape[0] / self.margin
        scale = training_scale(truth, self.samples[0].scheme, box_side=side)
        return np.asarray(normalized_error(points, truth, scale)[scale > 0], np.float64)


def scale_in_words(metric: str) -> str:
    """What the error of a model card is divided by."""
    return "inter-ocular distance" if metric.endswith("/nme_ion") else "longer side of the face box"


def crop_held_out(
    name: str,
    faces: Sequence[Annotation],
    cache: Path,
    *,
    size: int,
    margin: float,
    pack_size: int = PACK_SIZE,
    progress: Progress,
) -> HeldOut:
    """Crop faces as a network sees them, without augmentation; ``pack_size`` is the side of the packed crops in pixels.

    Raises:
        DataError: there are no faces, or a picture cannot be read.
    """
    pack = load_crops(faces, cache, size=pack_size, progress=functools.partial(progress, name))
    view = View(size=size, margin=margin, pack_margin=pack.margin)
    samples = [plain_view(pack.sample(index), view) for index in range(len(pack))]
    return HeldOut(name, samples, [face.group for face in faces], margin)


def load_held_out(
    name: str, card: ModelCard, roots: Mapping[str, Path], cache: Path, progress: Progress, *, complete: bool = False
) -> HeldOut:
    """The faces of ``dataset/split``, cropped as a model expects them.

    Args:
        complete: leave out faces with a point of unknown position.

    Raises:
        ConfigError: no such dataset or split, or ``roots`` does not have the dataset.
        DataError: the dataset is missing or damaged, or has no faces.
    """
    dataset, split = split_name(name)
    faces = load_dataset(dataset, dataset_root(roots, dataset), split, scheme=card.find_scheme())
    return crop_held_out(
        name,
        [face for face in faces if not complete or np.isfinite(face.points).all()],
        cache,
        size=card.size,
        margin=card.margin,
        pack_size=max(PACK_SIZE, math.ceil(card.size * PACK_MARGIN / card.margin)),
        progress=progress,
    )


def split_name(name: str, *, kind: str = LANDMARKS) -> tuple[str, str]:
    """Dataset and split of ``dataset/split``, for a landmark model or a detector.

    Raises:
        ConfigError: the name has another form, or there is no such dataset or split.
    """
    dataset, slash, split = name.partition("/")
    if not slash or not split:
        raise ConfigError(f"Cannot read {name!r}; expected DATASET/SPLIT such as 300w/fit, or folder/all")
    splits = lookup(scene_sets() if kind == DETECTOR else landmark_sets(), dataset, kind="dataset").splits
    lookup(dict.fromkeys(splits), split, kind=f"split of {dataset}")
    return dataset, split


@final
@dataclass(frozen=True)
class _Answers:
    """A model's log expected errors of some crops, and its actual errors in longer sides of the face box."""

    spread: Float32[np.ndarray, "n k"]
    errors: Float64[np.ndarray, "n k"]

    def part(self, chosen: Bool[np.ndarray, " n"]) -> "_Answers":
        return _Answers(self.spread[chosen], self.errors[chosen])


def calibrate(
    session: LandmarkSession, samples: Sequence[Sample], groups: Sequence[str]
) -> tuple[Calibration, dict[str, float]]:
    """Fit confidence on one half of the held-out faces and measure it on the other.

    A hash of its group assigns each face to a half.  Each face is used twice: as it is, and with parts covered as in
    training.  If all groups fall into one half, the fit uses all faces and nothing is measured.

    Args:
        session: a model that predicts a spread.
        samples: see ``HeldOut``.
        groups: see ``HeldOut``; a group is never split.

    Returns:
        The calibration, and ``ece`` and ``auroc`` on the second half: of the faces as they are, and under ``covered/``
        of the same faces covered.
    """
    plain = _answers(session, samples)
    hidden = [random_cover(s, np.random.default_rng((0, i)), chance=1.0) for i, s in enumerate(samples)]
    covered = _answers(session, hidden)
    second = _second_half(groups)
    first = np.ones_like(second) if second.all() else ~second
    fitted = fit_calibration(
        np.concatenate([plain.part(first).spread, covered.part(first).spread]),
        np.concatenate([plain.part(first).errors, covered.part(first).errors]),
        margin=session.card.margin,
        tolerance=TOLERANCE,
    )
    if second.all() or not second.any():
        return fitted, {}
    found = {"": plain, "covered/": covered}
    return fitted, {
        f"{prefix}{name}": value
        for prefix, answers in found.items()
        for name, value in _reliability(fitted, answers.part(second), session).items()
    }


def calibration_errors(session: LandmarkSession, samples: Sequence[Sample], groups: Sequence[str]) -> dict[str, float]:
    """``ece`` and ``auroc`` of a model's own calibration, on the faces that ``calibrate`` measures on, uncovered.

    Empty if the model has no calibration, or if there are no such faces.
    """
    second, calibration = _second_half(groups), session.card.calibration
    if calibration is None or not second.any():
        return {}
    return _reliability(calibration, _answers(session, samples).part(second), session)


def _second_half(groups: Sequence[str]) -> Bool[np.ndarray, " n"]:
    # Salted, because the hash alone has divided these faces from the training ones before.
    return np.array([fold_of(f"calibration {group}", 2) == 1 for group in groups], bool)


def _answers(session: LandmarkSession, samples: Sequence[Sample]) -> _Answers:
    answer = session.answer(np.stack([sample.image for sample in samples]))
    if answer.spread is None:
        raise ValueError(f"{session.source}: the model predicts no spread, so confidence cannot be calibrated")
    truth = np.stack([sample.points for sample in samples])
    distance = np.linalg.norm(answer.points.astype(np.float64) - truth, axis=2)
    return _Answers(answer.spread, distance / session.card.size * session.card.margin)


def _reliability(calibration: Calibration, answers: _Answers, session: LandmarkSession) -> dict[str, float]:
    scores = calibration.scores(answers.spread, margin=session.card.margin)
    found = reliability(scores.ravel(), answers.errors.ravel(), tolerance=calibration.tolerance)
    values = {"ece": found.ece, "auroc": found.auroc}
    return {name: round(value, 6) for name, value in values.items() if not math.isnan(value)}


@final
@dataclass(frozen=True)
class Finding:
    """How well a detector finds the faces of a set.

    Attributes:
        ap_50: average precision; NaN where not all faces of the pictures are labelled.
        recall: share of the faces that it finds at its usual score.
    """

    ap_50: float
    recall: float

    def loss(self, other: "Finding") -> float:
        """How much less another one finds, the larger of the two differences."""
        losses = [self.recall - other.recall, self.ap_50 - other.ap_50]
        return max(value for value in losses if not math.isnan(value))


def detector_pictures(
    scenes: Sequence[Scene], card: DetectorCard, progress: Progress
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Pictures as the detector sees them."""
    for done, scene in enumerate(scenes, start=1):
        yield fit_image(read_image(scene.path), card.size, multiple=max(card.strides))[0]
        progress("seeing ranges", done, len(scenes))


def found_faces_of(session: DetectorSession, scenes: Sequence[Scene], progress: Progress) -> Finding:
    """How well a detector finds the faces of a set."""
    detector, found = CanthusDetector(session, least_score=LEAST_SCORE), []
    for done, scene in enumerate(scenes, start=1):
        found.append(detector(read_image(scene.path)))
        progress("comparing", done, len(scenes))
    rows = match_scenes(scenes, found)
    hits = (rows.truths.scores >= session.card.score)[~rows.truths.ignored]  # NaN, a missed face, is not
    return Finding(average_precision(rows), float(hits.mean()))


BEST_CELLS = 100
"""Cells of a picture, best first, whose scores rank the layers of a detector."""


def score_change(small: DetectorSession, session: DetectorSession, pictures: Sequence[np.ndarray]) -> float:
    """Mean change of the logits of the best cells."""
    changes = []
    for picture in pictures:
        expected, found = (network(picture[None])[0, :, 0] for network in (session, small))
        best = np.argsort(-expected)[:BEST_CELLS]
        changes.append(np.abs(found - expected)[best].mean())
    return float(np.mean(changes))
