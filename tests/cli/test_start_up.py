"""Starting up: the allocator, the garbage collector, and a server that cannot start."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.processes import worker
from support.cli import invoke, server_environment
from support.ports import free_port
from support.waiting import PATIENCE_S

IMPORT = """
import gc, sys
from openengagement import tuning
tuning.configure_allocator = lambda: print("polars" in sys.modules)
import openengagement.{module}
{then}
print("polars" in sys.modules)
print(gc.get_freeze_count(), gc.isenabled(), gc.get_stats()[1]["collections"])
"""
LOAD = "openengagement.cli.lazy_group.LazyGroup().commands['load']"


@pytest.mark.parametrize(
    ("module", "then", "polars", "frozen_min"),
    [
        ("__main__", "", ["False", "False"], 20_000),
        ("__main__", LOAD, ["False", "True"], 100_000),
        ("processes.counting_process", "", ["False", "True"], 50_000),
        ("processes.worker", "", ["True"], 0),
    ],
    ids=["no command", "a command", "counting process", "worker"],
)
def test_imports(module, then, polars, frozen_min):
    """The allocator is configured before libraries start threads.

    Imported modules are never searched for garbage. A worker freezes them once it is built; it
    configures the allocator in the fork.
    """
    code = IMPORT.format(module=module, then=then)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *loaded, frozen, enabled, searches = ran.stdout.split()
    assert loaded == polars
    assert int(frozen) >= frozen_min
    assert enabled == "True"
    assert int(searches) < 10  # about twenty otherwise


def break_limits(folder):
    """Make the file of the limits in this data folder unusable; returns its path."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    boot_id = boot.read_text().strip() if boot.exists() else "unknown"
    file = folder / f"limits-{boot_id}.lmdb"
    file.mkdir(parents=True)
    return file


def run_python(*arguments, **settings):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=server_environment(settings),
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize(("command", "folder"), [("serve", "."), ("sandbox", "sandbox")])
def test_a_server_does_not_start_without_its_limits(tmp_path, command, folder):
    file = break_limits(tmp_path / folder)
    ran = invoke("--data", str(tmp_path), command, "--port", str(free_port()))
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert "Traceback" not in ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert re.fullmatch(rf"error: {re.escape(str(file))}: .+; .+", last)


def test_a_worker_without_its_limits_logs_the_file_and_ends(tmp_path):
    file = break_limits(tmp_path)
    code = "from openengagement.processes.worker import create_app; create_app()"
    ran = run_python("-c", code, data=str(tmp_path), counting="unused")
    logged = json.loads(ran.stderr)
    assert ran.returncode == 1
    assert (logged["event"], logged["error"]) == ("worker_not_started", "LimitsUnusable")
    assert logged["reason"].startswith(f"{file}: ")


def test_a_worker_waits_longer_and_longer_for_a_store(monkeypatch, capfd):
    pauses = []
    monkeypatch.setattr(worker.time, "sleep", pauses.append)
    outcomes = [StoreUnavailable("registry", "database is locked")] * 7 + ["the application"]

    def build():
        if isinstance(outcome := outcomes.pop(0), Exception):
            raise outcome
        return outcome

    assert worker._build_when_available(build) == "the application"
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["pause_s"] for line in lines] == pauses
    assert {(line["event"], line["reason"]) for line in lines} == {
        ("worker_waits", "database is locked")
    }


def test_a_worker_does_not_wait_for_a_damaged_store():
    def build():
        raise StoreDamaged("embedded", "7.segment", reason="a bit flipped")

    with pytest.raises(StoreDamaged):
        worker._build_when_available(build)


@pytest.mark.heavy
@pytest.mark.parametrize("fault", ["damaged", "locked"])
def test_a_sandbox_that_cannot_be_built_says_why_in_one_sentence(tmp_path, fault):
    folder = tmp_path / "sandbox"
    folder.mkdir()
    path = folder / "registry.sqlite3"
    port = str(free_port())
    command = ("--data", str(tmp_path), "sandbox", "--port", port)
    if fault == "damaged":
        path.write_bytes(b"no database" * 1000)
        ran = invoke(*command)
    else:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            ran = invoke(*command)
    assert ran.exit_code == 1
    assert "Traceback" not in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith(f"error: {folder}"), ran.stderr
    says = "is not a database" if fault == "damaged" else "database is locked"
    assert says in ran.stderr
