"""Both clients against the server of Open Engagement."""

import asyncio
import csv
import json
import re
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time

import polars as pl
import pyarrow.parquet as pq
import pytest

from both_clients import run_sync
from openengagement_client import (
    AsyncEngagementClient,
    Credentials,
    EngagementClient,
    Forbidden,
    ForbiddenMetrics,
    InvalidQuery,
    Row,
    Unauthorized,
    historical_query,
    last_28_hours_query,
    totals_query,
)
from support.calls import question, sign_as_user
from support.world import RECENT, recent_count

BY_TWEET = {"g": ("tweet.id", "engagement.type")}
OWNED = ["111", "112", "113", "114", "118"]
START, END = "2024-04-20", "2024-06-10T10:30:00Z"  # of the seeded events, more than 28 days


def credentials_of(app):
    return Credentials(
        consumer_key=app.consumer_key,
        consumer_secret=app.consumer_secret,
        access_token=app.access_token,
        access_token_secret=app.access_token_secret,
    )


@pytest.fixture
def user(world):
    return credentials_of(world.main)


def without_time(text):
    """Return a message without the time of the answer."""
    return re.sub(r"\(.*Z\)", "", text)


def test_a_small_result_is_the_body_of_the_answer(run, server, user, world):
    types = ("impressions", "favorites")
    answer = server.client.ask(
        "totals", question(*OWNED, types=types), sign_as_user(world.main)
    ).json()
    result = run(totals_query(OWNED, types, groupings=BY_TWEET), server.url, user)
    assert json.dumps(result["g"]) == json.dumps(answer["g"])
    assert list(map(without_time, result.messages)) == list(map(without_time, answer["errors"]))
    name = "unsupported_for_impressions_engagements_tweet_ids"
    assert getattr(result, name) == answer[name]


def test_every_tweet_of_many_is_shown_or_listed(run, server, user):
    unknown = [str(each) for each in range(10**6, 10**6 + 600)]
    ids = ["111", *unknown, "211", "112", "117", "311"]
    result = run(totals_query(ids, ["favorites"], groupings=BY_TWEET), server.url, user)
    assert result["g"] == {"111": {"favorites": "4"}, "112": {"favorites": "0"}}
    assert result.unavailable_tweet_ids == [*unknown, "117", "311"]
    assert result.forbidden_tweet_ids == ["211"]


@pytest.mark.parametrize("settings", [{"forbidden_text": "authors"}, {"partial_ownership": "true"}])
def test_other_settings_of_ownership(run, servers, user, settings):
    other = servers(**settings)
    ids = ["111", "211", "212", "112"]
    result = run(totals_query(ids, ["favorites"], groupings=BY_TWEET), other.url, user)
    assert result["g"] == {"111": {"favorites": "4"}, "112": {"favorites": "0"}}
    assert result.forbidden_tweet_ids == ["211", "212"]


def test_a_strict_server(run, servers, user):
    """It demands gzip, and always lists unavailable Tweets."""
    strict = servers(faithful="true", always_list_unavailable="true")
    result = run(totals_query(["111"], ["favorites"]), strict.url, user)
    assert result["totals"] == {"111": {"favorites": "4"}}


def test_more_than_28_days(run, server, user):
    """The days of 51 days, from two requests, are those of the seeded events."""
    types = ("impressions", "favorites", "retweets")
    groupings = {
        "daily": ("tweet.id", "engagement.type", "engagement.day"),
        "hour of day": ("engagement.hour",),
        "all": ("engagement.type",),
    }
    query = historical_query(OWNED, types, groupings=groupings, start=START, end=END)
    result = run(query, server.url, user)
    assert (result.start, result.end) == ("2024-04-20T00:00:00Z", "2024-06-10T11:00:00Z")
    days = result["daily"]["111"]["impressions"]
    assert len(days) == 52
    assert list(days) == sorted(days)
    assert {day: count for day, count in days.items() if count != "0"} == {
        "2024-05-01": "23",
        "2024-05-02": "17",
    }
    assert result["all"] == {"impressions": "62", "favorites": "7", "retweets": "3"}
    assert sum(map(int, result["hour of day"].values())) == 72
    assert result["hour of day"]["13"] == "67"


def test_28_days_are_the_same_from_one_request_and_from_several(run, server, user):
    groupings = {"g": ("tweet.id", "engagement.type", "engagement.day", "engagement.hour")}
    whole = historical_query(
        [RECENT, "111"], ["url_clicks"], groupings=groupings, start=START, end="2024-05-18"
    )
    longer = historical_query(
        [RECENT, "111"], ["url_clicks"], groupings=groupings, start=START, end="2024-07-01"
    )
    one, several = run(whole, server.url, user), run(longer, server.url, user)
    days = one["g"]["111"]["url_clicks"]
    assert len(days) == 28
    assert days.items() <= several["g"]["111"]["url_clicks"].items()


def test_the_last_28_hours_by_the_hour(run, server, user, world):
    result = run(last_28_hours_query([RECENT], ["url_clicks"]), server.url, user)
    now_hour = int(datetime.now(UTC).timestamp()) // 3600
    for row in result:
        began = datetime.combine(row.day, clock_time(row.hour), UTC)
        hour = int(began.timestamp()) // 3600
        assert row.count == (recent_count(hour) if hour <= world.seeded_hour else 0)
        assert now_hour - 30 <= hour <= now_hour
    assert 28 <= len(list(result)) <= 29


def test_up_to_now(run, server, user):
    start = datetime.now(UTC) - timedelta(days=60)
    result = run(
        historical_query([RECENT], ["url_clicks"], groupings=["engagement.day"], start=start),
        server.url,
        user,
    )
    assert len(result["counts"]) in (61, 62)


@pytest.mark.parametrize(
    ("make", "kind", "code"),
    [
        (lambda world: Credentials(bearer_token="x"), Unauthorized, "bearer_token_not_found"),
        (lambda world: credentials_of(world.pending), Forbidden, "app_not_enabled"),
        (
            lambda world: credentials_of(world.main).app_only(),
            ForbiddenMetrics,
            "forbidden_metrics",
        ),
    ],
)
def test_refusals_have_the_names_of_the_server(run, server, world, make, kind, code):
    with pytest.raises(kind) as caught:
        run(totals_query(["111"], ["impressions"]), server.url, make(world))
    error = caught.value
    assert error.error_code == code
    assert len(error.request_id) == 16
    assert error.messages[0] in str(error)
    assert code in str(error)


def test_rate_limits_are_shown(server, user):
    with EngagementClient(server.url, user) as client:
        assert client.rate_limits == {}
        client.totals(["111"], ["favorites"])
        minute = client.rate_limits["minute"]
    assert minute.limit == 6000
    assert 0 < minute.remaining < 6000


def test_rows_and_columns(server, user):
    result = run_sync(
        historical_query(
            ["111"],
            ["favorites"],
            groupings={"h": ["tweet.id", "engagement.day", "engagement.hour"]},
            start="2024-05-01T13:00:00Z",
            end="2024-05-01T15:00:00Z",
        ),
        server.url,
        user,
    )
    day = date(2024, 5, 1)
    assert list(result) == [Row("111", None, day, 13, 4), Row("111", None, day, 14, 0)]
    expected = {"tweet_id": ["111"] * 2, "day": [day] * 2, "hour": [13, 14], "count": [4, 0]}
    assert result.columns("h") == expected


def test_frames(server, user, tmp_path):
    query = historical_query(["111", "112"], ["favorites"], start=START, end=END)
    result = run_sync(query, server.url, user)
    polars, arrow, pandas = result.to_polars(), result.to_arrow(), result.to_pandas()
    names = ["tweet_id", "engagement_type", "day", "hour", "count"]
    assert polars.columns == arrow.column_names == list(pandas.columns) == names
    assert len(polars) == len(arrow) == len(pandas) == 2 * (51 * 24 + 11)
    assert polars["count"].sum() == sum(arrow["count"].to_pylist()) == pandas["count"].sum() == 4
    assert polars.schema["day"] == pl.Date
    assert str(pandas["day"].dtype).startswith("datetime64")
    result.to_parquet(tmp_path / "x.parquet", "by hour")
    assert pq.read_table(tmp_path / "x.parquet") == arrow
    empty = run_sync(totals_query(["117"], ["favorites"]), server.url, user)
    assert empty.to_polars().schema == {
        "tweet_id": pl.String,
        "engagement_type": pl.String,
        "count": pl.Int64,
    }
    assert len(empty.to_arrow()) == len(empty.to_pandas()) == 0


@pytest.mark.parametrize("suffix", ["ndjson", "csv", "parquet"])
@pytest.mark.parametrize("is_async", [False, True])
def test_files(server, user, tmp_path, suffix, is_async):
    ids = ["111", *(str(each) for each in range(10**6, 10**6 + 300)), "112", "211"]
    query = totals_query(ids, ["favorites", "retweets"])
    path = tmp_path / f"totals.{suffix}"
    if is_async:

        async def write():
            async with AsyncEngagementClient(server.url, user) as client:
                return await client.write(query, path)

        summary = asyncio.run(write())
    else:
        with EngagementClient(server.url, user) as client:
            summary = client.write(query, path)
    expected = [("111", "favorites", 4), ("111", "retweets", 2)]
    expected += [("112", "favorites", 0), ("112", "retweets", 1)]
    if suffix == "ndjson":
        rows = [tuple(json.loads(line).values()) for line in path.read_text().splitlines()]
    elif suffix == "csv":
        with path.open() as file:
            header, *lines = csv.reader(file)
        assert header == ["tweet_id", "engagement_type", "count"]
        rows = [(tweet_id, kind, int(count)) for tweet_id, kind, count in lines]
    else:
        rows = [tuple(row.values()) for row in pq.read_table(path).to_pylist()]
    assert rows == expected
    assert summary.rows == 4
    assert summary.excluded == {"unavailable_tweet_ids": 300, "forbidden_tweet_ids": 1}
    listed = (tmp_path / f"totals.{suffix}.excluded.ndjson").read_text().splitlines()
    assert json.loads(listed[-1]) == {"tweet_id": "211", "reason": "forbidden_tweet_ids"}
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == [path.name, f"{path.name}.excluded.ndjson"]


def test_a_file_appears_when_it_is_complete(server, tmp_path):
    path = tmp_path / "totals.csv"
    path.write_text("of yesterday")
    with (
        EngagementClient(server.url, Credentials(bearer_token="x")) as client,
        pytest.raises(Unauthorized),
    ):
        client.write(totals_query(["111"], ["favorites"]), path)
    assert path.read_text() == "of yesterday"


@pytest.mark.parametrize(
    ("name", "groupings"), [("x.csv", ["engagement.type"]), ("x.xlsx", None), ("x", None)]
)
def test_files_that_cannot_be_written(server, user, tmp_path, name, groupings):
    with EngagementClient(server.url, user) as client, pytest.raises(InvalidQuery):
        client.write(totals_query(["111"], ["favorites"], groupings=groupings), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
