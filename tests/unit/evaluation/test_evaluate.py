"""``canthus.evaluate`` and its neighbours from Python, on drawn faces."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from typer.testing import CliRunner

import canthus
from canthus.cli.main import app
from canthus.data.synthetic import write_synthetic_300w
from canthus.errors import ConfigError
from canthus.evaluation.conditions import PROTOCOLS
from canthus.evaluation.detectors import evaluate_detectors, write_detector_reports
from canthus.evaluation.jitter import JITTER_LEVELS, evaluate_jitter
from canthus.evaluation.occlusion import evaluate_covered
from canthus.evaluation.predictions import write_predictions
from canthus.evaluation.report import write_report
from conftest import tiny_card
from json_schemas import check_schema

T = TypeVar("T")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("300w")
    write_synthetic_300w(folder, 10, np.random.default_rng(0), size=96)
    return folder


@pytest.fixture
def model(tiny_model: Callable[..., Path]) -> Path:
    return tiny_model()


def test_the_command_writes_the_numbers_of_the_function(root: Path, model: Path) -> None:
    report = canthus.evaluate(model, "300w", root, split="common", box_jitter=0.1, seed=3)
    assert (report.model, report.split, report.passes, len(report)) == ("tiny", "common", 1, len(report.predictions))
    arguments = ["--model", model, "--dataset", "300w", "--root", root, "--split", "common", "--box-jitter", "0.1"]
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--seed", "3", "--json", "-"])
    assert json.loads(result.stdout) == report.to_dict()
    check_schema("evaluate", report.to_dict())
    faces = canthus.load_dataset("300w", root, "common")
    assert [row.key for row in report] == [face.key for face in faces]


def test_faces_that_a_model_has_learned_from_are_told(
    root: Path, tiny_model: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    card = replace(tiny_card(), learned_from=("300w/fit", "300w/unheard", "ytf/fit", "folder/all"), twin="honest")
    model, fit = tiny_model(card=card), len(canthus.load_dataset("300w", root, "fit"))
    both = len(canthus.load_dataset("300w", root, "train"))
    told = (
        f"tiny has learned from {fit} of these {both} faces; the errors in its card are those of honest, which has not"
    )
    assert canthus.evaluate(model, "300w", root, split="train").protocol == f"truth; {told}"
    assert canthus.evaluate(model, "300w", root, split="validation").protocol == "truth"
    evaluate_covered("paper_c", models=[model], dataset="300w", root=root, split="train")
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [told]


def test_detected_boxes_and_files_of_predictions(root: Path, model: Path, tmp_path: Path) -> None:
    report = canthus.evaluate(
        model, "300w", root, split="common", boxes="detector", detector="none", min_overlap=0.1, passes=2
    )
    assert (report.boxes, report.passes) == ("detector", 2)
    assert report.protocol.startswith("detector none, overlap above 0.1; missed faces are failures")
    write_predictions(tmp_path / "theirs.json", report.predictions, boxes=report.boxes)
    assert "rows.csv" in [path.name for path in write_report(tmp_path / "out", report)]
    for file in (tmp_path / "theirs.json", tmp_path / "out" / "rows.csv"):
        again = canthus.evaluate(predictions=file)
        assert again.to_dict()["nme_ion"] == pytest.approx(report.to_dict()["nme_ion"], abs=1e-4)


def test_progress_wraps_the_faces(root: Path, model: Path) -> None:
    calls: list[tuple[str, int]] = []

    def progress(items: Iterable[T], what: str, total: int, /) -> Iterable[T]:
        calls.append((what, total))
        return items

    report = canthus.evaluate(model, "300w", root, split="common", progress=progress)
    jitter = evaluate_jitter(report, model, progress=progress)
    covered = evaluate_covered("natural", "300w", root, split="common", models=[model], progress=progress)
    assert jitter.curves()["shift"][0.0] == pytest.approx(report.to_dict()["nme_ion"])
    plain = [row.nme_ion for row in covered["tiny"] if row.occlusion == "none"]
    assert plain == [row.nme_ion for row in report]
    faces = len(report)
    conditions = len(PROTOCOLS["natural"])
    assert calls == [("predicting", faces), ("jittering boxes", JITTER_LEVELS), ("tiny", faces * conditions)]


def test_arguments_that_do_not_fit_are_refused(root: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'seed' has no effect without box-jitter; leave it out"):
        canthus.evaluate(model, "300w", root, seed=1)
    with pytest.raises(ConfigError, match="'detector-tiles' has no effect without detected boxes"):
        canthus.evaluate(model, "300w", root, detector_tiles=True)
    with pytest.raises(ConfigError, match="at least 1 pass"):
        canthus.evaluate(model, "300w", root, split="common", passes=0)
    with pytest.raises(ConfigError, match="name of a dataset and its folder"):
        canthus.evaluate(model)
    with pytest.raises(ConfigError, match="wflw has no default split; choose one of"):
        canthus.evaluate(model, "wflw", tmp_path)


def test_detectors_are_evaluated_from_python(root: Path, tmp_path: Path) -> None:
    (report,) = evaluate_detectors("300w", root, split="common", detectors=["haar"], least_score=0.5)
    assert (report.detector, report.dataset, len(report.seconds)) == ("haar", "300w", len(report.scenes))
    assert all((faces.scores >= 0.5).all() for faces in report.found)
    names = [path.name for path in write_detector_reports(tmp_path / "out", [report], worst=0)]
    assert names == ["rows.csv", "summary.json", "curves.png"]
    assert not math.isnan(json.loads((tmp_path / "out" / "summary.json").read_text())[0]["recall"])
