"""Files fetched on request, from a server on this machine: the right content arrives, and nothing else stays."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from canthus.errors import ConfigError, ModelFileError
from canthus.runtime import downloads
from canthus.runtime.downloads import DOWNLOADS, Download, fetch, fetched_file, fetched_path

CONTENT = bytes(range(256)) * 300


class _Answers(BaseHTTPRequestHandler):
    """Serves the right file, and all that can go wrong with one."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/error":
            self.send_error(500)
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/right")
            self.end_headers()
            return
        if self.path == "/drip":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            while not self.server.ending.wait(0.02):  # type: ignore[attr-defined]
                self.wfile.write(b".")
            return
        if self.path == "/silent":
            self.server.ending.wait(20)  # type: ignore[attr-defined]
            return
        bodies = {"/right": CONTENT, "/short": CONTENT[:-100], "/long": CONTENT + b"!", "/cut": CONTENT[:1000]}
        body = bodies.get(self.path, CONTENT[::-1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) if self.path == "/cut" else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Address of a server on this machine; the cache is a temporary folder."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(_Answers, "asked", [], raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as running:
        running.ending = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.ending.set()  # type: ignore[attr-defined]
        running.shutdown()
        thread.join()
    for limited in threading.enumerate():
        if limited.name == "canthus-limited":
            limited.join(5)


def download(url: str) -> Download:
    digest = hashlib.sha256(CONTENT).hexdigest()
    return Download("thing", "thing.onnx", url, digest, len(CONTENT), "MIT")


def left_over(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or ".fetch" in path.name]


@pytest.mark.parametrize("path", ["/right", "/moved"])
def test_the_right_file_arrives_once(server: str, tmp_path: Path, path: str) -> None:
    thing = download(server + path)
    with pytest.raises(ConfigError, match="No thing model has been fetched; run: canthus fetch thing"):
        fetched_file(thing)
    assert fetch(thing) == fetched_path(thing) == tmp_path / "canthus/models/thing.onnx"
    assert fetched_file(thing).read_bytes() == CONTENT
    asked = len(_Answers.asked)
    assert fetch(thing).read_bytes() == CONTENT
    assert len(_Answers.asked) == asked
    assert left_over(tmp_path) == ["canthus/models/thing.onnx"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/other", r"is not the file it should be: expected SHA-256 \w{64}, found \w{64}"),
        ("/long", "is not the file it should be"),
        ("/short", "is cut short, 76700 of 76800 bytes"),
        ("/cut", "is cut short, 1000 of 76800 bytes|cannot be fetched"),
        ("/error", r"/error: cannot be fetched into .* \(HTTP Error 500"),
    ],
)
def test_nothing_stays_of_what_is_not_right(server: str, tmp_path: Path, path: str, reason: str) -> None:
    with pytest.raises(ModelFileError, match=reason):
        fetch(download(server + path))
    assert left_over(tmp_path) == []


def test_a_failure_leaves_an_older_file_alone(server: str, tmp_path: Path) -> None:
    thing = download(server + "/other")
    fetched_path(thing).parent.mkdir(parents=True)
    fetched_path(thing).write_bytes(b"mine")
    with pytest.raises(ModelFileError, match="not the file"):
        fetch(thing)
    assert fetched_path(thing).read_bytes() == b"mine"
    with pytest.raises(ModelFileError, match="is cut short, 4 of 76800 bytes"):
        fetched_file(thing)


def test_a_mirror_must_have_the_same_content(server: str) -> None:
    thing = download("http://127.0.0.1:9/never")
    with pytest.raises(ModelFileError, match="not the file"):
        fetch(thing, url=server + "/other")
    assert fetch(thing, url=server + "/right").read_bytes() == CONTENT


def test_servers_that_do_not_answer_and_other_addresses(server: str) -> None:
    with pytest.raises(ModelFileError, match=r"http://127.0.0.1:9/x: cannot be fetched into"):
        fetch(download("http://127.0.0.1:9/x"))
    with pytest.raises(ConfigError, match="begins with https:// or http://"):
        fetch(download("file:///etc/hostname"))


@pytest.mark.parametrize(("path", "reason"), [("/drip", "took more than 0.5 s"), ("/silent", "timed out")])
def test_slow_servers_are_given_up(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    """One that sends a byte now and then, so that no single read waits long, and one that never answers."""
    monkeypatch.setattr(downloads, "TOTAL_S", 0.5)
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.2)
    with pytest.raises(ModelFileError, match=rf"cannot be fetched into .* \({reason}\)"):
        fetch(download(server + path))
    assert left_over(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "canthus").write_text("a file where a folder should be")
    with pytest.raises(ModelFileError, match="cannot be fetched into .*models"):
        fetch(download(server + "/right"))


def test_every_download_names_a_version_and_a_checksum() -> None:
    for name, known in DOWNLOADS.items():
        assert known.name == name
        assert known.url.startswith("https://")
        assert "/main/" not in known.url
        assert len(bytes.fromhex(known.sha256)) == 32
        assert known.size_bytes > 0
