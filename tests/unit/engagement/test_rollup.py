"""Folding events gives the deltas of a plain loop over the rules."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openengagement.engagement.counters import COUNTER_MAX, HOUR_MAX, TYPE_BITS, merge
from openengagement.engagement.rollup import EVENT_SCHEMA, fold_events
from support.cases import cases

# No deadline: a busy machine may be slow.
QUICK = settings(deadline=None, max_examples=30)

# By hand: the types that count only themselves, and those that also count as engagements.
NOT_ENGAGEMENTS = ["impressions", "video_views", "media_views"]
ENGAGEMENTS = [
    "favorites", "retweets", "replies", "quote_tweets", "media_engagements", "url_clicks",
    "hashtag_clicks", "detail_expands", "permalink_clicks", "app_install_attempts", "app_opens",
    "email_tweet", "user_follows", "user_profile_clicks",
]  # fmt: skip
EVERY_TYPE = [*NOT_ENGAGEMENTS, *ENGAGEMENTS, "other_engagements"]
COLUMNS = [
    "impressions", "engagements", "favorites", "retweets", "replies", "quote_tweets",
    "video_views", "media_views", "media_engagements", "url_clicks", "hashtag_clicks",
    "detail_expands", "permalink_clicks", "app_install_attempts", "app_opens", "email_tweet",
    "user_follows", "user_profile_clicks",
]  # fmt: skip


def fold(*events):
    """Fold events (tweet_id, type, hour, count, promoted) into (tweet, hour) -> {type: n}."""
    deltas = fold_events(pl.DataFrame(list(events), schema=EVENT_SCHEMA, orient="row"))
    assert_well_formed(deltas)
    tree = {}
    rows = zip(
        np.repeat(deltas.ids, np.diff(deltas.starts)).tolist(),
        deltas.cells.tolist(),
        deltas.counts.tolist(),
        strict=True,
    )
    for tweet_id, cell, count in rows:
        hour, number = divmod(cell, 2**TYPE_BITS)
        tree.setdefault((tweet_id, hour), {})[COLUMNS[number]] = count
    return tree


def assert_well_formed(deltas):
    """Tweets and their cells are sorted and unique; no count is zero, and no Tweet is empty."""
    assert deltas.starts[0] == 0
    assert deltas.starts[-1] == len(deltas.cells) == len(deltas.counts)
    assert (np.diff(deltas.starts) > 0).all()
    rows = list(
        zip(
            np.repeat(deltas.ids, np.diff(deltas.starts)).tolist(),
            deltas.cells.tolist(),
            strict=True,
        )
    )
    assert rows == sorted(set(rows))
    assert deltas.counts.all()


def slowly_folded(events):
    deltas = Counter()
    for tweet, name, hour, count, promoted in events:
        if name != "other_engagements" and not (name == "impressions" and promoted):
            deltas[tweet, hour, name] += count
        if name not in NOT_ENGAGEMENTS and count > 0:
            deltas[tweet, hour, "engagements"] += count
    tree = {}
    for (tweet, hour, name), count in deltas.items():
        if count:
            tree.setdefault((tweet, hour), {})[name] = count
    return tree


@cases("promoted", [False, True])
@cases("name", ENGAGEMENTS)
def test_an_interaction_counts_itself_and_as_an_engagement(name, promoted):
    assert fold((20, name, 5, 3, promoted)) == {(20, 5): {name: 3, "engagements": 3}}


@pytest.mark.parametrize("name", NOT_ENGAGEMENTS)
def test_impressions_and_views_are_not_engagements(name):
    assert fold((20, name, 5, 3, False)) == {(20, 5): {name: 3}}


@pytest.mark.parametrize("name", ["video_views", "media_views"])
def test_promoted_views_count(name):
    assert fold((20, name, 5, 3, True)) == {(20, 5): {name: 3}}


@pytest.mark.parametrize("count", [3, -3])
def test_promoted_impressions_count_nowhere(count):
    assert fold((20, "impressions", 5, count, True)) == {}
    got = fold((20, "impressions", 5, 7, False), (20, "impressions", 5, count, True))
    assert got == {(20, 5): {"impressions": 7}}


@pytest.mark.parametrize("promoted", [False, True])
def test_other_engagements_count_as_engagements_only(promoted):
    assert fold((20, "other_engagements", 5, 4, promoted)) == {(20, 5): {"engagements": 4}}


@cases("name", ENGAGEMENTS)
def test_an_undo_does_not_reduce_engagements(name):
    assert fold((20, name, 5, -2, False)) == {(20, 5): {name: -2}}
    assert fold((20, name, 5, 2, False), (20, name, 5, -2, False)) == {(20, 5): {"engagements": 2}}


@pytest.mark.parametrize("name", NOT_ENGAGEMENTS)
def test_an_undone_view_counts_down(name):
    assert fold((20, name, 5, -2, False)) == {(20, 5): {name: -2}}


def test_an_undone_other_engagement_changes_nothing():
    assert fold((20, "other_engagements", 5, -2, False)) == {}


@cases("name", EVERY_TYPE)
def test_a_count_of_zero_changes_nothing(name):
    assert fold((20, name, 5, 0, False)) == {}


def test_counts_of_one_tweet_and_hour_are_added_up():
    got = fold(
        (20, "favorites", 5, 1, False),
        (20, "favorites", 5, 2, True),
        (20, "url_clicks", 5, 4, False),
        (20, "impressions", 5, 8, False),
    )
    assert got == {(20, 5): {"favorites": 3, "url_clicks": 4, "impressions": 8, "engagements": 7}}


def test_tweets_and_hours_are_kept_apart():
    got = fold(
        (21, "favorites", 5, 1, False),
        (20, "favorites", 6, 2, False),
        (20, "favorites", 5, 4, False),
    )
    assert {key: each["favorites"] for key, each in got.items()} == {
        (20, 5): 4, (20, 6): 2, (21, 5): 1
    }  # fmt: skip


def test_the_largest_ids_and_counts_are_exact():
    count = COUNTER_MAX
    got = fold((2**63 - 1, "favorites", HOUR_MAX, count, False))
    assert got == {(2**63 - 1, HOUR_MAX): {"favorites": count, "engagements": count}}


@pytest.mark.parametrize("hour", [-1, HOUR_MAX + 1])
def test_an_hour_without_a_cell_is_refused(hour):
    with pytest.raises(ValueError, match="hour bucket"):
        fold((20, "favorites", hour, 1, False))


def test_an_empty_batch_has_no_deltas():
    assert fold() == {}


def test_every_type_at_once():
    got = fold(*((20, name, 5, index, False) for index, name in enumerate(EVERY_TYPE, 1)))
    expected = {
        name: index for index, name in enumerate(EVERY_TYPE, 1) if name != "other_engagements"
    }
    expected["engagements"] = sum(range(4, len(EVERY_TYPE) + 1))
    assert got == {(20, 5): expected}


_EVENTS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 2**63 - 1]),
        st.sampled_from(EVERY_TYPE),
        st.integers(0, 2) | st.just(490_000),
        st.integers(-3, 3) | st.integers(-(2**40), 2**40),
        st.booleans(),
    ),
    max_size=30,
)


@QUICK
@given(_EVENTS)
def test_any_batch_folds_as_in_the_plain_loop(events):
    assert fold(*events) == slowly_folded(events)


@QUICK
@given(_EVENTS, st.integers(0, 30))
def test_two_halves_of_a_batch_add_up_to_the_whole(events, at):
    parts = [
        fold_events(pl.DataFrame(part, schema=EVENT_SCHEMA, orient="row"))
        for part in (events[:at], events[at:])
    ]
    whole = fold_events(pl.DataFrame(events, schema=EVENT_SCHEMA, orient="row"))
    merged = merge(parts)
    for name in ("ids", "starts", "cells", "counts"):
        assert getattr(merged, name).tolist() == getattr(whole, name).tolist()


def test_the_order_of_events_does_not_matter():
    events = [(20, "favorites", 5, -1, False), (20, "favorites", 5, 1, False)]
    assert fold(*events) == fold(*reversed(events))
