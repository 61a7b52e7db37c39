"""Occluders cover the share they say, hide the points they say, and follow the seed."""

from pathlib import Path

import numpy as np
import pytest

from canthus.data.corruptions import CORRUPTIONS, random_corruption, spoiled
from canthus.data.occluders import (
    IRREGULAR,
    NATURAL,
    SHAPES,
    FacePlace,
    covered_points,
    covered_share,
    place_face,
    place_picture,
)
from canthus.data.occlusion import (
    FILLS,
    SOLID,
    USUAL_FILLS,
    grown,
    open_masks,
    painted,
    random_black_mask,
    random_cover,
    random_mask,
    seen_points,
)
from canthus.data.synthetic import draw_face
from canthus.data.transforms import Augmentation, View, augment, random_flip, random_occlusion
from canthus.errors import ConfigError, DataError
from canthus.geometry import hull_box
from canthus.images import write_image
from canthus.schemes import FIVE, IBUG_68
from canthus.types import Sample

CLASSES = [(0.1 * i, 0.1 * (i + 1)) for i in range(6)]


def face_of(sample: Sample) -> FacePlace:
    face = place_face(sample.points, sample.scheme, len(sample.image))
    assert face is not None
    return face


@pytest.fixture
def sample() -> Sample:
    return draw_face(np.random.default_rng(3), size=128)


def test_the_region_is_the_hull_of_the_points(sample: Sample) -> None:
    square = np.full((68, 2), 40.0, np.float32)
    square[:4] = [[20, 30], [60, 30], [60, 50], [20, 50]]
    face = place_face(square, IBUG_68, 128)
    assert face is not None
    assert face.area == 41 * 21  # from pixel 20 to 60 and 30 to 50, both counted
    assert covered_share(np.zeros((128, 128), np.uint8), face) == 0
    half = np.zeros((128, 128), np.uint8)
    half[:, 40:] = 255
    assert covered_share(half, face) == pytest.approx(21 / 41)


def test_the_frame_reaches_from_minus_one_to_one_and_turns_with_the_face(sample: Sample) -> None:
    angle = 0.6
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = ((sample.points - 64) @ turn + 64).astype(np.float32)
    upright, leaning = face_of(sample), place_face(turned, IBUG_68, 128)
    assert leaning is not None
    for face in (upright, leaning):
        np.testing.assert_allclose(np.abs(face.hull).max(axis=0), [1, 1], atol=1e-5)
    np.testing.assert_allclose(leaning.hull[:, 1].min(), -1, atol=1e-5)
    np.testing.assert_allclose(leaning.axes, upright.axes @ turn, atol=1e-3)
    assert upright.eyes[0, 0] < 0 < upright.eyes[1, 0]  # the subject's right eye is on the left of the picture


def test_no_face_without_three_points_off_a_line() -> None:
    assert place_face(np.full((68, 2), np.nan, np.float32), IBUG_68, 64) is None
    line = np.stack([np.linspace(0, 60, 68), np.full(68, 30.0)], axis=1).astype(np.float32)
    assert place_face(line, IBUG_68, 64) is None


def test_points_off_the_picture_or_unknown_are_not_covered() -> None:
    everything = np.full((10, 20), 255, np.uint8)
    points = np.array([[0, 0], [19, 9], [20, 9], [-1, 5], [np.nan, 1]], np.float32)
    assert covered_points(everything, points).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(("low", "high"), CLASSES)
@pytest.mark.parametrize("seed", range(3))
def test_masks_cover_what_was_asked_for(low: float, high: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    face = face_of(draw_face(rng, size=128))
    mask = random_mask(rng, face, low=low, high=high, kinds=IRREGULAR)
    assert set(np.unique(mask)) <= {0, 255}
    counted = ((mask > 0) & (face.region > 0)).sum() / (face.region > 0).sum()
    assert low <= counted < high
    assert counted == pytest.approx(covered_share(mask, face))


def test_masks_follow_the_seed_and_differ_between_seeds(sample: Sample) -> None:
    face = face_of(sample)
    a, b, c = (random_mask(np.random.default_rng(seed), face, low=0.3, high=0.4, kinds=IRREGULAR) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_a_share_that_a_shape_cannot_cover_is_refused(sample: Sample) -> None:
    with pytest.raises(ConfigError, match="glasses do not reach a covered share of 90% to 95%"):
        random_mask(np.random.default_rng(0), face_of(sample), low=0.9, high=0.95, kinds=["glasses"])
    with pytest.raises(ConfigError, match="strokes"):
        random_mask(np.random.default_rng(0), face_of(sample), low=0.1, high=0.2, kinds=["stroke"])


@pytest.mark.parametrize("kind", sorted(SHAPES))
@pytest.mark.parametrize("seed", range(4))
def test_every_shape_grows_from_little_to_much(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    face = face_of(draw_face(rng, size=128))
    shape = SHAPES[kind](rng, face)
    shares = []
    for level in (0.0, 0.5, 1.0):
        mask = np.zeros_like(face.region)
        shape(mask, level)
        shares.append(covered_share(mask, face))
    assert shares[0] < 0.45
    assert shares[2] > 0.12
    assert shares[0] < shares[2]


@pytest.mark.parametrize("kind", ["blob", "side", "clouds", "centre_square", "box"])
def test_bisection_finds_the_share(kind: str, sample: Sample) -> None:
    face = face_of(sample)
    before = np.zeros_like(face.region)
    before[:40] = 255
    wanted = covered_share(before, face) + 0.2
    own = grown(SHAPES[kind](np.random.default_rng(5), face), before, face, wanted, tolerance=0.02)
    assert covered_share(np.maximum(own, before), face) == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("fill", sorted(FILLS))
def test_fills_change_what_is_covered_and_little_else(fill: str, sample: Sample) -> None:
    face = face_of(sample)
    mask = np.zeros_like(face.region)
    mask[40:80, 30:70] = 255
    before = sample.image.copy()
    after = painted(sample.image, mask, np.random.default_rng(1), face, fill=fill)
    np.testing.assert_array_equal(sample.image, before)
    assert (after[45:75, 35:65] != before[45:75, 35:65]).any()
    np.testing.assert_array_equal(after[:10], before[:10])
    if fill == "black":
        assert after[45:75, 35:65].max() == 0


def test_usual_fills_and_natural_shapes_exist() -> None:
    assert set(USUAL_FILLS) <= set(NATURAL)
    assert set(NATURAL) | set(IRREGULAR) <= set(SHAPES)
    assert {fill for fills in USUAL_FILLS.values() for fill in fills} | SOLID <= set(FILLS)


@pytest.mark.parametrize("seed", range(6))
def test_covering_a_face_says_which_points_it_hides(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sample = draw_face(rng, size=112)
    covered = random_cover(sample, rng, chance=1.0, most=0.6)
    changed = np.abs(covered.image.astype(int) - sample.image).sum(axis=2)
    assert covered.visible is not None
    assert (changed > 0).any()
    np.testing.assert_array_equal(covered.points, sample.points)
    x, y = np.rint(sample.points).astype(int).T
    # A thing may by chance have the very colour of the skin under it, hence most and not all.
    assert (changed[y, x][~covered.visible] > 0).mean() > 0.7 if (~covered.visible).any() else True


def test_cover_stays_about_within_its_limit() -> None:
    rng = np.random.default_rng(0)
    hidden = []
    for _ in range(40):
        sample = draw_face(rng, size=112)
        visible = random_cover(sample, rng, chance=1.0, most=0.3).visible
        assert visible is not None
        hidden.append(1 - visible.mean())
    assert 0.03 < np.mean(hidden) < 0.3
    assert len(set(hidden)) > 10


def test_without_a_chance_or_a_face_nothing_is_covered(sample: Sample) -> None:
    rng = np.random.default_rng(0)
    assert random_cover(sample, rng, chance=0.0) is sample
    unknown = Sample(image=sample.image, points=np.full((5, 2), np.nan, np.float32), scheme=FIVE)
    assert random_cover(unknown, rng, chance=1.0) is unknown


def test_hidden_points_stay_hidden(sample: Sample) -> None:
    before = Sample(sample.image, sample.points, sample.scheme, visible=np.arange(68) > 3)
    nothing = np.zeros(sample.image.shape[:2], np.uint8)
    assert seen_points(before, nothing).tolist() == (np.arange(68) > 3).tolist()
    assert not seen_points(before, nothing + 255).any()


def test_boxes_of_the_older_augmentation_report_too(sample: Sample) -> None:
    covered = random_occlusion(sample, np.random.default_rng(2), chance=1.0)
    assert covered.visible is not None
    changed = (covered.image != sample.image).any(axis=2)
    x, y = np.rint(sample.points).astype(int).T
    assert (changed[y, x] <= ~covered.visible).all()
    assert not covered.visible.all()


def test_flips_renumber_what_is_visible(sample: Sample) -> None:
    hidden = Sample(sample.image, sample.points, sample.scheme, visible=np.arange(68) != 36)
    flipped = random_flip(hidden, np.random.default_rng(0), chance=1.0)
    assert flipped.visible is not None
    assert np.flatnonzero(~flipped.visible).tolist() == [45]


def test_pictures_without_cover_are_what_they_were() -> None:
    sample = draw_face(np.random.default_rng(1), size=192)
    view = View(size=112, margin=1.3, pack_margin=1.8)
    older = Augmentation(flip=0.5, rotation_deg=20, light=0.3, occlude=0.5, blur=0.5, noise=0.5)
    a = augment(sample, np.random.default_rng(4), older, view)
    b = augment(sample, np.random.default_rng(4), Augmentation(**{**older.__dict__, "cover_most": 0.2}), view)
    np.testing.assert_array_equal(a.image, b.image)


CORNERS = 127.0 * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])


def test_a_picture_is_a_place_too() -> None:
    place = place_picture(CORNERS, 128)
    assert place.area == 128 * 128
    np.testing.assert_allclose(place.to_pixels(np.array([[-1.0, -1], [1, 1]])) / 16, [[0, 0], [127, 127]])


@pytest.mark.parametrize("of", ["face", "picture"])
@pytest.mark.parametrize("seed", range(3))
def test_black_masks_hide_what_they_cover_and_nothing_else(of: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sample = draw_face(rng, size=128)
    masked = random_black_mask(sample, rng, chance=1.0, most=0.4, of=of, masks=None)
    hidden = (masked.image == 0).all(axis=2) & (sample.image != 0).any(axis=2)
    np.testing.assert_array_equal(masked.image[~hidden], sample.image[~hidden])
    assert masked.visible is not None
    x, y = np.rint(sample.points).astype(int).T
    assert (hidden[y, x] <= ~masked.visible).all()
    region = face_of(sample).region > 0 if of == "face" else np.ones((128, 128), bool)
    assert 0 < hidden[region].mean() < 0.45
    assert random_black_mask(sample, rng, chance=0.0, most=0.4, of=of, masks=None) is sample


@pytest.mark.parametrize("white", [False, True])
def test_masks_of_a_folder_are_taken_by_their_share(tmp_path: Path, white: bool) -> None:
    for number, share in enumerate((0.05, 0.35, 0.95)):
        hidden = np.zeros((64, 64, 3), np.uint8)
        hidden[: round(64 * share)] = 255
        write_image(tmp_path / "deep" / f"{number}.png", hidden if white else 255 - hidden)
    masks, place = open_masks(str(tmp_path), white=white), place_picture(CORNERS, 128)
    found = [masks.draw(np.random.default_rng(seed), place, low=0.3, high=0.4, within=place) for seed in range(8)]
    assert [covered_share(mask, place) for mask in found] == pytest.approx([0.34] * 8, abs=0.02)
    assert len({mask.tobytes() for mask in found}) > 1  # turned and mirrored
    with pytest.raises(ConfigError, match="none of 200 masks drawn from 3 files covers 50% to 60%"):
        masks.draw(np.random.default_rng(0), place, low=0.5, high=0.6, within=place)
    sample = draw_face(np.random.default_rng(0), size=128)
    masked = random_black_mask(sample, np.random.default_rng(0), chance=1.0, most=0.1, of="picture", masks=masks)
    assert 0.02 < (masked.image == 0).all(axis=2).mean() < 0.1


def test_a_folder_without_masks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no masks"):
        open_masks(str(tmp_path))
    with pytest.raises(ConfigError, match="Did you mean 'picture'"):
        Augmentation(mask_of="pictures")


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_corruptions_grow_with_their_strength_and_follow_the_seed(kind: str, sample: Sample) -> None:
    box = hull_box(sample.points)

    def change(strength: float, seed: int = 0) -> np.ndarray:
        return spoiled(sample.image, box, np.random.default_rng(seed), kind=kind, strength=strength)

    x1, y1, x2, y2 = box.astype(int)
    face = sample.image[y1:y2, x1:x2].astype(float)
    changes = [np.abs(change(strength)[y1:y2, x1:x2] - face).mean() for strength in (0.2, 0.6, 1.0)]
    assert 0 < changes[0] < changes[1] < changes[2]
    np.testing.assert_array_equal(change(0.6), change(0.6))
    assert change(0.6).shape == sample.image.shape


def test_blur_means_the_same_in_small_and_large_pictures(sample: Sample) -> None:
    """Lengths are shares of the face: enlarging and blurring is blurring and enlarging."""
    large = np.repeat(np.repeat(sample.image, 3, axis=0), 3, axis=1)
    box = hull_box(sample.points)
    blurred = [
        spoiled(image, scale * box, np.random.default_rng(0), kind="gaussian_blur", strength=0.8).astype(float)
        for image, scale in ((sample.image, 1), (large, 3))
    ]
    reduced = blurred[1].reshape(128, 3, 128, 3, 3).mean(axis=(1, 3))
    assert np.abs(reduced - blurred[0])[20:-20, 20:-20].mean() < 2


def test_only_the_surroundings_of_the_face_are_spoiled() -> None:
    image = np.full((400, 500, 3), 200, np.uint8)
    found = spoiled(image, np.array([30.0, 40, 90, 100]), np.random.default_rng(0), kind="low_light", strength=1.0)
    assert found[60, 60].max() < 40
    assert (found[200:] == 200).all()
    assert (found[:, 200:] == 200).all()


def test_training_spoils_and_masks_where_it_is_asked_to(sample: Sample) -> None:
    view = View(size=64, margin=1.3, pack_margin=1.8)
    plain = augment(sample, np.random.default_rng(0), Augmentation(), view)
    for settings in (Augmentation(corrupt=1.0), Augmentation(mask=1.0), Augmentation(mask=1.0, mask_of="picture")):
        changed = augment(sample, np.random.default_rng(0), settings, view)
        assert (changed.image != plain.image).any()
        np.testing.assert_array_equal(changed.points, plain.points)
    assert random_corruption(sample, np.random.default_rng(0), chance=0.0) is sample
