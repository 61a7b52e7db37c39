"""How the landmark error grows as face boxes are set off from the true ones, and where a detector's boxes come in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from canthus.evaluation.boxes import BoxJitter
from canthus.evaluation.rows import FaceError, face_error
from canthus.evaluation.run import Predictor, predict_on_truth
from canthus.evaluation.summary import summarize
from canthus.types import Annotation

FRACTIONS = (0.0, 0.05, 0.10, 0.15, 0.20)
KINDS = {"shift": (True, False), "scale": (False, True), "both": (True, True)}
"""What is set off -> shift, scale; see ``BoxJitter``."""


@final
@dataclass(frozen=True)
class JitterLevel:
    """All faces with their boxes set off in one way.

    Attributes:
        kind: one of ``KINDS``.
        fraction: as in ``BoxJitter``; the same true boxes stand at 0 for every kind.
        rows: one per face.
    """

    kind: str
    fraction: float
    rows: Sequence[FaceError]


JITTER_LEVELS = len(KINDS) * len(FRACTIONS)
"""How many levels ``measure_jitter`` gives."""


def measure_jitter(
    annotations: Sequence[Annotation], predictor: Predictor, *, dataset: str, split: str, seed: int = 0
) -> Iterator[JitterLevel]:
    """Predict every face in its true box, then in boxes that are shifted, scaled, and both, ever farther.

    A larger fraction stretches the same draw of each face, so that levels differ by nothing else.

    Args:
        annotations: labelled faces.
        predictor: the network under test.
        dataset: name of the set, for the rows.
        split: part of it, for the rows.
        seed: of the draws.

    Yields:
        Levels by kind and fraction; that of the true boxes, predicted once, comes first for every kind.

    Raises:
        ConfigError: the network's point scheme is not that of the truth.
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
            yield JitterLevel(kind, fraction, rows(BoxJitter(fraction, seed, shift=shift, scale=scale)))


@final
@dataclass(frozen=True)
class JitterReport:
    """Levels of one network on one set.

    Attributes:
        title: what was measured.
        levels: as ``measure_jitter`` gives them.
        detected: rows in a detector's boxes; empty where there was no detector.
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
        """Mean inter-ocular error in the detector's boxes, and in the true boxes of the same faces."""
        if not self.detected:
            return {}
        same = [row for row in self.levels[0].rows if row.key in {row.key for row in self.detected if row.found}]
        found, missed = summarize(self.detected), sum(not row.found for row in self.detected)
        return {
            f"detector's boxes ({missed} of {len(self.detected)} missed)": found.nme_ion,
            f"true boxes of the {len(same)} found faces": summarize(same).nme_ion,
        }
