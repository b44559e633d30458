"""Sums of many Tweets over a window. ClickHouse adds them up: the rows would be too many."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from openengagement.engagement.window_sums import MAGNITUDE_MAX, TYPE_PLACES, WindowSums
from openengagement.stores.cluster.cells import TYPES
from openengagement.stores.cluster.native import decode_blocks
from openengagement.stores.cluster.reading import Reading

IDS_MAX: Final = 3000  # of a read: a query may have 256 KiB
_FROM: Final = "FROM cells PREWHERE tweet_id IN ({ids})"
_RANGE: Final = "WHERE hour > {start} AND hour <= {end} AND type < {types}"
# The rows of Tweet 0 are the hours. The row of place -1 is the sum of all magnitudes.
_QUERY: Final = f"""
SELECT id AS tweet_id, place, total AS n FROM (
    SELECT tweet_id AS id, toInt64(type) AS place, sum(n) AS total
        {_FROM} {_RANGE.replace("{start}", "{own}")} GROUP BY tweet_id, type
    UNION ALL
    SELECT toInt64(0) AS id, (toInt64(hour) - {{start}} - 1) * {TYPE_PLACES} + type AS place,
        sum(n) AS total {_FROM} {_RANGE} GROUP BY hour, type
    UNION ALL
    SELECT toInt64(0) AS id, toInt64(-1) AS place,
        toInt64(least(sum(abs(toFloat64(n))), {MAGNITUDE_MAX:.0f}.)) AS total {_FROM} {_RANGE}
) FORMAT Native
"""  # noqa: S608 (no text of a user is in it)


def window_query(
    *, start_hour: int, end_hour: int, tweets_from: int | None
) -> Callable[[Sequence[int]], str]:
    """Return the function that writes the query of a window for at most IDS_MAX ids."""
    own = start_hour if tweets_from is None else tweets_from
    return lambda ids: _QUERY.format(
        ids=",".join(map(str, ids)), start=start_hour, end=end_hour, own=own, types=TYPES
    )


def finish_window(reading: Reading, sums: WindowSums, *, first: int) -> None:
    """Add the answers to sums, whose Tweets from index `first` on are those of the read.

    Raises:
        OverflowError
        StoreUnavailable
    """
    rows = {tweet_id: first + place for place, tweet_id in enumerate(reading.ids)}
    for body in reading.receive():
        ids, places, counts = decode_blocks(body, ("tweet_id", "place", "n"))
        sums.note_magnitude(float(counts[places < 0].sum()))
        hourly = (ids == 0) & (places >= 0)
        sums.add_hours(places[hourly], counts[hourly])
        mine = ids > 0
        where = np.array([rows[each] for each in ids[mine].tolist()], np.int64)
        sums.add_tweets(where * TYPE_PLACES + places[mine], counts[mine])
