"""Pages of the documentation: their code, and commands that run as a page has them."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from support.ports import free_port, is_free
from support.waiting import PATIENCE_S, wait_for

ROOT = Path(__file__).parents[2]
_PORT = re.compile(r"\b(8080|9464)\b")  # of the API, and of its metrics
_SERVE = re.compile(r"^(openengagement (?:--data \S+ )?(?:serve|sandbox))\b", re.MULTILINE)
KEPT = ("PATH", "HOME", "PYTHONPATH")  # no settings of whoever runs the tests


def read_section(page: str, title: str, end: str) -> str:
    """Return the text of a page from one line to another."""
    _, found, rest = (ROOT / page).read_text().partition(f"\n{title}\n")
    assert found, title
    return rest.partition(f"\n{end}\n")[0]


def read_code(text: str, kind: str) -> list[str]:
    """Return the blocks of code of this kind, without their indentation."""
    blocks = re.findall(rf"^( *)```{kind}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in blocks]


class Shell:
    """Runs commands in a folder. Servers listen on ports of their own instead of the pages'."""

    def __init__(self, folder: Path) -> None:
        (folder / ".venv").symlink_to(sys.prefix)
        self.folder = folder
        self.port = free_port()
        self._ports = {"8080": str(self.port), "9464": str(free_port())}
        self.url = f"http://127.0.0.1:{self.port}"
        self._started: list[subprocess.Popen[str]] = []

    def start(self, commands: str) -> subprocess.Popen[str]:
        """Start commands; the first that fails ends them."""
        # At once: a port that has replaced one of them may contain the other.
        commands = _PORT.sub(lambda found: self._ports[found[0]], commands)
        commands = _SERVE.sub(rf"\1 --port {self.port}", commands)
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        kept["PATH"] = f"{sys.prefix}/bin:{kept['PATH']}"
        process = subprocess.Popen(
            ["bash", "-e", "-c", commands],
            cwd=self.folder,
            env={**kept, "COLUMNS": "80"},
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._started.append(process)
        return process

    def run(self, *blocks: str) -> str:
        """Run blocks of commands in one shell, so that variables stay. Return what they print."""
        commands = "\n".join(blocks)
        process = self.start(commands)
        printed, _ = process.communicate(timeout=PATIENCE_S * len(commands.splitlines()))
        assert process.returncode == 0, f"{commands}: {process.returncode}: {printed}"
        return printed

    def serve(self, commands: str) -> subprocess.Popen[str]:
        """Start commands of which the last one serves. Wait until it answers."""
        process = self.start(commands)
        wait_for(
            lambda: process.poll() is not None or not is_free(self.port),
            patience_s=PATIENCE_S * len(commands.splitlines()),
        )
        assert process.poll() is None, "it ended"
        return process

    def stop(self, process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to everything that the commands have started, and wait for the end."""
        if process.poll() is None:
            os.killpg(process.pid, number)
        process.communicate(timeout=PATIENCE_S)
        wait_for(lambda: is_free(self.port))

    def close(self) -> None:
        """Stop what still runs."""
        for process in self._started:
            if process.poll() is None:
                self.stop(process)
