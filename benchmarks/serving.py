"""Rate and CPU of the data API, compared with a bare handler and with the store alone."""

import gzip
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec
import numpy as np
import polars as pl
import product
import signing
from load import Driven, drive
from measure import Spread, cores, cpu_s, ratios
from product import Server
from sizes import Sizes
from world import World

from openengagement.clock import SystemClock
from openengagement.data_folder import open_data_folder
from openengagement.engagement.access import ACCESS, Context
from openengagement.engagement.grouping import build_cube, fold_grouping
from openengagement.engagement.types import Dimension, Endpoint, format_time
from openengagement.http.encoding import compress
from openengagement.settings import Settings
from openengagement.stores.contract import Stores

CONNECTIONS = 16
SAMPLE_S = 1.5  # how long one run should take
WARM_UP = 400
SLOW_CONNECTIONS = 4
PRIVATE = ["impressions", "engagements", "favorites"]
PUBLIC = ["favorites", "retweets", "replies"]
TOTALS_TYPES = list(ACCESS[Endpoint.TOTALS])
PUBLIC_TYPES = [
    name for name, rule in ACCESS[Endpoint.TOTALS].items() if rule.context is Context.APP_ONLY
]
# The old name of one of them left out.
TIMED_TYPES = [name for name, rule in ACCESS[Endpoint.HISTORICAL].items() if rule.counted == name]
BY_TWEET = {"by tweet": ["tweet.id", "engagement.type"]}
HOURLY = {"hourly": ["tweet.id", "engagement.type", "engagement.day", "engagement.hour"]}
THREE = {
    **HOURLY,
    "by day": ["engagement.type", "engagement.day"],
    "by hour": ["tweet.id", "engagement.hour"],
}


Maker = Callable[[int], list[bytes]]  # so many requests, signed now


@dataclass(slots=True)
class Case:
    """One kind of request, and its runs."""

    name: str
    server: Server
    make: Maker
    connections: int = CONNECTIONS
    amount: int = 0
    runs: list[Driven] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def warm_up(self, core: int | None, sample_s: float) -> None:
        """Warm up, and find the number of requests for one run."""
        first = max(20, WARM_UP * self.connections // CONNECTIONS)
        driven = drive(self.server.port, self.make(first), connections=self.connections, core=core)
        self.amount = max(10, int(driven.rate * sample_s))

    def run(self, core: int | None) -> None:
        requests = self.make(self.amount)
        before = cpu_s(self.server.pid)
        driven = drive(self.server.port, requests, connections=self.connections, core=core)
        used_s = cpu_s(self.server.pid) - before
        self.runs.append(driven)
        self.cpu_us.append(used_s / driven.requests * 1e6)

    def figures(self) -> dict[str, Spread]:
        """Return requests/s, the server's CPU per request, latency, and the generator's share."""
        runs = self.runs
        return {
            "rate": Spread.of([each.rate for each in runs]),
            "cpu_us": Spread.of(self.cpu_us),
            "p50_ms": Spread.of([each.percentile_ms(0.5) for each in runs]),
            "p99_ms": Spread.of([each.percentile_ms(0.99) for each in runs]),
            "generator_share": Spread.of([each.cpu_s / each.wall_s for each in runs]),
            "generator_ceiling": Spread.of([each.requests / each.cpu_s for each in runs]),
            "answer_bytes": Spread.of([float(len(each.last_answer)) for each in runs]),
        }


def alternate(
    cases: Sequence[Case], rounds: int, *, core: int | None = None, sample_s: float = SAMPLE_S
) -> None:
    """Run the cases in turn, so that a disturbance of the machine affects all of them.

    `core` is the generator's core, if it has one of its own.
    """
    for case in cases:
        case.warm_up(core, sample_s)
    for _ in range(rounds):
        for case in cases:
            case.run(core)


class RequestSource:
    """Generates requests for random Tweets of the owner."""

    def __init__(self, world: World, port: int) -> None:
        self._world = world
        self._port = port
        self._random = random.Random(7)

    def tweets(self, number: int) -> list[int]:
        return self._random.sample(self._world.tweet_ids, number)

    def requests(
        self, endpoint: Endpoint, bodies: Sequence[bytes], *, bearer: bool = False
    ) -> list[bytes]:
        path = f"/insights/engagement/{endpoint}"
        return signing.requests(self._world.keys, self._port, path, bodies=bodies, bearer=bearer)

    def bodies(
        self, amount: int, *, tweets: int, types: Sequence[str], groupings: dict[str, list[str]]
    ) -> list[bytes]:
        """Return this many bodies, each for newly drawn Tweets."""
        return [body(self.tweets(tweets), types, groupings) for _ in range(amount)]


def body(
    tweet_ids: Sequence[int], types: Sequence[str], groupings: dict[str, list[str]], **more: str
) -> bytes:
    """Build a request's JSON."""
    return msgspec.json.encode(
        {
            "tweet_ids": list(map(str, tweet_ids)),
            "engagement_types": types,
            "groupings": {name: {"group_by": group_by} for name, group_by in groupings.items()},
            **more,
        }
    )


def one_tweet(world: World, rounds: int) -> dict[str, dict[str, Spread]]:
    """Measure `/totals` with one Tweet, OAuth 1.0a and bearer, and the bare handler."""
    with ExitStack() as stack:
        core = cores()[0]
        server = stack.enter_context(product.serving(world.data, core=core))
        plain = stack.enter_context(product.bare(core=core))
        ours, theirs = RequestSource(world, server.port), RequestSource(world, plain.port)

        def make(
            source: RequestSource, types: list[str], *, bearer: bool = False
        ) -> Callable[..., list]:
            return lambda amount: source.requests(
                Endpoint.TOTALS,
                source.bodies(amount, tweets=1, types=types, groupings=BY_TWEET),
                bearer=bearer,
            )

        cases = [
            Case("bare", plain, make(theirs, PRIVATE)),
            Case("oauth1", server, make(ours, PRIVATE)),
            Case("bearer", server, make(ours, PUBLIC, bearer=True)),
        ]
        alternate(cases, rounds, core=cores()[1])
    figures = {case.name: case.figures() for case in cases}
    bare = cases[0]
    for case in cases[1:]:
        check_gzip(case.runs[-1].last_answer)
        rates = [[run.rate for run in each.runs] for each in (case, bare)]
        figures[case.name]["rate_ratio"] = ratios(*rates)
        figures[case.name]["cpu_ratio"] = ratios(bare.cpu_us, case.cpu_us)
    return figures


def many_tweets(world: World, rounds: int) -> dict[str, dict[str, Spread]]:
    """Measure `/totals` with 250 Tweets and 7 types, and parts of its work.

    The parts are the store's reads of the same Tweets, and the floor: a bare handler that receives
    the same requests, and in process, the text of the answer and its gzip.
    """
    requested: list[list[int]] = []

    def make(source: RequestSource, amount: int) -> list[bytes]:
        requested[:] = [source.tweets(250) for _ in range(amount)]
        bodies = [body(each, TOTALS_TYPES, BY_TWEET) for each in requested]
        return source.requests(Endpoint.TOTALS, bodies)

    with ExitStack() as stack:
        core, free = cores()
        servers = {
            "bare_large": stack.enter_context(product.bare(core=core)),
            "whole": stack.enter_context(product.serving(world.data, core=core)),
        }
        cases = {
            name: Case(name, server, partial(make, RequestSource(world, server.port)))
            for name, server in servers.items()
        }
        alternate([*cases.values()], 0, core=free)
        parts = open_data_folder(world.data, Settings(), clock=SystemClock())
        stack.callback(parts.close)
        used = _parts_of_totals(parts.stores)
        parts_us: dict[str, list[float]] = {name: [] for name in used}
        for _ in range(rounds):
            for case in cases.values():
                case.run(free)
            for name, use in used.items():
                parts_us[name].append(read_us(use, requested))
    bare, whole = cases["bare_large"], cases["whole"]
    check_gzip(whole.runs[-1].last_answer)
    floor_us = [a + b for a, b in zip(bare.cpu_us, parts_us.pop("text"), strict=True)]
    figures = {"whole": whole.figures(), "floor": {"cpu_us": Spread.of(floor_us)}}
    figures["whole"]["cpu_ratio"] = ratios(whole.cpu_us, floor_us)
    return figures | {name: {"cpu_us": Spread.of(values)} for name, values in parts_us.items()}


def _parts_of_totals(stores: Stores) -> dict[str, Callable[[list[int]], object]]:
    """Return parts of the work on a request, as functions of its Tweets."""

    def text(ids: list[int]) -> bytes:
        cube = build_cube(counts, ids, types=TOTALS_TYPES, window=None)
        return compress(fold_grouping((Dimension.TWEET, Dimension.TYPE), cube))

    counts = np.random.default_rng(5).geometric(0.02, (250, len(TOTALS_TYPES), 1))
    return {
        "read_totals": lambda ids: stores.counters.read_totals(ids, TOTALS_TYPES),
        "read_tweets": stores.tweets.read_tweets,
        "text": text,
    }


def first_reads(world: World, rounds: int) -> dict[str, dict[str, Spread]]:
    """Measure `/totals` with 250 Tweets each that a new server was never asked for.

    An app alone asks for the public types of every Tweet, because the owner has too few.
    """
    tweets = pl.read_parquet(world.data.with_name(f"{world.data.name}-tweets.parquet"))
    ids = tweets["id"].shuffle(seed=7).to_list()
    cases = []
    for _ in range(rounds):
        with product.serving(world.data, core=cores()[0]) as server:
            source = RequestSource(world, server.port)

            def make(amount: int, source: RequestSource = source) -> list[bytes]:
                slices = (ids[250 * each :][:250] for each in range(amount))
                bodies = [body(each, PUBLIC_TYPES, BY_TWEET) for each in slices]
                return source.requests(Endpoint.TOTALS, bodies, bearer=True)

            case = Case("first", server, make, amount=len(ids) // 250 - 1)
            warm_up = [body(ids[-1:], PUBLIC_TYPES, BY_TWEET)] * WARM_UP
            requests = source.requests(Endpoint.TOTALS, warm_up, bearer=True)
            drive(server.port, requests, connections=CONNECTIONS, core=cores()[1])
            case.run(cores()[1])
            cases.append(case)
    runs, cpu_us = [each.runs[0] for each in cases], [each.cpu_us[0] for each in cases]
    check_gzip(runs[-1].last_answer)
    return {"first": replace(cases[-1], runs=runs, cpu_us=cpu_us).figures()}


def read_us(read: Callable[[list[int]], object], requested: Sequence[list[int]]) -> float:
    """Return the CPU time of one read, in microseconds, on the server's core."""
    read(requested[0])
    began = time.process_time()
    for tweet_ids in requested:
        read(tweet_ids)
    return (time.process_time() - began) / len(requested) * 1e6


def timed(world: World, rounds: int) -> dict[str, dict[str, Spread]]:
    """Measure `/28hr` and `/historical` at their largest."""
    with product.serving(world.data, core=cores()[0]) as server:
        source = RequestSource(world, server.port)
        cases = [
            Case("28hr", server, last_28_hours(source), SLOW_CONNECTIONS),
            Case("historical", server, historical(source), SLOW_CONNECTIONS),
        ]
        alternate(cases, rounds, core=cores()[1])
    return _answered(cases)


def both_cores(world: World, sizes: Sizes) -> dict[str, dict[str, Spread]]:
    """Measure all three at their largest; one worker per core, shared with the generator."""
    # Enough connections that every worker gets some.
    with product.serving(world.data, workers=len(os.sched_getaffinity(0))) as server:
        source = RequestSource(world, server.port)
        cases = [
            Case("totals_both", server, totals(source)),
            Case("28hr_both", server, last_28_hours(source)),
            Case("historical_both", server, historical(source)),
            Case("historical_alone", server, historical(source), connections=1),
        ]
        alternate(cases, sizes.rounds, sample_s=sizes.sample_s)
    return _answered(cases)


def totals(source: RequestSource) -> Maker:
    """`/totals` with 250 Tweets and 7 types."""
    return lambda amount: source.requests(
        Endpoint.TOTALS,
        source.bodies(amount, tweets=250, types=TOTALS_TYPES, groupings=BY_TWEET),
    )


def last_28_hours(source: RequestSource) -> Maker:
    """`/28hr` with 25 Tweets and 17 types, hourly."""
    return lambda amount: source.requests(
        Endpoint.LAST_28_HOURS,
        source.bodies(amount, tweets=25, types=TIMED_TYPES, groupings=HOURLY),
    )


def historical(source: RequestSource) -> Maker:
    """`/historical` with 25 Tweets, 17 types, 672 hours and three groupings."""
    now_s = int(time.time())
    window = {"start": format_time(now_s - 28 * 86_400), "end": format_time(now_s)}
    return lambda amount: source.requests(
        Endpoint.HISTORICAL,
        [body(source.tweets(25), TIMED_TYPES, THREE, **window) for _ in range(amount)],
    )


def _answered(cases: Sequence[Case]) -> dict[str, dict[str, Spread]]:
    for case in cases:
        check_gzip(case.runs[-1].last_answer)
    return {case.name: case.figures() for case in cases}


def check_gzip(answer: bytes) -> None:
    head, _, packed = answer.partition(b"\r\n\r\n")
    if b"content-encoding: gzip" not in head.lower():
        raise RuntimeError("an answer is not gzip")
    msgspec.json.decode(gzip.decompress(packed))
