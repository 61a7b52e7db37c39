"""The same questions to every scheme and every conversion."""

from itertools import chain

import numpy as np
import pytest

from canthus.errors import ConfigError
from canthus.schemes import CONVERSIONS, FIVE, SCHEMES, Scheme, conversion_matrix, find_scheme

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


@EVERY_SCHEME
def test_lids_run_from_corner_to_corner_and_mirror(scheme: Scheme) -> None:
    for (upper, lower), eye in zip(scheme.lids, ("right_eye", "left_eye"), strict=False):
        assert (upper[0], upper[-1]) == (lower[0], lower[-1])
        assert {*upper, *lower} == set(scheme.groups[eye])
    if scheme.lids:
        right, left = scheme.lids
        for one, other in zip(right, left, strict=True):
            assert [scheme.mirror[i] for i in one] == list(reversed(other))


@EVERY_SCHEME
def test_parts_are_groups_and_their_unions(scheme: Scheme) -> None:
    for name, indices in scheme.groups.items():
        if name != "mouth":
            assert scheme.part(name) == indices
    assert scheme.part("eyes") == scheme.groups["right_eye"] + scheme.groups["left_eye"]
    with pytest.raises(ConfigError, match="Did you mean 'eyes'"):
        scheme.part("eyess")
