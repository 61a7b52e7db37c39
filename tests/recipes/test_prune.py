"""``canthus prune`` on drawn faces: smaller, retrained, resumable, exportable."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from canthus.cli.main import main
from canthus.compression.plan import apply_plan, read_plan
from canthus.compression.prune import PruneSettings
from canthus.data.synthetic import write_synthetic_300w
from canthus.errors import ConfigError
from canthus.models import create_model
from canthus.recipes.build import load_network
from canthus.recipes.config import TrainConfig, load_recipe
from canthus.recipes.export import export
from canthus.recipes.prune import PruneReport, PruneRun, prune, pruning_config
from canthus.recipes.train import Surroundings, pack_faces, train
from canthus.training.checkpoint import network_weights, read_checkpoint
from command import run_command

RECIPE = """
name = "drawn"
model = "pfld"
model_settings = { width = 0.125 }
size = 32
epochs = 1
faces_per_epoch = 32
batch_size = 16
ema_decay = 0.5

[[train]]
dataset = "300w"
split = "fit"

[[validation]]
dataset = "300w"
split = "validation"

[pose]
branch = true
"""
KEEP = (
    *(f"stage_8.{n}.layers.{m}" for n in range(7) for m in ("0.0", "2")),
    *(f"stage_4.{n}.layers.0.0" for n in range(5)),
)
"""Most layers, so that the tests are quick; pruned are five."""
RUN = PruneRun(PruneSettings(0.5, round_to=1, keep=KEEP), images=4, layer_epochs=0.5)


class StopError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("300w")
    write_synthetic_300w(folder, 24, np.random.default_rng(0))
    return folder


@pytest.fixture(scope="module")
def checkpoint(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "drawn.toml").write_text(RECIPE)
    config = load_recipe(str(folder / "drawn.toml"))
    place = place_of(faces, folder)
    return train(config, place, pack_faces(config, place))


def place_of(faces: Path, out: Path) -> Surroundings:
    return Surroundings(roots={"300w": faces}, cache=faces / "cache", out=out, accelerator="cpu")


def pruned(checkpoint: Path, faces: Path, out: Path, run: PruneRun = RUN, stop_at: int = 0) -> PruneReport:
    config: TrainConfig = pruning_config(checkpoint, run)

    def progress(what: str, done: float, total: float | None) -> None:
        if done == stop_at:
            raise StopError

    place = place_of(faces, out)
    return prune(checkpoint, config, place, pack_faces(config, place), run, progress=progress)


def test_going_on_after_a_stop_equals_an_unbroken_pruning(checkpoint: Path, faces: Path, tmp_path: Path) -> None:
    whole = pruned(checkpoint, faces, tmp_path / "whole")
    with pytest.raises(StopError):
        pruned(checkpoint, faces, tmp_path / "stopped", stop_at=3)
    resumed = pruned(checkpoint, faces, tmp_path / "stopped")
    assert read_plan(resumed.plan) == read_plan(whole.plan)
    first, second = (network_weights(read_checkpoint(r.checkpoint)) for r in (whole, resumed))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0, msg=name)


def test_the_command_prunes_and_its_checkpoint_exports(
    checkpoint: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "prune", str(checkpoint), "--rate", "0.75", "--images", "4", "--epochs-per-layer", "0.5", "--final-epochs", "1",
        "--round-to", "1",
        "--root", f"300w={faces}", "--cache", str(faces / "cache"), "--out", str(tmp_path), "--accelerator", "cpu",
        *(argument for layer in KEEP for argument in ("--keep", layer)),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["canthus", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    told = capfd.readouterr().err
    assert not caught.value.code, told
    assert "layer 1 of 5: stage_global.0" in told
    assert "left whole: head (makes the outputs)" in told
    network, config = load_network(tmp_path / "best.ckpt")
    assert config.name == "drawn_pruned"
    start = create_model("pfld", points=68, size=32, settings={"width": 0.125})
    assert sum(p.numel() for p in network.parameters()) < 0.8 * sum(p.numel() for p in start.parameters())
    rebuilt = apply_plan(start, read_plan(tmp_path / "plan.json")).eval()
    rebuilt.load_state_dict(network_weights(read_checkpoint(tmp_path / "best.ckpt")))
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(rebuilt(images).points, network(images).points, rtol=0, atol=0)
    report = export(tmp_path / "best.ckpt", tmp_path / "small.onnx", roots={"300w": faces}, cache=faces / "cache")
    assert report.real
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert report.metrics["300w/validation/nme_ion"] == pytest.approx(last["300w/validation/nme_ion"], rel=1e-3)
    with pytest.raises(ConfigError, match="pruned already"):
        pruning_config(tmp_path / "best.ckpt", RUN)


def test_one_size_is_given(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    done = run_command(
        monkeypatch, capfd, "prune", checkpoint, "--rate", "0.5", "--megabytes", "1", "--out", tmp_path / "run"
    )
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: The pruning has several sizes; expected one of --rate, --megabytes and --weights\n"
    assert not (tmp_path / "run").exists()


def test_megabytes_are_a_bound(
    checkpoint: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = sum(p.numel() for p in load_network(checkpoint)[0].parameters())
    done = run_command(
        monkeypatch, capfd, "prune", checkpoint, "--megabytes", str(4e-6 * 0.8 * whole), "--round-to", "1",
        "--images", "4", "--epochs-per-layer", "0", "--final-epochs", "0", "--root", f"300w={faces}",
        "--cache", faces / "cache", "--out", tmp_path, "--accelerator", "cpu",
    )  # fmt: skip
    assert done.code == 0, done.err
    left = sum(p.numel() for p in load_network(tmp_path / "best.ckpt")[0].parameters())
    assert 0.7 * whole < left <= 0.8 * whole
    assert f"weights:      {whole} -> {left} ({left / whole:.0%})" in done.err


def test_without_training_the_filters_are_cut_and_the_rest_stays(checkpoint: Path, faces: Path, tmp_path: Path) -> None:
    run = PruneRun(replace(RUN.settings, refit=False), images=4, layer_epochs=0.0)
    report = pruned(checkpoint, faces, tmp_path, run)
    whole, _ = load_network(checkpoint)
    expected = apply_plan(whole, read_plan(report.plan)).state_dict()
    for name, value in network_weights(read_checkpoint(report.checkpoint)).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_the_example_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs/pruning.md").read_text(encoding="utf-8")
    example = page.partition("## A network of one's own")[2].partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    images = names["images"][:4]
    with torch.no_grad():
        assert torch.equal(names["rebuilt"].eval()(images), names["made"].network.eval()(images))
