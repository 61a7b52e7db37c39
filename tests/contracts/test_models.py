"""The same questions to every network of the table."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from canthus.errors import ConfigError
from canthus.export.onnx import export_onnx
from canthus.export.verify import TOLERANCE_PX, verify_export
from canthus.models import MODELS, Output, create_model
from canthus.runtime.cards import ModelCard
from canthus.runtime.sessions import LandmarkSession

POINTS = 68
SIZE = 64
SETTINGS: dict[str, dict[str, Any]] = {
    "blaze_ghost": {"hidden": 32},
    "blaze_landmark": {"hidden": 32},
    "fan": {"stacks": 2, "depth": 3, "channels": 32},
    "joint": {"width": 0.25, "hidden": (64, 32), "heatmap_hidden": (16, 16, 16)},
    "pfld": {"width": 0.25},
    "resnet50": {"width": 8},
}

every_model = pytest.mark.parametrize("name", sorted(MODELS))


def network_of(name: str, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, points=POINTS, size=SIZE, settings=SETTINGS.get(name, {}) | settings)


def trained_a_little(network: nn.Module) -> nn.Module:
    """Batch norms with statistics that are not the identity, so that folding them into weights shows."""
    network.train()
    with torch.no_grad():
        for seed in range(3):
            network(torch.rand(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)))
    return network.eval()


@every_model
def test_points_have_the_promised_shape(name: str) -> None:
    output = network_of(name).eval()(torch.rand(3, 3, SIZE, SIZE))
    assert isinstance(output, Output)
    assert output.points.shape == (3, POINTS, 2)


@every_model
def test_features_are_a_map_of_the_promised_width(name: str) -> None:
    network = network_of(name).eval()
    features = network(torch.rand(2, 3, SIZE, SIZE)).features
    assert features is not None
    assert features.shape == (2, network.feature_channels, SIZE // 4, SIZE // 4)


@every_model
def test_every_parameter_receives_a_gradient(name: str) -> None:
    network = network_of(name)
    output = network(torch.rand(4, 3, SIZE, SIZE))
    learned = [part for part in (output.points, output.heatmaps) if part is not None and part.requires_grad]
    torch.autograd.backward(torch.stack([part.square().sum() for part in learned]).sum())
    without = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@every_model
def test_a_batch_equals_its_rows_one_by_one(name: str) -> None:
    network = trained_a_little(network_of(name))
    images = torch.rand(4, 3, SIZE, SIZE)
    with torch.no_grad():
        together = network(images).points
        alone = torch.cat([network(images[i : i + 1]).points for i in range(4)])
    # Convolutions of other batch sizes add in another order.
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@every_model
def test_the_picture_matters(name: str) -> None:
    network = trained_a_little(network_of(name))
    with torch.no_grad():
        points = network(torch.rand(2, 3, SIZE, SIZE)).points
    assert (points[0] - points[1]).abs().max() > 0


@every_model
def test_without_being_asked_no_network_tells_a_spread(name: str) -> None:
    assert network_of(name).eval()(torch.rand(2, 3, SIZE, SIZE)).spread is None


@every_model
def test_spread_is_one_finite_number_a_point_that_the_picture_changes(name: str) -> None:
    network = trained_a_little(network_of(name, spread=True))
    with torch.no_grad():
        spread = network(torch.rand(3, 3, SIZE, SIZE)).spread
        alone = network(torch.zeros(1, 3, SIZE, SIZE)).spread
    assert spread.shape == (3, POINTS)
    assert torch.isfinite(spread).all()
    assert (spread[0] - alone[0]).abs().max() > 0


@every_model
def test_spread_leaves_the_points_as_they_are(name: str) -> None:
    image = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        plain, spread = (network_of(name, **settings).eval()(image) for settings in ({}, {"spread": True}))
    torch.testing.assert_close(spread.points, plain.points, rtol=0, atol=0)


@every_model
def test_every_parameter_of_the_spread_receives_a_gradient(name: str) -> None:
    network = network_of(name, spread=True)
    torch.autograd.backward(network(torch.rand(4, 3, SIZE, SIZE)).spread.square().sum())
    own = {key: p for key, p in network.named_parameters() if key.startswith("spread.")}
    assert own
    assert [key for key, p in own.items() if p.grad is None or not p.grad.abs().sum() > 0] == []


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
    network = trained_a_little(network_of(name, spread=spread))
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
    assert verify_export(network, session, crops) <= TOLERANCE_PX


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
