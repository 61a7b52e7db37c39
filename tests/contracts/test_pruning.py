"""Every network of the table can be pruned, rebuilt from its plan, trained on and exported."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from canthus.compression.plan import PrunePlan, apply_plan
from canthus.compression.prune import Pruned, PruneSettings, points_and_maps, prune
from canthus.export.onnx import TOLERANCE_PX, export_onnx, verify_export
from canthus.models import MODELS, create_model
from canthus.runtime.cards import ModelCard
from canthus.runtime.sessions import LandmarkSession

SIZE = 64
SETTINGS: dict[str, dict[str, Any]] = {
    "blaze_ghost": {"hidden": 32},
    "fan": {"stacks": 1, "depth": 2, "channels": 16},
    "joint": {"width": 0.25},
    "joint, flat": {"width": 0.25, "head": "flat"},
    "pfld": {"width": 0.25},
    "resnet50": {"width": 8},
}
"""Small versions, so that the question is quick."""


def network_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name.partition(",")[0], points=68, size=SIZE, settings=SETTINGS.get(name))


@pytest.fixture(scope="module", params=sorted({*MODELS, *SETTINGS}))
def pruned(request: pytest.FixtureRequest) -> tuple[str, Pruned]:
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    return request.param, prune(
        network_of(request.param), images, PruneSettings(0.5, round_to=1), outputs=points_and_maps
    )


def test_it_is_smaller_and_hardly_a_layer_is_left_whole(pruned: tuple[str, Pruned]) -> None:
    name, made = pruned
    before = sum(p.numel() for p in network_of(name).parameters())
    assert sum(p.numel() for p in made.network.parameters()) < 0.6 * before
    reasons = " ".join(made.whole.values())
    assert "does not run" not in reasons
    assert "cutting would change" not in reasons


def test_it_still_learns(pruned: tuple[str, Pruned]) -> None:
    _, made = pruned
    output = made.network.train()(torch.rand(4, 3, SIZE, SIZE))
    assert output.points.shape == (4, 68, 2)
    learned = [part for part in (output.points, output.heatmaps) if part is not None and part.requires_grad]
    torch.autograd.backward([part.square().sum() for part in learned])
    assert [key for key, p in made.network.named_parameters() if p.grad is None] == []


def test_plan_and_weights_rebuild_it(pruned: tuple[str, Pruned]) -> None:
    name, made = pruned
    plan = PrunePlan.from_json(made.plan.to_json())
    assert plan == made.plan
    rebuilt = apply_plan(network_of(name), plan)
    rebuilt.load_state_dict(made.network.state_dict())
    images = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(rebuilt.eval()(images).points, made.network.eval()(images).points, rtol=0, atol=0)


def test_its_onnx_file_computes_the_same(pruned: tuple[str, Pruned], tmp_path: Path) -> None:
    name, made = pruned
    card = ModelCard(
        name="test",
        architecture=name.partition(",")[0],
        scheme="ibug_68",
        size=SIZE,
        margin=1.3,
        training_data=("drawn",),
        licence="test",
        recipe="test",
    )
    export_onnx(made.network.eval(), card, tmp_path / "test.onnx")
    session = LandmarkSession.open(tmp_path / "test.onnx")
    crops = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    assert verify_export(made.network, session, [crops]) <= TOLERANCE_PX
