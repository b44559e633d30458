"""Access to metrics, and the order in which errors are raised (api.md 2.1, 3.2, 4.3)."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openengagement.engagement.access import (
    ACCESS,
    AGE_ARRAYS,
    AccessRule,
    AgeLimit,
    Context,
    Policy,
    decide_access,
)
from openengagement.engagement.request import RESERVED_NAMES
from openengagement.engagement.types import Endpoint, Tweet, format_time
from openengagement.errors import ForbiddenMetrics, ForbiddenTweets, TweetsTooOld, TweetsUnavailable
from support.cases import cases

# No deadline: a busy machine may be slow.
QUICK = settings(deadline=None, max_examples=40)

DAY_S = 86_400
NOW_S = 1_800_000_000
ME, OTHER, THIRD = 7, 8, 9
UNAVAILABLE = "unavailable_tweet_ids"
OLD = "unsupported_for_impressions_engagements_tweet_ids"
OLD_VIDEO = "unsupported_for_video_views_tweet_ids"

# api.md 2.1 by hand: type -> the context on /totals and on the timed endpoints; None: not served.
APP, USER = Context.APP_ONLY, Context.USER
TABLE = {
    "impressions": (USER, USER),
    "engagements": (USER, USER),
    "favorites": (APP, USER),
    "retweets": (APP, USER),
    "replies": (APP, USER),
    "quote_tweets": (APP, None),
    "video_views": (APP, USER),
    "media_views": (None, USER),
    "media_engagements": (None, USER),
    "media_clicks": (None, USER),  # the old name of media_engagements, 1.5
    "url_clicks": (None, USER),
    "hashtag_clicks": (None, USER),
    "detail_expands": (None, USER),
    "permalink_clicks": (None, USER),
    "app_install_attempts": (None, USER),
    "app_opens": (None, USER),
    "email_tweet": (None, USER),
    "user_follows": (None, USER),
    "user_profile_clicks": (None, USER),
}
TOTALS, LAST, HISTORICAL = Endpoint.TOTALS, Endpoint.LAST_28_HOURS, Endpoint.HISTORICAL
AGE_DAYS = {"impressions": (90, None), "engagements": (90, None), "video_views": (1800, 1800)}
PUBLIC = ("favorites", "retweets", "replies", "quote_tweets", "video_views")


def tweet(tweet_id, author=ME, *, age_s=0):
    return Tweet(tweet_id, author, NOW_S - age_s, deleted=False)


def decide(types, tweets, *, user=ME, endpoint=TOTALS, **policy):
    """Decide about `tweets`, which lists Tweets, and the ids of unavailable ones."""
    return decide_access(
        {name: ACCESS[endpoint][name] for name in types},
        {
            t if isinstance(t, int) else t.tweet_id: None if isinstance(t, int) else t
            for t in tweets
        },
        user_id=user,
        now_s=NOW_S,
        policy=Policy(**policy),
    )


def refused(error, *args, **kwargs):
    with pytest.raises(error) as caught:
        decide(*args, **kwargs)
    return caught.value


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", Endpoint)
def test_an_endpoint_serves_exactly_the_types_of_the_contract(endpoint):
    column = int(endpoint.timed)
    assert set(ACCESS[endpoint]) == {name for name, row in TABLE.items() if row[column]}


def test_totals_serve_seven_types_and_the_timed_endpoints_seventeen():
    assert len(ACCESS[TOTALS]) == 7
    for endpoint in (LAST, HISTORICAL):
        assert len(set(ACCESS[endpoint]) - {"media_clicks"}) == 17


@cases(("endpoint", "name"), list(itertools.product(Endpoint, TABLE)))
def test_a_type_has_the_context_and_age_of_the_contract(endpoint, name):
    column = int(endpoint.timed)
    rule = ACCESS[endpoint].get(name)
    assert (rule.context if rule else None) is TABLE[name][column]
    if rule:
        assert rule.counted == ("media_engagements" if name == "media_clicks" else name)
        assert (rule.age and rule.age.days) == AGE_DAYS.get(name, (None, None))[column]


@cases(
    ("endpoint", "name"),
    [(endpoint, name) for endpoint in Endpoint for name in ACCESS[endpoint]],
)
def test_each_single_type_for_an_app_alone_and_for_the_owner(endpoint, name):
    assert decide([name], [tweet(1)], endpoint=endpoint).tweet_ids == (1,)
    if TABLE[name][int(endpoint.timed)] is APP:
        assert decide([name], [tweet(1)], endpoint=endpoint, user=None).tweet_ids == (1,)
    else:
        error = refused(ForbiddenMetrics, [name], [tweet(1)], endpoint=endpoint, user=None)
        assert error.texts == (f"Forbidden to access metrics: {name}",)


# --- an app alone --------------------------------------------------------------------------------


def test_an_app_alone_reads_public_totals_of_any_author():
    got = decide(PUBLIC, [tweet(1, ME), tweet(2, OTHER), tweet(3, THIRD)], user=None)
    assert (got.tweet_ids, got.errors, got.arrays) == ((1, 2, 3), (), {})


def test_an_app_alone_gets_the_private_metrics_of_its_request_in_order():
    types = ["favorites", "engagements", "retweets", "impressions"]
    error = refused(ForbiddenMetrics, types, [tweet(1)], user=None)
    assert error.texts == ("Forbidden to access metrics: engagements, impressions",)
    assert error.status == 403


@pytest.mark.parametrize("endpoint", [LAST, HISTORICAL])
def test_an_app_alone_reads_nothing_by_the_hour(endpoint):
    error = refused(
        ForbiddenMetrics, ["favorites", "url_clicks"], [tweet(1)], user=None, endpoint=endpoint
    )
    assert error.texts == ("Forbidden to access metrics: favorites, url_clicks",)


def test_account_zero_is_not_an_app_alone():
    refused(ForbiddenTweets, ["favorites"], [tweet(1)], user=0)


# --- ownership -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "types"),
    [
        (TOTALS, ["favorites"]),
        (TOTALS, ["impressions", "favorites"]),
        (LAST, ["url_clicks"]),
        (HISTORICAL, ["favorites"]),
    ],
)
def test_one_foreign_tweet_refuses_the_whole_request(endpoint, types):
    error = refused(ForbiddenTweets, types, [tweet(1), tweet(2, OTHER)], endpoint=endpoint)
    assert error.texts == ("Forbidden to access tweets: 2",)
    assert (error.status, error.arrays) == (403, {})


def test_foreign_tweets_are_listed_with_comma_and_space_in_the_order_asked():
    error = refused(ForbiddenTweets, ["favorites"], [tweet(5, OTHER), tweet(9), tweet(3, THIRD)])
    assert error.texts == ("Forbidden to access tweets: 5, 3",)


def test_the_wording_of_2016_has_one_entry_per_author():
    tweets = [tweet(640, OTHER), tweet(1), tweet(300, THIRD), tweet(641, OTHER)]
    error = refused(ForbiddenTweets, ["favorites"], tweets, forbidden_text="authors")
    assert error.texts == (
        "Forbidden to access tweets for author id 8: 640, 641",
        "Forbidden to access tweets for author id 9: 300",
    )


def test_partial_ownership_serves_owned_tweets_and_lists_the_others():
    tweets = [tweet(5, OTHER), tweet(4), 6, tweet(3), tweet(2, THIRD)]
    got = decide(["impressions"], tweets, partial_ownership=True)
    assert got.tweet_ids == (4, 3)
    assert got.errors == ("Forbidden to access tweets: 5, 2",)
    assert got.arrays == {UNAVAILABLE: ("6",)}


def test_partial_ownership_uses_the_configured_wording():
    got = decide(
        ["favorites"], [tweet(1), tweet(2, 8)], partial_ownership=True, forbidden_text="authors"
    )
    assert got.errors == ("Forbidden to access tweets for author id 8: 2",)


def test_partial_ownership_without_an_owned_tweet_is_refused():
    tweets = [tweet(1, OTHER), tweet(2, OTHER), 3]
    error = refused(ForbiddenTweets, ["favorites"], tweets, partial_ownership=True)
    assert error.texts == ("Forbidden to access tweets: 1, 2",)


def test_partial_ownership_changes_nothing_for_an_app_alone():
    got = decide(["favorites"], [tweet(1), tweet(2, OTHER)], user=None, partial_ownership=True)
    assert (got.tweet_ids, got.errors) == ((1, 2), ())
    refused(ForbiddenMetrics, ["impressions"], [tweet(1)], user=None, partial_ownership=True)


def test_a_foreign_tweet_is_never_listed_as_too_old():
    tweets = [tweet(1), tweet(2, age_s=91 * DAY_S), tweet(3, OTHER, age_s=2000 * DAY_S)]
    got = decide(["impressions", "video_views"], tweets, partial_ownership=True)
    assert got.arrays == {OLD: ("2",)}
    assert got.zeroed == {"impressions": {2}}
    assert got.errors[0] == "Forbidden to access tweets: 3"
    assert "older than 90 days" in got.errors[1]


# --- availability --------------------------------------------------------------------------------


def test_unavailable_tweets_are_listed_and_the_others_are_served():
    got = decide(["favorites"], [30, tweet(2), 10, tweet(1), 20])
    assert got.tweet_ids == (2, 1)
    assert got.arrays == {UNAVAILABLE: ("30", "10", "20")}
    assert got.errors == ()


@pytest.mark.parametrize("ids", [[5], [5, 4], [9, 8, 7]])
def test_a_request_without_available_tweets_is_refused_with_their_number(ids):
    error = refused(TweetsUnavailable, ["favorites"], ids)
    assert error.status == 400
    assert error.texts == (f"{len(ids)} Tweet ID(s) are unavailable",)
    assert {name: list(each) for name, each in error.arrays.items()} == {
        UNAVAILABLE: [str(each) for each in ids]
    }


@cases("user", [None, ME, OTHER])
@cases("endpoint", Endpoint)
def test_unavailability_wins_over_everything(endpoint, user):
    types = list(ACCESS[endpoint])
    refused(TweetsUnavailable, types, [1, 2], endpoint=endpoint, user=user)


def test_ownership_wins_over_age():
    tweets = [tweet(1, OTHER, age_s=100 * DAY_S)]
    refused(ForbiddenTweets, ["impressions"], tweets)


def test_ownership_wins_over_an_unavailable_tweet():
    error = refused(ForbiddenTweets, ["impressions"], [5, tweet(1, OTHER)])
    assert error.texts == ("Forbidden to access tweets: 1",)


def test_rights_to_metrics_win_over_age_for_an_app_alone():
    refused(ForbiddenMetrics, ["impressions"], [tweet(1, age_s=100 * DAY_S)], user=None)


# --- age -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["impressions", "engagements"])
def test_tweets_are_served_up_to_exactly_90_days(name):
    edge, past = tweet(1, age_s=90 * DAY_S), tweet(2, age_s=90 * DAY_S + 1)
    assert decide([name], [edge]).arrays == {}
    assert decide([name], [edge]).zeroed == {}
    got = decide([name], [edge, past])
    assert got.tweet_ids == (1, 2)
    assert got.zeroed == {name: {2}}
    assert got.arrays == {OLD: ("2",)}
    refused(TweetsTooOld, [name], [past])


def test_videos_are_served_up_to_exactly_1800_days():
    edge, past = tweet(1, age_s=1800 * DAY_S), tweet(2, age_s=1800 * DAY_S + 1)
    assert decide(["video_views"], [edge]).arrays == {}
    got = decide(["video_views"], [edge, past])
    assert (got.tweet_ids, got.zeroed) == ((1, 2), {"video_views": {2}})
    assert (got.arrays, got.errors) == ({OLD_VIDEO: ("2",)}, ())


@pytest.mark.parametrize("endpoint", Endpoint)
def test_old_videos_have_zero_views_and_no_error(endpoint):
    got = decide(["video_views"], [tweet(2, age_s=1801 * DAY_S)], endpoint=endpoint)
    assert (got.tweet_ids, got.zeroed) == ((2,), {"video_views": {2}})
    assert (got.arrays, got.errors) == ({OLD_VIDEO: ("2",)}, ())


@pytest.mark.parametrize("endpoint", [LAST, HISTORICAL])
def test_the_90_days_apply_to_totals_only(endpoint):
    got = decide(["impressions", "engagements"], [tweet(1, age_s=5000 * DAY_S)], endpoint=endpoint)
    assert (got.zeroed, got.arrays, got.errors) == ({}, {}, ())


@pytest.mark.parametrize(
    "types", [["impressions"], ["engagements"], ["impressions", "engagements", "favorites"]]
)
def test_the_90_day_message_appears_once(types):
    got = decide(types, [tweet(1), tweet(2, age_s=91 * DAY_S), tweet(3, age_s=92 * DAY_S)])
    (text,) = got.errors
    assert text.startswith("Impressions & engagements for tweets older than 90 days (")
    assert text.endswith(") are not supported")
    assert format_time(NOW_S - 90 * DAY_S) in text
    assert got.arrays == {OLD: ("2", "3")}
    assert got.zeroed == {name: {2, 3} for name in types if name != "favorites"}


def test_any_age_limit_has_its_array_and_message():
    """A new limit is one value; no other table has to know it."""
    month = AgeLimit(30, "old_replies_tweet_ids", "Replies before {} are not supported")
    rules = {
        "replies": AccessRule("replies", APP, month),
        "retweets": AccessRule("retweets", APP, AgeLimit(7, "old_retweets_tweet_ids")),
        "favorites": AccessRule("favorites", APP),
    }
    tweets = {1: tweet(1), 2: tweet(2, age_s=8 * DAY_S), 3: tweet(3, age_s=31 * DAY_S)}

    got = decide_access(rules, tweets, user_id=None, now_s=NOW_S, policy=Policy())
    assert got.arrays == {"old_replies_tweet_ids": ("3",), "old_retweets_tweet_ids": ("2", "3")}
    assert got.zeroed == {"replies": {3}, "retweets": {2, 3}}
    oldest = format_time(NOW_S - 30 * DAY_S)
    assert got.errors == (f"Replies before {oldest} are not supported",)


def test_no_grouping_may_have_the_name_of_an_array():
    assert {OLD, OLD_VIDEO} == AGE_ARRAYS <= RESERVED_NAMES


def test_old_tweets_are_still_served_the_types_that_have_no_age_limit():
    got = decide(["impressions", "favorites"], [tweet(1, age_s=91 * DAY_S)])
    assert (got.tweet_ids, got.zeroed) == ((1,), {"impressions": {1}})
    assert got.errors
    assert got.arrays == {OLD: ("1",)}


def test_types_without_an_age_limit_make_no_message():
    got = decide(["favorites", "quote_tweets"], [tweet(1, age_s=9000 * DAY_S)])
    assert (got.zeroed, got.arrays, got.errors) == ({}, {}, ())


def test_both_age_arrays_may_appear_together():
    tweets = [tweet(1), tweet(2, age_s=100 * DAY_S), tweet(3, age_s=2000 * DAY_S), 4]
    got = decide(["impressions", "video_views"], tweets)
    assert got.arrays == {UNAVAILABLE: ("4",), OLD: ("2", "3"), OLD_VIDEO: ("3",)}
    assert got.zeroed == {"impressions": {2, 3}, "video_views": {3}}
    assert len(got.errors) == 1


@pytest.mark.parametrize(
    ("types", "arrays"),
    [
        (["impressions"], {OLD}),
        (["impressions", "engagements"], {OLD}),
        (["impressions", "engagements", "video_views"], {OLD, OLD_VIDEO}),
    ],
)
def test_only_old_tweets_are_refused_with_the_same_text_and_arrays(types, arrays):
    ancient = [tweet(1, age_s=2000 * DAY_S), tweet(2, age_s=3000 * DAY_S)]
    error = refused(TweetsTooOld, types, ancient)
    assert error.status == 400
    assert error.texts == decide([*types, "favorites"], ancient).errors
    assert {name: list(ids) for name, ids in error.arrays.items()} == {
        name: ["1", "2"] for name in arrays
    }


def test_only_old_tweets_still_list_the_unavailable_ones():
    error = refused(TweetsTooOld, ["impressions"], [tweet(1, age_s=91 * DAY_S), 5])
    assert {name: list(ids) for name, ids in error.arrays.items()} == {
        UNAVAILABLE: ["5"],
        OLD: ["1"],
    }


def test_a_recent_enough_video_is_still_served():
    got = decide(["impressions", "video_views"], [tweet(1, age_s=91 * DAY_S)])
    assert (got.tweet_ids, got.arrays) == ((1,), {OLD: ("1",)})


# --- any request ---------------------------------------------------------------------------------

_AGES = st.sampled_from([0, 90 * DAY_S, 90 * DAY_S + 1, 1800 * DAY_S, 1800 * DAY_S + 1])
_TWEETS = st.lists(
    st.one_of(st.none(), st.tuples(st.sampled_from([ME, OTHER]), _AGES)), min_size=1, max_size=5
)


@QUICK
@given(
    st.lists(st.sampled_from(sorted(ACCESS[TOTALS])), min_size=1, unique=True),
    _TWEETS,
    st.sampled_from([ME, None]),
)
def test_errors_are_raised_in_the_order_of_the_contract(types, tweets, user):
    """The order is availability, ownership, rights to metrics, age."""
    asked = [
        index if spec is None else tweet(index, spec[0], age_s=spec[1])
        for index, spec in enumerate(tweets, 1)
    ]
    there = [each for each in asked if isinstance(each, Tweet)]
    limits = {"impressions": 90 * DAY_S, "engagements": 90 * DAY_S, "video_views": 1800 * DAY_S}
    old = {
        name: {t.tweet_id for t in there if NOW_S - t.created_at_s > limits[name]}
        for name in types
        if name in limits
    }
    old_90 = old.get("impressions", set()) | old.get("engagements", set())
    if not there:
        refused(TweetsUnavailable, types, asked, user=user)
    elif user is not None and any(each.author_id != user for each in there):
        refused(ForbiddenTweets, types, asked, user=user)
    elif user is None and {"impressions", "engagements"} & set(types):
        refused(ForbiddenMetrics, types, asked, user=user)
    elif old_90 and all(len(old.get(name, ())) == len(there) for name in types):
        refused(TweetsTooOld, types, asked, user=user)
    else:
        got = decide(types, asked, user=user)
        assert got.tweet_ids == tuple(each.tweet_id for each in there)
        assert got.zeroed == {name: ids for name, ids in old.items() if ids}
        assert len(got.errors) == bool(old_90)


def test_only_old_owned_tweets_still_list_the_foreign_ones():
    tweets = [tweet(1, age_s=91 * DAY_S), tweet(2, OTHER)]
    error = refused(TweetsTooOld, ["impressions"], tweets, partial_ownership=True)
    assert error.texts[0] == "Forbidden to access tweets: 2"
    assert "older than 90 days" in error.texts[1]
    assert {name: list(ids) for name, ids in error.arrays.items()} == {OLD: ["1"]}
