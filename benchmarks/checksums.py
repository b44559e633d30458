"""The cost of the checksums of segments: their share of a load, and of a read of warm counters.

python benchmarks/checksums.py DATA FILE...   load events, and print two CPU times in seconds: that
                                              of all checksums, and that of all work
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import product
from measure import Spread, ratios
from world import World

from openengagement.cli.main import main
from openengagement.clock import SystemClock
from openengagement.data_folder import open_data_folder
from openengagement.settings import Settings
from openengagement.stores.embedded import checksums, manifest, segments
from openengagement.stores.embedded.totals import FileTotals

READ_TYPES = ("favorites", "retweets", "replies", "video_views", "impressions", "engagements")
READS = 300
READ_TWEETS = 250


def share_of_load(folder: Path, files: Sequence[Path], rounds: int) -> Spread:
    """Return the share of a load's CPU time that goes into checksums."""
    shares = []
    for index in range(rounds):
        command = [sys.executable, __file__, str(folder / f"checksums-{index}"), *map(str, files)]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=product.environment()
        )
        spent_s, all_s = json.loads(done.stdout.splitlines()[-1])
        shares.append(spent_s / all_s)
    return Spread.of(shares)


def warm_read(world: World, rounds: int) -> Spread:
    """Divide the CPU time of reads of verified counters by that of counters without a verifier."""
    settings = Settings(totals_cached_max=0)
    folder = open_data_folder(world.data, settings, clock=SystemClock())
    store: Any = folder.stores.counters
    chance = np.random.default_rng(5)
    asked = [chance.choice(world.tweet_ids, READ_TWEETS).tolist() for _ in range(READS)]
    _read_us(store, [world.tweet_ids])  # verifies and opens everything
    mark, verified = store._reader._open  # noqa: SLF001
    files = [_without_verifier(segment) for segment in verified.totals.files]
    plain = replace(verified, totals=FileTotals(files, 0))
    found: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds + 1):
        for with_checksums, opened in ((True, verified), (False, plain)):
            store._reader._open = mark, opened  # noqa: SLF001
            found[with_checksums].append(_read_us(store, asked))
    folder.close()
    return ratios(found[True][1:], found[False][1:])


def _without_verifier(segment: Any) -> Any:  # noqa: ANN401
    totals = segment.totals and replace(segment.totals, verifier=None)
    return replace(segment, hours=replace(segment.hours, verifier=None), totals=totals)


def _read_us(store: Any, asked: Sequence[list[int]]) -> float:  # noqa: ANN401
    began = time.process_time()
    for tweet_ids in asked:
        store.read_totals(tweet_ids, READ_TYPES)
    return (time.process_time() - began) / len(asked) * 1e6


def _load(data: str, files: Sequence[str]) -> None:
    """Run the command in this process, and time every call that works on checksums."""
    spent: list[float] = []

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def measured(*args: Any, **named: Any) -> Any:  # noqa: ANN401
            began = time.thread_time()
            try:
                return call(*args, **named)
            finally:
                spent.append(time.thread_time() - began)

        return measured

    for name in ("add", "finish"):
        method = timed(getattr(checksums.BlockChecksums, name))
        setattr(checksums.BlockChecksums, name, method)
    for name in ("verify", "verify_range"):
        method = timed(getattr(checksums.BlockVerifier, name))
        setattr(checksums.BlockVerifier, name, method)
    for module in (manifest, segments):
        module.checksum_of = timed(checksums.checksum_of)  # type: ignore[attr-defined]
    main(["--data", data, "load", "events", *files, "--json"], standalone_mode=False)
    print(json.dumps([sum(spent), time.process_time()]))


if __name__ == "__main__":
    _load(sys.argv[1], sys.argv[2:])
