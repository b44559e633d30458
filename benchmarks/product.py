"""The product from outside: its command line, its server, and a bare handler."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from measure import tree

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
COMMAND = [sys.executable, "-m", "openengagement"]
STARTS_IN_S = 60.0
STOPS_IN_S = 20.0
POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that succeeded: its output, duration and CPU time."""

    answer: dict[str, Any]
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    pid: int
    port: int
    ready_s: float


_STORES: dict[Path, dict[str, str]] = {}  # the settings of data folders, as variables


def use_stores(data: Path, **settings: str) -> None:
    """Let the commands and servers on this data folder use other stores than its files."""
    _STORES[data] = {f"OPENENGAGEMENT_{name.upper()}": settings[name] for name in settings}


def environment(**more: str) -> dict[str, str]:
    """Our environment without the product's settings, with bytecode as in an installed package."""
    kept_back = ("OPENENGAGEMENT_", "PYTHONDONTWRITEBYTECODE")
    return {name: v for name, v in os.environ.items() if not name.startswith(kept_back)} | more


def run(data: Path, *arguments: str, stdin: str = "") -> Ran:
    """Run one command of the product on a data folder."""
    return Command(data, *arguments, stdin=stdin).wait()


class Command:
    """A running command of the product."""

    def __init__(self, data: Path, *arguments: str, stdin: str = "") -> None:
        self._command = " ".join(arguments)
        self._stdout, self._stderr = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - `wait` closes them
        self._began = time.perf_counter()
        command = [*COMMAND, "--data", str(data), *arguments, "--json"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._stdout,
            stderr=self._stderr,
            env=environment(**_STORES.get(data, {})),
        )
        assert self._process.stdin is not None
        with self._process.stdin as given:
            given.write(stdin.encode())
        self.pid = self._process.pid

    @property
    def running(self) -> bool:
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return ended is None

    def stop(self) -> Ran:
        """Ask it to end, and wait."""
        self._process.terminate()
        return self.wait()

    def wait(self) -> Ran:
        """Return the output and CPU time, children included.

        Raises:
            RuntimeError: it failed.
        """
        _, status, usage = os.wait4(self.pid, 0)
        wall_s = time.perf_counter() - self._began
        self._process.returncode = os.waitstatus_to_exitcode(status)
        with self._stdout as stdout, self._stderr as stderr:
            stdout.seek(0)
            stderr.seek(0)
            if self._process.returncode != 0:
                raise RuntimeError(
                    f"{self._command}: {stderr.read().decode(errors='replace')[-2000:]}"
                )
            answer = msgspec.json.decode(stdout.read())
        return Ran(answer, wall_s, usage.ru_utime + usage.ru_stime)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(data: Path, *, core: int | None = None, workers: int = 1) -> Iterator[Server]:
    """`openengagement serve` on a data folder."""
    port = free_port()
    options = ["--port", str(port), "--workers", str(workers)]
    command = [*COMMAND, "--data", str(data), "serve", *options]
    with _started(command, port, core=core, more=_STORES.get(data, {})) as server:
        yield server


@contextmanager
def sandbox(data: Path, *options: str) -> Iterator[Server]:
    """`openengagement sandbox`."""
    port = free_port()
    command = [*COMMAND, "--data", str(data), "sandbox", "--port", str(port), *options]
    with _started(command, port) as server:
        yield server


@contextmanager
def bare(*, core: int | None = None) -> Iterator[Server]:
    """The bare ASGI handler, started by the product's own launcher."""
    port = free_port()
    launcher = ["--host", HOST, "--port", str(port), "--workers", "1"]
    command = [sys.executable, str(HERE / "bare.py"), *launcher]
    with _started(command, port, core=core) as server:
        yield server


@contextmanager
def other(command: Sequence[str], port: int) -> Iterator[Server]:
    """Start another server: `command` makes it listen on `port` and answer at /health."""
    with _started(command, port) as server:
        yield server


@contextmanager
def _started(
    command: Sequence[str],
    port: int,
    *,
    core: int | None = None,
    more: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    began = time.perf_counter()
    with tempfile.TemporaryFile() as stderr:
        with _pinned(core):  # what is started inherits it
            process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=environment(PYTHONPATH=_python_path(), **(more or {})),
            )
        try:
            if not _answers(port, lambda: process.poll() is None):
                stderr.seek(0)
                text = stderr.read().decode(errors="replace")[-2000:]
                raise RuntimeError(f"the server does not answer: {text}")
            yield Server(process.pid, port, time.perf_counter() - began)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop gently at first, because a killed server could leave its workers behind."""
    started = tree(process.pid)
    process.terminate()
    try:
        process.wait(STOPS_IN_S)
    except subprocess.TimeoutExpired:
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed if core is None else {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _python_path() -> str:
    """Add the benchmarks' folder, where Granian's worker finds the bare handler."""
    return os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(HERE)]))


def _answers(port: int, alive: Callable[[], bool]) -> bool:
    """Wait for the first answer."""
    give_up = time.perf_counter() + STARTS_IN_S
    while time.perf_counter() < give_up and alive():
        connection = http.client.HTTPConnection(HOST, port, timeout=STARTS_IN_S)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.client.OK:
                return True
        except OSError:
            time.sleep(POLL_S)
        finally:
            connection.close()
    return False
