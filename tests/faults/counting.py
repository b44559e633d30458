"""Compare the events that were sent with the server's counts over HTTP."""

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

TYPES = ("favorites", "retweets", "replies")
WINDOW_HOURS = 600
TOTALS_IDS, HISTORICAL_IDS = 250, 25


class Span:
    """A window of whole hours that ends in the past."""

    def __init__(self):
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        self.start = now - timedelta(hours=WINDOW_HOURS + 24)
        self.end = self.start + timedelta(hours=WINDOW_HOURS)

    def at(self, hour, minute=30):
        return (self.start + timedelta(hours=hour, minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def key(self, hour):
        """The day and hour under which a response shows an hour of the window."""
        moment = self.start + timedelta(hours=hour)
        return moment.strftime("%Y-%m-%d"), moment.strftime("%H")


class Batch:
    """A batch of random events on a few Tweets: its body, key and counts."""

    def __init__(self, span, key, tweet_ids, *, lines, seed):
        chance = random.Random(seed)
        self.key = key
        self.tweet_ids = tweet_ids
        self.counts = Counter()
        rows = []
        for line in range(lines):
            tweet_id = tweet_ids[line % len(tweet_ids)]
            name, hour, count = chance.choice(TYPES), chance.randrange(WINDOW_HOURS), line % 3 + 1
            self.counts[tweet_id, name, hour] += count
            rows.append(
                {
                    "tweet_id": str(tweet_id),
                    "type": name,
                    "at": span.at(hour, chance.randrange(60)),
                    "count": count,
                }
            )
        self.lines = lines
        self.body = "".join(json.dumps(row) + "\n" for row in rows).encode()


def slices(values, size):
    for start in range(0, len(values), size):
        yield values[start : start + size]


def read_totals(server, tweet_ids):
    """Return `{(tweet, type): count}` without zeros from /totals."""
    found = Counter()
    for ids in slices(tweet_ids, TOTALS_IDS):
        answer = server.ask(
            "totals",
            {
                "tweet_ids": [str(one) for one in ids],
                "engagement_types": TYPES,
                "groupings": {"all": {"group_by": ["tweet.id", "engagement.type"]}},
            },
        )
        assert set(answer) == {"all"}, answer
        for tweet_id, counts in answer["all"].items():
            found.update({(int(tweet_id), name): int(n) for name, n in counts.items()})
    return +found


def read_hours(server, tweet_ids, span):
    """Return `{(tweet, type, day, hour): count}` without zeros from /historical."""
    found = Counter()
    for ids in slices(tweet_ids, HISTORICAL_IDS):
        answer = server.ask(
            "historical",
            {
                "tweet_ids": [str(one) for one in ids],
                "engagement_types": TYPES,
                "start": span.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "end": span.end.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "groupings": {
                    "all": {
                        "group_by": [
                            "tweet.id",
                            "engagement.type",
                            "engagement.day",
                            "engagement.hour",
                        ]
                    }
                },
            },
        )
        for tweet_id, by_type in answer["all"].items():
            for name, by_day in by_type.items():
                for day, by_hour in by_day.items():
                    for hour, count in by_hour.items():
                        if count != "0":
                            found[int(tweet_id), name, day, hour] = int(count)
    return found


def check_counts(server, batches, span, *, tweet_ids=None):
    """Check that the server counted exactly these batches once, in total and by hour."""
    totals, hours = Counter(), Counter()
    for batch in batches:
        for (tweet_id, name, hour), count in batch.counts.items():
            totals[tweet_id, name] += count
            hours[(tweet_id, name, *span.key(hour))] += count
    if tweet_ids is None:
        tweet_ids = sorted({tweet_id for batch in batches for tweet_id in batch.tweet_ids})
    found = read_totals(server, tweet_ids)
    assert found == totals, differences(found, totals)
    found = read_hours(server, tweet_ids, span)
    assert found == hours, differences(found, hours)


def differences(found, expected):
    keys = sorted(key for key in found | expected if found[key] != expected[key])
    shown = {key: (found[key], expected[key]) for key in keys[:10]}
    return f"{len(keys)} counters differ (found, expected): {shown}"


def write_tweets(path, count, *, first=1, author_id=1):
    """Write a file for `load tweets`."""
    created_at = (datetime.now(UTC) - timedelta(days=40)).strftime("%Y-%m-%dT%H:%M:%SZ")
    with path.open("w") as file:
        file.write("id,author_id,created_at\n")
        file.writelines(f"{first + index},{author_id},{created_at}\n" for index in range(count))
    return path
