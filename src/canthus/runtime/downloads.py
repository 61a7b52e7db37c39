"""Files of other projects that ``canthus fetch`` downloads; each is checked by its SHA-256."""

import functools
import hashlib
import http.client
import io
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from canthus.errors import ConfigError, ModelFileError
from canthus.files import write_bytes
from canthus.runtime.time_limit import result_within

TIMEOUT_S = 30.0
"""Longest wait for a connection, and for the next bytes."""
TOTAL_S = 300.0
"""Longest download; the files are small."""


@final
@dataclass(frozen=True)
class Download:
    """A file to download.

    Attributes:
        name: name for ``canthus fetch``.
        file: name of the file in the cache, or of the folder if files are unpacked.
        url: address of one fixed version.
        sha256: checksum of the content, which has ``size_bytes`` bytes.
        unpacked: files of an archive that are kept, by their paths in it, and their checksums; the archive is not kept.
    """

    name: str
    file: str
    url: str
    sha256: str
    size_bytes: int
    licence: str
    unpacked: Mapping[str, str] = field(default_factory=dict)


# Checksum and size: the Git LFS pointer of the file in the repository opencv/opencv_zoo.
YUNET = Download(
    name="yunet",
    file="face_detection_yunet_2023mar.onnx",
    url=(
        "https://huggingface.co/opencv/face_detection_yunet/resolve/"
        "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310/face_detection_yunet_2023mar.onnx"
    ),
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    size_bytes=232589,
    licence="MIT",
)

# Checksum: that of the npm registry's own record of the package (SHA-512) was compared once.
ONNXRUNTIME_WEB = Download(
    name="web",
    file="onnxruntime-web-1.30.0",
    url="https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz",
    sha256="d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
    size_bytes=33106585,
    licence="MIT",
    unpacked={
        "package/dist/ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
        "package/dist/ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        "package/dist/ort.webgpu.bundle.min.mjs": "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
        "package/dist/ort-wasm-simd-threaded.asyncify.wasm": (
            "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da"
        ),
    },
)

DOWNLOADS = {download.name: download for download in (YUNET, ONNXRUNTIME_WEB)}


def cache_folder() -> Path:
    """Folder ``canthus`` in the cache folder of the user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "canthus"


def fetched_path(download: Download) -> Path:
    """Path of the file, or of the folder of unpacked files, in the cache, whether it exists or not."""
    return cache_folder() / ("web" if download.unpacked else "models") / download.file


def fetched_file(download: Download) -> Path:
    """Path of a file, or of a folder of unpacked files, that was fetched before.

    Raises:
        ConfigError: the file has not been fetched.
        ModelFileError: the file is not the expected one.
    """
    path = fetched_path(download)
    if download.unpacked:
        if not is_fetched(download):
            raise ConfigError(f"{path}: its files are not there or not whole; run: canthus fetch {download.name}")
    elif not path.is_file():
        raise ConfigError(f"No {download.name} model has been fetched; run: canthus fetch {download.name}")
    else:
        _check(path, download, source=str(path))
    return path


def is_fetched(download: Download) -> bool:
    """Whether the right content is in the cache."""
    path = fetched_path(download)
    files = {path / Path(name).name: checksum for name, checksum in download.unpacked.items()}
    expected = files or {path: download.sha256}
    return all(file.is_file() and sha256(file) == checksum for file, checksum in expected.items())


def fetch(download: Download, *, url: str | None = None) -> Path:
    """Download a file into the cache, unless it is there already.  Only the expected content is stored.

    Args:
        url: address of a mirror with the same content.

    Raises:
        ConfigError: the address begins with neither ``http://`` nor ``https://``.
        ModelFileError: the download failed or took more than ``TOTAL_S``, the content is not the expected one, or
            the file cannot be written.
    """
    path, address = fetched_path(download), url or download.url
    if not address.startswith(("https://", "http://")):
        raise ConfigError(f"{address}: expected an address that begins with https:// or http://")
    if is_fetched(download):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = result_within(TOTAL_S, functools.partial(_content, address, download.size_bytes + 1))
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as folder:
            part = Path(folder) / Path(download.url).name
            part.write_bytes(content)
            _check(part, download, source=address)
            if download.unpacked:
                _unpack(content, download, path)
            else:
                part.replace(path)
    except (OSError, http.client.HTTPException) as error:  # an URLError is an OSError
        reason = str(error) or type(error).__name__
        raise ModelFileError(f"{address}: cannot be fetched into {path.parent} ({reason})") from error
    return path


def _unpack(archive: bytes, download: Download, folder: Path) -> None:
    """Put the files of an archive, whose checksum is right, into a folder, each whole or not at all."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for name in download.unpacked:
            file = files.extractfile(name)
            if file is not None:
                write_bytes(folder / Path(name).name, file.read())


def _content(address: str, most_bytes: int) -> bytes:
    # The scheme was checked by the caller; redirects of urllib stay within http, https and ftp.
    request = urllib.request.Request(address, headers={"User-Agent": "canthus"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            content: bytes = answer.read(most_bytes)
    except urllib.error.HTTPError as error:
        error.close()
        raise
    return content


def _check(path: Path, download: Download, *, source: str) -> None:
    size = path.stat().st_size
    if size < download.size_bytes:
        raise ModelFileError(f"{source}: is cut short, {size} of {download.size_bytes} bytes; fetch it again")
    found = sha256(path)
    if found != download.sha256:
        raise ModelFileError(
            f"{source}: is not the file it should be: expected SHA-256 {download.sha256}, found {found}; "
            f"the file of {download.url} is right"
        )


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
