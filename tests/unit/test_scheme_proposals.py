"""Mean faces of labels, mirror orders that do not fit them, and proposals of schemes, on drawn faces; the command."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32

from canthus.data import check_dataset
from canthus.data.mean_faces import fit_of, likely_fault, mean_face, mean_of_faces, mirror_faults
from canthus.data.scheme_proposal import Proposal, propose_scheme
from canthus.data.synthetic import draw_face
from canthus.errors import DataError
from canthus.geometry import hull_box
from canthus.images import read_image, write_image
from canthus.runtime.draw import draw_scheme
from canthus.scheme_files import FILE, named_scheme, read_scheme, scheme_toml
from canthus.schemes import IBUG_68, Scheme
from canthus.types import Annotation
from command import Done, run_command

TWELVE = (36, 39, 42, 45, 30, 31, 35, 48, 54, 51, 57, 8)
PAIRS_OF_TWELVE = [(0, 3), (1, 2), (5, 6), (7, 8)]


def faces_of(
    indices: Sequence[int], count: int = 20
) -> tuple[list[Annotation], dict[str, Float32[np.ndarray, "68 2"]]]:
    """Drawn faces with some of the 68 points, and all points of each."""
    rng = np.random.default_rng(0)
    whole = {str(number): draw_face(rng, size=96).points for number in range(count)}
    every = tuple(range(len(indices)))
    scheme = Scheme("unnamed", len(indices), every, {"points": every})
    made = []
    for key, points in whole.items():
        some = points[list(indices)]
        made.append(Annotation(key, Path(key), some, scheme, hull_box(some), np.ones(len(some), bool), group=key))
    return made, whole


def proposed(indices: Sequence[int], *, by_model: bool) -> Proposal:
    faces, whole = faces_of(indices)
    return propose_scheme("mine", faces, find=lambda face: whole[face.key] if by_model else None)


@pytest.mark.parametrize("by_model", [True, False], ids=["68 points known", "labels alone"])
@pytest.mark.parametrize("indices", [TWELVE, tuple(range(68)), (27, 30, 48, 54)], ids=len)
def test_mirror_images_are_found(indices: tuple[int, ...], by_model: bool) -> None:
    place = {point: number for number, point in enumerate(indices)}
    expected = [place[IBUG_68.mirror[point]] for point in indices]
    assert list(proposed(indices, by_model=by_model).scheme.mirror) == expected


def test_parts_eyes_and_face_box_come_from_the_68_points() -> None:
    made = proposed(TWELVE, by_model=True)
    assert made.notes == ()
    assert made.scheme.eye_corners == (0, 3)
    assert made.scheme.pupils == ((0, 1), (2, 3))
    assert {name: set(group) for name, group in made.scheme.groups.items()} == {
        "jaw": {11}, "nose": {4, 5, 6}, "right_eye": {0, 1}, "left_eye": {2, 3}, "mouth": {7, 8, 9, 10},
    }  # fmt: skip
    around = made.scheme.groups["mouth"]
    assert {*around[:2], *around[1:3], *around[2:]} == {7, 8, 9, 10}
    assert abs(around.index(9) - around.index(10)) == 2  # upper and lower lip lie opposite each other
    _, whole = faces_of(TWELVE)
    for points in whole.values():
        box, truth = made.scheme.face_boxes(points[list(TWELVE)]), hull_box(points)
        assert np.abs(box - truth).max() < 0.35 * (truth[2:] - truth[:2]).max()
    assert proposed(range(68), by_model=True).scheme.face_box is None  # their hull is the face box


def test_without_a_model_and_without_eyes_the_notes_say_what_is_missing() -> None:
    alone = proposed(TWELVE, by_model=False)
    assert alone.scheme.groups == {"points": tuple(range(12))}
    assert "groups are to be filled in" in alone.notes[0]
    mouth = proposed((48, 54, 51, 57), by_model=True)
    assert mouth.scheme.eye_corners == ()
    assert "no outer eye corners" in mouth.notes[0]
    one_sided = proposed((36, 37, 38, 39, 30, 8), by_model=True)
    assert one_sided.scheme.mirror == tuple(range(6))
    assert "points 0, 1, 2, 3 have no mirror image" in one_sided.notes[-1]


def test_names_decide_before_places() -> None:
    faces, whole = faces_of((36, 45, 48, 54))
    names = ["left eye", "right eye", "left cheek", "right cheek"]
    made = propose_scheme("mine", faces, names=names, find=lambda face: whole[face.key])
    assert made.scheme.mirror == (1, 0, 3, 2)
    assert made.scheme.groups == {"left_eye": (0,), "right_eye": (1,), "jaw": (2, 3)}


def test_points_without_any_position_are_named() -> None:
    faces, _ = faces_of(TWELVE)
    hole = np.where(np.arange(12)[:, None] == 4, np.float32(np.nan), np.float32(0))
    with pytest.raises(DataError, match=r"The points \[4\] have a position in no face"):
        propose_scheme("mine", [replace(face, points=face.points + hole) for face in faces])
    with pytest.raises(DataError, match="no labelled faces"):
        propose_scheme("mine", [])


def test_the_mean_of_drawn_faces_is_a_face_whatever_a_few_labels_say() -> None:
    faces, _ = faces_of(range(68))
    points = np.stack([face.points for face in faces])
    mean = mean_of_faces(points)
    known = mean_face("ibug_68")
    assert known is not None
    assert fit_of(known, mean.astype(np.float32)).residual < 0.25
    assert np.abs(mean.mean(axis=0)).max() < 1e-6
    assert np.square(mean).sum(axis=1).mean() == pytest.approx(1)
    spoilt = points.copy()
    spoilt[:4] = spoilt[:4, ::-1]
    spoilt[5:8, 30] = np.nan
    assert np.abs(mean_of_faces(spoilt) - mean).max() < 0.1
    assert np.isnan(mean_of_faces(np.where(np.arange(68)[:, None] == 3, np.nan, points))[3]).all()


def test_wrong_mirror_orders_and_swapped_labels_are_found(tmp_path: Path) -> None:
    faces, _ = faces_of(TWELVE)
    scheme = replace(proposed(TWELVE, by_model=True).scheme, name="mine")
    mean = mean_of_faces(np.stack([face.points for face in faces]))
    assert mirror_faults(mean, scheme) == []
    wrong = replace(scheme, mirror=(3, 2, 1, 0, 4, 5, 6, 7, 8, 9, 10, 11))
    assert mirror_faults(mean, wrong) == [5, 6, 7, 8]  # the sides of the nose and the corners of the mouth
    assert likely_fault(faces[0].points, scheme, mean) is None
    swapped = [likely_fault(face.points[list(scheme.mirror)], scheme, mean) for face in faces]
    assert None not in swapped
    assert sum("left and right are swapped" in str(fault) for fault in swapped) > 10
    write_labels(tmp_path)
    (tmp_path / FILE).write_text(scheme_toml(wrong), encoding="utf-8")
    problems = check_dataset("folder", tmp_path).problems
    assert [(problem.kind, problem.where) for problem in problems] == [("wrong mirror order", "mine")]
    (tmp_path / FILE).write_text(scheme_toml(scheme), encoding="utf-8")
    assert check_dataset("folder", tmp_path).clean


def write_labels(folder: Path, count: int = 12) -> None:
    rng = np.random.default_rng(0)
    labels = []
    for number in range(count):
        sample = draw_face(rng, size=128)
        write_image(folder / f"{number}.png", sample.image)
        labels.append({"image": f"{number}.png", "points": sample.points[list(TWELVE)].tolist()})
    (folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")


def test_numbers_are_drawn_apart_and_groups_named() -> None:
    mean = mean_face("wflw_98")
    assert mean is not None
    picture = draw_scheme(read_scheme_of(98), mean, side=600)
    assert picture.shape == (600, 600, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    single = draw_scheme(Scheme("one", 1, (0,), {"nose": (0,)}), np.zeros((1, 2)), side=200)
    assert (single[95:106, 95:106].max(axis=2) > 200).any()


def read_scheme_of(count: int) -> Scheme:
    return Scheme("own", count, tuple(range(count)), {"points": tuple(range(count))})


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    write_labels(tmp_path / "faces")

    def run(*arguments: str) -> Done:
        return run_command(monkeypatch, capfd, "schemes", *arguments)

    code, out, _ = run("new", "faces")
    assert (code, out) == (0, "wrote faces/scheme.toml: 12 points, 4 pairs of mirror images\n")
    made = read_scheme(tmp_path / "faces" / FILE)
    assert [(i, other) for i, other in enumerate(made.mirror) if i < other] == PAIRS_OF_TWELVE
    assert made.face_box is not None
    code, _, err = run("new", "faces")
    assert (code, "exists already; delete it, or name another file with --out" in err) == (2, True)
    assert run("new", "faces", "--out", "labels_alone.toml", "--model", "none", "--name", "alone").code == 0
    assert read_scheme(tmp_path / "labels_alone.toml").mirror == made.mirror

    code, out, _ = run("show", "faces/scheme.toml")
    (tmp_path / "copy.toml").write_text(out, encoding="utf-8")
    assert (code, read_scheme(tmp_path / "copy.toml")) == (0, made)
    code, out, _ = run("list")
    assert code == 0
    assert all(name in out for name in ("ibug_68", "wflw_98", "cofw_29"))

    assert run("draw", "cofw_29").code == 0
    assert read_image(tmp_path / "cofw_29.png").shape == (1000, 1000, 3)
    code, _, err = run("draw", "copy.toml")
    assert (code, "own_12 has no mean face; give labelled faces with --data DIR" in err) == (2, True)
    assert run("draw", "copy.toml", "--data", "faces", "--out", "mine.png").code == 0
    code, _, err = run("draw", "copy.toml", "--data", "faces", "--out", "faces/0.png")
    assert code == 2  # a photo is not replaced
    assert run("draw", "ibug68").err.count("\n") == 1


def test_a_scheme_of_names_needs_no_file(tmp_path: Path) -> None:
    scheme = named_scheme("mine", ["left eye", "right eye", "nose"])
    (tmp_path / "mine.toml").write_text(
        f'name = "mine"\ncount = 3\nnames = {json.dumps(list(scheme.names))}\n', encoding="utf-8"
    )
    assert read_scheme(tmp_path / "mine.toml") == scheme
