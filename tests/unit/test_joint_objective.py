"""The loss on points and heatmaps together, and where a joint network takes its points from."""

import math

import pytest
import torch
from torch import nn

from canthus.errors import ConfigError
from canthus.losses import heatmap_l2_loss, l2_loss
from canthus.losses.landmarks import gaussian_maps
from canthus.models import Output, create_model
from canthus.models.heads import points_of_heatmaps
from canthus.models.joint import FlatHead, JointNetwork, decoding
from canthus.models.layers import ByteRange
from canthus.recipes.build import objective_of
from canthus.recipes.config import TrainConfig, from_values
from canthus.training.objectives import JointSettings, heatmaps_objective, joint_objective, points_objective


def answer(truth: torch.Tensor) -> Output:
    return Output(points=(truth + 0.1).requires_grad_(), heatmaps=gaussian_maps(truth, 8, sigma=1.5)[:, None] / 2)


def test_it_is_the_sum_of_both_mean_squared_errors() -> None:
    truth = torch.rand(3, 5, 2)
    points, maps_loss = points_objective(l2_loss, size=1), heatmaps_objective(heatmap_l2_loss)
    loss = joint_objective(points, maps_loss, JointSettings(heatmap_weight=2.0, scale=10.0))
    output = answer(truth)
    assert output.heatmaps is not None
    maps = (output.heatmaps[:, 0] - gaussian_maps(truth, 8, sigma=1.0)).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(loss(output, truth), 10 * (0.01 + 2 * maps), rtol=1e-4, atol=1e-6)


def config(**changes: object) -> TrainConfig:
    values = {"name": "x", "model": "joint", "epochs": 1, "faces_per_epoch": 8, "train": [], "validation": []}
    return from_values(TrainConfig, values | {"loss": "joint"} | changes)


def test_a_recipe_weighs_the_points_of_both_parts() -> None:
    truth = torch.rand(2, 68, 2)
    output = answer(truth)
    plain, eyes = (objective_of(config(point_weights=w))(output, truth) for w in ({}, {"eyes": 1e6}))
    part = Output(points=output.points[:, 36:48], heatmaps=answer(truth[:, 36:48]).heatmaps)
    torch.testing.assert_close(eyes, objective_of(config())(part, truth[:, 36:48]), rtol=1e-3, atol=1e-6)
    assert plain.shape == (2,)


def test_wing_in_pixels_as_the_loss_of_the_points() -> None:
    """0.1 of a crop of 112 pixels is 11.2 pixels: past the width of 10, so its distance less wing's constant."""
    truth = torch.rand(3, 68, 2)
    settings = {"point_loss": "wing", "point_settings": {"width": 10.0, "curvature": 2.0}, "heatmap_weight": 100.0}
    loss = objective_of(config(size=112, loss_settings=settings))(answer(truth), truth)
    maps = objective_of(config(loss_settings={"heatmap_weight": 100.0}))(answer(truth), truth) - 0.01
    constant = 10.0 - 10.0 * math.log(1 + 10.0 / 2.0)
    torch.testing.assert_close(loss - maps, torch.full((3,), 11.2 - constant), rtol=1e-4, atol=1e-4)


def test_a_flat_head_sees_where_things_are() -> None:
    """Maps of equal channel means and different places; the pooled head reads the means alone."""
    torch.manual_seed(0)
    maps = [torch.zeros(2, 4, side, side) for side in (8, 4, 2)]
    for scale in maps:
        scale[0, :, 0, 0], scale[1, :, -1, -1] = 1.0, 1.0
    head = FlatHead([scale.shape for scale in maps], 5, widths=(2, 2, 2)).eval()
    points = head(maps).detach()
    assert points.shape == (2, 5, 2)
    assert float((points[0] - points[1]).abs().max()) > 1e-3
    output = create_model("joint", points=5, size=64, settings={"head": "flat", "width": 0.25})(
        torch.rand(2, 3, 64, 64)
    )
    assert output.points.shape == (2, 5, 2)
    assert output.deep is not None
    assert output.heatmaps is not None
    with pytest.raises(ConfigError, match="flst"):
        create_model("joint", points=5, size=96, settings={"head": "flst"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss_settings": {"point_loss": "wnig"}}, "Did you mean 'wing'"),
        ({"loss_settings": {"point_loss": "wing", "point_settings": {"w": 1}}}, "Loss 'wing' refuses"),
        ({"loss_settings": {"heatmap_wieght": 1.0}}, "Did you mean 'loss_settings.heatmap_weight'"),
        ({"loss_settings": {"scale": 0.0}}, "above zero"),
        ({"loss": "jiont"}, "Did you mean 'joint'"),
    ],
)
def test_settings_without_meaning_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        objective_of(config(**changes))


def test_maps_and_weight_belong_together() -> None:
    truth = torch.rand(2, 68, 2)
    without_weight = objective_of(config(loss_settings={"heatmap_weight": 0.0}))
    with pytest.raises(ConfigError, match=r"model_settings\.heatmaps = false"):
        without_weight(answer(truth), truth)
    alone = Output(points=truth.clone().requires_grad_())
    assert without_weight(alone, truth).detach().abs().max() == 0
    with pytest.raises(ConfigError, match="This loss needs heatmaps"):
        objective_of(config())(alone, truth)


def small(**settings: object) -> nn.Module:
    torch.manual_seed(0)
    small_ones = {"width": 0.125, "hidden": (16,), "heatmap_side": 16, "heatmap_hidden": (8, 8, 8)}
    return create_model("joint", points=68, size=64, settings=small_ones | settings).eval()


def test_decodings_answer_by_points_by_maps_and_by_their_mean() -> None:
    network, image = small(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        whole = network(image)
        found = {how: decoding(network, how)(image) for how in ("regression", "heatmap", "both")}
    drawn = points_of_heatmaps(whole.heatmaps[:, 0])
    torch.testing.assert_close(found["regression"].points, whole.points)
    torch.testing.assert_close(found["heatmap"].points, drawn)
    torch.testing.assert_close(found["both"].points, (whole.points + drawn) / 2)
    assert found["regression"].heatmaps is None


def test_a_decoding_leaves_out_the_head_that_it_does_not_need() -> None:
    network = small()
    heads = {
        how: {name.split(".")[0] for name, _ in decoding(network, how).named_parameters()} - {"backbone"}
        for how in ("regression", "heatmap", "both")
    }
    assert heads["regression"] == {"point_head"}
    assert heads["heatmap"] == {"heatmap_head"}
    assert heads["both"] == {"point_head", "heatmap_head"}
    assert isinstance(network, JointNetwork)
    assert network.heatmap_head is not None, "the network itself stays whole"


def test_a_flat_head_tells_the_spread_from_its_coarse_maps_whatever_the_decoding() -> None:
    network, image = small(head="flat", spread=True), torch.rand(2, 3, 64, 64)
    assert isinstance(network, JointNetwork)
    assert isinstance(network.point_head, FlatHead)
    assert network.spread is not None
    with torch.no_grad():
        maps = network.backbone(network.normalize(image)).scales
        coarse = torch.cat(network.point_head.flatten(maps)[1:], dim=1)
        assert coarse.shape == (2, 16 * 4**2 + 32 * 2**2)
        expected = network.spread(coarse)
        for how in ("regression", "heatmap", "both"):
            torch.testing.assert_close(decoding(network, how)(image).spread, expected)
        wider = small(head="flat", spread=True, spread_means=True)
        assert isinstance(wider, JointNetwork)
        assert wider.spread is not None
        found = wider(image)
        coarse = torch.cat([*wider.point_head.flatten(wider.backbone(wider.normalize(image)).scales)[1:],  # type: ignore[union-attr, operator]
                            found.deep.mean(dim=(2, 3))], dim=1)  # fmt: skip
        torch.testing.assert_close(found.spread, wider.spread(coarse))


@pytest.mark.parametrize(
    ("network", "how", "message"),
    [
        (small(), "maps", "decoding"),
        (small(heatmaps=False), "both", "has no heatmaps"),
        (nn.Linear(2, 2), "both", "only one source"),
    ],
)
def test_a_decoding_that_is_not_there_is_refused(network: nn.Module, how: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decoding(network, how)


@pytest.mark.parametrize(
    "backbone", ["mobilenet_v1", "mobilenet_v3_small", "mobilenet_v3_large", "resnet18", "resnet50", "resnet_slim"]
)
def test_every_backbone_serves(backbone: str) -> None:
    network = small(backbone=backbone)
    output = network(torch.rand(2, 3, 64, 64))
    assert output.points.shape == (2, 68, 2)
    assert ((output.points > 0) & (output.points < 1)).all()
    assert output.heatmaps.shape == (2, 1, 68, 16, 16)
    assert output.features.shape == (2, network.feature_channels, 16, 16)
    assert output.deep.shape[2:] == (2, 2)


def test_points_without_a_true_position_teach_nothing() -> None:
    points = torch.rand(2, 5, 2, requires_grad=True)
    truth = torch.rand(2, 5, 2)
    truth[0, 3] = torch.nan
    objective = points_objective(lambda p, t: (p - t).abs().mean(dim=(1, 2)), size=64)
    losses = objective(Output(points=points), truth)
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert points.grad is not None
    assert (points.grad[0, 3] == 0).all()
    assert (points.grad[0, 2] != 0).all()


def test_activations_get_the_numbers_of_a_byte_in_training_and_are_clipped_afterwards() -> None:
    torch.manual_seed(0)
    for signed in (False, True):
        layer = ByteRange(signed=signed)
        x = torch.randn(64, 8, 32, 32)
        values = (x if signed else x.relu()).requires_grad_()
        torch.testing.assert_close(layer.eval()(values), values)  # before the first batch nothing is known
        rounded = layer.train()(values)
        low, high = float(layer.low), float(layer.high)
        assert high == pytest.approx(3.09, abs=0.3), "one in a thousand is above"
        assert low == pytest.approx(-3.09 if signed else 0, abs=0.3)
        assert len(rounded.unique()) == 256
        inside = (values > low) & (values < high)
        assert float((rounded - values).detach()[inside].abs().max()) <= 0.51 * (high - low) / 255
        rounded.sum().backward()
        grad = values.grad
        assert grad is not None
        assert grad[inside].mean() > 0.999, "the gradient goes through the rounding"
        assert not grad[values > high * 1.01].any()
        assert len(layer.eval()(values).unique()) > 1000, "clipped, not rounded"
        assert float(layer(values.detach()).max()) == high
