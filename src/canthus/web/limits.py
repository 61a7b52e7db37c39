"""What a client may ask of the service: bounds, and the answer to a request that is over one of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

from canthus.errors import CanthusError, ConfigError

FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF", "avif": "AVIF"}
"""Name of a format in ``--formats`` -> its name in the header of a picture (``image_files``)."""


@final
@dataclass(frozen=True)
class Limits:
    """Bounds of the service.

    Attributes:
        body_bytes: of a picture, or of a message of ``/v1/track``.
        video_bytes: of a video.
        pixels: of a picture or of a frame, by its header, before it is decoded.
        seconds: for a picture to arrive, and then to be answered.
        video_seconds: for a video to arrive, and then to be answered.
        queue: requests that wait beside those at work.
        per_client: requests and open streams of one address; 0 for no such bound.
        streams: videos and open streams at a time, all clients together.
        formats: kinds of pictures, values of ``FORMATS``.

    Raises:
        ConfigError: a bound is not positive.
    """

    body_bytes: int = 20_000_000
    video_bytes: int = 64_000_000
    pixels: int = 25_000_000
    seconds: float = 30.0
    video_seconds: float = 300.0
    queue: int = 16
    per_client: int = 8
    streams: int = 4
    formats: tuple[str, ...] = ("JPEG", "PNG", "WebP")

    def __post_init__(self) -> None:
        least = (self.body_bytes, self.video_bytes, self.pixels, self.seconds, self.video_seconds, self.streams)
        if min(least) <= 0 or min(self.queue, self.per_client) < 0:
            raise ConfigError("Expected positive bounds of sizes, times and streams, and 0 or more requests that wait")


class RefusedError(CanthusError):
    """A request that is not carried out.

    Args:
        status: of HTTP.
        problem: what was found, what was expected and what to do.
        retry_s: seconds after which the same request may be answered; None if never.
    """

    def __init__(self, status: int, problem: str, retry_s: int | None = None) -> None:
        super().__init__(status, problem, retry_s)  # all of them, so that it can be pickled
        self.status, self.problem, self.retry_s = status, problem, retry_s

    def __str__(self) -> str:
        return self.problem


@final
class Admission:
    """Counts what is under way, so that a server that is full says so at once.

    Args:
        limits: the bounds.
        processes: requests that are at work at a time.
    """

    def __init__(self, limits: Limits, processes: int) -> None:
        self._limits, self._most = limits, processes + limits.queue
        self._clients: Counter[str] = Counter()
        self.requests = self.streams = 0

    @contextmanager
    def request(self, client: str) -> Iterator[None]:
        """Hold a place for a picture.

        Raises:
            RefusedError: the client has too many requests under way (429), or the server has (503).
        """
        with self._client(client):
            if self.requests >= self._most:
                raise RefusedError(503, f"All {self._most} places are taken; try again later", 1)
            self.requests += 1
            try:
                yield
            finally:
                self.requests -= 1

    @contextmanager
    def stream(self, client: str) -> Iterator[None]:
        """Hold a place for a video or an open stream; errors as for ``request``."""
        with self._client(client):
            if self.streams >= self._limits.streams:
                raise RefusedError(503, f"All {self._limits.streams} streams are in use; try again later", 5)
            self.streams += 1
            try:
                yield
            finally:
                self.streams -= 1

    @contextmanager
    def _client(self, client: str) -> Iterator[None]:
        most = self._limits.per_client
        if most and self._clients[client] >= most:
            raise RefusedError(
                429, f"{most} requests of this address are under way, which is the most; wait for one", 1
            )
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]


async def read_body(request: Any, *, most: int, seconds: float) -> bytes:
    """The content of the picture or video of a request, sent as it is or as the only file of a form.

    Nothing is written to disk.

    Args:
        request: of Starlette.
        most: bytes; counted while they arrive, whether their number was stated or not.
        seconds: for the whole body to arrive.

    Raises:
        RefusedError: the body is larger (413), too slow (408), empty, or a form without one file (400).
    """
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > most:
        raise RefusedError(413, f"The body has {int(stated):,} bytes, {most:,} are allowed; send a smaller file")
    try:
        async with asyncio.timeout(seconds):
            if request.headers.get("content-type", "").startswith("multipart/form-data"):
                content = await _form_file(request, most)
            else:
                content = b"".join([chunk async for chunk in _counted(request, most)])
    except TimeoutError as error:
        raise RefusedError(408, f"The body did not arrive within {seconds:g} s; send it faster") from error
    if not content:
        raise RefusedError(400, "The body is empty; send the content of a file, or a form with one file")
    return content


async def _counted(request: Any, most: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise RefusedError(413, f"The body has more than the {most:,} bytes that are allowed; send a smaller file")
        yield chunk


async def _form_file(request: Any, most: int) -> bytes:
    """Read a form in memory; Starlette's own way would write large files to disk."""
    from starlette.formparsers import MultiPartException, MultiPartParser

    parser = MultiPartParser(request.headers, _counted(request, most), max_files=1, max_fields=0)  # type: ignore[arg-type,unused-ignore]
    parser.spool_max_size = most + 1
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RefusedError(400, f"The form cannot be read ({error.message}); expected one file in it") from error
    try:
        for _, file in form.multi_items():
            if not isinstance(file, str):
                return bytes(await file.read())
    finally:
        await form.close()
    raise RefusedError(400, "The form holds no file; expected one, such as curl -F image=@photo.jpg sends")
