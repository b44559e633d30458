"""Which shard of a cluster has the counters of a Tweet, also if the number of shards is even."""

from contextlib import closing

import numpy as np
import pytest

from contract.deltas import make_batch, make_tweets
from openengagement.engagement.types import ID_MAX, SNOWFLAKE_SHIFT, snowflake
from openengagement.stores.cluster.routing import shards_of
from openengagement.stores.cluster.tables import MARKER

pytestmark = pytest.mark.heavy

# Of one generator, with nothing else in their milliseconds: their lowest 22 bits are 0.
IDS = [snowflake(1_700_000_000) + (each << SNOWFLAKE_SHIFT) for each in range(1, 401)]
ASKED = IDS[:250]


@pytest.fixture
def store(even):
    with closing(even.open()) as opened:
        opened.apply_batches([make_batch([(each, 10, {"replies": 1}) for each in IDS], key=b"1")])
        opened.apply_batches([make_batch([(each, 11, {"replies": 2}) for each in IDS], key=b"2")])
        yield opened


def rows_of(even, where):
    """Return how many rows of counters each shard has, without those that wait to be merged."""
    query = f"SELECT count() FROM {even.database}.cells FINAL WHERE type <> {MARKER} AND {where}"
    return [int(node.run(query)) for node in even.servers.nodes]


def test_a_server_computes_the_same_shards(cluster):
    """Of ids of every size, and of videos."""
    ids = np.array([*range(-20, 20), *IDS, ID_MAX, -(2**63)])
    listed = f"CAST('{ids.tolist()}' AS Array(Int64))"
    for shards in (1, 2, 3, 64):
        query = f"SELECT arrayJoin(arrayMap(x -> intHash64(x) % {shards}, {listed}))"
        found = [int(row) for row in cluster.servers.nodes[0].run(query).split()]
        assert found == shards_of(ids, shards=shards).tolist()


def test_each_counter_is_on_its_shard_alone(even, store):
    shards = len(even.servers.nodes)
    for node, rows in zip(even.servers.nodes, rows_of(even, "1"), strict=True):
        mine = rows_of(even, f"intHash64(tweet_id) % {shards} = {node.shard - 1}")
        assert mine == [rows if each is node else 0 for each in even.servers.nodes]
        assert 0.7 < rows / (3 * len(IDS) / shards) < 1.3


def test_totals_and_hours_are_read_from_all_shards(store):
    assert store.read_totals(ASKED, ["replies"])[:, 0].tolist() == [3] * len(ASKED)
    hours = store.read_buckets(ASKED[:25], ["replies"], start_hour=10, end_hour=12)
    assert hours.tolist() == [[[1, 2]]] * 25


def test_views_of_videos(even, store):
    store.apply_tweets(make_tweets(*((each, 7, 1000, f"v{each}", False) for each in ASKED)))
    store.apply_batches([make_batch([(each, 10, {"video_views": 5}) for each in ASKED])])
    assert store.read_totals(ASKED, ["video_views"])[:, 0].tolist() == [5] * len(ASKED)
    assert min(rows_of(even, "tweet_id < 0")) > 0


def test_old_hours_and_erased_tweets_are_removed_from_all_shards(even, store):
    assert store.prune(oldest_hour=11) == len(IDS)
    assert sum(rows_of(even, "hour > 0")) == len(IDS)
    store.erase(ASKED)
    assert sum(rows_of(even, "hour = 0")) == len(IDS) - len(ASKED)
    assert not store.read_totals(ASKED, ["replies"]).any()


def test_everything_is_listed_for_a_move(store):
    counters = store.inventory().read_counters(0, ID_MAX)
    assert counters.ids.tolist() == IDS
    assert counters.counts.tolist() == [1, 2] * len(IDS)
