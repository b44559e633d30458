"""The command line on a data folder: in its own process or, which is faster, in this one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer
from click.testing import CliRunner, Result

from openengagement import telemetry
from openengagement.cli.main import main
from support import stores
from support.forked import Process, start_supervisor
from support.waiting import PATIENCE_S

EXECUTABLE = Path(sys.executable).with_name("openengagement")
COMMAND = typer.main.get_command(main)  # made once: it takes longer than most commands


def server_environment(
    settings: Mapping[str, str] | None = None, data: Path | None = None
) -> dict[str, str]:
    """Return this environment with these server settings, those that name the stores of the data
    folder, and no others.

    Python may write bytecode: every process would compile all modules otherwise.
    """
    kept_back = ("OPENENGAGEMENT_", "PYTHONDONTWRITEBYTECODE")
    environment = {name: v for name, v in os.environ.items() if not name.startswith(kept_back)}
    named = {**(stores.settings_of(data) if data else {}), **(settings or {})}
    return environment | {f"OPENENGAGEMENT_{name.upper()}": named[name] for name in named}


def run_command(data: Path, *arguments: str) -> dict[str, Any]:
    """Run `openengagement` in its own process. Return the object that `--json` prints."""
    command = [str(EXECUTABLE), "--data", str(data), *arguments, "--json"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=server_environment(data=data),
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, f"{arguments}: {done.returncode}: {done.stderr or done.stdout}"
    stores.wait_for_change(data)
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


@contextmanager
def _umask_kept() -> Iterator[None]:
    """Undo that a command changes the umask of the whole process."""
    mask = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(mask)


def invoke(*arguments: str, stdin: str | None = None) -> Result:
    """Run the command line in this process. Raise an exception that it did not handle.

    Some commands lower the priority of their thread, and only root could raise it again. So each
    runs in a thread of its own. Others name the process in its log lines, or set variables of the
    environment; afterwards these are as before.
    """
    named = {"process": telemetry.LineHead.process, "text": telemetry.LineHead.text}
    with (
        _umask_kept(),
        patch.multiple(telemetry.LineHead, **named),
        patch.dict(os.environ),
        ThreadPoolExecutor(1) as pool,
    ):
        done = pool.submit(CliRunner().invoke, COMMAND, arguments, input=stdin).result()
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def call_command(data: Path, *arguments: str, stdin: str | None = None) -> dict[str, Any]:
    """Run the command in this process, which saves a second. Return what `--json` prints."""
    names = {
        f"OPENENGAGEMENT_{name.upper()}": value for name, value in stores.settings_of(data).items()
    }
    with patch.dict(os.environ, names):
        done = invoke("--data", str(data), *arguments, "--json", stdin=stdin)
    assert done.exit_code == 0, f"{arguments}: {done.exit_code}: {done.output}"
    stores.wait_for_change(data)
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def start_server(
    data: Path,
    *options: object,
    log: Path,
    settings: Mapping[str, str] | None = None,
    new_session: bool = False,
) -> Process:
    """Start a server whose output goes to `log`.

    `serve` runs in this process until it would replace itself by the supervisor. This saves its
    imports, half a second of CPU. In `make test`, the supervisor is a fork: see `fork_server`.
    """
    arguments = ["--data", str(data), "serve", *map(str, options)]
    with (
        _umask_kept(),
        patch.dict(os.environ, server_environment(settings, data), clear=True),
        patch.object(os, "execv", side_effect=SystemExit) as execv,
    ):
        done = CliRunner().invoke(COMMAND, arguments)
        environment, mask = dict(os.environ), os.umask(0o022)
    assert execv.called, f"serve ended: {done.exit_code}: {done.output}"
    _, command = execv.call_args.args
    with log.open("ab") as output:
        output.write(done.output_bytes)
        output.flush()
        return start_supervisor(
            command, output=output, env=environment, umask=mask, start_new_session=new_session
        )
