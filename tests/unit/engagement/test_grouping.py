"""Groupings give the nested JSON of a slow fold over dictionaries (api.md 1.2, 2.3)."""

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openengagement.engagement.access import ACCESS
from openengagement.engagement.grouping import build_cube, fold_grouping
from openengagement.engagement.types import Dimension, Endpoint
from openengagement.engagement.window import Window
from support.cases import cases

# No deadline: a busy machine may be slow.
QUICK = settings(deadline=None, max_examples=40)

TWEET, TYPE, DAY, HOUR = Dimension.TWEET, Dimension.TYPE, Dimension.DAY, Dimension.HOUR
EVERY_ORDER = [order for length in (1, 2, 3, 4) for order in permutations(Dimension, length)]
UNTIMED_ORDERS = [order for order in EVERY_ORDER if not {DAY, HOUR} & set(order)]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def window_of(start, hours):
    """A window of whole hours from `start`, a wire time or an hour bucket."""
    if isinstance(start, str):
        start = (datetime.fromisoformat(start) - EPOCH) // timedelta(hours=1)
    return Window(start, start + hours, "", "")


def folded(group_by, counts, *, tweets, types, window=None):
    cube = build_cube(counts, [*map(int, tweets)], types=types, window=window)
    return pairs(fold_grouping(group_by, cube))


def pairs(text):
    """Parse JSON to nested lists of (key, value), so that order and repeated keys are visible."""
    return json.loads(text, object_pairs_hook=list)


def slowly_folded(group_by, counts, *, tweets, types, window=None):
    """The reference: add up one counter at a time."""
    tree = {}
    for row, tweet in enumerate(tweets):
        for column, type_name in enumerate(types):
            for index in range(counts.shape[2]):
                moment = EPOCH + timedelta(hours=(window.start_hour if window else 0) + index)
                keys = {
                    TWEET: tweet,
                    TYPE: type_name,
                    DAY: moment.strftime("%Y-%m-%d"),
                    HOUR: moment.strftime("%H"),
                }
                *outer, last = (keys[name] for name in group_by)
                leaf = tree
                for key in outer:
                    leaf = leaf.setdefault(key, {})
                leaf[last] = leaf.get(last, 0) + int(counts[row, column, index])
    return as_pairs(tree, group_by)


def as_pairs(tree, group_by):
    if not isinstance(tree, dict):
        return str(tree)
    items = sorted(tree.items()) if group_by[0] in {DAY, HOUR} else tree.items()
    return [(key, as_pairs(value, group_by[1:])) for key, value in items]


def random_counts(tweets, types, hours, *, seed=1, low=0, high=1000):
    return np.random.default_rng(seed).integers(low, high, (len(tweets), len(types), hours))


WINDOWS = {
    "29 hours over two days": window_of("2015-09-14T17:00:00Z", 29),
    "three days, the first and last in part": window_of("2015-09-14T22:00:00Z", 24 + 5),
    "hours of the first day later than those of the last": window_of("2015-09-14T22:00:00Z", 4),
    "one hour": window_of("2016-02-29T23:00:00Z", 1),
    "whole days": window_of("2016-02-28T00:00:00Z", 72),
    "over a new year": window_of("2015-12-31T23:00:00Z", 2),
}


@cases("group_by", EVERY_ORDER, ids=",".join)
def test_every_order_of_dimensions_gives_its_nesting(group_by):
    asked = {"tweets": ["30", "10", "20"], "types": ["url_clicks", "favorites"]}
    for window in WINDOWS.values():
        counts = random_counts(*asked.values(), window.hours)
        assert folded(group_by, counts, window=window, **asked) == slowly_folded(
            group_by, counts, window=window, **asked
        )


@pytest.mark.parametrize("group_by", UNTIMED_ORDERS, ids=",".join)
def test_every_order_on_totals(group_by):
    asked = {"tweets": ["30", "10", "20"], "types": ["url_clicks", "favorites"]}
    counts = random_counts(*asked.values(), 1)
    assert folded(group_by, counts, **asked) == slowly_folded(group_by, counts, **asked)


@QUICK
@given(
    st.sampled_from(EVERY_ORDER),
    st.integers(0, 600_000),
    st.integers(1, 60) | st.integers(1, 674),
    st.lists(st.integers(1, 2**63 - 1).map(str), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True),
    st.integers(0, 2**32),
)
def test_any_window_and_counts(group_by, start_hour, hours, tweets, types, seed):
    window = window_of(start_hour, hours)
    counts = random_counts(tweets, types, hours, seed=seed, low=-9, high=9)
    asked = {"tweets": tweets, "types": types, "window": window}
    assert folded(group_by, counts, **asked) == slowly_folded(group_by, counts, **asked)


@QUICK
@given(
    st.sampled_from(UNTIMED_ORDERS),
    st.lists(st.integers(1, 2**63 - 1).map(str), min_size=1, max_size=5, unique=True),
    st.lists(st.sampled_from(sorted(ACCESS[Endpoint.TOTALS])), min_size=1, unique=True),
    st.integers(-(2**40), 2**40),
)
def test_any_tweets_and_types_on_totals(group_by, tweets, types, count):
    counts = np.full((len(tweets), len(types), 1), count)
    asked = {"tweets": tweets, "types": types}
    assert folded(group_by, counts, **asked) == slowly_folded(group_by, counts, **asked)


def test_no_key_of_an_answer_needs_escaping():
    """Keys are written as they are. Ids, days and hours are digits; types are checked here."""
    names = {name for table in ACCESS.values() for name in table}
    assert [name for name in names if not re.fullmatch("[a-z_]+", name)] == []


def test_counts_are_strings():
    text = fold_grouping(
        (TWEET,), build_cube(np.full((1, 1, 1), 551), [1], types=["a"], window=None)
    )
    assert text == b'{"1":"551"}'


@QUICK
@given(st.lists(st.one_of(st.integers(0, 9), st.integers(-(2**62), 2**63 - 1)), min_size=1))
@pytest.mark.parametrize("digits", [0, 20, 100])
def test_few_and_many_numbers_with_several_digits(digits, numbers):
    """The share of such numbers decides between two ways of writing."""
    counts = np.array([*([7] * digits), *numbers, *([0] * digits)], np.int64)
    tweets = [str(index) for index in range(len(counts))]
    got = folded((TWEET,), counts.reshape(-1, 1, 1), tweets=tweets, types=["a"])
    assert got == list(zip(tweets, map(str, counts.tolist()), strict=True))


@pytest.mark.parametrize("count", [0, -1, -(2**62), 2**63 - 1])
def test_any_count_is_written_in_full(count):
    counts = np.full((1, 1, 1), count, np.int64)
    assert folded((TWEET, TYPE), counts, tweets=["1"], types=["a"]) == [("1", [("a", str(count))])]


def test_negative_counts_are_summed_and_written():
    counts = np.array([[[-3, 1], [5, -5]]])
    asked = {"tweets": ["1"], "types": ["a", "b"], "window": window_of("2015-09-14T23:00:00Z", 2)}
    assert folded((TYPE,), counts, **asked) == [("a", "-2"), ("b", "0")]
    assert folded((DAY,), counts, **asked) == [("2015-09-14", "2"), ("2015-09-15", "-4")]


def test_dimensions_that_are_not_named_are_summed_over():
    counts = np.array([[[1], [2]], [[10], [20]]])
    asked = {"tweets": ["7", "5"], "types": ["a", "b"]}
    assert folded((TYPE,), counts, **asked) == [("a", "11"), ("b", "22")]
    assert folded((TWEET,), counts, **asked) == [("7", "3"), ("5", "30")]


def test_the_hours_are_exactly_those_of_the_window():
    """The documented sample: 2015-09-14T17:00Z to 2015-09-15T22:00Z, last key 21."""
    counts = np.zeros((1, 1, 29), int)
    window = window_of("2015-09-14T17:00:00Z", 29)
    got = folded((DAY, HOUR), counts, tweets=["1"], types=["a"], window=window)
    assert [(day, [hour for hour, _ in hours]) for day, hours in got] == [
        ("2015-09-14", [f"{hour:02}" for hour in range(17, 24)]),
        ("2015-09-15", [f"{hour:02}" for hour in range(22)]),
    ]
    assert {count for _, hours in got for _, count in hours} == {"0"}


def test_days_and_hours_ascend_at_any_level():
    window = window_of("2015-12-30T20:00:00Z", 60)
    counts = np.zeros((2, 2, 60), int)
    for group_by in EVERY_ORDER:
        got = folded(group_by, counts, tweets=["9", "1"], types=["b", "a"], window=window)
        for name in group_by:
            keys = [key for key, _ in got]
            assert len(keys) == len(set(keys))
            assert keys == sorted(keys) if name in {DAY, HOUR} else keys in (["9", "1"], ["b", "a"])
            got = got[0][1]


def test_hour_without_day_is_the_hour_of_day():
    """28 days give 24 keys, each the sum over its 28 days, without a date level."""
    window = window_of("2016-01-12T20:00:00Z", 672)
    counts = np.arange(672).reshape(1, 1, 672)
    got = folded((TYPE, TWEET, HOUR), counts, tweets=["1"], types=["a"], window=window)
    hours = dict(dict(dict(got)["a"])["1"])
    assert list(hours) == [f"{hour:02}" for hour in range(24)]
    assert hours["20"] == str(sum(range(0, 672, 24)))
    assert hours["19"] == str(sum(range(23, 672, 24)))


def test_hours_of_day_outside_a_short_window_are_left_out():
    window = window_of("2015-09-14T22:00:00Z", 4)
    counts = np.array([[[1, 2, 3, 4]]])
    got = folded((HOUR,), counts, tweets=["1"], types=["a"], window=window)
    assert got == [("00", "3"), ("01", "4"), ("22", "1"), ("23", "2")]


def test_an_hour_above_days_has_only_the_days_with_that_hour():
    window = window_of("2015-09-14T23:00:00Z", 26)
    counts = np.arange(1, 27).reshape(1, 1, 26)
    got = dict(folded((HOUR, DAY), counts, tweets=["1"], types=["a"], window=window))
    assert got["23"] == [("2015-09-14", "1"), ("2015-09-15", "25")]
    assert got["00"] == [("2015-09-15", "2"), ("2015-09-16", "26")]
    assert got["12"] == [("2015-09-15", "14")]


def test_sums_over_any_grouping_agree():
    window = window_of("2015-09-14T17:00:00Z", 100)
    tweets, types = ["1", "2", "3"], ["a", "b"]
    counts = random_counts(tweets, types, 100, low=-50, high=500)

    def leaves(tree):
        return int(tree) if isinstance(tree, str) else sum(leaves(value) for _, value in tree)

    sums = {
        leaves(folded(group_by, counts, tweets=tweets, types=types, window=window))
        for group_by in EVERY_ORDER
    }
    assert sums == {int(counts.sum())}


@pytest.mark.parametrize("group_by", [(TWEET, TYPE, DAY, HOUR), (TYPE, TWEET, DAY, HOUR)])
def test_the_largest_answer_has_every_counter(group_by):
    """25 Tweets, 17 types, and 28 days that begin and end within an hour."""
    window = window_of("2015-07-01T12:00:00Z", 673)
    tweets = [10**18 + index for index in range(25)]
    types = [f"type_{index}" for index in range(17)]
    counts = np.arange(25 * 17 * 673).reshape(25, 17, 673)
    got = json.loads(
        fold_grouping(group_by, build_cube(counts, tweets, types=types, window=window))
    )
    flat = [
        int(count)
        for outer in got.values()
        for inner in outer.values()
        for day in inner.values()
        for count in day.values()
    ]
    assert len(flat) == 286_025
    expected = counts if group_by[0] is TWEET else counts.transpose(1, 0, 2)
    assert flat == expected.ravel().tolist()


@cases("count", [3 * 2**60, -3 * 2**60, 2**62, -(2**62), 2**63 // 20, 2**63 // 20 + 1])
@cases("others", [0, 5, -5, 2**61])
def test_sums_beyond_64_bits_are_exact(count, others):
    """20 Tweets of 1.5 * 2^61 each were shown as a negative number."""
    counts = np.full((20, 2, 1), count, np.int64)
    counts[3:7, 1] = others
    cube = build_cube(counts, range(20), types=["a", "b"], window=None)
    right = {"a": str(20 * count), "b": str(16 * count + 4 * others)}
    assert json.loads(fold_grouping((Dimension.TYPE,), cube)) == right
    right = [str(sum(map(int, row))) for row in counts[:, :, 0].tolist()]
    assert list(json.loads(fold_grouping((Dimension.TWEET,), cube)).values()) == right


def test_sums_over_hours_beyond_64_bits_are_exact():
    counts = np.full((2, 1, 50), 2**62, np.int64)
    window = window_of("2026-11-22T22:00:00+00:00", 50)
    found = folded((TYPE, DAY), counts, tweets=["1", "2"], types=["a"], window=window)
    days = {"2026-11-22": 4, "2026-11-23": 48, "2026-11-24": 48}
    assert found == [("a", [(day, str(hours * 2**62)) for day, hours in days.items()])]
