"""``canthus detect`` from the outside, with a model that finds bright discs."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from canthus.images import read_image, write_image
from canthus.runtime.measures import POSE, RATIOS
from command import Done, Run, runner
from json_schemas import check_schema

TinyModel = Callable[..., Path]


@pytest.fixture
def run(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Run ``canthus detect`` with the tiny model in an empty folder, as the installed command does."""
    return runner("detect", tiny_model(), tmp_path, monkeypatch, capfd)


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
        (("--scheme", "wflw_98"), "to wflw_98, which this needs; ibug_68 converts to five"),
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
