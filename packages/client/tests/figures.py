"""Made-up counts, and answers that are computed from them directly, cell by cell.

The count of a Tweet, type and hour follows from their names alone, so a test knows every answer of
any size. Nothing here is taken from the client: its splitting and merging is tested with this.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zlib import crc32

HOUR = timedelta(hours=1)
# On /totals, which has no window, a Tweet has the counts of this hour.
SOME_HOUR = [datetime(2026, 1, 1, tzinfo=UTC)]


def count_of(tweet_id: str, kind: str, hour: datetime) -> int:
    """Return a count. Some are negative, as after an undo."""
    return crc32(f"{tweet_id} {kind} {' '.join(day_and_hour(hour))}".encode()) % 23 - 2


@cache
def day_and_hour(hour: datetime) -> tuple[str, str]:
    return f"{hour:%Y-%m-%d}", f"{hour:%H}"


def hours_of(start: datetime, end: datetime) -> list[datetime]:
    """Return the hours from `start`, rounded down, to `end`, rounded up."""
    hour = start.replace(minute=0, second=0, microsecond=0)
    hours = []
    while hour < end:
        hours.append(hour)
        hour += HOUR
    return hours


def keys_of(tweet_id: str, kind: str, hour: datetime) -> dict[str, str]:
    day, of_day = day_and_hour(hour)
    return {
        "tweet.id": tweet_id,
        "engagement.type": kind,
        "engagement.day": day,
        "engagement.hour": of_day,
    }


def direct_grouping(
    group_by: Sequence[str],
    tweet_ids: Iterable[str],
    *,
    types: Sequence[str],
    hours: Sequence[datetime],
    zero: Iterable[str] = (),
) -> Any:
    """Compute a grouping of one answer. Tweets in `zero` have the count 0."""
    empty = set(zero)
    tree: dict[str, Any] = {}
    for tweet_id in tweet_ids:
        for kind in types:
            for hour in hours:
                keys = keys_of(tweet_id, kind, hour)
                *path, last = (keys[name] for name in group_by)
                inner = tree
                for key in path:
                    inner = inner.setdefault(key, {})
                count = 0 if tweet_id in empty else count_of(tweet_id, kind, hour)
                inner[last] = inner.get(last, 0) + count
    return in_wire_form(tree, group_by)


def in_wire_form(tree: Any, group_by: Sequence[str]) -> Any:
    """Turn counts into text, and put days and hours in ascending order."""
    if not isinstance(tree, dict):
        return str(tree)
    is_time = group_by[0] in ("engagement.day", "engagement.hour")
    keys = sorted(tree) if is_time else list(tree)
    return {key: in_wire_form(tree[key], group_by[1:]) for key in keys}


def direct_groupings(groupings: Mapping[str, Sequence[str]], *given: Any, **more: Any) -> Any:
    return {name: direct_grouping(group_by, *given, **more) for name, group_by in groupings.items()}
