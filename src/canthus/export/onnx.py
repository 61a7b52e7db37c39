"""Networks to ONNX files with their card inside: landmark networks and detectors."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from canthus.errors import ModelFileError
from canthus.lookup import require
from canthus.models.face_detector import STRIDES, FaceDetector
from canthus.runtime.cards import METADATA_KEY, DetectorCard, ModelCard
from canthus.runtime.sessions import DetectorSession


def put_card(model: Any, card: str, *, description: str) -> None:
    """Write a card into a model, in the place of one that may be there.

    Args:
        model: an ONNX model in memory.
        card: as JSON.
        description: the file's own text on itself.
    """
    for entry in [e for e in model.metadata_props if e.key == METADATA_KEY]:
        model.metadata_props.remove(entry)
    model.metadata_props.add(key=METADATA_KEY, value=card)
    model.producer_name = "canthus"
    model.doc_string = description


def replace_card(path: Path, card: ModelCard) -> None:
    """Write another card into an ONNX file.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    onnx = require("onnx", extra="train")
    model = onnx.load(path)
    put_card(model, card.to_json(), description=describe_file(card))
    path.write_bytes(model.SerializeToString())


def describe_file(card: ModelCard) -> str:
    """What a file says about itself to whoever opens it with other tools."""
    return f"{card.name}: {card.scheme} landmarks of one face. Licence of the weights: {card.licence}"


OPSET = 20
OUTPUTS = ["points", "spread"]
"""Names in the file; the second only where the network tells it."""


@final
class ExportView(nn.Module):
    """The network as the runtime calls it: uint8 ``(n, s, s, 3)`` RGB in; points of the unit frame and spread out.

    Differs: the change from bytes to floats is part of the file, so that callers in any language hand over plain
    pictures and cannot normalise wrongly.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Bytes to points ``(n, k, 2)`` and, where the network tells it, their spread ``(n, k)``."""
        output = self.network(image.permute(0, 3, 1, 2).float() / 255.0)
        return (output.points,) if output.spread is None else (output.points, output.spread)


def export_onnx(network: nn.Module, card: ModelCard, path: Path) -> None:
    """Write ``network`` to ``path``.

    Args:
        network: returns ``Output``; put into eval mode for the export.
        card: written into the file's metadata.
        path: ``.onnx`` file; missing folders are made.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        ModelFileError: the exported file is not valid.
    """
    view = ExportView(network).eval()
    example = torch.zeros(2, card.size, card.size, 3, dtype=torch.uint8)
    with torch.no_grad():
        outputs = OUTPUTS[: len(view(example))]
    write_onnx(
        view,
        example,
        path,
        outputs=outputs,
        sizes={0: torch.export.Dim("n", min=1, max=4096)},
        card=card.to_json(),
        description=describe_file(card),
    )


def write_onnx(
    view: nn.Module,
    example: Tensor,
    path: Path,
    *,
    outputs: Sequence[str],
    sizes: Mapping[int, Any],
    card: str,
    description: str,
) -> None:
    """Write any network of one picture input to ``path``.

    Args:
        view: takes ``example``, gives the outputs; in eval mode.
        example: the input ``image`` to trace with.
        path: ``.onnx`` file; missing folders are made.
        outputs: names of the outputs.
        sizes: axes of the input that may have other sizes, see ``torch.export``.
        card: the card as JSON, for the file's metadata.
        description: the file's own text on itself.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        ModelFileError: the exported file is not valid.
    """
    onnx = require("onnx", extra="train")
    require("onnxscript", extra="train")
    model = _trace(view, example, outputs, sizes).model_proto
    put_card(model, card, description=description)
    _drop_debris(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ModelFileError(f"The export to {path} is not a valid ONNX model: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


def _trace(view: nn.Module, example: Tensor, outputs: Sequence[str], sizes: Mapping[int, Any]) -> Any:
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        # The exporter prints its steps and warns about its own insides; neither helps a user.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                view,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["image"],
                output_names=list(outputs),
                dynamic_shapes=(dict(sizes),),
                external_data=False,
                verbose=False,
            )
    finally:
        exporter.setLevel(level)


def _drop_debris(model: Any) -> None:
    """Remove the tracer's stack traces, which name files of the machine that exported, and inferred shapes."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        if hasattr(value, "metadata_props"):
            del value.metadata_props[:]
    del model.graph.metadata_props[:]


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
