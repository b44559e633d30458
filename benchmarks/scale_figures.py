"""The figures that sizes are computed from: measured ones, and what is assumed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "results.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value with its unit, and where it was measured."""

    what: str
    value: float
    unit: str
    where: str

    def row(self) -> str:
        value = f"{self.value:,.2f}".rstrip("0").rstrip(".")
        return f"| {self.what} | {value} {self.unit} | {self.where} |"


def _median(part: str, name: str) -> float:
    figures: Any = json.loads(RESULTS.read_text())["figures"]
    return float(figures[part][name]["median"])


_BENCH = "[benchmarks](benchmarks/README.md)"
_CONSUMING = "[consuming](consuming.md#memory)"
_MODERN = "ClickHouse 26.7, three shards, one replica each"
_REPLICATED = "ClickHouse 18.16, three shards, two replicas each, both acknowledge"
_POSTGRESQL = "PostgreSQL 15, 10 million Tweets"

# Cores, seconds and bytes of one machine with two cores. Client and servers share them.
MEASURED = {
    "http_us": Figure(
        "CPU of a server per event: HTTP, parsing, folding, counting in files",
        _median("stream_http", "cpu_us"),
        "µs",
        _BENCH,
    ),
    "cluster_us": Figure(
        "our CPU per event on a cluster, after folding",
        _median("cluster_counting_50000", "cpu_s_per_million"),
        "µs",
        _BENCH,
    ),
    "embedded_bytes": Figure(
        "data folder: bytes per counter, compacted",
        _median("space", "bytes_per_counter"),
        "bytes",
        _BENCH,
    ),
    "embedded_tweet_bytes": Figure(
        "data folder: bytes per Tweet", 106, "bytes", "8 million Tweets in 850 MB"
    ),
    "prune_embedded": Figure(
        "data folder: `prune` of 100 million counters",
        _median("prune", "took_s"),
        "s",
        _BENCH,
    ),
    "totals_ms": Figure(
        "cluster: `/totals` of 250 Tweets, queries alone, on two cores",
        _median("cluster_totals", "beside_ms"),
        "ms",
        _BENCH,
    ),
    "totals_us": Figure(
        "server: CPU of `/totals` with 250 Tweets",
        _median("totals_both", "cpu_us"),
        "µs",
        _BENCH,
    ),
    "parts_1_ms": Figure("the same in the lab, 1 part in each shard", 14.1, "ms", _MODERN),
    "parts_10_ms": Figure("the same, 10 parts", 18.6, "ms", _MODERN),
    "parts_100_ms": Figure("the same, 100 parts", 56.8, "ms", _MODERN),
    "limits_rate": Figure(
        "PostgreSQL: limits of signed requests, on two cores",
        _median("cluster_limits", "rate"),
        "per second",
        _BENCH,
    ),
    "row_bytes": Figure(
        "ClickHouse: bytes per row of a merged table", 260e6 / 58e6, "bytes", _MODERN
    ),
    "part_ms": Figure("ClickHouse: CPU of a part, however small", 15, "ms", _MODERN),
    "row_us": Figure("ClickHouse: CPU per row beyond that", 0.6, "µs", _MODERN),
    "merge_us": Figure("ClickHouse: a row in a merge", 13.3e6 / 87e6, "µs", _MODERN),
    "delete_rate": Figure(
        "ClickHouse: rows that `prune` rewrites, on two cores", 58e6 / 3.9, "per second", _MODERN
    ),
    "commit_5k_ms": Figure("time of a commit of 5,000 events", 5e3 / 45e3 * 1e3, "ms", _REPLICATED),
    "commit_50k_ms": Figure("the same of 50,000 events", 5e4 / 385e3 * 1e3, "ms", _REPLICATED),
    "tweet_bytes": Figure("PostgreSQL: bytes per Tweet, with indexes", 258, "bytes", _POSTGRESQL),
    "tweet_index_bytes": Figure("PostgreSQL: of these, in indexes", 64, "bytes", _POSTGRESQL),
    "server_mib": Figure("memory of a server that counts, at most", 500, "MiB", _BENCH),
    "consumer_mib": Figure("memory of a consumer, at most", 400, "MiB", _CONSUMING),
    "wal_bytes": Figure("PostgreSQL: log written per event", 1, "byte", _POSTGRESQL),
    "stream_mb": Figure(
        "NATS: published to a stream, in messages of 8 KiB",
        9_500 * 8_192 / 1e6,
        "MB/s",
        "NATS 2.15, three nodes, each message on all",
    ),
    "event_bytes": Figure("an event as NDJSON", 84, "bytes", _BENCH),
}


def measured(name: str) -> float:
    return MEASURED[name].value


# The Higgs week: share of all interactions that go to the so many busiest of its Tweets. Measured
# once from the file, by `scale.py --higgs FILE`, which prints these figures.
HIGGS_TWEETS = 59_977
HIGGS_EVENTS = 563_069
HIGGS_BUSIEST_HOUR = 45_861
HIGGS_HOURS = 168
HIGGS_SHARES = {1: 0.0639, 10: 0.1500, 100: 0.3242, 1_000: 0.5996, 10_000: 0.8305}


@dataclass(frozen=True, slots=True)
class Step:
    """A platform of some size. Rates are those of its busiest hour."""

    name: str
    events_per_s: int
    tweets_per_day: int


# Each platform has the same number of events per Tweet.
STEPS = (
    Step("10 thousand", 10_000, 1_000_000),
    Step("1 million", 1_000_000, 100_000_000),
    Step("5 million", 5_000_000, 500_000_000),
)
TYPES_PER_TWEET = 5  # with `engagements`
HOURS_PER_TWEET = 20  # in which each of the types has a count
HOURS_KEPT_DAYS = 90
TOTALS_KEPT_DAYS = 1_826  # five years
BUSY = 0.5  # of its cores that a machine may use, and of its disk
CORES = 16  # of a machine for ClickHouse or PostgreSQL
DISK_TB = 8.0
API_CORES = 8
NETWORK_MB = 500  # per second that a new replica fetches
MERGED_PARTS = 10  # that ClickHouse merges into one
LARGEST_PART_GB = 150  # beyond which it merges no more, by default
REPLICAS = 2
EVENTS_PER_BATCH = 5_000
CONSUMER_EVENTS_PER_S = 200_000  # that one consumer counts
