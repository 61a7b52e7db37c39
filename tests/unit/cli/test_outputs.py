"""What commands write: nothing of the user's is overwritten, files are whole, and text is safe to show and to open."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import pytest

from canthus.cli.output import markup
from canthus.errors import printable
from canthus.images import read_image, write_image
from canthus.scheme_files import scheme_toml
from canthus.schemes import IBUG_68
from command import Done, Run, run_command

TinyModel = Callable[..., Path]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run ``canthus`` in an empty folder, as the installed command does."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Done:
        return run_command(monkeypatch, capfd, *arguments)

    return call


def photo(name: str) -> Path:
    """A photo that canthus did not write."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.full((60, 80, 3), 90, np.uint8))[1].tobytes())
    return path


def film(name: str) -> Path:
    path = Path(name)
    path.write_bytes(b"\0\0\0\x20ftypisom" + bytes(64))
    return path


OVERWRITES = {
    "json_taken_for_a_switch": (("detect", "--json", "a.jpg", "b.jpg"), "--json: a.jpg would overwrite a picture"),
    "csv_over_the_input": (("detect", "b.jpg", "--csv", "b.jpg"), "--csv: b.jpg would overwrite the input b.jpg"),
    "csv_over_a_hard_link": (("detect", "b.jpg", "--csv", "hard"), "--csv: hard would overwrite the input b.jpg"),
    "csv_over_a_soft_link": (("detect", "b.jpg", "--csv", "soft"), "--csv: soft would overwrite the input b.jpg"),
    "two_outputs_in_one_file": (("detect", "b.jpg", "--json", "x", "--csv", "./x"), "--json and --csv are the same"),
    "boxes_as_output": (
        ("detect", "b.jpg", "--boxes", "old.json", "--json", "old.json"), "overwrite the input old.json",
    ),
    "json_over_the_video": (("track", "v.mp4", "--json", "v.mp4"), "--json: v.mp4 would overwrite the input v.mp4"),
    "video_and_json_in_one": (("track", "v.mp4", "--out", "t.mp4", "--json", "t.mp4"), "are the same file, t.mp4"),
    "video_over_a_hard_link": (("track", "v.mp4", "--out", "link.mp4"), "--out: link.mp4 would overwrite the input"),
    "video_over_another_video": (("track", "v.mp4", "--out", "w.mp4"), "--out: w.mp4 would overwrite a video"),
    "fatigue_json_over_a_video": (("fatigue", "--json", "w.mp4", "v.mp4"), "--json: w.mp4 would overwrite a video"),
    "fatigue_plot_over_a_photo": (("fatigue", "v.mp4", "--plot", "b.jpg"), "--plot: b.jpg would overwrite a picture"),
    "models_json_over_a_photo": (("models", "--json", "b.jpg"), "--json: b.jpg would overwrite a picture"),
    "benchmark_json_over_a_photo": (("benchmark", "--model", "default", "--json", "b.jpg"), "overwrite a picture"),
    "compare_over_its_input": (("compare", "old.json", "x.csv", "--json", "old.json"), "overwrite the input old.json"),
    "evaluate_rows_over_a_photo": (("evaluate", "--dataset", "folder", "--root", ".", "--rows", "b.csv"), "a picture"),
    "evaluate_over_its_input": (
        ("evaluate", "--predictions", "old.json", "--json", "old.json"), "overwrite the input old.json",
    ),
    "evaluate_detector_over_a_photo": (
        ("evaluate-detector", "--dataset", "fddb", "--root", ".", "--csv", "b.jpg"), "--csv: b.jpg would overwrite",
    ),
    "a_sheet_of_masks_over_a_photo": (("data", "masks", "--out", "b"), "b/natural.png would overwrite a picture"),
    "a_sheet_of_faces_over_a_photo": (
        ("evaluate", "--dataset", "folder", "--root", ".", "--out", "b"), "b/worst.png would overwrite a picture",
    ),
    "curves_over_a_photo": (
        ("evaluate-detector", "--dataset", "fddb", "--root", ".", "--out", "b"), "b/curves.png would overwrite",
    ),
    "labels_over_a_photo": (("data", "label", "b", "--out", "b.csv"), "--out: b.csv would overwrite a picture"),
    "check_over_its_input": (("data", "check", "folder", "old.json", "--json", "old.json"), "overwrite the input"),
}  # fmt: skip


@pytest.mark.parametrize("name", OVERWRITES)
def test_what_the_user_has_is_never_overwritten(run: Run, name: str) -> None:
    for picture in ("a.jpg", "b.jpg", "b/c.jpg", "b/natural.png", "b/worst.png", "b/curves.png"):
        photo(picture)
    photo("b.png").replace("b.csv")
    film("v.mp4")
    film("w.mp4")
    Path("old.json").write_text("[]")
    Path("hard").hardlink_to("b.jpg")
    Path("soft").symlink_to("b.jpg")
    Path("link.mp4").hardlink_to("v.mp4")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    arguments, reason = OVERWRITES[name]
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert reason in done.err
    assert len(done.err.splitlines()) == 1
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_an_overlay_replaces_an_overlay_and_never_another_photo(run: Run) -> None:
    photo("in/a.jpg")
    assert run("detect", "in", "--out", "out").code == 0
    assert run("detect", "in", "--out", "out").code == 0
    before = photo("out/a.jpg").read_bytes()
    done = run("detect", "in", "--out", "out")
    assert done.code == 2
    assert "the overlay of in/a.jpg: out/a.jpg would overwrite a picture" in done.err
    assert Path("out/a.jpg").read_bytes() == before


CROPS_IN_THE_WAY = {
    "of_a_text_file": (("detect", "in/a.jpg", "--crops", "k", "--csv", "k/a.jpg-3.png"), "k/a.jpg-3.png"),
    "of_a_file_behind_a_link": (("detect", "in", "--crops", "link", "--jsonl", "k/a.jpg-12.png"), "k/a.jpg-12.png"),
    "of_a_picture_that_is_read": (("detect", "k/a.jpg", "k/a.jpg-0.png", "--crops", "k"), "k/a.jpg-0.png"),
    "of_an_overlay": (("detect", "in/a.jpg", "k/a.jpg-0.png", "--crops", "o", "--out", "o"), "o/a.jpg-0.png"),
    "of_a_text_file_about_a_video": (("track", "in", "--crops", "k", "--csv", "k/3/000001.png"), "k/3/000001.png"),
    "of_a_sequence_that_is_read": (("track", "k/1", "--crops", "k"), "k/1"),
    "of_a_pattern_that_is_read": (("track", "k/1/%06d.png", "--crops", "link"), "k/1/%06d.png"),
}  # fmt: skip


@pytest.mark.parametrize("name", CROPS_IN_THE_WAY)
def test_crops_replace_no_other_file_of_the_run(run: Run, name: str) -> None:
    for made in ("k/a.jpg", "k/a.jpg-0.png", "k/1/000000.png", "k/1/000001.png"):
        write_image(made, np.full((60, 80, 3), 90, np.uint8))
    photo("in/a.jpg")
    Path("link").symlink_to("k")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    arguments, other = CROPS_IN_THE_WAY[name]
    done = run(*arguments)
    assert (done.code, done.err) == (
        2, f"error: --crops: {other} is read or written in this run and has the name of a crop; choose another folder\n"
    )  # fmt: skip
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_crops_share_a_folder_with_other_results(run: Run) -> None:
    photo("in/a.jpg")
    photo("in/a-1.png")
    assert (
        run("detect", "in", "--crops", "all", "--out", "all", "--json", "all/a.json", "--csv", "all/b-0.csv").code == 0
    )
    assert run("detect", "all/a.jpg", "--crops", "all").code == 0


def test_a_scheme_file_is_an_input(run: Run) -> None:
    Path("own.toml").write_text(scheme_toml(IBUG_68), encoding="utf-8")
    photo("a.jpg")
    photo("in/a.jpg")
    for arguments in (("detect", "a.jpg", "--json", "own.toml"), ("track", "in", "--csv", "own.toml")):
        done = run(*arguments, "--scheme", "own.toml")
        assert (done.code, "would overwrite the input own.toml" in done.err) == (2, True)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_mark_of_a_picture_changes_no_pixel(tmp_path: Path, suffix: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    write_image(tmp_path / f"a{suffix}", image)
    plain = cv2.imdecode(cv2.imencode(suffix, image[:, :, ::-1])[1], cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}")[:, :, ::-1], plain)


def test_a_run_that_reads_nothing_keeps_the_earlier_result(run: Run) -> None:
    Path("old.json").write_text("[1]")
    Path("broken.jpg").write_bytes(b"nothing")
    for name in ("missing.jpg", "broken.jpg"):
        done = run("detect", name, "--json", "old.json", "--csv", "new.csv")
        assert (done.code, done.out) == (1, "")
        assert Path("old.json").read_text() == "[1]"
        assert not Path("new.csv").exists()


def test_names_of_files_do_not_reach_the_terminal_as_commands(run: Run) -> None:
    names = ["\x1b[31mred.jpg", "two\nlines.jpg", "[/red].jpg", "\u202egpj.exe.jpg"]
    for name in names:
        photo(name)
    Path("\x1b[2Jbroken.jpg").write_bytes(b"nothing")
    done = run("detect", *sorted(map(str, Path().iterdir())), "missing\x1b[0m.jpg")
    assert done.code == 1
    assert done.out.splitlines() == [
        "\\x1b[31mred.jpg: 0 faces", "[/red].jpg: 0 faces", "two\\nlines.jpg: 0 faces", "\\u202egpj.exe.jpg: 0 faces",
    ]  # fmt: skip
    assert "\x1b" not in done.err
    assert "\\x1b[2Jbroken.jpg" in done.err
    assert "missing\\x1b[0m.jpg: no " in done.err


def test_printable_text_keeps_every_script() -> None:
    assert printable("фото 顔 – é.jpg") == "фото 顔 – é.jpg"
    assert printable("\udcff\x00\x7f\x9b") == "\\udcff\\x00\\x7f\\x9b"
    assert markup("[bold]") == "\\[bold]"


def test_names_of_files_are_one_safe_cell_each(run: Run) -> None:
    names = ["=cmd.jpg", "@sum.jpg", "carriage\rreturn.jpg", "two\nlines.jpg", 'comma, quote".jpg', "plain.jpg"]
    for name in names:
        photo(name)
    Path("boxes.json").write_text(json.dumps([{"image": name, "faces": [{"box": [10, 10, 50, 50]}]} for name in names]))
    done = run("detect", *names, "--boxes", "boxes.json", "--csv", "faces.csv")
    assert (done.code, done.err) == (0, "6 pictures, 6 faces (6 doubtful), 0 failed\n")
    with Path("faces.csv").open(newline="", encoding="utf-8") as file:
        found = [row["image"] for row in csv.DictReader(file)]
    assert found == ["./=cmd.jpg", "./@sum.jpg", *names[2:]]
    assert all(Path(name).exists() for name in found)
    assert Path("faces.csv").read_bytes().count(b"\n") == 1 + 6 + 1  # a head, six faces, and one break within a name


SCRIPT = "from canthus.cli.main import main; main()"


def start(folder: Path, *arguments: str, stdout: IO[str] | None = None) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, cwd=folder, stdout=stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_detect_with_whole_files(tmp_path: Path, number: signal.Signals) -> None:
    for index in range(400):
        write_image(tmp_path / "in" / f"{index:03d}.jpg", np.full((60, 80, 3), 90, np.uint8))
    with start(tmp_path, "detect", "in", "--out", "out", "--json", "all.json", "--csv", "all.csv") as process:
        while not (tmp_path / "out").exists() or len(list((tmp_path / "out").iterdir())) < 3:
            time.sleep(0.01)
        process.send_signal(number)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "stopped; everything so far is kept" in err
    entries = json.loads((tmp_path / "all.json").read_text())
    assert 3 <= len(entries) == len(list((tmp_path / "out").iterdir())) < 400
    assert (tmp_path / "all.csv").read_text().startswith("image,width")
    assert not list(tmp_path.rglob(".canthus-*"))


@pytest.mark.parametrize("line", ["detect a.jpg", "detect a.jpg --json -", "models", "--help"])
def test_full_standard_output_is_one_line(tmp_path: Path, line: str) -> None:
    write_image(tmp_path / "a.jpg", np.full((60, 80, 3), 90, np.uint8))
    with Path("/dev/full").open("w") as full, start(tmp_path, *line.split(), stdout=full) as process:
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "error: standard output: the disk is full"


LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from canthus.cli.main import main
main()
"""


@pytest.mark.parametrize("limit", [0, 1, 100, 1000])
@pytest.mark.parametrize("option", ["--json", "--csv", "--out"])
def test_a_disk_that_is_full_at_any_byte_is_one_line(tmp_path: Path, option: str, limit: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for index in range(30):
        write_image(tmp_path / "in" / f"{index}.jpg", noise)
    (tmp_path / "old").write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), "detect", "in", option, "outs" if option == "--out" else "old"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        "cannot be written (the file would be larger than is allowed here); choose another place"
    )
    assert "Traceback" not in done.stderr
    assert (tmp_path / "old").read_text() == "old"
    assert not list(tmp_path.rglob(".canthus-*"))
