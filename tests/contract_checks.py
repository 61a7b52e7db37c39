"""What every network, loss and dataset must do: for the tables in ``canthus`` and for additions to them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from canthus.data import check_dataset, landmark_sets, load_dataset
from canthus.errors import ConfigError, DataError
from canthus.images import read_image
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


def check_landmark_set(name: str, root: Path, empty: Path) -> None:
    """The whole contract of an entry of ``DATASETS`` with landmarks; the last check damages the copy in ``root``.

    Args:
        name: key of ``DATASETS``.
        root: a small copy of the dataset.
        empty: an empty folder.
    """
    for split in landmark_sets()[name].splits:
        check_split(name, root, split)
    check_division(name, root)
    check_repetition(name, root)
    check_refusals(name, root, empty)
    check_report(name, root)


def check_split(name: str, root: Path, split: str) -> None:
    """Faces have their points inside the picture and a box; keys are sorted, unique and do not name the root."""
    faces = load_dataset(name, root, split)
    for face in faces:
        assert face.points.shape == (face.scheme.count, 2)
        assert face.points.dtype == face.box.dtype == np.float32
        assert face.group
        height, width = read_image(face.path).shape[:2]
        assert (face.points > -0.5).all()
        assert (face.points < (width, height)).all()
        assert (face.box[:2] < face.box[2:]).all()
    keys = [face.key for face in faces]
    assert keys == sorted(set(keys))
    assert not any(str(root) in key or "\\" in key for key in keys)


def check_division(name: str, root: Path) -> None:
    """``fit`` and ``validation`` share no face and no group; folds hold every face once and share no group."""
    fit, validation = (load_dataset(name, root, split) for split in ("fit", "validation"))
    assert fit
    assert not {face.group for face in fit} & {face.group for face in validation}
    assert not {face.key for face in fit} & {face.key for face in validation}
    tests = [load_dataset(name, root, f"fold-{number}-of-3-test") for number in (1, 2, 3)]
    whole = load_dataset(name, root, landmark_sets()[name].folds)
    assert sorted(face.key for faces in tests for face in faces) == [face.key for face in whole]
    for number, test in enumerate(tests, start=1):
        train = load_dataset(name, root, f"fold-{number}-of-3-train")
        assert len(train) + len(test) == len(whole)
        assert not {face.group for face in train} & {face.group for face in test}


def check_repetition(name: str, root: Path) -> None:
    """Reading twice gives the same."""
    split = landmark_sets()[name].splits[0]
    first, second = (load_dataset(name, str(root), split) for _ in range(2))
    assert [(a.key, a.group, a.points.tolist()) for a in first] == [(b.key, b.group, b.points.tolist()) for b in second]


def check_refusals(name: str, root: Path, empty: Path) -> None:
    """An unknown split is refused with the known ones, and a folder without the layout with what was expected."""
    with pytest.raises(ConfigError, match=r"Unknown split.*Known:.*validation"):
        load_dataset(name, root, "nosuchsplit")
    for folder in (empty, empty / "none"):
        with pytest.raises(DataError, match="expected"):
            load_dataset(name, folder, landmark_sets()[name].splits[0])
        with pytest.raises(DataError, match="expected"):
            check_dataset(name, folder)


def check_report(name: str, root: Path) -> None:
    """A check of a whole set finds nothing wrong, and a check of a broken picture finds that picture alone."""
    report = check_dataset(name, root)
    assert [str(problem) for problem in report.problems] == []
    assert report.faces == report.pictures > 0
    broken = load_dataset(name, root, landmark_sets()[name].splits[0])[0]
    broken.path.write_bytes(b"no picture")
    report = check_dataset(name, root)
    assert [(problem.kind, problem.where) for problem in report.problems] == [("unreadable picture", broken.key)]
