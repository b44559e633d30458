"""The oracle's own test: bugs that are planted into the model are found.

Each bug is one overridden rule. No server is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from oracle import wire
from oracle.compare import find_difference
from oracle.generator import Size, World, apply_phase, make_world, new_model
from oracle.invalid_requests import make_request
from oracle.model import Answer, Caller, Event, Model, ParsedRequest, TweetRow, Window
from oracle.request_maker import ApiRequest, RequestMaker
from support.cases import cases

NOW = datetime(2026, 3, 10, 14, 25, 36, 700_000, tzinfo=UTC)
REQUESTS = 150


class EndsAnHourEarly(Model):
    """The last hour of a window is missing."""

    def hours(self, start: datetime, end: datetime) -> tuple[datetime, ...]:
        return super().hours(start, end - wire.HOUR)


class EndsAnHourLate(Model):
    """A window includes the hour at its end."""

    def hours(self, start: datetime, end: datetime) -> tuple[datetime, ...]:
        return super().hours(start, end + wire.HOUR)


class EndIsRoundedDown(Model):
    """A given end is rounded down."""

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
    """`/historical` without an end shows a full hour."""

    def window(self, endpoint: str, body: dict[str, Any], now: datetime) -> Window:
        window = super().window(endpoint, body, now)
        return Window(window.start, window.end and wire.ceil_hour(window.end), window.hours)


class NoZeros(Model):
    """Hours and types without events are left out."""

    def fills_with_zeros(self) -> bool:
        return False


class PromotedImpressionsCount(Model):
    """Promoted impressions are counted."""

    def amount(self, event: Event, metric: str) -> int:
        return (
            event.count if event.type == metric == "impressions" else super().amount(event, metric)
        )


class PromotedEngagementsDoNotCount(Model):
    """Promoted interactions do not count as `engagements`."""

    def amount(self, event: Event, metric: str) -> int:
        return 0 if metric == "engagements" and event.promoted else super().amount(event, metric)


class UndoLowersEngagements(Model):
    """An undo reduces `engagements`."""

    def amount(self, event: Event, metric: str) -> int:
        if metric == "engagements" and event.type not in wire.NEVER_ROLLED_UP:
            return event.count
        return super().amount(event, metric)


class MediaViewsRollUp(Model):
    """Media views count as `engagements`."""

    def amount(self, event: Event, metric: str) -> int:
        if metric == "engagements" and event.type == "media_views":
            return max(event.count, 0)
        return super().amount(event, metric)


class OtherEngagementsAreLost(Model):
    """Interactions without a metric are dropped."""

    def amount(self, event: Event, metric: str) -> int:
        return 0 if event.type == "other_engagements" else super().amount(event, metric)


class CountIsIgnored(Model):
    """Every event counts once."""

    def amount(self, event: Event, metric: str) -> int:
        amount = super().amount(event, metric)
        return (amount > 0) - (amount < 0)


class VideosAreNotShared(Model):
    """`video_views` on `/totals` counts only the Tweet's own views."""

    def sources(self, endpoint: str, tweet_id: int, metric: str) -> list[int]:
        return [tweet_id]


class VideosAreSharedEverywhere(Model):
    """`video_views` counts all views of a video on the timed endpoints too."""

    def sources(self, endpoint: str, tweet_id: int, metric: str) -> list[int]:
        return super().sources("totals", tweet_id, metric)


class DeletedTweetsTakeTheirViewsAway(Model):
    """Views of a deleted Tweet no longer count towards its video."""

    def sources(self, endpoint: str, tweet_id: int, metric: str) -> list[int]:
        return [
            t for t in super().sources(endpoint, tweet_id, metric) if not self.tweets[t].deleted
        ]


class HoursInAnyOrder(Model):
    """Days and hours are in the wrong order."""

    def sort_times(self, paths: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        return sorted(paths, reverse=True)


class HourKeysAreShort(Model):
    """Hour keys have no leading zero."""

    def path(
        self, group_by: list[str], tweet_id: int, name: str, hour: datetime
    ) -> tuple[str, ...]:
        path = super().path(group_by, tweet_id, name, hour)
        return tuple(
            str(int(key)) if dimension == wire.AT_HOUR else key
            for dimension, key in zip(group_by, path, strict=True)
        )


class RepeatsCount(Model):
    """A repeated batch is counted again."""

    def is_repeat(self, key: str | None) -> bool:
        return False


class AtomicIsIgnored(Model):
    """An atomic batch with a bad line is counted in part."""

    def apply_batch(
        self, key: str | None, lines: list[Event | None], *, atomic: bool = False
    ) -> dict[str, Any]:
        return super().apply_batch(key, lines)


class NumbersNotStrings(Model):
    """Counts are numbers."""

    def write_count(self, count: int) -> Any:
        return count


class NegativesAreClamped(Model):
    """Negative counts are shown as zero."""

    def write_count(self, count: int) -> Any:
        return str(max(count, 0))


class ProtectedTweetsAreServed(Model):
    """Protected Tweets are available."""

    def is_available(self, tweet_id: int) -> bool:
        tweet = self.tweets.get(tweet_id)
        return (
            tweet is not None and not tweet.deleted and tweet.author_id in self.protected_by_account
        )


class UnregisteredAuthorsAreServed(Model):
    """Tweets of an account that was never registered are served."""

    def is_available(self, tweet_id: int) -> bool:
        tweet = self.tweets.get(tweet_id)
        known = tweet is not None and tweet.author_id in self.protected_by_account
        return super().is_available(tweet_id) if known else tweet is not None and not tweet.deleted


class DeletedTweetsAreServed(Model):
    """A deletion has no effect."""

    def delete_tweet(self, tweet_id: int) -> None:
        return None


class AbsentProtectionMakesPublic(Model):
    """A row that leaves out `protected` makes the account public."""

    def put_account(self, account_id: int, *, protected: bool | None) -> None:
        super().put_account(account_id, protected=bool(protected))


class AbsentTimeResetsTheTime(Model):
    """A row that leaves out the time sets it to that of the id."""

    def put_tweet(self, tweet_id: int, row: TweetRow) -> None:
        created_at = row.created_at or self.new_tweet(tweet_id, row).created_at
        super().put_tweet(tweet_id, replace(row, created_at=created_at))


class AbsentVideoRemovesTheVideo(Model):
    """A row that leaves out the video removes it."""

    def put_tweet(self, tweet_id: int, row: TweetRow) -> None:
        super().put_tweet(tweet_id, row)
        self.tweets[tweet_id].video_id = row.video_id


class AbsentDeletionUndoesADeletion(Model):
    """A row that leaves out `deleted` undoes a deletion."""

    def put_tweet(self, tweet_id: int, row: TweetRow) -> None:
        super().put_tweet(tweet_id, replace(row, deleted=bool(row.deleted)))


class FirstRowWins(Model):
    """Later rows of a Tweet have no effect."""

    def put_tweet(self, tweet_id: int, row: TweetRow) -> None:
        if tweet_id not in self.tweets:
            super().put_tweet(tweet_id, row)


class UnownedTweetsAreDropped(Model):
    """Tweets of other accounts are left out instead of refusing the request."""

    def serve(self, parsed: ParsedRequest, available: list[int], unavailable: list[int]) -> Answer:
        return super().serve(parsed, [t for t in available if t not in self.foreign], unavailable)

    def unowned(self, tweet_ids: list[int], caller: Caller) -> list[int]:
        self.foreign = super().unowned(tweet_ids, caller)
        return []


class UnownedWins(Model):
    """Ownership is checked before availability."""

    def decide(self, parsed: ParsedRequest, caller: Caller) -> Answer:
        known = [t for t in parsed.tweet_ids if t in self.tweets]
        foreign = self.unowned(known, caller)
        if foreign:
            return Answer(
                403, {"errors": ["Forbidden to access tweets: " + ", ".join(map(str, foreign))]}
            )
        return super().decide(parsed, caller)


class AppsReadEverything(Model):
    """An app alone gets private metrics."""

    def forbidden_types(self, parsed: ParsedRequest, caller: Caller) -> list[str]:
        return []


class RightsBeforeAvailability(Model):
    """Rights to metrics are checked first."""

    def decide(self, parsed: ParsedRequest, caller: Caller) -> Answer:
        forbidden = self.forbidden_types(parsed, caller)
        if forbidden:
            return Answer(403, {"errors": ["Forbidden to access metrics: " + ", ".join(forbidden)]})
        return super().decide(parsed, caller)


class NinetyDaysEverywhere(Model):
    """The 90-day rule applies to the timed endpoints too."""

    def unsupported_for_impressions(self, parsed: ParsedRequest, available: list[int]) -> list[int]:
        if not {"impressions", "engagements"} & set(parsed.types):
            return []
        return [t for t in available if self.is_older(t, 90, parsed.now)]


class OldVideosOnTotalsOnly(Model):
    """The 1800-day rule does not apply to the timed endpoints."""

    def unsupported_for_video_views(self, parsed: ParsedRequest, available: list[int]) -> list[int]:
        return (
            super().unsupported_for_video_views(parsed, available)
            if parsed.endpoint == "totals"
            else []
        )


class AgesAreADayOff(Model):
    """A Tweet may be a day older than the rule allows."""

    def is_older(self, tweet_id: int, days: int, now: datetime) -> bool:
        return super().is_older(tweet_id, days + 1, now)


BUGS = Model.__subclasses__()


@cache
def worlds() -> list[World]:
    """Make the worlds in which every bug must be found."""
    return [make_world(seed, NOW, Size(events=1500, batch_max=150)) for seed in (1, 2)]


@cache
def api_requests(number: int) -> list[ApiRequest]:
    """Make random requests about a world, small enough for thirty models."""
    maker = RequestMaker(worlds()[number], number, ids_max=40, cells_max=1500)
    return [make_request(maker) for _ in range(REQUESTS)]


def model_after(kind: type[Model], world: World) -> Model:
    """Make a model, and apply everything that happens in a world."""
    model = new_model(kind)
    for phase in world.phases:
        apply_phase(model, phase)
    return model


def answer(model: Model, request: ApiRequest) -> Answer:
    """Answer a request at the time of the worlds."""
    return model.answer(request.endpoint, request.caller(), request.raw, NOW)


@cache
def true_answers(number: int) -> list[Answer]:
    """Compute the right answer to every request about a world, once."""
    model = model_after(Model, worlds()[number])
    return [answer(model, request) for request in api_requests(number)]


def as_received(body: dict[str, Any]) -> dict[str, Any]:
    """Pass a body through JSON; replace texts that are patterns or free by some text."""
    sent = dict(body)
    if "errors" in sent:
        texts = sent["errors"] or ["some text"]
        sent["errors"] = [text if isinstance(text, str) else "a known text" for text in texts]
    received: dict[str, Any] = json.loads(json.dumps(sent))
    return received


def compare_answers(right: Answer, given: Answer) -> str | None:
    """Compare a model's answer with the right one, as answers of the server are compared."""
    if given.body.get("errors") != right.body.get("errors"):
        return find_difference(right, given.status, as_received(given.body))
    free = {**right.body, "errors": None} if "errors" in right.body else right.body
    return find_difference(replace(right, body=free), given.status, as_received(given.body))


def find_detection(kind: type[Model], requests_max: int = REQUESTS) -> str | None:
    """Find the first request whose answer differs between a model and the true one."""
    for number, world in enumerate(worlds()):
        model = model_after(kind, world)
        for request, right in zip(
            api_requests(number)[:requests_max], true_answers(number), strict=False
        ):
            difference = compare_answers(right, answer(model, request))
            if difference is not None:
                return difference
    return None


def test_true_model_does_not_differ_from_itself() -> None:
    """The comparison finds no difference if there is none."""
    assert find_detection(Model, requests_max=50) is None


@cases("bug", BUGS, ids=lambda bug: bug.__name__)
def test_planted_bug_is_found(bug: type[Model]) -> None:
    """The generated worlds and requests reveal a model with one broken rule."""
    assert find_detection(bug) is not None


def test_requests_get_every_kind_of_answer() -> None:
    """The requests get every status, every array and every fixed text of the model."""
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
