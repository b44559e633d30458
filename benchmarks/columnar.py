"""Load the same events from Parquet and from NDJSON, and measure CPU time, memory and throughput.

python benchmarks/columnar.py [MILLIONS] [ROUNDS]      10 million events and 3 rounds by default

The throughput includes the start of the command. "before folding" is the CPU time to read and parse
the file, without counting. If DuckDB is installed (.venv-bench), it sums up the same Parquet file
by Tweet, type and hour.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl
import product
from measure import MemoryWatch

from openengagement.engagement.types import EVENT_TYPES

DEFAULTS = (10, 3)  # millions of events, and rounds
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
sums = "SELECT tweet_id, type, date_trunc('hour', at), count(*) FROM read_parquet(?) GROUP BY ALL"
duckdb.execute(sums, [sys.argv[1]]).fetchnumpy()
"""


def make_files(folder: Path, millions: int) -> list[Path]:
    """Write the same events as Parquet and as NDJSON, a million at a time."""
    parquet, ndjson = folder / "events.parquet", folder / "events.ndjson"
    chance = np.random.default_rng(1)
    tweets = chance.integers(10**18, 2 * 10**18, TWEETS)
    latest_s = int(time.time()) - 3600
    parts = []
    with ndjson.open("wb") as file:
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
            text = pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
            part.with_columns(pl.col("tweet_id").cast(pl.String), text).write_ndjson(file)
    pl.scan_parquet(parts).sink_parquet(parquet, row_group_size=PART_ROWS)
    return [parquet, ndjson]


def load(data: Path, path: Path, lines: int) -> tuple[float, float, float]:
    """Load a file into a new folder. Return events/s, CPU s, and the peak MiB of all processes."""
    command = product.Command(data, "load", "events", str(path))
    with MemoryWatch(command.pid) as watch:
        ran = command.wait()
    if ran.answer["accepted"] != lines:
        raise RuntimeError(f"{ran.answer} of {lines} lines")
    return lines / ran.wall_s, ran.cpu_s, watch.pss_mib


def cpu_of(python: str, program: str, path: Path) -> float:
    """Return the CPU time of a program in seconds, with its start and its children."""
    before = cpu_s_of_children()
    subprocess.run([python, "-c", program, str(path)], check=True)
    return cpu_s_of_children() - before


def cpu_s_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    given = [int(text) for text in sys.argv[1:]]
    millions, rounds = [*given, *DEFAULTS[len(given) :]]
    duckdb = product.HERE.parent / ".venv-bench" / "bin" / "python"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make_files(folder, millions)
        for path in files:
            runs = [
                load(folder / f"data-{path.suffix}-{index}", path, millions * PART_ROWS)
                for index in range(rounds)
            ]
            rate, cpu, peak = (median(each) for each in zip(*runs, strict=True))
            parse = median(cpu_of(sys.executable, PARSE, path) for _ in range(rounds))
            work = f"{cpu:6.2f} s of CPU, {parse:6.2f} s before folding"
            print(f"{path.suffix:9} {rate:12,.0f} events/s  {work}  peak {peak:4.0f} MiB")
        if duckdb.exists():
            spent = median(cpu_of(str(duckdb), DUCKDB, files[0]) for _ in range(rounds))
            print(f"DuckDB sums up the same Parquet file: {spent:.2f} s of CPU")


if __name__ == "__main__":
    main()
