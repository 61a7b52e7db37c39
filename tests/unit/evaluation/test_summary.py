import math

import numpy as np
import pytest

from canthus.evaluation.rows import FaceError
from canthus.evaluation.summary import area_under_curve, cumulative_curve, divide, failure_rate, summarize


def row(error: float, *, subset: str = "", dataset: str = "set", split: str = "all", found: bool = True) -> FaceError:
    return FaceError(
        key="k", dataset=dataset, split=split, subset=subset, boxes="truth", found=found, overlap=1.0, hidden=0.0,
        nme_ion=error, nme_ipn=1.4 * error, nme_box=error / 2, parts={"jaw": 2 * error},
    )  # fmt: skip


def test_missed_faces_fail_and_stay_out_of_the_mean() -> None:
    summary = summarize([row(0.02), row(0.04), row(math.nan, found=False), row(0.09)])
    assert (summary.faces, summary.missed) == (4, 1)
    assert summary.nme_ion == pytest.approx(0.05)
    assert summary.nme_ipn == pytest.approx(0.07)
    assert summary.fr_8 == 0.5
    assert summary.fr_10 == 0.25
    assert summary.auc_8 == pytest.approx((0.75 + 0.5) / 4)
    assert summary.parts == {"jaw": pytest.approx(0.1)}


def test_nothing_to_average_is_nan() -> None:
    assert math.isnan(summarize([row(math.nan, found=False)]).nme_ion)
    empty = summarize([])
    assert empty.faces == 0
    assert all(math.isnan(v) for v in (empty.nme_ion, empty.fr_8, empty.auc_8))


def test_threshold_must_be_positive() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        area_under_curve(np.ones(1), 0.0)


def test_error_at_the_threshold_is_no_failure() -> None:
    assert failure_rate(np.array([0.08, np.nextafter(0.08, 1)]), 0.08) == 0.5


def test_curve_counts_missed_faces_in_its_height() -> None:
    x, share = cumulative_curve(np.array([0.05, np.nan, 0.01, np.inf]))
    np.testing.assert_array_equal(x, [0.01, 0.05])
    np.testing.assert_array_equal(share, [0.25, 0.5])


def test_one_subset_is_not_repeated() -> None:
    assert divide([row(0.1, subset="only"), row(0.2, subset="only")]) == {}
    assert divide([]) == {}


def test_full_300w_is_divided_into_common_and_challenging() -> None:
    rows = [row(0.1, subset=name, dataset="300w", split="full") for name in ("helen", "lfpw", "lfpw", "ibug")]
    sizes = {name: len(part) for name, part in divide(rows).items()}
    assert sizes == {"common": 3, "challenging": 1, "helen": 1, "lfpw": 2, "ibug": 1}
