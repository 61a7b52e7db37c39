"""Single conversions, point by point."""

import numpy as np
import pytest

from canthus.errors import ConfigError
from canthus.schemes import AFLW_19, AFLW_21, COFW_29, FIVE, IBUG_68, WFLW_98, WILD_21, conversion_matrix, convert
from canthus.types import Landmarks


def _row(variant: str | None, point: int) -> dict[int, float]:
    row = conversion_matrix(WFLW_98, IBUG_68, variant=variant)[point]
    return {int(index): float(row[index]) for index in np.flatnonzero(row)}


def test_wflw_parts_that_need_no_blending() -> None:
    points = np.arange(196, dtype=np.float32).reshape(1, 98, 2)
    for variant in ("thirds", "chord", "picks"):
        converted = convert(points, WFLW_98, IBUG_68, variant=variant)[0, :, 0] / 2
        assert converted[:17].tolist() == list(range(0, 33, 2))
        assert converted[27:36].tolist() == list(range(51, 60))
        assert converted[48:].tolist() == list(range(76, 96))
        assert converted[[17, 26, 36, 39, 42, 45]].tolist() == [33, 46, 60, 64, 68, 72]


def test_three_readings_of_an_eye() -> None:
    assert _row("thirds", 37) == pytest.approx({61: 2 / 3, 62: 1 / 3})
    assert _row("thirds", 41) == pytest.approx({66: 1 / 3, 67: 2 / 3})
    assert _row("chord", 37) == {60: 0.5, 62: 0.5}
    assert _row("chord", 47) == {68: 0.5, 74: 0.5}
    assert _row("picks", 37) == {61: 1}
    assert _row("picks", 46) == {73: 1}


def test_thirds_is_the_default_and_moves_brows_to_their_middle() -> None:
    assert _row(None, 37) == _row("thirds", 37)
    assert _row("thirds", 18) == {34: 0.5, 41: 0.5}
    assert _row("thirds", 25) == {45: 0.5, 47: 0.5}
    assert _row("chord", 18) == {34: 1}


def test_chord_draws_the_eye_less_open_than_thirds_and_picks() -> None:
    turn = np.linspace(np.pi, 3 * np.pi, 8, endpoint=False)
    points = np.zeros((1, 98, 2), np.float32)
    points[0, 60:68] = np.stack([np.cos(turn), 0.4 * np.sin(turn)], axis=1)
    height = {
        variant: float(np.ptp(convert(points, WFLW_98, IBUG_68, variant=variant)[0, 36:42, 1]))
        for variant in ("thirds", "chord", "picks")
    }
    assert height["chord"] < height["picks"] < height["thirds"]


@pytest.mark.parametrize(
    ("scheme", "picked"),
    [
        (WFLW_98, [96, 97, 54, 76, 82]),
        (COFW_29, [16, 17, 20, 22, 23]),
        (AFLW_21, [7, 10, 14, 17, 19]),
        (AFLW_19, [7, 10, 13, 15, 17]),
        (WILD_21, [16, 17, 18, 19, 20]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_five_points(scheme: object, picked: list[int]) -> None:
    source = next(s for s in (WFLW_98, COFW_29, AFLW_21, AFLW_19, WILD_21) if s is scheme)
    assert conversion_matrix(source, FIVE).argmax(axis=1).tolist() == picked


def test_five_points_of_ibug_take_the_middle_of_the_eyes() -> None:
    points = np.zeros((68, 2), np.float32)
    points[36:42, 0] = [0, 1, 2, 3, 2, 1]
    assert convert(points, IBUG_68, FIVE)[0].tolist() == pytest.approx([1.5, 0])


def test_aflw_19_leaves_out_the_ears() -> None:
    points = np.arange(42, dtype=np.float32).reshape(21, 2)
    assert set((convert(points, AFLW_21, AFLW_19)[:, 0] / 2).tolist()) == set(range(21)) - {12, 16}


def test_same_scheme_is_the_identity() -> None:
    np.testing.assert_array_equal(conversion_matrix(FIVE, FIVE), np.eye(5))


def test_no_face_stays_no_face() -> None:
    converted = Landmarks(np.zeros((0, 98, 2), np.float32), WFLW_98).convert(IBUG_68, variant="chord")
    assert converted.points.shape == (0, 68, 2)
    assert converted.scheme is IBUG_68


def test_what_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"No conversion from five \(5 points\) to ibug_68.*five converts to nothing"):
        conversion_matrix(FIVE, IBUG_68)
    with pytest.raises(ConfigError, match="Did you mean 'chord'"):
        conversion_matrix(WFLW_98, IBUG_68, variant="cord")
    with pytest.raises(ConfigError, match="has no variant"):
        conversion_matrix(FIVE, FIVE, variant="chord")
    with pytest.raises(ValueError, match="ibug_68 has 68 points, found 5"):
        convert(np.zeros((5, 2), np.float32), IBUG_68, FIVE)
