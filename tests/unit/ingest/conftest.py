"""Fixtures that write and parse batches in every format."""

import contextlib
import csv
import io
import json
from datetime import UTC, datetime
from functools import cache

import polars as pl
import pytest

from openengagement.ingest.batch_parser import BatchParser
from openengagement.ingest.formats.column_decoder import decode_into
from openengagement.ingest.formats.decoder_process import Decoding
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.rows import ACCOUNTS, EVENTS, TWEETS

LATEST_S = datetime(2026, 11, 22, 10, 15, tzinfo=UTC).timestamp()
KINDS = {kind.name: kind for kind in (EVENTS, TWEETS, ACCOUNTS)}


class DecoderHere:
    """Decodes columnar bodies in this process, in place of a `DecoderServer`.

    A fork for each body takes several times as long. Give no body to it that may crash a decoder.
    """

    @contextlib.contextmanager
    def decoding(self, request, body):
        answer = io.BytesIO()
        decode_into(request, body, sink=answer)
        answer.seek(0)
        yield Decoding(answer)


def make_read(make_parser):
    made = cache(make_parser)

    def read(body, form="ndjson", *, kind="events", lines_max=1_000_000):
        content = body.encode() if isinstance(body, str) else body
        return made(lines_max).parse(content, Format[form.upper()], kind=KINDS[kind])

    return read


def make_parser(lines_max):
    return BatchParser(lines_max=lines_max, latest_s=lambda: LATEST_S)


def make_parser_here(lines_max):
    parser = make_parser(lines_max)
    parser._columnar._server = DecoderHere()
    return parser


@pytest.fixture(scope="session")
def read():
    """Parse and validate a body: returns a `ParsedBatch`."""
    return make_read(make_parser_here)


@pytest.fixture(scope="session")
def read_in_forks():
    """As `read`, with the decoder process that a server has."""
    return make_read(make_parser)


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
