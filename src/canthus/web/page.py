"""The files of the page: what ``canthus serve`` answers and ``canthus export-web`` writes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from canthus.errors import ConfigError
from canthus.files import write_bytes
from canthus.plain_data import to_values
from canthus.runtime.cards import DETECTOR
from canthus.runtime.downloads import ONNXRUNTIME_WEB, fetched_file
from canthus.runtime.sessions import DetectorSession, LandmarkSession, find_model
from canthus.schemes import CONVERSIONS, IBUG_68, SCHEMES, Scheme
from canthus.zoo import FATIGUE

Content: TypeAlias = Path | bytes
"""A file, or the content of one."""

STATIC = Path(__file__).parent / "static"
MARK = "canthus.js"
"""A folder that holds this file was written by ``export_page``."""
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
"""Suffix -> media type; browsers compile wasm while it arrives only if its type is right."""

HEADERS = {
    # Threads of wasm need a page that shares nothing with others.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Nothing is loaded from, or sent to, another address.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; "
        "img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "frame-ancestors 'none'; form-action 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of each file of the page."""


def page_files(
    model: str | os.PathLike[str] = FATIGUE, detector: str | os.PathLike[str] = "default"
) -> dict[str, Content]:
    """The files of the page by their paths below its address.

    Args:
        model: landmark model, a name or an ONNX file.
        detector: face detector of canthus, a name or an ONNX file.

    Raises:
        ConfigError: no such name, a cascade, or the files of onnxruntime-web were not fetched.
        ModelFileError: a file is missing, or is no such model.
    """
    if Path(model).suffix == ".npz":
        raise ConfigError(f"{os.fspath(model)}: the page runs networks, and this is a cascade; give an ONNX file")
    LandmarkSession.open(model)
    DetectorSession.open(detector)
    runtime = fetched_file(ONNXRUNTIME_WEB)
    files: dict[str, Content] = {path.name: path for path in sorted(STATIC.iterdir())}
    files |= {f"ort/{Path(name).name}": runtime / Path(name).name for name in ONNXRUNTIME_WEB.unpacked}
    files["models/landmarks.onnx"] = find_model(model)
    files["models/detector.onnx"] = find_model(detector, kind=DETECTOR)
    files["schemes.json"] = json.dumps(scheme_table()).encode()
    return files


def scheme_table() -> dict[str, Mapping[str, Any]]:
    """Name -> fields of each scheme of canthus, and ``ibug_68``: the points whose means are the 68, if it has them."""
    return {name: {**to_values(scheme), "ibug_68": _rows_of_68(scheme)} for name, scheme in SCHEMES.items()}


def _rows_of_68(scheme: Scheme) -> list[Any] | None:
    if scheme == IBUG_68:
        return list(range(IBUG_68.count))
    variants = CONVERSIONS.get((scheme.name, IBUG_68.name), {})
    return next(iter(variants.values()), None)


def export_page(folder: Path, files: Mapping[str, Content]) -> int:
    """Write the files of the page into a folder, which is made, or was written by canthus before; return their bytes.

    ``_headers`` states the headers that some web hosts read from such a file; without them wasm runs on one thread.

    Raises:
        ConfigError: the folder holds something else, or is a file.
        OutputError: a file cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file, expected a folder for the page")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise ConfigError(f"{folder}: holds other files; name a new or empty folder, or one that canthus wrote before")
    lines = ["/*", *(f"  {name}: {value}" for name, value in HEADERS.items())]
    contents = {**files, "_headers": "\n".join([*lines, ""]).encode()}
    size = 0
    for name, content in contents.items():
        data = content.read_bytes() if isinstance(content, Path) else content
        write_bytes(folder / name, data)
        size += len(data)
    return size
