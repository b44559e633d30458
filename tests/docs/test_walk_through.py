"""The README's way from nothing to an answer: each command as it stands, in a folder of its own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.ports import free_port, is_free
from support.waiting import PATIENCE_S, wait_for

README = Path(__file__).parents[2] / "README.md"
SECTION = "## Your own platform, from nothing to an answer\n"
END = "### Apps that act for others\n"
PORT, SERVE = "8080", "openengagement serve"


def blocks(kind):
    text = README.read_text().partition(SECTION)[2].partition(END)[0]
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def shell(tmp_path):
    """Run commands in an empty folder that has only .venv, with a port that is free."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    port = str(free_port())
    started = []

    def run(commands):
        commands = commands.replace(SERVE, f"{SERVE} --port {port}").replace(PORT, port)
        started.append(
            subprocess.Popen(
                ["bash", "-e", "-c", commands],
                cwd=tmp_path,
                env={**kept, "COLUMNS": "80"},
                stdout=subprocess.PIPE,
                text=True,
                process_group=0,
            )
        )
        return started[-1]

    run.port = int(port)
    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=PATIENCE_S)


@pytest.mark.heavy
def test_the_walk_through(shell):
    first, *others = blocks("sh")
    shell(first)  # its last command serves
    wait_for(lambda: not is_free(shell.port))

    # One shell, as in the second terminal: later blocks use the variables of earlier ones.
    printed, _ = shell("\n".join(others)).communicate(timeout=PATIENCE_S)

    for answer in [*blocks("text"), *blocks("json")]:
        assert answer.strip() in printed
