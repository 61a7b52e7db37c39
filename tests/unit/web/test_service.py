"""The service over HTTP: what it answers, and each bound on what a client may ask."""

import json
import threading
import time
from typing import Any

import numpy as np
import pytest

from canthus.images import decode_image
from canthus.runtime.measures import FaceMeasures
from canthus.runtime.pipeline import Pipeline
from http_service import AS_FORM, FORM, PORTRAIT, Answer, Client, Serve, check_lines
from json_schemas import check_schema
from picture_files import gigantic_png, pillow

pytest.importorskip("fastapi")
PHOTO = PORTRAIT.read_bytes()


def _record(pipeline: Pipeline) -> dict[str, Any]:
    """What the pipeline itself says about the portrait."""
    frame = pipeline(PHOTO)
    measures = FaceMeasures(frame.landmarks.scheme, pose=True, ratios=True).of(frame.landmarks.points)
    faces = [face.to_dict() | dict(more) for face, more in zip(frame, measures.records, strict=True)]
    height, width = decode_image(PHOTO, name="photo").shape[:2]
    return {"image": None, "width": width, "height": height, "faces": faces, "schema_version": 1}


@pytest.mark.parametrize(
    ("body", "chunked", "headers"),
    [
        (PHOTO, False, {"content-type": "image/jpeg"}),
        (PHOTO, False, {}),
        (iter([PHOTO[:1000], PHOTO[1000:]]), True, {}),
        (FORM, False, AS_FORM),
        (iter([FORM[:90], FORM[90:]]), True, AS_FORM),
    ],
    ids=["raw", "raw without a type", "in pieces", "form", "form in pieces"],
)
def test_a_picture_is_marked_as_by_the_pipeline(
    serve: Serve, pipeline: Pipeline, body: Any, chunked: bool, headers: dict[str, str]
) -> None:
    answer = serve()("/v1/detect?pose=1&ratios=true", body, headers, method="POST", chunked=chunked)
    assert answer.status == 200
    assert answer.json() == _record(pipeline)
    check_schema("detect#picture", answer.json())


def test_options_choose_what_is_told(serve: Serve) -> None:
    client = serve()
    five = client("/v1/detect?scheme=five", PHOTO).json()["faces"]
    assert [(face["scheme"], len(face["points"]), "pose" in face) for face in five] == [("five", 5, False)]
    assert client("/v1/detect?min_score=1", PHOTO).json()["faces"] == []
    assert client("/v1/detect?min_confidence=1", PHOTO).json()["faces"] == []


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("?posee=1", "Unknown option 'posee'; known: min_confidence, min_score, pose, ratios, scheme"),
        ("?scheme=fife", "Did you mean 'five'?"),
        ("?scheme=../../x.toml", "Schemes of files are not read here"),
        ("?min_score=2", "less than or equal to 1"),
        ("?pose=maybe", "valid boolean"),
    ],
)
def test_wrong_options_are_told(serve: Serve, query: str, problem: str) -> None:
    answer = serve()("/v1/detect" + query, PHOTO)
    assert answer.status == 422
    assert problem in answer.body.decode()


@pytest.mark.parametrize(
    ("body", "headers", "status", "problem"),
    [
        (b"", {}, 400, "The body is empty"),
        (b"hello", {}, 415, "The picture is of no known format; expected JPEG or PNG or WebP"),
        (pillow("GIF"), {}, 415, "The picture is GIF; expected JPEG or PNG or WebP"),
        (PHOTO[:5000], {}, 422, "cut short"),
        (gigantic_png(15_000, 15_000), {}, 413, "has 15000 x 15000 pixels, 25 million are allowed"),
        (b"x", AS_FORM, 400, "The form cannot be read"),
        (b"x", {"content-type": "multipart/form-data"}, 400, "Missing boundary"),
        (FORM.replace(b'; filename="../../etc/passwd"', b""), AS_FORM, 400, "The form cannot be read"),
        (FORM[: -len(b"--line--\r\n")] + FORM, AS_FORM, 400, "Too many files"),
    ],
    ids=["empty", "text", "gif", "cut", "pixels", "no form", "no boundary", "field", "two files"],
)  # fmt: skip
def test_bodies_that_are_no_picture_are_told(
    serve: Serve, body: bytes, headers: dict[str, str], status: int, problem: str
) -> None:
    answer = serve()("/v1/detect", body, headers)
    assert (answer.status, problem in answer.json()["error"]) == (status, True), answer.body


def test_formats_and_pixels_are_settings(serve: Serve) -> None:
    client = serve(formats=("GIF",), pixels=48 * 32)
    assert client("/v1/detect", pillow("GIF")).json()["faces"] == []
    assert client("/v1/detect", PHOTO).status == 415
    assert serve(pixels=48 * 32 - 1)("/v1/detect", pillow("PNG")).status == 413


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("headers", [{}, AS_FORM], ids=["raw", "form"])
def test_a_body_is_counted_while_it_arrives(serve: Serve, chunked: bool, headers: dict[str, str]) -> None:
    client = serve(body_bytes=30_000)
    sent = 0

    def pieces() -> Any:
        nonlocal sent
        for start in range(0, 50_000_000, 10_000):
            sent += 10_000
            yield FORM[start : start + 10_000].ljust(10_000, b".")

    try:
        answer = client("/v1/detect", pieces() if chunked else FORM, headers, method="POST", chunked=chunked)
    except (BrokenPipeError, ConnectionResetError):  # the service closed while the client still sent
        assert sent < 20_000_000
        return
    assert answer.status == 413
    assert "30,000" in answer.json()["error"]


def test_a_slow_body_is_given_up(serve: Serve) -> None:
    client = serve(seconds=0.3)
    with client.connection() as connection:
        connection.putrequest("POST", "/v1/detect")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"only this")
        answer = connection.getresponse()
        assert answer.status == 408
        assert "did not arrive within 0.3 s" in json.loads(answer.read())["error"]
    assert client.service.admission.requests == 0


class _Held:
    """Pictures at work wait until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        monkeypatch.setattr("canthus.web.work.Marker.picture", self._picture)

    def _picture(self, data: bytes) -> np.ndarray:
        assert self.go.wait(20)
        return np.zeros((32, 32, 3), np.uint8)


def _sent(client: Client, count: int) -> tuple[list[Answer], list[threading.Thread]]:
    """Requests on their way, each in a thread, once the service has them all."""
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(client("/v1/detect", pillow("PNG")))) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    while client.service.admission.requests < count:
        time.sleep(0.005)
    return answers, threads


@pytest.mark.parametrize(
    ("limits", "status", "problem"),
    [
        ({"queue": 2, "per_client": 0}, 503, "All 3 places are taken"),
        ({"queue": 9, "per_client": 3}, 429, "3 requests of this address are under way"),
    ],
)
def test_a_full_service_says_when_to_come_back(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], status: int, problem: str
) -> None:
    held, client = _Held(monkeypatch), serve(**limits)
    answers, threads = _sent(client, 3)
    refused = client("/v1/detect", PHOTO)
    assert (refused.status, refused.headers["retry-after"]) == (status, "1")
    assert problem in refused.json()["error"]
    held.go.set()
    for thread in threads:
        thread.join(20)
    assert [answer.status for answer in answers] == [200] * 3
    assert client("/v1/detect", pillow("PNG")).status == 200


def test_no_answer_in_time_leaves_the_process_to_its_work(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    held, client = _Held(monkeypatch), serve(seconds=0.2)
    assert client("/v1/detect", PHOTO).status == 504
    assert client.service.workers.busy == 1
    assert client("/v1/detect", PHOTO).status == 504  # it waited, and its place in the queue is free again
    assert client.service.workers.waiting == 0
    held.go.set()
    while client.service.workers.busy:
        time.sleep(0.005)
    assert client("/v1/detect", pillow("PNG")).status == 200


def test_requests_of_strangers_are_refused(serve: Serve) -> None:
    client = serve(token="secret", origins=("https://friend.example",))
    right = {"authorization": "Bearer secret"}
    assert client("/v1/detect", PHOTO).status == 401
    assert client("/v1/detect", PHOTO, {"authorization": "Bearer wrong"}).headers["www-authenticate"] == "Bearer"
    assert client("/metrics").status == 401
    assert client("/healthz").status == 200
    assert client("/v1/detect", PHOTO, right).status == 200
    assert client("/v1/detect", PHOTO, {"origin": "https://evil.example", **right}).status == 403
    own = client("/v1/detect", PHOTO, {"origin": f"http://127.0.0.1:{client.port}", **right})
    assert (own.status, own.headers.get("access-control-allow-origin")) == (200, None)
    friend = client("/v1/detect", PHOTO, {"origin": "https://friend.example", **right})
    assert friend.headers["access-control-allow-origin"] == "https://friend.example"
    asked = {"origin": "https://friend.example", "access-control-request-method": "POST"}
    assert client("/v1/detect", headers=asked, method="OPTIONS").headers["access-control-allow-methods"] == "GET, POST"


def test_pages_of_others_get_no_permission_by_default(serve: Serve) -> None:
    client = serve()
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in client("/v1/detect", headers=asked, method="OPTIONS").headers
    assert client("/v1/detect", PHOTO, {"origin": "https://evil.example"}).status == 403


def test_metrics_count(serve: Serve) -> None:
    client = serve(processes=2)
    client("/v1/detect", PHOTO)
    client("/v1/detect", b"no picture")
    lines = client("/metrics").body.decode().splitlines()
    assert 'canthus_requests_total{path="/v1/detect",status="200"} 1' in lines
    assert 'canthus_requests_total{path="/v1/detect",status="415"} 1' in lines
    assert 'canthus_request_seconds_bucket{path="/v1/detect",le="+Inf"} 2' in lines
    assert {"canthus_pictures_total 1", "canthus_faces_total 1", "canthus_processes 2"} <= {*lines}


def test_the_description_has_examples_that_fit(serve: Serve, pipeline: Pipeline) -> None:
    described = serve()("/openapi.json").json()
    assert {"/v1/detect", "/v1/fatigue", "/healthz", "/metrics"} == {*described["paths"]}
    post = described["paths"]["/v1/detect"]["post"]
    assert {"200", "400", "401", "408", "413", "415", "422", "429", "503", "504"} <= {*post["responses"]}
    assert {"image/jpeg", "multipart/form-data"} <= {*post["requestBody"]["content"]}
    example = post["responses"]["200"]["content"]["application/json"]["example"]
    check_schema("detect#picture", example)
    assert {*example} == {*_record(pipeline)}
    lines = described["paths"]["/v1/fatigue"]["post"]["responses"]["200"]["content"]["application/x-ndjson"]["example"]
    check_lines([json.loads(line) for line in lines.splitlines()])
