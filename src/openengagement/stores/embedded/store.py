"""Tweets in one SQLite file, counters in segments that the file lists: the embedded default.

A commit adds its counters as one segment, a blob of sorted arrays, in the transaction that keeps
its idempotency keys. In the background many such become one, in a file of their own (see
`compaction`). A reader asks the database which segments there are and adds up what they hold of its
Tweets, so that whatever it sees is whole.

What a video drew is counted like what a Tweet drew, under the video's number with a minus.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import polars as pl

from openengagement.clock import Clock
from openengagement.engagement.counters import (
    COUNTER_MAX,
    HOUR_MAX,
    TYPE_MASK,
    AnyInts,
    Counters,
    Ints,
    add_hours,
    add_totals,
    cells_of,
    merge,
    sum_rows,
    to_totals,
)
from openengagement.engagement.tweets import fold_tweets
from openengagement.engagement.types import DAY_S, TYPE_NAMES, Tweet
from openengagement.stores.contract import Applied, Batch, KeyConflict
from openengagement.stores.embedded import manifest, upgrade
from openengagement.stores.embedded import tweets as table
from openengagement.stores.embedded.compaction import Compactor
from openengagement.stores.embedded.database import Database
from openengagement.stores.embedded.segments import Segment, copy_segment, let_go_soon

Found = TypeVar("Found")
SCHEMA_VERSION: Final = 5
_NEVER: Final = 2**62  # "applied" so late that the key does not grow old
_LOOKS: Final = 10  # at a snapshot, until none of its files goes meanwhile
_VIDEO_VIEWS: Final = TYPE_NAMES.index("video_views")
_BATCHES: Final = """
CREATE TABLE batches (
    key BLOB PRIMARY KEY, digest BLOB NOT NULL, outcome BLOB NOT NULL, applied_at_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_by_age ON batches (applied_at_s)
"""
_POSITIONS: Final = """
CREATE TABLE positions (source TEXT PRIMARY KEY, position BLOB NOT NULL) STRICT, WITHOUT ROWID
"""
_SCHEMA: Final = f"{table.SCHEMA};{table.INDEX};{_BATCHES};{manifest.SCHEMA}"


class EmbeddedStore:
    """Both halves of `stores.contract`, and every capability, in the file `path`."""

    name: Final = "embedded"
    blocking: Final = False  # reads take microseconds, from mapped files

    def __init__(self, path: Path, *, clock: Clock, idempotency_keep_days: int) -> None:
        self._clock = clock
        self._keep_s = idempotency_keep_days * DAY_S
        self._path = path
        self._folder = path.with_suffix(".segments")
        self._database = Database(path)
        self._compactor = Compactor(self._database, self._folder)
        self._tweets = table.RememberedTweets(self._database)
        self._known: dict[int, Segment] = {}
        try:
            if self._make_tables():
                self._compactor.note()
        except BaseException:
            self.close()
            raise

    def _make_tables(self) -> bool:
        """Make them, or bring them up to date; whether counters were moved."""
        with self._database.writing() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == SCHEMA_VERSION:
                return False
            if version == 0:
                for statement in (*_SCHEMA.split(";"), *table.CHANGES):
                    db.execute(statement)
            elif version in upgrade.WITH_ROWS:
                for statement in (table.INDEX, manifest.SCHEMA, *table.CHANGES):
                    db.execute(statement)
                upgrade.move_counters(db, lambda deltas: _add(db, [deltas]))
            elif version not in upgrade.WITH_SEGMENTS:
                raise sqlite3.DatabaseError(f"made by another version of the server ({version})")
            if version != upgrade.WITH_VIDEO_CHANGES:
                db.execute(table.NOTE_VIDEOS)
            db.execute(_POSITIONS)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            return version in upgrade.WITH_ROWS

    def apply_batches(self, batches: Sequence[Batch]) -> list[Applied | KeyConflict]:
        answers: list[Applied | KeyConflict] = []
        fresh: list[Counters] = []
        with self._database.writing() as db:
            now_s = int(self._clock.now_s())
            db.execute("DELETE FROM batches WHERE applied_at_s < ?", (now_s - self._keep_s,))
            for batch in batches:
                answer = _claim(db, batch, now_s=now_s)
                answers.append(answer)
                if isinstance(answer, Applied) and not answer.duplicate:
                    fresh.append(batch.deltas)
                    if batch.position:
                        position = (batch.position.source, batch.position.offset)
                        db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", position)
            _add(db, fresh)
        self._compactor.note()
        return answers

    def apply_tweets(self, tweets: pl.DataFrame) -> None:
        folded = fold_tweets(tweets)
        carried = dict(folded.select("id", "video_id").drop_nulls().rows())
        with self._database.writing() as db:
            self._move_views(db, carried)
            table.register_tweets(db, folded)
        if carried:
            self._compactor.note()

    def _move_views(self, db: sqlite3.Connection, carried: dict[int, int]) -> None:
        """Take each Tweet's views from the video it carries so far to the one in `carried`."""
        known = table.read_videos(db, list(carried))
        moved = [each for each, video_id in carried.items() if known.get(each) != video_id]
        views = _sum_totals(self._view(db), moved)[:, _VIDEO_VIEWS]
        left = [at for at, tweet_id in enumerate(moved) if tweet_id in known]
        gained = _as_views([-carried[tweet_id] for tweet_id in moved], views)
        lost = _as_views([-known[moved[at]] for at in left], -views[left])
        manifest.add_segment(db, merge([gained, lost]))

    def delete_tweet(self, tweet_id: int) -> bool:
        with self._database.writing() as db:
            return table.delete_tweet(db, tweet_id)

    def read_tweets(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        return self._tweets.read(tweet_ids)

    def read_videos(self, tweet_ids: Sequence[int]) -> dict[int, int]:
        with self._database.snapshot() as db:
            return table.read_videos(db, tweet_ids)

    def list_tweets(self, author_id: int, *, limit: int) -> list[Tweet]:
        return table.list_tweets(self._database.connection(), author_id, limit=limit)

    def read_totals(self, tweet_ids: Sequence[int], types: Sequence[str]) -> Ints:
        numbers = [TYPE_NAMES.index(name) for name in types]
        segments, videos = self._look(tweet_ids if _VIDEO_VIEWS in numbers else ())
        sums = _sum_totals(segments, tweet_ids)
        if videos:
            carrying = [at for at, tweet_id in enumerate(tweet_ids) if tweet_id in videos]
            shared = _sum_totals(segments, [-videos[tweet_ids[at]] for at in carrying])
            sums[carrying, _VIDEO_VIEWS] = shared[:, _VIDEO_VIEWS]
        return sums[:, numbers]

    def read_buckets(
        self, tweet_ids: Sequence[int], types: Sequence[str], *, start_hour: int, end_hour: int
    ) -> Ints:
        numbers = [TYPE_NAMES.index(name) for name in types]
        segments, _ = self._look(())
        sums = np.zeros((len(tweet_ids), end_hour - start_hour, len(TYPE_NAMES)), np.int64)
        ids = np.array(tweet_ids, np.int64)
        for segment in segments:
            add_hours(sums, segment.hours, tweet_ids=ids, start_hour=start_hour)
        return sums[:, :, numbers].transpose(0, 2, 1)

    def read_position(self, source: str) -> bytes | None:
        asked = "SELECT position FROM positions WHERE source = ?"
        with self._database.snapshot() as db:
            row: tuple[bytes] | None = db.execute(asked, (source,)).fetchone()
        return row[0] if row else None

    def prune(self, *, oldest_hour: int) -> int:
        return self._compactor.prune(oldest_hour)

    def start_compaction(self) -> None:
        self._compactor.start()

    def compact(self) -> None:
        self._compactor.compact()

    def copy_to(self, folder: Path) -> None:
        copied = folder / self._folder.name
        copied.mkdir()
        for name, segment in self._copy_database(folder / self._path.name).items():
            copy_segment(segment, copied / name)

    def _copy_database(self, path: Path) -> dict[str, Segment]:
        """Copy a snapshot; returns the files it lists, opened: so they outlive their merging."""

        def copy(db: sqlite3.Connection) -> dict[str, Segment]:
            listed = [each for each in manifest.list_segments(db) if each.file]
            files = [manifest.read_segment(db, each, folder=self._folder) for each in listed]
            with closing(sqlite3.connect(path)) as target:
                db.backup(target)
            return {str(each.file): file for each, file in zip(listed, files, strict=True)}

        return self._read_snapshot(copy)

    def close(self) -> None:
        self._compactor.close()
        self._database.close()

    def _look(self, tweet_ids: Sequence[int]) -> tuple[list[Segment], dict[int, int]]:
        """Every segment, and the videos of these Tweets, in one snapshot."""

        def look(db: sqlite3.Connection) -> tuple[list[Segment], dict[int, int]]:
            videos = self._tweets.read_videos(db, tweet_ids) if tweet_ids else {}
            return self._view(db), videos

        return self._read_snapshot(look)

    def _read_snapshot(self, read: Callable[[sqlite3.Connection], Found]) -> Found:
        """What `read` makes of a snapshot.

        A file that it lists may be merged, and gone, before it is opened: then of a later one.
        """
        for _ in range(_LOOKS):
            with suppress(FileNotFoundError), self._database.snapshot() as db:
                return read(db)
        raise FileNotFoundError(f"a segment that is listed is missing from {self._folder}")

    def _view(self, db: sqlite3.Connection) -> list[Segment]:
        """Every segment of this snapshot, those that were read before as they are."""
        known = self._known
        listed = manifest.list_segments(db)
        if known.keys() != {each.segment_id for each in listed}:
            known = {
                each.segment_id: known.get(each.segment_id)
                or manifest.read_segment(db, each, folder=self._folder)
                for each in listed
            }
            before, self._known = self._known, known
            gone = [before[each] for each in before.keys() - known.keys()]
            if any(segment.is_file for segment in gone):
                let_go_soon(gone)
        return list(known.values())


def _claim(db: sqlite3.Connection, batch: Batch, *, now_s: int) -> Applied | KeyConflict:
    """Whether a batch is new: then its key is kept."""
    if batch.key is None:
        return Applied(duplicate=False, outcome=batch.outcome)
    asked = "SELECT digest, outcome FROM batches WHERE key = ?"
    known = db.execute(asked, (batch.key,)).fetchone()
    if known is None:
        row = (batch.key, batch.digest, batch.outcome, now_s if batch.expires else _NEVER)
        db.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", row)
        return Applied(duplicate=False, outcome=batch.outcome)
    digest, outcome = known
    return Applied(duplicate=True, outcome=outcome) if digest == batch.digest else KeyConflict()


def _add(db: sqlite3.Connection, fresh: Sequence[Counters]) -> None:
    """Add deltas, and what they add to the videos that their Tweets carry.

    Raises:
        OverflowError: a counter might get further from zero than COUNTER_MAX.
    """
    if sum(part.reach for part in fresh) > COUNTER_MAX:
        raise OverflowError("a counter might not hold the deltas of this commit")
    deltas = merge(fresh)
    views = to_totals(deltas.where((deltas.cells & TYPE_MASK) == _VIDEO_VIEWS))
    videos = table.read_videos(db, views.ids.tolist())
    carrying = np.isin(views.ids, list(videos))
    ids = [-videos[tweet_id] for tweet_id in views.ids[carrying].tolist()]
    manifest.add_segment(db, merge([deltas, _as_views(ids, views.counts[carrying])]))


def _as_views(ids: Sequence[int], counts: AnyInts) -> Counters:
    """Views of videos; their hours are not asked for, so they are of the last one of all."""
    cells = cells_of(np.full(len(ids), HOUR_MAX), np.array(_VIDEO_VIEWS))
    return sum_rows(np.array(ids, np.int64), cells, counts=counts.astype(np.int64))


def _sum_totals(segments: Sequence[Segment], tweet_ids: Sequence[int]) -> Ints:
    """Totals `[tweet, type number]`."""
    sums = np.zeros((len(tweet_ids), len(TYPE_NAMES)), np.int64)
    ids = np.array(tweet_ids, np.int64)
    for segment in segments:
        add_totals(sums, segment.summable, tweet_ids=ids)
    return sums
