"""The same questions to every network of the table."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from torch import nn

from canthus.errors import ConfigError
from canthus.export.onnx import TOLERANCE_PX, export_onnx, verify_export
from canthus.models import MODELS, create_model
from canthus.runtime.cards import ModelCard
from canthus.runtime.sessions import LandmarkSession
from contract_checks import (
    CreateNetwork,
    briefly_trained,
    check_batches,
    check_gradients,
    check_output,
    check_spread,
    fresh_network,
)

POINTS = 68
SIZE = 64
SETTINGS: dict[str, dict[str, Any]] = {
    "fan": {"stacks": 2, "depth": 3, "channels": 32},
    "joint": {"width": 0.25, "hidden": (64, 32), "heatmap_hidden": (16, 16, 16)},
    "pfld": {"width": 0.25},
    "resnet50": {"width": 8},
}

every_model = pytest.mark.parametrize("name", sorted(MODELS))


def creator(name: str) -> CreateNetwork:
    """The entry of the table with the settings of a small network."""

    def create(*, points: int, size: int, **settings: Any) -> nn.Module:
        return create_model(name, points=points, size=size, settings=SETTINGS.get(name, {}) | settings)

    return create


@every_model
def test_attributes_and_shapes_are_as_promised(name: str) -> None:
    check_output(creator(name), points=POINTS, size=SIZE)


@every_model
def test_every_parameter_receives_a_gradient(name: str) -> None:
    check_gradients(creator(name), points=POINTS, size=SIZE)


@every_model
def test_a_batch_equals_its_rows_and_the_picture_matters(name: str) -> None:
    check_batches(creator(name), points=POINTS, size=SIZE)


@every_model
def test_the_spread_is_learned_beside_the_points(name: str) -> None:
    check_spread(creator(name), points=POINTS, size=SIZE)


@every_model
def test_spread_costs_little(name: str) -> None:
    plain, spread = (
        sum(p.numel() for p in create_model(name, points=POINTS, size=112, settings=settings).parameters())
        for settings in ({}, {"spread": True})
    )
    assert plain < spread < 1.03 * plain


@every_model
@pytest.mark.parametrize("spread", [False, True])
def test_the_onnx_file_computes_what_torch_computes(name: str, spread: bool, tmp_path: Path) -> None:
    network = briefly_trained(fresh_network(creator(name), points=POINTS, size=SIZE, spread=spread), SIZE)
    card = ModelCard(
        name="test",
        architecture=name,
        scheme="ibug_68",
        size=SIZE,
        margin=1.3,
        training_data=("drawn",),
        licence="test",
        recipe="test",
    )
    path = tmp_path / "test.onnx"
    export_onnx(network, card, path)
    assert [p.name for p in tmp_path.iterdir()] == ["test.onnx"], "one file, no side file"
    assert b"site-packages" not in path.read_bytes(), "no traces of the exporting machine"
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_param, "the batch is dynamic"
    session = LandmarkSession.open(path)
    assert session.card == card
    assert session.tells_spread == spread
    crops = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    assert verify_export(network, session, [crops]) <= TOLERANCE_PX


@pytest.mark.parametrize(
    ("name", "size", "settings", "message"),
    [
        ("plfd", 112, {}, "Did you mean 'pfld'"),
        ("pfld", 100, {}, "multiple of 16"),
        ("blaze_ghost", 100, {}, "multiple of 16"),
        ("blaze_ghost", 112, {"hidden": 33}, "even number"),
        ("joint", 112, {"backbone": "mobilenet_v4"}, "Did you mean 'mobilenet_v"),
        ("joint", 112, {"heatmap_side": 30}, "multiple of 8"),
        ("joint", 112, {"backbone": "resnet50", "top": False}, "'top'"),
        ("fan", 60, {}, "multiple of 4 from 64 on"),
        ("pfld", 112, {"widht": 1.0}, "widht"),
    ],
)
def test_wrong_requests_say_what_is_wrong(name: str, size: int, settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_model(name, points=68, size=size, settings=settings)


def test_a_module_without_the_interface_of_a_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "flat", lambda *, points, size: nn.Linear(size, points))
    with pytest.raises(TypeError, match="'flat' lacks points, size, feature_channels"):
        create_model("flat", points=68, size=112)
