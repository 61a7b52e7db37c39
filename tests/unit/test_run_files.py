"""Checkpoints with a digest, and folders that serve one run at a time."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from canthus.errors import ConfigError, ModelFileError, OutputError
from canthus.models.weights import read_weights_file, write_weights_file
from canthus.training.checkpoint import CONFIG_KEY, checkpoint_config, read_checkpoint
from canthus.training.run_folder import LOCK, held

ENTRIES = {"state_dict": {"network.weight": torch.arange(3000.0)}, CONFIG_KEY: '{"name": "drawn"}', "epoch": 3}


def test_every_flipped_byte_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "flipped.ckpt"
    write_weights_file(path, ENTRIES)
    data = path.read_bytes()
    places = [*np.random.default_rng(0).integers(0, len(data), 200).tolist(), 0, *range(len(data) - 101, len(data))]
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= 0x10
        path.write_bytes(flipped)
        with pytest.raises(ModelFileError, match=r"flipped.ckpt: "):
            read_checkpoint(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_checkpoint_is_one_line(tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.ckpt"
    write_weights_file(path, ENTRIES)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ModelFileError, match=r"cut.ckpt: not a file of weights, cut off") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_files_with_and_without_a_digest_are_read(tmp_path: Path) -> None:
    torch.save(ENTRIES, tmp_path / "earlier.ckpt")
    write_weights_file(tmp_path / "now.ckpt", ENTRIES)
    for name in ("earlier.ckpt", "now.ckpt"):
        assert read_checkpoint(tmp_path / name)["epoch"] == 3
    assert torch.load(tmp_path / "now.ckpt", weights_only=True)[CONFIG_KEY] == ENTRIES[CONFIG_KEY]
    torch.save(ENTRIES, tmp_path / "pickled.pth", _use_new_zipfile_serialization=False)
    assert read_weights_file(tmp_path / "pickled.pth")["epoch"] == 3


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_a_damaged_recipe_in_a_checkpoint_is_one_line(text: str) -> None:
    with pytest.raises(ModelFileError, match="its recipe is"):
        checkpoint_config({CONFIG_KEY: text}, source=Path("x.ckpt"))


def test_a_folder_serves_one_run_at_a_time(tmp_path: Path) -> None:
    script = "import sys, pathlib; from canthus.training.run_folder import held\n"
    script += f"with held(pathlib.Path({str(tmp_path)!r})): print('here', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        with pytest.raises(ConfigError, match=f"process {process.pid} on .*Wait until it has ended"), held(tmp_path):
            pass
        process.kill()
    assert (tmp_path / LOCK).exists()
    with held(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), held(tmp_path / "file" / "run"):
        pass
