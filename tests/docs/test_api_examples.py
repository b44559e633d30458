"""Every request of the API's pages is sent to a server, and its answer is the one on the page.

The examples happen at one fixed time, so the clock of the server is shifted to it.
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
from support.api_document import answers_checked
from support.api_examples import API_PAGES, DEMO_DATA, Examples, read_blocks
from support.cli import call_command
from support.server import Server

NOW = "2026-11-27T12:20:00Z"


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
    assert NOW in API_PAGES[0].read_text()
    data = tmp_path / "data"
    world = cast("Any", SimpleNamespace(folder=data, secrets=[]))
    examples = Examples(shift_s=shift_s)
    examples.prepare(DEMO_DATA, lambda *arguments: call_command(data, *arguments))
    with Server(world) as server, answers_checked():
        examples.use(server)
        for page in (DEMO_DATA, *API_PAGES[:-1]):
            examples.run(iter(read_blocks(page)))
    text = "".join(page.read_text() for page in API_PAGES)
    assert examples.problems == []
    assert examples.compared == len(re.findall(r"^HTTP/1\.1 ", text, re.MULTILINE))
