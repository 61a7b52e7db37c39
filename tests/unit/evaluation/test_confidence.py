"""Confidence through an evaluation: predictions, files, report."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import DataError
from canthus.evaluation.predictions import (
    Prediction,
    match_detections,
    parse_predictions,
    read_json_list,
    write_predictions,
)
from canthus.evaluation.reliability import score_reliability
from canthus.evaluation.report import Report, report_json, score, write_report
from canthus.evaluation.run import predict_on_detected, predict_on_truth
from canthus.images import read_image
from canthus.schemes import IBUG_68
from canthus.types import Annotation, Faces, Image, Landmarks


def confident(image: Image, boxes: np.ndarray) -> Landmarks:
    """Every point in the middle of its box, with confidence by its number and its face."""
    points = np.repeat(((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None], 68, axis=1)
    scores = np.linspace(0, 0.5, 68)[None] + 0.1 * np.arange(len(boxes))[:, None]
    return Landmarks(points.astype(np.float32), IBUG_68, scores.astype(np.float32))


def half_wrong(face: Annotation, *, scores: bool = True) -> Prediction:
    """The first 34 points off by a tenth of the box and of confidence 0.2, the others right and of 0.9."""
    points = face.points.copy()
    points[:34, 0] += 0.1 * float((face.box[2:] - face.box[:2]).max())
    given = np.where(np.arange(68) < 34, 0.2, 0.9).astype(np.float32)
    return Prediction(face, points, True, face.box, 1.0, scores=given if scores else None)


def make_report(predictions: list[Prediction]) -> Report:
    return score(predictions, model="m", dataset="d", split="s", boxes="truth", protocol="truth")


def test_predictions_of_a_model_carry_its_confidence(faces: list[Annotation]) -> None:
    first, second, third = predict_on_truth(faces, confident)
    for prediction, lowest in ((first, 0.0), (second, 0.0), (third, 0.1)):
        assert prediction.scores is not None
        assert prediction.scores[0] == pytest.approx(lowest)

    def find(image: Image) -> Faces:
        return Faces(faces[2].box[None], np.ones(1, np.float32))

    found = {p.truth.key: p for p in predict_on_detected(faces[1:], confident, find)}
    assert found["b_1"].scores is None
    assert found["b_2"].scores is not None


def test_a_report_says_how_well_confidence_keeps_its_word(faces: list[Annotation]) -> None:
    report = make_report([half_wrong(faces[0]), Prediction.missed(faces[1]), half_wrong(faces[2], scores=False)])
    found = report.reliability
    assert found is not None
    assert (found.points, found.right, found.auroc) == (68, 0.5, 1.0)
    assert report.rows[0].confidence == pytest.approx(0.55)
    assert np.isnan([row.confidence for row in report.rows[1:]]).all()
    assert found.ece == pytest.approx(0.5 * 0.2 + 0.5 * 0.1)
    # The truth marks the first 17 points as hidden; these are among the doubted ones.
    assert found.hidden == pytest.approx(0.2)
    assert found.seen == pytest.approx((17 * 0.2 + 34 * 0.9) / 51)
    values = report_json(report)["confidence"]
    assert (values["tolerance"], values["points"], len(values["bins"])) == (0.05, 68, 2)
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_without_confidence_a_report_is_silent_about_it(faces: list[Annotation]) -> None:
    report = make_report([half_wrong(faces[0], scores=False)])
    assert report.reliability is None
    assert "confidence" not in report_json(report)
    assert score_reliability([], tolerance=0.05) is None


def test_points_without_a_known_place_take_no_part(faces: list[Annotation]) -> None:
    faces[0].points[60] = np.nan
    found = score_reliability([half_wrong(faces[0])], tolerance=0.05)
    assert found is not None
    assert found.points == 67


def test_the_tolerance_is_a_part_of_the_face_box(faces: list[Annotation]) -> None:
    shares = [score_reliability([half_wrong(faces[0])], tolerance=t) for t in (0.09, 0.11)]
    assert [found.right for found in shares if found] == [0.5, 1.0]


def test_written_predictions_and_detections_come_back_with_their_confidence(
    faces: list[Annotation], tmp_path: Path
) -> None:
    given = [half_wrong(faces[0]), half_wrong(faces[1], scores=False), Prediction.missed(faces[2])]
    write_predictions(tmp_path / "p.json", given, boxes="truth", tolerance=0.07)
    entries = read_json_list(tmp_path / "p.json")
    assert entries[0]["tolerance"] == 0.07
    back = parse_predictions(entries, IBUG_68, root=tmp_path, source="p.json")
    assert back[0].scores is not None
    np.testing.assert_allclose(back[0].scores, np.where(np.arange(68) < 34, 0.2, 0.9), atol=1e-4)
    assert (back[1].scores, back[2].scores) == (None, None)
    face = {"points": faces[0].points.tolist(), "confidence": [0.25] * 68}
    (matched,) = match_detections(
        [{"image": "a.png", "faces": [face]}], faces[:1], root=tmp_path, min_overlap=0.3, source="d.json"
    )
    assert matched.scores is not None
    assert matched.scores.tolist() == [0.25] * 68


@pytest.mark.parametrize("wrong", [[0.5] * 67, [1.5] * 68, [-0.1] * 68, ["x"] * 68])
def test_confidence_of_another_shape_or_range_is_refused(wrong: list[float], faces: list[Annotation]) -> None:
    points = faces[0].points.tolist()
    with pytest.raises(DataError, match="confidence"):
        parse_predictions(
            [{"image": "a", "truth": points, "predicted": points, "confidence": wrong}],
            IBUG_68, root=Path(), source="p.json",
        )  # fmt: skip


def test_a_report_folder_holds_the_reliability_diagram(faces: list[Annotation], tmp_path: Path) -> None:
    with_scores = make_report([half_wrong(faces[0])])
    names = [path.name for path in write_report(tmp_path / "a", with_scores, worst=0)]
    assert names[-1] == "reliability.png"
    assert (read_image(tmp_path / "a/reliability.png") < 128).any()
    without = replace(with_scores, reliability=None)
    assert "reliability.png" not in [path.name for path in write_report(tmp_path / "b", without, worst=0)]
