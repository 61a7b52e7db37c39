"""Our scores in the pruners of Torch-Pruning, and its graph in ours."""

import pytest
import torch
from torch import Tensor, nn

from canthus.compression.groups import find_groups
from canthus.compression.reach import all_tensors, graph_reach, reach, running_order
from canthus.compression.scores import ReconstructionImportance, closed_form_scores

tp = pytest.importorskip("torch_pruning")

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Shortcut(nn.Module):
    """Two maps that are added, and a depthwise layer behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.a = nn.Conv2d(6, 8, 1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.c = nn.Conv2d(8, 10, 1)
        self.last = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(self.stem(x).relu())
        x = self.depthwise(x + self.norm(self.b(x.relu())))
        out: Tensor = self.last(self.c(x).relu().mean((2, 3)))
        return out


def network() -> Shortcut:
    torch.manual_seed(0)
    return Shortcut().eval()


def test_the_graph_and_the_measurement_agree() -> None:
    made = network()
    names = running_order(made, IMAGES)
    by_graph = graph_reach(made, IMAGES, names, all_tensors)
    assert set(by_graph) == set(names)
    for name in ("stem", "c"):  # of added maps the graph tells at once what the measurement tells layer by layer
        measured = reach(made, IMAGES, name, all_tensors).places
        assert measured.items() <= by_graph[name].places.items()
    bound = {(layer, side) for layer, side, _ in by_graph["a"].places}
    assert bound >= {("a", "out"), ("b", "in"), ("b", "out"), ("norm", "out"), ("depthwise", "out"), ("c", "in")}


def test_the_importance_is_our_score() -> None:
    made = network()
    layers = find_groups(made, IMAGES)
    group = next(group for group in layers.groups if group.layer == "b")
    graph = tp.DependencyGraph().build_dependency(made, IMAGES, verbose=False)
    found = ReconstructionImportance(made, IMAGES)(
        graph.get_pruning_group(made.b, tp.prune_conv_out_channels, list(range(8)))
    )
    assert found is not None
    torch.testing.assert_close(found, closed_form_scores(made, group, IMAGES))


def test_a_pruner_of_torch_pruning_takes_it() -> None:
    made = network()
    with torch.no_grad():
        made.c.weight[:, [1, 4]] = 0  # nothing but c reads these behind the depthwise layer ...
        made.b.weight[:, [1, 4]] = 0  # ... and nothing but b before it
    expected = made(IMAGES)
    pruner = tp.pruner.BasePruner(
        made,
        IMAGES,
        importance=ReconstructionImportance(made, IMAGES),
        pruning_ratio=0.25,
        ignored_layers=[made.stem, made.c, made.last],
    )
    pruner.step()
    assert made.a.out_channels == made.b.out_channels == made.depthwise.groups == 6
    torch.testing.assert_close(made(IMAGES), expected)
