"""Networks that were pruned: cut as their checkpoint says."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from canthus.compression.plan import PrunePlan, apply_plan
from canthus.training.checkpoint import PLAN_KEY


def cut_as_planned(network: nn.Module, checkpoint: Mapping[str, Any]) -> nn.Module:
    """The network, cut in place by the plan that a checkpoint carries; as it is where it carries none.

    Raises:
        ModelFileError: the plan is damaged or for another network.
    """
    text = checkpoint.get(PLAN_KEY)
    if isinstance(text, str):
        apply_plan(network, PrunePlan.from_json(text))
        tell_feature_channels(network)
    return network


def tell_feature_channels(network: nn.Module) -> None:
    """Measure how wide the map is that a training-only branch reads, and let the network say so."""
    size = getattr(network, "size", None)
    if not isinstance(size, int) or not hasattr(network, "feature_channels"):
        return
    training = network.training
    with torch.no_grad():
        device = next(network.parameters()).device
        features = network.eval()(torch.zeros(1, 3, size, size, device=device)).features
    network.train(training)
    if features is not None:
        network.feature_channels = features.shape[1]
