"""A cluster on this machine: three shards of a current ClickHouse, and PostgreSQL.

Servers and clients share the cores. Each read of the store is compared with its queries alone: sent
to all shards at once, and the answers not decoded.
"""

import multiprocessing
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cluster_nodes
import numpy as np
import polars as pl
import psycopg
from measure import Spread, ratios

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from openengagement.clock import SystemClock
from openengagement.engagement.access import ACCESS
from openengagement.engagement.rollup import EVENT_SCHEMA, fold_events
from openengagement.engagement.types import EVENT_TYPES, TYPE_NAMES, Endpoint
from openengagement.ingest.writer import BatchWriter
from openengagement.limits.contract import Nonce
from openengagement.limits.opening import init_limits, open_limits
from openengagement.stores.cluster.layout import open_replicas, parse_url
from openengagement.stores.cluster.opening import init_cluster, open_cluster
from openengagement.stores.cluster.reading import CellReader, Reading
from openengagement.stores.cluster.replicas import InSync, InSyncSet
from openengagement.stores.cluster.store import ClusterStore
from openengagement.stores.contract import Applied, Batch
from support.clickhouse import SHARDS, ModernCluster
from support.postgresql import PostgresqlServer

DATABASE = "bench"
KEEP_DAYS = 90
LARGE_BATCH, SMALL_BATCH = 50_000, 5_000
IN_FLIGHT = {LARGE_BATCH: 4, SMALL_BATCH: 32}  # batches that producers send at the same time
TYPES_LOADED = 5
HOURS_LOADED = 10
HEAVY = 2_000  # Tweets with every type in every hour of four weeks
WINDOW_HOURS = 28 * 24
NOW_HOUR = 495_000
ASKED = 60  # reads in a round
LIMIT_PROCESSES, LIMIT_THREADS, LIMIT_S = 2, 4, 3.0
TOTALS_TYPES = list(ACCESS[Endpoint.TOTALS])
TIMED_TYPES = [name for name, rule in ACCESS[Endpoint.HISTORICAL].items() if rule.counted == name]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Running servers with an empty database, and a store on them."""

    servers: ModernCluster
    postgresql: str
    store: ClusterStore


@contextmanager
def started() -> Iterator[Cluster]:
    """Start all servers. PostgreSQL commits durably, as in production."""
    server = PostgresqlServer(
        fsync="on", synchronous_commit="on", full_page_writes="on", shared_buffers="1GB"
    )
    try:
        with ModernCluster() as servers:
            init_limits(server.url)
            init_cluster(server.url, servers.url(DATABASE))
            store = open_cluster(
                server.url,
                servers.url(DATABASE),
                clock=SystemClock(),
                idempotency_keep_days=KEEP_DAYS,
            )
            with closing(store):
                yield Cluster(servers, server.url, store)
    finally:
        server.remove()


def cluster(
    folder: Path, rounds: int, *, tweets: int, sample_s: float
) -> dict[str, dict[str, Spread]]:
    """Measure counting, reads, limits, and a second API node."""
    with started() as made:
        counting = {
            f"cluster_counting_{size}": _counting(made.store, size, rounds, sample_s=sample_s)
            for size in (LARGE_BATCH, SMALL_BATCH)
        }
        _fill(made, tweets)
        reading = {
            "cluster_totals": _reading(made, rounds, _Totals(tweets)),
            "cluster_historical": _reading(made, rounds, _Historical()),
        }
        return {
            **counting,
            **reading,
            "cluster_limits": _limits(made.postgresql, rounds),
            "cluster_nodes": cluster_nodes.two_nodes(
                folder,
                made.postgresql,
                made.servers.url(DATABASE),
                rounds=rounds,
                sample_s=sample_s / 2,
            ),
        }


def _counting(store: ClusterStore, size: int, rounds: int, *, sample_s: float) -> dict[str, Spread]:
    """Count batches of so many events, several at once. Folding is part of the rate."""
    rates, cpu = [], []
    for number in range(rounds + 1):
        events, wall_s, own_s = _count(store, size, sample_s=sample_s, seed=number)
        if number:  # the first one warms up
            rates.append(events / wall_s)
            cpu.append(own_s / events * 1e6)
    return {"rate": Spread.of(rates), "cpu_s_per_million": Spread.of(cpu)}


def _count(
    store: ClusterStore, size: int, *, sample_s: float, seed: int
) -> tuple[int, float, float]:
    """Return the events, the time, and our CPU time without that of folding."""
    frames = [_events(size, seed * 100 + each) for each in range(8)]
    failures: list[BaseException] = []
    writer = BatchWriter(store, queue_max=1000, on_failure=failures.append)
    free = threading.Semaphore(IN_FLIGHT[size])
    waiting: list[Future[Applied]] = []
    folding_s = 0.0
    began_s, cpu_before_s = time.perf_counter(), time.process_time()
    while time.perf_counter() - began_s < sample_s:
        free.acquire()
        fold_began_s = time.thread_time()
        deltas = fold_events(frames[len(waiting) % len(frames)])
        folding_s += time.thread_time() - fold_began_s
        key = f"{size} {seed} {len(waiting)}".encode()
        future = writer.submit(Batch(deltas, key, b"digest", b"outcome"))
        future.add_done_callback(lambda _: free.release())
        waiting.append(future)
    for future in waiting:
        future.result()
    wall_s = time.perf_counter() - began_s
    own_s = time.process_time() - cpu_before_s - folding_s
    writer.close()
    if failures:
        raise RuntimeError(f"a commit failed: {failures[0]}")
    return size * len(waiting), wall_s, own_s


def _events(size: int, seed: int) -> pl.DataFrame:
    """Make events of the last two hours. Few Tweets have most of them."""
    rng = np.random.default_rng(seed)
    ids = 1 + (10_000_000 * rng.random(size) ** 4).astype(np.int64)
    shares = np.array([40 if name == "impressions" else 3 for name in EVENT_TYPES], float)
    columns = {
        "tweet_id": ids,
        "type": pl.Series(EVENT_TYPES).gather(
            rng.choice(len(EVENT_TYPES), size, p=shares / shares.sum())
        ),
        "hour": NOW_HOUR + rng.integers(0, 2, size),
        "count": np.ones(size, np.int64),
        "promoted": np.zeros(size, np.bool_),
    }
    return pl.DataFrame(columns, schema_overrides=EVENT_SCHEMA)


def _fill(made: Cluster, tweets: int) -> None:
    """Fill the tables as if so many Tweets had been counted, and merge them."""
    every_type, hour = f"arrayJoin(range({len(TYPE_NAMES)}))", NOW_HOUR
    for node in made.servers.nodes:
        mine = f"intHash64(tweet_id) % {SHARDS} = {node.shard - 1}"  # see `routing.shards_of`
        for columns, number in (
            (f"arrayJoin(range({TYPES_LOADED})), 0, 70", tweets),
            (f"number % {TYPES_LOADED}, {hour} - 7 * arrayJoin(range({HOURS_LOADED})), 7", tweets),
            (f"{every_type}, {hour} - arrayJoin(range({WINDOW_HOURS})), 3", HEAVY),
        ):
            rows = f"SELECT number + 1 AS tweet_id, {columns} FROM numbers({number}) WHERE {mine}"
            node.run(f"INSERT INTO cells {rows}", database=DATABASE)
        node.run("OPTIMIZE TABLE cells FINAL", database=DATABASE)
    with psycopg.connect(made.postgresql, autocommit=True) as db:
        db.execute("SET statement_timeout = 0")
        db.execute(
            "INSERT INTO tweets SELECT id, id %% 1000000, 1700000000, NULL, false "
            "FROM generate_series(1, %s) AS id ON CONFLICT DO NOTHING",
            (tweets,),
        )
        db.execute("VACUUM ANALYZE tweets")


@dataclass(frozen=True, slots=True)
class _Totals:
    """Totals of 250 random Tweets."""

    tweets: int

    def draw(self, chance: random.Random) -> list[int]:
        return [chance.randint(1, self.tweets) for _ in range(250)]

    def read(self, store: ClusterStore, ids: Sequence[int]) -> None:
        store.read_totals(ids, TOTALS_TYPES)

    def start(self, reader: CellReader, in_sync: InSync, ids: Sequence[int]) -> Reading:
        return reader.start_totals(list(dict.fromkeys(ids)), in_sync)


@dataclass(frozen=True, slots=True)
class _Historical:
    """All hours of four weeks of 25 Tweets that have a count in each."""

    def draw(self, chance: random.Random) -> list[int]:
        return chance.sample(range(1, HEAVY + 1), 25)

    def read(self, store: ClusterStore, ids: Sequence[int]) -> None:
        start_hour = NOW_HOUR - WINDOW_HOURS
        store.read_buckets(ids, TIMED_TYPES, start_hour=start_hour, end_hour=NOW_HOUR)

    def start(self, reader: CellReader, in_sync: InSync, ids: Sequence[int]) -> Reading:
        types = [TYPE_NAMES.index(name) for name in TIMED_TYPES]
        hours = range(NOW_HOUR - WINDOW_HOURS, NOW_HOUR)
        return reader.start_buckets(ids, in_sync, types=types, hours=hours)


def _reading(made: Cluster, rounds: int, kind: _Totals | _Historical) -> dict[str, Spread]:
    """Measure a read of the store beside its queries alone, in turns, and our CPU time in it."""
    with psycopg.connect(made.postgresql) as db:
        servers = open_replicas(db, parse_url(made.servers.url(DATABASE)))
    replicas = InSyncSet(servers, lambda: psycopg.connect(made.postgresql))
    reader = CellReader(replicas)
    chance = random.Random(7)
    p50_ms, beside_ms, own_ms = [], [], []
    for _ in range(rounds):
        took: list[list[float]] = [[], [], []]
        for _ in range(ASKED):
            ids = kind.draw(chance)
            began_s = time.perf_counter()
            kind.start(reader, replicas.shards, ids).receive()
            took[1].append(time.perf_counter() - began_s)
            ids = kind.draw(chance)
            began_s, cpu_before_s = time.perf_counter(), time.thread_time()
            kind.read(made.store, ids)
            took[0].append(time.perf_counter() - began_s)
            took[2].append(time.thread_time() - cpu_before_s)
        for found, each in zip((p50_ms, beside_ms, own_ms), took, strict=True):
            found.append(statistics.median(each) * 1000)
    return {
        "p50_ms": Spread.of(p50_ms),
        "beside_ms": Spread.of(beside_ms),
        "ratio": ratios(p50_ms, beside_ms),
        "own_cpu_ms": Spread.of(own_ms),
    }


def _limits(postgresql: str, rounds: int) -> dict[str, Spread]:
    """Measure signed requests/s that the limits can decide on, for all processes together."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(LIMIT_PROCESSES) as pool:
        rates = [
            sum(pool.starmap(_count_requests, [(postgresql,)] * LIMIT_PROCESSES, chunksize=1))
            for _ in range(rounds)
        ]
    return {"rate": Spread.of(rates)}


def _count_requests(postgresql: str) -> float:
    """Return the requests/s of one process."""
    limits = open_limits(Path(), postgresql)
    done = [0] * LIMIT_THREADS
    end_s = time.perf_counter() + LIMIT_S

    def work(number: int) -> None:
        while time.perf_counter() < end_s:
            nonce = Nonce(int(time.time()), os.urandom(16))
            subject = b"app %d" % random.randrange(1000)
            limits.remember_nonce_and_count(nonce, subject, limits={60: 1000}, now_s=time.time())
            done[number] += 1

    threads = [threading.Thread(target=work, args=(each,)) for each in range(LIMIT_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    limits.close()
    return sum(done) / LIMIT_S
