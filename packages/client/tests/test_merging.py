"""Merged answers look as one large answer would, in every key, count and order."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from figures import SOME_HOUR, direct_groupings, hours_of
from openengagement_client.endpoints import HISTORICAL, TOTALS, Endpoint
from openengagement_client.errors import make_error
from openengagement_client.merging import merge_responses
from openengagement_client.planning import plan_groups
from openengagement_client.queries import Query
from openengagement_client.responses import DataResponse, parse_response, response_from_refusal
from openengagement_client.windows import Window

TYPES = ("impressions", "favorites")
DIMENSIONS = ("tweet.id", "engagement.type", "engagement.day", "engagement.hour")
TIMED = [each for most in range(1, 5) for each in permutations(DIMENSIONS, most)]
TOTAL = [each for each in TIMED if not {"engagement.day", "engagement.hour"} & set(each)]
START = datetime(2026, 2, 20, tzinfo=UTC)


def in_order(groupings):
    return json.dumps(groupings)


def served(request, *, unavailable=frozenset(), old=frozenset()):
    """Answer a request of a plan as a server would, also where it refuses the whole of it."""
    body = json.loads(request.body(request.tweet_ids))
    ids = [each for each in body["tweet_ids"] if each not in unavailable]
    lists = {
        "unavailable_tweet_ids": [each for each in body["tweet_ids"] if each in unavailable],
        "unsupported_for_video_views_tweet_ids": [each for each in ids if each in old],
    }
    if not set(ids) - old:
        error = make_error(400, {}, body=json.dumps({"errors": ["no"], **lists}).encode())
        return response_from_refusal(error, request, tweet_ids=request.tweet_ids, now=START)
    groupings = {name: each["group_by"] for name, each in body["groupings"].items()}
    hours = SOME_HOUR
    if "start" in body:
        hours = hours_of(*(datetime.fromisoformat(body[name]) for name in ("start", "end")))
    found = direct_groupings(groupings, ids, types=TYPES, hours=hours, zero=old)
    answer = json.loads(json.dumps({**lists, **found, "start": None, "end": None}))
    return parse_response(answer, request)


def merged(query, **more):
    plan = list(plan_groups(query, iter(query.tweet_ids)))
    requests = [request for group in plan for request in group.requests]
    return merge_responses(served(request, **more) for request in requests), requests


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_timed_answers_merge_into_the_direct_computation(data):
    tweets = [str(each) for each in range(100, 100 + data.draw(st.integers(1, 5), "Tweets"))]
    size = data.draw(st.integers(1, 3), "Tweets a request")
    start = START + timedelta(minutes=data.draw(st.integers(0, 3000), "start"))
    end = start + timedelta(minutes=data.draw(st.integers(1, 75 * 1440), "length"))
    shapes = data.draw(st.lists(st.sampled_from(TIMED), min_size=1, max_size=3), "groupings")
    unavailable = data.draw(st.sets(st.sampled_from(tweets)), "unavailable")
    old = data.draw(st.sets(st.sampled_from(tweets)), "old") - unavailable
    groupings = {f"g{place}": shape for place, shape in enumerate(shapes)}
    endpoint = replace(HISTORICAL, tweets_max=size)
    query = Query(endpoint, tweets, TYPES, groupings, Window(start, end))
    answer, requests = merged(query, unavailable=unavailable, old=old)

    available = [each for each in tweets if each not in unavailable]
    expected = direct_groupings(
        groupings, available, types=TYPES, hours=hours_of(start, end), zero=old
    )
    assert in_order(answer.groupings) == in_order(expected)
    assert answer.unavailable == [each for each in tweets if each in unavailable]
    assert answer.unsupported_video == [each for each in tweets if each in old]
    for request in requests:
        assert request.window.end - request.window.start <= timedelta(days=28)
        assert len(request.tweet_ids) <= size


@settings(deadline=None)
@given(
    count=st.integers(1, 30),
    size=st.integers(1, 8),
    shapes=st.lists(st.sampled_from(TOTAL), min_size=1, max_size=7),
)
def test_totals_merge_into_the_direct_computation(count, size, shapes):
    tweets = [str(each) for each in range(10**18, 10**18 + count)]
    groupings = {f"g {place}": shape for place, shape in enumerate(shapes)}
    query = Query(replace(TOTALS, tweets_max=size), tweets, TYPES, groupings)
    answer, _ = merged(query)
    expected = direct_groupings(groupings, tweets, types=TYPES, hours=SOME_HOUR)
    assert in_order(answer.groupings) == in_order(expected)


@pytest.mark.parametrize("endpoint", [TOTALS, Endpoint("/x", 2, is_timed=False)])
def test_counts_of_any_size_are_exact(endpoint):
    """Counts are added as whole numbers of any size, never as floats."""
    query = Query(endpoint, ["1"], ("favorites",), {"g": ("engagement.type",)})
    (group,) = plan_groups(query, iter(["1"]))
    large = {"g": {"favorites": str(2**62)}}
    answers = [parse_response(json.loads(json.dumps(large)), group.requests[0]) for _ in range(4)]
    assert merge_responses(answers).groupings == {"g": {"favorites": str(2**64)}}


def test_a_message_is_kept_once_whatever_time_it_names():
    """The server names the time of each answer."""
    text = "older than 90 days (2026-08-31T00:4{}:59Z) are not supported"
    others = ["Forbidden to access tweets: 1", "Forbidden to access tweets: 2"]
    answers = [DataResponse(messages=[text.format(minute), *others]) for minute in range(5)]
    assert merge_responses(answers).messages == [text.format(0), *others]


def test_a_number_that_is_no_text_is_added_too():
    """Two samples of the original documentation show a bare number."""
    query = Query(TOTALS, ["1"], ("favorites",), {"g": ("engagement.type",)})
    (group,) = plan_groups(query, iter(["1"]))
    answers = [parse_response({"g": {"favorites": each}}, group.requests[0]) for each in (26, "4")]
    assert merge_responses(answers).groupings == {"g": {"favorites": "30"}}
