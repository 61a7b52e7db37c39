"""``canthus batch`` on drawn pictures: sources, and starts that go on where another one was killed."""

import glob
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_pictures import deadly_mark, endless_mark, stored
from canthus.errors import ConfigError, DataError
from canthus.images import write_image
from command import Run, run_command

fsspec = pytest.importorskip("fsspec")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from canthus.batch import Job, jobs, run  # noqa: E402
from canthus.batch.marker import Marker  # noqa: E402
from canthus.batch.sources import Names, Part, Source, Storage, batches  # noqa: E402

TinyModel = Callable[..., Path]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four pictures, one of them broken, one in a subfolder, and files that are no pictures."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    for name in ("a.png", "b.jpg", "more/c.png"):
        write_image(folder / name, rng.integers(0, 255, (40, 50, 3), np.uint8))
    (folder / "broken.jpg").write_bytes(b"")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.md").write_text("none")
    return folder


def names(address: str | Path, **settings: Any) -> list[str]:
    """Names that a source finds, sorted."""
    return sorted(name for name, _ in Source(str(address), **settings).items(pytest.fail))


def test_folders_patterns_and_lists_give_names(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    everything = ["photos/a.png", "photos/b.jpg", "photos/broken.jpg", "photos/more/c.png"]
    assert names("photos") == names("photos/") == names("p*") == everything
    assert names(f"file://{photos}") == names(photos) == [str(photos.parent / name) for name in everything]
    assert names("photos/*.png") == ["photos/a.png"]
    assert names("photos/**/*.png") == names("**/*.png") == ["photos/a.png", "photos/more/c.png"]
    assert names("photos/m*/[a-c].png") == ["photos/more/c.png"]
    assert names("photos/b.jpg") == ["photos/b.jpg"]
    assert names("photos", skipped="photos/more") == everything[:-1]
    Path("some.txt").write_text("photos/b.jpg\n\nelsewhere/x.png\r\n")
    assert names("some.txt") == ["elsewhere/x.png", "photos/b.jpg"]
    with pytest.raises(DataError, match="nothing: no such file or folder"):
        names("nothing")


@settings(max_examples=40)
@given(
    files=st.lists(st.sampled_from(["a.png", "b.png", "x/a.png", "x/y/a.png", "z/b.png"]), min_size=1, unique=True),
    parts=st.lists(st.sampled_from(["**", "*", "x", "?", "[xz]"]), max_size=3),
)
def test_patterns_match_what_glob_matches(
    files: list[str], parts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    pattern = "/".join([str(folder), *parts, "*"])
    if not folder.joinpath(*takewhile("x".__eq__, parts)).is_dir():
        with pytest.raises(DataError, match="there is no folder"):
            names(pattern)
        return
    matched = [Path(path) for path in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - what users know
    below = (file for path in matched for file in ([path] if path.is_file() else path.rglob("*.png")))
    assert set(names(pattern)) == set(map(str, below))


def test_parquet_gives_paths_or_files(photos: Path, tmp_path: Path) -> None:
    data = (photos / "a.png").read_bytes()
    tables = {
        "paths": {"path": ["x.png", "y.png"]},
        "bytes": {"key": ["one", "two"], "bytes": [data, b""]},
        "records": {"image": [{"bytes": data, "path": "x.png"}, {"bytes": None, "path": "y.png"}]},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")

    def items(name: str, **settings: Any) -> list[tuple[str, bytes | None]]:
        return list(Source(str(tmp_path / name), **settings).items(pytest.fail))

    assert items("paths.parquet") == [("x.png", None), ("y.png", None)]
    file = tmp_path / "bytes.parquet"
    assert items("bytes.parquet") == [(f"{file}#0", data), (f"{file}#1", b"")]
    assert items("bytes.parquet", column="bytes", name_column="key") == [("one", data), ("two", b"")]
    assert items("records.parquet") == [(f"{tmp_path}/records.parquet#0", data), ("y.png", None)]
    assert len(items("*.parquet")) == 6
    with pytest.raises(ConfigError, match=r"expected the column pixels; found key, bytes"):
        items("bytes.parquet", column="pixels")


def test_names_in_an_address_may_hold_all_marks() -> None:
    files = fsspec.filesystem("memory")
    listed = ["memory://m/a #b/c.png", "memory://m/what?.png", "memory://m/x.PNG"]
    for name in listed:
        files.pipe(name.partition("/")[2], name.encode())
    assert names("memory://m") == listed
    assert names("memory://m/a #b") == listed[:1]
    assert names("memory://m/**/*c.png") == listed[:1]
    assert [Storage.around(name).read(name).decode() for name in listed] == listed
    assert Storage("memory://").base == "memory://"
    assert Storage("file:///a #b?/").base == "/a #b?"


def test_an_address_that_cannot_be_opened_is_told_without_its_password() -> None:
    for address, told in (
        (
            "s3://key:secret@bucket/faces?endpoint=x",
            "s3://bucket/faces: .*Unexpected query parameter in S3 URI: 'endpoint'",
        ),
        ("nowhere://user:secret@host/faces", "nowhere://host/faces: .*Protocol not known: nowhere"),
    ):
        with pytest.raises(ConfigError, match=told) as caught:
            Storage(address)
        assert "secret" not in str(caught.value)


def test_a_folder_that_cannot_be_read_is_told(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    children = Storage.children

    def failing(storage: Storage, folder: str) -> Any:
        if folder.endswith("more"):
            raise DataError(f"{folder}: cannot be read (Permission denied)")
        return children(storage, folder)

    monkeypatch.setattr(Storage, "children", failing)
    assert len(list(Source(str(photos)).items(told.append))) == 3
    assert told == [f"{photos}/more: cannot be read (Permission denied)"]


@given(st.lists(st.text(alphabet="ab\udc80", max_size=4)))
def test_names_are_a_set(texts: list[str]) -> None:
    names, known = Names(), set[str]()
    for text in texts:
        assert (text in names) == (text in known)
        assert names.add(text) == (text not in known)
        known.add(text)
    assert len(names) == len(known)


def test_many_names_move_to_the_sorted_array() -> None:
    names = Names()
    assert all(names.add(str(number)) for number in range(30_000))
    assert not any(names.add(str(number)) for number in range(0, 30_000, 97))
    assert "30000" not in names
    assert len(names) == 30_000


@settings(max_examples=30)
@given(st.integers(1, 9), st.lists(st.text(max_size=9), max_size=9))
def test_parts_share_the_names_among_them(count: int, texts: list[str]) -> None:
    parts = [Part(number, count) for number in range(1, count + 1)]
    assert [sum(text in part for part in parts) for text in texts] == [1] * len(texts)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_a_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="Expected a part such as"):
        Part.parse(text)


def test_batches_have_a_size_and_videos_are_alone() -> None:
    items = [("a.jpg", None), ("v.mp4", None), ("b.jpg", b"x" * 20_000_000), ("c.jpg", None), ("d.jpg", None)]
    assert [[name for name, _ in batch] for batch in batches(items, 2)] == [
        ["v.mp4"],
        ["a.jpg", "b.jpg"],
        ["c.jpg", "d.jpg"],
    ]


def test_a_marker_takes_mappings_tables_and_files(tiny_model: TinyModel, photos: Path) -> None:
    marker = Marker(str(tiny_model()), detector="none")
    image = np.full((40, 50, 3), 200, np.uint8)
    rows = marker({"image": [image, image[:, :, 0]], "path": np.array(["x", "grey"], object)})
    assert rows.schema == marker.schema
    assert rows["picture"].to_pylist() == ["x", "grey"]
    assert rows["status"].to_pylist() == ["done", "failed"]
    files = pa.table({"bytes": [(photos / "a.png").read_bytes(), b"", b"GIF87a"]})
    rows = marker(files)
    assert rows["picture"].to_pylist() == ["0", "1", "2"]
    assert rows["status"].to_pylist() == ["done", "failed", "failed"]
    assert rows["error"].to_pylist()[1] == "the file is empty"
    assert marker({"path": [str(photos / "a.png")]})["width"].to_pylist() == [50]
    with pytest.raises(ValueError, match="Expected a column image, bytes, content or path; found pixels"):
        marker({"pixels": []})


@pytest.fixture
def batch(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], photos: Path
) -> Run:
    """Run ``canthus batch`` beside the folder ``photos`` with the tiny model, the whole picture being the face."""
    model = tiny_model()
    monkeypatch.chdir(photos.parent)

    def call(*arguments: str | Path) -> Any:
        settings = ("--model", model, "--detector", "none", "--passes", "1", "--workers", "1")
        return run_command(monkeypatch, capfd, "batch", *arguments, *settings)

    return call


def test_the_command_makes_a_dataset_and_goes_on(batch: Run, photos: Path) -> None:
    done = batch("photos", "out")
    assert (done.code, done.out) == (1, "")
    assert "4 new; out holds 4 pictures, 3 faces, 1 failed" in done.err
    pictures = {row["picture"]: row for row in pq.read_table("out/pictures").to_pylist()}
    assert pictures["photos/broken.jpg"]["error"] == "the file is empty"
    assert [pictures[name]["faces"] for name in sorted(pictures)] == [1, 1, 0, 1]
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert (manifest["source"], manifest["parts"], manifest["options"]["passes"]) == ("photos", 1, 1)
    write_image(photos / "new.png", np.full((30, 30, 3), 99, np.uint8))
    assert "1 new; out holds 5 pictures, 4 faces, 1 failed" in batch("photos", "out").err
    write_image(photos / "broken.jpg", np.full((30, 30, 3), 99, np.uint8))
    done = batch("photos", "out", "--retry-failed")
    assert (done.code, done.err.split(";")[0]) == (0, "1 new")
    assert stored(Path("out"))[0] == stored(Path("out"))[1]
    refused = batch("photos", "out", "--min-score", "0.5")
    assert refused.code == 2


def test_wrong_use_is_one_line_and_code_2(batch: Run, photos: Path) -> None:
    (photos / "empty").mkdir()
    for arguments, text in (
        (("nothing", "out"), "nothing: no such file or folder"),
        (("photos/empty", "out"), "photos/empty: no pictures or videos"),
        (("photos", "out", "--part", "3/2"), "found 3/2"),
        (("photos", "photos"), "holds other files and no manifest.json"),
        (("photos", "out", "--engine", "spark"), "Unknown engine 'spark'"),
    ):
        done = batch(*arguments)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert text in done.err
        assert not Path("out").exists()


def test_a_folder_of_the_user_stays_where_nothing_was_done(batch: Run, photos: Path) -> None:
    Path("mine").mkdir()
    (photos / "empty").mkdir()
    for arguments in (("photos/empty", "mine"), ("photos/empty", "photos/empty"), ("nothing", "mine")):
        assert batch(*arguments).code == 2
        assert list(Path(arguments[1]).iterdir()) == []


def test_parts_make_one_dataset(batch: Run) -> None:
    assert "out holds" in batch("photos", "out", "--part", "1/2").err
    batch("photos", "out", "--part", "2/2")
    assert stored(Path("out"))[1] == names("photos")
    assert batch("photos", "out").code == 2  # one part of one would do the work of all of them


def test_a_picture_that_kills_its_process_is_a_failure(
    batch: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("deadly.png", "once.png"):
        write_image(photos / name, np.full((30, 30, 3), 99, np.uint8))
    monkeypatch.setattr(Marker, "mark", deadly_mark)
    done = batch("photos", "out")
    assert done.code == 1
    pictures = {row["picture"]: row for row in pq.read_table("out/pictures").to_pylist()}
    assert sorted(pictures) == names("photos")
    assert pictures["photos/deadly.png"]["error"] == jobs.KILLED
    assert pictures["photos/once.png"]["status"] == "done"


def test_a_run_can_be_left_while_nothing_is_done_yet(
    tiny_model: TinyModel, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Marker, "mark", endless_mark)
    settings = {"model": str(tiny_model()), "detector": "none", "passes": 1}
    job = Job(Source(str(photos)), str(photos.parent / "out"), settings, workers=1)
    with closing(run(job, pytest.fail)) as states:
        assert [tally.pictures for tally, _ in islice(states, 3)] == [0, 0, 0]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs groups of processes")
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_a_signal_while_the_processes_start_is_no_error(
    tiny_model: TinyModel, photos: Path, tmp_path: Path, name: str
) -> None:
    command = [sys.executable, "-m", "canthus", "batch", "photos", "out", "--model", str(tiny_model())]
    command += ["--detector", "none", "--passes", "1", "--workers", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while process.poll() is None and not any("spawn_main" in line for line in command_lines(process.pid)):
        time.sleep(0.005)
    os.killpg(process.pid, getattr(signal, name))
    told = process.communicate()[1].splitlines()
    assert process.returncode == 130, told
    assert told[0] == "stopped; everything so far is kept"
    assert len(told) == 2  # and no process says anything else


def command_lines(group: int) -> list[str]:
    """The command lines of a group of processes."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "pgid=,args="], capture_output=True, text=True, check=True)
    lines = (line.split(maxsplit=1) for line in listed.stdout.splitlines())
    return [line[1] for line in lines if line[0] == str(group) and len(line) == 2]


def test_a_killed_run_loses_and_doubles_nothing(tiny_model: TinyModel, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    write_image(tmp_path / "photos" / "0.jpg", image)
    for number in range(1, 400):
        os.link(tmp_path / "photos" / "0.jpg", tmp_path / "photos" / f"{number}.jpg")
    command = [sys.executable, "-m", "canthus", "batch", "photos", "out", "--model", str(tiny_model())]
    command += ["--detector", "none", "--passes", "1", "--workers", "1", "--shard", "10"]
    done = 0
    for limit in (1, 5, 1000):  # files of pictures after which the process is killed
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True) as process:
            while process.poll() is None and len(list((tmp_path / "out/pictures").glob("*"))) < limit:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        faces, pictures = stored(tmp_path / "out")
        assert len(pictures) == len(set(pictures)) >= done
        assert set(pictures) <= set(faces)
        done = len(pictures)
    assert faces == pictures == sorted(f"photos/{number}.jpg" for number in range(400))
