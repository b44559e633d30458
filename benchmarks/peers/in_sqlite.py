"""SQLite alone, as an upper limit: upserts of deltas that were folded before the clock starts."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import fold
from contender import Contender, Words

Rows = list[tuple[int, ...]]


class Sqlite(Contender):
    """One row per Tweet and hour, with a column per event type; totals are sums of hours."""

    version = sqlite3.sqlite_version
    together = 4
    durable = True
    how = "journal_mode=WAL, synchronous=FULL"
    prepared_before = True

    def __init__(self, path: Path, words: Words, *, db: sqlite3.Connection) -> None:
        self._path = path
        self._words = words
        self._db = db
        self._lock = threading.Lock()
        # The manual's advice for large transactions: a cache and a log that hold one.
        settings = ("journal_mode=WAL", "synchronous=FULL")
        for setting in (*settings, "cache_size=-262144", "wal_autocheckpoint=16384"):
            db.execute(f"PRAGMA {setting}")
        columns = ", ".join(f"{name} INTEGER NOT NULL" for name in words.types)
        db.execute(
            f"CREATE TABLE hours (tweet_id INTEGER, hour INTEGER, {columns}, "
            "PRIMARY KEY (tweet_id, hour)) WITHOUT ROWID"
        )
        db.execute("CREATE TABLE batches (key TEXT PRIMARY KEY) WITHOUT ROWID")
        added = ", ".join(f"{name} = {name} + excluded.{name}" for name in words.types)
        places = ", ".join("?" * (len(words.types) + 2))
        conflict = f"ON CONFLICT (tweet_id, hour) DO UPDATE SET {added}"
        self._upsert = f"INSERT INTO hours VALUES ({places}) {conflict}"
        sums_of = (f"sum({' + '.join(words.parts(name))})" for name in words.totals)
        self._totals = f"SELECT tweet_id, {', '.join(sums_of)} FROM hours WHERE tweet_id IN "

    def prepare(self, paths: Sequence[Path]) -> Rows:
        return fold.by_hour(fold.read_deltas(paths, self._words.types), self._words.types).rows()

    def apply(self, keys: Sequence[str], prepared: Rows) -> None:
        claim = "INSERT OR IGNORE INTO batches VALUES (?)"
        with self._lock, self._db as db:
            fresh = db.executemany(claim, [(key,) for key in keys]).rowcount
            if fresh == len(keys):
                db.executemany(self._upsert, prepared)
            elif fresh:
                raise RuntimeError("some of these batches were counted")

    def compact(self) -> None:
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def sums(self) -> dict[str, int]:
        sums = ", ".join(f"sum({name})" for name in self._words.types)
        row = self._db.execute(f"SELECT {sums} FROM hours").fetchone()
        return dict(zip(self._words.types, row, strict=True))

    def totals(self, tweet_ids: Sequence[int]) -> dict[int, list[int]]:
        places = ", ".join("?" * len(tweet_ids))
        rows = self._db.execute(f"{self._totals} ({places}) GROUP BY tweet_id", tweet_ids)
        return {tweet_id: list(counts) for tweet_id, *counts in rows}

    def disk_bytes(self) -> int:
        return self._path.stat().st_size


@contextmanager
def opened(folder: Path, words: Words) -> Iterator[Sqlite]:
    path = folder / "hours.sqlite3"
    with closing(sqlite3.connect(path, check_same_thread=False)) as db:
        yield Sqlite(path, words, db=db)
