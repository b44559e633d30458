"""All processes together stay under a bound, however large a file or a decoded body is."""

import gzip
import json
import subprocess
import time

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import zstandard
from pyarrow import ipc, parquet

from faults.crashing import open_session
from openengagement.engagement.types import EVENT_TYPES
from support.cli import EXECUTABLE, server_environment
from support.memory import MemoryWatch

BOUND_BYTES = 500 * 2**20
ROWS = 4_000_000
TWEETS = 20_000
SLOW_S = "3600"  # for a batch on a slow machine
LATEST_S = int(time.time()) // 3600 * 3600 - 3600


def events(rows, *, seed=1):
    """Events of a week on many Tweets, in no order."""
    chance = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "tweet_id": chance.integers(10**18, 10**18 + TWEETS, rows),
            "type": np.array(EVENT_TYPES)[chance.integers(0, len(EVENT_TYPES), rows)],
            "at": pl.from_epoch(LATEST_S - chance.integers(0, 7 * 86_400, rows)).cast(
                pl.Datetime("us", "UTC")
            ),
            "count": chance.integers(1, 100, rows),
        }
    )


def write_parquet(path, *, group_rows):
    parquet.write_table(events(ROWS).to_arrow(), path, row_group_size=group_rows)


def write_arrow(path, *, batch_rows):
    table = events(ROWS).to_arrow()
    with ipc.new_file(path, table.schema) as file:
        file.write_table(table, max_chunksize=batch_rows)


def write_rows(path, write, *, rows):
    """Write JSON in parts: an array of objects."""
    with write(path) as file:
        file.write(b"[")
        for part in range(rows // 200_000):
            text = pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
            frame = events(200_000, seed=part).with_columns(pl.col("tweet_id").cast(str), text)
            lines = frame.write_ndjson().encode().rstrip().replace(b"\n", b",")
            file.write((b"," if part else b"") + lines)
        file.write(b"]")


def write_json(path):
    write_rows(path, lambda path: path.open("wb"), rows=2_000_000)


def write_zst(path):
    write_rows(path, lambda path: zstandard.open(path, "wb"), rows=2_000_000)


FILES = {
    "groups.parquet": lambda path: write_parquet(path, group_rows=1_000_000),
    "one-group.parquet": lambda path: write_parquet(path, group_rows=ROWS),
    "batches.arrow": lambda path: write_arrow(path, batch_rows=65_536),
    "one-batch.arrow": lambda path: write_arrow(path, batch_rows=ROWS),
    "array.json": write_json,
    "array.json.zst": write_zst,
}


@pytest.mark.parametrize("name", FILES)
def test_loading_a_large_file(tmp_path, name):
    path = tmp_path / name
    FILES[name](path)
    command = [EXECUTABLE, "--data", tmp_path / "data", "load", "events", path, "--json"]
    load = subprocess.Popen(command, stdout=subprocess.PIPE, env=server_environment())
    with MemoryWatch(load.pid) as watch:
        out, _ = load.communicate()
    assert load.returncode == 0
    size, peak = path.stat().st_size / 2**20, watch.peak_bytes / 2**20
    print(f"{name}: {size:.0f} MiB, at most {peak:.0f} MiB of memory")
    assert json.loads(out)["accepted"] in {ROWS, 2_000_000}
    assert watch.peak_bytes < BOUND_BYTES


def columnar_body():
    """As many rows as a batch may have, of which each column is a few values."""
    rows = 1_000_000
    table = pa.table(
        {
            "tweet_id": pa.array(np.full(rows, 10**18)),
            "type": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), ["favorites"]),
            "at": pa.array(np.full(rows, LATEST_S), pa.timestamp("s", "UTC")),
        }
    )
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def text_rows_body():
    """Rows that are not plain: each is decoded as text, and refused."""
    rows = 1_000_000
    table = pa.table(
        {
            "tweet_id": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), ["x" * 60]),
            "type": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), ["favorites"]),
            "at": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), ["2026-11-22T10:15:00Z"]),
        }
    )
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def lines_body():
    row = {"tweet_id": "1", "type": "favorites", "at": "2026-11-22T10:15:00Z"}
    line = json.dumps(row | {"padding": "x" * 150}).encode() + b"\n"
    return gzip.compress(line * 1_000_000, 1)


PACKED_LINES = {"Content-Encoding": "gzip", "Content-Type": "application/x-ndjson"}
# How to make a body, its headers, and the bound, which the pages of docs/operating name.
BODIES = {
    "columns": (columnar_body, {}, BOUND_BYTES),
    "text in columns": (text_rows_body, {}, 1.5 * 2**30),
    "lines": (lines_body, PACKED_LINES, 1.5 * 2**30),
}


@pytest.mark.parametrize("kind", BODIES)
def test_decoding_a_body_that_becomes_large(crashing, kind):
    crashing.workers = 1
    crashing.settings = {"batch_timeout_s": SLOW_S}
    crashing.start()
    make, headers, bound_bytes = BODIES[kind]
    body = make()
    with open_session() as session, MemoryWatch(crashing.process.pid) as watch:
        for _ in range(3):
            answer = session.post(
                f"{crashing.url}/platform/v1/events",
                data=body,
                headers={"Authorization": f"Bearer {crashing.platform_key}", **headers},
            )
            assert answer.status_code in {200, 422}, answer.text[:300]
    print(f"{kind}: {len(body) / 2**20:.1f} MiB, at most {watch.peak_bytes / 2**20:.0f} MiB")
    assert answer.json()["accepted"] + answer.json()["rejected"] == 1_000_000
    assert watch.peak_bytes < bound_bytes
