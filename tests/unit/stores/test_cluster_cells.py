"""The blocks that a commit inserts into the shards of a cluster, and sums of rows."""

import numpy as np
import pytest

from contract.deltas import make_batch
from openengagement.engagement.counters import merge, sum_rows
from openengagement.engagement.types import TYPE_NAMES
from openengagement.engagement.videos import VIDEO_VIEWS
from openengagement.stores.cluster.cells import add_up, blocks_of, holds, without
from openengagement.stores.cluster.native import decode_blocks
from openengagement.stores.cluster.routing import split_ids
from openengagement.stores.cluster.tables import CELLS, MARKER

REPLIES = TYPE_NAMES.index("replies")


def rows_of(block):
    columns = [column.tolist() for column in decode_blocks(block, list(CELLS))]
    return sorted(zip(*columns, strict=True))


def test_totals_hours_and_a_marker():
    deltas = make_batch([(4, 10, {"replies": 2}), (4, 12, {"replies": 3})]).deltas
    first, second = blocks_of(deltas, shards=2, token=9, now_hour=500)
    assert second is None
    assert rows_of(first) == [
        (-9, MARKER, 500, 1),
        (4, REPLIES, 0, 5),
        (4, REPLIES, 11, 2),
        (4, REPLIES, 13, 3),
    ]


def test_each_shard_gets_its_tweets():
    deltas = make_batch([(tweet_id, 1, {"replies": 1}) for tweet_id in range(1, 8)]).deltas
    blocks = blocks_of(deltas, shards=3, token=1, now_hour=7)
    ids = [sorted({row[0] for row in rows_of(block)}) for block in blocks]
    assert ids == [[-1, *mine] for mine in split_ids(range(1, 8), shards=3)]


def test_videos_have_totals_only():
    deltas = sum_rows(np.array([-5]), np.array([(1 << 5) | VIDEO_VIEWS]), counts=np.array([6]))
    _, block, _ = blocks_of(deltas, shards=3, token=2, now_hour=7)
    assert rows_of(block) == [(-5, VIDEO_VIEWS, 0, 6), (-2, MARKER, 7, 1)]
    assert split_ids([-5], shards=3) == [[], [-5], []]


def test_a_block_without_some_ids_keeps_its_marker():
    """The marker of token 5 has the id of the counters of video 5."""
    video = sum_rows(np.array([-5]), np.array([(1 << 5) | VIDEO_VIEWS]), counts=np.array([6]))
    deltas = merge([video, make_batch([(t, 10, {"replies": t}) for t in (2, 4)]).deltas])
    (block,) = blocks_of(deltas, shards=1, token=5, now_hour=7)
    kept = [(-5, MARKER, 7, 1), (4, REPLIES, 0, 4), (4, REPLIES, 11, 4)]
    assert rows_of(without(block, [2, -5, 9])) == kept
    assert without(block, [9, 10]) == block
    assert without(without(block, [2, -5]), [4, -5]) == without(block, [4, 2, -5])
    assert [holds(block, ids) for ids in ([2], [-5], [9], [], [9, 4])] == [1, 1, 0, 0, 1]
    assert not holds(without(block, [-5]), [-5])


def test_the_same_commit_has_the_same_bytes():
    deltas = make_batch([(tweet_id, 1, {"replies": 1}) for tweet_id in range(1, 80)]).deltas
    made = [blocks_of(deltas, shards=3, token=token, now_hour=7) for token in (1, 1, 2)]
    assert made[0] == made[1]
    assert all(first != other for first, other in zip(made[0], made[2], strict=True))


def as_block(*rows):
    return tuple(np.array(column, np.int64) for column in zip(*rows, strict=True))


def test_counts_are_added_up_at_their_places():
    blocks = [as_block((0, 1), (4, 2), (0, 3)), as_block((2, 4), (0, -1))]
    assert add_up(lambda: blocks, size=6).tolist() == [3, 0, 4, 0, 2, 0]
    assert add_up(list, size=2).tolist() == [0, 0]
    assert add_up(lambda: [(np.zeros(0, np.int64), np.zeros(0, np.int64))], size=1).tolist() == [0]


@pytest.mark.parametrize("count", [2**62, -(2**62)])
@pytest.mark.parametrize("apart", [False, True])
def test_a_sum_never_wraps_around(count, apart):
    rows = [(0, count), (0, count), (1, 1)]
    blocks = [as_block(row) for row in rows] if apart else [as_block(*rows)]
    with pytest.raises(OverflowError):
        add_up(lambda: blocks, size=2)
    assert add_up(lambda: [as_block(*rows[1:])], size=2).tolist() == [count, 1]


def test_a_sum_that_fits_is_right_though_a_partial_sum_wraps_around():
    blocks = [as_block((0, 2**62), (0, 2**62)), as_block((0, -(2**62)), (1, -(2**63)))]
    with pytest.raises(OverflowError):
        add_up(lambda: blocks, size=2)  # the second sum is the lowest number, which is refused, too
    assert add_up(lambda: [blocks[0], as_block((0, -(2**62)))], size=1).tolist() == [2**62]
