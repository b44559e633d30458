"""The memory of an idle server, and the time until it is ready."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import product
from loading import HIGGS
from measure import Spread, memory_mib
from product import Server
from world import World

REST_S = 6.0  # long enough for one round of the server's housekeeping


def server_at_rest(world: World, rounds: int) -> dict[str, Spread]:
    return _rest(lambda _: product.serving(world.data), rounds)


def sandbox_at_rest(folder: Path, rounds: int) -> dict[str, Spread]:
    """Measure a sandbox as `make run` starts it, on the real week if there is one."""
    options = ["--higgs", str(HIGGS)] if HIGGS.exists() else []
    return _rest(lambda at: product.sandbox(folder / f"sandbox-{at}", *options), rounds)


def _rest(start: Callable[[int], AbstractContextManager[Server]], rounds: int) -> dict[str, Spread]:
    """Start it a few times; measure its memory once, after a rest."""
    ready = []
    memory: dict[str, float] = {}
    for index in range(rounds):
        with start(index) as server:
            ready.append(server.ready_s)
            if index == rounds - 1:
                time.sleep(REST_S)
                memory = memory_mib(server.pid)
    figures = {f"{name}_mib": Spread.of([value]) for name, value in memory.items()}
    return {"ready_s": Spread.of(ready), **figures}
