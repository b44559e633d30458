"""The embedded store: Tweets and the ledger in an SQLite file, counters in segments.

A commit adds its counters as one segment, a blob of sorted arrays, in the same transaction that
records its idempotency keys. In the background, flush and compaction merge many segments into few
files (see `compaction`). A reader lists the segments in a snapshot of the database, and adds up
their counters. So it sees whole commits only.
"""

import sqlite3
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from openengagement.clock import Clock
from openengagement.damage import OnDamage, ignore_damage
from openengagement.engagement.counters import Counters, Ints, add_hours
from openengagement.engagement.overflow import merge_verified
from openengagement.engagement.tweets import TweetContent, fold_contents, fold_tweets
from openengagement.engagement.types import DAY_S, TYPE_NAMES, Tweet
from openengagement.engagement.videos import (
    VIDEO_VIEWS,
    add_video_views,
    ids_to_read,
    move_views,
    share_views,
)
from openengagement.engagement.window_sums import WindowSums
from openengagement.errors import StoreUnavailable
from openengagement.files import hold_lock
from openengagement.sqlite_files import connect, is_new, refuse_foreign_log
from openengagement.stores.contract import Answer, Applied, Authored, Batch, StoreFault
from openengagement.stores.embedded import contents, ledger, ledger_time, manifest
from openengagement.stores.embedded import tweets as table
from openengagement.stores.embedded.compaction import Compactor
from openengagement.stores.embedded.database import NAME, Database, verify_pages
from openengagement.stores.embedded.inventory import EmbeddedInventory
from openengagement.stores.embedded.merging import StoppedError
from openengagement.stores.embedded.reading import OpenSegments, SegmentReader
from openengagement.stores.embedded.segment_folder import SUFFIX
from openengagement.stores.embedded.segments import Segment, copy_segment
from openengagement.stores.embedded.totals import sum_totals
from openengagement.stores.embedded.upgrade import WITH_ORPHANS, WITH_ROWS, create_or_upgrade
from openengagement.telemetry import WARNING, log_event

_CONTENT: Final = ("segments", "tweets", "batches")


class EmbeddedStore:
    """Both halves of `stores.contract`, and every capability, in the file `path`.

    `on_damage` is called when a merge in the background meets damage.

    Raises:
        UnusableFile: database and segments are not of one state.
        OSError: the files cannot be used, or another version of the server made them.
        StoreUnavailable: try again later.
    """

    name: Final = NAME
    blocking: Final = False  # reads take microseconds, from mapped files

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        idempotency_keep_days: int,
        totals_cached_max: int = 0,
        on_damage: OnDamage = ignore_damage,
    ) -> None:
        self._clock = clock
        self._keep_s = idempotency_keep_days * DAY_S
        self._path = path
        self._folder = path.with_suffix(".segments")
        self._database = Database(path)
        self._reader = SegmentReader(
            self._database, self._folder, totals_cached_max=totals_cached_max
        )
        self._compactor = Compactor(self._database, self._folder, on_damage=on_damage)
        self._tweets = table.TweetCache(self._database)
        try:
            self._compactor.folder.refuse_new_database()
            with self._database.opening() as db:
                before = create_or_upgrade(db, lambda deltas: self._add(db, [deltas]))
                self._compactor.folder.refuse_misfit(db, orphans_expected=before in WITH_ORPHANS)
            if before in WITH_ROWS:
                self._compactor.notify_commit()
        except BaseException:
            self.close()
            raise

    def apply_batches(self, batches: Sequence[Batch]) -> list[Answer]:
        answers: list[Answer] = []
        deltas: list[Counters] = []
        with self._database.writing() as db:
            now_s, jump = ledger_time.advance(db, self._clock)
            ledger.expire_keys(db, before_s=now_s - self._keep_s)
            for batch in batches:
                answer = ledger.claim(db, batch, now_s=now_s)
                answers.append(answer)
                if isinstance(answer, Applied) and not answer.duplicate:
                    deltas.append(batch.deltas)
            self._add(db, deltas)
        if jump is not None:
            noticed_by = "idempotency keys"
            log_event("clock_jumped", level=WARNING, noticed_by=noticed_by, **asdict(jump))
        self._compactor.notify_commit()
        return answers

    def apply_tweets(self, tweets: pl.DataFrame) -> None:
        folded, content = fold_tweets(tweets), fold_contents(tweets)
        with self._database.writing() as db, contents.overwriting(db):
            numbered = table.number_videos(db, folded)
            videos = dict(numbered.select("id", "video_number").drop_nulls().rows())
            if videos:
                before = table.read_videos(db, list(videos))
                segments = self._reader.segments(db)
                moved = move_views(before, videos, read_totals=partial(sum_totals, segments))
                manifest.add_segment(db, moved, read_segments=lambda: segments)
            table.register_tweets(db, numbered)
            contents.register_contents(db, content)
        if videos:
            self._compactor.notify_commit()

    def delete_tweet(self, tweet_id: int) -> bool:
        with self._database.writing() as db, contents.overwriting(db):
            return table.delete_tweet(db, tweet_id)

    def read_tweets(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        return self._tweets.read(tweet_ids)

    def read_contents(self, tweet_ids: Sequence[int]) -> dict[int, TweetContent]:
        with self._database.snapshot() as db:
            return contents.read_contents(db, tweet_ids)

    def read_texts(self, tweet_ids: Sequence[int]) -> dict[int, str]:
        with self._database.snapshot() as db:
            return contents.read_texts(db, tweet_ids)

    def read_videos(self, tweet_ids: Sequence[int]) -> dict[int, int]:
        with self._database.snapshot() as db:
            return self._tweets.read_videos(db, tweet_ids)

    def list_tweets(self, author_id: int, *, limit: int) -> list[Tweet]:
        with self._database.snapshot() as db:
            return table.list_tweets(db, author_id, limit=limit)

    def read_totals(self, tweet_ids: Sequence[int], types: Sequence[str]) -> Ints:
        numbers = [TYPE_NAMES.index(name) for name in types]
        segments, videos = self._read_state(tweet_ids, with_videos=VIDEO_VIEWS in numbers)
        if videos:
            sums = segments.read_totals(ids_to_read(tweet_ids, videos))
            sums = share_views(sums, tweet_ids, videos=videos)
        else:
            sums = segments.read_totals(tweet_ids)
        return sums[:, numbers]

    def _read_state(
        self, tweet_ids: Sequence[int], *, with_videos: bool
    ) -> tuple[OpenSegments, dict[int, int]]:
        """Read the segments, and the number of each Tweet's video, both of the same commit."""

        def read(db: sqlite3.Connection) -> tuple[OpenSegments, dict[int, int]]:
            videos = self._tweets.read_videos(db, tweet_ids) if with_videos else {}
            return self._reader.open_listed(db), videos

        mark = self._database.mark()
        videos = self._tweets.cached_videos(mark, tweet_ids) if with_videos else {}
        if videos is not None:
            segments = self._reader.read_newest()
            if mark == self._database.mark():  # no commit came in between
                return segments, videos
        return self._reader.read_snapshot(read)

    def read_buckets(
        self, tweet_ids: Sequence[int], types: Sequence[str], *, start_hour: int, end_hour: int
    ) -> Ints:
        numbers = [TYPE_NAMES.index(name) for name in types]
        sums = np.zeros((len(tweet_ids), end_hour - start_hour, len(TYPE_NAMES)), np.int64)
        ids = np.array(tweet_ids, np.int64)
        for segment in self._reader.read_newest().by_id.values():
            add_hours(sums, segment.hours, tweet_ids=ids, start_hour=start_hour)
        return sums[:, :, numbers].transpose(0, 2, 1)

    def read_window(
        self,
        tweet_ids: Sequence[int],
        *,
        start_hour: int,
        end_hour: int,
        tweets_from: int | None = None,
    ) -> WindowSums:
        sums = WindowSums(
            tweet_ids, start_hour=start_hour, end_hour=end_hour, tweets_from=tweets_from
        )
        for segment in self._reader.read_newest().by_id.values():
            sums.add(segment.hours)
        return sums

    def holds_older(self) -> bool:
        with self._database.snapshot() as db:
            return ledger.holds_older(db)

    def read_older_outcome(self, key: bytes, body: bytes) -> bytes | None:
        with self._database.snapshot() as db:
            return ledger.read_older_outcome(db, key, body=body)

    def read_outcome(self, key: bytes, digest: bytes) -> bytes | None:
        with self._database.snapshot() as db:
            return ledger.read_outcome(db, key, digest=digest)

    def read_position(self, source: str) -> bytes | None:
        with self._database.snapshot() as db:
            return ledger.read_position(db, source)

    def ping(self) -> Collection[StoreFault]:
        self.read_totals([1], ["favorites"])
        return ()

    def prune(self, *, oldest_hour: int) -> int:
        return self._compactor.prune(oldest_hour)

    def erase(self, ids: Sequence[int]) -> None:
        if not ids:
            return
        try:
            self._compactor.erase(np.unique(np.array(ids, np.int64)))
        except StoppedError:
            raise StoreUnavailable(NAME, "the server is stopping") from None

    def erasing(self) -> AbstractContextManager[object]:
        return hold_lock(self._path.with_name("erasure.lock"))

    def read_authored(self, author_ids: Sequence[int]) -> Authored:
        with self._database.snapshot() as db:
            return table.read_authored(db, author_ids)

    def forget(self, authored: Authored) -> None:
        with self._database.writing() as db:
            table.forget(db, authored)

    def measure(self) -> dict[str, int]:
        with self._database.snapshot() as db:
            records = manifest.list_segments(db)
            tweets = db.execute("SELECT count(*) FROM tweets").fetchone()[0]
        files = [record for record in records if record.file is not None]
        return {
            "tweets": tweets,
            "counter_rows": sum(record.rows for record in records),
            "segment_files": len(files),
            "unflushed_segments": len(records) - len(files),
        }

    def count_cached(self) -> dict[str, int]:
        return {"tweets": self._tweets.count_cached(), "totals": self._reader.count_cached()}

    def scrub(self) -> None:
        self._database.scrub()

    def inventory(self) -> EmbeddedInventory:
        return EmbeddedInventory(self._database, self._reader)

    def start_compaction(self) -> None:
        self._compactor.start()

    def compact(self) -> None:
        self._compactor.compact()

    def copy_to(self, folder: Path) -> None:
        segments = folder / self._folder.name
        segments.mkdir()
        copy = partial(self._copy_database, path=folder / self._path.name)
        for name, segment in self._reader.read_snapshot(copy).items():
            copy_segment(segment, segments / name)

    def _copy_database(self, db: sqlite3.Connection, path: Path) -> dict[str, Segment]:
        """Copy a snapshot. Return the files that it lists, opened so that none can disappear."""
        files: dict[str, Segment] = {}
        for record in manifest.list_segments(db):
            segment = manifest.read_segment(db, record, folder=self._folder)
            if record.file:
                files[record.file] = segment
        with closing(sqlite3.connect(path)) as target:
            db.backup(target)
            verify_pages(target, file=self._path.name)
            # These files are not copied. In another folder, the records could name other files.
            target.execute("DELETE FROM unlisted_files")
            target.commit()
        return files

    def _add(self, db: sqlite3.Connection, deltas: Sequence[Counters]) -> None:
        """Add the deltas of a commit, and the views that they add to videos.

        Raises:
            OverflowError: a counter would pass COUNTER_MAX.
        """
        merged = add_video_views(merge_verified(deltas), partial(table.read_videos, db))
        manifest.add_segment(db, merged, read_segments=partial(self._reader.segments, db))

    def close(self) -> None:
        self._compactor.close()
        self._database.close()


def holds_counters(path: Path) -> bool:
    """Whether the store `path` has segment files, or any row.

    Raises:
        UnusableFile: a write-ahead log next to it does not belong to it.
    """
    if any(path.with_suffix(".segments").glob(f"*{SUFFIX}")):
        return True
    refuse_foreign_log(path)
    if is_new(path):
        return False
    try:
        with closing(connect(path, mode="ro")) as db:
            return any(db.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in _CONTENT)  # noqa: S608
    except sqlite3.OperationalError:
        return True  # an older version made it, with other tables
    except sqlite3.DatabaseError:
        return False  # not a database; opening it says so
