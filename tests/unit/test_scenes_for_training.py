"""Packed scenes and their augmentation: boxes and points stay on the pixels they belong to."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from canthus.data.packs import SceneSample, load_scene_pack, open_scene_pack
from canthus.data.scene_transforms import SceneAugmentation, random_mosaic, random_scenery, random_view
from canthus.data.scenes import load_scenes
from canthus.errors import DataError
from canthus.geometry import face_turn
from drawn_scenes import write_scenes

PLAIN = SceneAugmentation(
    smallest=40.0,
    largest=60.0,
    elsewhere=0.0,
    mosaic=(1.0,),
    cover=0.0,
    light=0.0,
    grey=0.0,
    blur=0.0,
    noise=0.0,
    dark=0.0,
    stretch=0.0,
)


def marked(*, complete: bool = True) -> SceneSample:
    """A grey picture with one white ellipse as face and five coloured dots as points, in order of their brightness."""
    image = np.full((200, 300, 3), 60, np.uint8)
    cv2.ellipse(image, (150, 100), (40, 50), 0, 0, 360, (255, 255, 255), -1)
    points = np.array([[130, 85], [170, 85], [150, 100], [135, 125], [165, 125]], np.float32)
    for (x, y), colour in zip(
        points, ((250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 0, 250), (0, 250, 250)), strict=True
    ):
        cv2.circle(image, (int(x), int(y)), 5, colour, -1)
    box = np.array([[110, 50, 191, 151]], np.float32)
    return SceneSample(image, box, points[None], np.zeros(1, np.bool_), complete)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_and_points_move_with_the_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    view = random_scenery([marked()], rng, PLAIN, 160)
    assert len(view.boxes) == 1
    white = np.argwhere(view.image.max(axis=2) > 200)
    y1, x1 = white.min(axis=0)
    y2, x2 = white.max(axis=0) + 1
    assert view.boxes[0] == pytest.approx([x1, y1, x2, y2], abs=2.5)
    right, left = (view.image[round(float(y)), round(float(x))] for x, y in view.points[0, :2])
    # The first point is the subject's right eye: of a mirrored face the dot that was the left one's.
    red_first = right[0] > 150 and right[1] < 120
    assert red_first or (right[1] > 150 and right[0] < 120)
    assert (left[1] > 150) == red_first
    assert view.points[0, 0, 0] < view.points[0, 1, 0]


@pytest.mark.parametrize("seed", range(6))
def test_boxes_and_points_follow_any_turn(seed: int) -> None:
    settings = replace(PLAIN, turned=1.0, flip=0.0)
    view = random_scenery([marked()], np.random.default_rng(seed), settings, 160)
    assert len(view.boxes) == 1
    white = np.argwhere(view.image.min(axis=2) > 180)
    middle = white.mean(axis=0)[::-1] + 0.5
    assert (view.boxes[0, :2] + view.boxes[0, 2:]) / 2 == pytest.approx(middle, abs=3)
    shown = [view.image[round(float(y)), round(float(x))] for x, y in view.points[0]]
    assert [tuple(colour > 120) for colour in shown[:3]] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    down = view.points[0, 3:].mean(axis=0) - view.points[0, :2].mean(axis=0)
    turn = face_turn(view.points)[0]
    assert turn == pytest.approx(np.arctan2(-down[0], down[1]), abs=0.1)


def test_turns_reach_all_sides() -> None:
    settings, rng = replace(PLAIN, turned=1.0, flip=0.0), np.random.default_rng(0)
    views = [random_scenery([marked()], rng, settings, 96) for _ in range(60)]
    turns = np.concatenate([face_turn(view.points) for view in views])
    assert set(np.floor(turns / (np.pi / 4)).astype(int)) == set(range(-4, 4))


def test_a_close_face_fills_its_view() -> None:
    rng = np.random.default_rng(0)
    view = random_view(marked(), rng, replace(PLAIN, close=1.0, rotation_deg=0.0), (160, 160))
    assert 0.55 * 160 < (view.boxes[0, 2:] - view.boxes[0, :2]).max() < 1.05 * 160


def test_shade_darkens_one_side_alone() -> None:
    bright = SceneSample(np.full((80, 80, 3), 200, np.uint8), np.zeros((0, 4), np.float32),
                         np.zeros((0, 5, 2), np.float32), np.zeros(0, np.bool_), True)  # fmt: skip
    view = random_scenery([bright], np.random.default_rng(1), replace(PLAIN, shade=1.0, rotation_deg=0.0, zoom=1.0), 80)
    assert view.image.max() >= 195
    assert 0.05 < (view.image.max(axis=2) < 100).mean() < 0.95


@pytest.mark.parametrize("seed", range(4))
def test_drawn_things_are_background(seed: int) -> None:
    view = random_scenery([marked(complete=False)], np.random.default_rng(seed), replace(PLAIN, drawn=1.0), 96)
    assert len(view.boxes) == 0
    assert view.known.all()
    assert view.image.std() > 1


def test_occluders_change_faces_and_nothing_far_from_them() -> None:
    plain = random_scenery([marked()], np.random.default_rng(3), PLAIN, 160)
    covered = random_scenery([marked()], np.random.default_rng(3), replace(PLAIN, occluder=1.0), 160)
    assert covered.boxes == pytest.approx(plain.boxes)
    y, x = np.nonzero((covered.image != plain.image).any(axis=2))
    assert len(x) > 0
    centre, side = (plain.boxes[0, :2] + plain.boxes[0, 2:]) / 2, (plain.boxes[0, 2:] - plain.boxes[0, :2]).max()
    assert np.abs(np.stack([x, y], axis=1) - centre).max() <= 0.8 * side + 1


def test_a_mosaic_holds_the_faces_of_all_its_scenes() -> None:
    rng = np.random.default_rng(0)
    view = random_scenery([marked()] * 4, rng, PLAIN, 256)
    assert len(view.boxes) == 4
    centres = (view.boxes[:, :2] + view.boxes[:, 2:]) / 2
    assert len({tuple(c > 128) for c in centres.tolist() for c in [np.array(c)]}) == 4
    assert view.known.all()


def test_counts_of_views_follow_their_chances() -> None:
    rng = np.random.default_rng(0)
    settings = SceneAugmentation(mosaic=(0.5, 0.0, 0.5))
    counts = [random_mosaic(rng, settings) for _ in range(200)]
    assert set(counts) == {1, 9}
    assert 60 < counts.count(1) < 140


def test_of_an_incomplete_picture_only_the_surroundings_of_faces_are_known() -> None:
    rng = np.random.default_rng(1)
    view = random_scenery([marked(complete=False)], rng, PLAIN, 160)
    x1, y1, x2, y2 = view.boxes[0]
    assert view.known[round(float(y1 + y2) / 2), round(float(x1 + x2) / 2)]
    assert not view.known.all()
    assert view.known.mean() < 0.7


def test_ignored_and_tiny_faces_are_neither_faces_nor_background() -> None:
    scene = marked()
    ignored = SceneSample(scene.image, scene.boxes, scene.points, np.ones(1, np.bool_), True)
    view = random_view(ignored, np.random.default_rng(0), PLAIN, (300, 200))
    assert len(view.boxes) == 0
    assert 0.05 < (~view.known).mean() < 1
    tiny = random_view(scene, np.random.default_rng(0), SceneAugmentation(least_face=500.0, elsewhere=0.0), (160, 160))
    assert len(tiny.boxes) == 0
    assert not tiny.known.all()


def test_a_pack_gives_back_pictures_and_truth(tmp_path: Path) -> None:
    write_scenes(tmp_path / "facemask", train=4, validation=1)
    scenes = load_scenes("facemask", tmp_path / "facemask", "train")
    told: list[tuple[int, int]] = []
    pack = load_scene_pack(scenes, tmp_path / "cache", progress=lambda done, total: told.append((done, total)))
    assert len(pack) == 4
    assert told[-1] == (4, 4)
    for index, scene in enumerate(scenes):
        sample = pack.sample(index)
        assert np.array_equal(sample.image[..., ::-1], np.asarray(cv2.imread(str(scene.path))))
        assert sample.boxes == pytest.approx(scene.face_boxes())
        assert pack.scene(index).face_boxes() == pytest.approx(scene.face_boxes())
    again = load_scene_pack(scenes, tmp_path / "cache", progress=lambda done, total: pytest.fail("built twice"))
    assert again.keys == pack.keys


def test_large_pictures_are_shrunk_with_their_boxes(tmp_path: Path) -> None:
    write_scenes(tmp_path / "facemask", train=1, validation=1)
    picture = next((tmp_path / "facemask/images").glob("scene0.*"))
    image = np.asarray(cv2.imread(str(picture)))
    cv2.imwrite(str(picture), cv2.resize(image, None, fx=8, fy=8))
    scenes = load_scenes("facemask", tmp_path / "facemask", "train")
    pack = load_scene_pack(scenes, tmp_path / "cache")
    assert max(pack.sample(0).image.shape[:2]) == 640
    assert pack.sample(0).boxes == pytest.approx(scenes[0].face_boxes() * 640 / (8 * image.shape[1]), abs=1e-3)


def test_no_scenes_and_broken_packs_say_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        load_scene_pack([], tmp_path)
    (tmp_path / "pack.json").write_text("{}")
    with pytest.raises(DataError, match="not a whole pack"):
        open_scene_pack(tmp_path)
