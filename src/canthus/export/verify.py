"""Torch against ONNX Runtime on the same crops."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from canthus.errors import ModelFileError
from canthus.export.onnx import ExportView
from canthus.geometry import unit_to_pixels
from canthus.runtime.sessions import LandmarkSession

TOLERANCE_PX = 1e-3
"""Largest difference allowed between the points of the two, pixels of the crop."""

TOLERANCE_SPREAD = 1e-3
"""The same for the spread, a logarithm: a thousandth of the expected error."""


def largest_differences(
    network: nn.Module, session: LandmarkSession, crops: UInt8[np.ndarray, "n s s 3"], *, batch: int = 64
) -> tuple[float, float]:
    """Largest difference of any coordinate in pixels of the crop, and of any spread; 0 where there is none to compare.

    Raises:
        ModelFileError: one of the two tells a spread, the other none.
    """
    view = ExportView(network).eval()
    worst = [0.0, 0.0]
    for start in range(0, len(crops), batch):
        part = np.ascontiguousarray(crops[start : start + batch])
        with torch.no_grad():
            expected = [output.numpy() for output in view(torch.from_numpy(part))]
        expected[0] = unit_to_pixels(expected[0], session.card.size)
        answer = session.answer(part)
        found = [answer.points] if answer.spread is None else [answer.points, answer.spread]
        if len(found) != len(expected):
            raise ModelFileError(f"The network has {len(expected)} outputs, the exported file {len(found)}")
        for index, (a, b) in enumerate(zip(found, expected, strict=True)):
            worst[index] = max(worst[index], float(np.abs(a - b).max(initial=0.0)))
    return worst[0], worst[1]


def verify_export(
    network: nn.Module,
    session: LandmarkSession,
    crops: UInt8[np.ndarray, "n s s 3"],
    *,
    tolerance_px: float = TOLERANCE_PX,
) -> float:
    """The first of ``largest_differences``; either refused where it is above its tolerance.

    Raises:
        ModelFileError: the ONNX file does not compute what the network computes.
    """
    worst, spread = largest_differences(network, session, crops)
    if not worst <= tolerance_px:
        raise ModelFileError(
            f"The exported file differs from the network by {worst:.2g} px of the crop on {len(crops)} crops; "
            f"{tolerance_px:g} px are allowed. The file is not fit for use"
        )
    if not spread <= TOLERANCE_SPREAD:
        raise ModelFileError(
            f"The spread of the exported file differs from the network's by {spread:.2g} on {len(crops)} crops; "
            f"{TOLERANCE_SPREAD:g} is allowed. The file is not fit for use"
        )
    return worst
