"""Confidence for an exported network: fitted on one half of the held-out faces, measured on the other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from canthus.data.occlusion import random_cover
from canthus.data.splits import fold_of
from canthus.evaluation.reliability import fit_calibration, reliability
from canthus.runtime.cards import TOLERANCE, Calibration
from canthus.runtime.sessions import LandmarkSession
from canthus.types import Sample


@final
@dataclass(frozen=True)
class _Answers:
    """What a model said of some crops: log of the expected errors, and the errors in longer sides of the face box."""

    spread: Float32[np.ndarray, "n k"]
    errors: Float64[np.ndarray, "n k"]

    def part(self, chosen: Bool[np.ndarray, " n"]) -> "_Answers":
        return _Answers(self.spread[chosen], self.errors[chosen])


def calibrate(
    session: LandmarkSession, samples: Sequence[Sample], groups: Sequence[str], *, tolerance: float = TOLERANCE
) -> tuple[Calibration, dict[str, float]]:
    """Fit confidence on held-out faces, as they are and covered, and measure it on others of them.

    The group of a face says by hash on which half it lies.  Each half holds every face twice: as it is, and with parts
    hidden behind things as in training.  Where all groups fall on one side, the fit uses all and nothing is measured.

    Args:
        session: a model that tells a spread.
        samples: held-out faces, cut as inference cuts them, inside their true boxes.
        groups: of each face, what must stay together: the photo, or the person.
        tolerance: what counts as right, fraction of the longer side of the face box.

    Returns:
        The calibration, and ``ece`` and ``auroc`` of the other half: of the faces as they are, and under ``covered/``
        of the same faces covered.
    """
    plain = _ask(session, samples)
    hidden = _ask(session, [_covered(sample, number) for number, sample in enumerate(samples)])
    second = _second_half(groups)
    first = np.ones_like(second) if second.all() else ~second
    fitted = fit_calibration(
        np.concatenate([plain.part(first).spread, hidden.part(first).spread]),
        np.concatenate([plain.part(first).errors, hidden.part(first).errors]),
        margin=session.card.margin,
        tolerance=tolerance,
    )
    if second.all() or not second.any():
        return fitted, {}
    measured = _measured(fitted, plain.part(second), margin=session.card.margin)
    covered = _measured(fitted, hidden.part(second), margin=session.card.margin)
    return fitted, measured | {f"covered/{name}": value for name, value in covered.items()}


def calibration_errors(session: LandmarkSession, samples: Sequence[Sample], groups: Sequence[str]) -> dict[str, float]:
    """How well the calibration that a model has keeps its word on faces as they are: ``ece`` and ``auroc``.

    Measured on the half of the faces that ``calibrate`` measures on; empty where there is none, or no calibration.

    Args:
        session: the model.
        samples: held-out faces.
        groups: of each face.
    """
    second, calibration = _second_half(groups), session.card.calibration
    if calibration is None or not second.any():
        return {}
    return _measured(calibration, _ask(session, samples).part(second), margin=session.card.margin)


def _second_half(groups: Sequence[str]) -> Bool[np.ndarray, " n"]:
    # Salted, because the hash alone has divided these faces from the training ones before.
    return np.array([fold_of(f"calibration {group}", 2) == 1 for group in groups], bool)


def _covered(sample: Sample, number: int) -> Sample:
    return random_cover(sample, np.random.default_rng((0, number)), chance=1.0)


def _ask(session: LandmarkSession, samples: Sequence[Sample]) -> _Answers:
    size, margin = session.card.size, session.card.margin
    crops: UInt8[np.ndarray, "n s s 3"] = np.stack([sample.image for sample in samples])
    truth = np.stack([sample.points for sample in samples])
    answer = session.answer(crops)
    if answer.spread is None:
        raise ValueError(f"{session.source}: tells no spread, so there is nothing to calibrate")
    distance = np.linalg.norm(answer.points.astype(np.float64) - truth, axis=2)
    return _Answers(answer.spread, distance / size * margin)


def _measured(calibration: Calibration, answers: _Answers, *, margin: float) -> dict[str, float]:
    scores = calibration.scores(answers.spread, margin=margin)
    found = reliability(scores.ravel(), answers.errors.ravel(), tolerance=calibration.tolerance)
    return {
        name: round(value, 6) for name, value in (("ece", found.ece), ("auroc", found.auroc)) if not math.isnan(value)
    }
