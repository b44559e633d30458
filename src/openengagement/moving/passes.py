"""Compare everything in two stores, in order, and copy what differs.

The target itself is the record of what was copied. So a pass may end anywhere and begin anew, and
passes over a source that changes come closer with each one.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from openengagement.engagement.counters import Ints, no_counters
from openengagement.engagement.differences import subtract
from openengagement.engagement.tweets import TWEET_SCHEMA
from openengagement.engagement.types import HOUR_S, ID_MAX
from openengagement.engagement.videos import views_of
from openengagement.ingest.logs.store_identity import SOURCE as IDENTITY
from openengagement.moving.sides import CannotMove, Side
from openengagement.moving.tally import OnCompared, Pace, Tally
from openengagement.moving.writer import TargetWriter
from openengagement.stores.contract import Applied, Authored, Batch, Forgets, KeyConflict, Position
from openengagement.stores.inventory import DESTINATION, NEVER, PROGRESS, Inventory

Place = tuple[int, bytes]  # of a key, in the order of `Inventory.next_keys`

_TWEETS: Final = 10_000  # of a slice
_VIDEOS: Final = 5000
_KEYS: Final = 2000
_CONTENT: Final = ("text", "url", "thumbnail_url")
FIRST_KEY: Final[Place] = (-(2**62), b"")


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass. It copies what differs; if `tally` checks, it compares that again."""

    source: Side
    target: Side
    writer: TargetWriter
    tally: Tally
    pace: Pace
    on_compared: OnCompared
    # Reads the target, while the source is read.
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def _note(self, kind: str, rows: int) -> None:
        self.on_compared(kind, rows)
        self.pace.wait(rows)

    def tweets(self) -> None:
        """Compare the Tweets. Raises StoreUnavailable, as all passes."""
        after = 0
        while after < ID_MAX:
            start = after
            theirs = self._thread.submit(self.target.inventory.next_tweets, after, _TWEETS)
            wanted = self.source.inventory.next_tweets(after, _TWEETS)
            present = theirs.result()
            after = min(_last_id(wanted), _last_id(present))
            wanted, present = (each.filter(pl.col("id") <= after) for each in (wanted, present))
            forgotten, changed = compare_tweets(wanted, present)
            if forgotten.height or changed.height:
                self._forget(forgotten)
                self.target.stores.tweets.apply_tweets(changed)
                if self.tally.checks:
                    present = self._read_tweets(start, after)
                    forgotten, changed = compare_tweets(wanted, present)
            ids = [*forgotten.get_column("id"), *changed.get_column("id")]
            self.tally.add("tweets", compared=wanted.height, differing=len(ids), tweet_ids=ids)
            self._note("tweets", wanted.height)

    def _read_tweets(self, after: int, last: int) -> pl.DataFrame:
        """Read the Tweets that the target has in a slice now. The slice has at most _TWEETS."""
        found = self.target.inventory.next_tweets(after, _TWEETS)
        return found.filter(pl.col("id") <= last)

    def _forget(self, tweets: pl.DataFrame) -> None:
        store = self.target.stores.tweets
        for (author,), some in tweets.group_by("author_id"):
            assert isinstance(store, Forgets)
            store.forget(Authored([int(author)], some.get_column("id").to_list(), []))

    def counters(self) -> None:
        """Compare the totals and hours of all Tweets."""
        source, target = self.source.inventory, self.target.inventory
        for after, last in _slices(source, target):
            present = self._thread.submit(target.read_counters, after, last)
            wanted = source.read_counters(after, last)
            difference = subtract(wanted, present.result())
            if difference.rows:
                self.writer.add(difference)
                if self.tally.checks:
                    difference = subtract(wanted, target.read_counters(after, last))
            self.tally.add(
                "counters",
                compared=wanted.rows,
                differing=difference.rows,
                tweet_ids=difference.ids.tolist(),
            )
            self._note("counters", wanted.rows)

    def videos(self) -> None:
        """Compare the views of all videos. The source must not change.

        The target adds the views of Tweets to their videos by itself. A video can have more: those
        of Tweets that were erased.
        """
        source, target = self.source.inventory, self.target.inventory
        after = 0
        while videos := source.next_videos(after, _VIDEOS):
            numbers, ids = zip(*videos, strict=True)
            after = numbers[-1]
            known = target.number_videos(ids)
            theirs = [known[each] for each in ids]
            wanted: Ints = np.array(source.read_views(numbers))
            difference: Ints = wanted - target.read_views(theirs)
            if difference.any():
                self.writer.add(views_of(theirs, difference))
                if self.tally.checks:
                    difference = wanted - target.read_views(theirs)
            changed = int((difference != 0).sum())
            self.tally.add("videos", compared=len(ids), differing=changed)
            self._note("videos", len(ids))

    def keys(self, start: Place) -> Place:
        """Copy the idempotency keys from a place on. Return where the next pass may begin.

        A key that the target has is compared: its batch is answered as a repeat.

        Raises:
            CannotMove: the target has a key for another batch.
        """
        place, newest_s = start, start[0]
        while rows := self.source.inventory.next_keys(place, _KEYS):
            place = rows[-1].place
            newest_s = max([newest_s, *(row.applied_at_s for row in rows if row.place[0] < NEVER)])
            batches = [
                Batch(no_counters(), row.key, row.digest, row.outcome, row.applied_at_s < NEVER)
                for row in rows
            ]
            answers = self.writer.apply(batches)
            if KeyConflict in map(type, answers):
                raise CannotMove("the target has counted other batches under the same keys")
            known = [isinstance(each, Applied) and each.duplicate for each in answers]
            # One that was new is not compared again: the answer says that it was stored.
            new = 0 if self.tally.checks else known.count(False)
            self.tally.add("keys", compared=len(rows), differing=new)
            self._note("keys", len(rows))
        return newest_s - HOUR_S, b""

    def positions(self) -> None:
        """Compare how far each source of events was read."""
        target = self.target.stores.counters
        for source, offset in self.source.inventory.list_positions().items():
            if source in {PROGRESS, DESTINATION, IDENTITY}:
                continue
            present = target.read_position(source)
            if present != offset:
                position = Position(source, offset, present)
                self.writer.apply([Batch(no_counters(), None, b"", b"", position=position)])
                if self.tally.checks:
                    present = target.read_position(source)
            self.tally.add("positions", compared=1, differing=present != offset)


def compare_tweets(
    wanted: pl.DataFrame, present: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the Tweets to forget, and those to register, with null for content that is right.

    Both have the columns of TWEET_SCHEMA. A Tweet that has no video any more is in both results.
    """
    same = list(TWEET_SCHEMA)
    changed = wanted.join(present, on=same, how="anti", nulls_equal=True)
    known = changed.select("id").join(present, on="id", how="left", maintain_order="left")
    without_video = changed.filter(changed["video_id"].is_null() & known["video_id"].is_not_null())
    gone = present.join(wanted, on="id", how="anti")
    forgotten = pl.concat([gone, present.join(without_video, on="id", how="semi")])
    fresh = known["author_id"].is_null() | changed["id"].is_in(without_video["id"].implode())
    for name in _CONTENT:
        right = (
            changed[name]
            == pl.select(
                pl.when(fresh).then(pl.lit("")).otherwise(known[name].fill_null(""))
            ).to_series()
        )
        changed = changed.with_columns(
            pl.when(right).then(None).otherwise(pl.col(name)).alias(name)
        )
    return forgotten, changed


def _last_id(tweets: pl.DataFrame) -> int:
    """Return the last id of a slice, ID_MAX if there are no more Tweets."""
    return int(tweets["id"][-1]) if tweets.height == _TWEETS else ID_MAX


def _slices(source: Inventory, target: Inventory) -> Iterator[tuple[int, int]]:
    """Cut the ids of all Tweets: yield the exclusive start and the inclusive end of each slice."""
    after = 0
    while after < ID_MAX:
        last = source.cut(after)
        if last == ID_MAX:  # the target may have Tweets that the source has not
            last = target.cut(after)
        yield after, last
        after = last
