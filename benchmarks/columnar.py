"""The same events from Parquet and from NDJSON: throughput, CPU time and memory; DuckDB beside.

The throughput includes the start of the command. "before folding" is the CPU time to read and parse
the file, without counting. DuckDB, if it is installed (.venv-bench), sums up the same Parquet file
by Tweet, type and hour.
"""

import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import product
from measure import MemoryWatch, Spread, ratios
from sizes import Sizes

from openengagement.engagement.types import EVENT_TYPES

DUCKDB_PYTHON = product.HERE.parent / ".venv-bench" / "bin" / "python"
PART_ROWS = 1_000_000
TWEETS = 20_000
WEEK_S = 7 * 86_400
PARSE = """
import sys
from functools import partial
from pathlib import Path
from time import time
from openengagement.ingest.batch_parser import BatchParser
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.sources.chunks import read_chunks

parser = BatchParser(lines_max=2**31, latest_s=time)
for chunk in read_chunks(Path(sys.argv[1]), partial(parser.decode_file, kind=EVENTS)):
    parser.parse(chunk.body, chunk.form, kind=EVENTS)
"""
DUCKDB = """
import sys, duckdb
duckdb.sql("SET threads = 2")
events = duckdb.read_parquet(sys.argv[1])
hours = events.select("tweet_id, type, date_trunc('hour', \\"at\\") AS hour")
hours.aggregate("tweet_id, type, hour, count(*)").fetchnumpy()
"""


def columns(folder: Path, sizes: Sizes) -> dict[str, Spread]:
    """Load and parse the same events from both formats, in turns."""
    millions, rounds = sizes.column_millions, sizes.few_rounds
    files = _make_files(folder, millions)
    loads: dict[str, list[tuple[float, float, float]]] = {name: [] for name in files}
    parses: dict[str, list[float]] = {name: [] for name in files}
    for index in range(rounds):
        for name, path in files.items():
            loads[name].append(_load(folder / f"{name}-{index}", path, millions))
            parses[name].append(_cpu_of(sys.executable, PARSE, path))
    figures = {"events": Spread.of([millions * PART_ROWS])}
    for name in files:
        rates, cpu_s, peaks = zip(*loads[name], strict=True)
        figures |= {
            f"{name}_rate": Spread.of(rates),
            f"{name}_cpu_s": Spread.of(cpu_s),
            f"{name}_parse_s": Spread.of(parses[name]),
            f"{name}_peak_mib": Spread.of(peaks),
        }
    figures["rate_ratio"] = ratios(
        [rate for rate, *_ in loads["parquet"]], [rate for rate, *_ in loads["ndjson"]]
    )
    figures["parse_ratio"] = ratios(parses["parquet"], parses["ndjson"])
    if DUCKDB_PYTHON.exists():
        spent = [_cpu_of(str(DUCKDB_PYTHON), DUCKDB, files["parquet"]) for _ in range(rounds)]
        figures["duckdb_cpu_s"] = Spread.of(spent)
    return figures | _large_file(folder, sizes.large_column_millions)


def _large_file(folder: Path, millions: int) -> dict[str, Spread]:
    """Load one large Parquet file, for the peak of memory."""
    path = folder / "large.parquet"
    _write_parquet(_make_parts(folder, millions), path)
    rate, _, peak_mib = _load(folder / "large-columns", path, millions)
    path.unlink()
    return {
        "large_events": Spread.of([millions * PART_ROWS]),
        "large_rate": Spread.of([rate]),
        "large_peak_mib": Spread.of([peak_mib]),
    }


def _make_files(folder: Path, millions: int) -> dict[str, Path]:
    """Write the same events in both formats."""
    files = {name: folder / f"columns.{name}" for name in ("parquet", "ndjson")}
    parts = _make_parts(folder, millions)
    with files["ndjson"].open("wb") as file:
        for part in parts:
            text = pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
            events = pl.read_parquet(part)
            events.with_columns(pl.col("tweet_id").cast(pl.String), text).write_ndjson(file)
    _write_parquet(parts, files["parquet"])
    return files


def _make_parts(folder: Path, millions: int) -> list[Path]:
    """Write that many files of PART_ROWS events."""
    chance = np.random.default_rng(1)
    tweets = chance.integers(10**18, 2 * 10**18, TWEETS)
    latest_s = int(time.time()) - 3600
    parts = []
    for number in range(millions):
        at = np.sort(latest_s - chance.integers(0, WEEK_S, PART_ROWS))
        part = pl.DataFrame(
            {
                "tweet_id": tweets[chance.zipf(1.3, PART_ROWS) % TWEETS],
                "type": np.array(EVENT_TYPES)[chance.integers(0, len(EVENT_TYPES), PART_ROWS)],
                "at": pl.from_epoch(pl.Series(at)).cast(pl.Datetime("us", "UTC")),
            }
        )
        parts.append(folder / f"part-{number}.parquet")
        part.write_parquet(parts[-1])
    return parts


def _write_parquet(parts: Sequence[Path], path: Path) -> None:
    """Join the parts in one file, and remove them."""
    pl.scan_parquet(parts).sink_parquet(path, row_group_size=PART_ROWS)
    for part in parts:
        part.unlink()


def _load(data: Path, path: Path, millions: int) -> tuple[float, float, float]:
    """Load a file into a new folder. Return events/s, CPU s, and the peak MiB of all processes."""
    lines = millions * PART_ROWS
    command = product.Command(data, "load", "events", str(path))
    with MemoryWatch(command.pid) as watch:
        ran = command.wait()
    if ran.answer["accepted"] != lines:
        raise RuntimeError(f"{ran.answer} of {lines} lines")
    shutil.rmtree(data)
    return lines / ran.wall_s, ran.cpu_s, watch.pss_mib


def _cpu_of(python: str, program: str, path: Path) -> float:
    """Return the CPU time of a program in seconds, with its start and its children."""
    before = _cpu_s_of_children()
    subprocess.run([python, "-c", program, str(path)], check=True)
    return _cpu_s_of_children() - before


def _cpu_s_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
