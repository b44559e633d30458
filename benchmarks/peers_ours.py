"""Our server as a contender of the ingest benchmark: `openengagement load events`."""

import time
from pathlib import Path
from typing import Any

import counting
import product
from measure import MemoryWatch, disk_bytes

from openengagement.clock import SystemClock
from openengagement.data_folder import open_data_folder
from openengagement.settings import Settings

WARM_UP_READS = 10


def run(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Do the same as `peers/run_contender.py`, but include the start-up of the process.

    Raises:
        RuntimeError: the folder's counts differ from those of the files.
    """
    data = folder / "data"
    command = product.Command(data, "load", "events", *given["files"])
    with MemoryWatch(command.pid) as watch:
        loaded = command.wait()
    product.run(data, "load", "events", given["files"][0])  # sent again
    counting.check(data, counting.count(list(map(Path, given["files"]))))
    figures = {
        "rate": given["events"] / loaded.wall_s,
        "cpu_us": loaded.cpu_s / given["events"] * 1e6,
        "memory_mib": watch.pss_mib,
        "bytes_a_counter": disk_bytes(data) / given["counters"],
        **_read(data, given),
    }
    return {
        "version": "this one",
        "durable": True,
        "how": "synced before it is acknowledged",
        "figures": figures,
    }


def _read(data: Path, given: dict[str, Any]) -> dict[str, float]:
    parts = open_data_folder(data, Settings(), clock=SystemClock())
    try:
        took = []
        for tweet_ids in given["reads"][:WARM_UP_READS] + given["reads"]:
            began = time.perf_counter()
            parts.stores.counters.read_totals(tweet_ids, given["totals_types"])
            took.append((time.perf_counter() - began) * 1000)
    finally:
        parts.close()
    took = sorted(took[WARM_UP_READS:])
    return {"read_p50_ms": took[len(took) // 2], "read_p99_ms": took[int(len(took) * 0.99)]}
