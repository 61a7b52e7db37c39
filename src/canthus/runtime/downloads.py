"""Model files of other projects that ``canthus fetch`` downloads; each is checked by its SHA-256."""

import functools
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import final

from canthus.errors import ConfigError, ModelFileError
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
        file: name of the file in the cache.
        url: address of one fixed version.
        sha256: checksum of the content, which has ``size_bytes`` bytes.
    """

    name: str
    file: str
    url: str
    sha256: str
    size_bytes: int
    licence: str


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

DOWNLOADS = {download.name: download for download in (YUNET,)}


def cache_folder() -> Path:
    """Folder ``canthus`` in the cache folder of the user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "canthus"


def fetched_path(download: Download) -> Path:
    """Path of the file in the cache, whether it exists or not."""
    return cache_folder() / "models" / download.file


def fetched_file(download: Download) -> Path:
    """Path of a file that was fetched before.

    Raises:
        ConfigError: the file has not been fetched.
        ModelFileError: the file is not the expected one.
    """
    path = fetched_path(download)
    if not path.is_file():
        raise ConfigError(f"No {download.name} model has been fetched; run: canthus fetch {download.name}")
    _check(path, download, source=str(path))
    return path


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
    if path.is_file() and sha256(path) == download.sha256:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = result_within(TOTAL_S, functools.partial(_content, address, download.size_bytes + 1))
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as folder:
            part = Path(folder) / download.file
            part.write_bytes(content)
            _check(part, download, source=address)
            part.replace(path)
    except (OSError, http.client.HTTPException) as error:  # an URLError is an OSError
        reason = str(error) or type(error).__name__
        raise ModelFileError(f"{address}: cannot be fetched into {path.parent} ({reason})") from error
    return path


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
