"""The examples of the package's README run, and have the values that their comments show."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.server import Server
from support.waiting import PATIENCE_S

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


COMMANDS = next(
    block
    for block in re.findall(r"^```sh\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    if "oe send" in block
)


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


@pytest.mark.heavy
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


@pytest.mark.heavy
def test_the_commands(own_server, world, tmp_path):
    """Each line, with the files that it names."""
    app = world.main
    environment = {
        **os.environ,
        "ENGAGEMENT_API_URL": own_server.url,
        "CONSUMER_KEY": app.consumer_key,
        "CONSUMER_SECRET": app.consumer_secret,
        "ACCESS_TOKEN": app.access_token,
        "ACCESS_TOKEN_SECRET": app.access_token_secret,
        "PLATFORM_KEY": world.platform_key,
    }
    (tmp_path / "tweets.js").write_text('window.YTD.tweets.part0 = [{"tweet": {"id": "111"}}]')
    (tmp_path / "ids.csv").write_text("tweet_id\n111\n112\n")
    (tmp_path / "list.tsv").write_text("111\tx\n112\ty\n")
    for day in (27, 28):
        event = f'{{"tweet_id": "111", "type": "replies", "at": "2024-05-{day}T09:15:00Z"}}\n'
        (tmp_path / f"events-2026-11-{day}.ndjson").write_text(event)
    (tmp_path / "accounts.ndjson").write_text('{"id": 77, "screen_name": "frank"}\n')
    (tmp_path / "tweets.ndjson").write_text('{"id": 5002, "author_id": 77}\n')
    command = f'oe() {{ {sys.executable} -m openengagement_client "$@"; }}\n'
    for line in COMMANDS.splitlines():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command + line],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, (line, done.stderr)
        assert bool(done.stdout) != ("-o " in line), line
    written = sorted(each.name for each in tmp_path.iterdir() if each.name.startswith("days"))
    assert written == ["days.parquet", "days.svg"]
