"""Regular work of every server: complete flights, let replicas join, erase counters."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import psycopg

from openengagement.stores.cluster import ledger, query_times
from openengagement.stores.cluster import tweets as table
from openengagement.stores.cluster.replicas import Connect, InSyncSet
from openengagement.telemetry import log_failure

_EVERY_S: Final = 1.0
_TIMES_EVERY_S: Final = 10.0
_ERASE_EVERY_S: Final = 3600.0
_RETRY_S: Final = 60.0
_ERASE_AFTER_S: Final = 24 * 3600
_ERASED_AT_ONCE: Final = 10_000
_LOCK: Final = f"SELECT pg_try_advisory_xact_lock({ledger.DELETION_LOCK})"


class Complete(Protocol):
    """Inserts the blocks of a flight, and ends it."""

    def __call__(self, flight: ledger.Flight, *, repeated: bool) -> None: ...


class Chores:
    """A thread that does the chores until it is closed."""

    def __init__(
        self,
        connect: Connect,
        replicas: InSyncSet,
        *,
        complete: Complete,
        erase: Callable[[Sequence[int]], None],
    ) -> None:
        self._connect = connect
        self._replicas = replicas
        self._complete = complete
        self._erase = erase
        self._due_s = {self._note_times: _TIMES_EVERY_S, self.erase_deleted: _ERASE_EVERY_S}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cluster-chores", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the chore that is running, then stop."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        next_s = {chore: time.monotonic() + every_s for chore, every_s in self._due_s.items()}
        while not self._closing.wait(_EVERY_S):
            self._try(self.complete_flights)
            self._try(self._replicas.rejoin)
            for chore, every_s in self._due_s.items():
                if time.monotonic() > next_s[chore]:
                    done = self._try(chore)
                    next_s[chore] = time.monotonic() + (every_s if done else _RETRY_S)

    def _try(self, chore: Callable[[], None]) -> bool:
        """Run a chore, and log its failure. The other chores still run, and it is tried again."""
        try:
            chore()
        except Exception as error:
            log_failure("cluster_chore_failed", error, chore=chore.__name__, reason=str(error))
            return False
        return True

    def complete_flights(self) -> None:
        """Complete the flights whose server has died."""
        while flight := self._lease_next():
            try:
                self._complete(flight, repeated=True)
            except Exception as error:
                with self._connect() as db:
                    ledger.note_failure(db, flight.token, reason=str(error))
                raise

    def erase_deleted(self) -> None:
        """Erase the counters of Tweets that were deleted a day ago."""
        with self._connect() as db, db.transaction():
            if not _is_first(db):
                return
            ids = table.list_erasable(db, after_s=_ERASE_AFTER_S, limit=_ERASED_AT_ONCE)
            if ids:
                self._erase(ids)
                table.note_erased(db, ids)

    def _lease_next(self) -> ledger.Flight | None:
        with self._connect() as db:
            return ledger.lease_next(db)

    def _note_times(self) -> None:
        with self._connect() as db:
            query_times.note(db, self._replicas.all())


def _is_first(db: psycopg.Connection[Any]) -> bool:
    """Whether no other server does this now. It holds until the transaction ends."""
    ((free,),) = db.execute(_LOCK).fetchall()
    return bool(free)
