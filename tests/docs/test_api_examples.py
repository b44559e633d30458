"""Every request of docs/api.md is sent to a server, and its answer is the one on the page.

The page's examples happen at one fixed time, so the clock of the server is shifted to it.
"""

import calendar
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from openengagement.clock import SystemClock
from support.api_examples import API, Examples, read_blocks
from support.cli import call_command
from support.server import Server

NOW = "2026-11-27T12:20:00Z"
DEMO_DATA = "## 9 "


@pytest.fixture
def shift_s(monkeypatch):
    """How far the server's clock is ahead of ours; commands in this process follow it too."""
    now_s = calendar.timegm(time.strptime(NOW, "%Y-%m-%dT%H:%M:%SZ"))
    shift_s = now_s - time.time()
    shifted = str(Path(__file__).with_name("shifted_clock"))
    monkeypatch.setenv("PYTHONPATH", shifted, prepend=os.pathsep)
    monkeypatch.setenv("SHIFTED_CLOCK_S", str(shift_s))
    monkeypatch.setattr(SystemClock, "now_s", lambda _: time.time() + shift_s)
    return shift_s


@pytest.mark.heavy
def test_examples(shift_s, tmp_path):
    text = API.read_text()
    assert NOW in text
    page, _, demo = text.partition(f"\n{DEMO_DATA}")
    demo_line = page.count("\n")
    data = tmp_path / "data"
    world = cast("Any", SimpleNamespace(folder=data, secrets=[]))
    examples = Examples(shift_s=shift_s)
    examples.prepare(demo, lambda *arguments: call_command(data, *arguments))
    with Server(world) as server:
        examples.use(server)
        examples.run(iter(read_blocks("\n" * demo_line + demo)))
        examples.run(iter(read_blocks(page)))
    assert examples.problems == []
    assert examples.compared == len(re.findall(r"^HTTP/1\.1 ", text, re.MULTILINE))
