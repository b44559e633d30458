"""The ingest peers: the same files into each, in turns, every run in a process of its own."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import product
import stream
from measure import Spread
from peers_environment import POSTGRESQL, PYTHON, REDIS, why_missing

from openengagement.engagement.types import EVENT_TYPES

HERE = Path(__file__).resolve().parent
PEERS = ("postgresql", "redis_always", "redis_everysec", "duckdb", "chdb")
READS = 200
FEW_READS = 20
TWEETS_A_READ = 250
TIMEOUT_S = 3600
DEBIAN_PACKAGES = {
    "postgresql": POSTGRESQL[0],
    "redis_always": REDIS[0],
    "redis_everysec": REDIS[0],
}


def ingest_peers(
    folder: Path, files: Sequence[Path], rounds: int, *, tweet_ids: np.ndarray, quick: bool = False
) -> dict[str, dict[str, Any]]:
    """Each peer's `figures`, `version`, `durable` and `how`; or only why it is `missing`.

    `files` and `tweet_ids` are a stream's. Figures: rate (events/s), cpu_us (CPU µs an event, its
    server included), bytes_a_counter, memory_mib (PSS of the whole tree as the last batch is in),
    read_p50_ms and read_p99_ms.
    """
    return _contend(PEERS, folder, rounds=rounds, run=_make_run(files, tweet_ids, quick=quick))


def sqlite_alone(
    folder: Path, files: Sequence[Path], rounds: int, *, tweet_ids: np.ndarray, quick: bool = False
) -> dict[str, dict[str, Any]]:
    """The same of SQLite alone, fed with deltas that were folded before the clock started."""
    run = _make_run(files, tweet_ids, quick=quick)
    return _contend(("sqlite",), folder, rounds=rounds, run=run)


def _make_run(files: Sequence[Path], tweet_ids: np.ndarray, *, quick: bool) -> dict[str, Any]:
    """What `peers/contend.py` is told, but for its folder."""
    counted = stream.count(files, tweet_ids)
    rng = np.random.default_rng(stream.SEED)
    asked = rng.choice(tweet_ids, (FEW_READS if quick else READS, TWEETS_A_READ))
    return {
        "files": list(map(str, files)),
        "types": EVENT_TYPES,
        "totals_types": stream.TOTALS_TYPES,
        "events": counted.events,
        "counters": counted.counters,
        "sums": counted.types,
        "tweets": counted.tweets,
        "reads": asked.tolist(),
    }


def _contend(
    names: tuple[str, ...], folder: Path, *, rounds: int, run: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    missing = {name: why for name in names if (why := why_missing(DEBIAN_PACKAGES.get(name)))}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names if name not in missing}
    for at in range(rounds):
        for name, done in runs.items():
            done.append(_run(name, folder / f"{name}-{at}", run))
    return {name: {"missing": why} for name, why in missing.items()} | {
        name: {**done[-1], "figures": _spreads([each["figures"] for each in done])}
        for name, done in runs.items()
    }


def _run(name: str, folder: Path, run: dict[str, Any]) -> dict[str, Any]:
    folder.mkdir()
    try:
        done = subprocess.run(
            [str(PYTHON), str(HERE / "peers" / "contend.py"), name],
            input=msgspec.json.encode({**run, "folder": str(folder)}),
            capture_output=True,
            env=product.environment(PYTHONPATH=str(HERE)),
            timeout=TIMEOUT_S,
            check=False,
        )
    finally:
        shutil.rmtree(folder)
    if done.returncode != 0:
        raise RuntimeError(f"{name}: {done.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(done.stdout)


def _spreads(runs: list[dict[str, float]]) -> dict[str, Spread]:
    return {figure: Spread.of([each[figure] for each in runs]) for figure in runs[0]}
