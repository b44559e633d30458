"""Fields that are not read are counted, in every format and on every path."""

import io
import json

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc

from openengagement.ingest.batch import describe
from openengagement.ingest.batch_parser import BatchParser
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.rows import ACCOUNTS, EVENTS, TWEETS
from support.cases import cases

GOOD = {"tweet_id": "5", "type": "favorites", "at": "2026-11-20T10:00:00Z"}
BAD = {**GOOD, "type": "claps"}
PARSER = BatchParser(lines_max=1_000_000, latest_s=lambda: 2e9)


def ignored(body, form, kind=EVENTS):
    outcome = describe(PARSER.parse(body, form, kind=kind), listed_max=9)
    return outcome.ignored_fields or {}


def ndjson(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def array(*rows):
    return json.dumps(rows).encode()


@cases(("write", "form"), [(ndjson, Format.NDJSON), (array, Format.JSON)], ids=["NDJSON", "JSON"])
@cases(
    ("rows", "expected"),
    [
        ([GOOD], {}),
        ([GOOD, {**GOOD, "promotd": True}], {"promotd": 1}),
        ([{**GOOD, "promotd": True}, {**GOOD, "promotd": None}, GOOD], {"promotd": 2}),
        ([{**GOOD, "a": 1, "b": {"c": [1]}}, {**GOOD, "b": 2}], {"a": 1, "b": 2}),
        ([{**BAD, "a": 1}, {**GOOD, "b": 1}], {"b": 1}),
        ([{**BAD, "a": 1}, GOOD], {}),
        ([{**GOOD, "Type": 1, "TWEET_ID": 2, "at ": 3}], {"Type": 1, "TWEET_ID": 1, "at ": 1}),
        ([{**GOOD, "nested": {"type": 1, "unknown": 2}}], {"nested": 1}),
        ([{**GOOD, "text": '"x": 1, {"y": 2}'}], {"text": 1}),
        ([{**GOOD, "": 1}], {"": 1}),
        ([{**GOOD, "é": 1}], {"é": 1}),
        ([{**GOOD, "x" * 100: 1}], {"x" * 64: 1}),
        ([{**GOOD, "big": 10**400}], {"big": 1}),
        ([{**GOOD, "long": "x" * 200_000}], {"long": 1}),
        ([{**GOOD, "too long": "x" * 300_000}, {**GOOD, "a": 1}], {"a": 1}),
    ],
)
def test_json(write, form, rows, expected):
    assert ignored(write(*rows), form) == expected


def test_lines_that_are_not_plain_among_plain_ones():
    rows = [GOOD, {**GOOD, "a": 1}, GOOD, GOOD, {**BAD, "a": 1}, {**GOOD, "a": 2}, GOOD] * 3
    assert ignored(ndjson(*rows), Format.NDJSON) == {"a": 6}


def test_malformed_lines_between():
    body = ndjson({**GOOD, "a": 1}) + b"{\n\n" + ndjson({**GOOD, "b": 1}, BAD)
    assert ignored(body, Format.NDJSON) == {"a": 1, "b": 1}


def test_a_repeated_key_counts_once():
    body = ndjson(GOOD).replace(b"{", b'{"a": 1, "a": 2, ')
    assert ignored(body, Format.NDJSON) == {"a": 1}


def test_many_names_are_bounded():
    rows = [{**GOOD, f"key{number}": 1} for number in range(1000)]
    found = ignored(ndjson(*rows), Format.NDJSON)
    assert len(found) == 100
    assert set(found.values()) == {1}
    assert "key0" in found


def test_several_parts_of_a_body(monkeypatch):
    monkeypatch.setattr("openengagement.ingest.formats.json_rows._PART_BYTES", 300)
    rows = [{**GOOD, "a": 1}, {**GOOD, "b": 1}, GOOD] * 20
    assert ignored(ndjson(*rows), Format.NDJSON) == {"a": 20, "b": 20}


def test_other_kinds():
    assert ignored(ndjson({"id": "1", "author_id": "2", "lang": "en"}), Format.NDJSON, TWEETS) == {
        "lang": 1
    }
    body = ndjson({"id": "1", "screen_name": "a", "name": "A"})
    assert ignored(body, Format.NDJSON, ACCOUNTS) == {"name": 1}


@pytest.mark.parametrize("quote", ["", '"'], ids=["plain", "quoted"])
def test_csv(quote):
    body = (
        "tweet_id,type,at,source,promotd,\n"
        f"5,favorites,2026-11-20T10:00:00Z,{quote}web{quote},,\n"
        "5,claps,2026-11-20T10:00:00Z,,,\n"
        "6,favorites,2026-11-20T10:00:00Z,,,\n"
    )
    assert ignored(body.encode(), Format.CSV) == {"source": 2, "promotd": 2}


def table(*rows):
    return pa.Table.from_pylist([*rows])


def parquet(rows):
    sink = io.BytesIO()
    pq.write_table(rows, sink)
    return sink.getvalue()


def arrow_stream(rows):
    sink = io.BytesIO()
    with ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def arrow_file(rows):
    sink = io.BytesIO()
    with ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def wide(rows):
    """A type that only the other library knows."""
    sink = io.BytesIO()
    frame = pl.from_arrow(rows).with_columns(wide=pl.lit(1, dtype=pl.Int128))
    frame.write_ipc_stream(sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("write", "form", "more"),
    [
        (parquet, Format.PARQUET, {}),
        (arrow_stream, Format.ARROW, {}),
        (arrow_file, Format.ARROW, {}),
        (wide, Format.ARROW, {"wide": 2}),
    ],
    ids=["Parquet", "Arrow stream", "Arrow file", "wide"],
)
def test_columns(write, form, more):
    rows = table({**GOOD, "source": "web"}, {**BAD, "source": None}, {**GOOD, "source": None})
    assert ignored(write(rows), form) == {"source": 2, **more}
    assert ignored(write(table(GOOD, GOOD)), form) == more


def test_streams_that_follow_each_other():
    first = arrow_stream(table({**GOOD, "a": 1}))
    second = arrow_stream(table(GOOD, {**GOOD, "at": "2026-11-21T10:00:00Z"}))
    assert ignored(first + second, Format.ARROW) == {"a": 1}
