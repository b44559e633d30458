"""The oracle's own test: bugs planted into the model are noticed against the true one.

Each bug is one overridden rule. No server is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from oracle import wire
from oracle.asking import Ask, Asker
from oracle.breaking import make_ask
from oracle.compare import find_difference
from oracle.generator import Size, World, feed, make_world, new_model
from oracle.model import Answer, Caller, Event, Model, Question, Said, Window

NOW = datetime(2026, 3, 10, 14, 25, 36, 700_000, tzinfo=UTC)
ASKS = 150


class EndsAnHourEarly(Model):
    """The last bucket is missing."""

    def hours(self, start: datetime, end: datetime) -> tuple[datetime, ...]:
        return super().hours(start, end - wire.HOUR)


class EndsAnHourLate(Model):
    """The window is closed at its end."""

    def hours(self, start: datetime, end: datetime) -> tuple[datetime, ...]:
        return super().hours(start, end + wire.HOUR)


class EndIsRoundedDown(Model):
    """A given end loses its last, partial hour."""

    def round_end(self, end: datetime) -> datetime:
        return wire.floor_hour(end)


class TwentyEightHoursOnly(Model):
    """`/28hr` starts at the hour after now - 28 h."""

    def window(self, endpoint: str, body: dict[str, Any], now: datetime) -> Window:
        window = super().window(endpoint, body, now)
        if endpoint != "28hr" or window.start is None or window.hours is None:
            return window
        return Window(window.start + wire.HOUR, window.end, window.hours[1:])


class DefaultEndIsRounded(Model):
    """`/historical` without an end shows the full hour."""

    def window(self, endpoint: str, body: dict[str, Any], now: datetime) -> Window:
        window = super().window(endpoint, body, now)
        return Window(window.start, window.end and wire.ceil_hour(window.end), window.hours)


class NoZeros(Model):
    """Hours and types in which nothing happened are left out."""

    def fills_with_zeros(self) -> bool:
        return False


class PromotedImpressionsCount(Model):
    """Promoted impressions are counted as organic ones."""

    def amount(self, event: Event, metric: str) -> int:
        return (
            event.count if event.type == metric == "impressions" else super().amount(event, metric)
        )


class PromotedEngagementsDoNotCount(Model):
    """Promoted interactions are kept out of `engagements`."""

    def amount(self, event: Event, metric: str) -> int:
        return 0 if metric == "engagements" and event.promoted else super().amount(event, metric)


class UndoLowersEngagements(Model):
    """An undo is taken back from `engagements`."""

    def amount(self, event: Event, metric: str) -> int:
        if metric == "engagements" and event.type not in wire.NEVER_ROLLED_UP:
            return event.count
        return super().amount(event, metric)


class MediaViewsRollUp(Model):
    """Media views are counted among `engagements`."""

    def amount(self, event: Event, metric: str) -> int:
        if metric == "engagements" and event.type == "media_views":
            return max(event.count, 0)
        return super().amount(event, metric)


class OtherEngagementsAreLost(Model):
    """Interactions without a metric of their own are dropped."""

    def amount(self, event: Event, metric: str) -> int:
        return 0 if event.type == "other_engagements" else super().amount(event, metric)


class CountIsIgnored(Model):
    """Every event counts once."""

    def amount(self, event: Event, metric: str) -> int:
        amount = super().amount(event, metric)
        return (amount > 0) - (amount < 0)


class VideosAreNotShared(Model):
    """`video_views` on `/totals` is the Tweet's own."""

    def sources(self, endpoint: str, tweet_id: int, metric: str) -> list[int]:
        return [tweet_id]


class VideosAreSharedEverywhere(Model):
    """`video_views` adds up the video's Tweets on the timed endpoints too."""

    def sources(self, endpoint: str, tweet_id: int, metric: str) -> list[int]:
        return super().sources("totals", tweet_id, metric)


class DeletedTweetsTakeTheirViewsAway(Model):
    """Views of a deleted Tweet no longer count towards its video."""

    def sources(self, endpoint: str, tweet_id: int, metric: str) -> list[int]:
        return [
            t for t in super().sources(endpoint, tweet_id, metric) if not self.tweets[t].deleted
        ]


class HoursInAnyOrder(Model):
    """Days and hours stand in the wrong order."""

    def in_time(self, paths: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        return sorted(paths, reverse=True)


class HourKeysAreShort(Model):
    """Hour keys lose their leading zero."""

    def path(
        self, group_by: list[str], tweet_id: int, name: str, hour: datetime
    ) -> tuple[str, ...]:
        path = super().path(group_by, tweet_id, name, hour)
        return tuple(
            str(int(key)) if dimension == wire.AT_HOUR else key
            for dimension, key in zip(group_by, path, strict=True)
        )


class RepeatsCount(Model):
    """A batch sent again is counted again."""

    def is_repeat(self, key: str | None) -> bool:
        return False


class AtomicIsIgnored(Model):
    """An atomic batch with a bad line is counted in part."""

    def apply_batch(
        self, key: str | None, lines: list[Event | None], *, atomic: bool = False
    ) -> dict[str, Any]:
        return super().apply_batch(key, lines)


class NumbersNotStrings(Model):
    """Counts are bare numbers."""

    def write_count(self, count: int) -> Any:
        return count


class NegativesAreClamped(Model):
    """A count below zero is shown as zero."""

    def write_count(self, count: int) -> Any:
        return str(max(count, 0))


class OwnersSeeTheirProtectedTweets(Model):
    """Protection is no reason to be unavailable."""

    def is_available(self, tweet_id: int) -> bool:
        tweet = self.tweets.get(tweet_id)
        return (
            tweet is not None and not tweet.deleted and tweet.author_id in self.protected_by_account
        )


class AuthorsNeedNotBeKnown(Model):
    """Tweets of an account that was never registered are served."""

    def is_available(self, tweet_id: int) -> bool:
        tweet = self.tweets.get(tweet_id)
        known = tweet is not None and tweet.author_id in self.protected_by_account
        return super().is_available(tweet_id) if known else tweet is not None and not tweet.deleted


class DeletedTweetsAreServed(Model):
    """A deletion is forgotten."""

    def delete_tweet(self, tweet_id: int) -> None:
        return None


class SilenceMakesAccountsPublic(Model):
    """An account sent again without a word on its protection becomes public."""

    def put_account(self, account_id: int, *, protected: bool | None) -> None:
        super().put_account(account_id, protected=bool(protected))


class SilenceResetsTheTime(Model):
    """A Tweet sent again without its time gets that of its id."""

    def put_tweet(self, tweet_id: int, said: Said) -> None:
        created_at = said.created_at or self.unsaid(tweet_id, said).created_at
        super().put_tweet(tweet_id, replace(said, created_at=created_at))


class SilenceTakesTheVideoAway(Model):
    """A Tweet sent again without its video loses it."""

    def put_tweet(self, tweet_id: int, said: Said) -> None:
        super().put_tweet(tweet_id, said)
        self.tweets[tweet_id].video_id = said.video_id


class SilenceUndoesADeletion(Model):
    """A Tweet sent again without a word on its deletion comes back."""

    def put_tweet(self, tweet_id: int, said: Said) -> None:
        super().put_tweet(tweet_id, replace(said, deleted=bool(said.deleted)))


class WhatWasSaidFirstHolds(Model):
    """A registration fills gaps only."""

    def put_tweet(self, tweet_id: int, said: Said) -> None:
        if tweet_id not in self.tweets:
            super().put_tweet(tweet_id, said)


class UnownedTweetsAreDropped(Model):
    """The unowned are left out instead of refusing the whole request."""

    def serve(self, question: Question, left: list[int], gone: list[int]) -> Answer:
        return super().serve(question, [t for t in left if t not in self.foreign], gone)

    def unowned(self, tweet_ids: list[int], caller: Caller) -> list[int]:
        self.foreign = super().unowned(tweet_ids, caller)
        return []


class UnownedWins(Model):
    """Ownership is judged before availability."""

    def decide(self, question: Question, caller: Caller) -> Answer:
        known = [t for t in question.tweet_ids if t in self.tweets]
        foreign = self.unowned(known, caller)
        if foreign:
            return Answer(
                403, {"errors": ["Forbidden to access tweets: " + ", ".join(map(str, foreign))]}
            )
        return super().decide(question, caller)


class AppsSeeEverything(Model):
    """An app alone gets private metrics."""

    def forbidden_types(self, question: Question, caller: Caller) -> list[str]:
        return []


class RightsBeforeAvailability(Model):
    """Metric rights are judged first."""

    def decide(self, question: Question, caller: Caller) -> Answer:
        forbidden = self.forbidden_types(question, caller)
        if forbidden:
            return Answer(403, {"errors": ["Forbidden to access metrics: " + ", ".join(forbidden)]})
        return super().decide(question, caller)


class NinetyDaysEverywhere(Model):
    """The 90-day rule is applied on the timed endpoints too."""

    def unsupported_for_impressions(self, question: Question, left: list[int]) -> list[int]:
        if not {"impressions", "engagements"} & set(question.types):
            return []
        return [t for t in left if self.is_older(t, 90, question.now)]


class OldVideosOnTotalsOnly(Model):
    """The 1800-day rule is forgotten on the timed endpoints."""

    def unsupported_for_video_views(self, question: Question, left: list[int]) -> list[int]:
        return (
            super().unsupported_for_video_views(question, left)
            if question.endpoint == "totals"
            else []
        )


class AgesAreADayOff(Model):
    """A Tweet may be one day older than the rule says."""

    def is_older(self, tweet_id: int, days: int, now: datetime) -> bool:
        return super().is_older(tweet_id, days + 1, now)


BUGS = Model.__subclasses__()


@cache
def worlds() -> list[World]:
    """Make the worlds every bug is looked for in."""
    return [make_world(seed, NOW, Size(events=1500, batch_max=150)) for seed in (1, 2)]


@cache
def asks(number: int) -> list[Ask]:
    """Ask a world random questions, small enough for thirty models."""
    asker = Asker(worlds()[number], number, ids_max=40, cells_max=1500)
    return [make_ask(asker) for _ in range(ASKS)]


def fed(kind: type[Model], world: World) -> Model:
    """Tell a model everything that happens in a world."""
    model = new_model(kind)
    for phase in world.phases:
        feed(model, phase)
    return model


def answer(model: Model, ask: Ask) -> Answer:
    """Let a model answer as of the worlds' own time."""
    return model.answer(ask.endpoint, ask.caller(), ask.raw, NOW)


@cache
def true_answers(number: int) -> list[Answer]:
    """Answer every question of a world rightly, once."""
    model = fed(Model, worlds()[number])
    return [answer(model, ask) for ask in asks(number)]


def as_received(body: dict[str, Any]) -> dict[str, Any]:
    """Send a model's body through JSON; texts that are patterns or free are spelled out somehow."""
    sent = dict(body)
    if "errors" in sent:
        texts = sent["errors"] or ["said somehow"]
        sent["errors"] = [text if isinstance(text, str) else "a known text" for text in texts]
    received: dict[str, Any] = json.loads(json.dumps(sent))
    return received


def find_told_apart(right: Answer, given: Answer) -> str | None:
    """Compare a model's answer with the true one as the server's answers are compared."""
    if given.body.get("errors") != right.body.get("errors"):
        return find_difference(right, given.status, as_received(given.body))
    free = {**right.body, "errors": None} if "errors" in right.body else right.body
    return find_difference(replace(right, body=free), given.status, as_received(given.body))


def find_noticed(kind: type[Model], asks_max: int = ASKS) -> str | None:
    """Look for the first question that tells a model from the true one."""
    for number, world in enumerate(worlds()):
        model = fed(kind, world)
        for ask, right in zip(asks(number)[:asks_max], true_answers(number), strict=False):
            difference = find_told_apart(right, answer(model, ask))
            if difference is not None:
                return difference
    return None


def test_true_model_differs_from_itself_nowhere() -> None:
    """The comparison finds nothing where nothing is wrong."""
    assert find_noticed(Model, asks_max=50) is None


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_planted_bug_is_noticed(bug: type[Model]) -> None:
    """A model with one broken rule gives itself away on the generated worlds."""
    assert find_noticed(bug) is not None


def test_questions_reach_every_kind_of_answer() -> None:
    """The questions meet every status, every array and every fixed text of the model."""
    right = [one for number in range(len(worlds())) for one in true_answers(number)]
    statuses = {one.status for one in right}
    arrays = {key for one in right for key in one.body}
    assert statuses == {200, 400, 401, 403}
    assert arrays >= {
        "start",
        "end",
        "errors",
        wire.UNAVAILABLE,
        wire.UNSUPPORTED_90,
        wire.UNSUPPORTED_1800,
    }
    assert sum(one.status == 200 for one in right) > len(right) // 3
