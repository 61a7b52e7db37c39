"""Whatever finds points in a crop: an ONNX network or a fitted cascade."""

import os
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from canthus.errors import ModelFileError
from canthus.runtime.card import ModelCard
from canthus.runtime.esr import EsrModel
from canthus.runtime.session import Answer, LandmarkSession
from canthus.schemes import Scheme


@runtime_checkable
class CropModel(Protocol):
    """A landmark model ready to run; ``LandmarkSession`` and ``EsrModel`` are such.

    Attributes:
        card: what the file says about itself.
        scheme: numbering of the points.
        size_bytes: of the file.
    """

    card: ModelCard
    scheme: Scheme
    size_bytes: int

    @property
    def gives_scores(self) -> bool:
        """Whether answers have confidence."""
        ...

    def answer(self, crops: UInt8[np.ndarray, "n s s 3"]) -> Answer:
        """Points of each crop, an RGB square of ``card.size`` pixels, in its pixels."""
        ...


def open_model(model: str | os.PathLike[str] | bytes = "default", *, threads: int = 1) -> CropModel:
    """Open a model by name, path or content: ``.npz`` is a cascade, anything else a network.

    Raises:
        ConfigError: no embedded model has that name.
        ModelFileError: the file is missing or no landmark model of canthus.
    """
    if not isinstance(model, bytes) and Path(model).suffix == ".npz":
        if not Path(model).is_file():
            raise ModelFileError(f"{model}: no such file")
        return EsrModel.open(model)
    return LandmarkSession.open(model, threads=threads)
