"""Training with expected errors on drawn faces."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from canthus.data.splits import fold_of
from canthus.data.synthetic import draw_face, write_synthetic_300w
from canthus.errors import ConfigError
from canthus.recipes.build import load_network, start_network
from canthus.recipes.config import TrainConfig, load_fit, load_recipe
from canthus.recipes.export import export
from canthus.recipes.held_out import calibrate
from canthus.recipes.train import Surroundings, pack_faces, train
from canthus.runtime.sessions import LandmarkSession

SMALL = [
    "epochs=3", "faces_per_epoch=64", "batch_size=16", "size=64", "init=", "schedule.warmup_epochs=0.5",
    "precision=32-true", "validation.1.dataset=300w", "ema_decay=0.5",
]  # fmt: skip
SPREAD = [*SMALL, "model_settings={width=0.25, spread=true}"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("300w")
    write_synthetic_300w(folder, 60, np.random.default_rng(0))
    return folder


def run(config: TrainConfig, faces: Path, out: Path) -> list[dict[str, float]]:
    place = Surroundings(roots={"300w": faces}, cache=faces / "cache", out=out, accelerator="cpu")
    train(config, place, pack_faces(config, place))
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    run(load_recipe("pfld_68", SPREAD), faces, out)
    return out


def test_the_expected_errors_learn_beside_the_points(trained: Path) -> None:
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["train/spread_loss"] < rows[0]["train/spread_loss"]
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    network, _ = load_network(trained / "best.ckpt")
    assert network(torch.rand(1, 3, 64, 64)).spread.shape == (1, 68)


def test_lost_faces_are_trained_beside_the_others(faces: Path, tmp_path: Path) -> None:
    rows = run(load_recipe("pfld_68", [*SPREAD, "augmentation.lost=0.3", "epochs=2"]), faces, tmp_path / "run")
    assert rows[-1]["train/spread_loss"] < rows[0]["train/spread_loss"]
    with pytest.raises(ConfigError, match=r"set model_settings.spread = true, or augmentation.lost = 0"):
        load_recipe("pfld_68", ["augmentation.lost=0.3"])
    with pytest.raises(ConfigError, match="predicts no errors of its points"):
        load_fit("esr_68", ["augmentation.lost=0.3"])


def test_a_training_with_expected_errors_may_start_from_one_without(faces: Path, trained: Path, tmp_path: Path) -> None:
    run(load_recipe("pfld_68", [*SMALL, "model_settings={width=0.25}", "epochs=1"]), faces, tmp_path / "plain")
    before, _ = load_network(tmp_path / "plain/best.ckpt")
    second = start_network(load_recipe("pfld_68", [*SPREAD, f"init={tmp_path / 'plain/best.ckpt'}"]))
    for name, value in before.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value)
    with pytest.raises(ConfigError, match="another network"):  # the other way round would lose what was learned
        start_network(load_recipe("pfld_68", [*SMALL, "model_settings={width=0.25}", f"init={trained / 'best.ckpt'}"]))


def test_a_weight_of_zero_is_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="spread_weight must be positive"):
        run(load_recipe("pfld_68", [*SPREAD, "spread_weight=0"]), faces, tmp_path)


def test_the_export_calibrates_on_held_out_faces(faces: Path, trained: Path, tmp_path: Path) -> None:
    report = export(trained / "best.ckpt", tmp_path / "m.onnx", roots={"300w": faces}, cache=faces / "cache")
    assert report.calibration is not None
    assert {f"300w/validation/{name}" for name in ("nme_ion", "ece", "covered/ece")} <= set(report.metrics)
    session = LandmarkSession.open(report.path)
    assert session.card.calibration == report.calibration
    assert session.card.metrics == report.metrics
    scores = session.answer(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)).scores
    assert scores is not None
    assert np.isfinite(scores).all()


def test_without_held_out_faces_the_export_gives_no_confidence(trained: Path, tmp_path: Path) -> None:
    report = export(trained / "best.ckpt", tmp_path / "m.onnx", roots={}, cache=tmp_path)
    session = LandmarkSession.open(report.path)
    assert (report.calibration, report.tells_spread) == (None, True)
    assert session.tells_spread
    assert not session.gives_scores


def test_one_half_calibrates_and_the_other_measures(confident_session: LandmarkSession) -> None:
    rng = np.random.default_rng(0)
    samples = [draw_face(rng, size=32) for _ in range(40)]
    groups = [f"photo {number}" for number in range(40)]
    fitted, measured = calibrate(confident_session, samples, groups)
    assert set(measured) >= {"ece", "covered/ece"}
    assert calibrate(confident_session, samples, groups) == (fitted, measured), "nothing is left to chance"
    half = [fold_of(f"calibration {group}", 2) == 0 for group in groups]
    assert 10 < sum(half) < 30
    changed = [s if first else replace(s, points=s.points + 50) for s, first in zip(samples, half, strict=True)]
    other, worse = calibrate(confident_session, changed, groups)
    assert other == fitted, "the second half has no say in the fit"
    assert worse["ece"] > measured["ece"]
    assert calibrate(confident_session, samples, ["one photo"] * 40)[1] == {}
