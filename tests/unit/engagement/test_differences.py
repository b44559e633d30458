"""Plain forms of counters, and their differences."""

import numpy as np

from contract.deltas import make_deltas
from openengagement.engagement.counters import no_counters, to_totals
from openengagement.engagement.differences import between, find_after, plain_form, subtract
from support.cases import cases

ROWS = [(1, 5, {"replies": 2}), (1, 9, {"replies": 3, "favorites": 1}), (4, 5, {"replies": 7})]


def rows_of(counters):
    ids = np.repeat(counters.ids, np.diff(counters.starts)).tolist()
    return list(zip(ids, counters.cells.tolist(), counters.counts.tolist(), strict=True))


def plain(rows):
    return rows_of(make_deltas(rows))


def test_whole_hours_are_their_own_plain_form():
    hours = make_deltas(ROWS)
    assert rows_of(plain_form(hours, to_totals(hours))) == plain(ROWS)


def test_what_totals_have_beyond_the_hours_is_in_hour_0():
    totals = to_totals(make_deltas(ROWS))
    found = plain_form(make_deltas(ROWS[1:]), totals)
    assert rows_of(found) == plain([(1, 0, {"replies": 2}), *ROWS[1:]])


def test_events_of_hour_0_stay_there():
    """Such as a counter that a move has put there."""
    hours = make_deltas([(1, 0, {"replies": 2}), (1, 9, {"replies": 3})])
    totals = to_totals(make_deltas([(1, 3, {"replies": 9})]))
    expected = [(1, 0, {"replies": 6}), (1, 9, {"replies": 3})]
    assert rows_of(plain_form(hours, totals)) == plain(expected)


@cases("present", [[], ROWS, ROWS[:1], [(1, 5, {"replies": 9})], [(2, 7, {"replies": 1})]])
def test_a_difference_makes_the_counters_equal(present):
    difference = subtract(make_deltas(ROWS), make_deltas(present))
    added = subtract(difference, subtract(no_counters(), make_deltas(present)))
    assert rows_of(added) == plain(ROWS)


def test_equal_counters_have_no_difference():
    assert subtract(make_deltas(ROWS), make_deltas(ROWS)).rows == 0


def test_the_largest_counters():
    large = make_deltas([(1, 5, {"replies": 2**62})])
    small = make_deltas([(1, 5, {"replies": -(2**61)})])
    assert rows_of(subtract(large, small))[0][2] == 2**62 + 2**61


@cases(("after", "last", "ids"), [(0, 9, [1, 4]), (1, 4, [4]), (1, 3, []), (4, 9, []), (0, 1, [1])])
def test_tweets_between_two_ids(after, last, ids):
    (part,) = between([make_deltas(ROWS)], after_id=after, last_id=last)
    assert part.ids.tolist() == ids


def test_the_place_after_an_id():
    counters = make_deltas(ROWS)
    assert [find_after(counters, each) for each in (0, 1, 2, 4, 5)] == [0, 1, 1, 2, 2]
    assert find_after(no_counters(), 5) == 0
