"""Write one batch in every body format that the platform API accepts.

A record is a dictionary of its fields in the body. A missing field is left out (it is an empty
cell in CSV, a null in Parquet and Arrow). A record of type `bytes` is a raw line, for NDJSON only.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Sequence
from typing import Any

import polars as pl
import zstandard

from oracle import wire

Record = dict[str, Any] | bytes

CONTENT_TYPES = {
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
FORMATS = tuple(CONTENT_TYPES)
ENCODINGS = (None, "gzip", "zstd")


def write_body(rng: random.Random, records: Sequence[Record], form: str) -> bytes:
    """Write records in one format."""
    if form == "ndjson":
        return write_ndjson(rng, records)
    plain = [record for record in records if isinstance(record, dict)]
    assert len(plain) == len(records), "only NDJSON can have raw lines"
    if form == "json":
        return json.dumps(plain, indent=rng.choice((None, 1))).encode()
    if form == "csv":
        return write_csv(rng, plain)
    frame = make_frame(rng, plain)
    target = io.BytesIO()
    if form == "parquet":
        frame.write_parquet(
            target, compression=rng.choice(("zstd", "snappy", "gzip", "uncompressed"))
        )
    else:
        frame.write_ipc_stream(target, compression=rng.choice(("uncompressed", "lz4", "zstd")))
    return target.getvalue()


def write_ndjson(rng: random.Random, records: Sequence[Record]) -> bytes:
    """Write one object per line, with or without a final newline."""
    newline = rng.choice((b"\n", b"\n", b"\r\n"))
    lines = [
        record if isinstance(record, bytes) else json.dumps(record).encode() for record in records
    ]
    return newline.join(lines) + rng.choice((b"", newline))


def write_csv(rng: random.Random, records: Sequence[dict[str, Any]]) -> bytes:
    """Write a header and rows, with the columns in any order, quoted or not."""
    columns = sorted({name for record in records for name in record})
    rng.shuffle(columns)
    target = io.StringIO()
    newline = rng.choice(("\n", "\r\n"))
    rows = csv.writer(target, lineterminator=newline)
    if rng.random() < 0.5:
        rows = csv.writer(target, quoting=csv.QUOTE_ALL, lineterminator=newline)
    rows.writerow(columns)
    for record in records:
        cells = ["" if record.get(name) is None else record[name] for name in columns]
        rows.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in cells])
    return target.getvalue().encode()


def make_frame(rng: random.Random, records: Sequence[dict[str, Any]]) -> Any:
    """Build a data frame; ids and times may have their own types if every cell allows it."""
    columns: dict[str, Any] = {}
    for name in dict.fromkeys(name for record in records for name in record):
        cells = [record.get(name) for record in records]
        if name == "count":
            columns[name] = pl.Series(name, cells, dtype=pl.Int64)
        elif name in ("promoted", "protected", "deleted"):
            columns[name] = pl.Series(name, cells, dtype=pl.Boolean)
        else:
            texts = [None if cell is None else str(cell) for cell in cells]
            columns[name] = as_own_type(rng, name, texts)
    return pl.DataFrame(columns)


def as_own_type(rng: random.Random, name: str, texts: list[str | None]) -> Any:
    """Convert a column of texts to integers or timestamps if that is exact."""
    if rng.random() < 0.5:
        return pl.Series(name, texts, dtype=pl.String)
    known = [text for text in texts if text is not None]
    is_int = all(text.isascii() and text.isdigit() and int(text) < 2**63 for text in known)
    if name in ("id", "tweet_id", "author_id") and is_int:
        return pl.Series(name, [None if t is None else int(t) for t in texts], dtype=pl.Int64)
    if name in ("at", "created_at") and all(wire.parse_time(text) for text in known):
        times = [None if t is None else wire.parse_time(t) for t in texts]
        return pl.Series(name, times, dtype=pl.Datetime(rng.choice(("us", "ms", "ns")), "UTC"))
    return pl.Series(name, texts, dtype=pl.String)


def compress(body: bytes, encoding: str | None) -> bytes:
    """Compress a body as `Content-Encoding` says."""
    if encoding == "gzip":
        return gzip.compress(body, 1)
    if encoding == "zstd":
        return zstandard.compress(body)
    return body
