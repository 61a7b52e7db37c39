"""``canthus track`` from the outside, on a short video of a portrait that moves."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import get_data_path

from canthus.evaluation.moments import SHOWN, FaceCurves
from canthus.images import read_image, write_image
from canthus.runtime import video
from canthus.runtime.video import VideoFile, VideoWriter, read_video
from command import Done, Run, runner
from json_schemas import check_schema
from videos import make_video, noise

TinyModel = Callable[..., Path]
PORTRAIT = Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture
def run(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Run ``canthus track`` with the tiny model in an empty folder, as the installed command does."""
    return runner("track", tiny_model(spread=2 / 3), tmp_path, monkeypatch, capfd)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve frames of a portrait that wanders, at uneven times."""
    image = np.asarray(cv2.resize(read_image(PORTRAIT), (200, 234), interpolation=cv2.INTER_AREA))
    path = tmp_path / "clip.mkv"
    with VideoWriter(path, width=200, height=234, fps=25) as writer:
        for number in range(12):
            writer.write(np.roll(image, number, axis=1), number * 0.04 + (0.02 if number % 3 else 0.0))
    return path


def test_video_json_lines_and_csv_in_one_run(run: Run, clip: Path) -> None:
    done = run("clip.mkv", "--out", "out/seen.mp4", "--json", "out/seen.jsonl", "--csv", "out/seen.csv")
    assert (done.code, done.out) == (0, "")
    assert "12 frames" in done.err
    lines = [json.loads(line) for line in Path("out/seen.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["frame"] for line in lines] == list(range(12))
    check_schema("track", lines[3])
    np.testing.assert_allclose([line["time_s"] for line in lines][:4], [0, 0.06, 0.1, 0.12], atol=2e-3)
    assert all(face["id"] == 0 and len(face["points"]) == 68 for line in lines for face in line["faces"])
    rows = list(csv.DictReader(Path("out/seen.csv").read_text(encoding="utf-8").splitlines()))
    faces = [(line["frame"], face) for line in lines for face in line["faces"]]
    assert len(rows) == len(faces) >= 1
    assert [int(row["frame"]) for row in rows] == [frame for frame, _ in faces]
    assert [float(rows[0][name]) for name in ("x1", "y1", "x2", "y2")] == faces[0][1]["box"]
    assert float(rows[0]["point_67_y"]) == faces[0][1]["points"][67][1]
    drawn = list(read_video("out/seen.mp4"))
    assert len(drawn) == 12
    with_face = lines[0]["faces"] and (np.abs(drawn[0].image.astype(int) - next(read_video(clip)).image) > 90).sum()
    assert with_face > 50  # points and box are on it


def test_pose_ratios_scheme_and_crops(run: Run, clip: Path) -> None:
    added = ("--pose", "--ratios", "--scheme", "five", "--crops", "crops", "--crop-size", "32", "--align", "box")
    done = run("clip.mkv", *added, "--jsonl", "a.jsonl", "--csv", "a.csv", "--out", "a.mp4", "--parquet", "a.parquet")
    assert done.code == 0
    lines = [json.loads(line) for line in Path("a.jsonl").read_text(encoding="utf-8").splitlines()]
    for line in lines:
        check_schema("track", line)
    faces = [face for line in lines for face in line["faces"]]
    assert {(face["scheme"], len(face["points"])) for face in faces} == {("five", 5)}
    assert faces[0]["crop"]["file"] == "crops/0/000000.png"
    assert all(read_image(face["crop"]["file"]).shape == (32, 32, 3) for face in faces)
    rows = list(csv.DictReader(Path("a.csv").read_text(encoding="utf-8").splitlines()))
    assert [float(row["yaw_deg"]) for row in rows] == [face["pose"]["yaw_deg"] for face in faces]
    assert [float(row["mar"]) for row in rows] == [face["ratios"]["mar"] for face in faces]
    columns = pytest.importorskip("pyarrow.parquet").read_table("a.parquet").to_pydict()
    assert columns["frame"] == [int(row["frame"]) for row in rows]
    assert (set(columns["picture"]), set(columns["id"])) == ({"clip.mkv"}, {0})
    np.testing.assert_allclose(columns["yaw_deg"], [float(row["yaw_deg"]) for row in rows], atol=1e-4)


def test_json_to_standard_output_and_nothing_else_there(run: Run, clip: Path) -> None:
    done = run(clip, "--json", "-", "--no-smooth")
    assert done.code == 0
    assert [json.loads(line)["frame"] for line in done.out.splitlines()] == list(range(12))


def test_cut_video_keeps_what_was_read(run: Run, clip: Path) -> None:
    data = clip.read_bytes()
    long = clip.with_name("long.mkv")
    with VideoWriter(long, width=200, height=234, fps=25) as writer:
        for number in range(60):
            writer.write(np.random.default_rng(number).integers(0, 255, (234, 200, 3), dtype=np.uint8), number / 25)
    data = long.read_bytes()
    cut = clip.with_name("cut.mkv")
    cut.write_bytes(data[: len(data) // 2])
    done = run("cut.mkv", "--json", "kept.jsonl", "--out", "kept.mp4")
    assert done.code == 1
    assert "damaged: cut.mkv" in done.err
    lines = Path("kept.jsonl").read_text(encoding="utf-8").splitlines()
    assert 5 < len(lines) < 60
    assert len(list(read_video("kept.mp4"))) == len(lines)


def test_refusals_end_with_one_line(run: Run, clip: Path) -> None:
    assert run("none.mp4") == Done(2, "", "error: none.mp4: no such file; a camera is given by its number, such as 0\n")
    same = run(clip, "--out", clip)
    assert (same.code, "would overwrite" in same.err) == (2, True)
    both = run(clip, "--json", "-", "--csv", "-")
    assert (both.code, "would mix" in both.err) == (2, True)
    folder = run(clip, "--json", ".")
    assert (folder.code, "cannot be written" in folder.err) == (2, True)


def test_show_without_windows_says_what_to_do(run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_window(*_: object) -> None:
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(video, "screen_found", lambda: True)
    monkeypatch.setattr(cv2, "namedWindow", no_window)
    done = run(clip, "--show")
    assert done.code == 2
    assert "Write the video to a file instead (--out)" in done.err


def test_show_ends_when_q_is_pressed(run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, ...]] = []
    monkeypatch.setattr(video, "screen_found", lambda: True)
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "imshow", lambda _, image: shown.append(image.shape))
    monkeypatch.setattr(cv2, "waitKey", lambda _: ord("q") if len(shown) == 3 else -1)
    done = run(clip, "--show", "--json", "-")
    assert done.code == 0
    assert shown == [(234, 200, 3)] * 3
    assert len(done.out.splitlines()) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_what_was_written(
    run: Run, clip: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    calls = iter(range(100))

    def pressed(*_: object) -> int:
        if next(calls) == 4:
            os.kill(os.getpid(), number)
        return -1

    monkeypatch.setattr(video, "screen_found", lambda: True)
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "imshow", lambda *_: None)
    monkeypatch.setattr(cv2, "waitKey", pressed)
    done = run(clip, "--show", "--out", "half.mp4", "--json", "half.jsonl")
    assert done.code == 130
    assert "everything so far is kept" in done.err
    assert len(list(read_video("half.mp4"))) == 5
    assert len(Path("half.jsonl").read_text(encoding="utf-8").splitlines()) == 5


LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from canthus.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("command", "option", "name", "limit"),
    [
        ("track", "--out", "old.mp4", 0),
        ("track", "--out", "old.mp4", 3000),
        ("track", "--json", "new.jsonl", 0),
        ("track", "--json", "new.jsonl", 3000),
        ("fatigue", "--out", "old.mp4", 0),
        ("fatigue", "--plot", "old.png", 100),
    ],
)
def test_a_disk_that_is_full_at_any_byte_is_one_line(
    run: Run, clip: Path, tiny_model: TinyModel, command: str, option: str, name: str, limit: int
) -> None:
    with VideoWriter("old.mp4") as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0.0)
    write_image("old.png", np.zeros((48, 64, 3), np.uint8))
    before = {path: path.read_bytes() for path in (Path("old.mp4"), Path("old.png"))}
    model = str(tiny_model(spread=2 / 3))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), command, str(clip), "--model", model, option, name],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        "(the file would be larger than is allowed here); choose another place"
    )
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert not list(clip.parent.glob(".canthus-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_from_outside_ends_with_a_whole_video(
    run: Run, tiny_model: TinyModel, tmp_path: Path, number: signal.Signals
) -> None:
    make_video(Path("long.ts"), [i / 25 for i in range(50)], images=[noise(i, 320, 240) for i in range(50)])
    Path("long.ts").write_bytes(Path("long.ts").read_bytes() * 20)
    model = str(tiny_model(spread=2 / 3))
    command = [sys.executable, "-c", "from canthus.cli.main import main; main()", "track", "long.ts", "--model", model]
    with subprocess.Popen(
        [*command, "--out", "a.mp4", "--json", "a.jsonl"], stderr=subprocess.PIPE, text=True
    ) as process:
        while not Path("a.jsonl").exists() or Path("a.jsonl").read_bytes().count(b"\n") < 5:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        err = process.communicate(timeout=60)[1]
    assert (process.returncode, "everything so far is kept" in err) == (130, True)
    lines = Path("a.jsonl").read_text(encoding="utf-8").splitlines()
    assert 5 <= len(lines) < 1000
    with VideoFile("a.mp4") as written:
        assert len(list(written)) == len(lines)
        assert written.problem is None
    assert not list(tmp_path.glob(".canthus-*"))


def test_pictures_with_a_rate_are_a_video(run: Run, clip: Path) -> None:
    for number, frame in enumerate(read_video(clip)):
        write_image(Path("seq") / f"{number:05d}.png", frame.image)
    said = run("seq", "--json", "-")
    assert said.code == 0
    assert "note: seq: 12 pictures at 25 a second" in said.err
    asked = run("seq/%05d.png", "--fps", "2", "--json", "-")
    assert (asked.code, "note" in asked.err) == (0, False)
    assert [json.loads(line)["time_s"] for line in asked.out.splitlines()] == [number / 2 for number in range(12)]
    refused = run(clip, "--fps", "2")
    assert (refused.code, "has its own times" in refused.err) == (2, True)
    assert run("seq", "--fps", "0").code == 2


def test_a_damaged_stamp_ends_no_run(run: Run) -> None:
    times = [number / 25 + (8 * 3600 if number >= 10 else 0) for number in range(20)]
    make_video(Path("gap.mkv"), times)
    done = run("gap.mkv", "--out", "out.mp4", "--json", "out.jsonl")
    assert done.code == 1
    assert "1 damaged time stamp is replaced by the usual step" in done.err
    np.testing.assert_allclose([frame.time_s for frame in read_video("out.mp4")], np.arange(20) / 25, atol=2e-3)
    assert len(Path("out.jsonl").read_text().splitlines()) == 20


def test_a_sheet_of_moments(run: Run, clip: Path) -> None:
    done = run("clip.mkv", "--sheet", "moments.png")
    assert done.code == 0, done.err
    assert read_image("moments.png").shape[1] > 1000
    write_image("empty/0001.png", np.zeros((64, 64, 3), np.uint8))
    assert "no sheet: no face was found" in run("empty", "--sheet", "none.png").err
    assert not Path("none.png").exists()
    for options, reason in (
        (("clip.mkv", "--sheet", "clip.mkv"), "clip.mkv"),
        (("0", "--sheet", "x.png"), "reads the video twice"),
    ):
        refused = run(*options)
        assert refused.code == 2
        assert reason in refused.err


def test_the_moments_are_the_deepest_of_each_closing_and_opening() -> None:
    times = np.arange(100) / 25
    ear, mar = np.full(100, 0.3), np.full(100, 0.05)
    ear[[20, 21, 22]] = 0.1, 0.05, 0.15
    ear[60] = 0.2
    ear[70:72] = np.nan
    mar[30:50] = 0.5 + 0.01 * np.arange(20)
    mar[80:84] = 0.9  # too short for a yawn
    curves = FaceCurves(range(1000, 1100), times, ear, mar, np.zeros((100, 68, 2), np.float32))
    assert curves.blinks() == [(1021, 21, 21 / 25), (1060, 60, 60 / 25)]
    assert curves.yawns() == [(1049, 49, 49 / 25)]
    ear[10:60:5] = 0.12
    assert len(FaceCurves(range(100), times, ear, mar, curves.points).blinks()) == SHOWN
    ear[:], ear[30:34], ear[32] = 0.3, 0.12, np.nan  # lost for one frame while shut
    ear[40:43], ear[45:47], ear[51:53] = 0.12, 0.11, 0.1  # 0.12 s apart: one closing; 0.2 s: two
    shut = FaceCurves(range(100), times, ear, mar, curves.points).blinks()
    assert [moment.frame for moment in shut] == [30, 45, 51]
    unknown = FaceCurves(range(100), times, np.full(100, np.nan), mar, curves.points)
    assert unknown.blinks() == []
