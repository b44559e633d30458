"""The README's way from nothing to an answer: each command as it stands, in a folder of its own."""

import pytest

from support.documented import read_code, read_section

TITLE = "## Your own platform, from nothing to an answer"
END = "### Apps that act for others"


@pytest.mark.heavy
def test_the_walk_through(shell):
    text = read_section("README.md", TITLE, END)
    first, *others = read_code(text, "sh")
    shell.serve(first)

    printed = shell.run(*others)

    for answer in [*read_code(text, "text"), *read_code(text, "json")]:
        assert answer.strip() in printed
