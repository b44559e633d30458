"""Requests from parsing to JSON, on a store made of dictionaries that records every call."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from openengagement.engagement.types import Endpoint, Tweet
from openengagement.errors import ApiError, ForbiddenTweets, TweetsTooOld, TweetsUnavailable
from openengagement.query import Query
from openengagement.settings import Settings
from openengagement.stores.contract import Stores

NOW = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
NOW_S = NOW.timestamp()
NOW_HOUR = int(NOW_S // 3600)
DAY_S = 86_400
ME, OTHER, PROTECTED, UNREGISTERED = 7, 8, 9, 10
TOTALS, LAST, HISTORICAL = Endpoint.TOTALS, Endpoint.LAST_28_HOURS, Endpoint.HISTORICAL
BOTH = {"group_by": ["tweet.id", "engagement.type"]}


class FakeStore:
    """Tweets by id and counts by (tweet, type). Counts are totals, or lie in the first hour."""

    blocking = False

    def __init__(self):
        self.tweets = {}
        self.counts = {}
        self.asked = []

    def put(self, tweet_id, author=ME, *, age_s=0, deleted=False, **counts):
        self.tweets[tweet_id] = Tweet(tweet_id, author, int(NOW_S) - age_s, deleted)
        self.counts |= {(tweet_id, name): count for name, count in counts.items()}

    def read_tweets(self, tweet_ids):
        self.asked.append(("tweets", tuple(tweet_ids)))
        return {each: self.tweets[each] for each in tweet_ids if each in self.tweets}

    def read_totals(self, tweet_ids, types):
        self.asked.append(("totals", tuple(tweet_ids), tuple(types)))
        return self._counts(tweet_ids, types)

    def read_buckets(self, tweet_ids, types, *, start_hour, end_hour):
        self.asked.append(("buckets", tuple(tweet_ids), tuple(types), start_hour, end_hour))
        counts = np.zeros((len(tweet_ids), len(types), end_hour - start_hour), np.int64)
        counts[:, :, 0] = self._counts(tweet_ids, types)
        return counts

    def _counts(self, tweet_ids, types):
        rows = [[self.counts.get((each, name), 0) for name in types] for each in tweet_ids]
        return np.array(rows, np.int64)


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def read_protected():
    """Returns whether each registered account is protected, and records each call."""
    known = {ME: False, OTHER: False, PROTECTED: True}

    def read(account_ids):
        read.asked.append(sorted(account_ids))
        return {each: known[each] for each in account_ids if each in known}

    read.asked = []
    return read


@pytest.fixture
def ask(store, read_protected):
    """Answer a request. `as_pairs` returns the body as pairs, for tests of its order."""

    def answer(endpoint, *, user=ME, as_pairs=False, body=(), **settings):
        query = Query(
            Stores(store, store),
            read_protected,
            blocking=False,
            settings=Settings(**settings),
            now_s=lambda: NOW_S,
        )
        whole = {"engagement_types": ["favorites"], "groupings": {"all": BOTH}, **dict(body)}
        plan = query.prepare(endpoint, json.dumps(whole).encode(), user_id=user)
        text = query.answer(plan)
        assert isinstance(text, bytes)
        return json.loads(text, object_pairs_hook=list if as_pairs else None)

    return answer


def test_totals_answer_one_member_per_grouping_and_nothing_else(store, ask):
    store.put(20, favorites=5, retweets=2)
    store.put(10, favorites=1)
    groupings = {"by tweet": BOTH, "sum": {"group_by": ["engagement.type"]}}
    got = ask(TOTALS, body={
        "tweet_ids": ["20", 10], "engagement_types": ["retweets", "favorites"],
        "groupings": groupings,
    })  # fmt: skip
    assert got == {
        "by tweet": {
            "20": {"retweets": "2", "favorites": "5"}, "10": {"retweets": "0", "favorites": "1"}
        },
        "sum": {"retweets": "2", "favorites": "6"},
    }  # fmt: skip


def test_tweets_and_types_keep_the_order_of_the_request(store, ask):
    for tweet_id in (1, 2, 3):
        store.put(tweet_id)
    types = ["retweets", "favorites"]
    body = {"tweet_ids": ["3", "1", "2"], "engagement_types": types}
    got = dict(ask(TOTALS, as_pairs=True, body=body))
    assert [key for key, _ in got["all"]] == ["3", "1", "2"]
    assert [[key for key, _ in inner] for _, inner in got["all"]] == [types] * 3


def test_a_timed_answer_begins_with_its_window(store, ask):
    store.put(1, url_clicks=3)
    hourly = {"group_by": ["engagement.type", "engagement.day", "engagement.hour"]}
    body = {"tweet_ids": ["1"], "engagement_types": ["url_clicks"], "groupings": {"h": hourly}}
    got = ask(LAST, as_pairs=True, body=body)
    assert [name for name, _ in got] == ["start", "end", "h"]
    got = ask(LAST, body=body)
    assert (got["start"], got["end"]) == ("2026-11-21T06:00:00Z", "2026-11-22T11:00:00Z")
    assert got["h"]["url_clicks"]["2026-11-21"]["06"] == "3"
    assert sum(len(hours) for hours in got["h"]["url_clicks"].values()) == 29


def test_the_window_is_read_once(store, ask):
    store.put(1)
    ask(LAST, body={"tweet_ids": ["1"]})
    assert store.asked == [
        ("tweets", (1,)), ("buckets", (1,), ("favorites",), NOW_HOUR - 28, NOW_HOUR + 1)
    ]  # fmt: skip


def test_historical_uses_the_dates_of_the_request(store, ask):
    store.put(1)
    body = {"tweet_ids": ["1"], "start": "2026-11-01T12:24:00Z", "end": "2026-11-02T08:37:00Z"}
    got = ask(HISTORICAL, body=body)
    assert (got["start"], got["end"]) == ("2026-11-01T12:00:00Z", "2026-11-02T09:00:00Z")


def test_settings_apply_to_the_request(store, ask):
    store.put(1)
    groupings = {f"g{index}": BOTH for index in range(5)}
    got = ask(TOTALS, groupings_max=5, body={"tweet_ids": ["1"], "groupings": groupings})
    assert list(got) == list(groupings)
    with pytest.raises(ApiError):
        ask(TOTALS, body={"tweet_ids": ["1"], "groupings": groupings})
    body = {"tweet_ids": ["1"], "start": "2026-10-31", "end": "2026-11-02"}
    with pytest.raises(ApiError):
        ask(HISTORICAL, historical_floor="2026-11-01", body=body)


def test_a_grouping_name_may_contain_anything(store, ask):
    store.put(1, favorites=4)
    names = ['"', "%s %d", "a\\b", "é☃𝄞", "\n", ""]
    for name in names:
        got = ask(TOTALS, body={"tweet_ids": ["1"], "groupings": {name: BOTH}})
        assert got == {name: {"1": {"favorites": "4"}}}


# --- Tweets that are not shown -------------------------------------------------------------------


@pytest.mark.parametrize("user", [ME, OTHER, PROTECTED, UNREGISTERED, None])
def test_unknown_deleted_and_protected_tweets_are_unavailable_to_everyone(store, ask, user):
    store.put(2, PROTECTED, favorites=9)
    store.put(3, UNREGISTERED, favorites=9)
    store.put(4, ME, deleted=True, favorites=9)
    with pytest.raises(TweetsUnavailable) as caught:
        ask(TOTALS, user=user, body={"tweet_ids": ["5", "4", "3", "2"]})
    assert caught.value.arrays == {"unavailable_tweet_ids": ("5", "4", "3", "2")}


def test_unavailable_tweets_are_listed_beside_the_data(store, ask):
    store.put(1, favorites=3)
    store.put(2, PROTECTED)
    got = ask(TOTALS, as_pairs=True, body={"tweet_ids": ["9", "1", "2"]})
    assert got == [
        ("unavailable_tweet_ids", ["9", "2"]), ("all", [("1", [("favorites", "3")])])
    ]  # fmt: skip


def test_an_empty_list_of_unavailable_tweets_is_sent_on_request(store, ask):
    store.put(1)
    body = {"tweet_ids": ["1"]}
    assert "unavailable_tweet_ids" not in ask(TOTALS, body=body)
    got = ask(TOTALS, always_list_unavailable=True, body=body)
    assert got["unavailable_tweet_ids"] == []
    body = {"tweet_ids": ["1", "5"]}
    got = ask(TOTALS, always_list_unavailable=True, body=body)
    assert got["unavailable_tweet_ids"] == ["5"]


def test_all_accounts_are_looked_up_at_once(store, ask, read_protected):
    for tweet_id in range(1, 6):
        store.put(tweet_id, ME if tweet_id % 2 else OTHER)
    ask(TOTALS, user=None, body={"tweet_ids": ["1", "2", "3", "4", "5"]})
    assert read_protected.asked == [[ME, OTHER]]


@pytest.mark.parametrize(
    ("endpoint", "user", "types"),
    [
        (TOTALS, ME, ["favorites"]),
        (TOTALS, None, ["impressions"]),
        (LAST, None, ["favorites"]),
        (HISTORICAL, OTHER, ["url_clicks"]),
    ],
)
def test_a_refusal_comes_before_any_counter_is_read(store, ask, endpoint, user, types):
    store.put(1, ME, favorites=3)
    store.put(2, OTHER, favorites=3)
    with pytest.raises(ApiError):
        ask(endpoint, user=user, body={"tweet_ids": ["1", "2"], "engagement_types": types})
    assert store.asked == [("tweets", (1, 2))]


def test_an_invalid_request_reads_nothing(store, ask):
    with pytest.raises(ApiError):
        ask(TOTALS, body={"tweet_ids": ["x"]})
    assert store.asked == []


def test_only_permitted_tweets_are_read(store, ask):
    store.put(1)
    store.put(2, OTHER)
    store.put(3, PROTECTED)
    got = ask(TOTALS, partial_ownership=True, body={"tweet_ids": ["3", "2", "1", "4"]})
    assert store.asked[-1] == ("totals", (1,), ("favorites",))
    assert got["all"] == {"1": {"favorites": "0"}}
    assert got["errors"] == ["Forbidden to access tweets: 2"]
    assert got["unavailable_tweet_ids"] == ["3", "4"]


def test_the_wording_of_forbidden_tweets_can_be_set(store, ask):
    store.put(2, OTHER)
    with pytest.raises(ForbiddenTweets) as caught:
        ask(TOTALS, forbidden_text="authors", body={"tweet_ids": ["2"]})
    assert caught.value.texts == ("Forbidden to access tweets for author id 8: 2",)


# --- age -----------------------------------------------------------------------------------------


def test_old_tweets_are_zero_with_an_error_and_a_list(store, ask):
    store.put(1, age_s=10, impressions=5, favorites=1)
    store.put(2, age_s=91 * DAY_S, impressions=6, favorites=2)
    body = {"tweet_ids": ["2", "1"], "engagement_types": ["favorites", "impressions"]}
    got = ask(TOTALS, body=body)
    (text,) = got.pop("errors")
    assert "older than 90 days" in text
    assert got == {
        "unsupported_for_impressions_engagements_tweet_ids": ["2"],
        "all": {
            "2": {"favorites": "2", "impressions": "0"}, "1": {"favorites": "1", "impressions": "5"}
        },
    }  # fmt: skip


def test_an_unsupported_count_is_in_no_sum(store, ask):
    store.put(1, impressions=5)
    store.put(2, age_s=91 * DAY_S, impressions=600)
    groupings = {"sum": {"group_by": ["engagement.type"]}}
    body = {"tweet_ids": ["1", "2"], "engagement_types": ["impressions"], "groupings": groupings}
    assert ask(TOTALS, body=body)["sum"] == {"impressions": "5"}


def test_views_of_old_videos_are_zero_by_the_hour_too(store, ask):
    store.put(1, video_views=5, url_clicks=3)
    store.put(2, age_s=1801 * DAY_S, video_views=6, url_clicks=4)
    body = {"tweet_ids": ["1", "2"], "engagement_types": ["url_clicks", "video_views"]}
    got = ask(HISTORICAL, body=body)
    assert got["unsupported_for_video_views_tweet_ids"] == ["2"]
    assert "errors" not in got
    assert got["all"] == {
        "1": {"url_clicks": "3", "video_views": "5"}, "2": {"url_clicks": "4", "video_views": "0"}
    }  # fmt: skip


def test_only_old_tweets_are_refused(store, ask):
    store.put(2, age_s=91 * DAY_S)
    with pytest.raises(TweetsTooOld):
        ask(TOTALS, body={"tweet_ids": ["2"], "engagement_types": ["impressions"]})


def test_every_list_of_a_body_holds_strings(store, ask):
    store.put(1, age_s=91 * DAY_S)
    store.put(2, OTHER)
    store.put(3, age_s=1801 * DAY_S)
    types = ["impressions", "video_views"]
    body = {"tweet_ids": [1, 2, 3, 4], "engagement_types": types}
    got = ask(TOTALS, partial_ownership=True, body=body)
    lists = {name: value for name, value in got.items() if name != "all"}
    assert set(lists) == {
        "errors", "unavailable_tweet_ids", "unsupported_for_impressions_engagements_tweet_ids",
        "unsupported_for_video_views_tweet_ids",
    }  # fmt: skip
    assert all(isinstance(each, str) for value in lists.values() for each in value)
    assert len(lists["errors"]) == 2


# --- the alias -----------------------------------------------------------------------------------


def test_media_clicks_are_answered_under_their_name(store, ask):
    store.put(1, media_engagements=5, url_clicks=2)
    types = ["media_clicks", "url_clicks", "media_engagements"]
    got = ask(LAST, body={"tweet_ids": ["1"], "engagement_types": types})
    assert got["all"] == {"1": {"media_clicks": "5", "url_clicks": "2", "media_engagements": "5"}}
    assert store.asked[-1][2] == ("media_engagements", "url_clicks")


def test_repeated_ids_and_types_are_answered_once(store, ask):
    store.put(1, favorites=2)
    body = {"tweet_ids": ["1", 1], "engagement_types": ["favorites", "favorites"]}
    assert ask(TOTALS, as_pairs=True, body=body) == [("all", [("1", [("favorites", "2")])])]
