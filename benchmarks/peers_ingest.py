"""Our server and the alternatives for ingest: the same files, in turns, one process per run."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import peers_ours
import product
import stream
from measure import Spread, ratios
from peers_environment import POSTGRESQL, PYTHON, REDIS, why_missing

from openengagement.engagement.types import EVENT_TYPES

HERE = Path(__file__).resolve().parent
OURS = "ours"
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
    """Return the figures of each contender, or only the reason why it is `missing`.

    `files` and `tweet_ids` are a stream's. The figures are `version`, `durable`, `how`; rate
    (events/s), cpu_us (CPU µs per event, its server included), bytes_a_counter, memory_mib (PSS of
    the whole tree after the last batch, for ours the maximum), read_p50_ms, read_p99_ms, and
    rate_ratio (ours over its own).
    """
    run = _make_run(files, tweet_ids, quick=quick)
    missing = {name: why for name in PEERS if (why := why_missing(DEBIAN_PACKAGES.get(name)))}
    names = [name for name in PEERS if name not in missing]
    return {
        **_run_contenders((OURS, *names), folder, rounds=rounds, run=run),
        **{name: {"missing": why} for name, why in missing.items()},
    }


def sqlite_alone(
    folder: Path, files: Sequence[Path], rounds: int, *, tweet_ids: np.ndarray, quick: bool = False
) -> dict[str, dict[str, Any]]:
    """Return the same for SQLite alone, with deltas that were folded before the clock started."""
    if why := why_missing():
        return {"sqlite": {"missing": why}}
    run = _make_run(files, tweet_ids, quick=quick)
    return _run_contenders(("sqlite",), folder, rounds=rounds, run=run)


def _make_run(files: Sequence[Path], tweet_ids: np.ndarray, *, quick: bool) -> dict[str, Any]:
    """Build the input of `peers/run_contender.py`, without its folder."""
    counted = stream.count(files, tweet_ids)
    rng = np.random.default_rng(stream.SEED)
    requested = rng.choice(tweet_ids, (FEW_READS if quick else READS, TWEETS_A_READ))
    return {
        "files": list(map(str, files)),
        "types": EVENT_TYPES,
        "totals_types": stream.TOTALS_TYPES,
        "events": counted.events,
        "counters": counted.counters,
        "sums": counted.types,
        "tweets": counted.tweets,
        "reads": requested.tolist(),
    }


def _run_contenders(
    names: Sequence[str], folder: Path, *, rounds: int, run: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for index in range(rounds):
        for name, done in runs.items():
            place = folder / f"{name}-{index}"
            place.mkdir()
            try:
                done.append(peers_ours.run(place, run) if name == OURS else _run(name, place, run))
            finally:
                shutil.rmtree(place)
    rates = {name: [each["figures"]["rate"] for each in done] for name, done in runs.items()}
    return {
        name: {
            **{fact: done[-1][fact] for fact in ("version", "durable", "how")},
            **_spreads([each["figures"] for each in done]),
            **({"rate_ratio": ratios(rates[OURS], rates[name])} if OURS in rates else {}),
        }
        for name, done in runs.items()
    }


def _run(name: str, folder: Path, run: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [str(PYTHON), str(HERE / "peers" / "run_contender.py"), name],
        input=msgspec.json.encode({**run, "folder": str(folder)}),
        capture_output=True,
        env=product.environment(PYTHONPATH=str(HERE)),
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name}: {done.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(done.stdout)


def _spreads(runs: list[dict[str, float]]) -> dict[str, Spread]:
    return {figure: Spread.of([each[figure] for each in runs]) for figure in runs[0]}
