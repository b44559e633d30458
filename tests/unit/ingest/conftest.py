"""Fixtures that write and parse batches in every format."""

import csv
import io
import json
from datetime import UTC, datetime

import polars as pl
import pytest

from openengagement.ingest.batch_parser import BatchParser
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.rows import ACCOUNTS, EVENTS, TWEETS

LATEST_S = datetime(2026, 11, 22, 10, 15, tzinfo=UTC).timestamp()
KINDS = {kind.name: kind for kind in (EVENTS, TWEETS, ACCOUNTS)}


@pytest.fixture(scope="session")
def read():
    """Parse and validate a body: returns a `ParsedBatch`."""
    parsers = {}

    def parse(body, form="ndjson", *, kind="events", lines_max=1_000_000):
        if lines_max not in parsers:
            parsers[lines_max] = BatchParser(lines_max=lines_max, latest_s=lambda: LATEST_S)
        content = body.encode() if isinstance(body, str) else body
        return parsers[lines_max].parse(content, Format[form.upper()], kind=KINDS[kind])

    return parse


@pytest.fixture(scope="session")
def event():
    """A valid event with the changes of a test; a value of `...` removes the field."""

    def make_event(**changes):
        whole = {"tweet_id": "5", "type": "favorites", "at": "2026-01-01T00:30:00Z", **changes}
        return {name: value for name, value in whole.items() if value is not ...}

    return make_event


@pytest.fixture(scope="session")
def write():
    """Write records (flat dictionaries) in a format."""

    def to_bytes(records, form):
        if form == "ndjson":
            return "".join(json.dumps(record) + "\n" for record in records).encode()
        if form == "json":
            return json.dumps(records).encode()
        names = list(dict.fromkeys(name for record in records for name in record))
        if form == "csv":
            text = io.StringIO()
            rows = csv.DictWriter(text, names, lineterminator="\n")
            rows.writeheader()
            rows.writerows(records)
            return text.getvalue().encode()
        frame = pl.DataFrame({name: [r.get(name) for r in records] for name in names})
        target = io.BytesIO()
        frame.write_parquet(target) if form == "parquet" else frame.write_ipc_stream(target)
        return target.getvalue()

    return to_bytes
