"""What is added to the record of each face: pose, ratios, and upright crops."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canthus.data.synthetic import FaceShape, draw_face
from canthus.errors import CanthusError, ConfigError
from canthus.geometry import Affine, hull_box
from canthus.images import read_image, write_image
from canthus.pose import head_pose
from canthus.runtime.chips import EYES, FIVE_POINTS, Chips, similarity
from canthus.runtime.draw import draw_frame
from canthus.runtime.measures import POSE, RATIOS, FaceMeasures
from canthus.schemes import COFW_29, FIVE, IBUG_68, WFLW_98, convert
from canthus.types import Faces, Frame, Image, Landmarks


def face(shape: FaceShape | None = None) -> tuple[Image, Frame]:
    sample = draw_face(np.random.default_rng(3), size=480, shape=shape or FaceShape())
    faces = Faces(hull_box(sample.points)[None], np.ones(1, np.float32))
    return sample.image, Frame(faces, Landmarks(sample.points[None], sample.scheme))


@pytest.mark.parametrize(("name", "index"), [("yaw", 0), ("pitch", 1), ("roll", 2)])
def test_pose_is_in_degrees_with_the_signs_of_the_manual(name: str, index: int) -> None:
    measures = FaceMeasures(IBUG_68, pose=True)
    assert measures.columns == POSE
    for angle in (0.3, -0.3):
        points = face(FaceShape(**{name: angle}))[1].landmarks.points
        pose = measures.of(points).records[0]["pose"]
        np.testing.assert_allclose(
            np.array([pose[key] for key in POSE], float), np.degrees(head_pose(points).angles[0]), atol=0.006
        )
        assert np.sign(angle) * (pose[POSE[index]] or 0) > 5


def test_ratios_are_those_of_the_points_before_smoothing() -> None:
    measures = FaceMeasures(IBUG_68, ratios=True)
    points = face()[1].landmarks.points
    shut = points.copy()
    shut[:, IBUG_68.groups["left_eye"], 1] = points[:, 42:43, 1]
    (open_eyes,), (shut_eyes,) = (measures.of(points, measured).records for measured in (None, shut))
    assert tuple(open_eyes["ratios"]) == measures.columns == RATIOS
    assert shut_eyes["ratios"]["left_ear"] == 0
    assert shut_eyes["ratios"]["right_ear"] == open_eyes["ratios"]["right_ear"]
    assert (open_eyes["ratios"]["right_ear"] or 0) > 0.1


def test_what_is_unknown_is_null_and_no_face_gives_none() -> None:
    measures = FaceMeasures(IBUG_68, pose=True, ratios=True)
    assert measures.of(np.zeros((0, 68, 2), np.float32)).records == []
    (record,) = measures.of(np.ones((1, 68, 2), np.float32)).records
    assert record == {"pose": dict.fromkeys(POSE), "ratios": dict.fromkeys(RATIOS)}


def test_measures_need_points_that_convert_to_68() -> None:
    points = np.random.default_rng(0).random((2, 98, 2)).astype(np.float32)
    same = FaceMeasures(IBUG_68, pose=True, ratios=True).of(convert(points, WFLW_98, IBUG_68))
    assert FaceMeasures(WFLW_98, pose=True, ratios=True).of(points).records == same.records
    with pytest.raises(ConfigError, match=r"No conversion from cofw_29 .* to ibug_68.*Head pose"):
        FaceMeasures(COFW_29, ratios=True)
    assert FaceMeasures(COFW_29).of(np.zeros((1, 29, 2), np.float32)).records == [{}]


@given(st.floats(-math.pi, math.pi), st.floats(0.2, 5), st.floats(-300, 300), st.floats(-300, 300), st.integers(2, 12))
def test_a_similarity_is_found_again(angle: float, scale: float, x: float, y: float, count: int) -> None:
    points = np.random.default_rng(count).uniform(0, 100, (count, 2)).astype(np.float32)
    wanted = Affine.about((50, 50), angle=angle, scale=scale, shift=(x, y))
    found = similarity(points, wanted.apply(points))
    assert found is not None
    np.testing.assert_allclose(found.apply(points), wanted.apply(points), atol=2e-3 * max(scale, 1))


@pytest.mark.parametrize("roll", [0.0, 0.6, -2.5])
@pytest.mark.parametrize("size", [96, 112, 300])
def test_crops_are_upright_and_their_points_map_back(tmp_path: Path, roll: float, size: int) -> None:
    image, frame = face(FaceShape(roll=roll))
    (chip,) = Chips(tmp_path, size=size).write(image, frame, lambda index: tmp_path / f"a-{index}")
    assert chip is not None
    assert (chip["file"], chip["size"]) == (str(tmp_path / "a-0.png"), size)
    to_chip = Affine(np.array(chip["affine"]))
    points = to_chip.apply(frame.landmarks.points[0])
    eyes = np.stack([points[list(eye)].mean(axis=0) for eye in IBUG_68.pupils])
    np.testing.assert_allclose(eyes, EYES * size - 0.5, atol=0.02)
    np.testing.assert_allclose(to_chip.inverse().apply(points), frame.landmarks.points[0], atol=0.02)
    # The chip shows what the picture has at the mapped places.
    picture = read_image(chip["file"]).astype(int)
    inside = ((points > 2) & (points < size - 3)).all(axis=1)
    assert inside.sum() > 30
    for (x, y), (u, v) in zip(points[inside], frame.landmarks.points[0][inside], strict=True):
        around = image[round(v) - 3 : round(v) + 4, round(u) - 3 : round(u) + 4].reshape(-1, 3).astype(int)
        assert (picture[round(y), round(x)] >= around.min(axis=0) - 12).all()
        assert (picture[round(y), round(x)] <= around.max(axis=0) + 12).all()


def test_five_points_lie_where_recognition_networks_want_them(tmp_path: Path) -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    points = (2 * FIVE_POINTS[None] + 20).astype(np.float32)
    frame = Frame(Faces(hull_box(points), np.ones(1, np.float32)), Landmarks(points, FIVE))
    (chip,) = Chips(tmp_path, size=112, align="five", format="jpg").write(image, frame, lambda _: tmp_path / "x")
    assert chip is not None
    np.testing.assert_allclose(chip["affine"], [[0.5, 0, -10], [0, 0.5, -10]], atol=1e-4)
    assert read_image(tmp_path / "x.jpg").shape == (112, 112, 3)
    (boxed,) = Chips(tmp_path, size=112, align="box").write(image, frame, lambda _: tmp_path / "y")
    assert boxed is not None
    middle = Affine(np.array(boxed["affine"])).apply(frame.faces.boxes[:, :2] / 2 + frame.faces.boxes[:, 2:] / 2 - 0.5)
    np.testing.assert_allclose(middle, [[55.5, 55.5]], atol=1e-3)


def test_a_face_without_extent_has_no_crop(tmp_path: Path) -> None:
    points = np.ones((1, 68, 2), np.float32)
    frame = Frame(Faces(np.array([[0, 0, 9, 9]], np.float32), np.ones(1, np.float32)), Landmarks(points, IBUG_68))
    assert Chips(tmp_path).write(np.zeros((9, 9, 3), np.uint8), frame, lambda _: tmp_path / "x") == [None]
    assert list(tmp_path.iterdir()) == []


def test_crops_replace_nothing_that_canthus_did_not_write(tmp_path: Path) -> None:
    image, frame = face()
    chips = Chips(tmp_path / "crops")
    for _ in range(2):
        chips.check(IBUG_68)
        chips.write(image, frame, lambda index: tmp_path / f"crops/deep/{index}")
    own = tmp_path / "crops/deep/1.png"
    own.write_bytes(b"\x89PNG\r\n of the user")
    with pytest.raises(ConfigError, match=r"crops/deep/1.png is not a picture that canthus wrote"):
        chips.check(IBUG_68)
    with pytest.raises(CanthusError, match="would overwrite a picture"):
        chips.write(image, frame[[0, 0]], lambda index: tmp_path / f"crops/deep/{index}")


def test_wrong_settings_of_crops_are_refused(tmp_path: Path) -> None:
    for settings, reason in (
        ({"align": "eye"}, "Did you mean 'eyes'"),
        ({"format": "gif"}, "Unknown format of crops 'gif'"),
        ({"size": 0}, "at least 1 pixel, found 0"),
    ):
        with pytest.raises(ConfigError, match=reason):
            Chips(tmp_path, **settings)
    bare = replace(IBUG_68, name="bare")
    with pytest.raises(ConfigError, match=r"No conversion from bare .* to five"):
        Chips(tmp_path, align="five").check(bare)
    Chips(tmp_path, align="box").check(bare)


def test_axes_of_the_head_are_drawn(tmp_path: Path) -> None:
    image, frame = face()
    grey = np.full_like(image, 128)
    plain, level = (draw_frame(grey, frame, angles=angles) for angles in (None, np.zeros((1, 3), np.float32)))
    x, y = ((frame.faces.boxes[0, :2] + frame.faces.boxes[0, 2:]) / 2).round().astype(int)
    changed = (plain != level).any(axis=2)
    assert changed[y, x - 50]  # to the subject's right
    assert changed[y - 50, x]  # up
    assert not changed[y, x + 50]
    np.testing.assert_array_equal(draw_frame(grey, frame, angles=np.full((1, 3), np.nan, np.float32)), plain)
    write_image(tmp_path / "axes.png", level)
