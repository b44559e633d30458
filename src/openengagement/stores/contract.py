"""The contract of the engines that store counters and Tweets.

Every engine, or pair of engines, offers `CounterStore` and `TweetStore`. `Prunes`, `Erases`,
`Forgets`, `Scrubs`, `Measures`, `Caches`, `Compacts`, `RemembersOlder` and `Copies` are
capabilities, which only some engines have. Find out with `isinstance`.

Every method may be called from any thread, and from several processes or machines at once.

After an acknowledgement. When `apply_batches`, `apply_tweets` or `delete_tweet` has returned:

* the change survives `kill -9` and power loss;
* every read that begins later, in any process on any machine, contains it;
* a reader that has seen the change never sees an older state again.

Consistency. A reader sees all of a batch or nothing of it. On a cluster that is true of each Tweet,
but until the batch is acknowledged it may be seen for one Tweet and not yet for another. A total
equals the sum of its hours in every state that a reader can see, also while writes run. There are
two exceptions: hours that were pruned, and the views of a video, which all Tweets with it share
(`engagement.videos`).

Failure. A call that may succeed later raises `errors.StoreUnavailable`. Damaged data raises
`errors.StoreDamaged`: it is never returned as a number, merged or copied.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import polars as pl

from openengagement.engagement.counters import Counters
from openengagement.engagement.tweets import TweetContent
from openengagement.engagement.types import Tweet
from openengagement.engagement.window_sums import WindowSums


@dataclass(frozen=True, slots=True)
class Position:
    """How far a source, such as a partition of a log, is counted when a batch is committed.

    `after` is the source's position before the batch, None at its beginning. Both are opaque to the
    store, which only compares them. Only the consumer understands them.
    """

    source: str
    offset: bytes
    after: bytes | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Deltas to apply under an idempotency key.

    `deltas` is the result of `engagement.rollup.fold_events`. A batch without a `key` counts each
    time it is sent. `digest` distinguishes a repeat from another batch under the same key.
    `outcome` is the answer to a repeat. Only the caller understands its bytes.
    """

    deltas: Counters
    key: bytes | None
    digest: bytes
    outcome: bytes
    expires: bool = True  # whether the key may be forgotten after `idempotency_keep_days`
    position: Position | None = None  # committed together with the counts


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer to a batch. `outcome` is that of the first attempt under the same key."""

    duplicate: bool
    outcome: bytes


class KeyConflict(Exception):
    """The key was used with another digest. Nothing of this batch was applied."""


class PositionConflict(Exception):
    """The source is not at the position that the batch follows. Nothing of it was applied."""


class StoreFault(StrEnum):
    """A part of a store that does not work, as `/readyz` names it."""

    SOME_UNREADABLE = "some counters cannot be read"
    BEHIND = "batches wait to be counted"  # recorded half a minute ago, and not counted yet


Answer = Applied | KeyConflict | PositionConflict


class Store(Protocol):
    """The part of the contract that is the same for every engine."""

    @property
    def name(self) -> str:
        """The engine's name, as messages to operators show it."""

    @property
    def blocking(self) -> bool:
        """Whether reads may wait, as for a network. If so, the server makes them in threads."""

    def ping(self) -> Collection[StoreFault]:
        """Find out whether reads would be answered now. It is cheap, and gives up within seconds.

        Returns what does not work although other reads would be answered.

        Raises:
            StoreUnavailable, StoreDamaged, OSError: no read would be answered.
        """

    def close(self) -> None:
        """Close every connection. Calls that are under way may fail."""


class CounterStore(Store, Protocol):
    """Counts of engagement, by Tweet, type and hour."""

    def apply_batches(self, batches: Sequence[Batch]) -> list[Answer]:
        """Apply several batches durably. The answers come in the same order.

        A key is applied once, for as long as it is kept. A repeat is answered with the outcome of
        the first attempt. An engine that records a key before it counts may find a key without
        an outcome. It then completes the first attempt, or raises StoreUnavailable. It never
        answers with the outcome of the repeat.

        The position of a batch is committed atomically with its counts, if it has counts. A batch
        that follows another position than that of the store is refused, also while two consumers
        commit at once. Several batches from one source in a call may follow each other. A repeat
        moves the position too, because its events are counted. A conflict does not.

        Raises:
            OverflowError: a counter might pass `engagement.counters.COUNTER_MAX`; nothing was
                applied. An engine that cannot know this when it writes accepts the batch and adds
                up in a wider type. Reads then raise OverflowError. They never return a number that
                wrapped around.
            StoreUnavailable: the batches may or may not have been applied. Send them again under
                the same keys. A consumer without keys reads its position to find out.
        """

    def read_totals(self, tweet_ids: Sequence[int], types: Sequence[str]) -> npt.NDArray[np.int64]:
        """Read all-time counts, `[tweet, type]`, in the given order.

        `video_views` of a Tweet with a video is the sum over all Tweets with it (api.md 2.2).

        Raises:
            ValueError: a type is unknown.
            StoreUnavailable: try again later.
        """

    def read_buckets(
        self, tweet_ids: Sequence[int], types: Sequence[str], *, start_hour: int, end_hour: int
    ) -> npt.NDArray[np.int64]:
        """Read counts by hour bucket, `[tweet, type, hour]`, `start_hour` <= hour < `end_hour`.

        Raises:
            ValueError: a type is unknown.
            StoreUnavailable: try again later.
        """

    def read_window(
        self,
        tweet_ids: Sequence[int],
        *,
        start_hour: int,
        end_hour: int,
        tweets_from: int | None = None,
    ) -> WindowSums:
        """Add up the counts of `read_buckets` for many Tweets: by hour, and by Tweet.

        The sums by Tweet begin at the hour `tweets_from`, by default at `start_hour`. The Tweets
        must be unique. There may be tens of thousands.

        Raises:
            OverflowError: a sum might be too large.
            StoreUnavailable: try again later.
        """

    def read_outcome(self, key: bytes, digest: bytes) -> bytes | None:
        """Read the outcome of the batch that was applied under a key, if its digest is this one.

        The batch is then acknowledged. An engine may still know a key that has expired.

        Raises:
            StoreUnavailable: try again later.
        """

    def read_position(self, source: str) -> bytes | None:
        """Read the offset that was last committed for a source, None if there is none.

        Reads that begin later contain the counts up to it.

        Raises:
            StoreUnavailable: try again later.
        """


class TweetStore(Store, Protocol):
    """The registered Tweets. Every method raises StoreUnavailable when it may succeed later."""

    def apply_tweets(self, tweets: pl.DataFrame) -> None:
        """Register or change Tweets durably, all or none. Rows apply in order.

        `tweets` has the columns of `engagement.tweets.TWEET_SCHEMA`. A null keeps the known value.
        For a new Tweet, nulls mean: created at the time in its id, no video, not deleted, no
        content. When a Tweet changes its video, its views so far move with it. A deleted Tweet has
        no content.
        """

    def delete_tweet(self, tweet_id: int) -> bool:
        """Mark a Tweet as deleted and keep its counters. False if it is not registered.

        Its content is erased.
        """

    def read_contents(self, tweet_ids: Sequence[int]) -> dict[int, TweetContent]:
        """Read the contents of Tweets by id, without those that have none."""

    def read_texts(self, tweet_ids: Sequence[int]) -> dict[int, str]:
        """Read the texts of `read_contents` alone, which is cheaper for very many Tweets."""

    def read_tweets(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        """Read Tweets by id, in the given order, without those that are not registered."""

    def list_tweets(self, author_id: int, *, limit: int) -> list[Tweet]:
        """List an author's newest Tweets, the newest first, without deleted ones.

        Of two Tweets of the same second, the one with the higher id comes first.
        """

    def read_videos(self, tweet_ids: Sequence[int]) -> Mapping[int, int]:
        """Read the number of the video of each Tweet that has one.

        The store numbers videos from 1 to 2^63-1. A video keeps its number for ever, and no two
        videos have the same one. `engagement.videos` counts views under it.
        """


@dataclass(frozen=True, slots=True)
class Stores:
    """The counter store and the Tweet store. One engine may be both."""

    counters: CounterStore
    tweets: TweetStore

    @property
    def engines(self) -> tuple[Store, ...]:
        """Each engine once."""
        return tuple({id(engine): engine for engine in (self.counters, self.tweets)}.values())

    def close(self) -> None:
        """Close every engine."""
        for engine in self.engines:
            engine.close()


@runtime_checkable
class Prunes(Protocol):
    """A counter store that can forget old hours."""

    def prune(self, *, oldest_hour: int) -> int:
        """Forget the counters of earlier hours and return their number. Totals stay."""


@runtime_checkable
class Erases(Protocol):
    """A counter store that can erase counters."""

    def erase(self, ids: Sequence[int]) -> None:
        """Erase all counters of these Tweets, durably. A negative id is that of a video.

        A call may be repeated. If it fails, some counters may be erased and others not, so erase
        only Tweets that are not served. Events that are applied meanwhile may still count.

        Raises:
            StoreUnavailable: try again later.
            StoreDamaged: the counters share a file with damaged ones.
        """

    def erasing(self) -> AbstractContextManager[object]:
        """Wait until no other erasure works on this store, and keep it so for the block.

        It counts for all processes, and all machines that use the store.

        Raises:
            StoreUnavailable: it takes too long.
        """


@dataclass(frozen=True, slots=True)
class Authored:
    """The Tweets of some authors, deleted ones too, and the numbers of videos that only they have.

    Their views are counted under a video's number (`engagement.videos`).
    """

    author_ids: Sequence[int]
    tweet_ids: Sequence[int]
    videos: Sequence[int]

    @property
    def counter_ids(self) -> list[int]:
        """The ids of all counters that only these authors have, as `Erases.erase` takes them."""
        return [*self.tweet_ids, *(-video for video in self.videos)]


@runtime_checkable
class Forgets(Protocol):
    """A Tweet store that can forget the Tweets of authors."""

    def read_authored(self, author_ids: Sequence[int]) -> Authored:
        """Read which Tweets these authors have."""

    def forget(self, authored: Authored) -> None:
        """Forget these Tweets as if they were never registered, and the ids of their videos.

        A Tweet that has another author by now stays, and so does a video that another Tweet has. A
        video's number is never used again. A call may be repeated.
        """


@runtime_checkable
class Scrubs(Protocol):
    """A store whose files keep what was erased, until it is scrubbed."""

    def scrub(self) -> None:
        """Overwrite what erased data has left in the files.

        Raises:
            StoreUnavailable: try again later.
        """


@runtime_checkable
class Measures(Protocol):
    """A store that knows how much it holds."""

    def measure(self) -> dict[str, int]:
        """Return figures for operators by name, such as `tweets`. It may take a second."""


@runtime_checkable
class Caches(Protocol):
    """A store that keeps what it has read in memory."""

    def count_cached(self) -> dict[str, int]:
        """Return the entries of each cache of this process, by its name."""


@runtime_checkable
class Compacts(Protocol):
    """A store whose reads become slower with the number of commits, until it is compacted."""

    def compact(self) -> None:
        """Compact now, and return when reads are fast. Call after a large load."""

    def start_compaction(self) -> None:
        """Compact in the background from now on, whenever the store is idle."""


@runtime_checkable
class RemembersOlder(Protocol):
    """A store that may know batches which version 0.1.0 of the server counted."""

    def holds_older(self) -> bool:
        """Whether it knows any."""

    def read_older_outcome(self, key: bytes, body: bytes) -> bytes | None:
        """Return the outcome of a batch, by the key that its producer sent, and its body."""


@runtime_checkable
class Copies(Protocol):
    """A store that can copy itself to a folder."""

    def copy_to(self, folder: Path) -> None:
        """Copy everything as it is at one moment, while others read and write.

        Raises:
            OSError: the folder cannot be written.
        """
