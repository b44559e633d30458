"""The Unix socket of the counting process: bind it, connect to it, and check that it works.

The socket is in the data folder, because systems clean their temporary folders. If the file system
of that folder has no Unix sockets, a private folder of the user has the socket. Each server has a
socket of its own, so several servers may run on one data folder.

The supervisor imports this module, so the module must stay small: no third-party library.
"""

import errno
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from openengagement.telemetry import log_event, log_failure

_BACKLOG: Final = 1024  # connections that wait to be accepted
_PATH_MAX: Final = 100  # bytes; Linux takes 107 in the address of a socket, other systems 103
_PREFIX: Final = "counting-"
_SUFFIX: Final = ".socket"
_GONE: Final = (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)
_RETRY_S: Final = 0.05


class CountingListener:
    """A listening socket that is bound again when its file is gone.

    The counting process watches it while it runs, otherwise the supervisor does.
    """

    def __init__(self, listener: socket.socket, address: str) -> None:
        self._listener = listener
        self.address = address
        self._failed = False

    @classmethod
    def bind_for(cls, data: Path) -> Self:
        """Bind a new socket for a server of this data folder, and remove those of dead servers.

        Raises:
            OSError: no folder can have a socket.
        """
        try:
            return cls._bind_in(data)
        except OSError as error:
            log_failure("no_socket_in_data_folder", error, reason=_reason(error))
        return cls._bind_in(_make_private_folder())

    @classmethod
    def _bind_in(cls, folder: Path) -> Self:
        for path in folder.glob(f"{_PREFIX}*"):
            address = str(path.with_suffix(_SUFFIX))
            if not is_listening(address):
                _remove(address)
        address = str(folder / f"{_PREFIX}{os.urandom(4).hex()}{_SUFFIX}")
        return cls(_listen(address), address)

    def fileno(self) -> int:
        """Return the descriptor, for `select` and for a child process."""
        return self._listener.fileno()

    def accept(self, *, timeout_s: float | None = None) -> socket.socket | None:
        """Accept a connection; None if there is none within the time."""
        self._listener.settimeout(timeout_s)
        try:
            connection = self._listener.accept()[0]
        except (TimeoutError, BlockingIOError):  # the latter if `timeout_s` is 0
            return None
        connection.setblocking(True)
        return connection

    def restore(self) -> None:
        """Bind the socket again if no connection can reach it any more. Log the loss once."""
        if is_listening(self.address):
            return
        try:
            if Path(self.address).parent == _private_folder():
                _make_private_folder()
            Path(self.address).unlink(missing_ok=True)
            listener = _listen(self.address)
        except OSError as error:
            if not self._failed:
                log_failure("counting_socket_lost", error, reason=_reason(error))
            self._failed = True
            return
        log_event("counting_socket_restored", address=self.address)
        self._listener.close()
        self._listener, self._failed = listener, False

    def close(self) -> None:
        """Close the socket and remove its file."""
        self._listener.close()
        remove_socket(self.address)

    def set_hung(self, *, hung: bool) -> None:
        """Tell `is_hung` in all processes whether the counting process gives signs of life."""
        _set_flag(_hung_file(self.address), hung)

    def set_log_lost(self, lost: bool) -> None:  # noqa: FBT001 - a callback
        """Tell `is_log_lost` in all processes whether the event log answers."""
        _set_flag(_lost_file(self.address), lost)


def connect(connection: socket.socket, address: str, *, patience_s: float) -> None:
    """Connect to the socket. If it is gone, wait for `patience_s` until it is bound again.

    Raises:
        OSError: it is still gone, or too many connections wait for it.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            with _short_path(address) as path:
                return connection.connect(path)
        except _GONE:
            if time.monotonic() > until:
                raise
            time.sleep(_RETRY_S)


def list_sockets(data: Path) -> list[str]:
    """List the addresses of the servers of a data folder, also of dead ones."""
    return [str(path) for path in data.glob(f"{_PREFIX}*{_SUFFIX}")]


def is_listening(address: str) -> bool:
    """Return whether a process listens at the address, without a connection to that process."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            with _short_path(address) as path:
                probe.connect(path)
        except OSError as error:
            # The kernel finds the listener first, and then that it is not for datagrams.
            return error.errno == errno.EPROTOTYPE
    return False


def is_hung(address: str) -> bool:
    """Return whether the counting process has given no sign of life for some seconds."""
    return _hung_file(address).exists()


def is_log_lost(address: str) -> bool:
    """Return whether the event log of `--intake log` does not answer."""
    return _lost_file(address).exists()


def remove_socket(address: str) -> None:
    """Remove the file of a socket, and its private folder if no other socket is in it."""
    with suppress(OSError):
        _remove(address)
        if Path(address).parent == _private_folder():
            _private_folder().rmdir()


def _remove(address: str) -> None:
    Path(address).unlink(missing_ok=True)
    _hung_file(address).unlink(missing_ok=True)
    _lost_file(address).unlink(missing_ok=True)


def _set_flag(file: Path, is_set: bool) -> None:  # noqa: FBT001
    with suppress(OSError):  # without this file, only the health check is less exact
        if is_set:
            file.touch()
        else:
            file.unlink()


def _hung_file(address: str) -> Path:
    return Path(address).with_suffix(".hung")


def _lost_file(address: str) -> Path:
    return Path(address).with_suffix(".lost")


def _listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        with _short_path(address) as path:
            listener.bind(path)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


@contextmanager
def _short_path(address: str) -> Iterator[str]:
    """Yield a path to the same file that the address of a socket can hold (on Linux)."""
    if len(os.fsencode(address)) <= _PATH_MAX:
        yield address
        return
    folder, name = os.path.split(address)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def _private_folder() -> Path:
    """Return the folder for the sockets of this user outside of data folders."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(base, f"openengagement-{os.geteuid()}")


def _make_private_folder() -> Path:
    """Create the private folder if it is missing.

    Raises:
        PermissionError: another user has taken its name, or may enter it.
    """
    folder = _private_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    return folder


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
