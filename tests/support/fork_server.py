"""A process that has imported the product once, and forks for each program that needs it.

A server takes 0.85 s of CPU to start, and its imports are 0.65 s of it. A fork has them already.

Requests come over the socket that is the standard input, with the three standard files of the
program; `forked.py` sends them. This process ends when the socket is closed. Programs that run then
go on.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import threading

from openengagement.limits import lmdb, postgresql
from openengagement.processes import supervisor, worker

IMPORTED = (lmdb, postgresql, supervisor, worker)
REQUEST_MAX_BYTES = 1 << 18


def main() -> None:
    """Answer requests. In a fork, run the program instead."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, and so this process
    # Polars and NumPy have started threads that a fork lacks. They manage without: the forks of the
    # product's `ingest/formats/decoder_process.py` lack them, too.
    assert threading.active_count() == 1, "a fork would lack the other threads"
    control = socket.socket(fileno=os.dup(0))
    gc.collect()
    gc.freeze()
    while True:
        message, files, *_ = socket.recv_fds(control, REQUEST_MAX_BYTES, 3)
        if not message:
            return
        request = json.loads(message)
        if "pid" in request:
            answer = _exit_code(request["pid"])
        elif not (answer := os.fork()):
            control.close()
            program = request.pop("program")
            _become(files, **request)
            _run(**program)
            return
        for file in files:
            os.close(file)
        control.send(json.dumps(answer).encode())


def _exit_code(pid: int) -> int | None:
    """Return the exit code of a program, as `subprocess` gives it, or None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _become(
    files: list[int],
    *,
    arguments: list[str],
    environment: dict[str, str],
    folder: str,
    umask: int,
    new_session: bool,
) -> None:
    """Give a fork all that a new process would have been given."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if new_session:
        os.setsid()
    os.umask(umask)
    os.chdir(folder)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments


def _run(*, module: str = "", path: str = "", code: str = "") -> None:
    """Run the function `main` of a module of the product, or a file, or code."""
    if module:
        importlib.import_module(module).main()
    elif path:
        runpy.run_path(path, run_name="__main__")
    else:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
