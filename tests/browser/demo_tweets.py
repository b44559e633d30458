"""Invented Tweets for the screenshots: two weeks of an author."""

import json
import math
from pathlib import Path

from support.cli import call_command
from support.world import HOUR_S, show_time

# Age in hours, total impressions, decay time in hours,
# engagements per thousand impressions.
_TWEETS = (
    (5, 21_000, 4, 38),
    (17, 64_000, 7, 31),
    (26, 18_500, 9, 52),
    (49, 7_200, 6, 44),
    (73, 152_000, 12, 27),
    (101, 33_000, 8, 61),
    (144, 12_400, 10, 35),
    (197, 48_000, 14, 29),
    (243, 5_600, 6, 73),
    (330, 27_000, 11, 33),
)
_TEXTS = (
    "Low water at six, and the whole bay is ours.",
    "Somebody left a piano on the quay. It is in tune.",
    "How do you tell a tern from a gull? Three photos.",
    "Five books about the sea that are not about the sea.",
    "We moved the old crane today. It has stood there since 1931.",
    "New timetable for the ferries, from Monday on. Please tell your neighbours.",
    "The last wooden pilot boat is for sale.",
    "Fog until noon, says the harbour master. He is never wrong.",
    "What a storm does to a pier, before and after.",
    "Night shift. Nobody here but the fox.",
)
# Shares of the types of engagement, in percent.
_SHARES = {
    "favorites": 34,
    "retweets": 12,
    "replies": 4,
    "quote_tweets": 3,
    "url_clicks": 22,
    "detail_expands": 25,
}


def publish(data: Path, author_id: str, *, now_s: float) -> list[str]:
    """Load the Tweets and their events; return their ids, the newest first."""
    tweets, events = [], []
    for place, (age_h, reach, fades_h, rate) in enumerate(_TWEETS):
        tweet_id = str(2_124_559_922_866_689_634 - place * 311_482_190_733_114)
        at_s = now_s - age_h * HOUR_S
        tweets.append(
            {
                "id": tweet_id,
                "author_id": author_id,
                "created_at": show_time(at_s),
                "text": _TEXTS[place],
                "url": f"https://harbour.example/posts/{tweet_id}",
            }
        )
        whole = sum(_strength(hour, fades_h) for hour in range(age_h))
        for hour in range(age_h):
            seen = round(reach * _strength(hour, fades_h) / whole)
            counts = {name: round(seen * rate * share / 1e5) for name, share in _SHARES.items()}
            when = show_time(at_s + hour * HOUR_S)
            events += [
                {"tweet_id": tweet_id, "type": name, "at": when, "count": count}
                for name, count in {"impressions": seen, **counts}.items()
                if count
            ]
    for what, rows in (("tweets", tweets), ("events", events)):
        path = data.parent / f"demo-{what}.ndjson"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        call_command(data, "load", what, str(path))
    return [tweet["id"] for tweet in tweets]


def _strength(hour: int, fades_h: int) -> float:
    """Return the attention after some hours: a decay with noise and a daily rhythm."""
    unrest = 1 + 0.35 * math.sin(hour * 1.7) + 0.2 * math.sin(hour * 0.61 + fades_h)
    return unrest * (math.exp(-hour / fades_h) + 0.02 * (1 + math.cos(hour * math.pi / 12)))
