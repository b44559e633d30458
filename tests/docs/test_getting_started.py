"""The pages of docs/start: their commands as they stand, from top to bottom, with their answers."""

import re

import pytest

from support.documented import ROOT, read_code

PAGES = sorted((ROOT / "docs" / "start").glob("*.md"))
_SERVES = re.compile(r"^openengagement (?:serve|sandbox)\b", re.MULTILINE)
_INSTALLS = re.compile(r"^pip install .*\n", re.MULTILINE)
_FILE = re.compile(r"\A# (\w+\.py)\n")


@pytest.mark.heavy
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_commands_of_a_page(page, shell):
    text = page.read_text()
    for source in read_code(text, "python"):
        name = _FILE.match(source)
        assert name, "the first line of a program is a comment with its name"
        (shell.folder / name[1]).write_text(source)
    blocks = [_INSTALLS.sub("", block) for block in read_code(text, "sh")]
    (serve,) = [block for block in blocks if _SERVES.search(block)]
    shell.serve(serve)

    printed = shell.run(*(block for block in blocks if block != serve))

    for answer in [*read_code(text, "text"), *read_code(text, "json")]:
        for line in answer.splitlines():
            assert line.strip() in printed
