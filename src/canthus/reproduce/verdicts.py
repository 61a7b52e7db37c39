"""Verdicts on the claims of a paper: a test over seeds or over faces, corrected for the claims of the table."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from jaxtyping import Float64

from canthus.lookup import require
from canthus.reproduce.values import Claim, Column, PaperTable, Scale

LEVEL = 0.05
"""Largest p, after Holm's correction over the claims of a table, of a verdict that decides."""
LEAST_SEEDS = 3
"""Trainings of both rows from which a test compares the trainings."""
LEAST_FACES = 400
"""Faces from which a test may compare two single trainings on the same faces."""
NEAR = 1.25
"""Largest factor between a published ratio and ours for which the claim holds."""
CLEAR = 1.1
"""Smallest ratio of two times, measured in turns in one run, that decides which is smaller."""

WORDS = ("holds", "does not hold", "undecided", "not trained enough", "not run")
HOLDS, DOES_NOT_HOLD, UNDECIDED, UNTRAINED, NOT_RUN = WORDS

Errors = Callable[[str, str, Column], Sequence[Mapping[str, float]]]
"""From (row, test set, column) to face -> error in the unit of the column, for each seed; empty if there are none."""


def no_errors(row: str, tested: str, column: Column) -> Sequence[Mapping[str, float]]:
    """No errors of faces, for numbers that come without them."""
    return ()


@final
@dataclass(frozen=True)
class Verdict:
    """Whether our numbers support a claim.

    Attributes:
        tested: ``dataset/split``, or "".
        word: ``HOLDS``, ``DOES_NOT_HOLD``, ``UNDECIDED``, ``UNTRAINED`` or ``NOT_RUN``.
        reason: the numbers, or why there is no test; empty for ``NOT_RUN``.
        gap: what was tested, with p corrected for the other claims of the table; None without a test.
    """

    claim: Claim
    tested: str
    word: str
    reason: str = ""
    gap: "Gap | None" = None


@final
@dataclass(frozen=True)
class Gap:
    """By how much one row exceeds another.

    Attributes:
        low, high: 95 % confidence interval.
        over: what was compared, in words.
    """

    mean: float
    low: float
    high: float
    p: float
    over: str


@final
@dataclass(frozen=True)
class Row:
    """What a verdict reads of one row: its number in each training, and the errors of faces in each training."""

    seeds: Sequence[float]
    faces: Sequence[Mapping[str, float]] = ()

    def mean(self) -> float:
        """Mean over the trainings."""
        return statistics.fmean(self.seeds)


def gap_between(smaller: Row, larger: Row) -> Gap | None:
    """Test the gap between two rows over their trainings and their faces.

    From ``LEAST_SEEDS`` trainings of both rows on, the variance of the gap is the sum of three: that of the mean of
    either row over its trainings, and that of the mean over the faces, each of which is compared with itself in its
    mean over the trainings.  So a gap counts that other trainings and other faces would show, too.  The degrees of
    freedom are Satterthwaite's (1946).  Numbers that come without faces, such as shares of failed faces, are compared
    by the trainings alone (Welch).  With fewer trainings the faces alone are compared: two networks, not two methods.

    The folds of a cross-validation are tested on different faces, and are no repetitions: there all faces are paired.

    Returns:
        None with fewer than ``LEAST_SEEDS`` trainings and fewer than ``LEAST_FACES`` faces.

    Raises:
        MissingExtraError: scipy is not installed (extra: datasets).
    """
    ours, others = _mean_by_face(smaller.faces), _mean_by_face(larger.faces)
    pairs = np.array([others[face] - ours[face] for face in sorted(ours.keys() & others.keys())], np.float64)
    folds = len(smaller.faces) > 1 and any(smaller.faces) and not set.intersection(*map(set, smaller.faces))
    parts = [_variance(pairs)] if len(pairs) > 1 else []
    over = [f"{len(pairs)} faces, paired"] if parts else []
    if min(len(smaller.seeds), len(larger.seeds)) >= LEAST_SEEDS and not folds:
        mean = larger.mean() - smaller.mean()
        parts += [_variance(row.seeds) for row in (smaller, larger)]
        over.insert(0, f"{len(smaller.seeds)} and {len(larger.seeds)} trainings")
    elif len(pairs) >= LEAST_FACES:
        mean = float(pairs.mean())
    else:
        return None
    half, p = _student(mean, parts)
    return Gap(mean, mean - half, mean + half, p, "; ".join(over) + (", of all folds" if folds else ""))


def _variance(values: Sequence[float] | Float64[np.ndarray, " n"]) -> tuple[float, int]:
    """Variance of the mean of some numbers, and its degrees of freedom."""
    return float(np.var(values, ddof=1)) / len(values), len(values) - 1


def _student(gap: float, parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Half of the 95 % interval of a gap, and its p, from independent parts of its variance."""
    variance = sum(part for part, _ in parts)
    if not variance:  # all trainings and all faces give the same number
        return 0.0, float(gap == 0)
    student = require("scipy.stats", extra="datasets").t
    degrees = variance**2 / sum(part**2 / count for part, count in parts)
    error = math.sqrt(variance)
    return error * float(student.ppf(1 - LEVEL / 2, degrees)), 2 * float(student.sf(abs(gap) / error, degrees))


def _mean_by_face(seeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for face, error in seed.items():
            found.setdefault(face, []).append(error)
    return {face: statistics.fmean(errors) for face, errors in found.items()}


def holm(p: Sequence[float]) -> Float64[np.ndarray, " n"]:
    """Holm (1979): p-values of n tests, corrected so that the chance of any wrong rejection stays below the level."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def verdicts(
    table: PaperTable,
    scale: Scale,
    numbers: Callable[[str, Column, str], Sequence[float]],
    errors: Errors = no_errors,
) -> list[Verdict]:
    """One verdict for each claim and test set of a table.

    Args:
        numbers: from (row, column, test set) to the number of each training, in the unit of the column.
        errors: see ``Errors``.
    """
    found: list[Verdict] = []
    waiting: list[tuple[int, Gap]] = []
    columns = {column.label: column for column in table.columns}
    for claim in table.claims:
        column = columns[claim.column]
        for tested in table.sets.get(scale.name, scale.sets) if column.per_set else ("",):
            rows = [
                Row(numbers(row, column, tested), errors(row, tested, column)) for row in (claim.smaller, claim.larger)
            ]
            verdict, gap = _verdict(claim, column, tested, rows[0], rows[1])
            untrained = _untrained((claim.smaller, claim.larger), scale, tested, numbers)
            if untrained and verdict.word != NOT_RUN:
                verdict, gap = Verdict(claim, tested, UNTRAINED, untrained), None
            if gap:
                waiting.append((len(found), gap))
            found.append(verdict)
    for (place, gap), p in zip(waiting, holm([gap.p for _, gap in waiting]), strict=True):
        found[place] = _decided(found[place], replace(gap, p=float(p)))
    return found


def _verdict(claim: Claim, column: Column, tested: str, smaller: Row, larger: Row) -> tuple[Verdict, Gap | None]:
    """A verdict, or the gap that decides it once all gaps of the table are known."""
    if not smaller.seeds or not larger.seeds:
        return Verdict(claim, tested, NOT_RUN), None
    said = f"{smaller.mean():.{column.digits}f} against {larger.mean():.{column.digits}f}"
    ratio = larger.mean() / smaller.mean() if smaller.mean() else math.nan
    if claim.ratio:
        near = claim.ratio / NEAR <= ratio <= claim.ratio * NEAR
        said += f", {ratio:.3g} times; published {claim.ratio:g}, and up to {NEAR:g} times more or less counts"
        return Verdict(claim, tested, HOLDS if near else DOES_NOT_HOLD, said), None
    if not column.per_set:
        clear = max(ratio, 1 / ratio) >= CLEAR if ratio > 0 else False
        word = (HOLDS if ratio > 1 else DOES_NOT_HOLD) if clear else UNDECIDED
        return Verdict(claim, tested, word, f"{said}, {ratio:.3g} times"), None
    gap = gap_between(smaller, larger)
    if gap is None:
        seeds, faces = min(len(smaller.seeds), len(larger.seeds)), len(_mean_by_face(smaller.faces))
        said += f"; no test: trainings {seeds}, paired faces {faces}, expected {LEAST_SEEDS} or {LEAST_FACES}"
    return Verdict(claim, tested, UNDECIDED, said), gap


def _decided(verdict: Verdict, gap: Gap) -> Verdict:
    word = (HOLDS if gap.mean > 0 else DOES_NOT_HOLD) if gap.p < LEVEL else UNDECIDED
    return replace(verdict, word=word, gap=gap)


def _untrained(
    rows: Sequence[str], scale: Scale, tested: str, numbers: Callable[[str, Column, str], Sequence[float]]
) -> str:
    """Which of the rows of a claim has not learned, with its error and the bound; empty if both have."""
    bound = scale.learned
    if bound is None or not tested:
        return ""
    column = Column(bound.metric, "")
    for row in (row for row in rows if row not in bound.but):
        values = numbers(row, column, tested)
        rival = numbers(bound.below[row], column, tested) if row in bound.below else ()
        most = min([bound.most, *([statistics.fmean(rival)] if rival else [])])
        if values and statistics.fmean(values) > most:
            error = 100 * statistics.fmean(values)
            return f"{row} has an error of {error:.2f} %; a verdict needs at most {100 * most:.2f} %"
    return ""
