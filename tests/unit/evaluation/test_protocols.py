"""Numbers of AFLW and CelebA: which points count, and over what."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from canthus.cli.tables import report_tables
from canthus.data import DATASETS
from canthus.data.datasets import USUAL
from canthus.errors import DataError
from canthus.evaluation.errors import CROP_MARGIN, unit_squared_error
from canthus.evaluation.predictions import Prediction
from canthus.evaluation.report import Report, report_json, score, write_report
from canthus.evaluation.rows import (
    FaceError,
    face_error,
    protocol_of,
    read_rows,
    worst_faces,
    write_rows,
)
from canthus.schemes import AFLW_19, FIVE, Scheme
from canthus.types import Annotation


def make_face(scheme: Scheme, *, hidden: tuple[int, ...] = (), key: str = "a") -> Annotation:
    """Points on a line from (10, 10), the box 40 wide and 90 high."""
    points = np.stack([np.arange(scheme.count), np.zeros(scheme.count)], axis=1).astype(np.float32) + 10
    visible = np.ones(scheme.count, np.bool_)
    visible[list(hidden)] = False
    return Annotation(key, Path("a.png"), points, scheme, np.array([0, 0, 40, 90], np.float32), visible, key)


def predicted(truth: Annotation, offset: float, *, hidden_offset: float = 0.0) -> Prediction:
    """Every visible point is ``offset`` pixels too low."""
    down = np.where(truth.visible, offset, hidden_offset).astype(np.float32)
    points = truth.points + np.stack([np.zeros_like(down), down], axis=1)
    return Prediction(truth, points, found=True, box=truth.box, overlap=1.0)


def row_of(prediction: Prediction, dataset: str) -> FaceError:
    return face_error(prediction, dataset=dataset, split="test", boxes="truth")


def report_of(predictions: list[Prediction], dataset: str) -> Report:
    return score(predictions, model="m", dataset=dataset, split="test", boxes="truth", protocol="truth")


def printed(report: Report) -> str:
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as caught:
        console.print(*report_tables(report))
    return caught.get()


def test_aflw_counts_visible_points_over_three_sizes_of_the_box() -> None:
    row = row_of(predicted(make_face(AFLW_19, hidden=(11, 18)), 3.0, hidden_offset=500.0), "aflw")
    assert row.nme_box == pytest.approx(3 / math.sqrt(40 * 90))
    assert row.nme_diagonal == pytest.approx(3 / math.hypot(40, 90))
    assert row.nme_longer == pytest.approx(3 / 90)
    assert row.error == row.nme_box
    assert math.isnan(row.nme_ion)  # point 11 is an outer corner
    assert row.hidden == pytest.approx(2 / 19)
    assert math.isfinite(row.nme_ipn)


def test_other_sets_count_hidden_points_too() -> None:
    row = row_of(predicted(make_face(AFLW_19, hidden=(11,)), 3.0, hidden_offset=22.0), "folder")
    assert row.nme_box == pytest.approx((18 * 3 + 22) / 19 / 60)
    assert row.error == row.nme_ion


def test_eyes_may_be_missing_in_aflw_alone() -> None:
    truth = make_face(AFLW_19)
    points = truth.points.copy()
    points[6] = np.nan
    broken = replace(truth, points=points)
    with pytest.raises(DataError, match="the scale 'ion' of the truth is nan"):
        row_of(predicted(broken, 1.0), "folder")
    assert math.isnan(row_of(predicted(replace(broken, visible=truth.visible), 1.0), "aflw").nme_ion)
    with pytest.raises(DataError, match="must be marked missed"):
        row_of(predicted(truth, math.nan), "aflw")
    with pytest.raises(DataError, match="the scale 'box' of the truth is 0"):
        row_of(predicted(replace(truth, box=np.zeros(4, np.float32)), 1.0), "aflw")


def test_a_profile_is_no_failure_of_the_eyes() -> None:
    profile, frontal = make_face(AFLW_19, hidden=(11,)), make_face(AFLW_19, key="b")
    report = report_of([predicted(profile, 3.0), predicted(frontal, 0.1), Prediction.missed(frontal)], "aflw")
    numbers = report_json(report)
    assert numbers["fr_8"] == 0.5  # of the two faces with eyes, the missed one
    assert numbers["nme_box"] == pytest.approx((3 + 0.1) / 2 / 60)
    assert numbers["fr_box_7"] == pytest.approx(1 / 3)
    assert numbers["auc_box_7"] == pytest.approx((2 - (3 + 0.1) / 60 / 0.07) / 3)
    text = printed(report)
    assert "visible points, over" in text
    assert "2.583" in text  # 100 * 1.55 / 60
    assert "by part" not in text


def test_mse_of_the_unit_frame() -> None:
    truth = np.zeros((1, 2, 2))
    found = np.array([[[13.0, 0.0], [0.0, np.nan]]])
    truth[0, 1] = np.nan
    boxes = np.array([[0.0, 0.0, 10.0, 100.0]])
    side = CROP_MARGIN * 100
    np.testing.assert_allclose(unit_squared_error(found, truth, boxes), (13 / side) ** 2 / 2)


def test_celeba_prints_the_distance_of_the_eyes_and_mse() -> None:
    report = report_of([predicted(make_face(FIVE), 0.05)], "celeba")
    row = report.rows[0]
    assert row.nme_ion == row.nme_ipn == pytest.approx(0.05, rel=1e-4)
    assert row.mse_unit == pytest.approx(0.05**2 / 2 / 117**2, rel=1e-4)
    text = printed(report)
    assert "5.000" in text
    assert "MSE" in text
    assert "eyes and mouth" not in text


def test_every_protocol_names_a_number_of_the_rows() -> None:
    row = row_of(predicted(make_face(FIVE), 1.0), "celeba")
    assert all(
        math.isfinite(getattr(row, protocol.error)) for protocol in {dataset.protocol for dataset in DATASETS.values()}
    )
    assert protocol_of("predictions.json") is USUAL


def test_rows_keep_the_new_numbers(tmp_path: Path) -> None:
    rows = [row_of(predicted(make_face(AFLW_19, hidden=(11,)), 3.0), "aflw")]
    write_rows(tmp_path / "rows.csv", rows)
    assert repr(read_rows(tmp_path / "rows.csv")) == repr(rows)  # NaN is no equal of itself


def test_worst_faces_and_curves_follow_the_protocol(tmp_path: Path) -> None:
    predictions = [predicted(make_face(AFLW_19, hidden=(11,), key=str(n)), n) for n in (1.0, 5.0, 2.0)]
    report = report_of(predictions, "aflw")
    assert [row.key for _, row in worst_faces(predictions, report.rows, count=2)] == ["5.0", "2.0"]
    pytest.importorskip("matplotlib")
    assert "errors.png" in [path.name for path in write_report(tmp_path, report, worst=0)]
