"""DuckDB: its own reader appends raw events from the files; totals are a GROUP BY over them."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
from contender import Contender, Words

_APPEND = """
INSERT INTO events SELECT * FROM read_json(?, format = 'newline_delimited',
    columns = {'tweet_id': 'BIGINT', 'type': 'VARCHAR', 'at': 'TIMESTAMP'})
"""


class Duckdb(Contender):
    """Two threads append at once, each with its own connection, because one thread reads a file."""

    version = duckdb.__version__
    durable = True
    how = "its write-ahead log, synced at each commit"

    def __init__(self, path: Path, words: Words, *, db: duckdb.DuckDBPyConnection) -> None:
        self._path = path
        self._words = words
        self._db = db
        self._local = threading.local()
        names = ", ".join(f"'{name}'" for name in words.types)
        db.execute(f"CREATE TYPE event_type AS ENUM ({names})")
        db.execute("CREATE TABLE events (tweet_id BIGINT, type event_type, happened_at TIMESTAMP)")
        db.execute("CREATE TABLE batches (key VARCHAR PRIMARY KEY)")
        sums_of = (
            f"count(*) FILTER (type IN ({', '.join(map(repr, words.parts(name)))}))"
            for name in words.totals
        )
        self._totals = (
            f"SELECT tweet_id, {', '.join(sums_of)} FROM events "
            "WHERE tweet_id IN (SELECT unnest(?)) GROUP BY tweet_id"
        )

    def apply(self, keys: Sequence[str], prepared: Sequence[Path]) -> None:
        if not hasattr(self._local, "db"):
            self._local.db = self._db.cursor()
        db = self._local.db
        db.begin()
        claim = "INSERT INTO batches VALUES (?) ON CONFLICT DO NOTHING RETURNING key"
        if db.execute(claim, list(keys)).fetchall():
            db.execute(_APPEND, [str(prepared[0])])
        db.commit()

    def compact(self) -> None:
        self._db.execute("CHECKPOINT")

    def sums(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT type, count(*) FROM events GROUP BY type").fetchall())

    def totals(self, tweet_ids: Sequence[int]) -> dict[int, list[int]]:
        rows = self._db.execute(self._totals, [list(tweet_ids)]).fetchall()
        return {tweet_id: list(counts) for tweet_id, *counts in rows}

    def disk_bytes(self) -> int:
        return self._path.stat().st_size


@contextmanager
def opened(folder: Path, words: Words) -> Iterator[Duckdb]:
    path = folder / "events.duckdb"
    # The order of events does not matter; without it their parts are written in parallel.
    settings = {"preserve_insertion_order": "false"}
    with closing(duckdb.connect(str(path), config=settings)) as db:
        yield Duckdb(path, words, db=db)
