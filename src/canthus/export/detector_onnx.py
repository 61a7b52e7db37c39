"""One ONNX file from a face detector, and its comparison with torch."""

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from canthus.errors import ModelFileError
from canthus.export.onnx import write_onnx
from canthus.models.face_detector import STRIDES, FaceDetector
from canthus.runtime.cards import DetectorCard
from canthus.runtime.sessions import DetectorSession

TOLERANCE = 1e-3
"""Largest difference allowed between ONNX and torch: of logits, and of offsets and log sizes in strides."""


@final
class DetectorView(nn.Module):
    """The network as the runtime calls it: uint8 ``(n, h, w, 3)`` RGB in, rows of ``models.face_detector`` out.

    Differs: the division of bytes by 255 goes into the weights of the first convolution, which saves two passes over
    the picture.
    """

    def __init__(self, network: FaceDetector) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        with torch.no_grad():
            self.network.first_convolution.weight /= 255.0

    def forward(self, image: Tensor) -> Tensor:
        """Bytes to rows."""
        rows: Tensor = self.network(image.permute(0, 3, 1, 2).float())
        return rows


def export_detector_onnx(network: FaceDetector, card: DetectorCard, path: Path) -> None:
    """Write a face detector to ``path``; pictures of any size that is a multiple of the largest stride fit.

    Args:
        network: the detector; put into eval mode for the export.
        card: written into the file's metadata.
        path: ``.onnx`` file; missing folders are made.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        ModelFileError: the exported file is not valid.
    """
    multiple = max(STRIDES)
    # Sides are traced as multiples, or the tracer would demand proof that the levels of the pyramid fit together.
    rows, columns = (torch.export.Dim(name, min=1, max=512) for name in ("rows", "columns"))
    write_onnx(
        DetectorView(network).eval(),
        torch.zeros(2, 4 * multiple, 5 * multiple, 3, dtype=torch.uint8),
        path,
        outputs=["faces"],
        sizes={0: torch.export.Dim("n", min=1, max=4096), 1: multiple * rows, 2: multiple * columns},
        card=card.to_json(),
        description=f"{card.name}: face detector. Licence of the weights: {card.licence}",
    )


def verify_detector_export(
    network: FaceDetector,
    session: DetectorSession,
    pictures: Iterable[UInt8[np.ndarray, "_ _ 3"]],
    *,
    tolerance: float = TOLERANCE,
) -> float:
    """Largest difference of any number between the file and the network.

    Args:
        network: in eval mode.
        session: the file.
        pictures: both sides are multiples of the largest stride.
        tolerance: see ``TOLERANCE``.

    Raises:
        ModelFileError: the file does not compute what the network computes.
    """
    worst = 0.0
    for picture in pictures:
        batch = np.ascontiguousarray(picture[None])
        with torch.no_grad():
            expected = network(torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255.0).numpy()
        worst = max(worst, float(np.abs(session(batch) - expected).max(initial=0.0)))
    if not worst <= tolerance:
        raise ModelFileError(
            f"The exported file differs from the network by {worst:.2g}; {tolerance:g} is allowed. "
            "The file is not fit for use"
        )
    return worst
