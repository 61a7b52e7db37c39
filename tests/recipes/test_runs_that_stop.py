"""Trainings and prunings that are killed, damaged, disturbed or diverge: nothing is lost, and each says what to do."""

import errno
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from canthus.compression.prune import PruneSettings
from canthus.data.synthetic import write_synthetic_300w
from canthus.errors import CanthusError, ConfigError, DataError, ModelFileError, OutputError
from canthus.images import read_image, write_image
from canthus.models.weights import write_weights_file
from canthus.recipes.config import TrainConfig, load_recipe
from canthus.recipes.prune import PruneRun, prune, pruning_config
from canthus.recipes.train import Surroundings, pack_faces, refuse_other_run, train
from canthus.reproduce.run import Reporter, run_job
from canthus.reproduce.values import PLAIN, Job, Plan, Scale
from canthus.training.checkpoint import CONFIG_KEY, read_checkpoint
from canthus.training.run_folder import LOCK
from command import run_command

RECIPE = """
name = "drawn"
model = "pfld"
model_settings = { width = 0.125 }
size = 32
epochs = 2
faces_per_epoch = 32
batch_size = 16
ema_decay = 0.5

[[train]]
dataset = "300w"
split = "fit"

[[validation]]
dataset = "300w"
split = "validation"
"""
KEEP = (
    *(f"stage_8.{n}.layers.{m}" for n in range(7) for m in ("0.0", "2")),
    *(f"stage_4.{n}.layers.0.0" for n in range(5)),
)
"""Most layers, so that the tests are quick."""
RUN = PruneRun(PruneSettings(0.5, round_to=1, keep=KEEP), images=4, layer_epochs=0.5, final_epochs=1)


SGD = "optimizer.name=sgd"


class KilledError(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("300w")
    write_synthetic_300w(folder, 24, np.random.default_rng(0))
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "drawn.toml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture(scope="module")
def config(recipe: str) -> TrainConfig:
    return load_recipe(recipe)


@pytest.fixture(scope="module")
def unbroken(config: TrainConfig, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    trained(config, faces, out)
    return out


@pytest.fixture
def begun(unbroken: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(unbroken, tmp_path / "begun"))


def place_of(faces: Path, out: Path) -> Surroundings:
    return Surroundings(roots={"300w": faces}, cache=faces / "cache", out=out, accelerator="cpu")


def trained(config: TrainConfig, faces: Path, out: Path) -> Path:
    place = place_of(faces, out)
    return train(config, place, pack_faces(config, place))


def pruned(checkpoint: Path, faces: Path, out: Path, run: PruneRun = RUN, changes: tuple[str, ...] = ()) -> Path:
    config, place = pruning_config(checkpoint, run, changes), place_of(faces, out)
    return prune(checkpoint, config, place, pack_faces(config, place), run).checkpoint


def killed_at(write: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the process at a write, counted from 0: before the file is in place if the number is even, else after."""
    count, real = iter(range(10_000)), Path.replace

    def dying(path: Path, target: Path) -> Path:
        now = next(count)
        if now == write and write % 2 == 0:
            raise KilledError
        moved = real(path, target)
        if now == write:
            raise KilledError
        return moved

    monkeypatch.setattr(Path, "replace", dying)


def until_done(act: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, int]:
    """Kill the first attempt at its first write, the second at its second, ...; the result, and the number of kills."""
    for write in range(1000):
        with monkeypatch.context() as patch:
            killed_at(write, patch)
            try:
                return act(), write
            except KilledError:
                continue
    raise AssertionError("it never ended")


def assert_same_weights(first: Path, second: Path) -> None:
    one, two = read_checkpoint(first)["state_dict"], read_checkpoint(second)["state_dict"]
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=0, msg=name)


def metrics(out: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_a_training_killed_at_every_write_ends_as_an_unbroken_one(
    config: TrainConfig, faces: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best, kills = until_done(lambda: trained(config, faces, tmp_path / "run"), monkeypatch)
    assert kills >= 5
    assert_same_weights(best, unbroken / "best.ckpt")
    assert_same_weights(tmp_path / "run/last.ckpt", unbroken / "last.ckpt")
    assert metrics(tmp_path / "run") == metrics(unbroken)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {path.name for path in unbroken.iterdir()}


def test_a_pruning_killed_at_every_write_ends_as_an_unbroken_one(
    unbroken: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pruned(unbroken / "best.ckpt", faces, tmp_path / "whole")
    best, kills = until_done(lambda: pruned(unbroken / "best.ckpt", faces, tmp_path / "run"), monkeypatch)
    assert kills >= 5
    assert_same_weights(best, whole)
    assert (tmp_path / "run/plan.json").read_text() == (tmp_path / "whole/plan.json").read_text()


def test_a_pruning_ended_by_sigkill_goes_on(unbroken: Path, faces: Path, tmp_path: Path) -> None:
    checkpoint, run = unbroken / "best.ckpt", replace(RUN, final_epochs=0)
    command = [
        sys.executable, "-m", "canthus", "prune", str(checkpoint), "--rate", "0.5", "--images", "4",
        "--epochs-per-layer", "0.5", "--final-epochs", "0", "--round-to", "1",
        "--root", f"300w={faces}", "--cache", str(faces / "cache"),
        "--out", str(tmp_path / "run"), "--accelerator", "cpu", *(word for layer in KEEP for word in ("--keep", layer)),
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 120
        while not (tmp_path / "run/pruning.pt").exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)  # it holds its lock, however fast the machine is
        with pytest.raises(ConfigError, match=f"another run works in this folder .process {process.pid} on"):
            pruned(checkpoint, faces, tmp_path / "run", run)
        process.kill()
    assert (tmp_path / "run" / LOCK).exists()  # left behind, and taken over
    best = pruned(checkpoint, faces, tmp_path / "run", run)
    assert_same_weights(best, pruned(checkpoint, faces, tmp_path / "whole", run))
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_reproduction_killed_at_every_write_ends_as_an_unbroken_one(
    recipe: str, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, scale = Job("net", Plan(recipe, ("epochs=1",)), 0), Scale("tiny", ("300w/validation",), "tiny")

    def act(name: str) -> Path:
        made = run_job(job, place_of(faces, tmp_path / name), measure=PLAIN, scale=scale, tell=Reporter())
        return made.folder / "result.json"

    whole = act("whole")
    result, kills = until_done(lambda: act("run"), monkeypatch)
    assert kills >= 5
    assert json.loads(result.read_text())["metrics"] == json.loads(whole.read_text())["metrics"]
    assert {path.name for path in result.parent.iterdir()} == {path.name for path in whole.parent.iterdir()}


PRUNED_FROM: dict[str, tuple[PruneRun, tuple[str, ...]]] = {
    "another number of images": (replace(RUN, images=5), ()),
    "another number of epochs per layer": (replace(RUN, layer_epochs=0.25), ()),
    "another recipe": (RUN, ("optimizer.learning_rate=0.01",)),
    "other settings": (replace(RUN, settings=replace(RUN.settings, rate=0.75)), ()),
}


def test_an_unfinished_pruning_goes_on_only_as_it_began(
    unbroken: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        killed_at(3, patch)
        pruned(unbroken / "best.ckpt", faces, tmp_path)
    assert (tmp_path / "pruning.pt").exists()
    for what, (run, changes) in PRUNED_FROM.items():
        with pytest.raises(ConfigError, match=f"has a pruning with {what}"):
            pruned(unbroken / "best.ckpt", faces, tmp_path, run, changes)
    with pytest.raises(ConfigError, match="has a pruning with another checkpoint;"):
        pruned(unbroken / "last.ckpt", faces, tmp_path)


@pytest.mark.parametrize("rate", ["1e30", "1e8"])
def test_a_training_that_diverges_stops_before_its_checkpoint(
    recipe: str, faces: Path, tmp_path: Path, rate: str
) -> None:
    wild = load_recipe(recipe, [f"optimizer.learning_rate={rate}", "faces_per_epoch=128", "loss=l2", SGD])
    with pytest.raises(ConfigError, match=r"Epoch 1, step \d: the loss is (nan|inf), so .*Lower optimizer.learning_r"):
        trained(wild, faces, tmp_path)
    assert not list(tmp_path.glob("*.ckpt"))


@pytest.mark.parametrize("validate_every", [1, 2])
def test_weights_that_diverge_in_the_last_step_reach_no_checkpoint(
    recipe: str, faces: Path, tmp_path: Path, validate_every: int
) -> None:
    """One step an epoch: the loss was finite, the weights after it are not."""
    changes = ["optimizer.learning_rate=1e38", "faces_per_epoch=16", f"validate_every={validate_every}", "loss=l2", SGD]
    with pytest.raises(ConfigError, match=r"Epoch 1, at its end: the weights are not finite, so the training was"):
        trained(load_recipe(recipe, changes), faces, tmp_path)
    assert not list(tmp_path.glob("*.ckpt"))


def test_a_validation_that_is_not_finite_gives_no_best_checkpoint(
    config: TrainConfig, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(predicted: np.ndarray, truth: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return np.full(len(truth), np.nan)

    monkeypatch.setattr("canthus.training.task.normalized_error", nothing)
    with pytest.raises(ConfigError, match="The error on 300w/validation is not finite"):
        trained(config, faces, tmp_path)
    assert not (tmp_path / "best.ckpt").exists()


def test_a_pruning_that_diverges_stops(unbroken: Path, faces: Path, tmp_path: Path) -> None:
    long, wild = replace(RUN, layer_epochs=4.0), ("optimizer.learning_rate=1e30",)
    with pytest.raises(ConfigError, match="so the training was stopped"):
        pruned(unbroken / "best.ckpt", faces, tmp_path, long, wild)
    assert not (tmp_path / "pruning.pt").exists()


@pytest.mark.parametrize("name", ["config.json", "data.json", "last.ckpt"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_cut_file_of_a_run_is_one_line(
    config: TrainConfig, faces: Path, begun: Path, name: str, share: float
) -> None:
    path = begun / name
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CanthusError, match=rf"{name}: .*(delete it|cut off)") as caught:
        trained(config, faces, begun)
    assert "\n" not in str(caught.value)


def test_a_cut_line_of_the_record_is_named(config: TrainConfig, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run_until_epoch_2(config, faces, tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"metrics.jsonl:2: damaged or cut off .*delete the line"):
        trained(config, faces, tmp_path)


def run_until_epoch_2(config: TrainConfig, faces: Path, out: Path) -> None:
    def kill(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise KilledError

    place = place_of(faces, out)
    train(config, place, pack_faces(config, place), write=kill)


def test_without_its_settings_a_run_is_known_by_its_checkpoint(config: TrainConfig, recipe: str, begun: Path) -> None:
    (begun / "config.json").unlink()
    refuse_other_run(config, begun)
    with pytest.raises(ConfigError, match="other settings .seed"):
        refuse_other_run(load_recipe(recipe, ["seed=1"]), begun)


def test_weights_alone_cannot_be_resumed(config: TrainConfig, faces: Path, begun: Path) -> None:
    state = read_checkpoint(begun / "last.ckpt")
    write_weights_file(begun / "last.ckpt", {key: state[key] for key in ("state_dict", CONFIG_KEY)})
    with pytest.raises(ModelFileError, match="lacks callbacks, epoch, .*so it cannot be resumed"):
        trained(config, faces, begun)


def test_a_moved_run_keeps_its_best_checkpoint(recipe: str, faces: Path, unbroken: Path, begun: Path) -> None:
    """The paths in the checkpoint are those of the folder it was written in."""
    assert trained(load_recipe(recipe), faces, begun) == begun / "best.ckpt"
    states = read_checkpoint(unbroken / "last.ckpt")["callbacks"]
    assert sum(key.startswith("ModelCheckpoint{") for key in states) == 2  # where earlier versions look for them


@pytest.fixture
def other_faces(faces: Path, tmp_path: Path) -> Path:
    """The same set, with one photo replaced."""
    folder = Path(shutil.copytree(faces, tmp_path / "300w", ignore=shutil.ignore_patterns("cache")))
    path = next((folder / "helen/trainset").glob("*.jpg"))
    write_image(path, 255 - read_image(path))
    return folder


def test_a_run_goes_on_only_with_its_own_data(
    config: TrainConfig, faces: Path, other_faces: Path, begun: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"begun holds a run on other data: 300w/(fit|validation).* changed since"):
        trained(config, other_faces, begun)
    copied = Path(shutil.copytree(faces, tmp_path / "copy"))
    trained(config, copied, begun)  # the same pictures elsewhere
    (begun / "data.json").unlink()
    trained(config, other_faces, begun)  # a run of an earlier version, which did not note its data


def test_names_of_folders_are_printed_as_they_are(
    recipe: str, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Brackets are no markup, and escapes reach no terminal; the training is done by then."""
    out = tmp_path / "[/red] \x1b[31mrun"
    done = run_command(
        monkeypatch, capfd, "train", recipe, "--root", f"300w={faces}", "--cache", faces / "cache", "--out", out,
        "--accelerator", "cpu", "--set", "epochs=1",
    )  # fmt: skip
    assert done.code == 0
    assert r"[/red] \x1b[31mrun/best.ckpt" in done.err
    assert "\x1b" not in done.err


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("train", "--devices=0"), ("train", "--workers=-1"), ("train", "--threads=-1"), ("prune", "--rate=1.5"),
        ("prune", "--rate=nan"), ("prune", "--images=0"), ("prune", "--round-to=0"), ("prune", "--epochs-per-layer=-1"),
        ("prune", "--epochs-per-layer=inf"), ("prune", "--final-epochs=-1"),
    ],
)  # fmt: skip
def test_nonsense_options_are_refused(
    recipe: str,
    unbroken: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    command: str,
    option: str,
) -> None:
    done = run_command(
        monkeypatch, capfd, command, recipe if command == "train" else str(unbroken / "best.ckpt"), option
    )
    assert done.code == 2
    assert "Traceback" not in done.err


def test_a_full_disk_ends_a_training_in_one_line(
    config: TrainConfig, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file in turn does not fit any more; what was there stays."""
    real = Path.write_bytes
    room: Iterator[int] = iter(())

    def full(path: Path, data: bytes) -> int:
        if next(room, None) is None:
            real(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, data)

    for writes in range(6):
        room = iter(range(writes))
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            with pytest.raises(OutputError, match="cannot be written .the disk is full"):
                trained(config, faces, tmp_path / str(writes))
        for left in (tmp_path / str(writes)).glob("*.ckpt"):
            read_checkpoint(left)
