"""Make seeded random worlds: accounts, Tweets, events, and the batches that deliver them.

A world never reads a clock: it is built around the given `now`. Every age and edge of a window is
either exactly on an hour, or further away than a test can last.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from oracle import wire
from oracle.bodies import ENCODINGS, FORMATS, Record, compress, write_body
from oracle.faults import FAULTS, FAULTS_OF_FORMAT
from oracle.model import Event, Model, Tweet, TweetRow

OWNER_IDS = (9001, 9002)
SOMETIMES_PROTECTED_ID = 9002
TWEETS_A_SEED = 4096


@dataclass(frozen=True)
class Line:
    """One line of a batch: its record, and its event (None: the line must be rejected)."""

    record: Record
    event: Event | None
    fault: str = ""


@dataclass(frozen=True)
class Batch:
    """One batch as it is sent, and the number of times it is sent."""

    key: str | None
    lines: list[Line]
    form: str
    encoding: str | None
    atomic: bool
    times_sent: int
    sent_before: bool = False
    body: bytes = field(default=b"", repr=False)


@dataclass
class Phase:
    """The registrations, batches and deletions before a round of requests."""

    accounts: list[tuple[int, bool | None]] = field(default_factory=list)
    tweets: list[tuple[int, TweetRow]] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    late_tweets: list[tuple[int, TweetRow]] = field(default_factory=list)
    deletions: list[int] = field(default_factory=list)
    later_tweets: list[tuple[int, TweetRow]] = field(default_factory=list)


@dataclass
class World:
    """A world with two phases; `tweets` has every Tweet, registered or not."""

    seed: int
    now: datetime
    tweets: dict[int, tuple[Tweet, bool]] = field(default_factory=dict)
    unknown_ids: list[int] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)


@dataclass(frozen=True)
class Size:
    """The size of a world."""

    tweets: int = 36
    events: int = 1200
    batch_max: int = 200


def make_world(seed: int, now: datetime, size: Size) -> World:
    """Build one world; the same seed and time give the same world."""
    return WorldMaker(seed, now, size).make()


def apply_phase(model: Model, phase: Phase) -> None:
    """Apply a phase to the model as it is sent to the server, with repeats."""
    for account_id, protected in phase.accounts:
        model.put_account(account_id, protected=protected)
    for tweet_id, row in (*phase.tweets, *phase.late_tweets):
        model.put_tweet(tweet_id, row)
    for batch in phase.batches:
        for _ in range(batch.times_sent):
            model.apply_batch(batch.key, [line.event for line in batch.lines], atomic=batch.atomic)
    for tweet_id in phase.deletions:
        model.delete_tweet(tweet_id)
    for tweet_id, row in phase.later_tweets:
        model.put_tweet(tweet_id, row)


def new_model(kind: type[Model] = Model) -> Model:
    """Make a model, or one with a bug, with the owners that all worlds share."""
    model = kind()
    for account_id in OWNER_IDS:
        model.put_account(account_id, protected=False)
    return model


class WorldMaker:
    """Makes one world, step by step, from one random source."""

    def __init__(self, seed: int, now: datetime, size: Size) -> None:
        self.rng = random.Random(seed)
        self.seed, self.now, self.size = seed, now, size
        self.world = World(seed, now)
        self.other_ids = [100_000 + seed * 100 + n for n in range(4)]
        self.never_registered_id = 100_000 + seed * 100 + 99
        self.ids_made = 0
        self.keys_made = 0

    def make(self) -> World:
        """Make the accounts and Tweets, then the phases."""
        rng = self.rng
        for _ in range(self.size.tweets):
            self.post(rng.choice(OWNER_IDS))
        for account_id in (*self.other_ids, *self.other_ids, self.never_registered_id):
            self.post(account_id)
        self.share_videos()
        self.world.unknown_ids = [self.next_id(self.now - wire.DAY) for _ in range(6)]
        flags = {account_id: rng.random() < 0.4 for account_id in self.other_ids}
        lines = list(self.lines())
        rng.shuffle(lines)
        half = len(lines) * 2 // 3
        ids = list(self.world.tweets)
        rng.shuffle(ids)
        first_ids, second_ids = ids[: len(ids) - 5], ids[len(ids) - 5 :]
        first = self.phase(first_ids, lines[:half])
        first.accounts = [*flags.items(), (SOMETIMES_PROTECTED_ID, False)]
        second = self.phase(second_ids, lines[half:])
        turned = rng.choice(self.other_ids)
        second.accounts = [
            (turned, not flags[turned]),
            (SOMETIMES_PROTECTED_ID, self.seed % 2 == 1),
        ]
        again = [batch for batch in first.batches if batch.key is not None]
        second.batches += [replace(batch, sent_before=True) for batch in again[::4]]
        second.deletions = rng.sample(first_ids, 3)
        # Rows of known accounts and Tweets; most of them leave out most fields, some come twice.
        second.accounts += [(account_id, None) for account_id in (*flags, SOMETIMES_PROTECTED_ID)]
        others = rng.sample(first_ids, len(first_ids) // 3)
        second.later_tweets = [
            (tweet_id, self.later_row(tweet_id))
            for tweet_id in (*second.deletions, *others, *rng.sample(others, len(others) // 2))
        ]
        self.world.phases = [first, second]
        return self.world

    def phase(self, ids: list[int], lines: list[Line]) -> Phase:
        """Register most Tweets before their events and some after."""
        rows = [(tweet_id, self.first_row(tweet_id)) for tweet_id in ids]
        late = len(rows) // 5
        return Phase(tweets=rows[late:], late_tweets=rows[:late], batches=list(self.batches(lines)))

    # Tweets.

    def next_id(self, created_at: datetime) -> int:
        """Make a snowflake id, distinct for every seed."""
        self.ids_made += 1
        since_1970_ms = int(
            (created_at - datetime.fromtimestamp(0, UTC)) / timedelta(milliseconds=1)
        )
        low_bits = (self.seed % 1024) * TWEETS_A_SEED + self.ids_made
        return (since_1970_ms - wire.SNOWFLAKE_EPOCH_MS << 22) + low_bits

    def post(self, author_id: int) -> None:
        """Post one Tweet; its time is given or that of its id."""
        rng = self.rng
        days = rng.choice(
            (0.2, 1, 3, 9, 20, 27, 40, 70, 89.9, 90.1, 120, 400, 1799.9, 1800.1, 2500)
        )
        created_at = (self.now - days * wire.DAY).replace(microsecond=0)
        if rng.random() < 0.5:
            tweet_id = self.next_id(created_at)
            created_at, given = wire.snowflake_time(tweet_id), False
        else:
            self.ids_made += 1
            early_id = 1_000_000 + self.seed * TWEETS_A_SEED + self.ids_made
            tweet_id, given = rng.choice((early_id, self.next_id(self.now - 5 * wire.DAY))), True
        self.world.tweets[tweet_id] = (
            Tweet(author_id, created_at, deleted=rng.random() < 0.05),
            given,
        )

    def first_row(self, tweet_id: int) -> TweetRow:
        """Make the first row of a Tweet: the fields that differ from the defaults."""
        tweet, given = self.world.tweets[tweet_id]
        return TweetRow(
            tweet.author_id,
            tweet.created_at if given else None,
            tweet.video_id,
            tweet.deleted or None,
        )

    def later_row(self, tweet_id: int) -> TweetRow:
        """Make a later row of a Tweet: few fields, some with new values."""
        rng, (tweet, _) = self.rng, self.world.tweets[tweet_id]
        days, video_id = rng.choice((1, 27, 89.9, 90.1, 1800.1)), rng.choice(self.video_ids())
        created_at = (self.now - days * wire.DAY).replace(microsecond=0)
        return TweetRow(
            tweet.author_id,
            created_at if rng.random() < 0.2 else None,
            video_id if rng.random() < 0.2 else None,
            rng.choice((None, None, None, False, True)),
        )

    def video_ids(self) -> list[str]:
        """List the videos of this world."""
        numbers = [7_000_000 + self.seed * 100 + number for number in range(3)]
        return [form.format(number) for number in numbers for form in ("{}", "13_{}")]

    def share_videos(self) -> None:
        """Give some Tweets a video; they share a few videos."""
        for tweet, _ in self.world.tweets.values():
            if self.rng.random() < 0.5:
                tweet.video_id = self.rng.choice(self.video_ids())

    # Events.

    def lines(self) -> Iterator[Line]:
        """Make events, most of them for a few Tweets, and some bad lines."""
        ids = list(self.world.tweets)
        self.rng.shuffle(ids)
        weights = [1 / (rank + 1) for rank in range(len(ids))]
        for tweet_id in self.rng.choices(ids, weights, k=self.size.events):
            yield self.good_line(self.event(tweet_id))
        for _ in range(self.size.events // 25):
            yield self.bad_line(self.rng.choice(ids))

    def event(self, tweet_id: int) -> Event:
        """Make one event."""
        rng = self.rng
        kind = rng.choice(
            (*wire.EVENT_TYPES, *wire.TOTALS_TYPES[2:], "impressions", "impressions", "video_views")
        )
        count = rng.choice((1, 1, 1, 1, 2, 7, 1000, -1, -1, -3))
        return Event(tweet_id, kind, self.moment(), count, promoted=rng.random() < 0.25)

    def moment(self) -> datetime:
        """Choose a time: usually recent, often at the edge of an hour, a day or a window."""
        rng, now = self.rng, self.now
        edges = (
            wire.floor_hour(now - 28 * wire.HOUR),
            wire.ceil_hour(now) - wire.FOUR_WEEKS,
            wire.floor_hour(now),
            now.replace(hour=0, minute=0, second=0, microsecond=0),
        )
        near = timedelta(seconds=rng.choice((-3600, -1, 0, 0, 1, 1800)))
        choice = rng.random()
        if choice < 0.15:
            return min(rng.choice(edges) + near, now.replace(microsecond=0))
        span = rng.choice((20 * wire.HOUR, 30 * wire.HOUR, 28 * wire.DAY, 60 * wire.DAY))
        if choice > 0.97:
            span = 2000 * wire.DAY
        at = now - span * min(rng.expovariate(2.5), 1.0)
        return at.replace(microsecond=rng.choice((0, 0, 1, 999_000)))

    def good_line(self, event: Event) -> Line:
        """Write an event in one of the allowed notations."""
        rng = self.rng
        text = wire.show_time(event.at)
        if event.at.microsecond:
            text = text[:-1] + f".{event.at.microsecond:06}Z"
        elif rng.random() < 0.1:
            text = (event.at + 5.5 * wire.HOUR).strftime("%Y-%m-%dT%H:%M:%S+05:30")
        record: dict[str, Any] = {"tweet_id": str(event.tweet_id), "type": event.type, "at": text}
        if rng.random() < 0.1:
            record["tweet_id"] = event.tweet_id
        if event.count != 1 or rng.random() < 0.5:
            record["count"] = event.count
        if event.promoted or rng.random() < 0.5:
            record["promoted"] = event.promoted
        return Line(record, event)

    def bad_line(self, tweet_id: int) -> Line:
        """Spoil a valid line in one way."""
        good = self.good_line(self.event(tweet_id)).record
        assert isinstance(good, dict)
        fault = self.rng.choice(list(FAULTS))
        return Line(FAULTS[fault](self.rng, good, self.now), None, fault)

    # Batches.

    def batches(self, lines: list[Line]) -> Iterator[Batch]:
        """Cut lines into batches; the format of a batch can express all of its lines."""
        rng = self.rng
        rest = lines
        while rest:
            size = min(rng.choice((1, 5, 40, self.size.batch_max, self.size.batch_max)), len(rest))
            form = rng.choice(FORMATS)
            chosen: list[Line] = []
            kept: list[Line] = []
            for line in rest:
                fits = not line.fault or line.fault in FAULTS_OF_FORMAT[form]
                (chosen if fits and len(chosen) < size else kept).append(line)
            rest = kept
            if any(line.event for line in chosen):
                yield self.batch(chosen, form)
            elif not any(line.event for line in rest):
                return

    def batch(self, lines: list[Line], form: str) -> Batch:
        """Make a batch of lines, which may be sent several times under the same key."""
        rng = self.rng
        self.keys_made += 1
        encoding = rng.choice(ENCODINGS)
        key = None if rng.random() < 0.15 else f"batch-{self.seed}-{self.keys_made}"
        return Batch(
            key=key,
            lines=lines,
            form=form,
            encoding=encoding,
            atomic=rng.random() < 0.15,
            times_sent=1 if key is None else rng.choice((1, 1, 2, 3)),
            body=compress(write_body(rng, [line.record for line in lines], form), encoding),
        )
