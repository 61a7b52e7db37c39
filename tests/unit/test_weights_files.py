"""Files of weights from strangers: plain data is read, anything else is refused in one line and nothing in it runs."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from canthus.errors import ModelFileError
from canthus.models.weights import load_onnx_weights, read_weights_file, without_dead_channels
from small_networks import SIZE, write_small_landmarker


class Runs:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def saved(path: Path, value: object) -> bytes:
    torch.save(value, path)
    return path.read_bytes()


def test_files_that_are_no_plain_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.ckpt", {"weight": torch.ones(3)})
    contents = {
        "nothing": b"",
        "text": b"no weights",
        "cut": whole[: len(whole) // 2],
        "a pickle that runs": pickle.dumps(Runs(tmp_path / "ran")),
        "a file that runs": saved(tmp_path / "runs.ckpt", {"weight": Runs(tmp_path / "ran")}),
        "a list": saved(tmp_path / "list.ckpt", [1]),
        "an ONNX file": write_small_landmarker(tmp_path / "m.onnx").read_bytes(),
    }
    for content in contents.values():
        (tmp_path / "w.ckpt").write_bytes(content)
        with pytest.raises(ModelFileError, match=r"w.ckpt: (not a file of weights|expected a dictionary)") as caught:
            read_weights_file(tmp_path / "w.ckpt")
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value), "no advice to run what a stranger wrote"
        assert len(str(caught.value)) < 500
    assert not (tmp_path / "ran").exists()
    assert read_weights_file(tmp_path / "whole.ckpt")["weight"].tolist() == [1, 1, 1]


def test_weights_of_an_export_come_from_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = onnx.load(write_small_landmarker(tmp_path / "m.onnx"))
    tensor = next(t for t in model.graph.initializer if t.name == "kernel")
    (tmp_path / "secret").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    images = torch.from_numpy(np.zeros((1, 3, SIZE, SIZE), np.float32))
    with pytest.raises(ModelFileError, match="m.onnx: holds weights that are stored in other files"):
        load_onnx_weights(torch.nn.Conv2d(3, 2, 8), tmp_path / "m.onnx", images)


def test_channels_that_did_not_vary_give_their_constant() -> None:
    layer = torch.nn.BatchNorm2d(3)
    norm = torch.nn.Sequential(layer).train()
    values = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    values[:, 1] = 0.5  # a channel that is dead in training
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
        for _ in range(400):
            norm(values)
    norm.eval()
    before = norm(values)
    woken = values.clone()
    woken[:, 1] += 0.01  # a picture unlike those of the training
    assert (norm(woken)[:, 1] > 3).all()
    norm.load_state_dict(without_dead_channels(norm.state_dict()))
    torch.testing.assert_close(norm(values), before, atol=1e-4, rtol=0)  # its mean is exact to 1e-8, times 316
    torch.testing.assert_close(norm(woken)[:, 1], torch.full((8, 4, 4), 0.2))
    torch.testing.assert_close(norm(woken)[:, ::2], before[:, ::2])
