"""Networks to ONNX files with their card inside, compared with torch: landmark networks and face detectors."""

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from canthus.errors import ModelFileError
from canthus.export.onnx_core import finished_model, quiet
from canthus.files import write_bytes
from canthus.geometry import unit_to_pixels
from canthus.lookup import require
from canthus.models.face_detector import STRIDES, FaceDetector
from canthus.runtime.cards import DetectorCard, ModelCard
from canthus.runtime.sessions import DetectorSession, LandmarkSession

OPSET = 20
Card = ModelCard | DetectorCard

TOLERANCE_PX = 1e-3
"""Largest difference allowed between the points of the two, in pixels of the crop."""
HALF_TOLERANCES = {"points": 0.5, "spread": 0.25, "faces": 0.25}
TOLERANCES = {"points": TOLERANCE_PX, "spread": 1e-3, "faces": 1e-3}
"""Largest difference allowed between the file and the network, by output.

Points are in pixels of the crop.  The spread is a logarithm: 0.001 is a thousandth of the expected error.  The rows of
a detector hold logits, and offsets and log sizes in strides.
"""


@final
class LandmarkView(nn.Module):
    """A landmark network as the runtime calls it: uint8 ``(n, s, s, 3)`` RGB in; points of the unit frame, spread out.

    Differs: the change from bytes to floats is part of the file, so that callers in any language pass plain pictures
    and cannot normalise wrongly.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Points ``(n, k, 2)`` and, where the network predicts it, their spread ``(n, k)``."""
        output = self.network(image.permute(0, 3, 1, 2).float() / 255.0)
        return (output.points,) if output.spread is None else (output.points, output.spread)


@final
class DetectorView(nn.Module):
    """A detector as the runtime calls it: uint8 ``(n, h, w, 3)`` RGB in, rows of ``models.face_detector`` out.

    Differs: the division of bytes by 255 goes into the weights of the first convolution, which saves two passes over
    the picture.
    """

    def __init__(self, network: FaceDetector) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        with torch.no_grad():
            self.network.first_convolution.weight /= 255.0

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Rows ``(n, cells, 15)``."""
        return (self.network(image.permute(0, 3, 1, 2).float()),)


def _signature(network: Any, card: Card) -> tuple[nn.Module, Tensor, list[str], dict[int, Any]]:
    """What differs between the files: module to trace, example of its input, names of its outputs, and open axes."""
    batch = torch.export.Dim("n", min=1, max=4096)
    if isinstance(card, ModelCard):
        view = LandmarkView(network).eval()
        example = torch.zeros(2, card.size, card.size, 3, dtype=torch.uint8)
        with torch.no_grad():
            outputs = ["points", "spread"][: len(view(example))]
        return view, example, outputs, {0: batch}
    multiple = max(STRIDES)
    # Sides are traced as multiples, or the tracer would demand proof that the levels of the pyramid fit together.
    rows, columns = (multiple * torch.export.Dim(name, min=1, max=512) for name in ("rows", "columns"))
    example = torch.zeros(2, 4 * multiple, 5 * multiple, 3, dtype=torch.uint8)
    return DetectorView(network).eval(), example, ["faces"], {0: batch, 1: rows, 2: columns}


def export_onnx(network: nn.Module, card: Card, path: Path) -> None:
    """Write a network to an ONNX file with its card.

    The file of a landmark network takes any number of crops; that of a detector takes pictures whose sides are
    multiples of the largest stride.

    Args:
        network: a landmark network, which returns ``Output``, or a ``FaceDetector``; in eval mode.
        card: written into the file's metadata; its type says which of the two ``network`` is.
        path: file to write; missing folders are made, and an earlier file is replaced when the new one is complete.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        ModelFileError: the exported file is not valid.
        OutputError: the file cannot be written.
    """
    require("onnxscript", extra="train")
    view, example, outputs, sizes = _signature(network, card)
    with quiet():
        model = torch.onnx.export(
            view,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=outputs,
            dynamic_shapes=(sizes,),
            external_data=False,
            verbose=False,
        ).model_proto  # type: ignore[union-attr]  # with dynamo it is a program
    _remove_traces(model)
    content = finished_model(model, card)
    write_bytes(path, content)


def replace_card(path: Path, card: Card) -> None:
    """Write another card into an ONNX file; the network stays as it is.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelFileError: the file is not a valid ONNX model.
    """
    onnx = require("onnx", extra="train")
    write_bytes(path, finished_model(onnx.load(path), card))


def _remove_traces(model: Any) -> None:
    """Remove the tracer's stack traces, which name files of the machine that exported, and inferred shapes."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        if hasattr(value, "metadata_props"):
            del value.metadata_props[:]
    del model.graph.metadata_props[:]


def verify_export(
    network: nn.Module,
    session: LandmarkSession | DetectorSession,
    images: Iterable[UInt8[np.ndarray, "n h w 3"]],
    *,
    half: bool = False,
) -> float:
    """Compare an exported file with its network.

    Args:
        network: in eval mode.
        session: the file.
        images: batches as the file takes them.
        half: whether the weights of the file have 16 bits; then ``HALF_TOLERANCES`` count.

    Returns:
        Largest difference of the first output: of points in pixels of the crop, or of a detector's rows.

    Raises:
        ModelFileError: an output differs by more than ``TOLERANCES`` allow or is not finite, one of the two lacks an
            output, or there is nothing to compare.
    """
    worst: dict[str, float] = {}
    for batch in images:
        expected = _network_outputs(network, session, batch)
        found = _file_outputs(session, batch)  # which refuses such numbers of the file itself
        if found.keys() != expected.keys():
            raise ModelFileError(f"The network has the outputs {list(expected)}, the exported file {list(found)}")
        for name, values in found.items():
            worst[name] = max(worst.get(name, 0.0), float(np.abs(values - expected[name]).max(initial=0.0)))
    if not worst:
        raise ModelFileError("There are no pictures on which the exported file could be compared with the network")
    tolerances = HALF_TOLERANCES if half else TOLERANCES
    for name, difference in worst.items():
        if not difference <= tolerances[name]:
            raise ModelFileError(
                f"The output {name!r} of the exported file differs from the network's by {difference:.2g}; "
                f"{tolerances[name]:g} is allowed. The file is not fit for use"
            )
    return next(iter(worst.values()))


def _file_outputs(session: LandmarkSession | DetectorSession, images: np.ndarray) -> dict[str, np.ndarray]:
    if isinstance(session, DetectorSession):
        return {"faces": session(images)}
    answer = session.answer(images)
    return {"points": answer.points} | ({} if answer.spread is None else {"spread": answer.spread})


def _network_outputs(
    network: nn.Module, session: LandmarkSession | DetectorSession, images: np.ndarray
) -> dict[str, np.ndarray]:
    with torch.no_grad():
        output = network(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0)
    if isinstance(session, DetectorSession):
        outputs = {"faces": output.numpy()}
    else:
        outputs = {"points": unit_to_pixels(output.points.numpy(), session.card.size)}
        outputs |= {} if output.spread is None else {"spread": output.spread.numpy()}
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise ModelFileError(
                f"The output {name!r} of the network holds numbers that are not finite; its training failed, or the "
                "checkpoint is damaged. Nothing is exported"
            )
    return outputs
