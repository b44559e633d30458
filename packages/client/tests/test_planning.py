"""Ids, groupings and windows are split as the wire demands; times and ids are read strictly."""

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openengagement_client import InvalidQuery, historical_query, totals_query
from openengagement_client.planning import split_groupings, split_ids
from openengagement_client.queries import parse_tweet_ids
from openengagement_client.windows import (
    Window,
    format_time,
    parse_time,
    resolve_window,
    split_window,
)
from support.cases import cases

# No deadline: a busy machine may be slow.
QUICK = settings(deadline=None)
YEAR_2015, YEAR_2025 = map(datetime.fromisoformat, ("2015-01-01", "2025-01-01"))
NOW = datetime(2026, 11, 28, 12, 20, 5, tzinfo=UTC)


def test_ids_are_read_as_the_server_names_them():
    assert list(parse_tweet_ids([5, "5", " 007\n", 2**63 - 1])) == ["5", "5", "7", str(2**63 - 1)]


@cases("given", ["", "x", "-1", 0, "1.0", "1e3", 2**63, "१", True, None, "1 2"])
def test_what_is_no_id_is_refused(given):
    with pytest.raises(InvalidQuery):
        list(parse_tweet_ids([given]))


@QUICK
@given(st.lists(st.integers(1, 40)), st.integers(1, 9))
def test_groups_are_full_and_have_no_id_twice(numbers, most):
    ids = [str(each) for each in dict.fromkeys(numbers)]
    groups = list(split_ids(iter(ids), most))
    assert [each for group in groups for each in group] == ids
    assert all(len(group) == most for group in groups[:-1])


def test_repeated_ids_do_not_count_towards_the_limit():
    assert list(split_ids(iter(["1", "1", "2", "3", "3", "4"]), 2)) == [("1", "2"), ("3", "4")]


def test_groups_are_planned_as_the_ids_are_read():
    """An endless generator of ids is possible."""
    read = []

    def ids():
        for each in range(10**9):
            read.append(each)
            yield str(each + 1)

    assert next(split_ids(ids(), 3)) == ("1", "2", "3")
    assert len(read) == 3


def test_groupings_are_split_by_three_and_by_four_dimensions():
    four = ("tweet.id", "engagement.type", "engagement.day", "engagement.hour")
    two = ("tweet.id", "engagement.type")
    given = {"a": four, "b": two, "c": four, "d": two, "e": two, "f": two}
    assert [list(batch) for batch in split_groupings(given)] == [["a", "b"], ["c", "d", "e"], ["f"]]


@cases(
    ("given", "expected"),
    [
        ("2026-11-26T09:24:00Z", "2026-11-26T09:24:00Z"),
        ("2026-11-26T09:24:00.5+02:00", "2026-11-26T07:24:00.500000Z"),
        ("2026-11-26", "2026-11-26T00:00:00Z"),
        (date(2026, 11, 26), "2026-11-26T00:00:00Z"),
        (datetime.fromisoformat("2026-11-26 09:00"), "2026-11-26T09:00:00Z"),
        (datetime(2026, 11, 26, 9, tzinfo=timezone(timedelta(hours=-5))), "2026-11-26T14:00:00Z"),
    ],
)
def test_times_are_utc(given, expected):
    assert format_time(parse_time(given)) == expected


@pytest.mark.parametrize("given", ["yesterday", "", "2026-13-01", "26.11.2026"])
def test_what_is_no_time_is_refused(given):
    with pytest.raises(InvalidQuery):
        historical_query(["1"], ["favorites"], start=given)


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        (Window(), "2026-10-31T13:00:00Z", "2026-11-28T12:20:05Z"),
        (Window(start=datetime(2020, 1, 1, tzinfo=UTC)), "2020-01-01T00:00:00Z", None),
        (Window(end=datetime(2026, 11, 20, tzinfo=UTC)), "2026-10-23T00:00:00Z", None),
    ],
)
def test_missing_ends_are_those_that_the_server_would_choose(window, start, end):
    found = resolve_window(window, NOW)
    assert format_time(found.start) == start
    if end:
        assert format_time(found.end) == end


def test_a_start_in_the_future_is_refused():
    with pytest.raises(InvalidQuery):
        resolve_window(Window(start=NOW + timedelta(days=1)), NOW)


@QUICK
@given(
    start=st.datetimes(YEAR_2015, YEAR_2025, timezones=st.just(UTC)),
    length=st.timedeltas(timedelta(minutes=1), timedelta(days=900)),
)
def test_windows_are_cut_at_midnights_and_leave_nothing_out(start, length):
    window = Window(start, start + length)
    pieces = list(split_window(window))
    assert all(piece.end - piece.start <= timedelta(days=28) for piece in pieces)
    assert all(one.end == other.start for one, other in pairwise(pieces))
    assert all(piece.end.hour == piece.end.minute == 0 for piece in pieces[:-1])
    assert pieces[-1].end == window.end
    assert start - pieces[0].start < timedelta(hours=1)
    if len(pieces) > 1:
        assert pieces[0].end - pieces[0].start >= timedelta(days=27)


@cases(
    "groupings",
    [
        [],
        {},
        {"g": []},
        {"start": ["tweet.id"]},
        {"errors": ["tweet.id"]},
        {"g": ["tweet.id", "Tweet.ID"]},
        {"g": ["tweet"]},
        ["tweet.id", "engagement.type", "engagement.day", "engagement.hour", "tweet.id"],
    ],
)
def test_impossible_groupings_are_refused(groupings):
    with pytest.raises(InvalidQuery):
        totals_query(["1"], ["favorites"], groupings=groupings)


def test_groupings_have_several_forms():
    expected = {"by type": ("engagement.type",)}
    for form in (["Engagement.Type"], {"group_by": ["engagement.type"]}):
        query = totals_query(["1"], ["favorites"], groupings={"by type": form})
        assert query.groupings == expected
    one = totals_query(["1"], "favorites", groupings=["tweet.id", "engagement.type"])
    assert one.groupings == {"counts": ("tweet.id", "engagement.type")}
    assert one.engagement_types == ("favorites",)


def test_a_single_id_is_not_read_as_digits():
    assert list(totals_query("123", ["favorites"]).tweet_ids) == ["123"]
