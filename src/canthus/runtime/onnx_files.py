"""Open ONNX files of canthus: the session of ONNX Runtime, and the card that the file carries."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from canthus.errors import ConfigError, ModelFileError
from canthus.lookup import unknown_name
from canthus.runtime.card import METADATA_KEY

ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoModel,
    ort_state.NoSuchFile,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)
"""What ONNX Runtime raises on a bad file; these share no base class of their own."""


def find_file(model: str | os.PathLike[str], known: Mapping[str, Path], *, default: str, kind: str) -> Path:
    """File of a model given by name or by path.

    Args:
        model: ``default``, one of the ``known`` names, or a path.  A name that is also a file in the current folder
            means the embedded model; write ``./name`` for the file.
        known: embedded models, name -> file.
        default: the name that ``default`` stands for.
        kind: what the models are, for errors.

    Raises:
        ConfigError: neither a known name nor a file, and it does not look like a path.
        ModelFileError: it looks like a path, and there is no file.
    """
    name = os.fspath(model)
    wanted = default if name == "default" else name
    if isinstance(model, str) and wanted in known:
        return known[wanted]
    path = Path(name)
    if path.is_file():
        return path
    if name == "default":
        raise ModelFileError(f"The embedded {kind} {default!r} is not in this installation; install canthus again")
    if path.is_dir():
        raise ModelFileError(f"{name}: is a folder, expected an ONNX file")
    if path.suffix or path.name != name:
        raise ModelFileError(f"{name}: no such file; embedded {kind}s: {', '.join(known) or 'none'}")
    raise unknown_name(name, [*known, "default"], kind=kind)


def read_model(path: str | os.PathLike[str]) -> bytes:
    """Content of a model file.

    Raises:
        ModelFileError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror})") from error


def open_onnx(data: bytes, *, source: str, threads: int) -> tuple[Any, str]:
    """A session on the CPU, and the text of the card.

    Args:
        data: content of the file.
        source: the file, for errors.
        threads: threads inside one operator.

    Raises:
        ConfigError: ``threads`` is below one.
        ModelFileError: no ONNX model, or no card in it.
    """
    if threads < 1:
        raise ConfigError(f"Expected at least 1 thread, found {threads}")
    if not data:
        raise ModelFileError(f"{source}: the file is empty, expected an ONNX model")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelFileError(f"{source}: is no ONNX model that ONNX Runtime can open ({reason})") from error
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ModelFileError(
            f"{source}: holds no model card (metadata entry {METADATA_KEY!r}), so how to use it is unknown; "
            "make the file with: canthus export CHECKPOINT"
        )
    return session, metadata[METADATA_KEY]
