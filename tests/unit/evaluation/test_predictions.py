from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canthus.errors import ConfigError, DataError
from canthus.evaluation.predictions import (
    Prediction,
    carries_truth,
    match_detections,
    parse_predictions,
    read_json_list,
    write_predictions,
)
from canthus.evaluation.rows import write_rows
from canthus.evaluation.run import evaluate
from canthus.schemes import IBUG_68
from canthus.types import Annotation


def parse(entries: list[dict[str, Any]]) -> list[Prediction]:
    return parse_predictions(entries, IBUG_68, root=Path("pictures"), source="file.json")


def entry(**changes: Any) -> dict[str, Any]:
    points = np.random.default_rng(1).uniform(0, 100, (68, 2)).round(2).tolist()
    return {"image": "a.jpg", "truth": points, "predicted": points, "subset": "common"} | changes


def test_predictions_come_back_as_written(faces: list[Annotation], tmp_path: Path) -> None:
    truth = faces[0]
    shifted = Prediction(truth, truth.points + 1, found=True, box=truth.box + 4, overlap=0.7)
    write_predictions(tmp_path / "p.json", [shifted, Prediction.missed(faces[1])], boxes="detector")
    entries = read_json_list(tmp_path / "p.json")
    assert carries_truth(entries)
    assert entries[0]["boxes"] == "detector"
    first, second = parse_predictions(entries, IBUG_68, root=tmp_path, source="p.json")
    np.testing.assert_allclose(first.points, shifted.points, atol=1e-3)
    np.testing.assert_allclose(first.box, shifted.box, atol=1e-3)
    assert 0 < first.overlap < 1
    assert first.truth.subset == "easy"
    assert not second.found


def test_truth_with_unknown_points_is_valid_json_and_comes_back(faces: list[Annotation], tmp_path: Path) -> None:
    truth = faces[0]
    truth.points[3] = np.nan
    write_predictions(tmp_path / "p.json", [Prediction(truth, np.zeros((68, 2), np.float32), True, truth.box, 1.0)],
                      boxes="truth")  # fmt: skip
    assert "NaN" not in (tmp_path / "p.json").read_text()
    (prediction,) = parse_predictions(read_json_list(tmp_path / "p.json"), IBUG_68, root=tmp_path, source="p.json")
    assert np.isnan(prediction.truth.points[3]).all()
    assert np.isfinite(prediction.truth.points[4]).all()


def test_predictions_carry_a_scheme_of_ones_own(faces: list[Annotation], tmp_path: Path) -> None:
    mine = replace(IBUG_68, name="mine", eye_corners=(), pupils=())
    own = [Prediction(replace(f, scheme=mine), f.points, True, f.box, 1.0) for f in faces]
    write_predictions(tmp_path / "p.json", own, boxes="truth")
    report = evaluate(predictions=tmp_path / "p.json")
    assert [prediction.truth.scheme for prediction in report.predictions] == [mine] * 3
    assert (report.scale, [row.error for row in report]) == ("longer", [0.0] * 3)
    assert "longer side of the face box" in str(report)
    assert report.to_dict()["scale"] == "longer"
    write_rows(tmp_path / "rows.csv", report.rows)
    assert evaluate(predictions=tmp_path / "rows.csv").scale == "longer"
    with pytest.raises(ConfigError, match="mine has no eye_corners, so there is no inter-ocular distance; choose"):
        evaluate(predictions=tmp_path / "p.json", scale="ion")


def test_a_scale_may_be_chosen_and_needs_no_eye(faces: list[Annotation], tmp_path: Path) -> None:
    gone = faces[0].points.copy()
    gone[36] = np.nan
    truth = replace(faces[0], points=gone)
    write_predictions(
        tmp_path / "p.json", [Prediction(truth, faces[0].points + 3, True, truth.box, 1.0)], boxes="truth"
    )
    with pytest.raises(DataError, match="the scales box, diagonal and longer need no points of the eyes"):
        evaluate(predictions=tmp_path / "p.json")
    by = {name: evaluate(predictions=tmp_path / "p.json", scale=name).rows[0] for name in ("box", "diagonal", "longer")}
    assert by["box"].error > by["longer"].error > by["diagonal"].error > 0
    assert by["box"].error == by["longer"].nme_box


def test_two_faces_of_a_picture_have_two_keys() -> None:
    first, second = parse([entry(), entry()])
    assert (first.truth.key, second.truth.key) == ("a.jpg", "a.jpg#2")
    assert first.truth.path == Path("pictures/a.jpg")


def test_predicted_null_is_a_missed_face() -> None:
    (prediction,) = parse([entry(predicted=None)])
    assert not prediction.found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": 3}, "expected a string 'image', found 3"),
        ({"truth": [[1, 2]]}, r"expected 'truth' to be 68 x 2 numbers \(ibug_68\), found 1 x 2"),
        ({"predicted": "many"}, "expected 'predicted' to be a list of numbers"),
        ({"predicted": [[1, 2], [3]]}, "expected 'predicted' to be a list of numbers"),
        ({"predicted": [[None, 2]] * 68}, "for a missed face write null"),
        ({"box": [1, 2, 3]}, r"expected 'box' to be 4 numbers"),
    ],
)
def test_malformed_entries_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"file.json: entry 0: .*{message}"):
        parse([entry(**changes)])


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "[1]"])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(DataError, match=r"not JSON|expected a list of objects"):
        read_json_list(tmp_path / "p.json")


def test_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_json_list(tmp_path / "p.json")


def detections(faces: list[Annotation]) -> list[dict[str, Any]]:
    """What detect writes for the pictures of ``faces``, names relative to their folder; the second face missed."""
    return [
        {"image": "a.png", "faces": [{"points": (faces[0].points + 1).tolist(), "scheme": "ibug_68", "score": 1.0}]},
        {"image": "b.png", "faces": [{"points": faces[2].points.tolist(), "box": faces[2].box.tolist()}]},
    ]


def match(entries: list[dict[str, Any]], faces: list[Annotation]) -> list[Prediction]:
    return match_detections(entries, faces, root=faces[0].path.parent, min_overlap=0.5, source="d.json")


def test_detections_are_matched_to_the_truth(faces: list[Annotation]) -> None:
    found = match(detections(faces), faces)
    assert [(p.truth.key, p.found) for p in found] == [("a_1", True), ("b_1", False), ("b_2", True)]
    np.testing.assert_allclose(found[0].points, faces[0].points + 1)
    np.testing.assert_allclose(found[2].points, faces[2].points)


def test_a_picture_without_faces_misses_them(faces: list[Annotation]) -> None:
    entries = [{"image": str(face.path), "faces": []} for face in faces]
    assert not any(p.found for p in match(entries, faces))


def test_a_picture_without_entry_is_refused(faces: list[Annotation]) -> None:
    with pytest.raises(DataError, match=r"no entry for 1 of 2 labelled pictures, the first .*b\.png"):
        match(detections(faces)[:1], faces)


def test_detections_of_another_scheme_are_refused(faces: list[Annotation]) -> None:
    entries = detections(faces)
    entries[0]["faces"][0]["scheme"] = "wflw_98"
    with pytest.raises(DataError, match=r"a\.png: points are wflw_98, the truth is ibug_68"):
        match(entries, faces)


def test_entries_without_a_list_of_faces_are_refused(faces: list[Annotation]) -> None:
    with pytest.raises(DataError, match="expected 'faces', a list"):
        match([{"image": "a.png"}, {"image": "b.png"}], faces)
