"""The examples of the package's README run, and have the values that their comments show."""

import ast
import re
from pathlib import Path

import pytest

from support.server import Server

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def own_server(world):
    """The examples change its Tweets."""
    with Server(world) as running:
        yield running


def run_example(source, names):
    """Run an example. Compare each expression that has a comment with the value in it."""
    lines, compared = source.splitlines(), 0
    for statement in ast.parse(source).body:
        code = ast.get_source_segment(source, statement)
        comment = lines[statement.end_lineno - 1].partition("  # ")[2]
        if isinstance(statement, ast.Expr) and comment:
            assert eval(code, names) == ast.literal_eval(comment), code
            compared += 1
        else:
            exec(code, names)
    return compared


def test_the_examples(own_server, world, tmp_path):
    names = {
        "URL": own_server.url,
        "CONSUMER_KEY": world.main.consumer_key,
        "CONSUMER_SECRET": world.main.consumer_secret,
        "ACCESS_TOKEN": world.main.access_token,
        "ACCESS_TOKEN_SECRET": world.main.access_token_secret,
        "PLATFORM_KEY": world.platform_key,
        "FOLDER": tmp_path,
    }
    try:
        compared = sum(run_example(source, names) for source in EXAMPLES)
    finally:
        for name in ("client", "patient", "platform"):
            if name in names:
                names[name].close()
    assert compared > 15
