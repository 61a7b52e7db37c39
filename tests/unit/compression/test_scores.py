"""Both scorers give the change of the next feature map."""

import copy

import pytest
import torch
from torch import Tensor, nn

from canthus.compression.groups import find_groups
from canthus.compression.plan import IN, OUT, keep_channels
from canthus.compression.scores import closed_form_scores, literal_scores


class Joined(nn.Module):
    """A chain with a depthwise layer, a shortcut, a joined map, a flattened one and a hidden linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.first = nn.Sequential(nn.Conv2d(6, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.PReLU(8))
        self.depth = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Conv2d(8, 8, 1)
        self.third = nn.Conv2d(8, 5, 3, 2, padding=1, padding_mode="reflect")
        self.fourth = nn.Conv2d(13, 4, 1, 2)
        self.hidden = nn.Linear(4 * 4, 10)
        self.last = nn.Linear(10, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(self.stem(x))
        y = y + self.second(self.depth(y))
        y = torch.cat([self.third(y), nn.functional.max_pool2d(y, 2)], dim=1)
        out: Tensor = self.last(torch.relu(self.hidden(self.fourth(y).flatten(1))))
        return out


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    net = Joined()
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(8, 3, 16, 16))
    return net.eval()


def test_groups_follow_shortcuts_joints_and_flattening(network: nn.Module) -> None:
    layers = find_groups(network, torch.rand(2, 3, 16, 16))
    assert [g.layer for g in layers.groups] == ["hidden", "fourth", "third", "second"]
    assert set(layers.whole) == {"stem.0", "last"}
    stream = {(m.layer, m.side): m.channels for m in layers.groups[-1].members}
    assert stream["first.0", OUT] == stream["second", OUT] == tuple((c,) for c in range(8))
    assert stream["fourth", IN] == tuple((5 + c,) for c in range(8))
    flat = {(m.layer, m.side): m.channels for m in layers.groups[1].members}
    assert flat["hidden", IN] == tuple(tuple(range(4 * c, 4 * c + 4)) for c in range(4))


def test_scorers_agree(network: nn.Module) -> None:
    images = torch.rand(20, 3, 16, 16)
    for group in find_groups(network, images[:2]).groups:
        closed, literal = closed_form_scores(network, group, images), literal_scores(network, group, images)
        assert literal.max() > 0
        # The literal score is a small difference of large maps, hence the share of the largest one.
        torch.testing.assert_close(closed, literal, rtol=1e-4, atol=1e-4 * float(literal.max()))


def test_the_score_is_the_change_by_a_true_removal(network: nn.Module) -> None:
    images = torch.rand(6, 3, 16, 16)
    group = next(g for g in find_groups(network, images[:2]).groups if g.layer == "fourth")
    seen: list[Tensor] = []
    for removed in (None, *range(group.count)):
        twin = copy.deepcopy(network)
        if removed is not None:
            for member in group.members:
                layer = twin.get_submodule(member.layer)
                count = sum(map(len, member.channels))
                keep_channels(layer, member.side, sorted(set(range(count)) - set(member.channels[removed])))
        twin.get_submodule("hidden").register_forward_hook(lambda _, __, output: seen.append(output.detach()))
        twin(images)
    changes = torch.stack([(m - seen[0]).square().sum() / len(images) for m in seen[1:]])
    torch.testing.assert_close(closed_form_scores(network, group, images), changes, rtol=1e-4, atol=1e-6)


def test_scoring_leaves_the_network_as_it_was(network: nn.Module) -> None:
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    group = find_groups(network, torch.rand(2, 3, 16, 16)).groups[0]
    closed_form_scores(network, group, torch.rand(4, 3, 16, 16))
    assert network.training
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
