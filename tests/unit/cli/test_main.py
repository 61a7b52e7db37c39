"""The table of commands agrees with the commands."""

import pytest

from canthus.cli.main import COMMANDS, load_command


@pytest.mark.parametrize("name", COMMANDS)
def test_summary_is_the_first_line_of_the_command_help(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert command.help.split("\n\n")[0] == COMMANDS[name]
