"""Sums near 2^62 and 2^63 are refused or exact, and never wrap around."""

import random
from collections import Counter

import numpy as np
import pytest

from openengagement.engagement.counters import COUNTER_MAX, cells_of, sum_rows, to_totals
from openengagement.engagement.overflow import verify_room, verify_sum
from support.cases import cases


def counters(*rows):
    """Counters of rows (tweet_id, hour, type number, count)."""
    ids, hours, types, counts = np.array(rows, np.int64).T
    return sum_rows(ids, cells_of(hours, types), counts=counts)


def fits(*deltas, stored=()):
    try:
        verify_room(deltas, hours=stored, totals=[to_totals(each) for each in stored])
    except OverflowError:
        return False
    return True


FULL = counters((5, 10, 0, COUNTER_MAX))


@cases(
    ("row", "right"),
    [
        ((5, 10, 0, 1), False),
        ((5, 10, 0, -1), True),
        ((5, 10, 0, -(2**60)), True),
        ((5, 10, 0, -COUNTER_MAX), True),
        ((5, 11, 0, 1), False),  # the total, not the hour
        ((5, 11, 0, -1), True),
        ((5, 10, 1, 1), True),
        ((6, 10, 0, COUNTER_MAX), True),
        ((4, 10, 0, COUNTER_MAX), True),
        ((6, 10, 0, COUNTER_MAX + 1), False),
        ((-5, 10, 0, 7), True),
    ],
)
def test_only_the_full_counter_refuses(row, right):
    assert fits(counters(row), stored=[FULL]) is right


def test_several_deltas_count_together():
    half = counters((6, 1, 0, COUNTER_MAX // 2))
    assert fits(half, half)
    assert not fits(half, half, counters((6, 1, 0, 1)))
    assert not fits(half, half, counters((6, 2, 0, 1)))


def test_a_sum_that_would_return_to_zero_is_refused():
    quarter = counters((6, 1, 0, COUNTER_MAX))
    assert not fits(*[quarter] * 4)
    assert not fits(quarter, quarter, quarter, stored=[quarter])


def test_magnitudes_beyond_64_bits_are_refused_though_the_sum_is_small():
    """Part of them may be merged first, and that part must fit 64 bits."""
    plus, minus = counters((6, 1, 0, 2**61)), counters((6, 1, 0, -(2**61)))
    assert fits(*[plus, minus] * 3)
    assert not fits(*[plus, minus] * 4)


@cases("seed", range(20))
def test_against_pythons_integers(seed):
    chance = random.Random(seed)
    values = [2**60, -(2**60), 2**61, -(2**61), COUNTER_MAX, -COUNTER_MAX, 1, -1, 5]

    def some():
        rows = {
            (chance.randrange(1, 4), chance.randrange(2), chance.randrange(2)): chance.choice(
                values
            )
            for _ in range(chance.randrange(1, 5))
        }
        return rows, counters(*((*key, count) for key, count in rows.items()))

    stored, deltas = [some() for _ in range(3)], [some() for _ in range(2)]
    sums, magnitudes = Counter(), Counter()
    for number, (rows, _) in enumerate(stored + deltas):
        own = Counter()
        for (tweet, hour, name), count in rows.items():
            sums[tweet, hour, name] += count
            magnitudes[tweet, hour, name, count < 0] += abs(count)
            # The totals of a stored segment are known. Those of deltas are added up from hours.
            own[(tweet, name) if number < len(stored) else (tweet, name, hour, hour)] += count
        for (tweet, name, *_), count in own.items():
            sums[tweet, name] += count
            magnitudes[tweet, name, count < 0] += abs(count)
    asked = {key for rows, _ in deltas for key in rows}
    asked |= {(tweet, name) for tweet, _, name in asked}
    right = all(
        abs(sums[key]) <= COUNTER_MAX
        and max(magnitudes[*key, False], magnitudes[*key, True]) < 2**63 - 2**40
        for key in asked
    )
    assert fits(*(part for _, part in deltas), stored=[part for _, part in stored]) is right


def test_sums_of_any_counts():
    verify_sum(np.array([2**62, -(2**61)]))
    with pytest.raises(OverflowError):
        verify_sum(np.array([2**62, -(2**62), 5]))
