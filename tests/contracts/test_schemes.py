"""The same questions to every scheme and every conversion."""

from itertools import chain

import numpy as np
import pytest

from canthus.conversions import CONVERSIONS, conversion_matrix
from canthus.schemes import FIVE, SCHEMES, Scheme, find_scheme

EVERY_SCHEME = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
EVERY_CONVERSION = pytest.mark.parametrize(
    ("source", "target", "variant"),
    [
        (find_scheme(source), find_scheme(target), variant)
        for (source, target), rows in CONVERSIONS.items()
        for variant in rows
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)


@EVERY_SCHEME
def test_mirroring_twice_is_nothing(scheme: Scheme) -> None:
    assert [scheme.mirror[i] for i in scheme.mirror] == list(range(scheme.count))


@EVERY_SCHEME
def test_every_point_is_in_exactly_one_group(scheme: Scheme) -> None:
    assert sorted(chain.from_iterable(scheme.groups.values())) == list(range(scheme.count))


@EVERY_SCHEME
def test_mirror_takes_groups_to_groups(scheme: Scheme) -> None:
    for name, indices in scheme.groups.items():
        swapped = name.replace("right", "other").replace("left", "right").replace("other", "left")
        assert {scheme.mirror[i] for i in indices} == set(scheme.groups[swapped]), name


@EVERY_SCHEME
def test_mirror_swaps_eye_corners_and_pupils(scheme: Scheme) -> None:
    right, left = scheme.eye_corners
    assert scheme.mirror[right] == left != right
    assert {scheme.mirror[i] for i in scheme.pupils[0]} == set(scheme.pupils[1])


@EVERY_SCHEME
def test_eye_corner_belongs_to_its_eye(scheme: Scheme) -> None:
    assert scheme.eye_corners[0] in scheme.groups["right_eye"]
    assert scheme.eye_corners[1] in scheme.groups["left_eye"]


@EVERY_SCHEME
def test_five_points_can_be_had_from_every_scheme(scheme: Scheme) -> None:
    assert conversion_matrix(scheme, FIVE).shape == (5, scheme.count)


@EVERY_CONVERSION
def test_conversion_is_row_stochastic(source: Scheme, target: Scheme, variant: str) -> None:
    matrix = conversion_matrix(source, target, variant=variant)
    assert matrix.shape == (target.count, source.count)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


@EVERY_CONVERSION
def test_conversion_commutes_with_mirror(source: Scheme, target: Scheme, variant: str) -> None:
    matrix = conversion_matrix(source, target, variant=variant)
    np.testing.assert_array_equal(matrix[list(target.mirror)][:, list(source.mirror)], matrix)


@EVERY_CONVERSION
def test_conversion_keeps_pupils_and_eye_corners(source: Scheme, target: Scheme, variant: str) -> None:
    """The scales of errors mean the same before and after; ``five`` has no corners and is asked for pupils only."""
    matrix = conversion_matrix(source, target, variant=variant)
    if target != FIVE:
        assert [int(matrix[corner].argmax()) for corner in target.eye_corners] == list(source.eye_corners)
    if target == FIVE:
        for eye in (0, 1):
            (used,) = (set(np.flatnonzero(matrix[target.pupils[eye][0]]).tolist()),)
            assert used == set(source.pupils[eye])
