"""Examples that stand outside the pages of the API: the three-legged flow, log lines, targets."""

import json
import re
from contextlib import redirect_stdout
from io import StringIO

import pytest
import requests

from openengagement.portal.series import LABELS, RATE
from support.cli import call_command
from support.documented import ROOT, read_code, read_section
from support.person import Person
from support.waiting import PATIENCE_S, wait_for

FLOW = ("### Apps that act for others", "### Pages for developers and managers")
PASSWORD = "a mooring buoy, seven geese and 40 lanterns"


def test_the_meaning_of_every_metric():
    """The page for readers names each metric as the pages of the server do."""
    page = (ROOT / "docs" / "engagement-metrics.md").read_text()
    described = re.findall(r"^\| ([^|`]+) \| `([a-z_]+)` \|", page, re.MULTILINE)
    assert {name: label for label, name in described} == {
        name: label for name, label in LABELS.items() if name != RATE
    }


def test_every_target_of_make_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        name
        for page in pages
        for name in re.findall(r"(?:`|^|\()make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert named - targets == set()
    assert "docs" in targets


@pytest.mark.heavy
def test_the_three_legged_flow_of_the_readme(shell):
    text = read_section("README.md", *FLOW)
    (commands,), (program,) = read_code(text, "sh"), read_code(text, "python")
    data = shell.folder / "data"
    call_command(data, "account", "add", "alice")
    call_command(data, "app", "add", "My dashboard", "--owner", "alice")
    (shell.folder / "password").write_text(f"{PASSWORD}\n")
    without_terminal = "account password bob --stdin <password"
    added = shell.run(commands.replace("account password bob", without_terminal))
    key, secret = re.search(r"consumer_key +(\S+)\nconsumer_secret +(\S+)", added).groups()
    shell.serve("openengagement serve")
    printed = StringIO()

    def approve(_):
        with Person(shell.url, "bob", PASSWORD) as bob:
            return bob.authorize(printed.getvalue().strip())

    with redirect_stdout(printed):
        names = {"KEY": key, "SECRET": secret, "input": approve}
        exec(program.replace(":8080", f":{shell.port}"), names)

    assert "'screen_name': 'bob'" in printed.getvalue()


def example_of(page, event):
    """Return the names of the fields of a log line on a page."""
    lines = read_code((ROOT / "docs" / page).read_text(), "json")
    return [*next(line for line in map(json.loads, lines) if line["event"] == event)]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("page", "event", "settings"),
    [
        ("operating/logs.md", "request", ""),
        ("running-the-sandbox.md", "call_refused", "OPENENGAGEMENT_LOG_REFUSALS=true"),
    ],
)
def test_log_lines_have_the_fields_of_the_page(shell, page, event, settings):
    log = shell.folder / "log"
    shell.serve(f"export {settings}\nopenengagement serve 2>{log.name}")
    refused = requests.post(f"{shell.url}/insights/engagement/totals", timeout=PATIENCE_S)
    assert refused.status_code == 401

    def found():
        lines = (json.loads(line) for line in log.read_text().splitlines() if line[-1:] == "}")
        return [line for line in lines if line["event"] == event]

    (line,) = wait_for(found)
    assert [*line] == example_of(page, event)
