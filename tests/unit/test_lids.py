"""Closing eyes moves lids and their pixels, nothing else, and only where that can be seen."""

import numpy as np
import pytest

from canthus.data.synthetic import FaceShape, draw_face
from canthus.data.transforms import Augmentation, View, augment, close_eyes, random_closed_eyes
from canthus.errors import ConfigError
from canthus.runtime.measures import LEFT_EYE, RIGHT_EYE, eye_aspect_ratio
from canthus.schemes import FIVE, IBUG_68, WFLW_98
from canthus.types import Sample

UPPER = [37, 38, 43, 44]


def face(*, eyes: float = 0.8) -> Sample:
    return draw_face(np.random.default_rng(3), size=300, shape=FaceShape(eyes=eyes))


def ratios(points: np.ndarray) -> np.ndarray:
    return np.array([eye_aspect_ratio(points[list(eye)]) for eye in (RIGHT_EYE, LEFT_EYE)])


def closed(sample: Sample, right: float, left: float) -> Sample:
    image, points = close_eyes(sample.image, sample.points, sample.scheme, (right, left))
    return Sample(image=image, points=points, scheme=sample.scheme)


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_openness_falls_by_the_share(share: float) -> None:
    sample = face()
    # The lids of the drawing do not meet at right angles to the line of the corners everywhere: 0.02 of slack.
    np.testing.assert_allclose(
        ratios(closed(sample, share, share).points), (1 - share) * ratios(sample.points), atol=0.02
    )


def test_only_upper_lids_move_and_the_given_face_stays() -> None:
    sample = face()
    image, points = sample.image.copy(), sample.points.copy()
    shut = closed(sample, 1.0, 1.0)
    assert (shut.points[UPPER, 1] > points[UPPER, 1] + 2).all()
    others = np.setdiff1d(np.arange(68), UPPER)
    np.testing.assert_array_equal(shut.points[others], points[others])
    np.testing.assert_array_equal(sample.image, image)
    np.testing.assert_array_equal(sample.points, points)


def test_skin_takes_the_place_of_the_eye() -> None:
    sample = face()
    shut = closed(sample, 1.0, 1.0)
    for eye, brow in ((RIGHT_EYE, 19), (LEFT_EYE, 24)):
        x, y = sample.points[list(eye)].mean(axis=0)
        lid = sample.points[list(eye)[1:3], 1].mean()
        skin = sample.image[round(0.6 * float(lid) + 0.4 * float(sample.points[brow, 1])), round(float(x))].astype(int)
        before, after = (
            picture[round(float(y)), round(float(x))].astype(int) for picture in (sample.image, shut.image)
        )
        assert np.abs(before - skin).max() > 60
        assert np.abs(after - skin).max() < 30


def test_pixels_away_from_the_eyes_stay() -> None:
    sample = face()
    shut = closed(sample, 1.0, 1.0)
    changed = np.argwhere((shut.image != sample.image).any(axis=-1))
    assert len(changed)
    assert changed[:, 0].max() <= sample.points[36:48, 1].max() + 2
    assert changed[:, 0].min() >= sample.points[17:27, 1].min()


def test_mirroring_commutes() -> None:
    sample = face()
    mirror = list(IBUG_68.mirror)
    width = sample.image.shape[1]

    def mirrored(points: np.ndarray) -> np.ndarray:
        return np.asarray((points * (-1, 1) + (width - 1, 0))[mirror], np.float32)

    one = closed(sample, 1.0, 0.4)
    other = closed(
        Sample(image=np.ascontiguousarray(sample.image[:, ::-1]), points=mirrored(sample.points), scheme=IBUG_68),
        0.4,
        1.0,
    )
    np.testing.assert_allclose(other.points, mirrored(one.points), atol=1e-3)
    # Bilinear weights are rounded differently from the other side, and edges fall half a pixel to either side.
    assert np.abs(other.image[:, ::-1].astype(int) - one.image).mean() < 0.05


def test_a_turned_face_closes_along_its_own_axis() -> None:
    sample = face()
    turned = Sample(
        image=np.ascontiguousarray(np.rot90(sample.image)),
        points=np.stack([sample.points[:, 1], sample.image.shape[1] - 1 - sample.points[:, 0]], axis=1),
        scheme=IBUG_68,
    )
    np.testing.assert_allclose(
        ratios(closed(turned, 1.0, 1.0).points), ratios(closed(sample, 1.0, 1.0).points), atol=1e-4
    )


def test_one_eye_alone() -> None:
    sample = face()
    right, left = ratios(closed(sample, 1.0, 0.0).points)
    assert right < 0.02
    assert left == ratios(sample.points)[1]


def test_what_cannot_be_seen_does_not_move() -> None:
    sample = face()
    glasses = sample.image.copy()
    top, bottom = int(sample.points[17:27, 1].min()), int(sample.points[36:48, 1].max()) + 5
    glasses[top:bottom] = (20, 18, 25)
    behind = closed(Sample(image=glasses, points=sample.points, scheme=IBUG_68), 1.0, 1.0)
    np.testing.assert_array_equal(behind.points, sample.points)
    np.testing.assert_array_equal(behind.image, glasses)


def test_tiny_eyes_and_unknown_points_are_left_alone() -> None:
    sample = face()
    tiny = closed(Sample(image=sample.image, points=sample.points / 20, scheme=IBUG_68), 1.0, 1.0)
    np.testing.assert_array_equal(tiny.image, sample.image)
    points = sample.points.copy()
    points[37] = np.nan
    unknown = closed(Sample(image=sample.image, points=points, scheme=IBUG_68), 1.0, 0.0)
    np.testing.assert_array_equal(unknown.points, points)


def test_eyes_beyond_the_edge_of_the_picture() -> None:
    sample = face()
    cut = int(sample.points[40, 1])
    points = sample.points - np.array([0, cut], np.float32)
    half = closed(Sample(image=sample.image[cut:].copy(), points=points, scheme=IBUG_68), 1.0, 1.0)
    assert half.image.shape == sample.image[cut:].shape


def test_lids_of_98_points() -> None:
    sample = face()
    points = np.full((98, 2), 150.0, np.float32)
    for (upper, lower), (old_upper, old_lower) in zip(WFLW_98.lids, IBUG_68.lids, strict=True):
        for new, old in ((upper, old_upper), (lower, old_lower)):
            line = sample.points[list(old)]
            for axis in (0, 1):
                points[list(new), axis] = np.interp(np.linspace(0, 3, 5), np.arange(4), line[:, axis])
    points[33:42], points[42:51] = sample.points[19], sample.points[24]
    _, moved = close_eyes(sample.image, points, WFLW_98, (1.0, 1.0))
    for upper, lower in WFLW_98.lids:
        gap = np.abs(moved[list(upper), 1] - np.interp(moved[list(upper), 0], *moved[list(lower)].T))
        assert gap.max() < 0.5


def test_a_scheme_without_lids_is_refused() -> None:
    with pytest.raises(ConfigError, match="no lids"):
        close_eyes(face().image, np.zeros((5, 2), np.float32), FIVE, (1.0, 1.0))


def test_no_chance_draws_nothing() -> None:
    rng, untouched = np.random.default_rng(0), np.random.default_rng(0)
    sample = face()
    assert random_closed_eyes(sample, rng, chance=0.0) is sample
    assert rng.random() == untouched.random()


def test_shares_are_as_promised() -> None:
    sample = face()
    start = ratios(sample.points)
    drawn = [random_closed_eyes(sample, np.random.default_rng(seed), chance=1.0).points for seed in range(400)]
    shares = 1 - np.array([ratios(points) for points in drawn]) / start
    winks = (shares < 0.01).any(axis=1)
    assert 0.05 < winks.mean() < 0.15
    assert 0.4 < (shares.max(axis=1) > 0.82).mean() < 0.6
    assert shares.max(axis=1).min() > 0.15
    chosen = [random_closed_eyes(sample, np.random.default_rng(seed), chance=0.25) is sample for seed in range(400)]
    assert 0.69 < np.mean(chosen) < 0.81


def test_augmentation_shuts_eyes() -> None:
    sample = face()
    view = View(size=112, margin=1.3, pack_margin=1.8)
    drawn = augment(sample, np.random.default_rng(1), Augmentation(close_eyes=1.0), view)
    assert ratios(drawn.points).min() < 0.8 * ratios(sample.points).min()
