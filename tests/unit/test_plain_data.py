"""Names from files, and plain data that becomes checked values."""

import pytest

from canthus.errors import ConfigError, ModelFileError
from canthus.plain_data import LONGEST_NAME, checked_name

NO_NAMES = {
    "empty": "",
    "this folder": ".",
    "folder above": "..",
    "below another folder": "a/b",
    "above": "../x",
    "absolute": "/etc/x",
    "ends as a folder": "x/",
    "of Windows, above": "..\\x",
    "of Windows, absolute": "C:\\x",
    "of Windows, on a drive": "C:x",
    "terminal escape": "\x1b[31mx",
    "two lines": "a\nb",
    "zero byte": "a\0b",
    "long": "x" * (LONGEST_NAME + 1),
    "long in bytes": "é" * (LONGEST_NAME // 2 + 1),
}


@pytest.mark.parametrize("name", NO_NAMES.values(), ids=NO_NAMES)
def test_a_name_is_one_part_of_a_path(name: str) -> None:
    with pytest.raises(ModelFileError, match="The name of a recipe is .*expected the name of one file") as caught:
        checked_name(name, what="recipe", error=ModelFileError)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2 * LONGEST_NAME + 200


@pytest.mark.parametrize("name", ["pfld_68", "my run 2", "..x", "顔", "a.b", "x" * LONGEST_NAME])
def test_other_names_stay_as_they_are(name: str) -> None:
    assert checked_name(name, what="recipe") == name


def test_a_bad_name_is_an_error_of_settings_by_default() -> None:
    with pytest.raises(ConfigError):
        checked_name("../x", what="run")
