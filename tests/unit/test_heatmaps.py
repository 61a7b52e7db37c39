"""Heatmaps are drawn where the points are and read back more finely than their cells; torch computes the same."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from canthus.heatmaps import decode_heatmaps, draw_heatmaps
from canthus.losses.landmarks import gaussian_maps, heatmap_l2_loss
from canthus.models.heads import points_of_heatmaps


@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.sampled_from([16, 33, 64]), st.sampled_from([0.8, 1.0, 2.0]))
def test_a_point_comes_back_exactly(x: float, y: float, side: int, sigma: float) -> None:
    points = np.array([[x, y]], np.float32)
    found = decode_heatmaps(draw_heatmaps(points, side, sigma=sigma))
    # Where a neighbour's value falls below LEAST the fit is coarser; sigma 0.8 stays above it.
    np.testing.assert_allclose(found, points, atol=2e-4)


def test_cells_are_where_the_unit_frame_has_them() -> None:
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, 2, 5] = 1
    np.testing.assert_allclose(decode_heatmaps(maps), [[5.5 / 8, 2.5 / 8]])
    drawn = draw_heatmaps(np.array([[5.5 / 8, 2.5 / 8]], np.float32), 8, sigma=1.0)
    assert drawn.argmax() == 2 * 8 + 5
    assert drawn.max() == 1


def test_points_outside_and_unknown_ones() -> None:
    far = draw_heatmaps(np.array([[3.0, 0.5], [np.nan, 0.5]], np.float32), 16, sigma=1.0)
    assert far.max() < 1e-6
    near = draw_heatmaps(np.array([[-0.02, 0.5]], np.float32), 16, sigma=1.0)
    assert near[0, :, 0].max() > 0.5


def test_torch_draws_and_decodes_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.1, 1.1, (3, 5, 2)).astype(np.float32)
    points[0, 0] = np.nan
    drawn = draw_heatmaps(points, 16, sigma=1.3)
    np.testing.assert_allclose(gaussian_maps(torch.from_numpy(points), 16, sigma=1.3).numpy(), drawn, atol=1e-6)
    for maps in (drawn[1:], rng.normal(size=(2, 4, 12, 12)).astype(np.float32), np.zeros((1, 1, 8, 8), np.float32)):
        np.testing.assert_allclose(points_of_heatmaps(torch.from_numpy(maps)).numpy(), decode_heatmaps(maps), atol=1e-5)


def test_no_map_is_no_point() -> None:
    assert decode_heatmaps(np.zeros((0, 68, 16, 16), np.float32)).shape == (0, 68, 2)


def test_the_loss_is_zero_at_the_truth_and_counts_every_stage() -> None:
    points = torch.rand(2, 3, 2)
    right = gaussian_maps(points, 16, sigma=1.0)[:, None]
    assert heatmap_l2_loss(right, points).abs().max() == 0
    one = heatmap_l2_loss(right + 0.1, points)
    two = heatmap_l2_loss(torch.cat([right + 0.1, right + 0.1], dim=1), points)
    torch.testing.assert_close(one, torch.full((2,), 0.01))
    torch.testing.assert_close(two, 2 * one)
    assert heatmap_l2_loss(right, points, sigma=2.0).min() > 0


def test_the_loss_has_a_gradient_at_every_stage() -> None:
    maps = torch.zeros(2, 2, 3, 16, 16, requires_grad=True)
    torch.autograd.backward(heatmap_l2_loss(maps, torch.full((2, 3, 2), 0.5)).sum())
    assert maps.grad is not None
    assert (maps.grad.abs().sum(dim=(2, 3, 4)) > 0).all()


@pytest.mark.parametrize("shape", [(1, 2), (2, 3, 2)])
def test_any_number_of_leading_axes(shape: tuple[int, ...]) -> None:
    points = np.full(shape, 0.5, np.float32)
    assert decode_heatmaps(draw_heatmaps(points, 16, sigma=1.0)).shape == shape
