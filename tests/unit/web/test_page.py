"""The files of the page: what is fetched, served and exported."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from canthus.errors import ConfigError, ModelFileError
from canthus.runtime import downloads
from canthus.runtime.downloads import ONNXRUNTIME_WEB, Download, fetch, fetched_file, is_fetched
from canthus.schemes import IBUG_68, SCHEMES, WFLW_98, conversion_matrix
from canthus.web.page import HEADERS, STATIC, export_page, page_files, scheme_table
from canthus.zoo import FATIGUE, embedded_detectors, embedded_models
from command import run_command
from http_service import PORTRAIT, Client, Serve
from small_networks import write_small_cascade

CONTENTS = {Path(name).name: f"content of {name}".encode() for name in ONNXRUNTIME_WEB.unpacked}


def archive(names: dict[str, bytes]) -> bytes:
    """A package of npm with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as files:
        for name, content in names.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            files.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


PACKAGE = archive(
    {f"package/dist/{name}": content for name, content in CONTENTS.items()}
    | {"../escaped": b"x", "package/other": b"x"}
)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Address of a small package that takes the place of the true one; the cache is a temporary folder."""
    unpacked = {f"package/dist/{name}": hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    checksum = hashlib.sha256(PACKAGE).hexdigest()
    small = Download("web", "runtime", "https://nowhere.example/runtime.tgz", checksum, len(PACKAGE), "MIT", unpacked)
    for module in ("canthus.runtime.downloads", "canthus.web.page", "canthus.cli.serve"):
        monkeypatch.setattr(f"{module}.ONNXRUNTIME_WEB", small)
    monkeypatch.setitem(downloads.DOWNLOADS, "web", small)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = PACKAGE if self.path == "/right.tgz" else PACKAGE[:-1] + b"!"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_runtime_is_unpacked_once_and_checked(mirror: str, tmp_path: Path) -> None:
    small = downloads.ONNXRUNTIME_WEB
    with pytest.raises(ConfigError, match="run: canthus fetch web"):
        fetched_file(small)
    with pytest.raises(ModelFileError, match="is not the file it should be"):
        fetch(small, url=f"{mirror}/wrong.tgz")
    assert not list(tmp_path.rglob("*.mjs"))
    folder = fetch(small, url=f"{mirror}/right.tgz")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENTS
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {*CONTENTS}
    assert fetch(small) == fetched_file(small) == folder  # the address of the package itself is not asked
    (folder / "ort.wasm.bundle.min.mjs").write_bytes(b"changed")
    assert not is_fetched(small)
    with pytest.raises(ConfigError, match="not whole; run: canthus fetch web"):
        fetched_file(small)


def test_fetch_web_tells_what_it_did(
    mirror: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    done = run_command(monkeypatch, capfd, "fetch", "web", "--url", f"{mirror}/right.tgz")
    assert (done.code, done.err) == (0, "")
    assert "runtime: 4 files of a package of 0.0 MB, licence MIT, SHA-256" in " ".join(done.out.split())


def test_export_web_writes_a_folder_of_its_own(
    mirror: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fetch(downloads.ONNXRUNTIME_WEB, url=f"{mirror}/right.tgz")
    monkeypatch.chdir(tmp_path)
    assert run_command(monkeypatch, capfd, "export-web", "site").code == 0
    site = tmp_path / "site"
    expected = {path.name for path in STATIC.iterdir()} | {f"ort/{name}" for name in CONTENTS}
    expected |= {"models/landmarks.onnx", "models/detector.onnx", "schemes.json", "_headers"}
    assert {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()} == expected
    counts_blinks = embedded_models()[FATIGUE].read_bytes()
    assert (site / "models/landmarks.onnx").read_bytes() == counts_blinks
    headers = (site / "_headers").read_text(encoding="utf-8")
    assert headers.startswith("/*\n")
    assert "  Cross-Origin-Embedder-Policy: require-corp\n" in headers
    (site / "page.css").write_text("changed", encoding="utf-8")
    assert run_command(monkeypatch, capfd, "export-web", "site").code == 0
    assert (site / "page.css").read_bytes() == (STATIC / "page.css").read_bytes()


def test_export_web_replaces_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds other files"):
        export_page(tmp_path, {"canthus.js": b""})
    with pytest.raises(ConfigError, match="is a file, expected a folder"):
        export_page(tmp_path / "letter.txt", {"canthus.js": b""})
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_models_that_no_page_runs_are_refused(mirror: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this is a cascade; give an ONNX file"):
        page_files(write_small_cascade(tmp_path / "cascade.npz"))
    with pytest.raises(ModelFileError, match="is a face detector"):
        page_files(embedded_detectors()["face_detector"])


def test_the_page_knows_every_scheme() -> None:
    table = json.loads(json.dumps(scheme_table()))
    assert table.keys() == SCHEMES.keys()
    assert table["ibug_68"]["ibug_68"] == list(range(68))
    matrix = conversion_matrix(WFLW_98, IBUG_68)
    for row, sources in zip(matrix, table["wflw_98"]["ibug_68"], strict=True):
        indices = sources if isinstance(sources, list) else [sources]
        assert {int(i): round(float(row[i]), 6) for i in row.nonzero()[0]} == {
            i: round(indices.count(i) / len(indices), 6) for i in indices
        }
    assert table["five"]["ibug_68"] is None


def test_the_page_names_no_other_address() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text


def test_files_are_served_with_their_headers_and_known_again(serve: Serve) -> None:
    files = {"index.html": STATIC / "index.html", "ort/a.wasm": b"\0asm", "schemes.json": b"{}"}
    client = serve(files=files)
    page = client("/")
    assert (page.status, page.body) == (200, (STATIC / "index.html").read_bytes())
    assert {name.lower(): value for name, value in HEADERS.items()}.items() <= page.headers.items()
    assert client("/ort/a.wasm").headers["content-type"] == "application/wasm"
    again = client("/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert client("/", method="HEAD").headers["content-length"] == str(len(page.body))
    for path in ("/../constraints.txt", "/%2e%2e/pyproject.toml", "/etc/passwd", "/ort/"):
        assert client(path).status == 404


# The command itself.


@contextmanager
def _served() -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """``canthus serve`` with one process, and a client that has its token."""
    pytest.importorskip("fastapi")
    command = [sys.executable, "-m", "canthus", "serve", "--port", "0", "--no-page", "--processes", "1"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "CANTHUS_TOKEN": "secret"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            yield server, Client(int(server.stdout.readline().split("/")[2].split(":")[1]))
        finally:
            server.kill()


TOKEN = {"authorization": "Bearer secret"}


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_serve_finishes_what_is_under_way_when_it_is_ended() -> None:
    with _served() as (server, client):
        assert client("/healthz").status == 200
        with client.connection() as connection:
            # The first request also waits for its process to start; the signal comes while it does.
            connection.request("POST", "/v1/detect", PORTRAIT.read_bytes(), TOKEN)
            while b"canthus_requests_open 1" not in client("/metrics", headers=TOKEN).body:
                assert server.poll() is None
            server.send_signal(signal.SIGTERM)
            answer = connection.getresponse()
            assert (answer.status, len(json.loads(answer.read())["faces"])) == (200, 1)
        assert server.wait(60) == 0
        assert server.stderr is not None
        assert server.stderr.read() == ""


def _worker(server: subprocess.Popen[str]) -> int:
    """Number of the process that marks pictures."""
    children = Path(f"/proc/{server.pid}/task").glob("*/children")
    numbers = [int(number) for path in children for number in path.read_text().split()]
    (worker,) = (n for n in numbers if b"spawn_main" in Path(f"/proc/{n}/cmdline").read_bytes())
    return worker


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc for the number of a process")
def test_a_process_that_is_killed_is_replaced() -> None:
    """At rest nobody notices; at work its request gets 503, and the next one is answered."""
    with _served() as (server, client):
        photo = PORTRAIT.read_bytes()
        assert client("/v1/detect", photo, TOKEN).status == 200
        first = _worker(server)
        os.kill(first, signal.SIGKILL)
        while [path.name for path in Path(f"/proc/{first}/task").iterdir()] != [str(first)]:
            time.sleep(0.01)  # until its threads have ended
        while " Z " not in Path(f"/proc/{first}/stat").read_text(encoding="utf-8"):
            time.sleep(0.01)
        assert client("/v1/detect", photo, TOKEN).status == 200
        second = _worker(server)
        os.kill(second, signal.SIGSTOP)  # holds the next request
        with client.connection() as connection:
            connection.request("POST", "/v1/detect", photo, TOKEN)
            while b"canthus_processes_busy 1" not in client("/metrics", headers=TOKEN).body:
                assert server.poll() is None
            os.kill(second, signal.SIGKILL)
            answer = connection.getresponse()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert "The process at work ended" in json.loads(answer.read())["error"]
        again = client("/v1/detect", photo, TOKEN)
        assert (again.status, len(again.json()["faces"])) == (200, 1)
        assert len({first, second, _worker(server)}) == 3
        assert "canthus_process_restarts 2" in client("/metrics", headers=TOKEN).body.decode().splitlines()
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--host", "203.0.113.7"], "203.0.113.7:8000: cannot be listened to"),
        (["--formats", "jpeg,gyf"], "Did you mean 'gif'?"),
        (["--max-body", "0"], "Expected positive bounds"),
        (["--detector", "haar"], "The page runs the detectors of canthus, not haar; add --no-page"),
        (["--model", "nothing.onnx"], "nothing.onnx: no such file"),
    ],
)
def test_serve_says_what_is_wrong_before_it_begins(
    mirror: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    problem: str,
) -> None:
    pytest.importorskip("fastapi")
    fetch(downloads.ONNXRUNTIME_WEB, url=f"{mirror}/right.tgz")
    done = run_command(monkeypatch, capfd, "serve", *arguments)
    assert (done.code, done.out) == (2, "")
    assert problem in " ".join(done.err.split())
