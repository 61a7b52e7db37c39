"""The card as an entry of an ONNX file's metadata."""

from pathlib import Path
from typing import Any

from canthus.lookup import require
from canthus.runtime.cards import METADATA_KEY, ModelCard


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
