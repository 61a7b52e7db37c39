import math

import numpy as np
import pytest

from canthus.data.synthetic import draw_face
from canthus.evaluation.openness import opening_ratios, opening_row, summarize_openness
from canthus.schemes import FIVE, IBUG_68, WFLW_98


def test_ratios_are_read_through_the_conversion_to_68() -> None:
    points = np.random.default_rng(0).uniform(0, 100, (98, 2))
    assert set(opening_ratios(points, WFLW_98)) == {"ear_right", "ear_left", "mar"}
    assert opening_ratios(points[:5], FIVE) == {}


def test_ratios_do_not_depend_on_size_and_place() -> None:
    points = draw_face(np.random.default_rng(1)).points
    one, other = opening_ratios(points, IBUG_68), opening_ratios(points * 3 + 7, IBUG_68)
    assert other == pytest.approx(one, rel=1e-4)


def test_missed_faces_and_foreign_schemes_are_left_out() -> None:
    points = draw_face(np.random.default_rng(1)).points
    missed = opening_row(np.full_like(points, np.nan), points, IBUG_68)
    assert math.isnan(missed["ear_left"])
    assert missed["ear_left_truth"] > 0
    found = summarize_openness([missed, {}])
    assert found.eyes == 0
    assert math.isnan(found.ear_error)
    assert math.isnan(found.ear_correlation)


def test_a_perfect_prediction() -> None:
    faces = [draw_face(np.random.default_rng(seed)).points for seed in range(6)]
    found = summarize_openness([opening_row(points, points, IBUG_68) for points in faces])
    assert (found.eyes, found.ear_error, found.mar_error) == (12, 0.0, 0.0)
    assert found.ear_correlation == pytest.approx(1.0)
