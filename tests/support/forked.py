"""Programs that import the product, as forks of a process that has done so: see `fork_server`."""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from support.waiting import PATIENCE_S

FORK_SERVER = Path(__file__).with_name("fork_server.py")
# Set by `make test`. The heavy tests start servers as users do.
ARE_FORKED = os.environ.get("TEST_SERVERS") == "forked"
_ENVIRONMENT = dict(os.environ)
_UMASK = 0o022
_SUPERVISOR = "openengagement.processes.supervisor"


class _ForkServer:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-P", FORK_SERVER]
            self._process = subprocess.Popen(command, stdin=theirs, env=_ENVIRONMENT)
        atexit.register(self._end)

    def _end(self) -> None:
        self._control.close()
        self._process.wait(PATIENCE_S)

    def ask(self, request: Mapping[str, Any], files: Sequence[int] = ()) -> int | None:
        with self._lock:
            socket.send_fds(self._control, [json.dumps(request).encode()], files)
            message = self._control.recv(100)
        assert message, "the fork server has ended"
        answer: int | None = json.loads(message)
        return answer


@cache
def _fork_server() -> _ForkServer:
    """Return the fork server of this process. It ends with this process."""
    return _ForkServer()


class Forked:
    """A process that was forked. Its attributes and methods are those of `subprocess.Popen`."""

    def __init__(
        self,
        program: Mapping[str, str],
        arguments: Sequence[str],
        *,
        files: Sequence[IO[Any]],
        env: Mapping[str, str] | None = None,
        umask: int = _UMASK,
        start_new_session: bool = False,
    ) -> None:
        """Start it. `files` are its standard input, output and error."""
        request = {
            "program": dict(program),
            "arguments": list(arguments),
            "environment": dict(os.environ if env is None else env),
            "folder": str(Path.cwd()),
            "umask": umask,
            "new_session": start_new_session,
        }
        pid = _fork_server().ask(request, [file.fileno() for file in files])
        assert pid is not None
        self.pid = pid
        self.returncode: int | None = None
        self._ended = os.pidfd_open(pid)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _fork_server().ask({"pid": self.pid})
            if self.returncode is not None:
                os.close(self._ended)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.poll() is None:
            waiting = select.poll()
            waiting.register(self._ended, select.POLLIN)
            if not waiting.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(FORK_SERVER, timeout or 0)
            self.poll()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[Any] | Forked


def start_supervisor(
    command: Sequence[str],
    *,
    output: IO[bytes],
    env: Mapping[str, str],
    umask: int,
    start_new_session: bool,
) -> Process:
    """Run the command by which `serve` replaces itself."""
    python, *module, arguments = command[0], *command[1:3], command[3:]
    assert (python, module) == (sys.executable, ["-m", _SUPERVISOR])
    options: dict[str, Any] = {"umask": umask, "start_new_session": start_new_session}
    # A test that changes this variable wants other modules in the server.
    if ARE_FORKED and env.get("PYTHONPATH") == _ENVIRONMENT.get("PYTHONPATH"):
        with Path(os.devnull).open("rb") as nothing:
            files = (nothing, output, output)
            return Forked({"module": _SUPERVISOR}, arguments, files=files, env=env, **options)
    return subprocess.Popen(command, stdout=output, stderr=output, env=env, **options)


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code that imports the product, in a process of its own."""
    return _run({"code": code}, ["-c", code], [str(each) for each in arguments])


def run_file(path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a file that imports the product, in a process of its own."""
    return _run({"path": str(path)}, [str(path)], [str(each) for each in arguments])


def _run(
    program: Mapping[str, str], options: list[str], arguments: list[str]
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, *arguments]
    with (
        Path(os.devnull).open("rb") as nothing,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        process: Process
        if ARE_FORKED:
            process = Forked(program, arguments, files=(nothing, out, err))
        else:
            process = subprocess.Popen(command, stdin=nothing, stdout=out, stderr=err)
        try:
            code = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


class Dialogue:
    """A file that imports the product, in a process that reads lines and prints lines."""

    def __init__(self, path: Path, *arguments: str) -> None:
        their_input, our_output = os.pipe()
        our_input, their_output = os.pipe()
        self.stdin, self.stdout = os.fdopen(our_output, "w"), os.fdopen(our_input)
        with os.fdopen(their_input) as stdin, os.fdopen(their_output, "w") as stdout:
            self.process: Process
            if ARE_FORKED:
                files = (stdin, stdout, sys.__stderr__ or stdout)
                self.process = Forked({"path": str(path)}, arguments, files=files)
            else:
                command = [sys.executable, str(path), *arguments]
                self.process = subprocess.Popen(command, stdin=stdin, stdout=stdout)

    def send(self, *command: object) -> None:
        self.stdin.write(json.dumps(command) + "\n")
        self.stdin.flush()

    def answer(self) -> Any:
        line = self.stdout.readline()
        assert line, f"the process ended: {self.process.wait()}"
        return json.loads(line)

    def ask(self, *command: object) -> Any:
        self.send(*command)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        assert self.process.wait(PATIENCE_S) == -signal.SIGKILL

    def close(self) -> int:
        """End its input. Return its exit code."""
        with suppress(BrokenPipeError):
            self.stdin.close()
        self.stdout.close()
        return self.process.wait(PATIENCE_S)
