"""What a store of Tweets and counters promises, whatever it is built on.

* `apply_batches` is idempotent (a key is applied once, for as long as it is kept), atomic (a batch
  wholly or not at all) and durable (when it returns, the batch survives `kill -9` and power loss).
* A total equals the sum of its hours in whatever a reader sees, also while writes run; but for
  hours that were pruned, and for the views of a video that several Tweets carry.
* What was applied before a read began is in what that read returns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from openengagement.engagement.counters import Counters
from openengagement.engagement.types import Tweet


@dataclass(frozen=True, slots=True)
class Batch:
    """Deltas to apply under an idempotency key.

    `deltas` is what `engagement.rollup.fold_events` returns. `key` is None for a batch that must
    count each time it is sent. `digest` tells a repeat from another batch under the same key, and
    `outcome` is what a repeat is answered with: opaque bytes of the caller's.
    """

    deltas: Counters
    key: bytes | None
    digest: bytes
    outcome: bytes
    expires: bool = True  # whether the key may be forgotten after `idempotency_keep_days`


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a batch: applied now, or a repeat; `outcome` is the first sending's."""

    duplicate: bool
    outcome: bytes


class KeyConflict(Exception):
    """A key came back with another digest; nothing of that batch was applied."""


class CounterStore(Protocol):
    """A store; every method may be called from any thread and from several processes."""

    def apply_batches(self, batches: Sequence[Batch]) -> list[Applied | KeyConflict]:
        """Apply several batches in one durable commit; answers come in the same order.

        Raises:
            OverflowError: some counter might get past `engagement.counters.COUNTER_MAX`; nothing
                was applied.
        """

    def apply_tweets(self, tweets: pl.DataFrame) -> None:
        """Register or change Tweets, in one durable commit; `tweets` as `TWEET_SCHEMA` has it.

        Rows apply in order. A null keeps what is known; a new Tweet is then as old as its id says,
        without a video, and not deleted. Its views so far go along to the video it carries.
        """

    def delete_tweet(self, tweet_id: int) -> bool:
        """Mark a Tweet as deleted; False when it is not registered."""

    def read_tweets(self, tweet_ids: Sequence[int]) -> dict[int, Tweet]:
        """The registered ones among these Tweets."""

    def list_tweets(self, author_id: int, *, limit: int) -> list[Tweet]:
        """An author's newest Tweets, the newest first; deleted ones are left out.

        Of two posted in the same second, the one with the higher id is the newer.
        """

    def read_totals(self, tweet_ids: Sequence[int], types: Sequence[str]) -> npt.NDArray[np.int64]:
        """All-time counts, `[tweet, type]`, in the given order.

        `video_views` of a Tweet with a video is that of all Tweets with it (api.md 2.2).
        """

    def read_buckets(
        self, tweet_ids: Sequence[int], types: Sequence[str], *, start_hour: int, end_hour: int
    ) -> npt.NDArray[np.int64]:
        """Counts by hour bucket, `[tweet, type, hour]`, over `start_hour` <= hour < `end_hour`."""

    def prune(self, *, oldest_hour: int) -> int:
        """Forget the counters of hours before this one; returns how many. Totals stay."""

    def settle(self) -> None:
        """Have reads look into few places again, as after a large load."""

    def keep_settled(self) -> None:
        """From now on, in the background, have them look into fewer whenever nothing goes on."""

    def copy_to(self, folder: Path) -> None:
        """Copy everything into a folder, as it is at one moment, while others read and write."""

    def close(self) -> None:
        """Release every connection."""
