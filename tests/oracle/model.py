"""The brute-force model computes the right answers with plain dictionaries, slowly and obviously.

It was written from the contract and the design alone. Every rule is one small method, so that the
test of the oracle itself can plant a bug in one rule and check that it is found.

Deliberate quirks, all from the contract or the design:

* Views of a deleted or protected Tweet still count for its video (`/totals`).
* A Tweet is unavailable to everybody if its author was never registered.
* Protected Tweets are unavailable even to their owner.
* Without `engagement.type` the requested types are added up, also `engagements` and its parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Any

from oracle import wire
from oracle.problems import Problem, find_problems, read_dates


@dataclass(frozen=True)
class Event:
    """The content of a valid line of a batch."""

    tweet_id: int
    type: str
    at: datetime
    count: int = 1
    promoted: bool = False


@dataclass
class Tweet:
    """A registered Tweet."""

    author_id: int
    created_at: datetime
    video_id: str | None = None
    deleted: bool = False


@dataclass(frozen=True)
class TweetRow:
    """A row that registers a Tweet; None stands for a field that it leaves out."""

    author_id: int
    created_at: datetime | None = None
    video_id: str | None = None
    deleted: bool | None = None


@dataclass(frozen=True)
class Caller:
    """The caller; `refused` is the answer if the credentials are not valid."""

    user_id: int | None = None
    refused: tuple[int, str] | None = None


@dataclass
class Answer:
    """A status and a body; an error text may be a pattern, and `None` allows any errors."""

    status: int
    body: dict[str, Any]
    groupings: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """The times that the answer shows, and its hours (None: no window, all time up to now)."""

    start: datetime | None = None
    end: datetime | None = None
    hours: tuple[datetime, ...] | None = None


@dataclass(frozen=True)
class ParsedRequest:
    """A request that breaks no rule of section 1."""

    endpoint: str
    tweet_ids: list[int]
    types: list[str]
    groupings: dict[str, list[str]]
    window: Window
    now: datetime


OLDER_THAN_90_DAYS = re.compile(
    r"Impressions & engagements for tweets older than 90 days \(.*\) are not supported"
)


def id_texts(tweet_ids: Iterable[int]) -> list[str]:
    """Write ids as on the wire."""
    return [str(tweet_id) for tweet_id in tweet_ids]


def without_repeats(values: Iterable[Any]) -> list[Any]:
    """Drop repeated values; keep the order."""
    return list(dict.fromkeys(values))


class Model:
    """Accounts, Tweets and events, and the answers computed from them."""

    def __init__(self) -> None:
        self.protected_by_account: dict[int, bool] = {}
        self.tweets: dict[int, Tweet] = {}
        self.events_of: dict[int, list[Event]] = {}
        self.batches_seen: set[str] = set()

    # The platform API.

    def put_account(self, account_id: int, *, protected: bool | None) -> None:
        """Register an account, or change one."""
        known = self.protected_by_account.get(account_id, False)
        self.protected_by_account[account_id] = self.known_or_given(known, protected)

    def put_tweet(self, tweet_id: int, row: TweetRow) -> None:
        """Register a Tweet, or change one."""
        known = self.tweets.get(tweet_id) or self.new_tweet(tweet_id, row)
        self.tweets[tweet_id] = Tweet(
            row.author_id,
            self.known_or_given(known.created_at, row.created_at),
            self.known_or_given(known.video_id, row.video_id),
            self.known_or_given(known.deleted, row.deleted),
        )

    def new_tweet(self, tweet_id: int, row: TweetRow) -> Tweet:
        """Make a new Tweet with default values."""
        return Tweet(row.author_id, wire.snowflake_time(tweet_id))

    def known_or_given(self, known: Any, given: Any) -> Any:
        """Keep the known value of a field that a row leaves out."""
        return known if given is None else given

    def delete_tweet(self, tweet_id: int) -> None:
        """Mark a Tweet deleted."""
        self.tweets[tweet_id].deleted = True

    def apply_batch(
        self, key: str | None, lines: list[Event | None], *, atomic: bool = False
    ) -> dict[str, Any]:
        """Count the valid lines (None stands for an invalid one), once for each key."""
        if self.is_repeat(key):
            return {"duplicate": True}
        bad = sum(event is None for event in lines)
        if bad and (atomic or bad == len(lines)):
            return {"refused": True}
        if key is not None:
            self.batches_seen.add(key)
        for event in lines:
            if event is not None:
                self.events_of.setdefault(event.tweet_id, []).append(event)
        return {"accepted": len(lines) - bad, "rejected": bad, "duplicate": False}

    def is_repeat(self, key: str | None) -> bool:
        """Whether a batch with this key was counted before."""
        return key in self.batches_seen

    # The steps of a request, in the order of checks of section 3.4.

    def answer(self, endpoint: str, caller: Caller, raw: bytes, now: datetime) -> Answer:
        """Answer one request as of `now`."""
        if caller.refused is not None:
            status, text = caller.refused
            return Answer(status, {"errors": [text]})
        try:
            body = json.loads(raw)
        except ValueError:
            return Answer(400, {"errors": None})
        problems = find_problems(endpoint, body, now)
        if problems:
            return self.refuse(problems)
        parsed = self.parse_request(endpoint, body, now)
        return self.decide(parsed, caller)

    def refuse(self, problems: list[Problem]) -> Answer:
        """Refuse a malformed request; the text is fixed if one rule with a text is broken."""
        if len(problems) == 1 and problems[0] is not None:
            return Answer(400, {"errors": [problems[0]]})
        return Answer(400, {"errors": None})

    def parse_request(self, endpoint: str, body: dict[str, Any], now: datetime) -> ParsedRequest:
        """Parse a request that has no problems."""
        return ParsedRequest(
            endpoint=endpoint,
            tweet_ids=without_repeats(int(tweet_id) for tweet_id in body["tweet_ids"]),
            types=without_repeats(body["engagement_types"]),
            groupings={
                name: [dimension.lower() for dimension in grouping["group_by"]]
                for name, grouping in body["groupings"].items()
            },
            window=self.window(endpoint, body, now),
            now=now,
        )

    def decide(self, parsed: ParsedRequest, caller: Caller) -> Answer:
        """Check availability, ownership and rights to metrics, then serve the rest."""
        unavailable = [tweet_id for tweet_id in parsed.tweet_ids if not self.is_available(tweet_id)]
        available = [tweet_id for tweet_id in parsed.tweet_ids if tweet_id not in unavailable]
        if not available:
            text = f"{len(unavailable)} Tweet ID(s) are unavailable"
            return Answer(400, {"errors": [text], wire.UNAVAILABLE: id_texts(unavailable)})
        foreign = self.unowned(available, caller)
        if foreign:
            return Answer(
                403, {"errors": ["Forbidden to access tweets: " + ", ".join(id_texts(foreign))]}
            )
        forbidden = self.forbidden_types(parsed, caller)
        if forbidden:
            return Answer(403, {"errors": ["Forbidden to access metrics: " + ", ".join(forbidden)]})
        return self.serve(parsed, available, unavailable)

    def serve(self, parsed: ParsedRequest, available: list[int], unavailable: list[int]) -> Answer:
        """Apply the age limits, and build the body of the answer."""
        old_90 = self.unsupported_for_impressions(parsed, available)
        old_1800 = self.unsupported_for_video_views(parsed, available)
        unsupported = {(t, name) for t in old_90 for name in ("impressions", "engagements")}
        unsupported |= {(t, "video_views") for t in old_1800}
        body: dict[str, Any] = {}
        if parsed.window.start is not None and parsed.window.end is not None:
            body["start"] = wire.show_time(parsed.window.start)
            body["end"] = wire.show_time(parsed.window.end)
        if old_90:
            body["errors"] = [OLDER_THAN_90_DAYS]
        for name, ids in (
            (wire.UNAVAILABLE, unavailable),
            (wire.UNSUPPORTED_90, old_90),
            (wire.UNSUPPORTED_1800, old_1800),
        ):
            if ids:
                body[name] = id_texts(ids)
        if old_90 and all(cell in unsupported for cell in product(available, parsed.types)):
            return Answer(400, body)
        cells = list(self.cells(parsed, available, unsupported))
        for name, group_by in parsed.groupings.items():
            body[name] = self.nest(parsed, available, cells, group_by)
        return Answer(200, body, parsed.groupings)

    # Windows (1.3, 8.9, 8.10).

    def window(self, endpoint: str, body: dict[str, Any], now: datetime) -> Window:
        """Compute the window of a request."""
        if endpoint == "totals":
            return Window()
        if endpoint == "28hr":
            start, end = wire.floor_hour(now - 28 * wire.HOUR), wire.ceil_hour(now)
            return Window(start, end, self.hours(start, end))
        start_given, end_given = read_dates(body)
        if start_given is None and end_given is None:
            start = wire.ceil_hour(now) - wire.FOUR_WEEKS
        elif start_given is None:
            assert end_given is not None
            start = wire.floor_hour(end_given - wire.FOUR_WEEKS)
        else:
            start = wire.floor_hour(start_given)
        end = self.round_end(end_given) if end_given is not None else now
        return Window(start, end, self.hours(start, wire.ceil_hour(end)))

    def round_end(self, end: datetime) -> datetime:
        """Round a given end outward."""
        return wire.ceil_hour(end)

    def hours(self, start: datetime, end: datetime) -> tuple[datetime, ...]:
        """List the hours of a half-open window."""
        return tuple(start + n * wire.HOUR for n in range(int((end - start) / wire.HOUR)))

    # Access (2.1, 2.2, 3.2, 4.3).

    def is_available(self, tweet_id: int) -> bool:
        """Whether a Tweet can be served at all."""
        tweet = self.tweets.get(tweet_id)
        if tweet is None or tweet.deleted:
            return False
        return self.protected_by_account.get(tweet.author_id) is False

    def unowned(self, tweet_ids: list[int], caller: Caller) -> list[int]:
        """List the Tweets that a user may not read; an app alone may read all."""
        if caller.user_id is None:
            return []
        return [t for t in tweet_ids if self.tweets[t].author_id != caller.user_id]

    def forbidden_types(self, parsed: ParsedRequest, caller: Caller) -> list[str]:
        """List the types that an app alone may not read."""
        if caller.user_id is not None:
            return []
        if parsed.endpoint != "totals":
            return parsed.types
        return [name for name in parsed.types if name not in wire.PUBLIC_TYPES]

    def is_older(self, tweet_id: int, days: int, now: datetime) -> bool:
        """Whether a Tweet was created more than `days` ago."""
        return now - self.tweets[tweet_id].created_at > days * wire.DAY

    def unsupported_for_impressions(self, parsed: ParsedRequest, available: list[int]) -> list[int]:
        """List the Tweets that are too old for the 90-day rule, on `/totals` only."""
        requested = "impressions" in parsed.types or "engagements" in parsed.types
        if parsed.endpoint != "totals" or not requested:
            return []
        return [t for t in available if self.is_older(t, 90, parsed.now)]

    def unsupported_for_video_views(self, parsed: ParsedRequest, available: list[int]) -> list[int]:
        """List the Tweets that are too old for the 1800-day rule, on every endpoint."""
        if "video_views" not in parsed.types:
            return []
        return [t for t in available if self.is_older(t, 1800, parsed.now)]

    # Counting.

    def cells(
        self, parsed: ParsedRequest, available: list[int], unsupported: set[tuple[int, str]]
    ) -> Iterator[tuple[int, str, datetime, int]]:
        """Yield everything that counts: Tweet, requested type, hour, amount."""
        for tweet_id, name in product(available, parsed.types):
            if (tweet_id, name) in unsupported:
                continue
            metric = wire.ALIASES.get(name, name)
            for source in self.sources(parsed.endpoint, tweet_id, metric):
                for event in self.events_of.get(source, []):
                    hour = wire.floor_hour(event.at)
                    if self.covers(parsed, hour):
                        yield tweet_id, name, hour, self.amount(event, metric)

    def covers(self, parsed: ParsedRequest, hour: datetime) -> bool:
        """Whether an hour is in the window."""
        if parsed.window.hours is None:
            return hour < wire.ceil_hour(parsed.now)
        return parsed.window.hours[:1] <= (hour,) <= parsed.window.hours[-1:]

    def sources(self, endpoint: str, tweet_id: int, metric: str) -> list[int]:
        """List the Tweets whose events count for a Tweet: itself, or all with its video."""
        video_id = self.tweets[tweet_id].video_id
        if endpoint != "totals" or metric != "video_views" or video_id is None:
            return [tweet_id]
        return [t for t, tweet in self.tweets.items() if tweet.video_id == video_id]

    def amount(self, event: Event, metric: str) -> int:
        """Compute what one event adds to one metric."""
        if metric == "engagements":
            rolls_up = event.type not in wire.NEVER_ROLLED_UP and event.count > 0
            return event.count if rolls_up else 0
        if event.type != metric:
            return 0
        if metric == "impressions" and event.promoted:
            return 0
        return event.count

    # Grouping (1.2, 2.3).

    def nest(
        self,
        parsed: ParsedRequest,
        available: list[int],
        cells: Iterable[tuple[int, str, datetime, int]],
        group_by: list[str],
    ) -> dict[str, Any]:
        """Start with zero for every key, add the amounts, and nest the result as on the wire."""
        timed = any(dimension in wire.TIME_DIMENSIONS for dimension in group_by)
        hours = (parsed.window.hours or ()) if timed else (parsed.now,)
        counts: dict[tuple[str, ...], int] = {}
        if self.fills_with_zeros():
            for tweet_id, name, hour in product(available, parsed.types, hours):
                counts[self.path(group_by, tweet_id, name, hour)] = 0
        for tweet_id, name, hour, amount in cells:
            path = self.path(group_by, tweet_id, name, hour)
            counts[path] = counts.get(path, 0) + amount
        return self.unfold(counts, group_by)

    def fills_with_zeros(self) -> bool:
        """Whether every requested hour, day, type and Tweet appears, also without events."""
        return True

    def path(
        self, group_by: list[str], tweet_id: int, name: str, hour: datetime
    ) -> tuple[str, ...]:
        """Return the keys of a cell."""
        day, hour_of_day = wire.hour_keys(hour)
        keys = {
            wire.TWEET: str(tweet_id),
            wire.TYPE: name,
            wire.ON_DAY: day,
            wire.AT_HOUR: hour_of_day,
        }
        return tuple(keys[dimension] for dimension in group_by)

    def unfold(self, counts: dict[tuple[str, ...], int], group_by: list[str]) -> dict[str, Any]:
        """Convert paths to nested objects, with days and hours ascending."""
        nested: dict[str, Any] = {}
        for path in counts if group_by[0] not in wire.TIME_DIMENSIONS else self.sort_times(counts):
            nested.setdefault(path[0], {})[path[1:]] = counts[path]
        if len(group_by) == 1:
            return {key: self.write_count(inner[()]) for key, inner in nested.items()}
        return {key: self.unfold(inner, group_by[1:]) for key, inner in nested.items()}

    def sort_times(self, paths: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Put days and hours in ascending order."""
        return sorted(paths)

    def write_count(self, count: int) -> Any:
        """Write a count: as a string."""
        return str(count)
