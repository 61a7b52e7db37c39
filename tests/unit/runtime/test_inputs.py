import os
from pathlib import Path

import pytest

from canthus.errors import ConfigError, DataError
from canthus.runtime.inputs import Inputs, ListFile, overlay_paths


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "photos/b.jpg",
        "photos/a.PNG",
        "photos/notes.txt",
        "photos/sub/a.PNG",
        "photos/sub/deep/c.webp",
        "photos/.hidden.jpg",
        "photos/.thumbnails/d.jpg",
        "photos/odd[1].jpg",
        "other/a.PNG",
        "empty/readme.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*inputs: str, leave_out: Path | None = None) -> list[str]:
    return [path.as_posix() for path in Inputs(inputs, leave_out=[leave_out]).paths]


def overlays(*inputs: str) -> list[str]:
    return [path.as_posix() for path in overlay_paths(list(Inputs(inputs).with_bases()), Path("out"))]


def test_folders_are_searched_with_their_sub_folders_and_sorted(here: Path) -> None:
    found = names("photos")
    assert found == ["photos/a.PNG", "photos/b.jpg", "photos/odd[1].jpg", "photos/sub/a.PNG", "photos/sub/deep/c.webp"]


def test_files_are_taken_whatever_their_name_in_the_order_given(here: Path) -> None:
    assert names("photos/notes.txt", "photos/b.jpg") == ["photos/notes.txt", "photos/b.jpg"]
    assert names("photos/odd[1].jpg") == ["photos/odd[1].jpg"]


def test_patterns_give_pictures_and_search_folders(here: Path) -> None:
    assert names("photos/*.jpg") == ["photos/b.jpg", "photos/odd[1].jpg"]
    assert names("photos/?.*") == ["photos/a.PNG", "photos/b.jpg"]
    assert names("photos/s*") == ["photos/sub/a.PNG", "photos/sub/deep/c.webp"]
    assert names("**/a.PNG") == ["other/a.PNG", "photos/a.PNG", "photos/sub/a.PNG"]
    assert names(f"{here}/oth*/*") == [f"{here.as_posix()}/other/a.PNG"]


def test_a_picture_named_twice_comes_once(here: Path) -> None:
    assert names("photos/b.jpg", "photos/*.jpg", "./photos/../photos/b.jpg") == ["photos/b.jpg", "photos/odd[1].jpg"]


def test_inputs_without_pictures_are_told(here: Path) -> None:
    found = Inputs(["missing.jpg", "empty", "empty/*.png", "photos/b.jpg"])
    assert [path.name for path in found.paths] == ["b.jpg"]
    assert len(found.problems) == 3
    for problem, start in zip(
        found.problems,
        ("missing.jpg: no such file or folder", "empty: no pictures in this folder", "empty/*.png: no file or picture"),
        strict=True,
    ):
        assert problem.startswith(start)


def test_the_output_of_an_earlier_run_is_left_out(here: Path) -> None:
    (here / "photos/out").mkdir()
    (here / "photos/out/b.jpg").touch()
    assert "photos/out/b.jpg" in names("photos")
    assert "photos/out/b.jpg" not in names("photos", leave_out=Path("photos/out"))


def test_overlays_mirror_sub_folders(here: Path) -> None:
    assert overlays("photos") == [
        "out/a.PNG", "out/b.jpg", "out/odd[1].jpg", "out/sub/a.PNG", "out/sub/deep/c.webp.png",
    ]  # fmt: skip
    assert overlays("photos/b.jpg") == ["out/b.jpg"]
    assert overlays("photos/sub") == ["out/a.PNG", "out/deep/c.webp.png"]
    assert overlays("photos/sub/deep/c.webp", "other/a.PNG") == ["out/c.webp.png", "out/a.PNG"]


def test_overlays_of_equal_names_do_not_collide(here: Path) -> None:
    assert overlays("photos/a.PNG", "other/a.PNG") == ["out/photos/a.PNG", "out/other/a.PNG"]
    assert overlays("other", "photos/sub") == [
        "out/other/a.PNG",
        "out/photos/sub/a.PNG",
        "out/photos/sub/deep/c.webp.png",
    ]
    assert overlays("**/a.PNG") == ["out/other/a.PNG", "out/photos/a.PNG", "out/photos/sub/a.PNG"]
    assert overlays("photos/*/*.PNG", "photos/b.jpg") == ["out/sub/a.PNG", "out/b.jpg"]


def test_overlays_never_overwrite_what_is_read(here: Path) -> None:
    with pytest.raises(ConfigError, match="overlay of photos/a.PNG: photos/a.PNG would overwrite the input"):
        overlay_paths(list(Inputs(["photos"]).with_bases()), Path("photos"))


def test_two_pictures_never_share_an_overlay(here: Path) -> None:
    (here / "other/a.webp").touch()
    (here / "other/a.webp.png").touch()
    with pytest.raises(ConfigError, match=r"and the overlay of other/a.webp.png are the same file, out/a.webp.png"):
        overlay_paths(list(Inputs(["other"]).with_bases()), Path("out"))


def test_files_that_are_no_pictures_are_counted_by_suffix(here: Path) -> None:
    for name in (
        "photos/a.tga",
        "photos/sub/B.TGA",
        "photos/.secret.tga",
        "photos/README",
        "photos/c.heic",
        "photos/d.jfif",
    ):
        (here / name).touch()
    found = Inputs(["photos", "photos/*.tga", "photos/notes.txt"])
    assert {path.suffix for path in found} >= {".heic", ".jfif", ".txt"}
    assert found.passed_over == {".tga": 2, "without suffix": 1}  # the text was named, and is taken
    for several, expected in ((["photos/*.jpg"], {}), (["photos/s*", "photos/*t*"], {".tga": 2, ".txt": 1})):
        found = Inputs(several)
        assert len(found.paths) == len(found.paths)  # counts are those of the last search, not of all
        assert found.passed_over == expected


@pytest.mark.parametrize("name", ["photos", "photos/**/*.PNG", "pho*"])
def test_folders_that_cannot_be_searched_are_told(here: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refused(path: str | Path) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    found = Inputs([name])
    assert [path.name for path in found if "sub" in path.parts] == ["a.PNG"]
    assert found.problems == [f"{Path('photos/sub/deep')}: this folder cannot be searched (Permission denied)"]


def test_folders_are_listed_one_at_a_time(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    scandir = os.scandir

    def noted(path: str | Path) -> object:
        listed.append(Path(path).as_posix())
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    pictures = iter(Inputs(["photos"]))
    assert (next(pictures), listed) == (Path("photos/a.PNG"), ["photos"])
    assert [path.name for path in pictures] == ["b.jpg", "odd[1].jpg", "a.PNG", "c.webp"]
    assert listed == ["photos", "photos/sub", "photos/sub/deep"]


def test_names_come_from_a_list(here: Path) -> None:
    Path("list.txt").write_bytes(b"photos/b.jpg\r\n\nother\nphotos/odd[1].jpg\nnone.jpg\nphotos/b.jpg\ncaf\xe9.jpg")
    Path(os.fsdecode(b"caf\xe9.jpg")).touch()
    found = Inputs(ListFile("list.txt"))
    expected = ["photos/b.jpg", "other/a.PNG", "photos/odd[1].jpg", os.fsdecode(b"caf\xe9.jpg")]
    assert [path.as_posix() for path in found] == expected == [path.as_posix() for path in found]
    assert found.problems == ["none.jpg: no such file or folder"]
    with pytest.raises(DataError, match=r"none\.txt: cannot be read"):
        list(Inputs(ListFile("none.txt")))
