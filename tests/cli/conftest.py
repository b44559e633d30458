"""Run commands, in this process for speed, and a server on the same folder."""

import json
import shutil
from dataclasses import dataclass

import pytest

from faults.crashing import Crashing
from support.cli import call_command, invoke


@dataclass
class Ended:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    def json(self):
        """Parse standard output, which must be exactly one JSON object."""
        assert self.code == 0, self.err
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        printed = json.loads(self.out)
        assert isinstance(printed, dict)
        return printed


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def run(data, monkeypatch):
    """Run a command on the test's folder: `run("app", "add", ...)`."""
    monkeypatch.delenv("OPENENGAGEMENT_DATA", raising=False)

    def command(*arguments, folder=data):
        done = invoke("--data", str(folder), *map(str, arguments))
        return Ended(done.exit_code, done.stdout, done.stderr)

    return command


@pytest.fixture
def unreachable(run, tmp_path):
    """A folder below one that nobody can enter but root."""
    for command in ("account", "backup", "check", "doctor", "restore", "status"):
        run(command, "--help")  # a user other than root may be unable to read the modules
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    yield closed / "data"
    closed.chmod(0o700)


@pytest.fixture(scope="session")
def owned(tmp_path_factory):
    """A data folder with an account and its app, and the App ID. Tests work on copies."""
    folder = tmp_path_factory.mktemp("owned") / "data"
    call_command(folder, "account", "add", "ana", "--id", "7")
    return folder, call_command(folder, "app", "add", "Dash", "--owner", "ana")["app_id"]


@pytest.fixture
def owned_app(owned, data):
    """An account and its app in the test's folder; returns the App ID."""
    folder, app_id = owned
    shutil.copytree(folder, data)
    return app_id


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A server of two workers, with an account, an enabled app, its tokens and a platform key."""
    server = Crashing(tmp_path_factory.mktemp("running") / "data")
    server.make_app()
    server.start()
    yield server
    server.end()
