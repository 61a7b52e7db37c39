"""WFLW in its official layout, written small."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canthus import evaluate
from canthus.data import check_dataset, load_dataset
from canthus.data.wflw import ATTRIBUTES, DATASET, FIELDS, LISTS
from canthus.errors import ConfigError, DataError
from canthus.geometry import hull_box
from canthus.images import write_image
from canthus.runtime.cards import ModelCard
from canthus.schemes import IBUG_68, WFLW_98, convert
from conftest import TinyModel, tiny_card
from json_schemas import check_schema

FOLDER = Path("WFLW_annotations/list_98pt_rect_attr_train_test")
NAMES = {
    "train": [
        "0--Parade/0_Parade_marchingband_1_116.jpg",
        "0--Parade/0_Parade_marchingband_1_116.jpg",
        "7--Cheering/b.jpg",
    ],
    "test": [f"36--Football/{name}.jpg" for name in "abcdef"],
}


def line(name: str, shift: float, attributes: str = "000000") -> str:
    points = np.random.default_rng(round(shift)).uniform(5, 60, (98, 2)) + shift / 8
    rect = [4, 5, 61, 62]
    return " ".join([*(f"{v:.6f}" for v in points.ravel()), *map(str, rect), *attributes, name])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training pictures, one with two faces; six test pictures, each with one attribute more than the last."""
    (tmp_path / FOLDER).mkdir(parents=True)
    for part, names in NAMES.items():
        flags = ["0" * (6 - i) + "1" * i for i in range(len(names))]
        lines = [line(name, number, flag) for number, (name, flag) in enumerate(zip(names, flags, strict=True))]
        (tmp_path / FOLDER / LISTS[part]).write_text("\n".join(lines) + "\n", encoding="utf-8")
        for number, name in enumerate(names):
            image = np.random.default_rng(number).integers(0, 256, (72, 72, 3), dtype=np.uint8)
            write_image(tmp_path / "WFLW_images" / name, image)
    return tmp_path


def test_lists_become_splits(root: Path) -> None:
    train = load_dataset("wflw", root, "train")
    assert [face.key for face in train] == [
        "train/0--Parade/0_Parade_marchingband_1_116.jpg",
        "train/0--Parade/0_Parade_marchingband_1_116.jpg#2",
        "train/7--Cheering/b.jpg",
    ]
    assert train[0].group == train[1].group != train[2].group
    assert train[0].path == train[1].path
    assert len(load_dataset("wflw", root, "test")) == 6


def test_points_are_taken_as_they_stand_and_the_box_is_their_hull(root: Path) -> None:
    face = load_dataset("wflw", root, "train")[0]
    expected = np.array(line("x", 0).split()[:196], np.float32).reshape(-1, 2)
    np.testing.assert_array_equal(face.points, expected)
    np.testing.assert_array_equal(face.box, hull_box(expected))
    assert face.scheme == WFLW_98


def test_the_six_test_subsets(root: Path) -> None:
    sizes = {name: len(load_dataset("wflw", root, name)) for name in ATTRIBUTES}
    assert sizes == {"pose": 0, "expression": 1, "illumination": 2, "makeup": 3, "occlusion": 4, "blur": 5}
    assert all(face.subset == "test" and face.attributes["blur"] for face in load_dataset("wflw", root, "blur"))
    assert set(DATASET.splits) == {"train", "test", "fit", "validation", *ATTRIBUTES}


@pytest.mark.parametrize("variant", ["thirds", "chord", "picks", None])
def test_faces_can_be_had_with_68_points(root: Path, variant: str | None) -> None:
    own, converted = (load_dataset("wflw", root, "test", scheme=s, variant=variant) for s in ("wflw_98", "ibug_68"))
    for before, after in zip(own, converted, strict=True):
        np.testing.assert_array_equal(after.points, convert(before.points, WFLW_98, IBUG_68, variant=variant))
        assert (after.key, after.scheme, len(after.visible)) == (before.key, IBUG_68, 68)
        np.testing.assert_array_equal(after.box, hull_box(after.points))


def test_unknown_conversions_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="chord"):
        load_dataset("wflw", root, "test", scheme="ibug_68", variant="cord")
    with pytest.raises(ConfigError, match="wflw has points of wflw_98, not cofw_29"):
        load_dataset("wflw", root, "test", scheme="cofw_29")


def test_a_path_may_hold_spaces(root: Path) -> None:
    write_image(root / "WFLW_images/my folder/a b.jpg", np.zeros((72, 72, 3), np.uint8))
    (root / FOLDER / LISTS["test"]).write_text(line("my folder/a b.jpg", 1) + "\n", encoding="utf-8")
    assert load_dataset("wflw", root, "test")[0].key == "test/my folder/a b.jpg"


@pytest.mark.parametrize("place", ["list_98pt_rect_attr_train_test", "WFLW_annotations", "."])
def test_lists_may_lie_higher_up(root: Path, place: str) -> None:
    (root / place).mkdir(exist_ok=True)
    for name in LISTS.values():
        (root / FOLDER / name).rename(root / place / name)
    assert len(load_dataset("wflw", root, "test")) == 6


def test_a_missing_list_is_named(root: Path) -> None:
    (root / FOLDER / LISTS["train"]).unlink()
    with pytest.raises(DataError, match=r"list_98pt_rect_attr_train\.txt: cannot be read.*expected the official list"):
        load_dataset("wflw", root, "train")
    parts = {part.name: part.status for part in check_dataset("wflw", root).parts}
    assert parts == {"train": "absent", "test": "partial"}


def test_damaged_lines_are_listed_with_their_number(root: Path) -> None:
    path = root / FOLDER / LISTS["test"]
    good = path.read_text(encoding="utf-8").splitlines()
    fields = good[0].split()
    bad = [
        " ".join(fields[:196] + fields[-1:]),
        " ".join(["x", *fields[1:]]),
        " ".join(["nan", *fields[1:]]),
        " ".join([*fields[:200], "2", *fields[201:]]),
        " ".join([*fields[:-1], "none.jpg"]),
    ]
    path.write_text("\n".join([*good[1:], *bad]), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_dataset("wflw", root, "test")
    for number, message in (
        (6, f"expected {FIELDS} fields, found 197"),
        (7, "expected numbers"),
        (8, "finite"),
        (9, "six attributes of 0 or 1, found 2 0 0 0 0 0"),
        (10, "none.jpg is not there"),
    ):
        assert f"{LISTS['test']}:{number}: " in str(caught.value)
        assert message in str(caught.value)
    assert len(check_dataset("wflw", root).problems) >= 5


def test_empty_lines_are_passed_over(root: Path) -> None:
    path = root / FOLDER / LISTS["test"]
    path.write_text("\n" + path.read_text(encoding="utf-8") + "\n\n", encoding="utf-8")
    assert len(load_dataset("wflw", root, "test")) == 6


@pytest.mark.real_data
@pytest.mark.parametrize("variant", ["thirds", "chord", "picks"])
def test_real_faces_keep_their_eyes(shared_data: Path, variant: str) -> None:
    """The three readings differ in how open the eyes are, not in where they are."""
    for face in load_dataset("folder", shared_data / "fixtures/wflw", "all"):
        points = convert(face.points, WFLW_98, IBUG_68, variant=variant)
        ocular = float(np.linalg.norm(points[36] - points[45]))
        for pupil, eye in ((96, range(36, 42)), (97, range(42, 48))):
            assert np.linalg.norm(points[list(eye)].mean(axis=0) - face.points[pupil]) < 0.08 * ocular


def test_a_model_is_scored_by_the_conversion_that_its_card_names(root: Path, tiny_model: TinyModel) -> None:
    plain, learned = tiny_model("plain.onnx"), tiny_model("chord.onnx", card=replace(tiny_card(), conversion="chord"))

    def found(model: Path, **options: Any) -> tuple[str, float]:
        report = evaluate(model, "wflw", root, split="test", **options)
        assert f"points of wflw converted by {report.conversion}" in report.protocol
        check_schema("evaluate", report.to_dict())
        return report.to_dict()["conversion"], report.to_dict()["nme_ion"]

    by_chord, by_thirds = found(learned), found(plain, scheme="ibug_68")
    assert (by_chord[0], by_thirds[0]) == ("chord", "thirds")
    assert by_chord[1] != by_thirds[1]
    assert found(learned, conversion="thirds") == by_thirds
    assert found(plain, conversion="chord") == by_chord
    with pytest.raises(ConfigError, match="Did you mean 'chord'"):
        evaluate(plain, "wflw", root, split="test", conversion="chords")
    with pytest.raises(ConfigError, match="the truth of .* is wflw_98"):
        evaluate(plain, "wflw", root, split="test")


def test_a_conversion_with_nothing_to_convert_is_refused(tmp_path: Path, tiny_model: TinyModel) -> None:
    for dataset in ("300w", "folder"):
        with pytest.raises(ConfigError, match=r"Option 'conversion' has no effect"):
            evaluate(tiny_model(), dataset, tmp_path, conversion="chord")


def test_a_card_without_a_conversion_reads_as_before() -> None:
    card = tiny_card()
    assert "conversion" not in card.to_json()
    assert ModelCard.from_json(card.to_json(), source="x") == card
    chord = replace(card, conversion="chord")
    assert ModelCard.from_json(chord.to_json(), source="x").conversion == "chord"
