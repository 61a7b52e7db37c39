"""``canthus data convert``."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from canthus.cli.main import app
from canthus.data import check_dataset, load_dataset
from canthus.data.formats import write_pts
from canthus.data.label_conversion import FORMATS
from canthus.data.synthetic import draw_face
from canthus.images import write_image
from label_samples import save


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


@pytest.fixture
def drawings(tmp_path: Path) -> Path:
    """Two drawn faces with ``.pts`` files."""
    for number in range(2):
        face = draw_face(np.random.default_rng(number), size=96)
        write_image(tmp_path / f"in/{number}.png", face.image)
        write_pts(tmp_path / f"in/{number}.pts", face.points)
    return tmp_path / "in"


@pytest.mark.parametrize("kind", FORMATS)
def test_convert_writes_what_check_finds_clean(drawings: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "new" / (f"labels{FORMATS[kind].suffix}" if FORMATS[kind].one_file else "faces")
    lossy = ["--lossy"] if kind == "dlib" else []
    result = run("convert", drawings, out, "--to", kind, "--copy-pictures", *lossy)
    assert (result.exit_code, result.stdout) == (0, f"wrote {out}: 2 faces in 2 pictures as {FORMATS[kind].title}\n")
    assert check_dataset("folder", out).clean
    before, after = (load_dataset("folder", place, "all") for place in (drawings, out))
    for one, other in zip(before, after, strict=True):
        assert one.key == other.key
        np.testing.assert_allclose(one.points, other.points, atol=0.51 if lossy else 0.001)


def test_convert_names_pictures_from_where_the_labels_lie(drawings: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert run("convert", drawings, tmp_path / "link" / "faces.json").exit_code == 0
    content = json.loads((tmp_path / "elsewhere" / "faces.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in content["images"]] == ["../in/0.png", "../in/1.png"]
    assert len(load_dataset("folder", tmp_path / "elsewhere", "all")) == 2


def test_convert_refuses_and_replaces_nothing(drawings: Path, tmp_path: Path) -> None:
    mine = save(tmp_path / "mine.json", "{}")
    cases: list[tuple[tuple[object, ...], str]] = [
        ((drawings, mine), "is there already, and labels are never replaced"),
        ((drawings, drawings, "--to", "pts"), "is there already"),
        ((drawings, drawings / "0.png", "--to", "csv"), "name one that ends in .csv"),
        ((drawings, tmp_path / "x.csv", "--to", "labelme"), "name the folder to write them to"),
        ((drawings, tmp_path / "x.xml", "--to", "dlib"), "cannot hold fractions of pixels, which are rounded"),
        ((drawings, tmp_path / "x"), "has no suffix that tells a format; give one of pts, csv"),
        ((drawings, tmp_path / "x.json", "--to", "cocoa"), "did you mean 'coco'"),
        ((drawings, tmp_path / "x.json", "--dataset", "facemask"), "Unknown dataset 'facemask'"),
        ((tmp_path / "none", tmp_path / "x.json"), "no such folder or file"),
    ]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for arguments, message in cases:
        result = run("convert", *arguments)
        assert message.lower() in str(result.exception).lower(), arguments
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_convert_tells_of_what_it_leaves_out(drawings: Path, tmp_path: Path) -> None:
    save(drawings / "2.pts", "1 2\nthree\n")
    (drawings / "1.png").write_bytes((drawings / "1.png").read_bytes()[:100])
    result = run("convert", drawings, tmp_path / "faces.xml")
    assert result.exit_code == 1
    assert "2.pts:2: " in result.stderr
    assert "1.png: cut short" in result.stderr
    assert result.stdout == f"wrote {tmp_path / 'faces.xml'}: 1 face in 1 picture as CVAT for images 1.1\n"


def test_names_that_xml_cannot_hold(drawings: Path, tmp_path: Path) -> None:
    for stem in ("0.png", "0.pts"):
        (drawings / stem).rename(drawings / f"\x07{stem}")
    assert "holds control characters, which xml cannot hold" in str(
        run("convert", drawings, tmp_path / "a.xml").exception
    )
    assert run("convert", drawings, tmp_path / "a.json").exit_code == 0
    assert len(load_dataset("folder", tmp_path / "a.json", "all")) == 2
