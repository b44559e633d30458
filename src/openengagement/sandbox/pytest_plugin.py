"""A pytest plugin: the fixture `openengagement_sandbox` is a running sandbox.

It is loaded in every run of pytest where the server is installed, so it imports little.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

_OPTIONS: Final = "openengagement_sandbox_options"
_STOP_TIMEOUT_S: Final = 30
# The names of the sample code's `.env`, which clients of the Engagement API read.
_VARIABLES: Final = {
    "ENGAGEMENT_API_URL": "url",
    "CONSUMER_KEY": "consumer_key",
    "CONSUMER_SECRET": "consumer_secret",
    "ACCESS_TOKEN": "access_token",
    "ACCESS_TOKEN_SECRET": "access_token_secret",
    "BEARER_TOKEN": "bearer_token",
    "PLATFORM_KEY": "platform_key",
}


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox. `fields` is the object that `openengagement sandbox --json` prints."""

    url: str
    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - JSON
        return self.fields[name]

    @property
    def environment(self) -> dict[str, str]:
        """The URL and the credentials as environment variables."""
        return {name: self.fields[field] for name, field in _VARIABLES.items()}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting with the options of the command."""
    help_text = "options of `openengagement sandbox` for the fixture openengagement_sandbox"
    parser.addini(_OPTIONS, help_text, type="args", default=["--seed", "1"])


@pytest.fixture(scope="session")
def openengagement_sandbox(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningSandbox]:
    """A sandbox of Open Engagement for the whole run."""
    options = request.config.getini(_OPTIONS)
    with run_sandbox(tmp_path_factory.mktemp("openengagement"), options) as sandbox:
        yield sandbox


@contextmanager
def run_sandbox(folder: Path, options: Sequence[str]) -> Iterator[RunningSandbox]:
    """Run a sandbox with these options of the command, in a data folder, until the block ends.

    Raises:
        RuntimeError: it did not start. The text has the end of its log.
    """
    command = [sys.executable, "-m", "openengagement", "--data", str(folder), "sandbox", "--json"]
    log = folder / "sandbox.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--port", str(_free_port()), *options],
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the sandbox did not start: {log.read_text()[-2000:]}")
        fields = json.loads(line)
        yield RunningSandbox(fields["url"], fields)
    finally:
        _stop(process)


def _free_port() -> int:
    """Return a port that no other program gets within a minute, unless it asks for this number.

    The system keeps the port of a closed connection so long (TIME_WAIT). A server may listen there.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
        with socket.create_connection(address):
            accepted, _ = listener.accept()
            accepted.close()
    return address[1]


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.communicate(timeout=_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
