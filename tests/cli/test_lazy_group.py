"""Commands are imported when they are used; the help of the group shows what each one says."""

import subprocess
import sys

import pytest
from typer.main import get_command

from openengagement.cli.lazy_group import COMMANDS
from openengagement.cli.main import main
from support.cases import cases

HEAVY = ("polars", "numpy", "sqlalchemy", "cryptography")
PROBE = """
import sys
from openengagement.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("imported:", *sorted(set(sys.modules) & {*%r}))
"""


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_version_and_help_import_no_command(arguments):
    command = [sys.executable, "-c", PROBE % (HEAVY,), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "imported:\n" in done.stdout


@cases("name", COMMANDS)
def test_the_list_says_what_the_command_says(name):
    command = get_command(main).commands[name]
    first = " ".join(command.help.partition("\n\n")[0].split())
    assert COMMANDS[name].help == first
    assert command.name == name


def test_an_unknown_command_is_refused(run):
    assert "No such command" in run("serv").err
