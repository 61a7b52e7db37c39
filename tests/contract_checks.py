"""What every network and every loss must do, as functions: for the tables in ``canthus`` and for additions to them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from canthus.losses.weights import weigh_points
from canthus.models import Network, Output
from canthus.schemes import IBUG_68

CreateNetwork = Callable[..., nn.Module]
"""A network from the keyword arguments ``points``, ``size`` and ``spread``, as the entries of ``MODELS`` are called."""

PointLoss = Callable[[Tensor, Tensor], Tensor]


def fresh_network(create: CreateNetwork, *, points: int, size: int, spread: bool = False) -> nn.Module:
    """The network with weights from a fixed seed."""
    torch.manual_seed(0)
    return create(points=points, size=size, **({"spread": True} if spread else {}))


def briefly_trained(network: nn.Module, size: int) -> nn.Module:
    """Batch norms get statistics that are not the identity, so that folding them into weights shows."""
    network.train()
    with torch.no_grad():
        for seed in range(3):
            network(torch.rand(8, 3, size, size, generator=torch.Generator().manual_seed(seed)))
    return network.eval()


def check_network(create: CreateNetwork, *, points: int = 68, size: int = 64) -> None:
    """The whole contract of an entry of ``MODELS``.

    Args:
        create: takes ``points``, ``size`` and ``spread``.
        points: number of landmarks to ask for.
        size: side of the input in pixels.
    """
    check_output(create, points=points, size=size)
    check_gradients(create, points=points, size=size)
    check_batches(create, points=points, size=size)
    check_spread(create, points=points, size=size)


def check_output(create: CreateNetwork, *, points: int, size: int) -> None:
    """Attributes of ``Network``, shape of the points, and feature maps of the promised width."""
    network = fresh_network(create, points=points, size=size).eval()
    assert isinstance(network, Network)
    assert (network.points, network.size) == (points, size)
    output = network(torch.rand(3, 3, size, size))
    assert isinstance(output, Output)
    assert output.points.shape == (3, points, 2)
    assert output.features is not None
    assert output.features.shape == (3, network.feature_channels, size // 4, size // 4)
    assert output.spread is None, "errors are expected only where they are asked for"


def check_gradients(create: CreateNetwork, *, points: int, size: int) -> None:
    """Every parameter learns from the points or the heatmaps."""
    network = fresh_network(create, points=points, size=size)
    output = network(torch.rand(4, 3, size, size))
    learned = [part for part in (output.points, output.heatmaps) if part is not None and part.requires_grad]
    torch.autograd.backward(torch.stack([part.square().sum() for part in learned]).sum())
    assert _without_gradient(network) == []


def check_batches(create: CreateNetwork, *, points: int, size: int) -> None:
    """A batch equals its rows one by one, and the picture changes the points."""
    network = briefly_trained(fresh_network(create, points=points, size=size), size)
    images = torch.rand(4, 3, size, size)
    with torch.no_grad():
        together = network(images).points
        alone = torch.cat([network(images[i : i + 1]).points for i in range(4)])
    # Convolutions of other batch sizes add in another order.
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0


def check_spread(create: CreateNetwork, *, points: int, size: int) -> None:
    """With ``spread=True``: one finite number a point that depends on the picture, and the same points as without."""
    network = fresh_network(create, points=points, size=size, spread=True)
    image = torch.rand(3, 3, size, size)
    with torch.no_grad():
        plain = fresh_network(create, points=points, size=size).eval()(image)
        torch.testing.assert_close(network.eval()(image).points, plain.points, rtol=0, atol=0)
    torch.autograd.backward(network.train()(torch.rand(4, 3, size, size)).spread.square().sum())
    assert any(key.startswith("spread.") for key, _ in network.named_parameters())
    assert [key for key in _without_gradient(network) if key.startswith("spread.")] == []
    with torch.no_grad():
        briefly_trained(network, size)
        spread, alone = network(image).spread, network(torch.zeros(1, 3, size, size)).spread
    assert spread.shape == (3, points)
    assert torch.isfinite(spread).all()
    assert (spread[0] - alone[0]).abs().max() > 0


def _without_gradient(network: nn.Module) -> list[str]:
    return [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def some_points(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points of five faces in pixels of a crop of 112, and the truth they are compared with."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(5, 68, 2, generator=generator) * 112
    return truth + torch.randn(5, 68, 2, generator=generator) * 6, truth


def check_loss(loss: PointLoss) -> None:
    """The whole contract of an entry of ``LOSSES``."""
    check_loss_values(loss)
    check_loss_gradient(loss)
    check_loss_is_a_mean(loss)


def check_loss_values(loss: PointLoss) -> None:
    """One number a face, zero at the truth alone, larger for larger errors."""
    predicted, truth = some_points()
    found = loss(predicted, truth)
    assert found.shape == (5,)
    assert (found > 0).all()
    assert loss(truth, truth).abs().max() == 0
    costs = [float(loss(torch.full((1, 3, 2), x), torch.zeros(1, 3, 2))) for x in (0.1, 1.0, 5.0, 10.0, 11.0)]
    assert costs == sorted(set(costs))


def check_loss_gradient(loss: PointLoss) -> None:
    """There is a gradient everywhere but at the truth."""
    for offset in (0.01, 0.5, 3.0, 9.99, 10.01, 50.0):
        predicted = torch.full((1, 4, 2), offset, requires_grad=True)
        torch.autograd.backward(loss(predicted, torch.zeros(1, 4, 2)).sum())
        assert predicted.grad is not None
        assert (predicted.grad > 0).all(), f"no gradient at an error of {offset}"


def check_loss_is_a_mean(loss: PointLoss) -> None:
    """Faces do not mix, and a face's loss is the mean over its points, which ``weigh_points`` relies on."""
    predicted, truth = some_points()
    faces = torch.cat([loss(predicted[i : i + 1], truth[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(loss(predicted, truth), faces)
    points = torch.stack([loss(predicted[:, [k]], truth[:, [k]]) for k in range(68)], dim=1)
    torch.testing.assert_close(loss(predicted, truth), points.mean(dim=1))
    weights = torch.ones(68)
    weights[36:48], weights[48:60] = 3.0, 0.5
    weighed = weigh_points(loss, IBUG_68, {"eyes": 3, "outer_mouth": 0.5})
    torch.testing.assert_close(weighed(predicted, truth), (points * weights).sum(dim=1) / weights.sum())
