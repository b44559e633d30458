"""Which shard has the counters of a Tweet. The answers never change: clusters depend on them."""

import numpy as np

from openengagement.engagement.types import ID_MAX, SNOWFLAKE_SHIFT, snowflake
from openengagement.stores.cluster.routing import shards_of, split_ids
from support.cases import cases

# What ClickHouse 18.16 and 26.7 answer to `SELECT intHash64(toInt64(ID))`.
HASHES = {
    0: 4761183170873013810,
    1: 10577349846663553072,
    2: 18198135717204167749,
    -1: 14600443904207254319,
    -5: 13263830642547698461,
    2124462388521473622: 13530370617326915221,
    ID_MAX: 16054072765933828340,
    -(2**63): 7378616448805205431,
}


@cases("shards", [1, 2, 3, 4, 16, 1000])
def test_the_shard_of_an_id_is_that_of_clickhouse(shards):
    expected = [hash_ % shards for hash_ in HASHES.values()]
    assert shards_of(np.array([*HASHES]), shards=shards).tolist() == expected


def test_the_ids_of_each_shard_keep_their_order():
    assert split_ids(range(1, 8), shards=3) == [[3, 4], [1, 2, 5], [6, 7]]
    assert split_ids([7, -5, 1, 6], shards=3) == [[], [-5, 1], [7, 6]]
    assert split_ids([], shards=2) == [[], []]


def test_ids_of_any_layout_in_memory():
    ids = np.arange(100)
    ids.flags.writeable = False
    assert shards_of(ids[::3], shards=5).tolist() == shards_of(ids, shards=5)[::3].tolist()


@cases("shards", [2, 3, 4, 6, 8, 16, 64])
@cases(
    ("first", "apart"),
    [(1, 1), (snowflake(1_700_000_000), 1 << SNOWFLAKE_SHIFT), (ID_MAX, -(1 << 40))],
    ids=["consecutive", "snowflake", "large"],
)
def test_ids_are_spread_evenly(shards, first, apart):
    ids = first + np.arange(64_000) * apart
    counts = np.bincount(shards_of(ids, shards=shards), minlength=shards)
    assert np.abs(counts / counts.mean() - 1).max() < 0.15
