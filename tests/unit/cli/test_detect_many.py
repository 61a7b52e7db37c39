"""``canthus detect`` on many pictures: lists, several processes, runs that end early and go on."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from canthus.errors import CanthusError
from canthus.runtime.measures import FaceMeasures
from canthus.runtime.picture_jobs import PictureTask, PictureWork, records
from canthus.runtime.pipeline import load_pipeline
from canthus.schemes import IBUG_68
from command import Run, runner
from conftest import write_tiny_model
from tiny_detectors import end_the_process

TinyModel = Callable[..., Path]


@pytest.fixture
def run(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Run ``canthus detect`` with the tiny model in an empty folder, as the installed command does."""
    return runner("detect", tiny_model(), tmp_path, monkeypatch, capfd)


def test_names_from_a_list(run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("list.txt").write_text("photos/wall.png\nphotos/more\nnone.jpg\n", encoding="utf-8")
    wanted = ["photos/portrait.jpg", "photos/wall.png", "photos/more/portrait.jpg"]
    done = run("photos/portrait.jpg", "--list", "list.txt", "--json", "-")
    assert [entry["image"] for entry in json.loads(done.out)] == wanted
    assert done.err == "failed: none.jpg: no such file or folder\n3 pictures, 2 faces, 1 failed\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("list.txt").read_bytes())))
    done = run("--list", "-", "--jsonl", "-")
    assert [json.loads(line)["image"] for line in done.out.splitlines()] == wanted[1:]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"photos/wall.png\nold.txt")))
    Path("old.txt").write_text("of the user", encoding="utf-8")
    done = run("--list", "-", "--json", "old.txt")
    assert (done.code, Path("old.txt").read_text(encoding="utf-8")) == (2, "of the user")
    assert "--json: old.txt would overwrite the input old.txt" in done.err


def test_several_processes_give_the_same_files(run: Run, photos: Path) -> None:
    (photos / "torn.jpg").write_bytes(b"no picture")
    found = []
    for jobs in ("1", "3"):
        outputs = ("--json", f"{jobs}.json", "--csv", f"{jobs}.csv", "--out", f"out{jobs}", "--crops", "crops")
        done = run("photos", *outputs, "--jobs", jobs)
        assert (done.code, done.err.splitlines()[-1]) == (1, "3 pictures, 2 faces, 1 failed")
        overlays = {path.name: path.read_bytes() for path in Path(f"out{jobs}").rglob("*.*")}
        found.append((Path(f"{jobs}.json").read_text(), Path(f"{jobs}.csv").read_text(), overlays))
    assert found[0] == found[1]


@pytest.mark.parametrize("ending", ["", '{"image": "photos/wall.png", "wi'])
def test_an_interrupted_run_goes_on(run: Run, photos: Path, ending: str) -> None:
    (photos / "more/torn.jpg").write_bytes(b"no picture")
    assert run("photos", "--jsonl", "whole.jsonl", "--json", "whole.json", "--csv", "whole.csv").code == 1
    lines = Path("whole.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    for done_before in range(5):
        Path("part.jsonl").write_text("".join(lines[:done_before]) + ending, encoding="utf-8")
        done = run("photos", "--jsonl", "part.jsonl", "--resume", "--json", "part.json", "--csv", "part.csv")
        before = f"; {done_before} of them were written before" if done_before else ""
        assert (done.code, done.err.splitlines()[-1]) == (1, f"3 pictures, 2 faces, 1 failed{before}")
        for kind in ("jsonl", "json", "csv"):
            assert Path(f"part.{kind}").read_bytes() == Path(f"whole.{kind}").read_bytes()


def test_a_run_with_another_model_or_options_does_not_go_on(run: Run, photos: Path) -> None:
    assert run("photos", "--jsonl", "a.jsonl").code == 0
    before = Path("a.jsonl").read_bytes()
    Path("other.jsonl").write_text('{"image": "a.jpg"}\n', encoding="utf-8")
    Path("bare.jsonl").write_text('{"image": "a.jpg", "faces": []}\n', encoding="utf-8")
    for arguments, reason in (
        (("--jsonl", "a.jsonl", "--min-score", "0.5"), "was written with min_score null, now it is 0.5"),
        (("--jsonl", "a.jsonl", "--detector", "none"), 'was written with detector "default", now it is "none"'),
        (("--jsonl", "a.jsonl", "--pose"), "was written with measures [], now it is"),
        (("--jsonl", "a.jsonl", "--crops", "crops"), "was written with crops null, now it is"),
        (("--jsonl", "other.jsonl"), "other.jsonl:1: is no line of canthus detect --jsonl"),
        (("--jsonl", "bare.jsonl"), "bare.jsonl: the first line has no 'settings'"),
        (("--jsonl", "-"), "--resume goes on with the file of --jsonl"),
        ((), "--resume goes on with the file of --jsonl"),
    ):
        done = run("photos", "--resume", *arguments)
        assert (done.code, done.out) == (2, "")
        assert reason in done.err
    write_tiny_model(Path("tiny.onnx"), spread=0.3)
    done = run("photos", "--resume", "--jsonl", "a.jsonl")
    assert (done.code, "was written with model_sha256" in done.err) == (2, True)
    assert Path("a.jsonl").read_bytes() == before


def test_a_process_that_dies_is_told(tiny_model: TinyModel, photos: Path) -> None:
    work = PictureWork(load_pipeline(tiny_model(), detector=end_the_process), FaceMeasures(IBUG_68))
    with pytest.raises(CanthusError, match="A process of --jobs ended on its own, perhaps for want of memory"):
        list(records(work, [PictureTask(photos / "wall.png")] * 3, jobs=2))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_processes_end_with_a_command_that_is_killed() -> None:
    code = """
import os, signal
from canthus.runtime.processes import Processes
processes = Processes(1, os.getpid)
print(processes.submit(int).result(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    # The process of the pool holds the other end of the pipe: reading ends only when it has ended, too.
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout) > 0


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs groups of processes")
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_a_signal_to_every_process_ends_the_run_with_whole_files(
    tiny_model: TinyModel, photos: Path, tmp_path: Path, name: str
) -> None:
    for number in range(3000):
        (photos / f"{number}.png").hardlink_to(photos / "wall.png")
    command = [sys.executable, "-m", "canthus", "detect", "photos", "--model", str(tiny_model()), "--detector", "none"]
    options = ["--jobs", "2", "--jsonl", "a.jsonl", "--json", "a.json"]
    run = subprocess.Popen(
        [*command, *options], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    lines = tmp_path / "a.jsonl"
    while run.poll() is None and not (lines.exists() and lines.stat().st_size):
        time.sleep(0.05)
    os.killpg(run.pid, getattr(signal, name))
    told = run.communicate()[1].splitlines()
    assert run.returncode == 130
    assert told[0] == "stopped; everything so far is kept"
    assert len(told) == 2  # and no process says anything else
    written = lines.read_text(encoding="utf-8").splitlines()
    assert 0 < len(written) < 3000
    assert len(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))) == len(written)
