"""Decode every body in a fresh process with limits of memory and CPU time.

A damaged or hostile body can make the decoder use all memory, end its whole process, or leave it
broken for the next body. So a server process, which never decodes, forks a process for each body.
The fork gets the body as a file, and writes its answer into a pipe.
"""

import contextlib
import faulthandler
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import IO, Final, Protocol

from openengagement.telemetry import log_event

_REQUEST_BYTES_MAX: Final = 65_536
_EXIT_BYTES: Final = 4
# A process ends by one of these signals only through its own fault. A failed allocation aborts it.
_CRASHES: Final = frozenset(
    {
        *(signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV),
        *(signal.SIGTRAP, signal.SIGXCPU),
    }
)
# A piece of a body takes less than a second.
_CPU_MAX_S: Final = 60
# The server logs only lines of these forms from the decoder: the fault, and the place in the code.
# Other lines could quote a value of a body.
_MESSAGES_MAX: Final = 50
_MESSAGE_BYTES: Final = 300
_LOGGED: Final = re.compile(
    r"Fatal Python error: [\w ]+|File .+ in \w+|"
    r"terminate called after throwing an instance of '[\w:]+'"
)


class Decode(Protocol):
    """Decodes the body in a file, and writes the answer."""

    def __call__(self, request: bytes, body: IO[bytes], *, sink: IO[bytes]) -> None: ...


class Decoding:
    """A fork that decodes a body. `answer` is its pipe; `exit_code` is set when it has ended.

    `exit_code` is negative for a signal, as in `subprocess`, and None if the server ended too.
    """

    def __init__(self, answer: IO[bytes]) -> None:
        self.answer = answer
        self.exit_code: int | None = None

    @property
    def crashed(self) -> bool:
        """Whether the fork ended by its own fault, not because another process killed it."""
        return self.exit_code is not None and (self.exit_code > 0 or -self.exit_code in _CRASHES)


class DecoderServer:
    """Starts the server process `module` with the first body. One body at a time may use it.

    `module` calls `serve`. The server ends with this object or with this process.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._control: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._end: Callable[[], object] = lambda: None

    @contextlib.contextmanager
    def decoding(self, request: bytes, body: IO[bytes]) -> Iterator[Decoding]:
        """Decode a body in a fork. Read the whole answer within the block.

        Raises:
            OSError: no process can be started.
        """
        source, sink = os.pipe()
        with os.fdopen(source, "rb") as answer:
            try:
                control = self._connect(request, (body.fileno(), sink))
            finally:
                os.close(sink)
            decoding = Decoding(answer)
            try:
                yield decoding
            finally:
                answer.close()  # ends the fork if it has more to write
                with contextlib.suppress(OSError):
                    end = control.recv(_EXIT_BYTES)
                    decoding.exit_code = int.from_bytes(end, signed=True) if end else None

    def _connect(self, request: bytes, files: tuple[int, int]) -> socket.socket:
        """Send a request to the server; start the server if there is none or it has ended."""
        if self._control is not None:
            with contextlib.suppress(OSError):
                socket.send_fds(self._control, [request], files)
                return self._control
        self._end()
        self._control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", self._module, str(other.fileno())],
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        messages = threading.Thread(target=_log_messages, args=(self.process.stderr,), daemon=True)
        messages.start()
        self._end = weakref.finalize(self, _end_server, self.process, self._control)
        socket.send_fds(self._control, [request], files)
        return self._control


def _log_messages(source: IO[bytes]) -> None:
    """Log what decoders print before they crash, within limits, until all of them have ended."""
    logged = 0
    with source:
        while line := source.readline(_MESSAGE_BYTES):
            found = _LOGGED.search(line.decode(errors="replace"))
            if found and logged < _MESSAGES_MAX:
                log_event("decoder_message", text=found[0])
                logged += 1


def limit_cpu_time() -> None:
    """End this process by SIGXCPU if it uses _CPU_MAX_S of CPU time before the next call."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit_s = int(usage.ru_utime + usage.ru_stime) + 1 + _CPU_MAX_S
    _, hard_s = resource.getrlimit(resource.RLIMIT_CPU)
    if hard_s == resource.RLIM_INFINITY or limit_s < hard_s:
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, hard_s))


def _end_server(server: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    server.kill()
    server.wait()


def serve(decode: Decode, *, memory_max_bytes: int) -> None:
    """Run the server process: fork for each request, until the other process closes the socket.

    Signals that ask a whole group of processes to end are ignored, so that the body is decoded to
    its end. The server ends with the process that started it.
    """
    faulthandler.enable()
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        while True:
            request, files, _, _ = socket.recv_fds(control, _REQUEST_BYTES_MAX, 2)
            if not request:
                return
            child = os.fork()
            if not child:
                control.close()
                _decode_and_exit(decode, request, files=files, memory_max_bytes=memory_max_bytes)
            for number in files:
                os.close(number)
            _, status = os.waitpid(child, 0)
            end = os.waitstatus_to_exitcode(status)
            control.send(end.to_bytes(_EXIT_BYTES, signed=True))


def _decode_and_exit(
    decode: Decode, request: bytes, *, files: list[int], memory_max_bytes: int
) -> None:
    code = 1
    try:
        # Files that are mapped into memory do not count, so they may be larger.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_max_bytes, memory_max_bytes))
        limit_cpu_time()
        with os.fdopen(files[0], "rb") as body, os.fdopen(files[1], "wb") as sink:
            decode(request, body, sink=sink)
        code = 0
    finally:
        os._exit(code)  # skip all other clean-up, which belongs to the server
