"""Counters as arrays behave like plain dictionaries when they are cut and merged."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openengagement.engagement import counters as module
from openengagement.engagement.counters import (
    Counters,
    cut,
    merge,
    merge_at_once,
    no_counters,
    sum_rows,
)

QUICK = settings(deadline=None, max_examples=60)
_ROWS = st.lists(
    st.tuples(st.sampled_from([-5, 1, 2, 3, 7, 2**63 - 1]), st.integers(0, 40), st.integers(-3, 3)),
    max_size=40,
)


def counters(rows):
    ids, cells, counts = np.array(rows or np.zeros((0, 3)), np.int64).T
    return sum_rows(ids, cells, counts=counts)


def plain(part):
    rows = zip(
        np.repeat(part.ids, np.diff(part.starts)).tolist(),
        part.cells.tolist(),
        part.counts.tolist(),
        strict=True,
    )
    return {(tweet_id, cell): count for tweet_id, cell, count in rows}


@QUICK
@given(st.lists(_ROWS, min_size=1, max_size=4), st.integers(1, 9))
def test_merged_in_pieces_of_any_size(tables, size):
    expected = Counter()
    for table in tables:
        for tweet_id, cell, count in table:
            expected[tweet_id, cell] += count
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PART_ROWS", size)
        merged = merge([counters(table) for table in tables])
    assert plain(merged) == {key: count for key, count in expected.items() if count}


def block(first, tweets, cells=5):
    """Tweets with consecutive ids from `first` on, with equally many cells."""
    ids = np.arange(first, first + tweets)
    starts = np.arange(0, (tweets + 1) * cells, cells)
    return Counters(ids, starts, np.tile(np.arange(cells), tweets), np.ones(tweets * cells, int))


@pytest.mark.parametrize(
    "parts",
    [
        [block(1, 2000), block(1, 2000)],
        [block(1, 2001), block(5000, 2000)],
        [block(1, 10), block(5000, 4000), block(2, 8)],
        [block(index * 1000, 1000) for index in range(8)],
        [block(1, 5, cells=900), block(3, 3000, cells=1)],
        [block(1, 5, cells=3000)],
        [block(1, 2001)],
        [block(1, 4000), no_counters(), no_counters()],
        [block(index, 1, cells=1) for index in range(1500)],
    ],
    ids=[
        "same ids",
        "newer ids",
        "a large one",
        "one after the other",
        "few with many",
        "few with very many",
        "one part",
        "empty parts",
        "more parts than rows to a piece",
    ],
)
def test_pieces_are_bounded_wherever_the_tweets_lie(monkeypatch, parts):
    monkeypatch.setattr(module, "_PART_ROWS", 1000)
    pieces = list(cut(parts))
    sizes = [sum(part.rows for part in piece) for piece in pieces]
    largest_tweets = sum(int(np.diff(part.starts).max(initial=0)) for part in parts)
    assert max(sizes) <= 1000 + largest_tweets
    assert len(sizes) <= sum(sizes) / 300
    whole = [plain(merge_at_once(piece)) for piece in pieces]
    together = {key: count for piece in whole for key, count in piece.items()}
    assert together == plain(merge_at_once(parts))
    assert sum(map(len, whole)) == len(together), "a Tweet was cut apart"
