"""Compute the machines of each step from the measured figures and the assumptions."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from scale_figures import (
    API_CORES,
    BUSY,
    CONSUMER_EVENTS_PER_S,
    CORES,
    DISK_TB,
    EVENTS_PER_BATCH,
    HOURS_KEPT_DAYS,
    HOURS_PER_TWEET,
    LARGEST_PART_GB,
    MERGED_PARTS,
    NETWORK_MB,
    REPLICAS,
    TOTALS_KEPT_DAYS,
    TYPES_PER_TWEET,
    Step,
    measured,
)
from scale_simulation import coalescing, folding, wide_ranks

TB = 1e12
_GRANULE_ROWS = 1_024  # `index_granularity` of the table
_ROW_BYTES_SENT = 21  # an id, a type, an hour and a count in the Native format
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Sizing:
    """The machines, disk and memory for one step of load. Counter sizes are for one copy."""

    step: Step

    @property
    def hour_counters(self) -> float:
        return self.step.tweets_per_day * TYPES_PER_TWEET * HOURS_PER_TWEET * HOURS_KEPT_DAYS

    @property
    def total_counters(self) -> float:
        return self.tweets * TYPES_PER_TWEET

    @property
    def tweets(self) -> float:
        return self.step.tweets_per_day * TOTALS_KEPT_DAYS

    @property
    def counters(self) -> float:
        return self.hour_counters + self.total_counters

    @property
    def consumers(self) -> int:
        return math.ceil(self.step.events_per_s / CONSUMER_EVENTS_PER_S)

    @property
    def commits_per_s(self) -> float:
        """The commits of all consumers. Each makes a part on every shard."""
        rate = self.step.events_per_s / self.consumers
        return self.consumers * coalescing(rate, EVENTS_PER_BATCH).commits_per_s

    @property
    def rows_per_event(self) -> float:
        """As when few Tweets of ten million have most events, in commits of 50,000."""
        found = next(each for each in folding(wide_ranks) if each.events == 50_000)
        return found.rows / found.events

    @property
    def our_cores(self) -> float:
        """Cores that parse, fold and send. An upper bound: it includes counting in files."""
        return self.step.events_per_s * (measured("http_us") + measured("cluster_us")) / 1e6

    @property
    def api_machines(self) -> int:
        return max(2, math.ceil(self.our_cores / BUSY / API_CORES))

    @property
    def merges(self) -> float:
        """How often a row is merged, from the part of its commit to the largest one."""
        part_rows = self.step.events_per_s / self.commits_per_s * self.rows_per_event / self.shards
        part_gb = part_rows * measured("row_bytes") / 1e9
        largest_gb = min(LARGEST_PART_GB, self.copy_tb * 1_000 / self.shards)
        return math.log(largest_gb / part_gb, MERGED_PARTS)

    @property
    def our_gib(self) -> float:
        """Memory of servers and consumers together, one server on each machine."""
        servers = self.api_machines * measured("server_mib")
        return (servers + self.consumers * measured("consumer_mib")) / 1_024

    @property
    def row_cores(self) -> float:
        """Cores of one copy of all shards for rows, without their merges."""
        return self.step.events_per_s * self.rows_per_event * measured("row_us") / 1e6

    @property
    def merge_cores(self) -> float:
        """Cores of one copy of all shards for merges."""
        rate = self.step.events_per_s * self.rows_per_event
        return rate * self.merges * measured("merge_us") / 1e6

    @property
    def replica_cores(self) -> float:
        """Cores at work of each replica."""
        return (self.row_cores + self.merge_cores) / self.shards + self.part_cores

    @property
    def part_cores(self) -> float:
        """Cores of one copy of one shard for parts."""
        return self.commits_per_s * measured("part_ms") / 1_000

    @property
    def shards(self) -> int:
        return math.ceil(self.copy_tb / (DISK_TB * BUSY))

    @property
    def clickhouse_machines(self) -> int:
        return self.shards * REPLICAS

    @property
    def copy_tb(self) -> float:
        return self.counters * measured("row_bytes") / TB

    @property
    def index_gib(self) -> float:
        """Memory of the primary index of a shard: one id for each granule."""
        return self.counters / self.shards / _GRANULE_ROWS * 8 / 2**30

    @property
    def largest_parts(self) -> float:
        """Parts of a replica that are too large to be merged again."""
        return max(1, self.copy_tb * 1_000 / self.shards / LARGEST_PART_GB)

    @property
    def fetch_hours(self) -> float:
        """Hours in which a new replica fetches its shard."""
        return self.copy_tb * 1e6 / self.shards / NETWORK_MB / 3_600

    @property
    def streams(self) -> int:
        """Streams of NATS, if each takes half of what was measured."""
        mb = self.step.events_per_s * measured("event_bytes") / 1e6
        return max(1, math.ceil(mb / measured("stream_mb") / BUSY))

    @property
    def tweets_tb(self) -> float:
        return self.tweets * measured("tweet_bytes") / TB

    @property
    def index_tb(self) -> float:
        return self.tweets * measured("tweet_index_bytes") / TB

    @property
    def tweets_days(self) -> float:
        """Days until the Tweets fill half of the disk of PostgreSQL."""
        per_day = self.step.tweets_per_day * measured("tweet_bytes")
        return DISK_TB * BUSY * TB / per_day

    @property
    def prune_hours(self) -> float:
        """Hours in which a shard rewrites its rows, with all its cores."""
        rate = measured("delete_rate") * CORES / 2
        return self.counters / self.shards / rate / 3_600

    @property
    def log_tb_per_day(self) -> float:
        return self.step.events_per_s * measured("event_bytes") * _DAY_S / TB

    @property
    def sent_mb(self) -> float:
        """Megabytes per second to each copy."""
        return self.step.events_per_s * self.rows_per_event * _ROW_BYTES_SENT / 1e6

    @property
    def keys(self) -> float:
        """Idempotency keys of 90 days, if batches come over HTTP."""
        return self.step.events_per_s / EVENTS_PER_BATCH * _DAY_S * HOURS_KEPT_DAYS


def cluster_rows(steps: tuple[Step, ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of the table of sizes: a label, and the cell of each step."""
    sizes = [Sizing(step) for step in steps]
    yield (
        "events in a day at that rate",
        [f"{each.step.events_per_s * _DAY_S / 1e9:,.1f} billion" for each in sizes],
    )
    yield "new Tweets a day", [f"{each.step.tweets_per_day / 1e6:,.0f} million" for each in sizes]
    yield "hourly counters", [f"{each.hour_counters / 1e9:,.0f} billion" for each in sizes]
    yield "totals", [f"{each.total_counters / 1e9:,.1f} billion" for each in sizes]
    yield "**API and consumers**: cores at work", [f"{each.our_cores:,.2f}" for each in sizes]
    yield f"machines with {API_CORES} cores", [f"{each.api_machines}" for each in sizes]
    yield "memory of servers and consumers, GiB", [f"{each.our_gib:,.1f}" for each in sizes]
    yield "consumers", [f"{each.consumers}" for each in sizes]
    yield "commits/s, all consumers", [f"{each.commits_per_s:,.0f}" for each in sizes]
    yield (
        "**ClickHouse**: disk of a copy, TB",
        [f"{each.copy_tb:,.2f}" for each in sizes],
    )
    yield "shards", [f"{each.shards}" for each in sizes]
    yield (
        f"machines with {CORES} cores and {DISK_TB:.0f} TB, {REPLICAS} replicas",
        [f"{each.clickhouse_machines}" for each in sizes],
    )
    yield "cores at work, each replica", [f"{each.replica_cores:,.2f}" for each in sizes]
    yield "of these, for parts of any size", [f"{each.part_cores:,.2f}" for each in sizes]
    yield "times that a row is merged", [f"{each.merges:,.1f}" for each in sizes]
    yield "largest parts, each replica", [f"{each.largest_parts:,.0f}" for each in sizes]
    yield (
        f"hours to fetch a new replica, at {NETWORK_MB} MB/s",
        [f"{each.fetch_hours:,.1f}" for each in sizes],
    )
    yield "memory for the index, each replica, GiB", [f"{each.index_gib:,.2f}" for each in sizes]
    yield "MB/s to each copy", [f"{each.sent_mb:,.1f}" for each in sizes]
    yield "`prune`, hours", [f"{each.prune_hours:,.1f}" for each in sizes]
    yield "**PostgreSQL**: Tweets, TB", [f"{each.tweets_tb:,.1f}" for each in sizes]
    yield "of this, indexes, TB", [f"{each.index_tb:,.2f}" for each in sizes]
    yield (
        f"days of Tweets in half of {DISK_TB:.0f} TB",
        [f"{each.tweets_days:,.0f}" for each in sizes],
    )
    yield (
        "its log, MB/s",
        [f"{each.step.events_per_s * measured('wal_bytes') / 1e6:,.2f}" for each in sizes],
    )
    yield (
        f"idempotency keys, batches of {EVENTS_PER_BATCH:,} over HTTP",
        [f"{each.keys / 1e6:,.0f} million" for each in sizes],
    )
    yield "**Event log**: TB a day, one copy", [f"{each.log_tb_per_day:,.2f}" for each in sizes]
    yield "streams of NATS", [f"{each.streams}" for each in sizes]


def folder_rows(step: Step) -> Iterator[tuple[str, str]]:
    """Yield the lines of the table of one machine with a data folder."""
    size = Sizing(step)
    folder_gb = size.counters * measured("embedded_bytes") / 1e9
    tweets_gb = size.tweets * measured("embedded_tweet_bytes") / 1e9
    yield "cores at work", f"{step.events_per_s * measured('http_us') / 1e6:,.2f}"
    yield "counters on disk, GB", f"{folder_gb:,.0f}"
    yield "free space for compaction, GB", f"{folder_gb:,.0f}"
    yield "Tweets on disk, GB", f"{tweets_gb:,.0f}"
    minutes = size.counters / 100e6 * measured("prune_embedded") / 60
    yield "`prune`, minutes", f"{minutes:,.0f}"
    # Batches wait a second for each 100 MB of the database of Tweets: docs/operating/erasing.md.
    yield "batches wait while an account is erased, minutes", f"{tweets_gb * 10 / 60:,.0f}"


def read_rows() -> Iterator[tuple[str, str]]:
    """Yield what 1,000 requests a second for 250 totals need."""
    yield "cores of API machines", f"{1_000 * measured('totals_us') / 1e6:,.1f}"
    yield "cores of ClickHouse, at most", f"{1_000 * measured('totals_ms') * 2 / 1_000:,.0f}"
    yield (
        "cores of PostgreSQL for limits and nonces",
        f"{1_000 / measured('limits_rate') * 2:,.2f}",
    )
