"""Faces covered on purpose: shares as named, the same for every model, scored apart."""

import json
import math
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from canthus.data.synthetic import draw_face
from canthus.errors import DataError
from canthus.evaluation.conditions import PROTOCOLS, cover_face, picture_centre
from canthus.evaluation.covered_sheets import drawn_faces, mask_sheets
from canthus.evaluation.occlusion import (
    PROFILE_YAW,
    cover_json,
    cover_lines,
    head_yaw,
    score_covered,
    write_cover_report,
)
from canthus.evaluation.rows import FaceError, read_rows, write_rows
from canthus.geometry import hull_box
from canthus.images import write_image
from canthus.schemes import COFW_29, IBUG_68
from canthus.types import Annotation, Image, Landmarks


def drawn(tmp_path: Path, count: int = 3) -> list[Annotation]:
    faces = []
    for index in range(count):
        face = draw_face(np.random.default_rng(index), size=200)
        path = tmp_path / f"{index}.png"
        write_image(path, face.image)
        seen = np.ones(68, np.bool_)
        faces.append(Annotation(str(index), path, face.points, IBUG_68, hull_box(face.points), seen, group=str(index)))
    return faces


class BlackPushes:
    """Predicts a fixed shape in the box; the more black there is in the box, the further off it is."""

    def __init__(self) -> None:
        self.pictures: list[Image] = []

    def __call__(self, image: Image, boxes: np.ndarray) -> Landmarks:
        self.pictures.append(image)
        rng = np.random.default_rng(0)
        x1, y1, x2, y2 = boxes[0]
        inside = image[int(y1) : int(y2), int(x1) : int(x2)]
        black = float((inside == 0).all(axis=2).mean())
        points = boxes[0, :2] + rng.random((68, 2)) * (boxes[0, 2:] - boxes[0, :2]) + 100 * black
        return Landmarks(points[None].astype(np.float32), IBUG_68)


@pytest.mark.parametrize("condition", [c for c in PROTOCOLS["paper_c"] if c.high])
def test_shares_are_as_named_and_counted_in_the_picture(tmp_path: Path, condition) -> None:  # type: ignore[no-untyped-def]
    face = drawn(tmp_path, 1)[0]
    image = draw_face(np.random.default_rng(0), size=200).image
    covered = cover_face(image, face, condition)
    assert condition.low <= covered.share < condition.high
    black = (covered.image == 0).all(axis=2) & (image != 0).any(axis=2)
    x, y = np.rint(face.points).astype(int).T
    assert (black[y, x] <= ~covered.truth.visible).all()
    assert (covered.image[~black] == image[~black]).all()
    again, other = cover_face(image, face, condition), cover_face(image, replace(face, key="another"), condition)
    np.testing.assert_array_equal(again.image, covered.image)
    if condition.kinds != ("centre_square",):
        assert (other.image != covered.image).any()


@pytest.mark.parametrize("condition", PROTOCOLS["natural"][1:])
def test_natural_occluders_keep_their_classes_too(tmp_path: Path, condition) -> None:  # type: ignore[no-untyped-def]
    face = drawn(tmp_path, 1)[0]
    image = draw_face(np.random.default_rng(0), size=200).image
    covered = cover_face(image, face, condition, seed=3)
    assert condition.low <= covered.share < condition.high
    assert (covered.image != image).any()


def test_the_uncovered_face_is_untouched(tmp_path: Path) -> None:
    face = drawn(tmp_path, 1)[0]
    image = draw_face(np.random.default_rng(0), size=200).image
    covered = cover_face(image, face, PROTOCOLS["paper_c"][0])
    assert covered.image is image
    assert covered.truth is face
    assert covered.share == 0


def test_hidden_points_of_the_truth_stay_hidden(tmp_path: Path) -> None:
    face = replace(drawn(tmp_path, 1)[0], visible=np.arange(68) > 4)
    image = draw_face(np.random.default_rng(0), size=200).image
    assert not cover_face(image, face, PROTOCOLS["paper_c"][1]).truth.visible[:5].any()


def test_a_face_without_points_cannot_be_covered(tmp_path: Path) -> None:
    face = drawn(tmp_path, 1)[0]
    unknown = replace(face, points=np.full((68, 2), np.nan, np.float32))
    with pytest.raises(DataError, match="0: too few points are known"):
        cover_face(np.zeros((200, 200, 3), np.uint8), unknown, PROTOCOLS["paper_c"][1])


def test_the_middle_of_the_picture_follows_eyes_and_mouth() -> None:
    points = np.zeros((68, 2))
    points[36:42], points[42:48], points[48:] = (40, 50), (60, 50), (50, 70)
    truth = Annotation(
        "a", Path("a"), points.astype(np.float32), IBUG_68, np.zeros(4, np.float32), np.ones(68, bool), ""
    )
    corners = picture_centre(points, truth)
    # Eyes 20 apart, mouth 20 below: side max(80, 72) = 80, so a square of 40 about (50, 52).
    np.testing.assert_allclose(corners, [[30, 32], [70, 32], [70, 72], [30, 72]])


def test_rows_carry_condition_share_and_yaw(tmp_path: Path) -> None:
    faces = drawn(tmp_path)
    conditions = PROTOCOLS["paper_c"]
    predictor = BlackPushes()
    rows = list(score_covered(faces, predictor, conditions, seed=0, dataset="drawn", split="all"))
    assert [row.occlusion for row in rows[: len(conditions)]] == [c.name for c in conditions]
    assert len(rows) == len(faces) * len(conditions)
    assert rows[0].covered == 0
    assert 0.5 <= rows[6].covered < 0.6
    assert rows[0].yaw == pytest.approx(head_yaw(faces[0]))
    assert rows[6].hidden > rows[1].hidden >= rows[0].hidden == 0
    assert rows[6].nme_ion > rows[0].nme_ion
    other = BlackPushes()
    list(score_covered(faces, other, conditions, seed=0, dataset="drawn", split="all"))
    assert all((a == b).all() for a, b in zip(predictor.pictures, other.pictures, strict=True))
    path = tmp_path / "rows.csv"
    write_rows(path, rows)
    assert [astuple(row) for row in read_rows(path)] == [astuple(row) for row in rows]  # NaN is not equal to itself


def test_yaw_is_unknown_without_a_way_to_68_points(tmp_path: Path) -> None:
    face = drawn(tmp_path, 1)[0]
    other = replace(face, points=face.points[:29], scheme=COFW_29, visible=face.visible[:29])
    assert math.isnan(head_yaw(other))


def row(occlusion: str, error: float, *, yaw: float = 0.0, covered: float = 0.0) -> FaceError:
    return FaceError(
        key="a", dataset="drawn", split="all", subset="", boxes="truth", found=True, overlap=1.0, hidden=0.0,
        nme_ion=error, nme_ipn=2 * error, nme_box=error, nme_visible=error, nme_hidden=math.nan,
        nmse_ipn_squared=error**2, occlusion=occlusion, covered=covered, yaw=yaw,
    )  # fmt: skip


def test_lines_average_by_condition_and_yaw() -> None:
    rows = [row("none", 0.02), row("none", 0.04, yaw=1.0), row("30-40 %", 0.06, covered=0.3),
            row("30-40 %", 0.06, yaw=-1.0, covered=0.4)]  # fmt: skip
    plain, third = cover_lines(rows)
    assert (plain.occlusion, plain.faces, plain.ratio) == ("none", 2, 1.0)
    assert third.nme_ion == pytest.approx(0.06)
    assert third.ratio == pytest.approx(2.0)
    assert third.covered == pytest.approx(0.35)
    assert third.nmse_as_printed == pytest.approx(0.12)
    assert third.nmse_squared == pytest.approx(0.0036)
    assert [line.faces for line in cover_lines(rows, "profile")] == [1, 1]
    assert cover_lines(rows, "frontal")[1].ratio == pytest.approx(3.0)
    assert cover_lines([row("none", 0.02, yaw=PROFILE_YAW)], "profile") == []


def test_report_files_and_json(tmp_path: Path) -> None:
    models = {"a": [row("none", 0.02), row("0-10 %", 0.03, covered=0.05), row("centre 25 % of the face", 0.1)]}
    written = [path.name for path in write_cover_report(tmp_path / "out", models, title="drawn")]
    assert written == ["summary.json", "rows_a.csv", "occlusion.png"]
    values = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert values == json.loads(json.dumps(cover_json(models)))
    assert values["profile_yaw_deg"] == 30
    line = values["models"]["a"]["all"][1]
    assert line["nme_hidden"] is None
    assert line["nme_ion"] == 0.03


def test_sheets_show_each_protocol_and_training() -> None:
    faces = list(drawn_faces(2, np.random.default_rng(0)))
    sheets = dict(mask_sheets(faces, seed=0))
    assert list(sheets) == ["paper_c", "paper_c_picture", "natural", "paper_a", "training"]
    assert sheets["paper_c"].shape == (2 * 162, 9 * 144, 3)
    assert sheets["paper_a"].shape == (5 * 162, 10 * 144, 3)
    again = dict(mask_sheets(faces, seed=0))
    assert all((sheets[name] == again[name]).all() for name in sheets)
    with pytest.raises(ValueError, match="at least one face"):
        list(mask_sheets([], seed=0))
