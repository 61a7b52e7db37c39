"""Splits by group."""

from hashlib import sha1
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canthus.data.splits import Fold, fold_of, parse_fold, split_by_group
from canthus.errors import ConfigError
from canthus.geometry import hull_box
from canthus.schemes import FIVE
from canthus.types import Annotation


def _faces(groups: list[str]) -> list[Annotation]:
    points = np.arange(10, dtype=np.float32).reshape(5, 2)
    return [
        Annotation(str(i), Path("a"), points, FIVE, hull_box(points), np.ones(5, np.bool_), group)
        for i, group in enumerate(groups)
    ]


GROUPS = st.lists(st.text(max_size=3), max_size=40)


@given(GROUPS, st.integers(1, 12))
def test_every_face_lands_on_one_side_with_its_group(groups: list[str], parts: int) -> None:
    fit, validation = split_by_group(_faces(groups), parts=parts)
    assert sorted(int(face.key) for face in fit + validation) == list(range(len(groups)))
    assert not {face.group for face in fit} & {face.group for face in validation}


@given(GROUPS, st.integers(2, 6))
def test_every_face_is_validated_once(groups: list[str], folds: int) -> None:
    faces = _faces(groups)
    numbers = range(1, folds + 1)
    pairs = [tuple(Fold(number, folds, part).faces(faces) for part in ("train", "test")) for number in numbers]
    assert sorted(int(face.key) for _, validation in pairs for face in validation) == list(range(len(groups)))
    for fit, validation in pairs:
        assert len(fit) + len(validation) == len(groups)
        assert not {face.group for face in fit} & {face.group for face in validation}


@given(GROUPS, st.randoms())
def test_side_depends_on_the_group_alone(groups: list[str], random: object) -> None:
    kept = groups[::2]
    both = {face.group for face in split_by_group(_faces(groups))[1]}
    some = {face.group for face in split_by_group(_faces(kept))[1]}
    assert some == both & set(kept)


def test_fold_is_the_sha1_of_the_name() -> None:
    assert fold_of("photo/1", 10) == int(sha1(b"photo/1").hexdigest(), 16) % 10
    sizes = np.bincount([fold_of(f"photo/{i}", 10) for i in range(5000)], minlength=10)
    assert sizes.min() > 400  # a tenth is 500, its standard deviation 21


def test_wrong_numbers() -> None:
    with pytest.raises(ValueError, match="at least one fold, found 0"):
        fold_of("a", 0)


def test_names_of_folds() -> None:
    assert parse_fold("fold-2-of-3-test") == Fold(2, 3, "test")
    assert parse_fold("fit") is None


@pytest.mark.parametrize("name", ["fold-0-of-3-test", "fold-4-of-3-test", "fold-1-of-1-train", "fold-1-of-3", "fold-1"])
def test_names_that_only_begin_like_a_fold_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="fold-1-of-3-train"):
        parse_fold(name)


@given(GROUPS, st.sampled_from([2, 3, 5, 10]))
def test_fit_and_validation_of_a_fold_divide_its_training(groups: list[str], folds: int) -> None:
    faces = _faces(groups)
    train, fit, validation = (Fold(1, folds, part).faces(faces) for part in ("train", "fit", "validation"))
    assert sorted(face.key for face in fit + validation) == sorted(face.key for face in train)
    assert not {face.group for face in fit} & {face.group for face in validation}


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_every_fold_has_a_tenth_for_validation(folds: int) -> None:
    faces = _faces([f"photo/{i}" for i in range(2000)])
    for number in range(1, folds + 1):
        train, validation = (len(Fold(number, folds, part).faces(faces)) for part in ("train", "validation"))
        assert 0.06 < validation / train < 0.14  # three deviations of a tenth of a thousand faces
