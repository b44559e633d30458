"""chDB, ClickHouse in the process: SummingMergeTree, filled from the files by its own reader.

Each batch is one part. It is synced with its folder before the insert returns, and identified by
its token. The log of tokens is not synced: a batch that is sent again after a loss of power may
count twice.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from chdb.session import Session
from contender import Contender, Words

# Without the window, a table of one replica keeps no log of the batches it has seen. Small granules
# suit reads of single Tweets.
_TABLE = """
CREATE TABLE bench.hours (tweet_id UInt64, hour UInt32, type Enum8({types}), count UInt64)
ENGINE = SummingMergeTree(count) ORDER BY (tweet_id, hour, type)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1, min_compressed_bytes_to_fsync_after_merge = 1,
    non_replicated_deduplication_window = 100000, index_granularity = 256
"""
_INSERT = """
INSERT INTO bench.hours
SELECT tweet_id, intDiv(toUnixTimestamp(at), 3600) AS hour, type, count()
FROM file('{path}', 'JSONEachRow', 'tweet_id UInt64, type Enum8({types}), at DateTime(\\'UTC\\')')
GROUP BY tweet_id, hour, type
SETTINGS date_time_input_format = 'best_effort', insert_deduplication_token = '{key}',
    min_insert_block_size_rows = 100000000, min_insert_block_size_bytes = 10000000000
"""


class Chdb(Contender):
    """Stores hours only; totals are their sums."""

    durable = True
    how = "fsync_after_insert, fsync_part_directory; its log of tokens is not synced"

    def __init__(self, folder: Path, words: Words, *, session: Session) -> None:
        self._folder = folder
        self._words = words
        self._session = session
        self._types = ", ".join(f"'{name}' = {index}" for index, name in enumerate(words.types))
        self.version = self._rows("SELECT version()")[0][0]
        session.query("CREATE DATABASE bench ENGINE = Atomic")
        session.query(_TABLE.format(types=self._types))
        sums_of = (
            f"sumIf(count, type IN ({', '.join(map(repr, words.parts(name)))}))"
            for name in words.totals
        )
        self._totals = f"SELECT tweet_id, {', '.join(sums_of)} FROM bench.hours WHERE tweet_id IN "

    def apply(self, keys: Sequence[str], prepared: Sequence[Path]) -> None:
        types = self._types.replace("'", "\\'")
        self._session.query(_INSERT.format(path=prepared[0], types=types, key=keys[0]))

    def compact(self) -> None:
        self._session.query("OPTIMIZE TABLE bench.hours FINAL")

    def sums(self) -> dict[str, int]:
        rows = self._rows("SELECT type, sum(count) FROM bench.hours GROUP BY type")
        return {name: int(count) for name, count in rows}

    def totals(self, tweet_ids: Sequence[int]) -> dict[int, list[int]]:
        rows = self._rows(f"{self._totals} ({', '.join(map(str, tweet_ids))}) GROUP BY tweet_id")
        return {int(tweet_id): list(map(int, counts)) for tweet_id, *counts in rows}

    def _rows(self, statement: str) -> list[list[str]]:
        text = str(self._session.query(statement, "TSV"))
        return [line.split("\t") for line in text.splitlines()]

    def disk_bytes(self) -> int:
        """Add up the active parts; merged ones stay on the disk for some minutes."""
        parts = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'hours'"
        return int(self._rows(parts)[0][0])


@contextmanager
def opened(folder: Path, words: Words) -> Iterator[Chdb]:
    session = Session(str(folder))
    try:
        yield Chdb(folder, words, session=session)
    finally:
        session.close()
