"""Learn from PostgreSQL's notifications that credentials changed, so that no request has to ask.

A thread with a connection of its own listens. It also asks for the version a few times a second.
This shows that the connection still works, and makes up for lost notifications. Because the
connection lasts as long as the process, it also holds the lock of processes that write usage.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import psycopg

from openengagement.registry.database import VERSION_DELAY_MAX_S
from openengagement.telemetry import log_event

CHANNEL: Final = "openengagement_credentials"
WATCH_NAME: Final = "openengagement credentials"  # of the connection, in pg_stat_activity
_ASK_EVERY_S: Final = 0.3
_RECONNECT_EVERY_S: Final = 0.5
WRITERS_LOCK: Final = 7_106_912  # shared by processes that will write usage; any number
VERSION_QUERY: Final = "SELECT version FROM credential_version"


class VersionWatch:
    """Knows the credential version. `read` asks the server for it; `connect` opens a connection.

    The connection must be in autocommit mode.
    """

    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], read: Callable[[], int]
    ) -> None:
        self._connect = connect
        self._read = read
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._changed_s = 0.0  # when this process last changed credentials
        self._known: tuple[float, int] | None = None  # the version, and when it was asked for
        self._shares_lock = False

    def version(self) -> int:
        """Return the version as it was at most VERSION_DELAY_MAX_S ago. Raises what `read` raises.

        A change that this process has made is always in it.
        """
        if self._thread is None:
            self._start()
        known = self._known
        if known and time.monotonic() - known[0] <= VERSION_DELAY_MAX_S:
            return known[1]
        asked_s = time.monotonic()
        version = self._read()
        self._note(asked_s, version)
        return version

    def note_change(self) -> None:
        """Say that this process has committed a change."""
        with self._lock:
            self._changed_s, self._known = time.monotonic(), None

    def share_lock(self, *, shared: bool) -> None:
        """Hold WRITERS_LOCK with other processes, or hold it no longer. The thread does so soon."""
        self._shares_lock = shared
        if shared and self._thread is None:
            self._start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread:
            self._thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="versions", daemon=True)
                self._thread.start()

    def _note(self, asked_s: float, version: int) -> None:
        with self._lock:
            # An answer that was asked for before a change of this process may lack the change.
            if asked_s > self._changed_s and (not self._known or asked_s > self._known[0]):
                self._known = asked_s, version

    def _run(self) -> None:
        failed = False  # one line is logged for each time of failures
        while not self._ended.is_set():
            try:
                with self._connect() as db:
                    db.execute(f"LISTEN {CHANNEL}")
                    failed = False
                    self._listen(db)
            except psycopg.Error as error:
                if not failed:
                    log_event("registry_unavailable", reason=str(error).partition("\n")[0])
                failed = True
                self._ended.wait(_RECONNECT_EVERY_S)

    def _listen(self, db: psycopg.Connection[Any]) -> None:
        held = False
        while not self._ended.is_set():
            if held != self._shares_lock:
                held = not held
                change = "lock_shared" if held else "unlock_shared"
                db.execute(f"SELECT pg_advisory_{change}({WRITERS_LOCK})")
            asked_s = time.monotonic()
            row = db.execute(VERSION_QUERY).fetchone()
            assert row is not None
            self._note(asked_s, row[0])
            for _ in db.notifies(timeout=_ASK_EVERY_S, stop_after=1):
                pass
