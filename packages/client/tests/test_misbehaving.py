"""Both clients against an independent server that is strict, and misbehaves on request."""

import asyncio
import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from both_clients import QUICK, USER, run_sync
from figures import SOME_HOUR, direct_groupings, hours_of
from misbehaving import BEARER_TOKEN
from openengagement_client import (
    ApiError,
    AsyncEngagementClient,
    BadRequest,
    Credentials,
    EngagementClient,
    ForbiddenMetrics,
    ForbiddenTweets,
    GzipRequired,
    NotFound,
    Options,
    RateLimited,
    RetryPolicy,
    ServerError,
    TransportError,
    Unauthorized,
    UnexpectedAnswer,
    historical_query,
    last_28_hours_query,
    totals_query,
)
from support.waiting import PATIENCE_S, wait_for

TYPES = ("favorites", "retweets")
BY_TWEET = {"g": ("tweet.id", "engagement.type")}
HOURLY = {"g": ("tweet.id", "engagement.type", "engagement.day", "engagement.hour")}
MIXED = {
    "hourly": ("engagement.type", "tweet.id", "engagement.day", "engagement.hour"),
    "hour of day": ("tweet.id", "engagement.hour"),
    "daily": ("engagement.day", "engagement.type"),
    "all": ("engagement.type",),
}


def tweets(count, *, first=1):
    return [str(each) for each in range(first, first + count)]


def totals_of(ids, groupings=BY_TWEET, types=TYPES):
    return direct_groupings(groupings, ids, types=types, hours=SOME_HOUR)


def test_any_number_of_tweets(run, misbehaving):
    ids = tweets(1003)
    result = run(totals_query([*ids, "1", 2], TYPES), misbehaving.url)
    assert json.dumps(result["totals"]) == json.dumps(totals_of(ids)["g"])
    assert sorted(len(body["tweet_ids"]) for body in misbehaving.bodies) == [3] + [250] * 4
    assert len(set(misbehaving.nonces)) == 5


@pytest.mark.heavy
def test_any_length_of_time(run, misbehaving):
    start, end = datetime(2025, 1, 15, 7, 40, tzinfo=UTC), datetime(2025, 3, 30, 4, 5, tzinfo=UTC)
    ids = tweets(26)
    query = historical_query(ids, TYPES, groupings=MIXED, start=start, end=end)
    result = run(query, misbehaving.url)
    expected = direct_groupings(MIXED, ids, types=TYPES, hours=hours_of(start, end))
    assert json.dumps(result.groupings) == json.dumps(expected)
    assert (result.start, result.end) == ("2025-01-15T07:00:00Z", "2025-03-30T05:00:00Z")


@pytest.mark.parametrize("count", [3, 60])
def test_the_last_28_hours(run, misbehaving, count):
    ids = tweets(count)
    result = run(last_28_hours_query(ids, TYPES), misbehaving.url)
    start, end = datetime.fromisoformat(result.start), datetime.fromisoformat(result.end)
    assert end - start in (timedelta(hours=28), timedelta(hours=29))
    expected = direct_groupings(HOURLY, ids, types=TYPES, hours=hours_of(start, end))
    assert json.dumps(result["by hour"]) == json.dumps(expected["g"])


@pytest.mark.parametrize(
    ("drift_s", "days", "count"), [(0, 10, 26), (-40_000, 0, 3), (86_400 * 400, 30, 3)]
)
def test_a_window_without_an_end_on_a_machine_whose_clock_is_wrong(
    run, misbehaving, drift_s, days, count
):
    """The client asks the server for the time, and signs with it.

    More than 25 Tweets take two requests, and more than 28 days two windows.
    """
    misbehaving.clock_offset_s = drift_s
    ids, now = tweets(count), datetime.fromtimestamp(misbehaving.now_s(), UTC)
    start = now - timedelta(days=days) if days else None
    result = run(historical_query(ids, TYPES, groupings=MIXED, start=start), misbehaving.url)
    shown = [datetime.fromisoformat(each) for each in (result.start, result.end)]
    assert timedelta() <= shown[1] - now <= timedelta(hours=1, seconds=PATIENCE_S)
    expected = direct_groupings(MIXED, ids, types=TYPES, hours=hours_of(*shown))
    assert json.dumps(result.groupings) == json.dumps(expected)


def test_a_clock_that_is_wrong_costs_one_request(run, misbehaving):
    misbehaving.clock_offset_s = 7000
    result = run(totals_query(["1"], TYPES), misbehaving.url)
    assert result["totals"] == totals_of(["1"])["g"]
    assert misbehaving.statuses == [401, 200]


FAULTS = (
    *("429", "500", "502", "503", "closed", "cut_body", "cut_gzip", "damaged_gzip", "cut_json"),
    "slow",
)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_is_survived(run, misbehaving, fault):
    """Each of the requests meets the fault twice. The answer is right and complete."""
    misbehaving.faults.extend([fault] * 6)
    ids = tweets(600)
    result = run(totals_query(ids, TYPES), misbehaving.url)
    assert json.dumps(result["totals"]) == json.dumps(totals_of(ids)["g"])
    assert not misbehaving.faults or fault == "slow"  # which is no failure


def test_a_storm_of_every_fault_is_survived(run, misbehaving):
    misbehaving.faults.extend(fault for each in FAULTS for fault in (each, ""))
    ids = tweets(5000)
    result = run(totals_query(ids, TYPES), misbehaving.url, policy=RetryPolicy(10, 0.001, 0.01))
    assert json.dumps(result["totals"]) == json.dumps(totals_of(ids)["g"])


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        ("429", RateLimited, 429),
        ("500", ServerError, 500),
        ("502", ServerError, 502),
        ("503", ServerError, 503),
        ("closed", TransportError, None),
        ("cut_body", TransportError, None),
        ("cut_gzip", TransportError, None),
        ("damaged_gzip", TransportError, None),
        ("cut_json", TransportError, None),
        ("html", UnexpectedAnswer, None),
        ("other_json", UnexpectedAnswer, None),
        ("404", NotFound, 404),
        ("406", GzipRequired, 406),
    ],
)
def test_a_fault_that_stays_is_reported(run, misbehaving, fault, kind, status):
    misbehaving.faults.extend([fault] * 100)
    with pytest.raises(kind) as caught:
        run(totals_query(tweets(300), TYPES), misbehaving.url)
    if status:
        assert caught.value.status == status
        assert len(misbehaving.faults) >= 100 - 2 * QUICK.attempts_max


def test_a_transient_refusal_is_tried_as_often_as_the_policy_says(run, misbehaving):
    misbehaving.faults.extend(["500"] * 100)
    with pytest.raises(ServerError, match="internal server error"):
        run(totals_query(["1"], TYPES), misbehaving.url, policy=RetryPolicy(3, 0.001))
    assert misbehaving.statuses == [500] * 3


def test_no_server(run):
    with pytest.raises(TransportError):
        run(totals_query(["1"], TYPES), "http://127.0.0.1:9", policy=RetryPolicy(2, 0.001))


@pytest.mark.parametrize(
    "text",
    ["Forbidden to access tweets: {ids}", "Forbidden to access tweets for author id 8: {ids}"],
)
@pytest.mark.parametrize("named", [1000, 3])
def test_tweets_of_others_are_left_out_and_listed(run, misbehaving, text, named):
    """The server refuses the whole request, and may name only some of the ids."""
    ids = tweets(560)
    misbehaving.forbidden_text, misbehaving.forbidden_named_max = text, named
    misbehaving.foreign = {*ids[5:17], ids[300], *ids[500:]} - set(ids[515:])
    result = run(totals_query(ids, TYPES), misbehaving.url)
    owned = [each for each in ids if each not in misbehaving.foreign]
    assert json.dumps(result["totals"]) == json.dumps(totals_of(owned)["g"])
    assert result.forbidden_tweet_ids == [each for each in ids if each in misbehaving.foreign]


def test_a_group_of_tweets_of_others_only(run, misbehaving):
    ids = tweets(300)
    misbehaving.foreign = set(ids[250:])
    result = run(totals_query(ids, TYPES, groupings=["engagement.type"]), misbehaving.url)
    expected = totals_of(ids[:250], {"counts": ("engagement.type",)})
    assert result.groupings == expected
    assert result.forbidden_tweet_ids == ids[250:]


def test_a_refusal_that_names_no_tweet_of_the_request_is_reported(run, misbehaving):
    misbehaving.foreign, misbehaving.forbidden_text = {"1"}, "Forbidden to access tweets: 999"
    with pytest.raises(ForbiddenTweets, match="999"):
        run(totals_query(["1", "2"], TYPES), misbehaving.url)


def test_unavailable_tweets_are_listed(run, misbehaving):
    ids = tweets(760)
    misbehaving.unavailable = {ids[3], *ids[250:500], ids[755]}
    result = run(totals_query(ids, TYPES), misbehaving.url)
    available = [each for each in ids if each not in misbehaving.unavailable]
    assert json.dumps(result["totals"]) == json.dumps(totals_of(available)["g"])
    assert result.unavailable_tweet_ids == [e for e in ids if e in misbehaving.unavailable]


def test_a_query_without_any_tweet_that_can_be_served(run, misbehaving):
    misbehaving.unavailable, misbehaving.foreign = {"1"}, {"2"}
    result = run(totals_query(["1", "2"], TYPES), misbehaving.url)
    assert result["totals"] == {}
    assert (result.unavailable_tweet_ids, result.forbidden_tweet_ids) == (["1"], ["2"])
    assert list(result) == []


def test_tweets_that_are_too_old_have_zeros_and_are_listed(run, misbehaving):
    """Also if a request had no other Tweets, and was refused."""
    ids, types = tweets(500), ("impressions",)
    misbehaving.too_old, misbehaving.unavailable = {ids[7], *ids[250:]}, {ids[260]}
    result = run(totals_query(ids, types, groupings=BY_TWEET), misbehaving.url)
    available = [each for each in ids if each != ids[260]]
    expected = direct_groupings(
        BY_TWEET, available, types=types, hours=SOME_HOUR, zero=misbehaving.too_old
    )
    assert json.dumps(result.groupings) == json.dumps(expected)
    old = [each for each in available if each in misbehaving.too_old]
    assert result.unsupported_for_impressions_engagements_tweet_ids == old
    assert len(result.messages) == 1


@pytest.mark.parametrize("hours", [None, 100])
def test_old_videos_have_zeros_in_every_hour(run, misbehaving, hours):
    misbehaving.too_old = {"1"}
    if hours:
        end = datetime(2026, 1, 5, 3, 30, tzinfo=UTC)
        start = end - timedelta(hours=hours)
        query = historical_query(["1"], ["video_views"], groupings=HOURLY, start=start, end=end)
    else:
        query = last_28_hours_query(["1"], ["video_views"], groupings=HOURLY)
    result = run(query, misbehaving.url)
    shown = hours_of(*map(datetime.fromisoformat, (result.start, result.end)))
    expected = direct_groupings(
        HOURLY, ["1"], types=["video_views"], hours=shown, zero=misbehaving.too_old
    )
    assert result.groupings == expected
    assert len(shown) in ((hours, hours + 1) if hours else (28, 29))


@pytest.mark.heavy
def test_rate_limits_are_followed(run, misbehaving):
    """Three requests in each window of two seconds: the client waits for the resets."""
    misbehaving.limits, misbehaving.periods_s = {"minute": 3}, {"minute": 2}
    waits = []
    ids, began = tweets(7 * 250), time.monotonic()
    result = run(
        totals_query(ids, TYPES),
        misbehaving.url,
        options=Options(on_wait=lambda seconds, reason: waits.append((seconds, reason))),
    )
    assert len(result["totals"]) == len(ids)
    assert time.monotonic() - began > 2
    assert {reason for _, reason in waits} == {"rate limit"}
    assert max(seconds for seconds, _ in waits) < 5
    # The first requests go out together, before any answer has told the limit.
    assert misbehaving.statuses.count(429) <= 8


@pytest.mark.heavy
def test_one_request_at_a_time_is_never_refused(run, misbehaving):
    """The client knows the limit from the first answer, and waits before it is used up."""
    misbehaving.limits, misbehaving.periods_s = (
        {"minute": 2, "second": 4},
        {"minute": 1, "second": 2},
    )
    run(totals_query(tweets(7 * 250), TYPES), misbehaving.url, options=Options(concurrency=1))
    assert misbehaving.statuses == [200] * 7


def test_a_limit_without_its_headers_is_survived(run, misbehaving):
    misbehaving.limits, misbehaving.periods_s = {"minute": 3}, {"minute": 1}
    misbehaving.rate_headers = False
    policy = RetryPolicy(attempts_max=50, backoff_s=0.05, backoff_max_s=0.3)
    result = run(totals_query(tweets(1500), TYPES), misbehaving.url, policy=policy)
    assert len(result["totals"]) == 1500


def test_waiting_for_a_limit_ends(run, misbehaving):
    misbehaving.limits = {"minute": 0}
    misbehaving.periods_s = {"minute": 3600}
    with pytest.raises(RateLimited) as caught:
        run(totals_query(["1"], TYPES), misbehaving.url, policy=RetryPolicy(wait_max_s=1))
    assert caught.value.messages == ("Rate limit exceeded",)


def test_requests_at_a_time_are_bounded(run, misbehaving):
    misbehaving.pause_s, real = 0.02, misbehaving.answer

    def answer(*given, **more):
        wait_for(lambda: misbehaving.most_at_once >= 3)  # the machine may be slow
        return real(*given, **more)

    misbehaving.answer = answer
    run(totals_query(tweets(20 * 250), TYPES), misbehaving.url, options=Options(concurrency=3))
    assert misbehaving.most_at_once == 3


@pytest.mark.parametrize(
    ("credentials", "kind"),
    [
        (Credentials(bearer_token="wrong"), Unauthorized),
        (Credentials(consumer_key="x", consumer_secret="y"), Unauthorized),
        (USER.app_only(), ForbiddenMetrics),
        (Credentials(bearer_token=BEARER_TOKEN), ForbiddenMetrics),
    ],
)
def test_refused_credentials_are_reported_at_once(run, misbehaving, credentials, kind):
    with pytest.raises(kind) as caught:
        run(totals_query(["1"], ["impressions"]), misbehaving.url, credentials)
    assert caught.value.messages
    assert len(misbehaving.statuses) == 1


@pytest.mark.parametrize("credentials", [USER.app_only(), Credentials(bearer_token=BEARER_TOKEN)])
def test_an_app_alone_reads_public_metrics_of_anybody(run, misbehaving, credentials):
    misbehaving.foreign = {"1"}
    result = run(totals_query(["1"], TYPES), misbehaving.url, credentials)
    assert result["totals"] == totals_of(["1"])["g"]


def test_a_rule_that_the_server_has_is_reported_with_its_words(run, misbehaving):
    with pytest.raises(BadRequest, match="groupBys") as caught:
        run(totals_query(["1"], TYPES, groupings=["engagement.day"]), misbehaving.url)
    assert isinstance(caught.value, ApiError)
    assert len(misbehaving.statuses) == 1


def test_ids_are_read_as_they_are_needed(misbehaving):
    """Memory does not grow with the number of Tweets, and neither does the work after a failure."""
    read = []

    def ids():
        for each in tweets(10**5):
            read.append(each)
            yield each

    with EngagementClient(misbehaving.url, USER, options=Options(concurrency=2)) as client:
        parts = client.parts(totals_query(ids(), TYPES))
        for number in range(1, 5):
            assert len(next(parts)["totals"]) == 250
            assert len(read) <= 250 * (number + 2 * 2 + 1)
        parts.close()
    assert len(misbehaving.bodies) < 4 + 2 * 2 + 2


def test_one_failure_ends_the_query(run, misbehaving):
    misbehaving.faults.extend(["", "", "404"])
    with pytest.raises(NotFound):
        run(totals_query(tweets(250 * 100), TYPES), misbehaving.url)
    assert len(misbehaving.statuses) < 30


def test_a_closed_client_ends_its_waits(misbehaving):
    misbehaving.faults.extend(["429"] * 100)
    waits, failed = threading.Event(), []
    options = Options(on_wait=lambda _seconds, _reason: waits.set())
    policy = RetryPolicy(backoff_s=2 * PATIENCE_S, backoff_max_s=2 * PATIENCE_S)
    client = EngagementClient(misbehaving.url, USER, policy=policy, options=options)

    def ask():
        try:
            client.totals(["1"], TYPES)
        except TransportError as error:
            failed.append(str(error))

    waiting = threading.Thread(target=ask)
    waiting.start()
    assert waits.wait(PATIENCE_S)
    client.close()
    waiting.join(PATIENCE_S)
    assert failed == ["the client was closed"]


def test_the_groups_of_a_query_come_in_order(misbehaving):
    with EngagementClient(misbehaving.url, USER, policy=QUICK) as client:
        query = totals_query(iter(tweets(600)), TYPES, groupings=BY_TWEET)
        parts = [list(part["g"]) for part in client.parts(query)]
    assert parts == [tweets(250), tweets(250, first=251), tweets(100, first=501)]


@pytest.mark.parametrize("groupings", [HOURLY, {**HOURLY, **MIXED}])
def test_an_hour_that_begins_between_two_requests(misbehaving, groupings):
    """All Tweets and groupings are shown in the newer window."""
    base = datetime.fromtimestamp(misbehaving.now_s(), UTC)
    edge = base.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    misbehaving.clock_offset_s = (edge - base).total_seconds() - 600
    real = misbehaving.answer

    def answer(*given, **more):
        if len(misbehaving.bodies) == 1:
            misbehaving.clock_offset_s += 700
        return real(*given, **more)

    misbehaving.answer = answer
    ids = tweets(5 if len(groupings) > 1 else 25 * 5)
    result = run_sync(
        last_28_hours_query(ids, TYPES, groupings=groupings),
        misbehaving.url,
        options=Options(concurrency=1),
    )
    shown = hours_of(*map(datetime.fromisoformat, (result.start, result.end)))
    expected = direct_groupings(groupings, ids, types=TYPES, hours=shown)
    assert json.dumps(result.groupings) == json.dumps(expected)
    assert len(shown) in (28, 29)
    assert datetime.fromisoformat(result.end) == edge + timedelta(hours=1)


def test_an_asynchronous_query_may_be_cancelled(misbehaving):
    """No task is left behind, and the client still works."""
    misbehaving.pause_s = 0.5

    async def cancel():
        async with AsyncEngagementClient(misbehaving.url, USER, policy=QUICK) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.totals(tweets(5000), TYPES), 0.2)
            async for _ in client.parts(totals_query(tweets(5000), TYPES)):
                break
            misbehaving.pause_s = 0
            assert len((await client.totals(tweets(300), TYPES))["totals"]) == 300
        return len(asyncio.all_tasks())

    assert asyncio.run(cancel()) == 1


def test_threads_share_a_client(misbehaving):
    found = []
    with EngagementClient(misbehaving.url, USER, policy=QUICK) as client:

        def ask(first):
            found.append(client.totals(tweets(400, first=first), TYPES)["totals"])

        threads = [threading.Thread(target=ask, args=(first,)) for first in range(1, 4001, 500)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(len(each) for each in found) == [400] * 8
