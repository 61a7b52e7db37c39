"""``canthus fatigue`` from the outside, on a short video of a portrait."""

import csv
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import get_data_path

from canthus.fatigue.events import Event, EventKind
from canthus.fatigue.measures import Observation
from canthus.fatigue.monitor import FatigueMonitor, Status
from canthus.fatigue.state import State
from canthus.images import read_image
from canthus.runtime.video import VideoWriter, read_video
from command import Run, runner
from json_schemas import check_schema
from videos import make_video

TinyModel = Callable[..., Path]
PORTRAIT = Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"
KEYS = [
    "duration_s", "fps", "frames", "faces_lost_s", "events", "perclos", "blink_rate_hz", "perclos_1min_max",
    "perclos_3min_max", "level_max", "blink_s", "blink_growth", "blink_avr_s", "states_s", "not_judged_s", "started",
    "schema_version",
]  # fmt: skip


@pytest.fixture
def run(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Run ``canthus fatigue`` with the tiny model in an empty folder, as the installed command does."""
    return runner("fatigue", tiny_model(spread=2 / 3), tmp_path, monkeypatch, capfd)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two and a half seconds of a portrait, ten frames a second."""
    image = np.asarray(cv2.resize(read_image(PORTRAIT), (200, 234), interpolation=cv2.INTER_AREA))
    path = tmp_path / "clip.mkv"
    with VideoWriter(path, width=200, height=234, fps=10) as writer:
        for number in range(25):
            writer.write(image, number / 10)
    return path


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """Events that the monitor reports at its tenth and at its last frame."""
    told = [Event("blink", 0.5, 0.7, 0.9), Event("closure", 1.5, 2.4, 1.0)]
    update, calls = FatigueMonitor.update, iter(range(10_000))

    def reported(self: FatigueMonitor, seen: object) -> list[Event]:
        update(self, seen)  # type: ignore[arg-type]
        return told[:1] if next(calls) == 9 else []

    monkeypatch.setattr(FatigueMonitor, "update", reported)
    monkeypatch.setattr(FatigueMonitor, "finish", lambda _: told[1:])
    return told


def test_all_outputs_in_one_run(run: Run, clip: Path, events: list[Event]) -> None:
    done = run(
        "clip.mkv", "--json", "r/all.json", "--csv", "r/all.csv", "--plot", "r/all.png", "--out", "r/all.mp4",
        "--report", "r/all.html",
    )  # fmt: skip
    assert done.code == 0
    assert [json.loads(line) for line in done.out.splitlines()] == [event.to_json() for event in events]
    assert "1 blink, 1 closure, 0 yawn" in done.err
    report = json.loads(Path("r/all.json").read_text(encoding="utf-8"))
    check_schema("fatigue", report)
    assert list(report) == KEYS
    assert (report["frames"], report["fps"], report["duration_s"]) == (25, 10.0, 2.5)
    assert report["events"] == [event.to_json() for event in events]
    rows = list(csv.DictReader(Path("r/all.csv").read_text(encoding="utf-8").splitlines()))
    assert [float(row["time_s"]) for row in rows] == pytest.approx([i / 10 for i in range(25)], abs=2e-3)
    assert {row["state"] for row in rows} == {"unknown"}  # too short to learn what is normal
    frames = list(read_video("r/all.mp4"))
    assert len(frames) == 25
    assert frames[0].image.shape[0] > 234  # gauges below
    written = [np.abs(frames[i].image[:30].astype(int) - frames[5].image[:30]).max() for i in (4, 12)]
    assert written[0] < 40 < written[1]  # the blink's line of text
    assert read_image("r/all.png").shape[1] > 1000
    assert "1 closure" in Path("r/all.html").read_text(encoding="utf-8")


def test_alerts_begin_before_events_end(run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def update(self: FatigueMonitor, seen: Observation) -> list[Event]:
        state: State = "asleep" if seen.time_s > 1 else "unknown"
        lasting: tuple[tuple[EventKind, float], ...] = (("yawn", 0.5),) if seen.time_s > 0.8 else ()
        self.status = Status(seen.time_s, state, lasting=lasting, level=8.0)
        return []

    monkeypatch.setattr(FatigueMonitor, "update", update)
    script = Path("note.py")
    script.write_text("import sys; open('noted', 'a').write(sys.stdin.read())")
    Path("s.toml").write_text("asleep_s = 1.5")
    done = run(
        clip, "--alert-json", "a.jsonl", "--bell", "--on-alert", f"{sys.executable} note.py", "--settings", "s.toml",
        "--started", "2026-05-01T08:30:00",
    )  # fmt: skip
    assert done.code == 0, done.err
    yawn, asleep = (json.loads(line) for line in Path("a.jsonl").read_text().splitlines())
    assert (yawn["alert"], yawn["time_s"], yawn["since_s"]) == ("yawn", 0.9, 0.5)
    assert (asleep["alert"], asleep["time_s"], asleep["clock"][:23]) == ("asleep", 1.1, "2026-05-01T08:30:01.100")
    assert 0 <= asleep["latency_ms"] < 60_000
    assert [json.loads(line) for line in Path("noted").read_text().splitlines()] == [asleep]  # a yawn is no alarm
    assert done.err.count("\a") == 1
    assert json.loads(run(clip, "--alert-json", "-").out.splitlines()[0])["alert"] == "yawn"
    assert run(clip, "--alert-on", "sleeping", "--bell").code == 2
    Path("s.toml").write_text("asleep = 1.5")
    wrong = run(clip, "--settings", "s.toml")
    assert (wrong.code, "asleep_s" in wrong.err) == (2, True)


def test_json_on_standard_output_stands_alone(run: Run, clip: Path, events: list[Event]) -> None:
    done = run(clip, "--json", "-")
    assert list(json.loads(done.out)) == KEYS
    done = run(clip, "--csv", "-")
    assert done.out.startswith("time_s,state,openness")
    assert "{" not in done.out
    assert events


def test_video_without_a_face(run: Run, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "wall.mp4", width=64, height=48, fps=10) as writer:
        for number in range(12):
            writer.write(np.full((48, 64, 3), 128, np.uint8), number / 10)
    report = json.loads(run("wall.mp4", "--json", "-").out)
    assert report["events"] == []
    assert report["faces_lost_s"] == pytest.approx(1.1)
    assert (report["perclos"], report["blink_rate_hz"]) == (None, None)


def test_refusals_end_with_one_line(run: Run, clip: Path) -> None:
    assert run("none.mp4").code == 2
    both = run(clip, "--json", "-", "--csv", "-")
    assert (both.code, "would mix" in both.err) == (2, True)
    same = run(clip, "--out", clip)
    assert (same.code, "would overwrite" in same.err) == (2, True)
    folder = run(clip, "--out", ".")
    assert (folder.code, "is a folder" in folder.err) == (2, True)


def test_joined_recordings_are_as_long_as_both(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pause, joined_s = FatigueMonitor.pause, []

    def noted(self: FatigueMonitor) -> list[Event]:
        joined_s.append(self.status.time_s)
        return pause(self)

    monkeypatch.setattr(FatigueMonitor, "pause", noted)
    data = make_video(Path("one.ts"), [number / 25 for number in range(40)]).read_bytes()
    Path("two.ts").write_bytes(data * 2)
    done = run("two.ts", "--json", "two.json", "--out", "two.mp4")
    assert done.code == 0
    assert "note: two.ts: the time stamps started again once" in done.err
    report = json.loads(Path("two.json").read_text())
    assert (report["frames"], report["duration_s"], report["fps"]) == (80, 3.2, 25.0)
    assert len(list(read_video("two.mp4"))) == 80
    assert joined_s == [pytest.approx(39 / 25)]  # no event goes on from the one to the other


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_a_whole_report(
    run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    update, calls = FatigueMonitor.update, iter(range(100))

    def stopped(self: FatigueMonitor, seen: Observation) -> list[Event]:
        if next(calls) == 6:
            os.kill(os.getpid(), number)
        return update(self, seen)

    monkeypatch.setattr(FatigueMonitor, "update", stopped)
    done = run(clip, "--json", "a.json", "--csv", "a.csv", "--out", "a.mp4", "--plot", "a.png")
    assert (done.code, "everything so far is kept" in done.err) == (130, True)
    assert json.loads(Path("a.json").read_text())["frames"] == 7
    assert len(list(csv.DictReader(Path("a.csv").read_text().splitlines()))) == 7
    assert len(list(read_video("a.mp4"))) == 7
    assert read_image("a.png").shape[1] > 1000


def test_names_with_formulas_are_titles_of_plots(run: Run, clip: Path) -> None:
    clip.rename("$a_{$.mkv")
    done = run("$a_{$.mkv", "--plot", "a.png")
    assert done.code == 0, done.err
    assert Path("a.png").exists()
