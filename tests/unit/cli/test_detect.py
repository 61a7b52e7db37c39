"""``canthus detect`` from the outside, with a model that finds bright discs."""

import csv
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib import get_data_path

from canthus.errors import CanthusError
from canthus.images import read_image, write_image
from canthus.runtime.measures import POSE, RATIOS, FaceMeasures
from canthus.runtime.picture_jobs import PictureTask, PictureWork, records
from canthus.runtime.pipeline import load_pipeline
from canthus.schemes import IBUG_68
from command import Done, Run, runner
from conftest import write_tiny_model
from json_schemas import check_schema
from tiny_detectors import end_the_process

TinyModel = Callable[..., Path]
PORTRAIT = Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture
def run(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Run ``canthus detect`` with the tiny model in an empty folder, as the installed command does."""
    return runner("detect", tiny_model(), tmp_path, monkeypatch, capfd)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A portrait at half size, its mirror picture and an empty wall, in two folders."""
    image = np.asarray(cv2.resize(read_image(PORTRAIT), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    write_image(tmp_path / "photos/portrait.jpg", image)
    write_image(tmp_path / "photos/more/portrait.jpg", image[:, ::-1])
    write_image(tmp_path / "photos/wall.png", np.full((120, 160, 3), 128, np.uint8))
    return tmp_path / "photos"


def test_json_file_csv_file_and_overlays_in_one_run(run: Run, photos: Path) -> None:
    done = run("photos", "--json", "results/all.json", "--csv", "results/all.csv", "--out", "overlays")
    assert done == Done(0, "", "3 pictures, 2 faces, 0 failed\n")
    entries = json.loads(Path("results/all.json").read_text(encoding="utf-8"))
    assert [entry["image"] for entry in entries] == [
        "photos/more/portrait.jpg",
        "photos/portrait.jpg",
        "photos/wall.png",
    ]
    assert [len(entry["faces"]) for entry in entries] == [1, 1, 0]
    assert [(entry["width"], entry["height"]) for entry in entries] == [(256, 300), (256, 300), (160, 120)]
    face = entries[1]["faces"][0]
    assert (len(face["points"]), face["scheme"]) == (68, "ibug_68")
    rows = list(csv.DictReader(Path("results/all.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["image"] for row in rows] == ["photos/more/portrait.jpg", "photos/portrait.jpg"]
    assert [float(rows[1][name]) for name in ("x1", "y1", "x2", "y2")] == face["box"]
    for name in ("portrait.jpg", "more/portrait.jpg", "wall.png"):
        source, overlay = read_image(photos / name), read_image(Path("overlays") / name)
        assert overlay.shape == source.shape
    assert (np.abs(read_image("overlays/portrait.jpg").astype(int) - read_image(photos / "portrait.jpg")) > 60).any()
    np.testing.assert_array_equal(read_image("overlays/wall.png"), read_image(photos / "wall.png"))


def test_json_on_standard_output_is_alone_there(run: Run, photos: Path) -> None:
    done = run("photos/*.*", "--json", "-")
    assert done.code == 0
    assert [entry["image"] for entry in json.loads(done.out)] == ["photos/portrait.jpg", "photos/wall.png"]


def test_csv_on_standard_output(run: Run, photos: Path) -> None:
    done = run(photos, "--csv", "-")
    assert done.code == 0
    assert len(list(csv.DictReader(done.out.splitlines()))) == 2


def test_summary_without_any_output(run: Run, photos: Path) -> None:
    done = run("photos/portrait.jpg", "photos/wall.png")
    lines = done.out.splitlines()
    assert lines[0] == "photos/portrait.jpg: 1 face"
    assert lines[1].startswith("  1: ")
    assert lines[1].endswith("68 points (ibug_68)")
    assert lines[2] == "photos/wall.png: 0 faces"
    assert done.err == "2 pictures, 1 face, 0 failed\n"


def test_failures_are_told_and_the_rest_goes_on(run: Run, photos: Path) -> None:
    (photos / "broken [1].jpg").write_bytes(b"no picture")
    Path("bare").mkdir()
    done = run("missing.jpg", "bare", "*.zip", "photos", "--json", "-")
    assert done.code == 1
    assert ["error" in entry for entry in json.loads(done.out)] == [True, False, False, False]
    assert [line.partition(": ")[2].partition(": ")[0] for line in done.err.splitlines()[:4]] == [
        "missing.jpg", "bare", "*.zip", "photos/broken [1].jpg",
    ]  # fmt: skip
    assert done.err.splitlines()[4] == "3 pictures, 2 faces, 4 failed"


def test_nothing_to_do_is_a_failure_and_an_empty_list(run: Run) -> None:
    done = run("missing.jpg", "--json", "-")
    assert (done.code, json.loads(done.out)) == (1, [])


def test_own_boxes_replace_the_detector(run: Run, photos: Path) -> None:
    box = [50.0, 50.0, 150.0, 160.0]
    faces = [{"box": box, "score": 0.25}, {"box": [1, 1, 60, 60]}]
    entries = [{"image": "photos/wall.png", "faces": faces}, {"image": "photos/portrait.jpg", "faces": []}]
    Path("boxes.json").write_text(json.dumps(entries), encoding="utf-8")
    done = run("photos", "--boxes", "boxes.json", "--json", "-")
    assert done.code == 1
    assert "failed: photos/more/portrait.jpg: boxes.json has no entry" in done.err
    missing, portrait, wall = json.loads(done.out)
    assert missing["error"].startswith("boxes.json has no entry")
    assert missing["faces"] == portrait["faces"] == []
    assert [face["box"] for face in wall["faces"]] == [box, [1, 1, 60, 60]]
    assert [face["score"] for face in wall["faces"]] == [0.25, 1]


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_own_output_is_accepted_as_boxes(run: Run, photos: Path, kind: str) -> None:
    assert run("photos/portrait.jpg", f"--{kind}", f"first.{kind}").code == 0
    first = run("photos/portrait.jpg", "--passes", "2", "--json", "-")
    second = run("photos/portrait.jpg", "--boxes", f"first.{kind}", "--json", "-")
    (before,), (after,) = (json.loads(done.out)[0]["faces"] for done in (first, second))
    assert (before["box"], before["score"]) == (after["box"], after["score"])
    # The box went through two decimals; the points move by less than that.
    np.testing.assert_allclose(before["points"], after["points"], atol=0.05)


def test_whole_pictures_and_passes(run: Run, photos: Path) -> None:
    once, twice = (
        json.loads(run("photos/portrait.jpg", "--detector", "none", "--passes", passes, "--json", "-").out)[0]
        for passes in ("1", "2")
    )
    assert once["faces"][0]["box"] == twice["faces"][0]["box"] == [0, 0, 256, 300]
    assert once["faces"][0]["points"] != twice["faces"][0]["points"]


def test_threads_do_not_change_the_result(run: Run, photos: Path) -> None:
    one, two = (run("photos", "--threads", threads, "--json", "-").out for threads in ("1", "2"))
    assert one == two


def test_results_in_the_searched_folder_are_not_found_again(run: Run, photos: Path) -> None:
    for _ in range(2):
        done = run("photos", "--out", "photos/out")
        assert done.err == "3 pictures, 2 faces, 0 failed\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--json", "-", "--csv", "-"), "would mix on standard output"),
        (("--detector", "haar", "--boxes", "b.json"), "replaces the detector"),
        (("--detector", "face.onnx"), "face.onnx: no such file"),
        (("--detector", "harr"), "Did you mean 'haar'"),
        (("--model", "missing.onnx"), "missing.onnx: no such file"),
        (("--boxes", "missing.json"), "missing.json: cannot be read"),
        (("--threads", "0"), "at least 1 thread"),
        (("--passes", "0"), "at least 1 pass"),
        (("--out", "photos"), "would overwrite"),
        (("--json", "photos"), "photos: cannot be written"),
        (("--scheme", "wflw_98"), "No conversion from ibug_68 to wflw_98; ibug_68 converts to five"),
        (("--scheme", "fife"), "Did you mean 'five'"),
        (("--crop-size", "64"), "settings of --crops DIR; name that folder"),
        (("--crops", "c", "--align", "nose"), "Unknown alignment 'nose'"),
        (("--list", "none.txt"), "none.txt: cannot be read"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(run: Run, photos: Path, arguments: tuple[str, ...], reason: str) -> None:
    done = run("photos", *arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert reason in done.err
    assert len(done.err.splitlines()) == 1


def test_no_input_shows_usage(run: Run) -> None:
    done = run()
    assert done.code == 2
    assert "INPUT" in done.err


def test_a_picture_that_cannot_be_processed_does_not_end_the_folder(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(image: np.ndarray, *_: object, **__: object) -> np.ndarray:
        if image.shape[0] == 120:
            cv2.warpAffine(image, np.zeros((5, 5)), (3, 3))
        return image

    monkeypatch.setattr("canthus.runtime.picture_jobs.draw_frame", fails)
    done = run("photos", "--json", "all.json", "--csv", "all.csv", "--out", "out")
    assert done.code == 1
    assert done.err.startswith("failed: photos/wall.png: cannot be processed (")
    assert done.err.endswith("2 pictures, 2 faces, 1 failed\n")
    entries = json.loads(Path("all.json").read_text(encoding="utf-8"))
    assert [len(entry["faces"]) for entry in entries] == [1, 1, 0]
    assert entries[2].keys() == {"image", "width", "height", "faces", "error", "schema_version"}
    assert entries[2]["error"].startswith("cannot be processed (")
    again = run("photos", "--boxes", "all.json", "--json", "again.json")
    assert (again.code, again.err.splitlines()[-1]) == (1, "2 pictures, 2 faces, 1 failed")
    assert "has no entry for this picture" in again.err


@pytest.mark.parametrize("options", [["--detector-tiles"], ["--boxes", "boxes.json"], []])
def test_very_long_pictures_are_pictures(run: Run, tmp_path: Path, options: list[str]) -> None:
    image = np.zeros((40, 33_000, 3), np.uint8)
    cv2.circle(image, (32_900, 20), 9, (255, 255, 255), -1)
    write_image(tmp_path / "photos/long.png", image)
    write_image(tmp_path / "photos/tall.png", np.ascontiguousarray(image.transpose(1, 0, 2)))
    boxes = [("long.png", [32_885, 5, 32_915, 35]), ("tall.png", [5, 32_885, 35, 32_915])]
    entries = [{"image": name, "faces": [{"box": box}]} for name, box in boxes]
    Path("boxes.json").write_text(json.dumps(entries), encoding="utf-8")
    done = run("photos", *options, "--json", "all.json", "--out", "out")
    assert (done.code, done.err.splitlines()[-1].endswith(" 0 failed")) == (0, True)
    found = json.loads(Path("all.json").read_text(encoding="utf-8"))
    assert [(entry["width"], entry["height"]) for entry in found] == [(33_000, 40), (40, 33_000)]
    if "--boxes" in options:
        centre = np.mean(found[0]["faces"][0]["points"], axis=0)
        np.testing.assert_allclose(centre, [32_900, 20], atol=1)


def test_files_passed_over_are_named_in_the_closing_line(run: Run, photos: Path) -> None:
    for name in ("a.tga", "b.tga", "more/notes", "v.mp4"):
        (photos / name).write_bytes(b"x")
    done = run("photos")
    assert done.code == 0
    closing = "3 pictures, 2 faces, 0 failed; passed over 4 other files (2 .tga, 1 without suffix, 1 .mp4)\n"
    assert done.err.endswith(closing)


def lines_of(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_json_lines_hold_the_entries_of_the_json(run: Run, photos: Path) -> None:
    (photos / "torn.jpg").write_bytes(b"no picture")
    done = run("photos", "--json", "all.json", "--jsonl", "all.jsonl")
    assert (done.code, done.err.splitlines()[-1]) == (1, "3 pictures, 2 faces, 1 failed")
    first, *rest = lines_of("all.jsonl")
    settings = first.pop("settings")
    entries = json.loads(Path("all.json").read_text(encoding="utf-8"))
    assert [first, *rest] == entries
    check_schema("detect", entries)
    check_schema("detect#picture", {**first, "settings": settings})
    assert (settings["model"], settings["detector"], len(settings["model_sha256"])) == ("tiny.onnx", "default", 64)
    assert [json.loads(line)["image"] for line in run("photos", "--jsonl", "-").out.splitlines()] == [
        entry["image"] for entry in [first, *rest]
    ]


def test_pose_ratios_scheme_and_crops_in_json_and_csv(run: Run, photos: Path) -> None:
    added = ("--pose", "--ratios", "--scheme", "five", "--crops", "crops", "--crop-size", "64", "--crop-format", "jpg")
    done = run("photos", *added, "--json", "all.json", "--csv", "all.csv", "--out", "out")
    assert (done.code, done.err) == (0, "3 pictures, 2 faces, 0 failed\n")
    entries = json.loads(Path("all.json").read_text(encoding="utf-8"))
    faces = [face for entry in entries for face in entry["faces"]]
    assert [(face["scheme"], len(face["points"])) for face in faces] == [("five", 5)] * 2
    check_schema("detect", entries)
    files = [face["crop"]["file"] for face in faces]
    assert files == ["crops/more/portrait.jpg-0.jpg", "crops/portrait.jpg-0.jpg"]
    assert [read_image(file).shape for file in files] == [(64, 64, 3)] * 2
    rows = list(csv.DictReader(Path("all.csv").read_text(encoding="utf-8").splitlines()))
    assert list(rows[0])[-6:] == [*POSE, *RATIOS]
    for row, face in zip(rows, faces, strict=True):
        expected = {**face["pose"], **face["ratios"]}
        assert {name: float(row[name]) for name in expected} == expected
    assert run("photos", *added, "--json", "all.json").code == 0  # canthus may replace its own crops
    Path("own").mkdir()
    Path("own/a.gif").write_bytes(b"GIF89a")
    assert "own/a.gif is not a picture that canthus wrote" in run("photos", "--crops", "own").err


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


def test_parquet_has_one_row_a_face(run: Run, photos: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (photos / "torn.jpg").write_bytes(b"no picture")
    assert run("photos", "--pose", "--ratios", "--parquet", "all.parquet", "--json", "all.json").code == 1
    rows = parquet.read_table("all.parquet").to_pylist()
    entries = json.loads(Path("all.json").read_text(encoding="utf-8"))
    faces = [(entry, face) for entry in entries for face in entry["faces"]]
    assert len(rows) == len(faces) == 2
    for row, (entry, face) in zip(rows, faces, strict=True):
        assert (row["picture"], row["width"], row["height"]) == (entry["image"], entry["width"], entry["height"])
        np.testing.assert_allclose(np.reshape(row["points"], (-1, 2)), face["points"], atol=1e-4)
        np.testing.assert_allclose(row["box"], face["box"], atol=1e-4)
        for name, value in {**face["pose"], **face["ratios"]}.items():
            assert row[name] == pytest.approx(value, abs=1e-4)
    assert run("photos/wall.png", "--parquet", "none.parquet", "--scheme", "five").code == 0
    assert parquet.read_table("none.parquet").num_rows == 0


def test_a_process_that_dies_is_told(tiny_model: TinyModel, photos: Path) -> None:
    work = PictureWork(load_pipeline(tiny_model(), detector=end_the_process), FaceMeasures(IBUG_68))
    with pytest.raises(CanthusError, match="A process of --jobs ended on its own, perhaps for want of memory"):
        list(records(work, [PictureTask(photos / "wall.png")] * 3, jobs=2))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_processes_end_with_a_command_that_is_killed() -> None:
    code = """
import os, signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from canthus.runtime.picture_jobs import _begin_process
pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin_process, initargs=(b"",))
print(pool.submit(os.getpid).result(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    # The process of the pool holds the other end of the pipe: reading ends only when it has ended, too.
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout) > 0
