"""The service in a thread of the test, on a free port of this machine, and a client for it."""

import asyncio
import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, final

import pytest
from matplotlib import get_data_path

from canthus.runtime.pipeline import Pipeline
from json_schemas import check_schema

PORTRAIT = Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"
FORM = (
    b'--line\r\nContent-Disposition: form-data; name="image"; filename="../../etc/passwd"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n" + PORTRAIT.read_bytes() + b"\r\n--line--\r\n"
)
"""The portrait as the file of a form; its name is not used."""
AS_FORM = {"content-type": "multipart/form-data; boundary=line"}


def check_lines(lines: list[dict[str, Any]]) -> None:
    """Lines of events, then the report, as ``canthus fatigue`` writes them."""
    assert all(line.keys() == {"event"} for line in lines[:-1])
    check_schema("fatigue", lines[-1]["report"] | {"events": [line["event"] for line in lines[:-1]]})


class Answer(NamedTuple):
    """What the service sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@final
class Client:
    """Sends requests to a service."""

    def __init__(self, port: int, service: Any = None) -> None:
        self.port, self.service = port, service

    @contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        """An open connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            yield connection
        finally:
            connection.close()

    def __call__(
        self,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        method: str | None = None,
        chunked: bool = False,
    ) -> Answer:
        """Send one request: POST where there is a body."""
        with self.connection() as connection:
            verb = method or ("GET" if body is None else "POST")
            connection.request(verb, path, body=body, headers=dict(headers or {}), encode_chunked=chunked)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


@final
class Thread:
    """What the service uses of ``Process``, in a thread of the test."""

    restarts = 0

    def __init__(self, marker: Any) -> None:
        self._marker, self._pool = marker, ThreadPoolExecutor(1)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """The result of ``function(marker, *arguments)``."""
        return self._pool.submit(function, self._marker, *arguments)

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()


Serve = Callable[..., Client]


@contextmanager
def services(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """A function that starts a service with given limits, with a thread in place of each of its processes."""
    uvicorn = pytest.importorskip("uvicorn")
    pytest.importorskip("fastapi")
    from canthus.web.app import Service, create_app
    from canthus.web.limits import Limits
    from canthus.web.server import bound_socket
    from canthus.web.work import Marker
    from canthus.web.workers import Workers

    running: list[tuple[Any, threading.Thread]] = []

    def start(
        *,
        processes: int = 1,
        files: Mapping[str, Path | bytes] | None = None,
        token: str = "",
        origins: tuple[str, ...] = (),
        **limits: Any,
    ) -> Client:
        bounds = Limits(**limits)
        monkeypatch.setattr(Workers, "_process", lambda *_: Thread(Marker(pipeline, bounds)))
        service = Service(files or {}, Workers(processes, pipeline, bounds), bounds, token, origins)
        listening = bound_socket("127.0.0.1", 0)
        config = uvicorn.Config(create_app(service), log_level="error", lifespan="on", ws_max_size=bounds.body_bytes)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        running.append((server, thread))
        while not server.started and thread.is_alive():
            thread.join(0.01)
        return Client(listening.getsockname()[1], service)

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
