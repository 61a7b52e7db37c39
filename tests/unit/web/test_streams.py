"""Videos and streams of the service: lines, records and bounds."""

import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from canthus.images import decode_image, read_image
from canthus.runtime.pipeline import Pipeline
from canthus.runtime.tracker import Tracker
from http_service import AS_FORM, FORM, PORTRAIT, Client, Serve, check_lines
from json_schemas import check_schema

pytest.importorskip("fastapi")
PHOTO = PORTRAIT.read_bytes()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds of the portrait, ten frames a second."""
    from canthus.runtime.video import VideoWriter

    path = tmp_path_factory.mktemp("video") / "clip.mkv"
    image = np.asarray(cv2.resize(read_image(PORTRAIT), (200, 234), interpolation=cv2.INTER_AREA))
    with VideoWriter(path, width=200, height=234, fps=10) as writer:
        for number in range(20):
            writer.write(image, number / 10)
    return path.read_bytes()


def test_a_video_is_answered_by_lines(serve: Serve, clip: bytes) -> None:
    client = serve()
    answer = client("/v1/fatigue", clip, {"content-type": "video/mp4"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    check_lines(lines)
    report = lines[-1]["report"]
    assert (report["frames"], report["faces_lost_s"], lines[-1]["problem"]) == (20, 0, None)
    assert client.service.admission.streams == 0


def test_a_damaged_video_is_reported_with_its_problem(serve: Serve, clip: bytes) -> None:
    answer = serve()("/v1/fatigue", clip[:-150])
    last = json.loads(answer.body.splitlines()[-1])
    assert 0 < last["report"]["frames"] <= 20
    assert "cut short" in last["problem"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"no video", "cannot be opened as video"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "cannot be opened as video"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "cannot be opened as video"),
        (PHOTO, "cannot be opened as video"),
    ],
    ids=["text", "playlist", "list of files", "picture"],
)
def test_what_is_no_video_or_names_files_is_refused(serve: Serve, body: bytes, problem: str) -> None:
    answer = serve()("/v1/fatigue", body)
    assert (answer.status, problem in answer.json()["error"]) == (422, True), answer.body


def test_videos_have_bounds_of_their_own(serve: Serve, clip: bytes) -> None:
    assert serve(video_bytes=1000)("/v1/fatigue", clip).status == 413
    client = serve(streams=1)
    with client.service.admission.stream("another"):
        refused = client("/v1/fatigue", clip)
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")


def _slowly(*_: object) -> tuple[bytes, bool]:
    time.sleep(0.1)
    return b"", False


def test_a_video_that_takes_too_long_ends_with_a_line(
    serve: Serve, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("canthus.web.work.next_lines", _slowly)
    answer = serve(video_seconds=0.5)("/v1/fatigue", clip)
    assert answer.status == 200
    assert json.loads(answer.body)["error"].startswith("The video takes longer than 0.5 s")


# Streams.


@pytest.fixture
def connect() -> Any:
    """Open a web socket."""
    client = pytest.importorskip("websockets.sync.client")

    def opened(to: Client, query: str = "", **options: Any) -> Any:
        return client.connect(f"ws://127.0.0.1:{to.port}/v1/track{query}", proxy=None, **options)

    return opened


def test_a_stream_follows_faces_as_the_tracker_does(serve: Serve, connect: Any, pipeline: Pipeline) -> None:
    client, tracker = serve(), Tracker(pipeline)
    with connect(client, "?fps=10&ratios=1") as socket:
        for number in range(3):
            socket.send(PHOTO)
            record = json.loads(socket.recv(20))
            expected = tracker(decode_image(PHOTO, name="photo"), number / 10).to_dict(number)
            assert "ratios" in record["faces"][0]
            assert [{**face, "ratios": None} for face in record["faces"]] == [
                {**face, "ratios": None} for face in expected["faces"]
            ]
            assert (record["frame"], record["time_s"]) == (number, number / 10)
            check_schema("track", record)
    while client.service.admission.streams:
        time.sleep(0.005)


def test_a_stream_goes_on_after_what_is_no_picture(serve: Serve, connect: Any) -> None:
    with connect(serve()) as socket:
        socket.send(b"no picture")
        assert "no known format" in json.loads(socket.recv(20))["error"]
        socket.send("a text")
        assert "expected a binary message" in json.loads(socket.recv(20))["error"]
        socket.send(PHOTO)
        record = json.loads(socket.recv(20))
        assert (record["frame"], len(record["faces"])) == (1, 1)
        assert record["time_s"] > 0


def test_streams_have_bounds(serve: Serve, connect: Any) -> None:
    websockets = pytest.importorskip("websockets")
    client = serve(streams=1, body_bytes=len(PHOTO), token="secret")
    right: dict[str, Any] = {"additional_headers": {"Authorization": "Bearer secret"}}

    def refused(query: str = "", **options: Any) -> int:
        with pytest.raises(websockets.InvalidStatus) as caught, connect(client, query, **options):
            pass
        return int(caught.value.response.status_code)

    assert refused() == 401
    assert refused("?fsp=25", **right) == 422
    assert refused(origin="https://evil.example", **right) == 403
    with connect(client, subprotocols=["bearer", "secret"]) as socket:
        assert socket.subprotocol == "bearer"
        assert refused(**right) == 503
        socket.send(PHOTO + b"!")
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            socket.recv(20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009  # too big


def test_a_service_that_ends_lets_streams_go_and_takes_nothing_new(serve: Serve, connect: Any) -> None:
    websockets = pytest.importorskip("websockets")
    client = serve()
    with connect(client) as socket:
        socket.send(PHOTO)
        assert json.loads(socket.recv(20))["faces"]
        client.service.draining.set()
        socket.send(b"wakes the loop")
        with pytest.raises(websockets.ConnectionClosedOK) as closed:
            socket.recv(20)
            socket.recv(20)
        assert closed.value.rcvd.code == 1001
    assert client("/healthz").json()["status"] == "ending"
    assert client("/v1/detect", PHOTO).headers["retry-after"] == "5"


def test_nothing_is_written(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: bytes) -> None:
    """Not even large uploads, for which servers often use temporary files."""
    opened: list[object] = []
    monkeypatch.setattr("tempfile._mkstemp_inner", lambda *given: opened.append(given))
    big = FORM.replace(PHOTO, PHOTO + bytes(3_000_000))
    assert serve()("/v1/detect", big, AS_FORM).status == 200
    assert serve()("/v1/fatigue", clip).status == 200
    assert opened == []
