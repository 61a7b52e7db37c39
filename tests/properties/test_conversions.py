"""Converting commutes with whatever happens to the whole face."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canthus.geometry import Affine
from canthus.schemes import CONVERSIONS, SCHEMES, convert, find_scheme

PAIRS = sorted(CONVERSIONS)
NUMBERS = st.floats(-2, 2)


def _points(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (3, count, 2)).astype(np.float32)


@pytest.mark.parametrize("pair", PAIRS, ids="->".join)
@given(seed=st.integers(0, 1000), linear=st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), shift=NUMBERS)
def test_converting_commutes_with_an_affine_map(
    pair: tuple[str, str], seed: int, linear: tuple[float, float, float, float], shift: float
) -> None:
    source, target = map(find_scheme, pair)
    a, b, c, d = linear
    affine = Affine(np.array([[a, b, 10 * shift], [c, d, -shift]]))
    points = _points(seed, source.count)
    for variant in CONVERSIONS[pair]:
        first = convert(affine.apply(points), source, target, variant=variant)
        then = affine.apply(convert(points, source, target, variant=variant))
        np.testing.assert_allclose(first, then, atol=1e-3)  # float32 at a few hundred pixels


@pytest.mark.parametrize("pair", PAIRS, ids="->".join)
@given(seed=st.integers(0, 1000), width=st.integers(2, 500))
def test_converting_commutes_with_mirroring(pair: tuple[str, str], seed: int, width: int) -> None:
    source, target = map(find_scheme, pair)
    flip, points = Affine.flip(width), _points(seed, source.count)
    for variant in CONVERSIONS[pair]:
        first = convert(flip.apply(points)[:, list(source.mirror)], source, target, variant=variant)
        then = flip.apply(convert(points, source, target, variant=variant))[:, list(target.mirror)]
        np.testing.assert_allclose(first, then, atol=1e-3)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
@given(seed=st.integers(0, 1000), width=st.integers(2, 500))
def test_mirroring_points_twice_is_nothing(scheme: object, seed: int, width: int) -> None:
    scheme = find_scheme(getattr(scheme, "name", ""))
    flip, points = Affine.flip(width), _points(seed, scheme.count)
    once = flip.apply(points)[:, list(scheme.mirror)]
    np.testing.assert_allclose(flip.apply(once)[:, list(scheme.mirror)], points, atol=1e-3)


@given(seed=st.integers(0, 1000), gone=st.sets(st.integers(0, 97), max_size=20))
def test_a_point_without_position_spoils_only_what_rests_on_it(seed: int, gone: set[int]) -> None:
    source, target = find_scheme("wflw_98"), find_scheme("ibug_68")
    points = _points(seed, 98)
    whole = convert(points, source, target)
    points[:, sorted(gone)] = np.nan
    some = convert(points, source, target)
    kept = ~np.isnan(some)
    np.testing.assert_array_equal(some[kept], whole[kept])
    assert kept.all() == (not gone & _used(source.name, target.name))


def _used(source: str, target: str) -> set[int]:
    rows = next(iter(CONVERSIONS[source, target].values()))
    return {index for row in rows for index in np.atleast_1d(row).tolist()}
