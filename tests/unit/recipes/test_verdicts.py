"""Verdicts on claims: which test is made, on how much, and what it is corrected for."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy import stats

from canthus.reproduce.values import QUICK, Claim, Column, Learned, PaperTable, Scale
from canthus.reproduce.verdicts import Row, Verdict, gap_between, holm, verdicts

NME = Column("nme_ion", "NME, %")
TIME = Column("time_s", "ms", per_set=False)
SETS = ("300w/validation",)


def judged(
    claims: Sequence[Claim],
    seeds: Mapping[str, Sequence[float]],
    faces: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    learned: Learned | None = None,
) -> list[Verdict]:
    rows = tuple(dict.fromkeys(row for claim in claims for row in (claim.smaller, claim.larger)))
    table = PaperTable("t", "Table 1", rows, (NME, TIME), {}, tuple(claims))
    return verdicts(
        table,
        Scale(QUICK, SETS, "short", learned=learned),
        lambda row, column, tested: seeds.get(row, ()),
        lambda row, tested, column: (faces or {}).get(row, ()),
    )


def drawn_faces(count: int, shift: float, seed: int) -> dict[str, float]:
    """Errors of faces that two rows have in common, moved by a shift and a little noise."""
    common, own = np.random.default_rng(0), np.random.default_rng(seed)
    return {str(n): float(common.gamma(4.0) + shift + 0.1 * own.normal()) for n in range(count)}


@pytest.mark.parametrize(
    ("a", "b", "word"),
    [
        ((3.0, 3.1, 3.2), (4.0, 4.1, 4.2), "holds"),
        ((4.0, 4.1, 4.2), (3.0, 3.1, 3.2), "does not hold"),
        ((3.0, 4.0, 5.0), (3.1, 4.1, 5.2), "undecided"),
        ((3.0, 3.01), (4.0, 4.01), "undecided"),
        ((3.0,), (4.0,), "undecided"),
        ((), (4.0,), "not run"),
    ],
)
def test_seeds_decide_from_three_on(a: tuple[float, ...], b: tuple[float, ...], word: str) -> None:
    (found,) = judged([Claim("a beats b", "a", "b", "NME, %")], {"a": a, "b": b})
    assert found.word == word
    assert ("expected 3 or 400" in found.reason) == (0 < len(a) < 3)
    assert (found.gap is not None) == (len(a) == 3)
    if found.gap:
        assert found.gap.over == "3 and 3 trainings"
        expected = stats.ttest_ind(b, a, equal_var=False)
        low, high = expected.confidence_interval()
        np.testing.assert_allclose([found.gap.low, found.gap.high, found.gap.p], [low, high, expected.pvalue])


@pytest.mark.parametrize(("count", "word"), [(399, "undecided"), (400, "holds")])
def test_faces_decide_from_400_on(count: int, word: str) -> None:
    faces = {"a": [drawn_faces(count, 0.0, 1)], "b": [drawn_faces(count, 0.05, 2)]}
    (found,) = judged([Claim("a beats b", "a", "b", "NME, %")], {"a": (4.0,), "b": (4.05,)}, faces)
    assert found.word == word
    if found.gap:
        expected = stats.ttest_rel(list(faces["b"][0].values()), list(faces["a"][0].values()))
        assert found.gap.p == pytest.approx(expected.pvalue)


def test_trainings_and_faces_both_widen_the_interval() -> None:
    """By hand: the variances of the mean over 3 and 3 trainings, and over the differences of 50 faces, add up."""
    seeds = {"a": (4.0, 4.1, 4.2), "b": (4.5, 4.7, 4.6)}
    trainings = {row: [drawn_faces(50, mean, 10 * n + seed) for seed, mean in enumerate(means)]
                 for n, (row, means) in enumerate(seeds.items())}  # fmt: skip
    gap = gap_between(*(Row(seeds[row], trainings[row]) for row in "ab"))
    assert gap is not None
    assert gap.over == "3 and 3 trainings; 50 faces, paired"
    means = {row: np.mean([list(one.values()) for one in faces], axis=0) for row, faces in trainings.items()}
    of_faces = np.var(means["b"] - means["a"], ddof=1) / 50
    total = 0.01 / 3 + 0.01 / 3 + of_faces
    degrees = total**2 / ((0.01 / 3) ** 2 / 2 + (0.01 / 3) ** 2 / 2 + of_faces**2 / 49)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(total)
    np.testing.assert_allclose([gap.mean, gap.low, gap.high], [0.5, 0.5 - half, 0.5 + half])
    assert gap.p == pytest.approx(2 * stats.t.sf(0.5 / np.sqrt(total), degrees))


@pytest.mark.parametrize(("b", "p"), [(4.0, 1.0), (4.1, 0.0)])
def test_trainings_that_all_give_one_number(b: float, p: float) -> None:
    gap = gap_between(Row((4.0, 4.0, 4.0)), Row((b, b, b)))
    assert gap is not None
    assert (gap.p, gap.low) == (p, gap.high)


def test_shares_of_failed_faces_have_no_faces_and_are_compared_by_trainings() -> None:
    none: tuple[dict[str, float], ...] = ({}, {}, {})
    gap = gap_between(Row((0.01, 0.02, 0.01), none), Row((0.05, 0.06, 0.04), none))
    assert gap is not None
    assert gap.over == "3 and 3 trainings"
    assert gap.p < 0.05


def test_folds_are_no_repetitions_their_faces_are_paired() -> None:
    parts = [{f"{fold}/{face}": e for face, e in drawn_faces(150, 0.05 * row, 3 * fold + row).items()}
             for row in (0, 1) for fold in range(3)]  # fmt: skip
    gap = gap_between(Row((4.0, 4.2, 3.8), parts[:3]), Row((4.1, 4.2, 3.9), parts[3:]))
    assert gap is not None
    assert gap.over == "450 faces, paired, of all folds"
    pairs = [(own[face], other[face]) for own, other in zip(parts[:3], parts[3:], strict=True) for face in own]
    expected = stats.ttest_rel([b for _, b in pairs], [a for a, _ in pairs])
    assert gap.p == pytest.approx(expected.pvalue)


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, then 0.03 x 2 may not fall below 0.06, and 0.04 x 1 neither."""
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
    assert holm([]).shape == (0,)


def test_more_claims_in_a_table_need_stronger_tests() -> None:
    """The same rows: p of 0.03 decides alone, and not as one of three claims."""
    seeds = {"a": (3.0, 3.2, 3.4), "b": (3.6, 3.8, 4.1), "c": (3.1, 3.2, 3.4)}
    alone = judged([Claim("a beats b", "a", "b", "NME, %")], seeds)
    three = [Claim("a beats b", "a", "b", "NME, %"), *(Claim(f"{n}", "a", "c", "NME, %") for n in range(2))]
    assert [found.word for found in alone] == ["holds"]
    assert judged(three, seeds)[0].word == "undecided"


@pytest.mark.parametrize(
    ("b", "word"), [(3.94, "holds"), (2.4, "does not hold"), (232.0, "does not hold"), (1.6, "does not hold")]
)
def test_a_ratio_is_compared_with_the_ratio(b: float, word: str) -> None:
    (found,) = judged([Claim("a is 1.97 times as fast", "a", "b", "ms", ratio=1.97)], {"a": (2.0,), "b": (b,)})
    assert found.word == word
    assert "published 1.97" in found.reason


@pytest.mark.parametrize(("b", "word"), [(2.5, "holds"), (1.5, "does not hold"), (2.1, "undecided")])
def test_sizes_and_times_need_a_clear_gap(b: float, word: str) -> None:
    (found,) = judged([Claim("a is faster", "a", "b", "ms")], {"a": (2.0,), "b": (b,)})
    assert found.word == word


def test_a_row_that_has_not_learned_gives_no_verdict() -> None:
    """Bounds of 10 %, and for b of the error of ``esr``, which is 8 %."""
    seeds = {"a": (0.03, 0.031, 0.032), "b": (0.09, 0.091, 0.092), "esr": (0.08, 0.08, 0.08)}
    claims = [Claim("a beats b", "a", "b", "NME, %"), Claim("a beats esr", "a", "esr", "NME, %")]
    learned = Learned("nmse/all/none", 0.10, below={"b": "esr"})
    found = judged(claims, seeds, learned=learned)
    assert [verdict.word for verdict in found] == ["not trained enough", "holds"]
    assert found[0].reason == "b has an error of 9.10 %; a verdict needs at most 8.00 %"
    assert judged(claims, seeds, learned=Learned("nmse/all/none", 0.10))[0].word == "holds"
    assert judged(claims, seeds, learned=Learned("nmse/all/none", 0.05))[0].word == "not trained enough"
