"""Read counters, and group them as a request asks."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import any_, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import BigInteger
from tables import hours, totals, tweets

HOURS_A_DAY = 24
HOUR_S = 3600
AXES = ("tweet.id", "engagement.type", "engagement.day", "engagement.hour")


def _ids(tweet_ids: Sequence[int]) -> Any:  # noqa: ANN401
    """Pass all ids as one parameter, so that one prepared statement serves any number."""
    return any_(literal(list(tweet_ids), ARRAY(BigInteger)))


async def read_authors(db: AsyncConnection, tweet_ids: Sequence[int]) -> dict[int, int]:
    query = select(tweets.c.tweet_id, tweets.c.author_id).where(
        tweets.c.tweet_id == _ids(tweet_ids)
    )
    return dict((await db.execute(query)).all())


async def read_totals(
    db: AsyncConnection, tweet_ids: Sequence[int], types: Sequence[str]
) -> np.ndarray:
    """`[tweet, type, 1, 1]`."""
    columns = [totals.c[name] for name in types]
    query = select(totals.c.tweet_id, *columns).where(totals.c.tweet_id == _ids(tweet_ids))
    rows = {row[0]: row[1:] for row in await db.execute(query)}
    nothing = (0,) * len(types)
    counts = np.array([rows.get(tweet_id, nothing) for tweet_id in tweet_ids], dtype=np.int64)
    return counts[:, :, np.newaxis, np.newaxis]


async def read_hours(
    db: AsyncConnection,
    tweet_ids: Sequence[int],
    types: Sequence[str],
    *,
    first: int,
    end: int,
) -> np.ndarray:
    """`[tweet, type, day, hour]` from the midnight before `first` to the one after `end`."""
    columns = [hours.c[name] for name in types]
    query = select(hours.c.tweet_id, hours.c.hour, *columns).where(
        hours.c.tweet_id == _ids(tweet_ids), hours.c.hour >= first, hours.c.hour < end
    )
    rows = (await db.execute(query)).all()
    start = first // HOURS_A_DAY * HOURS_A_DAY
    days = -(-end // HOURS_A_DAY) - start // HOURS_A_DAY
    counts = np.zeros((len(tweet_ids), len(types), days * HOURS_A_DAY), dtype=np.int64)
    if rows:
        table = np.array(rows, dtype=np.int64)
        place = {tweet_id: index for index, tweet_id in enumerate(tweet_ids)}
        at = [place[tweet_id] for tweet_id in table[:, 0].tolist()]
        counts[at, :, table[:, 1] - start] = table[:, 2:]
    return counts.reshape(len(tweet_ids), len(types), days, HOURS_A_DAY)


class Answer:
    """The counters of one request, to be grouped. `first` and `end` are hours, equal for totals."""

    def __init__(
        self, counts: np.ndarray, tweet_ids: Sequence[int], types: Sequence[str], *, window: range
    ) -> None:
        self._counts = counts
        self._first_day = window.start // HOURS_A_DAY
        days, hours_a_day = counts.shape[2:]
        every = np.arange(days * hours_a_day) + self._first_day * HOURS_A_DAY
        self._inside = ((every >= window.start) & (every < window.stop)).reshape(days, hours_a_day)
        self._keys = {
            "tweet.id": list(map(str, tweet_ids)),
            "engagement.type": list(types),
            "engagement.day": [self._day(index) for index in range(days)],
            "engagement.hour": [f"{hour:02}" for hour in range(hours_a_day)],
        }

    def _day(self, at: int) -> str:
        midnight_s = (self._first_day + at) * HOURS_A_DAY * HOUR_S
        return datetime.fromtimestamp(midnight_s, UTC).strftime("%Y-%m-%d")

    def group(self, group_by: Sequence[str]) -> dict[str, Any]:
        """Nest as `group_by` says, with counts as strings, without hours outside the window."""
        omitted = tuple(axis for axis, name in enumerate(AXES) if name not in group_by)
        order = [AXES.index(name) for name in group_by]
        summed = self._counts.sum(axis=omitted, keepdims=True)
        inside = np.broadcast_to(self._inside, self._counts.shape).any(axis=omitted, keepdims=True)
        order += omitted
        shape = [len(self._keys[name]) for name in group_by]
        counts = summed.transpose(order).reshape(shape)
        kept = inside.transpose(order).reshape(shape)
        keys = [self._keys[name] for name in group_by]
        return _nest(counts.tolist(), kept.tolist(), keys)


def _nest(counts: list[Any], kept: list[Any], keys: list[list[str]]) -> dict[str, Any]:
    names, rest = keys[0], keys[1:]
    cells = zip(names, counts, kept, strict=True)
    if not rest:
        return {name: str(count) for name, count, inside in cells if inside}
    nested = ((name, _nest(inner, inside, rest)) for name, inner, inside in cells)
    return {name: inner for name, inner in nested if inner}
