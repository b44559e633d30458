"""The tables of a cluster: Tweets and the ledger in PostgreSQL, counters in ClickHouse."""

from typing import Final

# The version of all tables, and of `routing.shards_of`. Increase it with every change, and upgrade
# in `cluster init`. An index needs no new version: nothing is wrong without it, and `cluster init`
# creates it. Versions before 3 cannot be upgraded: their counters are on shard `id mod shards`.
VERSION: Final = 3
# `store_layout` has one row. A batch without `applied_at_s` never expires. `blocks` of a flight
# holds what each shard must insert: a compressed block of the Native format, or null if the shard
# gets nothing. The order is that of the shards. `large_tweets` are those with a counter that could
# become too large. `deletions` are Tweets whose counters are not erased yet.
POSTGRESQL: Final = """
CREATE TABLE IF NOT EXISTS store_layout (
    version integer NOT NULL, cluster text NOT NULL, database text NOT NULL
);
CREATE TABLE IF NOT EXISTS tweets (
    tweet_id bigint PRIMARY KEY, author_id bigint NOT NULL, created_at_s bigint NOT NULL,
    video_number bigint, deleted boolean NOT NULL
);
CREATE INDEX IF NOT EXISTS tweets_by_author
    ON tweets (author_id, created_at_s DESC, tweet_id DESC) WHERE NOT deleted;
CREATE INDEX IF NOT EXISTS tweets_deleted ON tweets (author_id) WHERE deleted;
CREATE INDEX IF NOT EXISTS tweets_by_video ON tweets (video_number) WHERE video_number IS NOT NULL;
CREATE TABLE IF NOT EXISTS videos (
    video_number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, video_id bytea NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS contents (
    tweet_id bigint PRIMARY KEY, text text NOT NULL, url text NOT NULL, thumbnail_url text NOT NULL
);
CREATE TABLE IF NOT EXISTS deletions (
    tweet_id bigint PRIMARY KEY, deleted_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS large_tweets (tweet_id bigint PRIMARY KEY);
CREATE SEQUENCE IF NOT EXISTS flight_tokens;
CREATE TABLE IF NOT EXISTS batches (
    key bytea PRIMARY KEY, digest bytea NOT NULL, outcome bytea NOT NULL, token bigint NOT NULL,
    applied_at_s bigint
);
CREATE INDEX IF NOT EXISTS batches_by_age ON batches (applied_at_s);
CREATE TABLE IF NOT EXISTS ledger_times (
    boot text PRIMARY KEY, uptime_s float8 NOT NULL, wall_s float8 NOT NULL,
    ledger_s float8 NOT NULL
);
CREATE TABLE IF NOT EXISTS clock_jumps (
    jump_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, from_s float8 NOT NULL,
    to_s float8 NOT NULL
);
CREATE TABLE IF NOT EXISTS positions (
    source text PRIMARY KEY, position bytea NOT NULL, token bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS flights (
    token bigint PRIMARY KEY, began_at timestamptz NOT NULL, leased_until timestamptz NOT NULL,
    views boolean NOT NULL, large boolean NOT NULL, blocks bytea[] NOT NULL,
    attempts integer NOT NULL DEFAULT 1, reason text NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS replicas (
    shard integer NOT NULL, replica integer NOT NULL, host text NOT NULL, port integer NOT NULL,
    state smallint NOT NULL, changes bigint NOT NULL DEFAULT 0, PRIMARY KEY (shard, replica)
);
CREATE TABLE IF NOT EXISTS query_times (
    ended_at timestamptz NOT NULL DEFAULT now(), shard integer NOT NULL,
    replica integer NOT NULL, kind text NOT NULL, count bigint NOT NULL, failures bigint NOT NULL,
    sum_s float8 NOT NULL, max_s float8 NOT NULL
);
CREATE INDEX IF NOT EXISTS query_times_by_age ON query_times (ended_at);
"""
# Hour 0 is the total of a Tweet and type. The buckets follow: bucket h is stored as hour h + 1.
# Both are in one table, so that a block is visible as a whole: a total is always the sum of its
# hours. A row of type MARKER says that a block was inserted: see `counting`. Its hour is that of
# the insert. A flight is completed within FLIGHT_DAYS_MAX or never, and markers are kept longer.
MARKER: Final = 31
FLIGHT_DAYS_MAX: Final = 7
MARKERS_KEPT_HOURS: Final = 24 * (FLIGHT_DAYS_MAX + 1)
CELLS: Final = {"tweet_id": "Int64", "type": "UInt8", "hour": "UInt32", "n": "Int64"}
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS cells (tweet_id Int64, type UInt8, hour UInt32, n Int64)
ENGINE = {engine} PRIMARY KEY tweet_id ORDER BY (tweet_id, hour, type)
SETTINGS {settings}
"""
# Servers older than this know no compressed blocks of another size, no deduplication tokens, and do
# not sync an insert to the disk.
_NEW: Final = 22


def create_cells(version: int, *, zookeeper_path: str | None, replica: int) -> str:
    """Return the statement that creates the table of counters on a server of this major version.

    `zookeeper_path` is that of the shard's table if the shard has replicas, otherwise None.
    """
    settings = ["index_granularity = 1024"]
    if version >= _NEW:
        settings += ["min_compress_block_size = 4096", "max_compress_block_size = 16384"]
        settings += ["fsync_after_insert = 1", "fsync_part_directory = 1"]
    engine = "SummingMergeTree((n))"
    if zookeeper_path is not None:
        settings.append("replicated_deduplication_window = 10000")
        engine = f"ReplicatedSummingMergeTree('{zookeeper_path}', '{replica}', (n))"
    elif version >= _NEW:
        settings.append("non_replicated_deduplication_window = 10000")
    return _CREATE.format(engine=engine, settings=", ".join(settings))


def insert_settings(version: int, token: int) -> dict[str, str]:
    """Return the settings of an insert: synchronous, and dropped if the token is known."""
    if version < _NEW:
        return {}
    return {"insert_deduplication_token": f"t{token}", "async_insert": "0"}
