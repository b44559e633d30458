"""Sums of many Tweets over a window. ClickHouse adds them up: the rows would be too many."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np

from openengagement.engagement.window_sums import MAGNITUDE_MAX, WindowSums
from openengagement.stores.cluster.cells import TYPES
from openengagement.stores.cluster.native import decode_blocks
from openengagement.stores.cluster.reading import Reading
from openengagement.stores.cluster.replicas import InSync, InSyncSet

IDS_MAX: Final = 3000  # of a read: a query may have 256 KiB
_RANGE: Final = (
    "FROM cells PREWHERE tweet_id IN ({ids}) WHERE hour > {start} AND hour <= {end} "
    "AND type < {types}"
)
# The rows of Tweet 0 are the hours. The row of place -1 is the sum of all magnitudes.
_QUERY: Final = f"""
SELECT id AS tweet_id, place, total AS n FROM (
    SELECT tweet_id AS id, toInt64(type) AS place, sum(n) AS total
        {_RANGE} GROUP BY tweet_id, type
    UNION ALL
    SELECT toInt64(0) AS id, (toInt64(hour) - {{start}} - 1) * {{types}} + type AS place,
        sum(n) AS total {_RANGE} GROUP BY hour, type
    UNION ALL
    SELECT toInt64(0) AS id, toInt64(-1) AS place,
        toInt64(least(sum(abs(toFloat64(n))), {MAGNITUDE_MAX:.0f}.)) AS total {_RANGE}
) FORMAT Native
"""  # noqa: S608 (no text of a user is in it)


def start_window(
    replicas: InSyncSet, in_sync: InSync, *, ids: Sequence[int], start_hour: int, end_hour: int
) -> Reading:
    """Begin to read sums over a window, of at most IDS_MAX ids."""
    query = partial(_window_query, start_hour=start_hour, end_hour=end_hour)
    return Reading(replicas, in_sync, ids=ids, query=query)


def _window_query(ids: Sequence[int], *, start_hour: int, end_hour: int) -> str:
    listed = ",".join(map(str, ids))
    return _QUERY.format(ids=listed, start=start_hour, end=end_hour, types=TYPES)


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
        np.add.at(sums.by_hour.reshape(-1), places[hourly], counts[hourly])
        mine = ids > 0
        where = np.array([rows[each] for each in ids[mine].tolist()], np.int64)
        np.add.at(sums.by_tweet, (where, places[mine]), counts[mine])
