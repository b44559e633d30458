"""The limits in PostgreSQL: for servers on any number of machines.

The tables are unlogged: a write costs no disk, and a crash of PostgreSQL empties them, as the
contract allows. Each method is one statement, in a transaction of its own.
"""

import socket
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from openengagement.clock import boot_id
from openengagement.limits.clock_record import ClockRecord, note_clock, oldest_timestamp
from openengagement.limits.contract import CountedWindow, Nonce, RateWindow
from openengagement.postgresql import Pool, is_sealed, release_tables, seal_tables

_SLICE: Final = 5000  # rows removed in one transaction
# Half of each page of windows is free, so that an update stays on its page and touches no index.
_TABLES: Final = """
CREATE UNLOGGED TABLE IF NOT EXISTS nonces (
    signed_at_s bigint NOT NULL, digest bytea NOT NULL, PRIMARY KEY (signed_at_s, digest)
);
CREATE UNLOGGED TABLE IF NOT EXISTS rate_windows (
    reset_s bigint NOT NULL, length_s integer NOT NULL, subject bytea NOT NULL,
    used bigint NOT NULL, PRIMARY KEY (reset_s, length_s, subject)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);
CREATE UNLOGGED TABLE IF NOT EXISTS clocks (
    machine text PRIMARY KEY, oldest_s bigint NOT NULL, noted_at timestamptz NOT NULL,
    lowest_s float8 NOT NULL, seen_s float8 NOT NULL, last_s float8 NOT NULL
);
"""
_WINDOWS: Final = "unnest(%(resets)s::bigint[], %(lengths)s::integer[]) AS w(reset_s, length_s)"
_COUNT: Final = f"""
INSERT INTO rate_windows AS counted
SELECT w.reset_s, w.length_s, %(subject)s, 1 FROM {_WINDOWS} {{condition}}
ON CONFLICT (reset_s, length_s, subject) DO UPDATE SET used = counted.used + 1
RETURNING length_s, used
"""  # noqa: S608 (no text of a user is in it)
_REMEMBER: Final = """
INSERT INTO nonces VALUES (%(signed_at_s)s, %(digest)s) ON CONFLICT DO NOTHING RETURNING 1 AS new
"""
_COUNT_ALL: Final = _COUNT.format(condition="")
_COUNT_NEW: Final = f"""
WITH remembered AS ({_REMEMBER}),
    counted AS ({_COUNT.format(condition="WHERE EXISTS (SELECT FROM remembered)")})
SELECT length_s, used FROM counted
"""  # noqa: S608
_READ: Final = f"""
SELECT length_s, used FROM rate_windows JOIN {_WINDOWS} USING (reset_s, length_s)
WHERE subject = %(subject)s
"""  # noqa: S608
_UNCOUNT: Final = """
UPDATE rate_windows SET used = greatest(0, used - 1)
WHERE reset_s = %(reset_s)s AND length_s = %(length_s)s AND subject = %(subject)s
"""
_READ_CLOCK: Final = """
SELECT lowest_s, seen_s, last_s FROM clocks WHERE machine = %(machine)s FOR UPDATE
"""
_WRITE_CLOCK: Final = """
INSERT INTO clocks VALUES (%(machine)s, %(oldest_s)s, now(), %(lowest_s)s, %(seen_s)s, %(last_s)s)
ON CONFLICT (machine) DO UPDATE SET oldest_s = EXCLUDED.oldest_s, noted_at = now(),
    lowest_s = EXCLUDED.lowest_s, seen_s = EXCLUDED.seen_s, last_s = EXCLUDED.last_s
"""
# The clock that is furthest behind decides, because its machine accepts the oldest timestamps.
_READ_OLDEST: Final = """
SELECT min(oldest_s) FROM clocks WHERE noted_at > now() - make_interval(secs => %(keep_s)s)
"""
_READ_WINDOWS: Final = "SELECT reset_s, length_s, subject, used FROM rate_windows"
_ADD_NONCES: Final = """
INSERT INTO nonces SELECT signed_at_s, digest
FROM unnest(%(times)s::bigint[], %(digests)s::bytea[]) AS n (signed_at_s, digest)
ON CONFLICT DO NOTHING
"""
_ADD_WINDOWS: Final = """
INSERT INTO rate_windows AS known SELECT reset_s, length_s, subject, used
FROM unnest(%(resets)s::bigint[], %(lengths)s::integer[], %(subjects)s::bytea[],
    %(used)s::bigint[]) AS w (reset_s, length_s, subject, used)
ON CONFLICT (reset_s, length_s, subject) DO UPDATE SET used = greatest(known.used, EXCLUDED.used)
"""
_SEALED: Final = ("nonces", "rate_windows")
_EXPIRE: Final = """
DELETE FROM {table} WHERE ctid IN (
    SELECT ctid FROM {table} WHERE {column} < %(oldest_s)s LIMIT %(slice)s FOR UPDATE SKIP LOCKED
)
"""


class PostgresqlLimits:
    """Implements `Limits` in the database at `url`."""

    blocking: Final = True

    def __init__(self, url: str) -> None:
        self._pool = Pool(url, "limits")

    def remember_nonce(self, nonce: Nonce) -> bool:
        return bool(self._run(_REMEMBER, signed_at_s=nonce.timestamp, digest=nonce.digest))

    def count(self, subject: bytes, limits: Mapping[int, int], *, now_s: float) -> list[RateWindow]:
        return self._run_windows(_COUNT_ALL, limits, now_s=now_s, values={"subject": subject})

    def read(self, subject: bytes, limits: Mapping[int, int], *, now_s: float) -> list[RateWindow]:
        return self._run_windows(_READ, limits, now_s=now_s, values={"subject": subject})

    def remember_nonce_and_count(
        self, nonce: Nonce, subject: bytes, *, limits: Mapping[int, int], now_s: float
    ) -> list[RateWindow] | None:
        values = {"subject": subject, "signed_at_s": nonce.timestamp, "digest": nonce.digest}
        windows = self._run_windows(_COUNT_NEW, limits, now_s=now_s, values=values)
        return windows if all(window.used for window in windows) else None

    def uncount(self, subject: bytes, length_s: int, *, now_s: float) -> None:
        reset_s = _reset_s(length_s, now_s)
        with self._pool.connection() as db:
            db.execute(_UNCOUNT, {"subject": subject, "length_s": length_s, "reset_s": reset_s})

    def expire(self, *, now_s: float, uptime_s: float, window_s: int) -> float | None:
        machine = {"machine": boot_id() or socket.gethostname()}
        with self._pool.connection() as db, db.transaction():
            row = db.execute(_READ_CLOCK, machine).fetchone()
            known = ClockRecord(*row) if row else None
            record, jumped_s = note_clock(known, now_s=now_s, uptime_s=uptime_s, window_s=window_s)
            oldest_s = oldest_timestamp(record, uptime_s=uptime_s, window_s=window_s)
            db.execute(_WRITE_CLOCK, {**machine, **record._asdict(), "oldest_s": oldest_s})
            ((oldest_s,),) = db.execute(_READ_OLDEST, {"keep_s": 2 * window_s})
        for table, column in (("nonces", "signed_at_s"), ("rate_windows", "reset_s")):
            self._remove(_EXPIRE.format(table=table, column=column), oldest_s)
        return jumped_s

    def read_all(self) -> tuple[list[Nonce], list[CountedWindow]]:
        with self._pool.connection() as db:
            nonces = db.execute("SELECT signed_at_s, digest FROM nonces").fetchall()
            windows = db.execute(_READ_WINDOWS).fetchall()
        return (
            [Nonce(signed_at_s, bytes(digest)) for signed_at_s, digest in nonces],
            [CountedWindow(row[0], row[1], bytes(row[2]), row[3]) for row in windows],
        )

    def add_all(self, nonces: Sequence[Nonce], windows: Sequence[CountedWindow]) -> None:
        times, digests = [each.timestamp for each in nonces], [each.digest for each in nonces]
        resets, lengths, subjects, used = (
            [window[column] for window in windows] for column in range(4)
        )
        with self._pool.connection() as db:
            db.execute(_ADD_NONCES, {"times": times, "digests": digests})
            columns = {"resets": resets, "lengths": lengths, "subjects": subjects, "used": used}
            db.execute(_ADD_WINDOWS, columns)

    def seal(self, reason: str) -> None:
        with self._pool.connection() as db:
            seal_tables(db, [f"{table} INSERT" for table in _SEALED], reason=reason)

    def release(self) -> None:
        with self._pool.connection() as db:
            release_tables(db, _SEALED)

    def is_sealed(self) -> bool:
        with self._pool.connection() as db:
            return is_sealed(db, _SEALED[-1])  # the last one to be sealed

    def close(self) -> None:
        self._pool.close()

    def _remove(self, statement: str, oldest_s: int) -> None:
        """Remove in slices, so that no transaction is long."""
        removed = _SLICE
        while removed == _SLICE:
            with self._pool.connection() as db:
                removed = db.execute(statement, {"oldest_s": oldest_s, "slice": _SLICE}).rowcount

    def _run_windows(
        self,
        statement: str,
        limits: Mapping[int, int],
        *,
        now_s: float,
        values: Mapping[str, object],
    ) -> list[RateWindow]:
        """Run a statement that returns the length and the count of each window it finds."""
        # In one order, so that two servers cannot wait for each other's windows.
        lengths = sorted(limits)
        resets = [_reset_s(length_s, now_s) for length_s in lengths]
        used: dict[int, int] = dict(self._run(statement, lengths=lengths, resets=resets, **values))
        return [
            RateWindow(limit, used.get(length_s, 0), _reset_s(length_s, now_s))
            for length_s, limit in limits.items()
        ]

    def _run(self, statement: str, **values: object) -> Sequence[Any]:
        with self._pool.connection() as db:
            return db.execute(statement, values).fetchall()


def _reset_s(length_s: int, now_s: float) -> int:
    return (int(now_s // length_s) + 1) * length_s


def init_limits(url: str) -> None:
    """Create the tables in the database at `url`, if they are missing.

    Raises:
        StoreUnavailable
    """
    with closing(Pool(url, "limits")) as pool, pool.connection() as db:
        db.execute(_TABLES)
