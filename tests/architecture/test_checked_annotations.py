"""Annotations of the package are checked while its tests run, those of sizes against each other."""

import pytest
import torch
from jaxtyping import TypeCheckError

from canthus.lookup import lookup
from canthus.losses.landmarks import l1_loss
from canthus.runtime.cards import Calibration


def test_what_takes_no_array() -> None:
    with pytest.raises(TypeCheckError):
        lookup({}, 3, kind="number")  # type: ignore[arg-type]


def test_dataclasses() -> None:
    with pytest.raises(TypeCheckError):
        Calibration(tolerance="5 %", slope=1.0, offset=0.0)  # type: ignore[arg-type]


def test_sizes_of_two_arrays() -> None:
    with pytest.raises(TypeCheckError):
        l1_loss(torch.zeros(2, 68, 2), torch.zeros(1, 68, 2))
