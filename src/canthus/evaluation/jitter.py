"""How the landmark error grows when the true face boxes are shifted and scaled, and the error in detected boxes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from canthus.evaluation.boxes import BoxJitter
from canthus.evaluation.report import Report
from canthus.evaluation.rows import FaceError, face_error, need_eye_corners
from canthus.evaluation.run import Predictor, Progress, no_progress, predict_on_truth
from canthus.evaluation.summary import summarize
from canthus.evaluation.truth import StrPath
from canthus.runtime.landmarker import Landmarker, open_model
from canthus.types import Annotation

FRACTIONS = (0.0, 0.05, 0.10, 0.15, 0.20)
KINDS = {"shift": (True, False), "scale": (False, True), "both": (True, True)}
"""Kind of jitter -> whether it shifts, whether it scales; see ``BoxJitter``."""


@final
@dataclass(frozen=True)
class JitterLevel:
    """Errors of all faces in boxes with one of ``KINDS`` of jitter; fraction 0 is the true boxes for every kind."""

    kind: str
    fraction: float
    rows: Sequence[FaceError]


JITTER_LEVELS = len(KINDS) * len(FRACTIONS)
"""Number of levels that ``measure_jitter`` yields."""


@final
@dataclass(frozen=True)
class JitterReport:
    """Errors of one model on one dataset over the jitter of the boxes.

    Attributes:
        detected: rows in detected boxes; empty if the model was evaluated in true boxes.
    """

    title: str
    levels: Sequence[JitterLevel]
    detected: Sequence[FaceError] = ()

    def curves(self) -> dict[str, dict[float, float]]:
        """Kind -> fraction -> mean inter-ocular error."""
        kinds: dict[str, dict[float, float]] = {kind: {} for kind in KINDS}
        for level in self.levels:
            kinds[level.kind][level.fraction] = summarize(level.rows).nme_ion
        return kinds

    def lines(self) -> dict[str, float]:
        """Mean inter-ocular error in detected boxes, and in the true boxes of the faces that were found."""
        if not self.detected:
            return {}
        same = [row for row in self.levels[0].rows if row.key in {row.key for row in self.detected if row.found}]
        found, missed = summarize(self.detected), sum(not row.found for row in self.detected)
        return {
            f"detector's boxes ({missed} of {len(self.detected)} missed)": found.nme_ion,
            f"true boxes of the {len(same)} found faces": summarize(same).nme_ion,
        }


def evaluate_jitter(
    report: Report, model: StrPath | None = None, *, threads: int | None = None, progress: Progress = no_progress
) -> JitterReport:
    """Predict the faces of a report again in true boxes with growing jitter.

    Args:
        report: from ``canthus.evaluate`` for a model.
        model: the model of the report, as in ``canthus.evaluate``.
        progress: shows how many of ``JITTER_LEVELS`` are done.

    Raises:
        ConfigError: the model and the ground truth have different schemes.
        ImageError: a picture cannot be read.
    """
    if report.predictions:
        need_eye_corners(report.predictions[0].truth.scheme)
    landmarker = Landmarker(open_model(model or "default", threads=threads or 1), passes=report.passes)
    faces = [prediction.truth for prediction in report.predictions]
    levels = measure_jitter(faces, landmarker, dataset=report.dataset, split=report.split)
    return JitterReport(
        title=f"{report.title}, {report.passes} pass{'es' if report.passes > 1 else ''}",
        levels=list(progress(levels, "jittering boxes", JITTER_LEVELS)),
        detected=report.rows if report.boxes == "detector" else (),
    )


def measure_jitter(
    annotations: Sequence[Annotation], predictor: Predictor, *, dataset: str, split: str
) -> Iterator[JitterLevel]:
    """Predict every face in its true box, then in boxes that are shifted, scaled, and both, by growing fractions.

    Each face keeps its random draw, which a larger fraction stretches, so the levels differ by nothing else.

    Yields:
        The level of the true boxes for every kind, then the other levels by kind and fraction.

    Raises:
        ConfigError: the model and the ground truth have different schemes.
        ImageError: a picture cannot be read.
    """

    def rows(jitter: BoxJitter | None) -> list[FaceError]:
        found = predict_on_truth(annotations, predictor, jitter=jitter)
        return [face_error(prediction, dataset=dataset, split=split, boxes="truth") for prediction in found]

    true_boxes = rows(None)
    for kind in KINDS:
        yield JitterLevel(kind, 0.0, true_boxes)
    for kind, (shift, scale) in KINDS.items():
        for fraction in FRACTIONS[1:]:
            yield JitterLevel(kind, fraction, rows(BoxJitter(fraction, shift=shift, scale=scale)))
