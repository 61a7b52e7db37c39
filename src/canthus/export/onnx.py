"""One ONNX file from a network: dynamic sizes, no side file, the card inside."""

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from canthus.errors import ModelFileError
from canthus.export.card_entry import describe_file, put_card
from canthus.lookup import require
from canthus.runtime.cards import ModelCard

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
