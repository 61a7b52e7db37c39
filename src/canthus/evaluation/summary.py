"""Numbers of a table from one error per face: mean, failure rate, area under the curve."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Float64

from canthus.data import DATASETS
from canthus.evaluation.openness import Openness, summarize_openness
from canthus.evaluation.rows import FaceError


def failure_rate(errors: Float[np.ndarray, " n"], threshold: float) -> float:
    """Share of faces whose error is above ``threshold``.

    300-W uses 8 % and WFLW (Wu et al., 2018) 10 % of the inter-ocular distance.

    Args:
        errors: fractions, one per face; NaN or infinite for missed faces, which are failures.
        threshold: fraction; an error equal to it is no failure.

    Returns:
        A fraction in [0, 1]; NaN without faces.
    """
    if len(errors) == 0:
        return math.nan
    return float(np.mean(~(errors <= threshold)))


def area_under_curve(errors: Float[np.ndarray, " n"], threshold: float) -> float:
    """Exact area under the cumulative error curve from 0 to ``threshold``, over ``threshold``.

    The curve F(x), the share of faces with an error of at most x, is a staircase, so its area needs no sampling:
    1/t int_0^t F(x) dx = 1/n sum_i max(0, 1 - e_i / t).  As in WFLW (Wu et al., 2018) it is divided by the threshold.

    Differs: public evaluators often integrate a sampled curve by Simpson's or the trapezoid rule, which changes the
    result by about the sampling step over the threshold.

    Args:
        errors: fractions, one per face; NaN or infinite for missed faces, which add nothing.

    Returns:
        A fraction in [0, 1], 1 for perfect predictions; NaN without faces.

    Raises:
        ValueError: the threshold is not positive.
    """
    if not threshold > 0:
        raise ValueError(f"The threshold of an error curve must be positive, found {threshold}")
    if len(errors) == 0:
        return math.nan
    gains = np.clip(1.0 - np.asarray(errors, np.float64) / threshold, 0.0, None)
    return float(np.where(np.isnan(gains), 0.0, gains).mean())


def cumulative_curve(
    errors: Float[np.ndarray, " n"],
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Corners of the staircase: sorted errors of the found faces, and the share of all faces at or below each.

    Returns:
        Errors and shares, both in ascending order; shorter than ``errors`` if faces were missed.
    """
    found = np.sort(np.asarray(errors, np.float64)[np.isfinite(errors)])
    return found, np.arange(1, len(found) + 1) / max(len(errors), 1)


@final
@dataclass(frozen=True)
class Summary:
    """Numbers of one table row; fractions, not percent.

    A face that the detector missed has no error: it is left out of the means ``nme_*`` and ``parts``, counts in
    ``faces`` and ``missed``, counts as a failure in ``fr_*``, and adds no area to ``auc_*``.  A found face without an
    inter-ocular error, because an eye is not labelled, is left out of all inter-ocular numbers.

    Attributes:
        faces: labelled faces, found or not.
        missed: faces without a prediction.
        nme_ion: mean error of the found faces over the inter-ocular distance.
        nme_ipn: the same over the inter-pupil distance.
        fr_8: share of all faces above 8 % of the inter-ocular distance.
        fr_10: share of all faces above 10 % of the inter-ocular distance.
        auc_8: area under the cumulative curve of the inter-ocular error up to 8 %, over 8 %.
        parts: mean inter-ocular error of the found faces, for each part of the face.
        nme_visible: mean inter-ocular error of the points labelled as visible.
        nme_hidden: mean inter-ocular error of the points labelled as hidden, over the faces that have any.
        nme_eyes: mean inter-ocular error of the points of both eyes.
        openness: errors of the ratios of eyes and mouth, over the found faces.
        nme_box: mean error over the size of the ground-truth box, sqrt(w h).
        nme_diagonal: the same over its diagonal.
        nme_longer: the same over its longer side.
        fr_box_7: share of all faces above 7 % of the size of the box.
        auc_box_7: area under the cumulative curve of ``nme_box`` up to 7 %, over 7 %.
        mse_unit: mean squared error of the coordinates in the unit frame of the crop.
    """

    faces: int
    missed: int
    nme_ion: float
    nme_ipn: float
    fr_8: float
    fr_10: float
    auc_8: float
    parts: Mapping[str, float]
    nme_visible: float
    nme_hidden: float
    nme_eyes: float
    openness: Openness
    nme_box: float
    nme_diagonal: float
    nme_longer: float
    fr_box_7: float
    auc_box_7: float
    mse_unit: float


_MEANS = ("nme_ion", "nme_ipn", "nme_visible", "nme_hidden", "nme_box", "nme_diagonal", "nme_longer", "mse_unit")


def summarize(rows: Sequence[FaceError]) -> Summary:
    """The table row of some faces; NaN if there is nothing to average."""
    found = [row for row in rows if row.found]
    ion = np.array([row.nme_ion for row in rows if not (row.found and math.isnan(row.nme_ion))], np.float64)
    box = np.array([row.nme_box for row in rows], np.float64)
    names = dict.fromkeys(name for row in rows for name in row.parts)
    return Summary(
        faces=len(rows),
        missed=len(rows) - len(found),
        fr_8=failure_rate(ion, 0.08),
        fr_10=failure_rate(ion, 0.10),
        auc_8=area_under_curve(ion, 0.08),
        fr_box_7=failure_rate(box, 0.07),
        auc_box_7=area_under_curve(box, 0.07),
        parts={name: known_mean(row.parts[name] for row in found if name in row.parts) for name in names},
        nme_eyes=known_mean(row.openness.get("nme_eyes", math.nan) for row in found),
        openness=summarize_openness([row.openness for row in found]),
        **{name: known_mean(getattr(row, name) for row in found) for name in _MEANS},
    )


def divide(rows: Sequence[FaceError]) -> dict[str, list[FaceError]]:
    """Rows of each union that papers report, then of each subset in order of first appearance.

    Empty if there are fewer than two subsets, since the subset would repeat the whole.
    """
    names = list(dict.fromkeys(row.subset for row in rows))
    if len(names) < 2:
        return {}
    dataset = DATASETS.get(rows[0].dataset)
    unions = dataset.unions.get(rows[0].split, {}) if dataset else {}
    divisions = {union: [row for row in rows if row.subset in members] for union, members in unions.items()}
    divisions |= {name or "(none)": [row for row in rows if row.subset == name] for name in names}
    return {name: part for name, part in divisions.items() if part}


def known_mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def null_for_nan(value: Any) -> Any:
    """Replace NaN and infinity by None in nested dicts, lists and tuples, since JSON has neither."""
    if isinstance(value, Mapping):
        return {name: null_for_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [null_for_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
