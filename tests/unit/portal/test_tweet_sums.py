"""The order of Tweets by their sums."""

import random

import numpy as np

from openengagement.engagement.types import DAY_S, TYPE_NAMES, Endpoint, Tweet
from openengagement.portal.series import RATE, sort_by_number
from openengagement.portal.tweet_sums import Ages, TweetSums, age_limits
from support.cases import cases

NOW_S = 1_800_000_000.0
NUMBER = {name: number for number, name in enumerate(TYPE_NAMES)}


def sums_of(created_s, endpoint=Endpoint.TOTALS, **columns):
    tweets = [Tweet(at + 1, 7, int(each), deleted=False) for at, each in enumerate(created_s)]
    sums = np.zeros((len(tweets), len(TYPE_NAMES)), np.int64)
    for name, column in columns.items():
        sums[:, NUMBER[name]] = column
    return TweetSums.of(tweets, sums, ages=Ages(age_limits(endpoint), NOW_S))


def test_old_tweets_have_no_figure():
    new, old = NOW_S - DAY_S, NOW_S - 91 * DAY_S
    found = sums_of([new, old], impressions=[5, 6], engagements=[1, 2], favorites=[1, 2])
    assert found.values("impressions") == [5, None]
    assert found.values(RATE) == [0.2, None]
    assert found.values("favorites") == [1, 2]
    assert found.order("impressions", ascending=False) == [0, 1]
    assert found.order("impressions", ascending=True) == [0, 1]
    timed = sums_of([new, old], Endpoint.HISTORICAL, impressions=[5, 6], engagements=[1, 2])
    assert timed.values("impressions") == [5, 6]
    videos = sums_of([new, NOW_S - 1801 * DAY_S], Endpoint.HISTORICAL, video_views=[5, 6])
    assert videos.values("video_views") == [5, None]


def test_a_rate_needs_impressions():
    found = sums_of([NOW_S] * 4, impressions=[0, 10, -5, 20], engagements=[3, 1, 2, 4])
    assert found.values(RATE) == [None, 0.1, None, 0.2]
    assert found.order(RATE, ascending=False) == [3, 1, 0, 2]
    assert found.order(RATE, ascending=True) == [1, 3, 0, 2]


@cases("metric", ["impressions", "favorites", RATE])
@cases("ascending", [False, True])
def test_the_order_is_that_of_the_figures(metric, ascending):
    """Large counts are compared exactly, and equal ones keep their order."""
    chance = random.Random(3)
    numbers = [2**62, 2**62 - 1, -3, 0, 1, 1, 7, 9]
    created_s = [NOW_S - chance.choice([1, 95]) * DAY_S for _ in range(200)]
    columns = {
        name: [chance.choice(numbers) for _ in created_s]
        for name in ("impressions", "engagements", "favorites")
    }
    found = sums_of(created_s, **columns)
    expected = sort_by_number(range(200), found.values(metric), ascending=ascending)
    assert found.order(metric, ascending=ascending) == expected
