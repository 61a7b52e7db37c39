"""Scheme files: what is read, what is refused and with which advice, and schemes from the names of points."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canthus.errors import ConfigError
from canthus.scheme_files import groups_of_names, mirrored_names, named_scheme, read_scheme, scheme_toml
from canthus.schemes import IBUG_68, SCHEMES, FaceBox, Scheme, carried_scheme, find_scheme, own_scheme

FOUR = """
name = "four"
count = 4
mirror = [[0, 1]]
eye_corners = [0, 1]

[groups]
right_eye = [0]
left_eye = [1]
nose = [2, 3]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "four.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("mirror", ["[[0, 1]]", "[1, 0, 2, 3]", "[[1, 0]]"])
def test_mirror_is_a_list_or_pairs(tmp_path: Path, mirror: str) -> None:
    scheme = read_scheme(write(tmp_path, FOUR.replace("[[0, 1]]", mirror)))
    assert scheme.mirror == (1, 0, 2, 3)
    assert scheme.groups == {"right_eye": (0,), "left_eye": (1,), "nose": (2, 3)}
    assert find_scheme(str(tmp_path / "four.toml")) == scheme


def test_mirror_and_groups_follow_from_names(tmp_path: Path) -> None:
    names = '["eye_outer_R", "eye_outer_L", "noseTip", "chin"]'
    scheme = read_scheme(write(tmp_path, f'name = "four"\ncount = 4\nnames = {names}\n'))
    assert scheme.mirror == (1, 0, 2, 3)
    assert scheme.groups == {"right_eye": (0,), "left_eye": (1,), "nose": (2,), "jaw": (3,)}


def test_without_groups_all_points_are_one(tmp_path: Path) -> None:
    scheme = read_scheme(write(tmp_path, 'name = "two"\ncount = 2\nmirror = []\n'))
    assert (scheme.mirror, scheme.groups, scheme.eye_corners) == ((0, 1), {"points": (0, 1)}, ())


WRONG = {
    "count = 4": {
        "count = 0": "count is 0; expected 1 to 1000",
        'count = "4"': "'count' must be a whole number",
        "count = 5": "no group holds point 4; add them to one, such as other = [4]",
        "count = 4\npoints = 4": "Unknown field 'points'",
    },
    "mirror = [[0, 1]]": {
        "mirror = [1, 0, 2]": "mirror lists 3 points, expected the mirror image of each of 4",
        "mirror = [1, 2, 0, 3]": "mirror maps point 0 to 1, but 1 to 2; expected .* mirror[1] = 0, or mirror[0] = 0",
        "mirror = [[0, 1], [1, 2]]": "point 1 in two pairs",
        "mirror = [[0, 4]]": "expected pairs of points from 0 to 3",
        "mirror = [[0, 1], 2]": "expected one of both, of whole numbers",
        "mirror = [[0, 1, 2]]": "expected pairs of points from 0 to 3",
        "mirror = [1, 0, 2, 4]": "mirror names point 4, expected 0 to 3; points are counted from 0",
        "": "mirror is missing.*'canthus schemes new' proposes them",
    },
    "nose = [2, 3]": {
        "nose = [2]": "no group holds point 3; add them to one, such as other = [3]",
        "nose = [1, 2, 3]": "point 1 is in the groups 'left_eye' and 'nose'",
        "nose = [2, 3, 3]": "point 3 is twice in 'nose'",
        "nose = [2, 3, 4]": "the group 'nose' names point 4, expected 0 to 3; points are counted from 0",
        "nose = [2, 3]\n[face_box]\npart = 'eye'": "Unknown part of four 'eye'.*Did you mean 'eyes'",
        "nose = [2, 3]\n[face_box]\nsize = [0, 1]": "size.0 is 0; expected above 0",
        "nose = [2, 3]\n[face_box]\nshift = [1]": "two numbers each",
    },
    "eye_corners = [0, 1]": {
        "eye_corners = [0, 2]": "mirror maps 0 to 1",
        "eye_corners = [2, 2]": "expected the outer corner",
        "eye_corners = [0]": "eye_corners lists 1 points, expected 2",
        "pupils = [[0], [2]]": r"not mirror images; expected \[1\] for the left pupil",
        "pupils = [[0], []]": "pupils must be two lists",
        'names = ["a", "b", "c"]': "names lists 3 names, expected 4",
        'names = ["a", "b", "c", "b"]': "points 1, 3 are all called 'b'",
        "lids = [[[0, 2], [0, 3]], [[1, 2], [1, 2]]]": "must begin in one corner",
        "lids = [[[0, 2], [0, 2]]]": "two pairs",
    },
    'name = "four"': {
        'name = "a/b"': "name of a scheme is 'a/b'",
        'name = "ibug_68"': "belongs to a scheme of canthus; give the scheme another name",
        "name = four": "not valid TOML",
    },
}


@pytest.mark.parametrize(
    ("before", "after", "message"), [(old, new, text) for old, of in WRONG.items() for new, text in of.items()]
)
def test_wrong_files_are_refused_with_advice(tmp_path: Path, before: str, after: str, message: str) -> None:
    path = write(tmp_path, FOUR.replace(before, after))
    with pytest.raises(ConfigError, match=message.replace("mirror[", r"mirror\[").replace("= [", r"= \[")) as error:
        find_scheme(str(path))
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value).replace(str(path), "")


def test_missing_files_and_unknown_names_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: the scheme file cannot be read"):
        find_scheme(str(tmp_path / "gone.toml"))
    with pytest.raises(ConfigError, match="Did you mean 'ibug_68'.*described by a scheme file"):
        find_scheme("ibug68")


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_of_canthus_are_written_and_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, scheme_toml(SCHEMES[name], comments=["A comment."]))
    assert read_scheme(path) == SCHEMES[name]


@st.composite
def fields(draw: st.DrawFn) -> tuple[Any, ...]:
    """Arguments of a ``Scheme``; the test makes it, as type checks draw random numbers, which strategies must not."""
    count = draw(st.integers(1, 12))
    order = draw(st.permutations(range(count)))
    swapped = draw(st.integers(0, count // 2))
    mirror = list(range(count))
    for a, b in zip(order[0 : 2 * swapped : 2], order[1 : 2 * swapped : 2], strict=True):
        mirror[a], mirror[b] = b, a
    home = draw(st.lists(st.text(min_size=1, max_size=4), min_size=count, max_size=count))
    groups = {name: tuple(i for i in range(count) if home[i] == name) for name in dict.fromkeys(home)}
    names = draw(st.just(()) | st.lists(st.text(max_size=5), min_size=count, max_size=count, unique=True).map(tuple))
    corners = order[:2] if swapped else ()
    box = draw(st.sampled_from([None, (), (home[0], (0.0, 0.25), (1.5, 2.0))]))
    values = {"name": "mine", "count": count, "mirror": tuple(mirror), "groups": groups}
    return values | {"eye_corners": tuple(corners), "names": names}, box


@given(fields())
def test_what_is_written_is_read(fields: tuple[Any, ...]) -> None:
    values, box = fields
    scheme = Scheme(**values, face_box=None if box is None else FaceBox(*box))
    path = Path("mine.toml")
    with pytest.MonkeyPatch.context() as patch:
        text = scheme_toml(scheme).encode("utf-8", "surrogatepass")
        patch.setattr(Path, "read_bytes", lambda self: text)
        assert read_scheme(path) == scheme


def test_names_give_pairs_groups_and_eyes() -> None:
    names = ["LeftEyeOuter", "left_eye_inner", "r-eye inner", "RIGHT EYE OUTER", "nose tip", "LMouth", "RMouth", "7"]
    assert mirrored_names(names) == [(0, 3), (5, 6)]  # 'left eye inner' and 'r eye inner' differ in more than the side
    names[2] = "right eye inner"
    scheme = named_scheme("mine", names)
    assert scheme.mirror == (3, 2, 1, 0, 4, 6, 5, 7)
    assert scheme.eye_corners == (3, 0)
    assert scheme.groups["mouth"] == (5, 6)
    assert groups_of_names(["l_pupil", "left_eyebrow", "hat"]) == {"pupils": [0], "left_brow": [1], "other": [2]}


def test_named_scheme_takes_given_pairs_and_refuses_to_guess() -> None:
    assert named_scheme("m", ["a", "b", "b"], [[0, 2]]).names == ("a", "b", "b#2")
    assert named_scheme("m", ["nose"]).mirror == (0,)
    with pytest.raises(ConfigError, match="do not tell left from right"):
        named_scheme("m", ["a", "b"])


def test_files_carry_own_schemes_only() -> None:
    mine = named_scheme("mine", ["left eye", "right eye"])
    assert own_scheme(IBUG_68) is None
    assert own_scheme(mine) is mine
    assert carried_scheme("mine", mine) is mine
    assert carried_scheme("ibug_68", None) is IBUG_68
    with pytest.raises(ConfigError, match="expected one name"):
        carried_scheme("other", mine)


def test_face_boxes_are_hulls_unless_the_scheme_says_more() -> None:
    points = np.array([[0, 0], [10, 0], [5, 5], [np.nan, np.nan]], np.float32)
    hull = named_scheme("m", ["left eye", "right eye", "nose", "hat"])
    assert hull.face_boxes(points).tolist() == [0.5, 0.5, 10.5, 5.5]
    eyes = Scheme("m", 4, hull.mirror, hull.groups, face_box=FaceBox("eyes", (0.0, 0.5), (2.0, 3.0)))
    assert eyes.face_boxes(points).tolist() == [-4.5, -9.5, 15.5, 20.5]
    shifted = Scheme("m", 4, hull.mirror, hull.groups, face_box=FaceBox(shift=(1.0, 0.0)))
    assert shifted.face_boxes(points[None])[0].tolist() == [10.5, 0.5, 20.5, 5.5]
