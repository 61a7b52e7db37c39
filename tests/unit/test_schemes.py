"""Finding schemes; mirror orders against published ones."""

from pathlib import Path

import pytest

from canthus.errors import ConfigError
from canthus.schemes import IBUG_68, WFLW_98, WILD_21, find_scheme, guess_scheme


def test_find_scheme_suggests_the_nearest() -> None:
    assert find_scheme("wflw_98") is WFLW_98
    with pytest.raises(ConfigError, match="Did you mean 'ibug_68'"):
        find_scheme("ibug68")


@pytest.mark.parametrize(
    ("count", "name"), [(98, "wflw_98"), (68, "ibug_68"), (29, "cofw_29"), (19, "aflw_19"), (5, "five")]
)
def test_guess_scheme_by_number_of_points(count: int, name: str) -> None:
    assert guess_scheme(count).name == name


def test_guess_scheme_refuses_to_choose() -> None:
    with pytest.raises(ConfigError, match=r"21 points may be aflw_21 or wild_21"):
        guess_scheme(21)
    with pytest.raises(ConfigError, match=r"No scheme has 7 points.*ibug_68 \(68\)"):
        guess_scheme(7)


def test_ibug_68_runs_from_the_subjects_right_to_left() -> None:
    """Order of 300-W, Sagonas et al. (2013), figure 1."""
    assert IBUG_68.mirror[:17] == tuple(range(16, -1, -1))
    assert IBUG_68.mirror[36:42] == (45, 44, 43, 42, 47, 46)
    assert IBUG_68.mirror[60:] == (64, 63, 62, 61, 60, 67, 66, 65)


@pytest.mark.real_data
def test_wild_21_mirrors_as_its_authors_say(shared_data: Path) -> None:
    order = (shared_data / "wild21" / "Mirror21.txt").read_text(encoding="utf-8").replace(",", " ").split()
    assert tuple(int(index) for index in order) == WILD_21.mirror
