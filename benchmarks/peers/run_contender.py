"""One run of one contender, in a process of its own: `run_contender.py NAME < run.json`, JSON out.

The input has the folder, the files, a plain count of the files, and the number of reads.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from contender import Contender, Words
from measure import cpu_s, memory_mib

LOADERS = 2
WARM_UP_READS = 10
OPENED = {
    "postgresql": ("in_postgresql", "opened"),
    "redis_everysec": ("in_redis", "every_second"),
    "redis_always": ("in_redis", "always"),
    "duckdb": ("in_duckdb", "opened"),
    "chdb": ("in_chdb", "opened"),
    "sqlite": ("in_sqlite", "opened"),
}


def main() -> None:
    run = json.load(sys.stdin)
    module, name = OPENED[sys.argv[1]]
    opened = getattr(importlib.import_module(module), name)
    words = Words(run["types"], run["totals_types"])
    with opened(Path(run["folder"]), words) as contender:
        print(json.dumps(run_contender(contender, run)))


def run_contender(contender: Contender, run: dict[str, Any]) -> dict[str, Any]:
    """Load, send batches again, check, let the store compact, read.

    Raises:
        RuntimeError: the store's counts differ from those of the files.
    """
    paths = list(map(Path, run["files"]))
    figures = load(contender, paths, events=run["events"])
    figures["memory_mib"] = memory_mib(os.getpid())["pss"]
    again = groups(paths, contender.together)[0]
    contender.apply(keys_of(again), contender.prepare(again))
    check(contender, run)
    contender.compact()
    figures["bytes_a_counter"] = contender.disk_bytes() / run["counters"]
    figures |= read(contender, run["reads"])
    return {
        "version": contender.version,
        "durable": contender.durable,
        "how": contender.how,
        "figures": figures,
    }


def load(contender: Contender, paths: Sequence[Path], *, events: int) -> dict[str, float]:
    """Load every file once with LOADERS threads, timed from first read to last acknowledgement."""
    given = groups(paths, contender.together)
    prepare = contender.prepare
    if contender.prepared_before:
        prepare = {group: contender.prepare(group) for group in given}.__getitem__
    with ThreadPoolExecutor(LOADERS) as loaders:
        cpu_began, began = cpu_s(os.getpid()), time.perf_counter()
        list(loaders.map(lambda group: contender.apply(keys_of(group), prepare(group)), given))
        wall_s = time.perf_counter() - began
    cpu = cpu_s(os.getpid()) - cpu_began
    return {"rate": events / wall_s, "cpu_us": cpu / events * 1e6}


def groups(paths: Sequence[Path], size: int) -> list[tuple[Path, ...]]:
    return [tuple(paths[index : index + size]) for index in range(0, len(paths), size)]


def keys_of(paths: Sequence[Path]) -> list[str]:
    return [path.name for path in paths]


def check(contender: Contender, run: dict[str, Any]) -> None:
    """Compare every type's sum, and the totals of the sampled Tweets, with the plain count."""
    sums = contender.sums()
    wrong = {name: sums.get(name) for name in run["types"] if sums.get(name) != run["sums"][name]}
    wanted = {int(tweet_id): counts for tweet_id, counts in run["tweets"].items()}
    stored = contender.totals(list(wanted))
    nothing = [0] * len(run["totals_types"])
    found = {tweet_id: stored.get(tweet_id, nothing) for tweet_id in wanted}
    wrong |= {tweet_id: each for tweet_id, each in found.items() if each != wanted[tweet_id]}
    if wrong:
        some = dict(list(wrong.items())[:3])
        raise RuntimeError(f"{len(wrong)} counts are not those of the files: {some}")


def read(contender: Contender, requested: Sequence[Sequence[int]]) -> dict[str, float]:
    """Read the totals of each list of Tweets, one after the other, while the store is idle."""
    for tweet_ids in requested[:WARM_UP_READS]:
        contender.totals(tweet_ids)
    took = []
    for tweet_ids in requested:
        began = time.perf_counter()
        contender.totals(tweet_ids)
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return {"read_p50_ms": took[len(took) // 2], "read_p99_ms": took[int(len(took) * 0.99)]}


if __name__ == "__main__":
    main()
