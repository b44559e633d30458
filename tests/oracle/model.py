"""The brute-force model: what the server has to answer, in plain dictionaries, slow and obvious.

It is written from the contract and the design alone. Every rule is one small method, so that the
test of the oracle itself can plant a bug in one rule and see it noticed.

Deliberate quirks, all of them the contract's or the design's:

* Views of a deleted or protected Tweet still count towards the video it carries (`/totals`).
* A Tweet whose author was never registered is unavailable, for everybody.
* Protected Tweets are unavailable even to their owner.
* Without `engagement.type` the requested types are added up, `engagements` beside its own parts.
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
    """What one good line of a batch says."""

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
class Said:
    """What a row says of a Tweet; None is what it leaves out."""

    author_id: int
    created_at: datetime | None = None
    video_id: str | None = None
    deleted: bool | None = None


@dataclass(frozen=True)
class Caller:
    """Who asks: `refused` carries the answer credentials alone already earned."""

    user_id: int | None = None
    refused: tuple[int, str] | None = None


@dataclass
class Answer:
    """A status and a body; an error text may be a pattern, and errors that are `None` are free."""

    status: int
    body: dict[str, Any]
    groupings: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """What the response shows, and the hours it covers (None: no window, all time up to now)."""

    start: datetime | None = None
    end: datetime | None = None
    hours: tuple[datetime, ...] | None = None


@dataclass(frozen=True)
class Question:
    """A request that kept every rule of section 1."""

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
    """Write ids as the wire does."""
    return [str(tweet_id) for tweet_id in tweet_ids]


def without_repeats(values: Iterable[Any]) -> list[Any]:
    """Keep the first of each, in order."""
    return list(dict.fromkeys(values))


class Model:
    """Accounts, Tweets, events, and the answers that follow from them."""

    def __init__(self) -> None:
        self.protected_by_account: dict[int, bool] = {}
        self.tweets: dict[int, Tweet] = {}
        self.events_of: dict[int, list[Event]] = {}
        self.batches_seen: set[str] = set()

    # The platform's side.

    def put_account(self, account_id: int, *, protected: bool | None) -> None:
        """Register an account, or change one."""
        known = self.protected_by_account.get(account_id, False)
        self.protected_by_account[account_id] = self.last_said(known, protected)

    def put_tweet(self, tweet_id: int, said: Said) -> None:
        """Register a Tweet, or change one."""
        known = self.tweets.get(tweet_id) or self.unsaid(tweet_id, said)
        self.tweets[tweet_id] = Tweet(
            said.author_id,
            self.last_said(known.created_at, said.created_at),
            self.last_said(known.video_id, said.video_id),
            self.last_said(known.deleted, said.deleted),
        )

    def unsaid(self, tweet_id: int, said: Said) -> Tweet:
        """Make a new Tweet of which only the author is known."""
        return Tweet(said.author_id, wire.snowflake_time(tweet_id))

    def last_said(self, known: Any, said: Any) -> Any:
        """Keep what is known of a field that a row leaves out."""
        return known if said is None else said

    def delete_tweet(self, tweet_id: int) -> None:
        """Mark a Tweet deleted."""
        self.tweets[tweet_id].deleted = True

    def apply_batch(
        self, key: str | None, lines: list[Event | None], *, atomic: bool = False
    ) -> dict[str, Any]:
        """Count the good lines (None stands for a bad one), once for each key."""
        if self.is_repeat(key):
            return {"duplicate": True}
        bad = sum(event is None for event in lines)
        if atomic and bad:
            return {"refused": True}
        if key is not None:
            self.batches_seen.add(key)
        for event in lines:
            if event is not None:
                self.events_of.setdefault(event.tweet_id, []).append(event)
        return {"accepted": len(lines) - bad, "rejected": bad, "duplicate": False}

    def is_repeat(self, key: str | None) -> bool:
        """Say whether a batch under this key was counted before."""
        return key in self.batches_seen

    # The way of a request, in the order of checks of section 3.4.

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
        question = self.read_question(endpoint, body, now)
        return self.decide(question, caller)

    def refuse(self, problems: list[Problem]) -> Answer:
        """Refuse a malformed request; its text is fixed when one known rule alone was broken."""
        if len(problems) == 1 and problems[0] is not None:
            return Answer(400, {"errors": [problems[0]]})
        return Answer(400, {"errors": None})

    def read_question(self, endpoint: str, body: dict[str, Any], now: datetime) -> Question:
        """Take a request that has no problems apart."""
        return Question(
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

    def decide(self, question: Question, caller: Caller) -> Answer:
        """Go through availability, ownership, metric rights and age, then count."""
        gone = [tweet_id for tweet_id in question.tweet_ids if not self.is_available(tweet_id)]
        left = [tweet_id for tweet_id in question.tweet_ids if tweet_id not in gone]
        if not left:
            text = f"{len(gone)} Tweet ID(s) are unavailable"
            return Answer(400, {"errors": [text], wire.UNAVAILABLE: id_texts(gone)})
        foreign = self.unowned(left, caller)
        if foreign:
            return Answer(
                403, {"errors": ["Forbidden to access tweets: " + ", ".join(id_texts(foreign))]}
            )
        forbidden = self.forbidden_types(question, caller)
        if forbidden:
            return Answer(403, {"errors": ["Forbidden to access metrics: " + ", ".join(forbidden)]})
        return self.serve(question, left, gone)

    def serve(self, question: Question, left: list[int], gone: list[int]) -> Answer:
        """Build the body of a request that may be answered."""
        old_90 = self.unsupported_for_impressions(question, left)
        old_1800 = self.unsupported_for_video_views(question, left)
        unsupported = {(t, name) for t in old_90 for name in ("impressions", "engagements")}
        unsupported |= {(t, "video_views") for t in old_1800}
        body: dict[str, Any] = {}
        if question.window.start is not None and question.window.end is not None:
            body["start"] = wire.show_time(question.window.start)
            body["end"] = wire.show_time(question.window.end)
        if old_90:
            body["errors"] = [OLDER_THAN_90_DAYS]
        for name, listed in (
            (wire.UNAVAILABLE, gone),
            (wire.UNSUPPORTED_90, old_90),
            (wire.UNSUPPORTED_1800, old_1800),
        ):
            if listed:
                body[name] = id_texts(listed)
        if old_90 and all(cell in unsupported for cell in product(left, question.types)):
            return Answer(400, body)
        cells = list(self.cells(question, left, unsupported))
        for name, group_by in question.groupings.items():
            body[name] = self.nest(question, left, cells, group_by)
        return Answer(200, body, question.groupings)

    # Windows (1.3, 8.9, 8.10).

    def window(self, endpoint: str, body: dict[str, Any], now: datetime) -> Window:
        """Say which hours an endpoint covers."""
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
        """Round an end the client gave outward."""
        return wire.ceil_hour(end)

    def hours(self, start: datetime, end: datetime) -> tuple[datetime, ...]:
        """List the hours of a half-open window."""
        return tuple(start + n * wire.HOUR for n in range(int((end - start) / wire.HOUR)))

    # Who may see what (2.1, 2.2, 3.2, 4.3).

    def is_available(self, tweet_id: int) -> bool:
        """Say whether a Tweet can be served to anybody."""
        tweet = self.tweets.get(tweet_id)
        if tweet is None or tweet.deleted:
            return False
        return self.protected_by_account.get(tweet.author_id) is False

    def unowned(self, tweet_ids: list[int], caller: Caller) -> list[int]:
        """List the Tweets a user may not ask for; an app alone may ask for all."""
        if caller.user_id is None:
            return []
        return [t for t in tweet_ids if self.tweets[t].author_id != caller.user_id]

    def forbidden_types(self, question: Question, caller: Caller) -> list[str]:
        """List the types an app alone may not ask for."""
        if caller.user_id is not None:
            return []
        if question.endpoint != "totals":
            return question.types
        return [name for name in question.types if name not in wire.PUBLIC_TYPES]

    def is_older(self, tweet_id: int, days: int, now: datetime) -> bool:
        """Say whether a Tweet was created more than so many days ago."""
        return now - self.tweets[tweet_id].created_at > days * wire.DAY

    def unsupported_for_impressions(self, question: Question, left: list[int]) -> list[int]:
        """List the Tweets the 90-day rule takes out, on `/totals` only."""
        asked = "impressions" in question.types or "engagements" in question.types
        if question.endpoint != "totals" or not asked:
            return []
        return [t for t in left if self.is_older(t, 90, question.now)]

    def unsupported_for_video_views(self, question: Question, left: list[int]) -> list[int]:
        """List the Tweets the 1800-day rule takes out, everywhere."""
        if "video_views" not in question.types:
            return []
        return [t for t in left if self.is_older(t, 1800, question.now)]

    # Counting.

    def cells(
        self, question: Question, left: list[int], unsupported: set[tuple[int, str]]
    ) -> Iterator[tuple[int, str, datetime, int]]:
        """Go over everything that counts: Tweet, type as asked, hour, amount."""
        for tweet_id, name in product(left, question.types):
            if (tweet_id, name) in unsupported:
                continue
            metric = wire.ALIASES.get(name, name)
            for source in self.sources(question.endpoint, tweet_id, metric):
                for event in self.events_of.get(source, []):
                    hour = wire.floor_hour(event.at)
                    if self.covers(question, hour):
                        yield tweet_id, name, hour, self.amount(event, metric)

    def covers(self, question: Question, hour: datetime) -> bool:
        """Say whether an hour belongs to the window."""
        if question.window.hours is None:
            return hour < wire.ceil_hour(question.now)
        return question.window.hours[:1] <= (hour,) <= question.window.hours[-1:]

    def sources(self, endpoint: str, tweet_id: int, metric: str) -> list[int]:
        """List the Tweets whose events count for one: itself, or all with its video."""
        video_id = self.tweets[tweet_id].video_id
        if endpoint != "totals" or metric != "video_views" or video_id is None:
            return [tweet_id]
        return [t for t, tweet in self.tweets.items() if tweet.video_id == video_id]

    def amount(self, event: Event, metric: str) -> int:
        """Say what one event adds to one metric."""
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
        question: Question,
        left: list[int],
        cells: Iterable[tuple[int, str, datetime, int]],
        group_by: list[str],
    ) -> dict[str, Any]:
        """Lay zeros out for every key, pour the amounts in, and write them as the wire does."""
        timed = any(dimension in wire.TIME_DIMENSIONS for dimension in group_by)
        hours = (question.window.hours or ()) if timed else (question.now,)
        counts: dict[tuple[str, ...], int] = {}
        if self.fills_with_zeros():
            for tweet_id, name, hour in product(left, question.types, hours):
                counts[self.path(group_by, tweet_id, name, hour)] = 0
        for tweet_id, name, hour, amount in cells:
            path = self.path(group_by, tweet_id, name, hour)
            counts[path] = counts.get(path, 0) + amount
        return self.unfold(counts, group_by)

    def fills_with_zeros(self) -> bool:
        """Every hour, day, type and Tweet asked for appears."""
        return True

    def path(
        self, group_by: list[str], tweet_id: int, name: str, hour: datetime
    ) -> tuple[str, ...]:
        """Say under which keys a cell stands."""
        day, hour_of_day = wire.hour_keys(hour)
        keys = {
            wire.TWEET: str(tweet_id),
            wire.TYPE: name,
            wire.ON_DAY: day,
            wire.AT_HOUR: hour_of_day,
        }
        return tuple(keys[dimension] for dimension in group_by)

    def unfold(self, counts: dict[tuple[str, ...], int], group_by: list[str]) -> dict[str, Any]:
        """Turn paths into nested objects, days and hours ascending."""
        nested: dict[str, Any] = {}
        for path in counts if group_by[0] not in wire.TIME_DIMENSIONS else self.in_time(counts):
            nested.setdefault(path[0], {})[path[1:]] = counts[path]
        if len(group_by) == 1:
            return {key: self.write_count(inner[()]) for key, inner in nested.items()}
        return {key: self.unfold(inner, group_by[1:]) for key, inner in nested.items()}

    def in_time(self, paths: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Put days and hours in ascending order."""
        return sorted(paths)

    def write_count(self, count: int) -> Any:
        """Counts are strings."""
        return str(count)
