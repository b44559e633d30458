"""Fields for any text, such as `video_id` and `screen_name`, in every format."""

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from support.cases import cases


def write_columns(content, form):
    sink = pa.BufferOutputStream()
    if form == "parquet":
        parquet.write_table(content, sink)
    else:
        with ipc.new_stream(sink, content.schema) as writer:
            writer.write_table(content)
    return sink.getvalue().to_pybytes()


TEXT_FIELDS = {
    "video_id": ("tweets", "invalid_id", {"id": 5, "author_id": 7}),
    "text": ("tweets", "invalid_text", {"id": 5, "author_id": 7}),
    "screen_name": ("accounts", "invalid_name", {"id": 5}),
}


@cases("value", [True, False, 1.5, 1e22, [1], {"a": None}], ids=str)
@cases("form", ["ndjson", "json"])
@cases("field", TEXT_FIELDS)
def test_json_of_another_type_is_no_text(read, write, field, form, value):
    kind, reason, row = TEXT_FIELDS[field]
    parsed = read(write([row | {field: value}, {**row, field: "good"}], form), form, kind=kind)

    ((line, given, detail),) = parsed.rejected.rows()
    assert (line, given, parsed.rows.height) == (1, reason, 1)
    assert detail.startswith(f"{field} {json.dumps(value, separators=(',', ':'))} is ")
    assert "send the " in detail


COLUMNS_OF_NO_TEXT = {
    "true": pa.array([True, None]),
    "false": pa.array([False, None]),
    "nan": pa.array([float("nan"), None]),
    "-inf": pa.array([float("-inf"), None], pa.float32()),
    "5.0": pa.array([5.0, None]),
    "2026-01-01": pa.array([date(2026, 1, 1), None]),
    "2026-01-01T00:00:00Z": pa.array([datetime(2026, 1, 1, tzinfo=UTC), None]),
    "01:02:00.000000": pa.array([time(1, 2), None]),
    "5.50": pa.array([Decimal("5.50"), None]),
}


@cases(("text", "column"), COLUMNS_OF_NO_TEXT.items(), ids=COLUMNS_OF_NO_TEXT)
@cases("form", ["parquet", "arrow"])
@cases("field", TEXT_FIELDS)
def test_a_column_of_another_type_has_no_text(read, field, form, text, column):
    kind, reason, row = TEXT_FIELDS[field]
    content = pa.table({**{name: [value] * 2 for name, value in row.items()}, field: column})

    parsed = read(write_columns(content, form), form, kind=kind)

    (line, given, detail), *others = parsed.rejected.rows()
    assert (line, given) == (1, reason)
    assert detail.startswith(f"{field} {text} is ")
    assert [reason for _, reason, _ in others] == ["missing_field"] * (field == "screen_name")


@cases("form", ["parquet", "arrow"])
@cases("field", TEXT_FIELDS)
@cases(
    "column",
    [
        pa.array([500], pa.int16()),
        pa.array([500], pa.uint64()),
        pa.array([Decimal(500)], pa.decimal128(9, 0)),
        pa.array([b"500"]),
        pa.array(["500"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_whole_numbers_and_bytes_are_texts(read, field, form, column):
    kind, _, row = TEXT_FIELDS[field]
    content = pa.table({**{name: [value] for name, value in row.items()}, field: column})

    parsed = read(write_columns(content, form), form, kind=kind)

    assert parsed.rows.get_column(field).to_list() == ["500"]


def test_a_text_that_begins_with_a_mark_is_described_as_it_is(read):
    body = json.dumps({"id": 5, "author_id": 7, "video_id": "\0[]"})
    detail = "video_id has a control character or line break, or a space at an end"

    assert read(body, kind="tweets").rejected.rows() == [(1, "invalid_id", detail)]


HEAD = "id,author_id,video_id"


@cases("other", ["6,7,c", '6,"7",c', '"6","7","c"'])
@cases("end", ["\n", "\r\n"])
@cases("value", ["a\rb", "\rab", "a\r\rb"])
def test_a_carriage_return_in_csv_is_the_same_beside_quotes(read, other, end, value):
    """Quotes in another row decide which parser reads the body."""
    body = end.join([HEAD, f"5,7,{value}", other, ""])

    parsed = read(body, "csv", kind="tweets")

    assert parsed.rows.get_column("video_id").to_list() == ["c"]
    detail = "video_id has a control character or line break, or a space at an end"
    assert parsed.rejected.rows() == [(2, "invalid_id", detail)]


@pytest.mark.parametrize("other", ["6,7,c", '6,"7",c'])
def test_the_symbol_for_a_carriage_return_in_csv_is_a_text(read, other):
    parsed = read(f"{HEAD}\n5,7,a\N{SYMBOL FOR CARRIAGE RETURN}b\n{other}\n", "csv", kind="tweets")

    assert parsed.rows.get_column("video_id").to_list() == [
        "a\N{SYMBOL FOR CARRIAGE RETURN}b",
        "c",
    ]


DECIMALS = [
    *(pa.decimal32(7, -2), pa.decimal64(9, -2), pa.decimal128(20, -2), pa.decimal256(60, -2)),
    *(pa.decimal128(20, 0), pa.decimal128(5, -1)),
]


@cases("dtype", DECIMALS, ids=str)
@cases("at", [datetime(2026, 1, 1, 0, 30, tzinfo=UTC), "2026-01-01T00:30:00Z"])
@cases("field", ["tweet_id", "count"])
def test_decimals_of_any_scale_are_whole_numbers(read, field, at, dtype):
    """Typed rows and rows of text agree. Only Arrow has negative scales."""
    numbers = pa.array([Decimal(500), Decimal(1200), Decimal(0)], dtype)
    columns = {"tweet_id": [5] * 3, "type": ["favorites"] * 3, "at": [at] * 3, field: numbers}

    parsed = read(write_columns(pa.table(columns), "arrow"), "arrow")

    reason = {"tweet_id": ["invalid_id"], "count": []}[field]
    accepted = [500, 1200] + [0] * (field == "count")
    assert parsed.rows.get_column(field).to_list() == accepted
    assert parsed.rejected.get_column("reason").to_list() == reason


def test_a_decimal_with_a_huge_scale_is_refused_in_little_memory(read):
    one = pa.py_buffer((1).to_bytes(16, "little"))
    ids = pa.Array.from_buffers(pa.decimal128(5, -1_000_000), 1, [None, one])
    event = {"tweet_id": ids, "type": ["favorites"], "at": ["2026-01-01T00:30:00Z"]}
    tweet = {"id": [5], "author_id": [7], "video_id": ids}

    for kind, columns in (("events", event), ("tweets", tweet)):
        parsed = read(write_columns(pa.table(columns), "arrow"), "arrow", kind=kind)
        assert parsed.rejected.get_column("reason").to_list() == ["invalid_id"]
