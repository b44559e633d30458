"""Simulated engagement: reproducible, plausible, and limited to its Tweets and hours."""

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from openengagement.sandbox import simulate
from openengagement.sandbox.dataset import (
    ACCOUNTS_SCHEMA,
    EVENTS_SCHEMA,
    TWEETS_SCHEMA,
    Dataset,
)
from openengagement.sandbox.higgs import higgs_dataset, read_higgs
from openengagement.sandbox.simulate import simulate_around, simulate_weeks

REPOSITORY = Path(__file__).resolve().parents[3]
REAL_FILE = REPOSITORY.parent / "shared" / "data" / "higgs-activity_time.txt.gz"
HOUR_S = 3600
ENDS_AT_S = 1_790_000_123
REAL_TYPES = {"retweets", "replies", "other_engagements"}
EXTRA_TYPES = {
    "impressions",
    "favorites",
    "url_clicks",
    "hashtag_clicks",
    "detail_expands",
    "permalink_clicks",
    "user_profile_clicks",
    "user_follows",
    "media_views",
    "media_engagements",
    "video_views",
    "quote_tweets",
    "app_opens",
    "app_install_attempts",
    "email_tweet",
}
VIEWS = {"impressions", "media_views", "video_views"}


def dataset_of(tweets, events):
    """Make a dataset from (id, created_at, video_id) and (tweet_id, type, at, count)."""
    return Dataset(
        accounts=pl.DataFrame([(1, "one", False)], schema=ACCOUNTS_SCHEMA, orient="row"),
        tweets=pl.DataFrame(
            [(tweet, 1, created, video) for tweet, created, video in tweets],
            schema=TWEETS_SCHEMA,
            orient="row",
        ),
        events=pl.DataFrame(
            [(*event, False) for event in events], schema=EVENTS_SCHEMA, orient="row"
        ),
    )


def totals(events, *, promoted=False):
    """Sum the counts of each type."""
    kept = events.filter(pl.col("promoted") == promoted)
    return dict(kept.group_by("type").agg(pl.col("count").sum()).iter_rows())


def assert_plausible(events):
    """Check the totals of many Tweets against plausible limits."""
    found = totals(events)
    assert set(found) == REAL_TYPES | EXTRA_TYPES
    engagements = sum(count for name, count in found.items() if name not in VIEWS)
    assert 0.02 < engagements / found["impressions"] < 0.06
    assert 2 < found["favorites"] / found["retweets"] < 4
    assert 0.02 < found["quote_tweets"] / found["retweets"] < 0.5
    assert found["video_views"] < found["media_views"] < found["impressions"]
    assert found["user_follows"] < found["user_profile_clicks"] < found["detail_expands"]
    assert 0 < found["email_tweet"] < found["impressions"] / 10_000
    assert 0 < totals(events, promoted=True)["impressions"] < 0.02 * found["impressions"]
    assert set(totals(events, promoted=True)) == {"impressions"}


@pytest.fixture(scope="module")
def small():
    """Three Tweets: one with two busy hours, one posted late in its hour, one without events."""
    return dataset_of(
        tweets=[(10, 36_000, None), (20, 46_700, 77), (30, 40_000, None)],
        events=[
            (10, "retweets", 36_000, 40),
            (10, "replies", 80_000, 5),
            (20, "retweets", 46_790, 900),
            (20, "other_engagements", 86_400, 1),
        ],
    )


def test_the_same_seed_gives_the_same_rows(small):
    assert_frame_equal(simulate_around(small, 3), simulate_around(small, 3))
    assert not simulate_around(small, 3).equals(simulate_around(small, 4))


def test_only_extra_events_are_returned(small):
    extra = simulate_around(small, 3)

    assert extra.schema == EVENTS_SCHEMA
    assert set(extra["type"].unique()) <= EXTRA_TYPES
    assert extra["count"].min() >= 1


@pytest.mark.parametrize("seed", range(5))
def test_nothing_happens_before_the_tweet_or_after_the_last_real_event(small, seed):
    extra = simulate_around(small, seed).join(small.tweets, left_on="tweet_id", right_on="id")

    assert extra.filter(pl.col("at") < pl.col("created_at")).is_empty()
    assert extra["at"].max() <= 86_400


def test_there_is_one_row_per_tweet_hour_and_type(small):
    extra = simulate_around(small, 3)
    key = ["tweet_id", "type", pl.col("at") // HOUR_S, "promoted"]

    assert extra.group_by(key).len()["len"].max() == 1


def test_hours_with_real_events_and_the_first_hours_have_impressions(small):
    extra = simulate_around(small, 3).filter(pl.col("type") == "impressions")
    hours = {
        tweet: set(extra.filter(pl.col("tweet_id") == tweet)["at"] // HOUR_S) for tweet in (10, 20)
    }

    # 45 interactions: 2 * sqrt(45) = 13.4 hours of attention from hour 10 on, and the late hour 22.
    assert hours[10] == {*range(10, 24)}
    # 901 interactions would last longer, but the last event is in the first second of hour 24.
    assert hours[20] == {*range(12, 25)}


def test_a_tweet_without_interactions_gets_nothing(small):
    assert 30 not in simulate_around(small, 3)["tweet_id"].unique()


def test_interactions_never_exceed_impressions():
    ids = range(1, 3001)
    quiet = dataset_of(
        tweets=[(tweet, 0, tweet) for tweet in ids],
        events=[(tweet, "retweets", 0, 1) for tweet in ids] + [(1, "replies", 9 * HOUR_S, 1)],
    )
    hourly = (
        pl.concat([quiet.events, simulate_around(quiet, 3)])
        .filter(~pl.col("promoted"))
        .with_columns(pl.col("at") // HOUR_S)
        .pivot("type", index=["tweet_id", "at"], values="count", aggregate_function="sum")
        .fill_null(0)
    )

    assert hourly.height > 5000
    for name in (REAL_TYPES | EXTRA_TYPES) & set(hourly.columns):
        assert (hourly[name] <= hourly["impressions"]).all(), name
    for ratio in simulate.RATIOS:
        assert (hourly[ratio.type] <= hourly[ratio.of]).all(), ratio.type


def test_only_tweets_with_a_video_have_video_views(small):
    extra = simulate_around(small, 3)

    assert extra.filter(pl.col("type") == "video_views")["tweet_id"].unique().to_list() == [20]


def test_if_no_tweet_has_a_video_a_share_of_them_gets_one():
    many = dataset_of(
        tweets=[(tweet, 0, None) for tweet in range(1, 1001)],
        events=[(tweet, "retweets", 100, 100) for tweet in range(1, 1001)],
    )
    seen = simulate_around(many, 3).filter(pl.col("type") == "video_views")["tweet_id"]

    assert 60 < seen.n_unique() < 140


@pytest.mark.parametrize("part", ["tweets", "events"])
def test_without_tweets_or_events_the_result_is_empty(small, part):
    parts = {"accounts": small.accounts, "tweets": small.tweets, "events": small.events}
    parts[part] = parts[part].clear()

    extra = simulate_around(Dataset(**parts), 3)

    assert extra.is_empty()
    assert extra.schema == EVENTS_SCHEMA


def test_events_of_unknown_tweets_are_ignored(small):
    stray = pl.DataFrame([(99, "retweets", 40_000, 50, False)], schema=EVENTS_SCHEMA, orient="row")
    events = pl.concat([small.events, stray])
    wider = Dataset(accounts=small.accounts, tweets=small.tweets, events=events)

    assert_frame_equal(simulate_around(wider, 3), simulate_around(small, 3))


@pytest.mark.skipif(
    not REAL_FILE.is_file(), reason="higgs-activity_time.txt.gz is not next to the checkout"
)
def test_with_the_real_file_the_ratios_are_plausible():
    real = higgs_dataset(read_higgs(REAL_FILE), ends_at_s=ENDS_AT_S)
    extra = simulate_around(real, 1)

    assert_plausible(pl.concat([real.events, extra]))
    assert extra.height < 1_500_000
    assert extra["at"].max() <= real.events["at"].max()
    with_created = extra.join(real.tweets, left_on="tweet_id", right_on="id")
    assert with_created.height == extra.height
    assert (with_created["at"] >= with_created["created_at"]).all()


@cache
def simulated(seed):
    return simulate_weeks(ENDS_AT_S, seed)


@pytest.fixture(scope="module")
def weeks():
    return simulated(7)


def test_the_same_seed_gives_the_same_weeks(weeks):
    again = simulate_weeks(ENDS_AT_S, 7)

    assert_frame_equal(again.accounts, weeks.accounts)
    assert_frame_equal(again.tweets, weeks.tweets)
    assert_frame_equal(again.events, weeks.events)
    assert not simulated(0).tweets.equals(weeks.tweets)


def test_accounts_do_not_depend_on_the_end_of_the_weeks(weeks):
    assert_frame_equal(simulate_weeks(ENDS_AT_S + 99_999, 7).accounts, weeks.accounts)


def test_the_weeks_are_complete_and_consistent(weeks):
    assert weeks.accounts.schema == ACCOUNTS_SCHEMA
    assert weeks.tweets.schema == TWEETS_SCHEMA
    assert weeks.events.schema == EVENTS_SCHEMA
    assert weeks.accounts.height == simulate.ACCOUNT_COUNT == weeks.accounts["id"].n_unique()
    assert weeks.accounts["screen_name"].n_unique() == weeks.accounts.height
    assert weeks.tweets.height == simulate.TWEET_COUNT == weeks.tweets["id"].n_unique()
    assert set(weeks.tweets["author_id"]) <= set(weeks.accounts["id"])
    assert set(weeks.events["tweet_id"]) <= set(weeks.tweets["id"])
    assert weeks.events.null_count().sum_horizontal().item() == 0
    assert weeks.events["count"].min() >= 1


def test_tweet_ids_contain_their_time(weeks):
    ids = weeks.tweets["id"].to_numpy()

    assert (np.diff(ids) > 0).all()
    assert (((ids >> 22) + 1288834974657) // 1000 == weeks.tweets["created_at"].to_numpy()).all()


@pytest.mark.parametrize("seed", [0, 7])
def test_everything_happens_within_the_weeks_and_after_its_tweet(seed):
    weeks = simulated(seed)
    start_s = ENDS_AT_S - 672 * HOUR_S

    assert start_s <= weeks.tweets["created_at"].min()
    assert weeks.tweets["created_at"].max() <= ENDS_AT_S
    assert weeks.events["at"].max() <= ENDS_AT_S
    joined = weeks.events.join(weeks.tweets, left_on="tweet_id", right_on="id")
    assert (joined["at"] >= joined["created_at"]).all()


@pytest.mark.parametrize("seed", [0, 7])
def test_the_weeks_have_the_documented_size_and_are_plausible(seed):
    weeks = simulated(seed)

    assert weeks.events.height < 800_000
    interactions = sum(n for name, n in totals(weeks.events).items() if name in REAL_TYPES)
    assert 350_000 < interactions < 550_000
    assert_plausible(weeks.events)


def test_a_few_tweets_have_a_large_share_of_the_interactions(weeks):
    real = weeks.events.filter(pl.col("type").is_in(list(REAL_TYPES)))
    sizes = real.group_by("tweet_id").agg(pl.col("count").sum())["count"].sort(descending=True)

    # In the real file the busiest hundredth of the targets with 12 or more draws 33%; median 24.
    assert 0.28 < sizes.head(48).sum() / sizes.sum() < 0.4
    assert 20 < sizes.median() < 30


def test_interactions_fade_with_the_hours(weeks):
    real = weeks.events.filter(pl.col("type").is_in(list(REAL_TYPES)))
    joined = real.join(weeks.tweets, left_on="tweet_id", right_on="id")
    age = (joined["at"] - joined["created_at"]) // HOUR_S
    by_age = np.bincount(age.to_numpy(), weights=joined["count"].to_numpy())

    assert by_age[0] > 1.5 * by_age[1] > 1.5 * by_age[2] > 1.5 * by_age[6] > 3 * by_age[24]


def test_the_demo_author_has_recent_successful_tweets_and_videos(weeks):
    author = weeks.accounts.row(0, named=True)
    tweets = weeks.tweets.filter(pl.col("author_id") == author["id"])
    ago_hours = (ENDS_AT_S - tweets["created_at"]) / HOUR_S

    assert (author["screen_name"], author["protected"]) == ("demo_author", False)
    assert tweets.height == 60
    assert (ago_hours < 28).sum() == 6
    assert ago_hours.min() > 1
    assert ago_hours.max() > 660
    assert tweets["video_id"].drop_nulls().n_unique() == 15
    of_all = totals(weeks.events)["impressions"] / weeks.tweets.height
    own = weeks.events.filter(pl.col("tweet_id").is_in(tweets["id"].to_list()))
    assert totals(own)["impressions"] / 60 > 1.5 * of_all
    shown = own.filter(pl.col("type") == "impressions")["tweet_id"]
    assert shown.n_unique() == 60


@pytest.mark.parametrize("seed", range(3))
def test_two_authors_share_one_video(seed):
    weeks = simulated(seed)
    videos = weeks.tweets.drop_nulls("video_id").group_by("video_id").agg("author_id")
    shared = videos.filter(pl.col("author_id").list.len() > 1)

    assert shared.height == 1
    names = weeks.accounts.filter(pl.col("id").is_in(shared["author_id"][0].to_list()))
    assert names["screen_name"].to_list() == ["demo_author", "other_author"]


def test_one_account_is_protected_and_has_tweets(weeks):
    protected = weeks.accounts.filter("protected")

    assert protected["screen_name"].to_list() == ["protected_author"]
    own = weeks.tweets.filter(pl.col("author_id") == protected["id"][0])
    assert own.height == simulate.PROTECTED_TWEETS


def test_weeks_before_tweet_ids_contained_time_is_refused():
    with pytest.raises(ValueError, match="November 2010"):
        simulate_weeks(1_288_900_000, 1)


def test_every_ratio_follows_the_one_it_refers_to():
    seen = {"impressions"}
    for ratio in simulate.RATIOS:
        assert ratio.of in seen
        assert ratio.needs is None or ratio.needs in simulate.TRAIT_SHARES
        assert ratio.reason
        seen.add(ratio.type)
    assert seen == EXTRA_TYPES
