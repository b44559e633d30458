"""The product from outside: its command line, its server, and a bare handler beside it."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
    """A command that ended well: what it printed, how long it took, what CPU it used."""

    answer: dict[str, Any]
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    pid: int
    port: int
    ready_s: float


def environment(**more: str) -> dict[str, str]:
    """Ours, without settings of the product, free to keep bytecode as an installed package is."""
    kept_back = ("OPENENGAGEMENT_", "PYTHONDONTWRITEBYTECODE")
    return {name: v for name, v in os.environ.items() if not name.startswith(kept_back)} | more


def run(data: Path, *arguments: str) -> Ran:
    """Run one command of the product on a data folder."""
    command = [*COMMAND, "--data", str(data), *arguments, "--json"]
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    printed, told = process.communicate()
    wall_s = time.perf_counter() - began
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {told.decode(errors='replace')[-2000:]}")
    return Ran(msgspec.json.decode(printed), wall_s, _reaped_cpu_s())


_reaped = [0.0]


def _reaped_cpu_s() -> float:
    """CPU time of the children reaped since this was asked last; we run one at a time."""
    times = os.times()
    total = times.children_user + times.children_system
    used, _reaped[0] = total - _reaped[0], total
    return used


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        return int(taken.getsockname()[1])


@contextmanager
def serving(data: Path, *, core: int | None = None) -> Iterator[Server]:
    """`openengagement serve` with one worker on a data folder."""
    port = free_port()
    command = [*COMMAND, "--data", str(data), "serve", "--port", str(port)]
    with _started(command, port, core=core) as server:
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
def _started(command: Sequence[str], port: int, *, core: int | None = None) -> Iterator[Server]:
    began = time.perf_counter()
    with tempfile.TemporaryFile() as told:
        with _pinned(core):  # what is started inherits it
            process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=told,
                env=environment(PYTHONPATH=_python_path()),
            )
        try:
            if not _answers(port, lambda: process.poll() is None):
                told.seek(0)
                text = told.read().decode(errors="replace")[-2000:]
                raise RuntimeError(f"the server does not answer: {text}")
            yield Server(process.pid, port, time.perf_counter() - began)
        finally:
            _stop(process)
            _reaped_cpu_s()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Gently first, since a killed server could leave its workers behind."""
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
    """Ours and the benchmarks' folder, where Granian's worker finds the bare handler."""
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
