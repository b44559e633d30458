"""The model gives the answers of the contract's own samples."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from oracle import wire
from oracle.model import Answer, Caller, Event, Model, Tweet, TweetRow, Window

OWNER_ID = 7
TWEET_ID = 111


def at(text: str) -> datetime:
    """Parse a time."""
    moment = wire.parse_time(text)
    assert moment is not None
    return moment


def window(endpoint: str, now: str, **dates: str) -> Window:
    """Compute a window with the model."""
    return Model().window(endpoint, dates, at(now))


def answer_for(
    model: Model, endpoint: str, now: str, types: list[str], group_by: list[str]
) -> Answer:
    """Answer a request for one grouping of the Tweet."""
    body = {
        "tweet_ids": [str(TWEET_ID)],
        "engagement_types": types,
        "groupings": {"g": {"group_by": group_by}},
    }
    return model.answer(endpoint, Caller(OWNER_ID), json.dumps(body).encode(), at(now))


@pytest.fixture
def model() -> Model:
    """A model with one owner and one Tweet."""
    made = Model()
    made.put_account(OWNER_ID, protected=False)
    made.put_tweet(TWEET_ID, TweetRow(OWNER_ID, at("2024-05-01")))
    return made


def count_events(model: Model, *events: tuple[str, str, int]) -> None:
    """Apply events to the model."""
    model.apply_batch(None, [Event(TWEET_ID, kind, at(when), n) for kind, when, n in events])


def test_rows_keep_the_values_that_they_leave_out(model: Model) -> None:
    """The time of a new Tweet is that of its id."""
    model.put_tweet(TWEET_ID, TweetRow(OWNER_ID, video_id="5", deleted=True))
    model.put_tweet(TWEET_ID, TweetRow(8))
    model.put_tweet(TWEET_ID + 1, TweetRow(8))
    model.put_account(OWNER_ID, protected=True)
    model.put_account(OWNER_ID, protected=None)
    assert model.tweets == {
        TWEET_ID: Tweet(8, at("2024-05-01"), "5", deleted=True),
        TWEET_ID + 1: Tweet(8, wire.snowflake_time(TWEET_ID + 1)),
    }
    assert model.protected_by_account == {OWNER_ID: True}


def test_28_hours_are_29_buckets() -> None:
    """The sample of the documentation spans 29 hours."""
    found = window("28hr", "2015-09-15T21:13:08Z")
    assert (found.start, found.end) == (at("2015-09-14T17:00:00Z"), at("2015-09-15T22:00:00Z"))
    assert found.hours is not None
    assert (len(found.hours), found.hours[-1]) == (29, at("2015-09-15T21:00:00Z"))


def test_default_historical_window_echoes_now() -> None:
    """The recorded answer starts on an hour and ends unrounded."""
    found = window("historical", "2016-02-09T19:43:00Z")
    assert (found.start, found.end) == (at("2016-01-12T20:00:00Z"), at("2016-02-09T19:43:00Z"))
    assert found.hours is not None
    assert len(found.hours) == 28 * 24


def test_given_dates_are_rounded_outward() -> None:
    """12:24 to 08:37 becomes 12:00 to 09:00."""
    dates = {"start": "2015-07-01T12:24:00Z", "end": "2015-07-08T08:37:00Z"}
    found = window("historical", "2016-02-09T19:43:00Z", **dates)
    assert (found.start, found.end) == (at("2015-07-01T12:00:00Z"), at("2015-07-08T09:00:00Z"))


def test_hour_without_day_is_hour_of_day(model: Model) -> None:
    """A month by hour has 24 keys in order, each the sum over its days."""
    count_events(
        model,
        ("favorites", "2024-05-02T03:10:00Z", 2),
        ("favorites", "2024-05-05T03:50:00Z", 3),
        ("favorites", "2024-05-05T23:59:59Z", 1),
    )
    group_by = ["engagement.type", "tweet.id", "engagement.hour"]
    body = answer_for(model, "historical", "2024-05-10T11:30:00Z", ["favorites"], group_by).body
    hours = body["g"]["favorites"]["111"]
    assert list(hours) == [f"{hour:02}" for hour in range(24)]
    assert {hour: n for hour, n in hours.items() if n != "0"} == {"03": "5", "23": "1"}


def test_undo_lowers_its_type_but_not_engagements(model: Model) -> None:
    """Views do not count as engagements, and an undo does not reduce them."""
    count_events(
        model,
        ("favorites", "2024-05-02T03:10:00Z", 2),
        ("favorites", "2024-05-02T03:11:00Z", -3),
        ("other_engagements", "2024-05-02T03:12:00Z", 4),
        ("video_views", "2024-05-02T03:13:00Z", 9),
    )
    types = ["favorites", "engagements", "video_views"]
    body = answer_for(model, "totals", "2024-05-10T11:30:00Z", types, ["engagement.type"]).body
    assert body == {"g": {"favorites": "-1", "engagements": "6", "video_views": "9"}}


def test_old_tweets_are_reported(model: Model) -> None:
    """Only old Tweets give a 400 with the 90-day text; otherwise a 200 with zeros and the text."""
    now = "2024-09-01T00:00:00Z"
    alone = answer_for(model, "totals", now, ["impressions"], ["tweet.id"])
    together = answer_for(model, "totals", now, ["impressions", "favorites"], ["engagement.type"])
    arrays: dict[str, Any] = {wire.UNSUPPORTED_90: ["111"]}
    assert (alone.status, {**alone.body, "errors": []}) == (
        400,
        {"errors": [], **arrays},
    )
    counts = {"g": {"impressions": "0", "favorites": "0"}}
    assert (together.status, {**together.body, "errors": []}) == (
        200,
        {"errors": [], **arrays, **counts},
    )
