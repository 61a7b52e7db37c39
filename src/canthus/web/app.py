"""The service over HTTP: the page, pictures, videos and streams (extra: web)."""

import asyncio
import gzip
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, TypeAlias, final

from canthus.web import work
from canthus.web.examples import BODIES, EVENTS, RECORD, TAGS
from canthus.web.limits import Admission, Limits, RefusedError, read_body
from canthus.web.metrics import Metrics
from canthus.web.page import HEADERS, KINDS, Content
from canthus.web.workers import Workers

Answers: TypeAlias = dict[int | str, dict[str, Any]]
"""Status -> description of an answer."""
BEARER = "bearer"
"""A browser cannot add a header to a web socket; it names this protocol and then the token."""


@final
@dataclass
class Service:
    """What the endpoints share.

    Attributes:
        files: of the page, by their paths.
        workers: the pool.
        limits: bounds of requests.
        token: what requests must carry; empty for none.
        origins: pages of other addresses that may use the service; ``*`` for all.
        sockets: open web sockets.
        draining: set when the service ends; open web sockets close then.
    """

    files: Mapping[str, Content]
    workers: Workers
    limits: Limits
    token: str = ""
    origins: Sequence[str] = ()
    sockets: int = 0
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.admission = Admission(self.limits, self.workers.count)

    def check(self, connection: Any) -> str:
        """Address of the client, if it may use the service.

        Args:
            connection: a request or a web socket of Starlette.

        Raises:
            RefusedError: a page of another address asks (403), the token is missing or wrong (401), or the service
                ends (503).
        """
        if self.draining.is_set():
            raise RefusedError(503, "The server is ending; try again later", 5)
        origin, host = connection.headers.get("origin"), connection.headers.get("host")
        own = origin is None or origin.partition("://")[2] == host
        if not own and not {"*", origin} & {*self.origins}:
            raise RefusedError(
                403, f"Pages of {origin} may not use this server; it may be started with --cors {origin}"
            )
        if self.token and not hmac.compare_digest(_token(connection).encode(), self.token.encode()):
            raise RefusedError(401, "The token is missing or wrong; send the header 'Authorization: Bearer TOKEN'")
        return str(connection.client.host) if connection.client else ""


def _token(connection: Any) -> str:
    kind, _, value = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return str(value).strip()
    offered = [name.strip() for name in connection.headers.get("sec-websocket-protocol", "").split(",")]
    return str(offered[1]) if len(offered) == 2 and offered[0] == BEARER else ""


def create_app(service: Service) -> Any:
    """The ASGI application.

    Raises:
        MissingExtraError: FastAPI is not installed.
    """
    from canthus.lookup import require

    fastapi = require("fastapi", extra="web")
    require("python_multipart", extra="web")

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.workers.close)

    app = fastapi.FastAPI(
        title="canthus", version=version("canthus"), openapi_tags=TAGS, lifespan=lifespan,
        description="Faces and their landmarks in pictures, videos and streams.",
        docs_url=None, redoc_url=None,  # their pages load scripts from other addresses
    )  # fmt: skip
    if service.origins:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware, allow_origins=list(service.origins), allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )  # fmt: skip

    async def refused(_: Any, error: Any) -> Any:
        return _problem(error)

    app.add_exception_handler(RefusedError, refused)
    for add in (_add_detect, _add_fatigue, _add_track, _add_health, _add_page):
        add(app, service)
    # FastAPI leaves null out of examples, so this one is set in the finished description, which it keeps.
    app.openapi()["paths"]["/v1/detect"]["post"]["responses"]["200"]["content"]["application/json"]["example"] = RECORD
    return app


def _problem(error: RefusedError) -> Any:
    from starlette.responses import JSONResponse

    headers = {"Connection": "close"} if error.status in (408, 413) else {}
    if error.retry_s is not None:
        headers["Retry-After"] = str(error.retry_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": error.problem}, error.status, headers=headers)


@contextmanager
def _timed(service: Service, path: str) -> Iterator[None]:
    """Count an answer with its status and time."""
    start_s, status = time.monotonic(), 500
    try:
        yield
        status = 200
    except RefusedError as error:
        status = error.status
        raise
    except asyncio.CancelledError:
        status = 499  # the client went away
        raise
    finally:
        service.metrics.answered(path, status, time.monotonic() - start_s)


def _options(request: Any, **values: Any) -> work.FaceOptions:
    """The options of a request; unknown ones are refused, so that a slip does not pass unseen."""
    known = {
        *work.FaceOptions.__dataclass_fields__,
        *(["smooth", "fps"] if request.scope["type"] == "websocket" else []),
    }
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise RefusedError(422, f"Unknown option {unknown[0]!r}; known: {', '.join(sorted(known))}")
    return work.FaceOptions(**values)


ERRORS: Answers = {
    status: {
        "description": text,
        "content": {"application/json": {"example": {"error": "what was found, what was expected and what to do"}}},
    }
    for status, text in {
        400: "The body is empty, or a form without one file", 401: "The token is missing or wrong",
        403: "A page of another address asks", 408: "The body came too slowly", 413: "Too many bytes or pixels",
        415: "Another format", 422: "The picture or video is damaged, or an option is unknown",
        429: "Too many requests of this address; see Retry-After", 503: "The server is full; see Retry-After",
        504: "No answer in time",
    }.items()
}  # fmt: skip


def _add_detect(app: Any, service: Service) -> None:
    from fastapi import Query, Request, Response

    async def detect(
        request: Request,
        *,
        pose: Annotated[bool, Query(description="Add the pose of the head in degrees.")] = False,
        ratios: Annotated[bool, Query(description="Add the openness of eyes and mouth.")] = False,
        scheme: Annotated[
            str | None, Query(description="Convert the points to this scheme.", examples=["five"])
        ] = None,
        min_score: Annotated[float, Query(ge=0, le=1, description="Leave out faces of a lower score.")] = 0.0,
        min_confidence: Annotated[
            float, Query(ge=0, le=1, description="Leave out faces whose points are right with a lower probability.")
        ] = 0.0,
    ) -> Response:
        """Faces and landmarks of a picture, sent as it is or as the file of a form."""
        limits = service.limits
        with _timed(service, "/v1/detect"), service.admission.request(service.check(request)):
            options = _options(
                request, pose=pose, ratios=ratios, scheme=scheme, min_score=min_score, min_confidence=min_confidence
            )
            data = await read_body(request, most=limits.body_bytes, seconds=limits.seconds)
            record, faces = await service.workers.call(work.detect, data, options)
        service.metrics.add("pictures")
        service.metrics.add("faces", faces)
        return Response(record, media_type="application/json")

    answers: Answers = {
        200: {"description": "The faces, best first", "content": {"application/json": {"example": RECORD}}}
    }
    app.add_api_route(
        "/v1/detect", detect, methods=["POST"], tags=["pictures"], response_class=Response,
        responses={**answers, **ERRORS}, openapi_extra={"requestBody": BODIES["picture"]},
    )  # fmt: skip


def _add_fatigue(app: Any, service: Service) -> None:
    from fastapi import Request, Response
    from starlette.responses import StreamingResponse

    async def fatigue(request: Request) -> Response:
        """Signs of fatigue in a video: a line of JSON for each event when it ends, and the report as the last line."""
        lines = _fatigue_lines(service, request)
        first = await anext(lines)  # what is refused is told by the status; later problems by a line

        async def all_lines() -> AsyncIterator[bytes]:
            try:
                yield first
                async for line in lines:
                    yield line
            except RefusedError as error:
                yield json.dumps({"error": error.problem}).encode() + b"\n"
            finally:
                await lines.aclose()

        return StreamingResponse(all_lines(), media_type="application/x-ndjson")

    example = {"application/x-ndjson": {"example": EVENTS}}
    answers: Answers = {200: {"description": "Lines of JSON", "content": example}}
    app.add_api_route(
        "/v1/fatigue", fatigue, methods=["POST"], tags=["videos"], response_class=Response,
        responses={**answers, **ERRORS}, openapi_extra={"requestBody": BODIES["video"]},
    )  # fmt: skip


async def _fatigue_lines(service: Service, request: Any) -> Any:
    """The lines of a video; the first is empty and says that it was opened."""
    limits, workers = service.limits, service.workers
    with _timed(service, "/v1/fatigue"), service.admission.stream(service.check(request)):
        data = await read_body(request, most=limits.video_bytes, seconds=limits.video_seconds)
        stop_s = time.monotonic() + limits.video_seconds
        async with workers.stream(work.open_video, data) as video:
            del data
            yield b""
            done = False
            while not done:
                lines, done = await video.call(work.next_lines)
                yield lines
                if time.monotonic() > stop_s and not done:
                    raise RefusedError(
                        504, f"The video takes longer than {limits.video_seconds:g} s; send a shorter or smaller one"
                    )


def _add_track(app: Any, service: Service) -> None:
    from fastapi import Query, WebSocket

    async def track(
        socket: WebSocket,
        *,
        pose: bool = False,
        ratios: bool = False,
        scheme: str | None = None,
        min_score: Annotated[float, Query(ge=0, le=1)] = 0.0,
        min_confidence: Annotated[float, Query(ge=0, le=1)] = 0.0,
        smooth: bool = True,
        fps: Annotated[float | None, Query(gt=0, le=1000)] = None,
    ) -> None:
        """Each message with a picture is answered by the record of its faces, which keep their numbers."""
        try:
            client = service.check(socket)
            options = _options(
                socket, pose=pose, ratios=ratios, scheme=scheme, min_score=min_score, min_confidence=min_confidence
            )
            with _timed(service, "/v1/track"), service.admission.stream(client):
                async with service.workers.stream(work.open_stream, options, smooth) as stream:
                    offered = socket.headers.get("sec-websocket-protocol")
                    await socket.accept(subprotocol=BEARER if offered else None)
                    await _answer_frames(service, socket, stream, fps)
        except RefusedError as error:
            if socket.application_state.name == "CONNECTING":
                await socket.send_denial_response(_problem(error))
            else:
                await socket.close(1011, error.problem[:100])

    app.add_api_websocket_route("/v1/track", track)


async def _answer_frames(service: Service, socket: Any, stream: Any, fps: float | None) -> None:
    """Answer each picture until the client or the service ends."""
    start_s, last_s, number = time.monotonic(), -1.0, 0
    draining = asyncio.ensure_future(service.draining.wait())
    service.sockets += 1
    try:
        while True:
            message = asyncio.ensure_future(socket.receive())
            await asyncio.wait({message, draining}, return_when=asyncio.FIRST_COMPLETED)
            if not message.done():
                message.cancel()
                await socket.close(1001, "the server is ending")
                return
            received = message.result()
            if received["type"] == "websocket.disconnect":
                return
            data = received.get("bytes")
            if data is None:
                await socket.send_text(json.dumps({"error": "expected a binary message with a picture, found a text"}))
                continue
            time_s = number / fps if fps else max(time.monotonic() - start_s, last_s + 1e-4)
            record = await stream.call(work.next_record, data, time_s)
            number, last_s = number + 1, time_s
            service.metrics.add("frames")
            await socket.send_text(record)
    finally:
        service.sockets -= 1
        draining.cancel()


def _add_health(app: Any, service: Service) -> None:
    from fastapi import Request, Response
    from starlette.responses import JSONResponse, PlainTextResponse

    async def healthz() -> Response:
        """Whether the service takes requests."""
        state = "ending" if service.draining.is_set() else "ok"
        return JSONResponse({"status": state, "version": version("canthus")}, 200 if state == "ok" else 503)

    async def metrics(request: Request) -> Response:
        """Numbers for Prometheus."""
        service.check(request)
        workers, admission = service.workers, service.admission
        gauges = {
            "processes": workers.count, "processes_busy": workers.busy, "process_restarts": workers.restarts,
            "calls_waiting": workers.waiting, "requests_open": admission.requests, "streams_open": admission.streams,
        }  # fmt: skip
        return PlainTextResponse(service.metrics.text(gauges), media_type="text/plain; version=0.0.4")

    example = {"application/json": {"example": {"status": "ok", "version": version("canthus")}}}
    app.add_api_route("/healthz", healthz, tags=["operation"], responses={200: {"content": example}, 503: {}})
    plain = {"text/plain": {"example": 'canthus_requests_total{path="/v1/detect",status="200"} 12\n'}}
    app.add_api_route(
        "/metrics", metrics, tags=["operation"], response_class=PlainTextResponse, responses={200: {"content": plain}}
    )


def _add_page(app: Any, service: Service) -> None:
    from fastapi import Request, Response
    from starlette.responses import FileResponse

    async def page(request: Request, path: str) -> Response:
        name = path or "index.html"
        content = service.files.get(name)
        if content is None:
            raise RefusedError(404, f"There is nothing at /{name}; /openapi.json describes what there is")
        tag = f'"{await asyncio.to_thread(_fingerprint, content)}"'
        headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": tag, "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        kind = KINDS.get(Path(name).suffix, "application/octet-stream")
        if _gains_by_packing(request, name):
            packed = await asyncio.to_thread(_packed, content)
            return Response(packed, media_type=kind, headers=headers | {"Content-Encoding": "gzip"})
        if isinstance(content, bytes):
            return Response(content, media_type=kind, headers=headers)
        return FileResponse(content, media_type=kind, headers=headers)

    app.add_api_route("/{path:path}", page, methods=["GET", "HEAD"], include_in_schema=False)


def _gains_by_packing(request: Any, name: str) -> bool:
    """Whether gzip is worth its time: not for weights, and not for a browser on this machine."""
    local = request.client is not None and is_local(request.client.host)
    return not local and "gzip" in request.headers.get("accept-encoding", "") and not name.endswith(".onnx")


def is_local(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bytes(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


@lru_cache(maxsize=64)
def _fingerprint(content: Content) -> str:
    return hashlib.sha256(_bytes(content)).hexdigest()[:24]


@lru_cache(maxsize=64)
def _packed(content: Content) -> bytes:
    """The content in gzip, made once."""
    return gzip.compress(_bytes(content), 6, mtime=0)
