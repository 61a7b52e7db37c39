"""Curves, sheet of worst faces, and the folder of a report."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import ImageError, MissingExtraError, OutputError
from canthus.evaluation import plots
from canthus.evaluation.plots import plot_error_curves
from canthus.evaluation.predictions import Prediction
from canthus.evaluation.report import Report, report_json, score, write_report
from canthus.evaluation.sheets import PREDICTED_COLOR, TRUTH_COLOR, worst_sheet
from canthus.images import read_image
from canthus.types import Annotation, Image


def count_color(image: Image, color: tuple[int, int, int]) -> int:
    return int((image == np.array(color, np.uint8)).all(axis=-1).sum())


def make_report(faces: list[Annotation]) -> Report:
    predictions = [Prediction(f, f.points + 1 + i, True, f.box, 1.0) for i, f in enumerate(faces[:2])]
    predictions.append(Prediction.missed(faces[2], overlap=0.1))
    return score(predictions, model="m", dataset="drawn", split="all", boxes="detector", protocol="detector d")


def test_error_curves_are_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "curve.png"
    errors = {"some": np.array([0.02, 0.05, np.nan]), "far off": np.array([0.5]), "none": np.array([np.nan])}
    plot_error_curves(path, errors, threshold=0.08, scale="inter-ocular", boxes="truth", title="t")
    image = read_image(path)
    assert image.shape[1] == 900
    assert (image < 128).any(), "something is drawn on the white paper"


def test_worst_sheet_shows_truth_and_prediction(faces: list[Annotation]) -> None:
    report = make_report(faces)
    sheet = worst_sheet(report.predictions, report.rows, count=3, columns=2, tile=200)
    assert sheet.shape[1] == 400
    first_line = sheet[26 : 26 + 200]
    missed, worst = first_line[:, :200], first_line[:, 200:]
    assert count_color(missed, TRUTH_COLOR) > 100
    assert count_color(missed, PREDICTED_COLOR) == 0
    assert count_color(worst, PREDICTED_COLOR) > 100


def test_sheet_holds_no_more_than_there_are(faces: list[Annotation]) -> None:
    report = make_report(faces)
    assert worst_sheet(report.predictions, report.rows, count=99, tile=100).shape[1] == 300
    with pytest.raises(ValueError, match="at least one face"):
        worst_sheet([], [], count=3)


def test_wild_predictions_and_unknown_points_can_be_drawn(faces: list[Annotation]) -> None:
    faces[0].points[5] = np.nan
    wild = Prediction(faces[0], faces[0].points * 0 + 1e30, True, faces[0].box, 1.0)
    wild.points[5] = 0
    report = score([wild], model="m", dataset="d", split="s", boxes="truth", protocol="truth")
    assert count_color(worst_sheet(report.predictions, report.rows, count=1), TRUTH_COLOR) > 100


def test_sheet_without_its_picture_is_an_error(faces: list[Annotation]) -> None:
    report = make_report(faces)
    faces[2].path.unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        worst_sheet(report.predictions, report.rows, count=1)


def test_report_folder(faces: list[Annotation], tmp_path: Path) -> None:
    report = make_report(faces)
    written = [path.name for path in write_report(tmp_path / "out", report, worst=2)]
    assert written == ["summary.json", "rows.csv", "predictions.json", "worst.png", "errors.png"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == report_json(report)


def test_report_folder_that_is_a_file_is_refused(faces: list[Annotation], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="choose another place"):
        list(write_report(tmp_path / "out", make_report(faces), worst=0))


def test_report_of_kept_rows_has_no_predictions(faces: list[Annotation], tmp_path: Path) -> None:
    report = replace(make_report(faces), predictions=())
    written = [path.name for path in write_report(tmp_path, report, worst=2)]
    assert written == ["summary.json", "rows.csv", "errors.png"]


def test_without_matplotlib_all_but_the_curves_is_written(
    faces: list[Annotation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(module: str, *, extra: str) -> None:
        raise MissingExtraError(f"{module} [{extra}]")

    monkeypatch.setattr(plots, "require", absent)
    with pytest.raises(MissingExtraError, match=r"matplotlib.*\[plots\]"):
        list(write_report(tmp_path / "out", make_report(faces), worst=1))
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"summary.json", "rows.csv", "predictions.json", "worst.png"}


def test_json_has_the_promised_keys_as_fractions(faces: list[Annotation]) -> None:
    values = report_json(make_report(faces))
    assert {"faces", "nme_ion", "nme_ipn", "fr_8", "fr_10", "auc_8", "boxes"} <= set(values)
    assert values["faces"] == 3
    assert values["missed"] == 1
    assert values["boxes"] == "detector"
    assert values["nme_ion"] == pytest.approx(math.sqrt(2) * 1.5 / 40, rel=1e-5)
    assert values["fr_10"] == pytest.approx(1 / 3)
    assert list(values["subsets"]) == ["easy", "hard"]
    assert values["groups"]["jaw"] == pytest.approx(values["nme_ion"], rel=1e-5)


def test_json_holds_null_where_nothing_was_found(faces: list[Annotation]) -> None:
    missed = [Prediction.missed(faces[0])]
    values = report_json(score(missed, model="m", dataset="d", split="s", boxes="detector", protocol="p"))
    assert values["nme_ion"] is None
    assert values["fr_8"] == 1.0
    assert values["auc_8"] == 0.0
    assert "NaN" not in json.dumps(values)


def test_a_report_is_a_sequence_of_rows_with_a_text_and_a_dict(faces: list[Annotation]) -> None:
    report = make_report(faces)
    assert len(report) == 3
    assert list(report) == list(report.rows)
    assert report.to_dict() == report_json(report)
    for part in (report.title, "3 faces, 1 missed", f"NME {100 * report.to_dict()['nme_ion']:.3f} % of the inter-oc"):
        assert part in str(report)
