"""The store of a cluster: Tweets and the ledger in PostgreSQL, counters in ClickHouse.

A commit records its flight in PostgreSQL, inserts one block into each shard, and then ends the
flight (see `ledger` and `counting`). It is acknowledged when every replica in sync has its block.

A read sends its queries to the replicas that were in sync before, and to the videos that were known
before. Meanwhile it asks PostgreSQL whether both are still right, and begins again if they are not.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

import polars as pl
import psycopg

from openengagement.clock import Clock
from openengagement.engagement.counters import TYPE_MASK, Counters, Ints
from openengagement.engagement.overflow import merge_verified, verify_room
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
from openengagement.postgresql import Pool
from openengagement.stores.cluster import contents, ledger, ledger_time, pinging, windows
from openengagement.stores.cluster import tweets as table
from openengagement.stores.cluster.cells import blocks_of, large_ids
from openengagement.stores.cluster.chores import Chores
from openengagement.stores.cluster.counting import Inserter
from openengagement.stores.cluster.erasing import CounterEraser
from openengagement.stores.cluster.inventory import ClusterInventory
from openengagement.stores.cluster.layout import ClickhouseUrl, open_replicas
from openengagement.stores.cluster.pruning import Pruner
from openengagement.stores.cluster.reading import CellReader, Reading
from openengagement.stores.cluster.replicas import InSync, InSyncSet, States, read_states
from openengagement.stores.contract import Answer, Authored, Batch, StoreFault
from openengagement.telemetry import WARNING, log_event

_PAUSE_S: Final = 0.005
_WAIT_MAX_S: Final = 10.0  # for the flights of others
_PING_TIMEOUT_S: Final = 1.0
_BEHIND_S: Final = 30  # a flight that takes longer is not completed by anybody now
_FORGOTTEN_AT_ONCE: Final = 10_000  # Tweets; other writers wait for a lock meanwhile
_LARGE_MAX: Final = 1000  # Tweets with large counters in a commit
_VIDEOS_KNOWN_MAX: Final = 100_000

Connection = psycopg.Connection[Any]
Start = Callable[[Mapping[int, int], InSync], Reading]


class ClusterStore:
    """Both halves of `stores.contract`, at the URLs of PostgreSQL and of ClickHouse.

    Raises:
        UnusableCluster: `cluster init` was not run, or for other servers.
        StoreUnavailable: try again later.
    """

    name: Final = "cluster"
    blocking: Final = True

    def __init__(
        self, postgresql: str, url: ClickhouseUrl, *, clock: Clock, idempotency_keep_days: int
    ) -> None:
        self._clock = clock
        self._pool = Pool(postgresql, "Tweet")
        try:
            with self._pool.connection() as db:
                replicas = open_replicas(db, url)
        except BaseException:
            self._pool.close()
            raise
        # States are read while a commit waits with a connection of the first pool.
        self._states = Pool(postgresql, "Tweet")
        self._replicas = InSyncSet(replicas, self._states.connection)
        self._inserter = Inserter(self._replicas)
        self._reader = CellReader(self._replicas)
        self._pruner = Pruner(self._replicas)
        self._eraser = CounterEraser(
            self._states.connection,
            self._pruner,
            wait_for=lambda tokens: self._wait_until(lambda: not self._are_under_way(tokens)),
        )
        self._keep_s = idempotency_keep_days * DAY_S
        self._videos: dict[int, int] = {}  # of Tweets that were read lately
        self._chores = Chores(
            self._states.connection,
            self._replicas,
            complete=self._complete,
            erase=self._eraser.erase,
        )

    def apply_batches(self, batches: Sequence[Batch]) -> list[Answer]:
        with self._pool.connection() as db, db.transaction():
            token = ledger.next_token(db)
            now_s, jump = ledger_time.advance(db, self._clock)
            claim = ledger.claim(db, batches, token=token.number, now_s=now_s, keep_s=self._keep_s)
            deltas = merge_verified([batch.deltas for batch in claim.new])
            flight = self._begin(db, deltas, token=token)
        if jump is not None:
            noticed_by = "idempotency keys"
            log_event("clock_jumped", level=WARNING, noticed_by=noticed_by, **asdict(jump))
        self._complete(flight)
        if claim.earlier:
            self._wait_until(lambda: not self._are_under_way(claim.earlier))
        return claim.answers

    def apply_tweets(self, tweets: pl.DataFrame) -> None:
        folded, content = fold_tweets(tweets), fold_contents(tweets)
        with self._pool.connection() as db, db.transaction():
            if folded.get_column("video_id").drop_nulls().len():
                ledger.own_videos(db)  # before their numbers are read: `forget` removes videos
            numbered = table.number_videos(db, folded)
            videos = dict(numbered.select("id", "video_number").drop_nulls().rows())
            flight = self._move_views(db, videos) if videos else None
            table.register_tweets(db, numbered)
            contents.register_contents(db, content)
        self._complete(flight)

    def delete_tweet(self, tweet_id: int) -> bool:
        with self._pool.connection() as db, db.transaction():
            return table.delete_tweet(db, tweet_id)

    def read_contents(self, tweet_ids: Sequence[int]) -> dict[int, TweetContent]:
        with self._pool.connection() as db:
            return contents.read_contents(db, tweet_ids)

    def read_texts(self, tweet_ids: Sequence[int]) -> dict[int, str]:
        with self._pool.connection() as db:
            return contents.read_texts(db, tweet_ids)

    def read_tweets(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        with self._pool.connection() as db:
            found, videos = table.read_tweets(db, tweet_ids)
        self._remember(videos)
        return found

    def read_videos(self, tweet_ids: Sequence[int]) -> Mapping[int, int]:
        with self._pool.connection() as db:
            return table.read_videos(db, tweet_ids)

    def list_tweets(self, author_id: int, *, limit: int) -> list[Tweet]:
        with self._pool.connection() as db:
            return table.list_tweets(db, author_id, limit=limit)

    def read_totals(self, tweet_ids: Sequence[int], types: Sequence[str]) -> Ints:
        numbers = [TYPE_NAMES.index(name) for name in types]
        unique = list(dict.fromkeys(tweet_ids))

        def start(videos: Mapping[int, int], in_sync: InSync) -> Reading:
            ids = list(dict.fromkeys(ids_to_read(unique, videos)))
            return self._reader.start_totals(ids, in_sync)

        reading, videos = self._read(start, unique, views=VIDEO_VIEWS in numbers)
        sums = reading.finish()
        if videos:
            index = {each: place for place, each in enumerate(reading.ids)}
            sums = sums[[index[each] for each in ids_to_read(unique, videos)]]
            sums = share_views(sums, unique, videos=videos)
        return _in_order(sums, unique, asked=tweet_ids)[:, numbers]

    def read_buckets(
        self, tweet_ids: Sequence[int], types: Sequence[str], *, start_hour: int, end_hour: int
    ) -> Ints:
        numbers = [TYPE_NAMES.index(name) for name in types]
        unique, unique_types = list(dict.fromkeys(tweet_ids)), list(dict.fromkeys(numbers))
        hours = range(start_hour, end_hour)
        reading, _ = self._read(
            lambda _, in_sync: self._reader.start_buckets(
                unique, in_sync, types=unique_types, hours=hours
            ),
            unique,
            views=False,
        )
        sums = reading.finish().reshape(len(unique), len(unique_types), len(hours))
        by_tweet = _in_order(sums, unique, asked=tweet_ids)
        return _in_order(by_tweet, unique_types, asked=numbers, axis=1)

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
        query = windows.window_query(
            start_hour=start_hour, end_hour=end_hour, tweets_from=tweets_from
        )

        def read(ids: Sequence[int]) -> Reading:
            def start(_videos: Mapping[int, int], in_sync: InSync) -> Reading:
                return Reading(self._replicas, in_sync, ids=ids, query=query)

            return self._read(start, ids, views=False)[0]

        for first in range(0, len(tweet_ids), windows.IDS_MAX):
            some = tweet_ids[first : first + windows.IDS_MAX]
            windows.finish_window(read(some), sums, first=first)
        return sums

    def read_outcome(self, key: bytes, digest: bytes) -> bytes | None:
        with self._pool.connection() as db:
            found = ledger.read_outcome(db, key, digest=digest)
        return self._once_ended(found)

    def read_position(self, source: str) -> bytes | None:
        with self._pool.connection() as db:
            found = ledger.read_position(db, source)
        # Its consumer may have died. Position and counts agree once the flight has ended.
        return self._once_ended(found)

    def _once_ended(self, found: tuple[bytes, int] | None) -> bytes | None:
        """Return what a flight recorded, when the flight has ended."""
        if found is None:
            return None
        recorded, token = found
        self._wait_until(lambda: not self._are_under_way([token]))
        return recorded

    def ping(self) -> Collection[StoreFault]:
        with self._states.connection(timeout_s=_PING_TIMEOUT_S) as db:
            behind = ledger.is_behind(db, after_s=_BEHIND_S)
            if self._replicas.replicated:
                self._replicas.known = read_states(db).fetchall()
        whole = pinging.answers(self._replicas.last_known())
        found = {StoreFault.SOME_UNREADABLE: not whole, StoreFault.BEHIND: behind}
        return [fault for fault, exists in found.items() if exists]

    def measure(self) -> dict[str, int]:
        with self._states.connection() as db:
            return {"tweets": table.count_tweets(db), **ledger.count_flights(db)}

    def prune(self, *, oldest_hour: int) -> int:
        with self._pool.connection() as db:
            now_hour = ledger.read_hour(db)
        return self._pruner.prune(oldest_hour, now_hour=now_hour)

    def erase(self, ids: Sequence[int]) -> None:
        self._eraser.erase(ids)

    def erasing(self) -> AbstractContextManager[None]:
        return self._eraser.alone()

    def read_authored(self, author_ids: Sequence[int]) -> Authored:
        with self._pool.connection() as db, db.transaction():
            return table.read_authored(db, author_ids)

    def forget(self, authored: Authored) -> None:
        with self._pool.connection() as db:
            with db.transaction():
                unused = table.list_unused_videos(db)  # without a lock, because it takes longest
            for at in range(0, max(1, len(authored.tweet_ids)), _FORGOTTEN_AT_ONCE):
                ids = authored.tweet_ids[at : at + _FORGOTTEN_AT_ONCE]
                with db.transaction():
                    ledger.own_videos(db)
                    table.forget(db, replace(authored, tweet_ids=ids), unused=unused)
                unused = []

    def inventory(self) -> ClusterInventory:
        return ClusterInventory(self._pool, self._replicas, reader=self._reader)

    def close(self) -> None:
        self._chores.close()
        self._replicas.close()
        self._states.close()
        self._pool.close()

    def _read(
        self, start: Start, tweet_ids: Sequence[int], *, views: bool
    ) -> tuple[Reading, Mapping[int, int]]:
        """Begin a read for the videos of the Tweets, if `views`, and at replicas in sync.

        Return it, and the videos.
        """
        known, states = self._videos, self._replicas.known
        videos = {each: known[each] for each in tweet_ids if each in known} if views else {}
        if not views and not self._replicas.replicated:
            return start(videos, self._replicas.shards), videos
        reading = start(videos, self._replicas.last_known())
        try:
            fresh_states, fresh_videos = self._read_state(tweet_ids, views=views)
        except BaseException:
            reading.abandon()
            raise
        if fresh_states == states and fresh_videos == videos:
            return reading, videos
        reading.abandon()
        self._replicas.known = fresh_states
        self._remember(fresh_videos)
        return start(fresh_videos, self._replicas.last_known()), fresh_videos

    def _read_state(
        self, tweet_ids: Sequence[int], *, views: bool
    ) -> tuple[States, Mapping[int, int]]:
        """Read the states of the replicas, and the videos of Tweets if `views`."""
        with self._states.connection() as db, db.pipeline():
            states = read_states(db) if self._replicas.replicated else None
            videos = table.videos_of(db, tweet_ids) if views else None
        return states.fetchall() if states else [], dict(videos.fetchall()) if videos else {}

    def _remember(self, videos: Mapping[int, int]) -> None:
        """Keep videos as a guess for the next read."""
        if len(self._videos) > _VIDEOS_KNOWN_MAX:
            self._videos = {}
        self._videos.update(videos)

    def _begin(
        self, db: Connection, deltas: Counters, *, token: ledger.Token
    ) -> ledger.Flight | None:
        """Record the flight of these deltas. None if there are none."""
        views = bool(((deltas.cells & TYPE_MASK) == VIDEO_VIEWS).any())
        if views:
            ledger.share_videos(db)
            deltas = add_video_views(deltas, partial(table.read_videos, db))
        return self._record(db, deltas, token=token, views=views)

    def _record(
        self, db: Connection, deltas: Counters, *, token: ledger.Token, views: bool
    ) -> ledger.Flight | None:
        if not deltas.rows:
            return None
        large = large_ids(deltas)
        if token.any_large:
            large |= ledger.known_large(db, deltas.ids.tolist())
        if large:
            self._verify_room(db, deltas, large=large)
        shards = len(self._replicas.shards)
        blocks = blocks_of(deltas, shards=shards, token=token.number, now_hour=token.hour)
        flight = ledger.Flight(token.number, blocks)
        ledger.begin_flight(db, flight, views=views, large=bool(large))
        return flight

    def _verify_room(self, db: Connection, deltas: Counters, *, large: Collection[int]) -> None:
        """Verify that ClickHouse can add up the counters of these Tweets in 64 bits.

        Raises:
            OverflowError
        """
        if len(large) > _LARGE_MAX:
            raise OverflowError("the commit has large counts for too many Tweets")
        ids = sorted(large)
        ledger.own_large(db, ids)
        self._wait_until(lambda: not ledger.large_under_way(db))
        hours, totals = self._reader.read_all(ids)
        verify_room([deltas], hours=[hours], totals=[totals])

    def _move_views(self, db: Connection, videos: Mapping[int, int]) -> ledger.Flight | None:
        """Record the flight that moves the views of Tweets to their new videos."""
        before = table.read_videos(db, list(videos))
        if all(before.get(tweet_id) == video for tweet_id, video in videos.items()):
            return None
        # Flights that began earlier count for the videos of that time, so wait for them.
        self._wait_until(lambda: not ledger.views_under_way(db))
        deltas = move_views(before, videos, read_totals=self._reader.read_totals)
        return self._record(db, deltas, token=ledger.next_token(db), views=True)

    def _complete(self, flight: ledger.Flight | None, *, repeated: bool = False) -> None:
        """Insert the blocks of a flight, and end it."""
        if flight is None:
            return
        self._inserter.insert(flight, repeated=repeated)
        with self._pool.connection() as db:
            ledger.end_flight(db, flight.token)

    def _are_under_way(self, tokens: Collection[int]) -> bool:
        with self._pool.connection() as db:
            return ledger.under_way(db, list(tokens))

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for the flights of other commits, whoever completes them."""
        give_up_s = time.monotonic() + _WAIT_MAX_S
        while not condition():
            if time.monotonic() > give_up_s:
                raise StoreUnavailable("counters", "an earlier commit has not ended yet")
            time.sleep(_PAUSE_S)


def _in_order(sums: Ints, unique: Sequence[int], *, asked: Sequence[int], axis: int = 0) -> Ints:
    """Return sums of unique ids or types in the order of those asked, which may repeat one."""
    if len(unique) == len(asked):
        return sums
    index = {each: place for place, each in enumerate(unique)}
    return sums.take([index[each] for each in asked], axis=axis)
