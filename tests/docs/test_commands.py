"""Every command line of the documentation names commands and options that exist."""

import re
import subprocess

import typer

from openengagement.cli.main import main
from openengagement_client.command_line.main import app
from support.cases import cases
from support.documented import ROOT

PROGRAMS = {"openengagement": typer.main.get_command(main), "oe": typer.main.get_command(app)}
_CODE = re.compile(r"^ *```(?:sh|yaml|)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`((?:openengagement|oe) [^`]+)`")
_CALL = re.compile(r"(?:(?<=^)|(?<=[\s/(]))(openengagement|oe) +([^#;&>\n)]*)", re.MULTILINE)
# Commands with our name as an argument.
_OTHER = re.compile(r"^(?:pip|useradd|docker run) .*$", re.MULTILINE)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# Code of other programs in the same folders, and pages that tell what was.
LEFT_OUT = ("tests/", "CHANGELOG.md", "docs/decisions/")


def pages():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.split() if not name.startswith(LEFT_OUT)]
    return [name for name in names if (ROOT / name).exists()]


def calls(text):
    """Yield the program and the rest of each command line in blocks and spans of code."""
    for code in [*_CODE.findall(text), *(" ".join(span.split()) for span in _SPAN.findall(text))]:
        joined = re.sub(r"\\\n\s*|\n\s+(?=\[)", " ", code)  # a continued line, or a synopsis
        yield from _CALL.findall(_OTHER.sub("", joined))


def problems(program, rest):
    """Yield what a command line names that does not exist."""
    commands = [PROGRAMS[program]]
    words = re.sub(r" \| .*", "", rest).replace("[", " ").replace("]", " ").split()
    known = {option for each in commands for option in options(each)}
    for word in words:
        groups = [each for each in commands if getattr(each, "commands", None)]
        if not groups or word.startswith("-"):
            continue
        found = [each.commands.get(name) for each in groups for name in word.split("|")]
        if all(found):
            commands = found
            known |= {option for each in commands for option in options(each)}
        elif not is_value(word, words):
            yield f"{program} {rest}: no command {word}"
            return
    named = set(_OPTION.findall(" ".join(words)))
    yield from (f"{program} {rest}: no option {each}" for each in named - known)


def options(command):
    shared = {"--help", "--json", "--install-completion", "--show-completion"}
    return shared | {
        option for each in command.params for option in (*each.opts, *each.secondary_opts)
    }


def is_value(word, words):
    """Whether a word follows an option, or stands for something."""
    before = words[words.index(word) - 1] if words.index(word) else ""
    return before.startswith("--") or not re.fullmatch(r"[a-z][a-z-]+(?:\|[a-z-]+)*", word)


@cases("name", pages())
def test_commands_and_options_exist(name):
    text = (ROOT / name).read_text()
    found = [problem for call in calls(text) for problem in problems(*call)]
    assert found == []


def test_the_test_finds_mistakes():
    """Otherwise a change of the patterns above could end the checks."""
    assert list(problems("openengagement", "account add alice --id 7")) == []
    assert list(problems("openengagement", "--data new app enable|disable APP_ID")) == []
    assert list(problems("openengagement", "account adopt alice"))
    assert list(problems("oe", "query totals 5 --colour red"))
    counted = sum(len(list(calls((ROOT / name).read_text()))) for name in pages())
    assert counted > 100
