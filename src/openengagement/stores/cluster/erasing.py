"""Erase counters on a cluster, one erasure at a time on all servers of the product."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster import ledger
from openengagement.stores.cluster.pruning import Pruner
from openengagement.stores.cluster.replicas import Connect

_LOCK: Final = f"SELECT pg_try_advisory_xact_lock({ledger.ERASURE_LOCK})"
_WAIT_MAX_S: Final = 120.0
_PAUSE_S: Final = 0.2


class CounterEraser:
    """Erases the counters of Tweets and videos.

    `wait_for` waits until some flights have ended.
    """

    def __init__(
        self, connect: Connect, pruner: Pruner, *, wait_for: Callable[[Sequence[int]], None]
    ) -> None:
        self._connect = connect
        self._pruner = pruner
        self._wait_for = wait_for

    def erase(self, ids: Sequence[int]) -> None:
        """Erase all counters of these ids, also those that are on their way to ClickHouse.

        Raises:
            StoreUnavailable
        """
        if not ids:
            return
        with self._connect() as db, db.transaction():
            under_way = ledger.list_under_way(db, ids)
            ledger.erase_set_aside(db, ids)
        self._wait_for(under_way)  # they would bring counters back
        self._pruner.erase(ids)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other erasure works on the cluster, and keep it so for the block.

        Raises:
            StoreUnavailable: it takes too long.
        """
        give_up_s = time.monotonic() + _WAIT_MAX_S
        while True:
            with self._connect() as db, db.transaction():
                if _is_alone(db):
                    yield
                    return
            if time.monotonic() > give_up_s:
                raise StoreUnavailable("Tweet", "another erasure has not ended yet")
            time.sleep(_PAUSE_S)


def _is_alone(db: psycopg.Connection[Any]) -> bool:
    ((free,),) = db.execute(_LOCK).fetchall()
    return bool(free)
