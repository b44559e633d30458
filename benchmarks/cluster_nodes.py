"""Requests/s of two API nodes over those of one, with the stores of a cluster.

All of it runs on the same few cores, so each node may use only a fifth of one: it is stopped four
fifths of the time. The databases and the load generator have the rest.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import product
import serving
from cryptography.fernet import Fernet
from load import drive
from measure import Spread, ratios, tree
from product import Server
from world import World, make_keys, register

from openengagement.engagement.types import Endpoint, snowflake
from openengagement.registry.opening import init_registry

NODES = 2
TWEETS = 2_000
CONNECTIONS = 8
PERIOD_S, SHARE = 0.02, 0.2


def two_nodes(
    folder: Path, registry: str, store: str, *, rounds: int, sample_s: float
) -> dict[str, Spread]:
    """Measure `/totals` with one Tweet, in turns."""
    init_registry(registry)
    keys = Fernet.generate_key().decode()
    nodes = [folder / f"node{number}" for number in range(NODES)]
    for data in nodes:
        product.use_stores(data, registry=registry, store=store, server_keys=keys)
    world = _world(nodes[0])
    one, all_together = [], []
    with ExitStack() as stack:
        servers = [stack.enter_context(product.serving(data)) for data in nodes]
        stack.enter_context(_slowed(servers))
        makers = [_maker(world, server) for server in servers]
        amount = max(20, int(_rate(servers[:1], makers, 50) * sample_s))
        for _ in range(rounds):
            one.append(_rate(servers[:1], makers, amount))
            all_together.append(_rate(servers, makers, amount))
    return {
        "one_rate": Spread.of(one),
        "two_rate": Spread.of(all_together),
        "ratio": ratios(all_together, one),
    }


def _world(data: Path) -> World:
    born_s = int(time.time()) - 86_400
    ids = np.array([snowflake(born_s + each) for each in range(TWEETS)])
    born = pl.from_epoch(np.full(TWEETS, born_s))
    register(data, pl.DataFrame({"id": ids, "author_id": 1, "created_at": born}))
    return World(data, make_keys(data), ids.tolist())


def _maker(world: World, server: Server) -> Callable[[int], list[bytes]]:
    source = serving.RequestSource(world, server.port)
    return lambda amount: source.requests(
        Endpoint.TOTALS,
        source.bodies(amount, tweets=1, types=serving.PRIVATE, groupings=serving.BY_TWEET),
    )


def _rate(
    servers: Sequence[Server], makers: Sequence[Callable[[int], list[bytes]]], amount: int
) -> float:
    """Return the requests/s of all servers together."""

    def one(server: Server, requests: list[bytes]) -> float:
        return drive(server.port, requests, connections=CONNECTIONS).rate

    requests = [make(amount) for make, _ in zip(makers, servers, strict=False)]
    with ThreadPoolExecutor(len(servers)) as pool:
        return sum(pool.map(one, servers, requests))


@contextmanager
def _slowed(servers: Sequence[Server]) -> Iterator[None]:
    """Let each server run a share of the time."""
    ended = threading.Event()

    def slow(server: Server) -> None:
        processes = tree(server.pid)
        while not ended.is_set():
            _send(processes, signal.SIGSTOP)
            time.sleep(PERIOD_S * (1 - SHARE))
            _send(processes, signal.SIGCONT)
            time.sleep(PERIOD_S * SHARE)

    threads = [threading.Thread(target=slow, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _send(processes: Sequence[int], number: signal.Signals) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
