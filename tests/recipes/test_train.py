"""Training on drawn faces: it learns, it records, it goes on after a stop as if there had been none, it shares out."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from canthus.cli.main import app
from canthus.data.synthetic import write_synthetic_300w
from canthus.errors import CanthusError, ConfigError, ModelFileError
from canthus.evaluation.onnx_counts import count_graph
from canthus.models.weights import WeightsReport
from canthus.recipes.build import load_network, start_network
from canthus.recipes.config import TrainConfig, load_recipe
from canthus.recipes.export import export, training_sets
from canthus.recipes.train import Surroundings, pack_faces, train
from canthus.runtime.sessions import LandmarkSession
from canthus.training.checkpoint import checkpoint_config, read_checkpoint
from canthus.training.fit import moving_averages

RECIPE = """
name = "drawn"
model = "pfld"
model_settings = { width = 0.25 }
size = 64
epochs = 4
faces_per_epoch = 64
batch_size = 16
ema_decay = 0.9

[[train]]
dataset = "300w"
split = "fit"

[[validation]]
dataset = "300w"
split = "validation"

[augmentation]
flip = 0.5
rotation_deg = 15.0
light = 0.2

[optimizer]
learning_rate = 5e-3

[schedule]
warmup_epochs = 1.0
"""


class StopError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("300w")
    write_synthetic_300w(folder, 60, np.random.default_rng(0))
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "drawn.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def config(recipe: Path) -> TrainConfig:
    return load_recipe(str(recipe))


def run(config: TrainConfig, faces: Path, out: Path, write: Callable[[str], None] = lambda line: None) -> None:
    place = Surroundings(roots={"300w": faces}, cache=faces / "cache", out=out, accelerator="cpu")
    train(config, place, pack_faces(config, place), write=write)


@pytest.fixture(scope="module")
def unbroken(config: TrainConfig, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    run(config, faces, out)
    return out


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_its_record(unbroken: Path) -> None:
    found = {p.name for p in unbroken.iterdir()}
    assert found >= {"config.json", "environment.json", "metrics.jsonl", "curves.png", "last.ckpt", "best.ckpt"}
    assert [row["epoch"] for row in rows(unbroken)] == [0, 1, 2, 3]
    assert json.loads((unbroken / "environment.json").read_text())["torch"] == torch.__version__
    assert json.loads((unbroken / "environment.json").read_text())["precision"] == "32-true"


def test_a_processor_without_bfloat16_trains_in_32_bits_and_says_so(
    recipe: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64", "avx512_bf16": False})
    lines: list[str] = []
    short = load_recipe(str(recipe), ["precision=bf16-mixed", "epochs=1", "faces_per_epoch=16"])
    run(short, faces, tmp_path, lines.append)
    assert json.loads((tmp_path / "environment.json").read_text())["precision"] == "32-true"
    assert json.loads((tmp_path / "config.json").read_text())["precision"] == "bf16-mixed"
    assert [line for line in lines if "no instructions for bfloat16" in line]


def test_it_learns(unbroken: Path) -> None:
    losses = [row["train/loss"] for row in rows(unbroken)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_stopped_run_goes_on_as_if_unbroken(config: TrainConfig, faces: Path, unbroken: Path, tmp_path: Path) -> None:
    def kill(line: str) -> None:
        if line.startswith("epoch 3/"):
            raise StopError

    with pytest.raises(StopError):
        run(config, faces, tmp_path, kill)
    assert len(rows(tmp_path)) == 3
    run(config, faces, tmp_path)
    for stopped, whole in zip(rows(tmp_path), rows(unbroken), strict=True):
        for key in whole.keys() - {"seconds"}:
            assert stopped[key] == pytest.approx(whole[key], rel=1e-4), key


def test_a_run_keeps_every_epoch_and_validates_at_least_once(recipe: Path, faces: Path, tmp_path: Path) -> None:
    def kill(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise StopError

    seldom = load_recipe(str(recipe), ["epochs=5", "validate_every=2"])
    with pytest.raises(StopError):
        run(seldom, faces, tmp_path, kill)
    assert read_checkpoint(tmp_path / "last.ckpt")["epoch"] == 0
    run(seldom, faces, tmp_path)
    assert ["300w/validation/nme_ion" in row for row in rows(tmp_path)] == [False, True, False, True, False]
    assert (tmp_path / "best.ckpt").exists()
    shorter = load_recipe(str(recipe), ["epochs=1", "validate_every=2"])
    run(shorter, faces, tmp_path / "shorter")
    assert np.isfinite(rows(tmp_path / "shorter")[0]["300w/validation/nme_ion"])


def test_fine_tuning_starts_from_the_weights_of_a_checkpoint(recipe: Path, unbroken: Path) -> None:
    trained, _ = load_network(unbroken / "best.ckpt")
    start = start_network(load_recipe(str(recipe), [f"init={unbroken / 'best.ckpt'}"]))
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(start.state_dict()[name], value)


def test_fine_tuning_refuses_the_weights_of_another_network(recipe: Path, unbroken: Path) -> None:
    told: list[WeightsReport] = []
    start_network(load_recipe(str(recipe), [f"init={unbroken / 'best.ckpt'}", "size=80"]), report=told.append)
    assert list(told[0].mismatched) == ["stage_global.0.weight", "head.weight"]
    other = load_recipe(str(recipe), [f"init={unbroken / 'best.ckpt'}", "model_settings.width=0.5"])
    with pytest.raises(ConfigError, match="another network"):
        start_network(other)
    missing = load_recipe(str(recipe), ["init=nowhere.ckpt"])
    with pytest.raises(ConfigError, match="no such checkpoint"):
        start_network(missing)


def test_the_card_names_the_sets_of_all_stages(recipe: Path, unbroken: Path) -> None:
    second = load_recipe(str(recipe), [f"init={unbroken / 'best.ckpt'}", "train.0.dataset=folder"])
    assert training_sets(second) == ("300w", "folder")
    with pytest.raises(ConfigError, match="cannot name its training sets"):
        training_sets(load_recipe(str(recipe), ["init=gone.ckpt"]))


def test_averages_begin_with_short_memory() -> None:
    averaged, counter = [torch.zeros(3), torch.ones(2)], [torch.tensor(3)]
    moving_averages(averaged, [torch.ones(3), torch.zeros(2)], torch.tensor(0), decay=0.9)
    torch.testing.assert_close(averaged, [torch.full((3,), 0.9), torch.full((2,), 0.1)])
    moving_averages(averaged, [torch.ones(3), torch.zeros(2)], torch.tensor(1000), decay=0.9)
    torch.testing.assert_close(averaged, [torch.full((3,), 0.91), torch.full((2,), 0.09)])
    moving_averages(counter, [torch.tensor(4)], torch.tensor(5), decay=0.9)
    assert counter == [torch.tensor(4)]


def test_a_folder_of_ones_own_serves_as_a_training_set(recipe: Path, faces: Path, tmp_path: Path) -> None:
    own = load_recipe(str(recipe), ["train.0.dataset=folder", "validation.0.dataset=folder"])
    packs = pack_faces(own, Surroundings(roots={"folder": faces / "helen" / "trainset"}, cache=tmp_path, out=tmp_path))
    assert len(packs.train[0].pack) > len(packs.validation["folder/validation"]) > 0


def test_a_folder_too_small_to_divide_says_so(recipe: Path, faces: Path, tmp_path: Path) -> None:
    for path in sorted((faces / "helen" / "trainset").iterdir())[:4]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    own = ["train.0.dataset=folder", "validation.0.dataset=folder"]
    place = Surroundings(roots={"folder": tmp_path}, cache=tmp_path / "cache", out=tmp_path / "run")
    with pytest.raises(ConfigError, match="folder/validation is empty: the dataset has too few pictures"):
        pack_faces(load_recipe(str(recipe), own), place)
    packs = pack_faces(load_recipe(str(recipe), [*own, "train.0.split=all", "validation.0.split=all"]), place)
    assert len(packs.validation["folder/all"]) == 2


def test_a_crop_beyond_the_packed_one_is_refused(recipe: Path, faces: Path, tmp_path: Path) -> None:
    place = Surroundings(roots={"300w": faces}, cache=tmp_path, out=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"margin is 1.9; expected at most 1.8"):
        pack_faces(load_recipe(str(recipe), ["margin=1.9"]), place)
    assert len(pack_faces(load_recipe(str(recipe), ["margin=1.8"]), place).train[0].pack) > 0


def test_a_folder_belongs_to_one_recipe(config: TrainConfig, recipe: Path, faces: Path, unbroken: Path) -> None:
    other = load_recipe(str(recipe), ["seed=1", "batch_size=8"])
    with pytest.raises(ConfigError, match="batch_size, seed"):
        run(other, faces, unbroken)


def test_a_missing_dataset_says_how_to_name_it(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--root 300w=DIR"):
        pack_faces(config, Surroundings(roots={}, cache=tmp_path, out=tmp_path / "run"))


@pytest.mark.parametrize("best", ["best.ckpt", "last.ckpt"])
def test_a_checkpoint_becomes_a_scored_file(unbroken: Path, faces: Path, tmp_path: Path, best: str) -> None:
    report = export(unbroken / best, tmp_path / "m.onnx", roots={"300w": faces}, cache=faces / "cache")
    card = LandmarkSession.open(report.path).card
    assert report.real
    assert card.metrics == report.metrics
    count = count_graph(report.path, {"image": np.zeros((1, 64, 64, 3), np.uint8)})
    assert (card.parameters, card.multiply_adds) == (count.parameters, count.multiply_adds)
    assert card.training_data == ("300w",)
    assert card.learned_from == ("300w/fit",)
    assert card.licence.startswith("research use only")
    # What the run measured in torch is what the file measures, up to the rounding of the record.
    measured = min(row["300w/validation/nme_ion"] for row in rows(unbroken))
    if best == "best.ckpt":
        assert report.metrics["300w/validation/nme_ion"] == pytest.approx(measured, rel=1e-3)
        half = export(unbroken / best, tmp_path / "half.onnx", roots={}, cache=faces / "cache", half=True)
        assert half.size_bytes < 0.6 * report.size_bytes
        assert 0 < half.difference < 0.1


def test_an_export_takes_what_was_measured_of_a_twin(unbroken: Path, faces: Path, tmp_path: Path) -> None:
    honest = export(unbroken / "best.ckpt", tmp_path / "honest.onnx", roots={"300w": faces}, cache=faces / "cache")
    other = unbroken / "last.ckpt"
    report = export(other, tmp_path / "m.onnx", roots={}, cache=faces / "cache", twin=honest.path)
    card = LandmarkSession.open(report.path).card
    assert (card.twin, card.metrics, report.metrics) == ("honest", honest.metrics, honest.metrics)
    lines = report.describe(load_network(other)[1])
    assert lines[-1].startswith(f"card: errors and confidence of its twin {honest.path}")


def test_an_export_of_nan_is_refused_and_keeps_the_earlier_file(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"an earlier file")
    network, config = load_network(unbroken / "best.ckpt")
    with torch.no_grad():
        list(network.parameters())[-1].fill_(float("nan"))
    monkeypatch.setattr("canthus.recipes.export.load_network", lambda _: (network, config))
    with pytest.raises(ModelFileError, match="'points' of the network holds numbers that are not finite"):
        export(unbroken / "best.ckpt", path, roots={}, cache=tmp_path)
    assert path.read_bytes() == b"an earlier file"
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "..", "a\x1b[31m"])
def test_the_name_in_a_checkpoint_is_no_path(
    name: str, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(unbroken / "best.ckpt", tmp_path / "run" / "best.ckpt")
    values = checkpoint_config(read_checkpoint(unbroken / "best.ckpt"), source=unbroken)
    monkeypatch.setattr("canthus.training.checkpoint.checkpoint_config", lambda *_, **__: {**values, "name": name})
    result = CliRunner().invoke(app, ["export", str(tmp_path / "run" / "best.ckpt")])
    assert isinstance(result.exception, CanthusError)
    assert "expected the name of one file" in str(result.exception)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["best.ckpt"]


def test_an_export_overwrites_neither_its_checkpoint_nor_files_of_others(unbroken: Path, tmp_path: Path) -> None:
    checkpoint = shutil.copy(unbroken / "best.ckpt", tmp_path / "best.ckpt")
    (tmp_path / "link.onnx").hardlink_to(checkpoint)
    shutil.copy(unbroken / "last.ckpt", tmp_path / "other.ckpt")
    onnx.save(
        onnx.parser.parse_model(
            '<ir_version: 9, opset_import: ["": 18]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
        ),
        tmp_path / "other.onnx",
    )
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for name, reason in (
        ("link.onnx", "would overwrite the input"),
        ("other.ckpt", "would overwrite a model"),
        ("other.onnx", "would overwrite a model"),
        ("best.ckpt", "would overwrite the input"),
    ):
        result = CliRunner().invoke(app, ["export", str(checkpoint), "--out", str(tmp_path / name)])
        assert isinstance(result.exception, CanthusError)
        assert reason in str(result.exception)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_without_data_the_export_is_checked_on_drawn_faces(unbroken: Path, tmp_path: Path) -> None:
    report = export(unbroken / "best.ckpt", tmp_path / "m.onnx", roots={}, cache=tmp_path)
    assert not report.real
    assert report.pictures == 32
    assert report.metrics == {}


def test_a_checkpoint_is_read_as_plain_data(unbroken: Path, tmp_path: Path) -> None:
    network, config = load_network(unbroken / "best.ckpt")
    assert config.name == "drawn"
    assert not network.training
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes((unbroken / "best.ckpt").read_bytes()[:1000])
    with pytest.raises(ModelFileError, match=r"cannot|safely"):
        read_checkpoint(damaged)
    with pytest.raises(ModelFileError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "none.ckpt")


@pytest.mark.parametrize("nodes", [1, 2])
def test_two_processes_share_an_epoch(nodes: int, recipe: Path, faces: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    launcher = [
        sys.executable, "-m", "torch.distributed.run", "--master-addr=127.0.0.1", f"--master-port={port}",
        f"--nnodes={nodes}", f"--nproc-per-node={2 // nodes}",
    ]  # fmt: skip
    command = [
        "--no-python", str(Path(sys.executable).parent / "canthus"), "train", str(recipe), "--root", f"300w={faces}",
        "--cache", str(faces / "cache"), "--out", str(tmp_path), "--devices", str(2 // nodes), "--nodes", str(nodes),
        "--accelerator", "cpu", "--threads", "1", "--set", "epochs=2",
    ]  # fmt: skip
    started = [
        subprocess.Popen([*launcher, f"--node-rank={rank}", *command], stderr=subprocess.PIPE, text=True)
        for rank in range(nodes)
    ]
    for process in started:
        problems = process.communicate(timeout=300)[1]
        assert process.returncode == 0, problems[-3000:]
    assert [row["epoch"] for row in rows(tmp_path)] == [0, 1]
    # 64 faces in batches of 16 are four steps for one process and two for each of two.
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 4


@pytest.mark.parametrize("name", ["pfld", "blaze_ghost"])
def test_training_goes_on_from_an_exported_model(name: str, recipe: Path, faces: Path, tmp_path: Path) -> None:
    settings = ["model_settings={width=0.25}"] if name == "pfld" else ["model_settings={}"]
    changes = [f"model={name}", *settings, "epochs=1", "faces_per_epoch=32"]
    run(load_recipe(str(recipe), changes), faces, tmp_path / "first")
    export(tmp_path / "first/best.ckpt", tmp_path / "first.onnx", roots={}, cache=tmp_path)
    second = load_recipe(str(recipe), [*changes, f"init={tmp_path / 'first.onnx'}"])
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, size=(24, 64, 64, 3), dtype=np.uint8)
    images = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255.0
    network = start_network(second, lambda: images)
    expected = LandmarkSession.open(tmp_path / "first.onnx")(crops)
    for training in (
        False,
        True,
    ):  # in training the norms take the statistics of the batch, which are the measured ones
        network.train(training)
        with torch.no_grad():
            points = network(images).points.numpy() * 64 - 0.5
        assert np.abs(points - expected).max() < 0.02
    assert training_sets(second) == ("300w",)
    run(second, faces, tmp_path / "second")
    assert len(rows(tmp_path / "second")) == 1


def test_an_export_of_another_network_is_refused(recipe: Path, unbroken: Path, tmp_path: Path) -> None:
    export(unbroken / "best.ckpt", tmp_path / "drawn.onnx", roots={}, cache=tmp_path)
    other = load_recipe(str(recipe), [f"init={tmp_path / 'drawn.onnx'}", "model_settings.width=0.5"])
    with pytest.raises(ModelFileError, match="export of another network"):
        start_network(other, lambda: torch.rand(4, 3, 64, 64))
    with pytest.raises(ConfigError, match="training pictures"):
        start_network(other)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelFileError, match="is no ONNX model, or is damaged"):
        start_network(load_recipe(str(recipe), [f"init={tmp_path / 'text.onnx'}"]), lambda: torch.rand(4, 3, 64, 64))
