"""Torch against ONNX Runtime on the same crops."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from canthus.errors import ModelFileError
from canthus.export.onnx import ExportView
from canthus.geometry import unit_to_pixels
from canthus.runtime.session import LandmarkSession

TOLERANCE_PX = 1e-3
"""Largest difference allowed between the two, pixels of the crop."""


def largest_difference(
    network: nn.Module, session: LandmarkSession, crops: UInt8[np.ndarray, "n s s 3"], *, batch: int = 64
) -> float:
    """Largest difference of any coordinate, in pixels of the crop."""
    view = ExportView(network).eval()
    worst = 0.0
    for start in range(0, len(crops), batch):
        part = np.ascontiguousarray(crops[start : start + batch])
        with torch.no_grad():
            expected = unit_to_pixels(view(torch.from_numpy(part)).numpy(), session.card.size)
        worst = max(worst, float(np.abs(session(part) - expected).max(initial=0.0)))
    return worst


def verify_export(
    network: nn.Module,
    session: LandmarkSession,
    crops: UInt8[np.ndarray, "n s s 3"],
    *,
    tolerance_px: float = TOLERANCE_PX,
) -> float:
    """``largest_difference``, refused where it is above the tolerance.

    Raises:
        ModelFileError: the ONNX file does not compute what the network computes.
    """
    worst = largest_difference(network, session, crops)
    if not worst <= tolerance_px:
        raise ModelFileError(
            f"The exported file differs from the network by {worst:.2g} px of the crop on {len(crops)} crops; "
            f"{tolerance_px:g} px are allowed. The file is not fit for use"
        )
    return worst
