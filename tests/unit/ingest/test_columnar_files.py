"""Columnar files as other programs write them: types, zones, projections, concatenations."""

import io
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc

from openengagement.errors import MalformedBody
from support.cases import cases

AT = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
HOUR = 490_896
GOOD = (5, "favorites", HOUR, 1, False)


def table(rows=1, **columns):
    whole = {"tweet_id": [5] * rows, "type": ["favorites"] * rows, "at": [AT] * rows, **columns}
    return pa.table(whole)


def parquet(content, **options):
    target = pa.BufferOutputStream()
    pq.write_table(content, target, **options)
    return target.getvalue().to_pybytes()


def stream(content, *, batch_rows=None, **options):
    target = pa.BufferOutputStream()
    with ipc.new_stream(target, content.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(content, batch_rows)
    return target.getvalue().to_pybytes()


def arrow_file(content):
    target = pa.BufferOutputStream()
    with ipc.new_file(target, content.schema) as writer:
        writer.write_table(content)
    return target.getvalue().to_pybytes()


WRITERS = {"parquet": parquet, "arrow": stream, "arrow file": arrow_file}


@pytest.fixture(params=WRITERS)
def parse(request, read):
    def parse_table(content, **options):
        body = WRITERS[request.param](content)
        parsed = read(body, request.param.partition(" ")[0], **options)
        return parsed.rows.drop("line").rows(), parsed.rejected.get_column("reason").to_list()

    return parse_table


@cases("zone", ["+05:30", "-03:00", "+00:00", "+14:00", "UTC", "Europe/Berlin", "Z", "+0530", None])
@cases("unit", ["s", "ms", "us", "ns"])
def test_a_time_is_the_instant_whatever_its_zone_is_called(parse, zone, unit):
    at = pa.array([int(AT.timestamp())], pa.timestamp("s")).cast(pa.timestamp(unit))
    content = table(at=at.cast(pa.int64()).cast(pa.timestamp(unit, zone)))

    assert parse(content) == ([GOOD], [])


def test_another_column_with_a_fixed_offset_does_not_matter(parse):
    seen = pa.array([0], pa.timestamp("us", "+05:30"))

    assert parse(table(seen=seen)) == ([GOOD], [])


@cases(
    "dtype",
    [pa.binary(), pa.large_binary(), pa.binary(9), pa.dictionary(pa.int8(), pa.binary())],
    ids=str,
)
def test_bytes_that_are_utf_8_are_text(parse, dtype):
    names = pa.array([b"favorites"])
    is_dictionary = pa.types.is_dictionary(dtype)
    names = names.dictionary_encode() if is_dictionary else names.cast(dtype)

    assert parse(table(type=names)) == ([GOOD], [])


@cases("name", ["tweet_id", "type", "at", "count", "promoted"])
def test_bytes_that_are_not_utf_8_refuse_the_body(parse, name):
    with pytest.raises(MalformedBody, match=f"column {name} has bytes that are not UTF-8"):
        parse(table(**{name: pa.array([b"\xff"])}))


def false_texts(dtype):
    """A column of texts, of which one is not UTF-8. No library checks this in Parquet."""
    values = pa.array([b"good", b"b\xff\xfed"])
    texts = pa.Array.from_buffers(pa.string(), 2, values.buffers())
    if pa.types.is_dictionary(dtype):
        return pa.DictionaryArray.from_arrays(pa.array([0, 1], dtype.index_type), texts)
    return texts.cast(dtype)


TEXT_TYPES = [
    *(pa.string(), pa.large_string(), pa.string_view()),
    pa.dictionary(pa.int32(), pa.string()),
]
TEXT_FIELDS = [
    *(("events", name) for name in ("tweet_id", "type", "at", "count", "promoted")),
    *(("tweets", name) for name in ("id", "author_id", "created_at", "video_id", "deleted")),
    *(("accounts", name) for name in ("id", "screen_name", "protected")),
]


@cases("dtype", TEXT_TYPES, ids=str)
@cases(("kind", "name"), TEXT_FIELDS)
def test_texts_that_are_not_utf_8_refuse_the_body(parse, kind, name, dtype):
    whole = {
        "events": {"tweet_id": [5, 6], "type": ["favorites"] * 2, "at": [AT] * 2},
        "tweets": {"id": [5, 6], "author_id": [7, 8]},
        "accounts": {"id": [5, 6], "screen_name": ["a", "b"]},
    }[kind]
    content = pa.table({**whole, name: false_texts(dtype)})

    with pytest.raises(MalformedBody, match=f"column {name} has bytes that are not UTF-8"):
        parse(content, kind=kind)


def test_texts_that_are_not_utf_8_do_not_matter_in_other_columns(read):
    body = parquet(table(2, other=false_texts(pa.string())))

    assert read(body, "parquet").rows.height == 2


@cases(
    ("counts", "expected"),
    [
        (pa.array([1.0, 2.0, -3.0]), [1, 2, -3]),
        (pa.array([1e9, 7, None], pa.float64()), [10**9, 7, 1]),
        (pa.array([4, 5, 6], pa.float32()), [4, 5, 6]),
        (pa.array(np.array([4, 5, 6], np.float16)), [4, 5, 6]),
        (pa.array([Decimal("3.00"), Decimal(4), None], pa.decimal128(38, 2)), [3, 4, 1]),
        (pa.array([Decimal(3), Decimal(4), Decimal(5)], pa.decimal256(60, 0)), [3, 4, 5]),
        (pa.array([3, 4, 5], pa.uint64()), [3, 4, 5]),
    ],
    ids=["double", "double with null", "float", "half", "decimal", "decimal256", "uint64"],
)
def test_whole_numbers_of_every_type_are_counts(parse, counts, expected):
    for at in ([AT] * 3, ["2026-01-01T00:30:00Z"] * 3):  # typed rows, and rows of text
        rows, reasons = parse(table(3, count=counts, at=at))
        assert ([row[3] for row in rows], reasons) == (expected, [])


@cases(
    ("counts", "reasons"),
    [
        (pa.array([1.0, 1.5, 2.0]), ["invalid_count"]),
        (pa.array([1.0, float("nan"), float("inf")]), ["invalid_count"] * 2),
        (pa.array([1e9 + 1, -1e300, 1.0]), ["invalid_count"] * 2),
    ],
)
def test_other_floats_are_not_counts(parse, counts, reasons):
    assert parse(table(3, count=counts))[1] == reasons


@cases("dtype", [pa.float64(), pa.float32(), pa.float16()], ids=str)
def test_ids_as_floats_are_refused(parse, dtype):
    """A double cannot hold most ids, so even a whole one may be another Tweet's."""
    ids = pa.array(np.array([5.0], dtype.to_pandas_dtype()))

    assert parse(table(tweet_id=ids)) == ([], ["invalid_id"])


@cases(
    ("ids", "rows", "reasons"),
    [
        (pa.array(["5", "+5", "x"]), 1, 2),
        (pa.array([5, 0, None], pa.int16()), 1, 2),
        (pa.array([5, 2**63, 2**64 - 1], pa.uint64()), 1, 2),
        (pa.array([Decimal(5), Decimal(2**63), None], pa.decimal128(38, 0)), 1, 2),
        (pa.array([Decimal(5), Decimal(6), Decimal("5.5")], pa.decimal128(38, 1)), 0, 3),
    ],
)
def test_bad_ids_reject_their_rows_only(parse, ids, rows, reasons):
    done, refused = parse(table(3, tweet_id=ids))

    assert (len(done), len(refused)) == (rows, reasons)


@cases("dtype", [pa.date32(), pa.date64()], ids=str)
def test_dates_are_no_times(parse, dtype):
    at = pa.array([date(2026, 1, 1)], dtype)

    assert parse(table(at=at)) == ([], ["invalid_time"])


OTHER_COLUMNS = {
    "decimal256": pa.array([Decimal(1)], pa.decimal256(76, 0)),
    "struct": pa.array([{"a": [1]}]),
    "list": pa.array([[[1]]]),
    "interval": pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
    "union": pa.UnionArray.from_dense(
        pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.nulls(1)]
    ),
    "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())),
    "uuid": pa.array([b"\xff" * 16], pa.uuid()),
}
ARROW_ONLY = ("interval", "union")


@cases(
    ("form", "name"),
    [
        (form, name)
        for form in ("parquet", "arrow")
        for name in OTHER_COLUMNS
        if form == "arrow" or name not in ARROW_ONLY
    ],
)
def test_columns_that_are_not_ours_are_not_read(read, form, name):
    body = WRITERS[form](table(other=OTHER_COLUMNS[name]))

    assert read(body, form).rows.drop("line").rows() == [GOOD]


@pytest.mark.parametrize("dtype", [pl.Int128, pl.Int64], ids=str)
def test_a_column_of_128_bits_that_is_not_ours(read, dtype):
    """Only polars writes them, and no other library reads the schema."""
    frame = pl.from_arrow(table(2, wide=[1, 2])).with_columns(pl.col("wide").cast(dtype))
    for form, write in (("parquet", frame.write_parquet), ("arrow", frame.write_ipc_stream)):
        target = io.BytesIO()
        write(target)
        assert read(target.getvalue(), form).rows.drop("line").rows() == [GOOD] * 2


def written(frame, form):
    """Write a frame as polars does, the only library that knows 128 bits."""
    target = io.BytesIO()
    write = {
        "parquet": frame.write_parquet,
        "arrow": frame.write_ipc_stream,
        "arrow file": frame.write_ipc,
    }
    write[form](target)
    return target.getvalue()


def wide(form, **columns):
    """Write an event with a column of 128 bits, and changes. None removes a column."""
    frame = pl.from_arrow(table()).with_columns(wide=pl.lit(1, pl.Int128))
    changes = {name: value for name, value in columns.items() if value is not None}
    return written(frame.with_columns(**changes).drop(columns.keys() - changes.keys()), form)


NO_COLUMN = "body: has no column {}; its columns are: "
UNSUITABLE = "body: column {} has the type {}"
WIDE_REFUSED = {
    "no column of ours": (
        {"tweet_id": None, "type": None, "at": None},
        NO_COLUMN.format("tweet_id, type, at") + "wide$",
    ),
    "one is missing": ({"at": None}, NO_COLUMN.format("at") + "tweet_id, type, wide$"),
    "a list": ({"type": pl.lit(["favorites"])}, UNSUITABLE.format("type", "List")),
    "wide lists": (
        {"count": pl.lit([1], pl.List(pl.Int128))},
        UNSUITABLE.format("count", r"List\(Int128\)"),
    ),
    "a struct": ({"type": pl.struct("type")}, UNSUITABLE.format("type", "Struct")),
    "a duration": ({"at": pl.duration(days=1)}, UNSUITABLE.format("at", "duration")),
}


@cases("form", WRITERS)
@cases(("columns", "message"), WIDE_REFUSED.values(), ids=WIDE_REFUSED)
def test_a_body_with_128_bits_is_refused_for_its_columns(read, form, columns, message):
    """The rules for its columns are those of every other body."""
    with pytest.raises(MalformedBody, match=message):
        read(wide(form, **columns), form.partition(" ")[0])


@pytest.mark.parametrize("form", WRITERS)
def test_numbers_of_128_bits_in_columns_of_ours(read, form):
    columns = {
        "tweet_id": pl.Series([7, 2**63, -1, 2**100], dtype=pl.Int128),
        "type": ["favorites"] * 4,
        "at": [AT] * 4,
        "count": pl.Series([3, 1, 1, 1], dtype=pl.UInt128),
        "notes": pl.Series([[1]] * 4, dtype=pl.List(pl.Int128)),
    }
    parsed = read(written(pl.DataFrame(columns), form), form.partition(" ")[0])

    assert parsed.rows.rows() == [(1, 7, "favorites", HOUR, 3, False)]
    assert parsed.rejected.select("line", "reason").rows() == [
        (line, "invalid_id") for line in (2, 3, 4)
    ]


def test_streams_with_and_without_128_bits_are_counted(read):
    first = stream(table(tweet_id=[1]))
    second, third = (wide("arrow", tweet_id=pl.lit(number)) for number in (2, 3))

    for bodies in ((second, third), (first, second, first), (second, first, third)):
        parsed = read(b"".join(bodies), "arrow")
        assert parsed.rows.height == len(bodies)
    with pytest.raises(MalformedBody, match="data after the end of the Arrow stream"):
        read(second + b"x" * 35, "arrow")


def test_views_runs_and_large_types(parse):
    content = table(
        2,
        tweet_id=pa.array(["5", "6"], pa.string_view()),
        type=pa.array(["favorites", "replies"], pa.large_string()),
    )

    assert [row[0] for row in parse(content)[0]] == [5, 6]


def test_run_end_encoded_columns(read):
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([3], pa.int32()), pa.array(["favorites"]))
    count = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array([2, 4]))

    rows = read(stream(table(3, type=runs, count=count)), "arrow").rows

    assert rows.get_column("count").to_list() == [2, 2, 4]


def numbered(first, count):
    return table(count, tweet_id=list(range(first, first + count)))


def test_concatenated_arrow_streams_are_counted(read):
    """`cat a.arrows b.arrows` makes such files. Lines count through."""
    last = table(2, tweet_id=["8", "x"], other=[1, 2])
    body = stream(numbered(1, 3)) + stream(numbered(4, 4)) + stream(last)

    parsed = read(body, "arrow")

    assert parsed.rows.select("line", "tweet_id").rows() == [(n, n) for n in range(1, 9)]
    assert parsed.rejected.get_column("line").to_list() == [9]


@cases("tail", [b"x" * 35, b"\n", b"\0" * 3, b"PAR1", b'{"tweet_id":"5"}'])
def test_other_data_after_an_arrow_stream_refuses_the_body(read, tail):
    with pytest.raises(MalformedBody, match="data after the end of the Arrow stream"):
        read(stream(table()) + tail, "arrow")


@cases("tail", [b"x", b"\n", b"\0" * 8, b"x" * 35])
@cases("form", ["parquet", "arrow file"])
def test_data_after_a_file_refuses_the_body(read, form, tail):
    with pytest.raises(MalformedBody):
        read(WRITERS[form](table()) + tail, form.partition(" ")[0])


def polars_file(content, **options):
    target = io.BytesIO()
    pl.from_arrow(content).write_ipc(target, **options)
    return target.getvalue()


def legacy_file(content):
    """Write an Arrow file as versions before 0.15: the end of its stream is four zeros."""
    target = pa.BufferOutputStream()
    options = ipc.IpcWriteOptions(use_legacy_format=True, metadata_version=ipc.MetadataVersion.V4)
    with ipc.new_file(target, content.schema, options=options) as writer:
        writer.write_table(content)
    return target.getvalue().to_pybytes()


def wide_file(content):
    """Write an Arrow file with a column that only polars reads."""
    return written(pl.from_arrow(content).with_columns(wide=pl.lit(1, pl.Int128)), "arrow file")


ARROW_FILES = {
    "pyarrow": arrow_file,
    "pyarrow, legacy": legacy_file,
    "polars": polars_file,
    "polars, 128 bits": wide_file,
}
FOLLOWING = {
    "of the same size": lambda write: write(numbered(1, 3)) + write(numbered(4, 3)),
    "a longer one": lambda write: write(numbered(1, 3)) + write(numbered(4, 4000)),
    "a shorter one": lambda write: write(numbered(1, 4000)) + write(numbered(4, 3)),
    "two": lambda write: b"".join(write(numbered(first, 3)) for first in (1, 4, 7)),
    "an empty one": lambda write: write(numbered(1, 3)) + write(table(0)),
    "after an empty one": lambda write: write(table(0)) + write(numbered(1, 3)),
    "after a line end": lambda write: write(numbered(1, 3)) + b"\n" + write(numbered(4, 3)),
    "after zeros": lambda write: write(numbered(1, 3)) + bytes(64) + write(numbered(4, 3)),
    "after text": lambda write: write(numbered(1, 3)) + b"x" * 5000 + write(numbered(4, 3)),
    "after one that is cut short": lambda write: write(numbered(1, 3))[:-9] + write(numbered(4, 3)),
    "empty, after text": lambda write: write(numbered(1, 3)) + b"\r\n" + write(table(0)),
}


@cases("write", ARROW_FILES.values(), ids=ARROW_FILES)
@cases("make", FOLLOWING.values(), ids=FOLLOWING)
def test_arrow_files_that_follow_each_other_refuse_the_body(read, make, write):
    """The footer of the last one would be read, with the batches of the first one."""
    with pytest.raises(MalformedBody, match="several Arrow files; send them one by one"):
        read(make(write), "arrow")


@cases("write", ARROW_FILES.values(), ids=ARROW_FILES)
@cases("rows", [0, 1, 1000])
def test_an_arrow_file_of_any_writer(read, write, rows):
    parsed = read(write(numbered(1, rows)), "arrow")

    assert parsed.rows.get_column("tweet_id").to_list() == list(range(1, rows + 1))


@pytest.mark.parametrize("rows", [0, 3])
def test_a_column_named_as_the_start_of_an_arrow_file(read, rows):
    content = numbered(1, rows).append_column("ARROW1", pa.array(["ARROW1"] * rows, pa.string()))
    for write in ARROW_FILES.values():
        assert read(write(content), "arrow").rows.height == rows


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_arrow_files_with_dictionaries_batches_and_compression(read, compression):
    content = numbered(1, 1000)
    words = content.set_column(1, "type", content.column("type").dictionary_encode())
    sink = pa.BufferOutputStream()
    with ipc.new_file(
        sink,
        words.schema,
        options=ipc.IpcWriteOptions(compression=compression),
        metadata={"a": "b"},
    ) as writer:
        writer.write_table(words, 30)
    frame = pl.from_arrow(content).with_columns(pl.col("type").cast(pl.Categorical))
    target = io.BytesIO()
    frame.write_ipc(target, compression=compression or "uncompressed", record_batch_size=70)
    for body in (sink.getvalue().to_pybytes(), target.getvalue()):
        assert read(body, "arrow").rows.get_column("tweet_id").to_list() == list(range(1, 1001))
        with pytest.raises(MalformedBody, match="several Arrow files"):
            read(body + body, "arrow")


def plain_parquet(content):
    """Of two such files with as many rows, all pages have the same sizes and places."""
    return parquet(content, compression="none", use_dictionary=False, write_statistics=False)


def indexed_parquet(content):
    return parquet(content, write_page_index=True, data_page_size=100)


def polars_parquet(content):
    return written(pl.from_arrow(content), "parquet")


def wide_parquet(content):
    return written(pl.from_arrow(content).with_columns(wide=pl.lit(1, pl.Int128)), "parquet")


PARQUET_FILES = {
    "pyarrow": parquet,
    "pyarrow, plain": plain_parquet,
    "pyarrow, indexes": indexed_parquet,
    "pyarrow, second version": lambda content: parquet(
        content, data_page_version="2.0", version="1.0"
    ),
    "polars": polars_parquet,
    "polars, 128 bits": wide_parquet,
}


@cases("write", PARQUET_FILES.values(), ids=PARQUET_FILES)
@cases("make", FOLLOWING.values(), ids=FOLLOWING)
def test_parquet_files_that_follow_each_other_refuse_the_body(read, make, write):
    """The metadata of the last one would be read, with the pages of the first one."""
    with pytest.raises(MalformedBody, match="several Parquet files; send them one by one"):
        read(make(write), "parquet")


@cases("write", PARQUET_FILES.values(), ids=PARQUET_FILES)
@cases("rows", [0, 1, 1000])
def test_a_parquet_file_of_any_writer(read, write, rows):
    """Its texts may hold the bytes with which a file begins and ends."""
    texts = [f"{number}PAR1PAR1\x15\0" for number in range(rows)]
    content = numbered(1, rows).append_column("PAR1", pa.array(texts, pa.string()))

    parsed = read(write(content), "parquet")

    assert parsed.rows.get_column("tweet_id").to_list() == list(range(1, rows + 1))


def test_a_file_with_indexes_and_bloom_filters_is_one_file(read):
    content = table(3000, note=[f"PAR1{number}PAR1" for number in range(3000)])
    body = parquet(content, write_page_index=True, data_page_size=200, row_group_size=100)

    assert read(body, "parquet").rows.height == 3000


@cases(
    "options",
    [
        {"row_group_size": 7},
        {"data_page_version": "2.0"},
        {"use_dictionary": False},
        {"compression": "zstd"},
        {"compression": "gzip"},
        {"compression": "none", "data_page_size": 100},
        {"use_deprecated_int96_timestamps": True},
        {"column_encoding": {"tweet_id": "DELTA_BINARY_PACKED"}, "use_dictionary": False},
        {"store_schema": False},
    ],
    ids=str,
)
def test_parquet_of_every_layout(read, options):
    parsed = read(parquet(numbered(1, 100), **options), "parquet")

    assert parsed.rows.select("line", "tweet_id").rows() == [(n, n) for n in range(1, 101)]
    assert set(parsed.rows.get_column("hour")) == {HOUR}


@cases("compression", [None, "lz4", "zstd"])
@cases("batch_rows", [1, 30, None])
def test_arrow_of_every_layout(read, compression, batch_rows):
    body = stream(numbered(1, 100), batch_rows=batch_rows, compression=compression)

    assert read(body, "arrow").rows.get_column("tweet_id").to_list() == list(range(1, 101))


def test_a_column_that_is_there_twice_refuses_the_body(read):
    twice = pa.Table.from_arrays(
        [*table().columns, pa.array([1]), pa.array([2])],
        [*table().column_names, "count", "count"],
    )
    for form in ("parquet", "arrow"):
        with pytest.raises(MalformedBody, match="column count twice"):
            read(WRITERS[form](twice), form)


def test_the_columns_that_are_there_are_named_up_to_a_limit(read):
    content = pa.table({f"column_{number}": [1] for number in range(100)})

    with pytest.raises(MalformedBody, match=r"no column tweet_id, type, at; .*column_19, \.\.\.$"):
        read(parquet(content), "parquet")


def test_rows_that_are_plain_and_others_keep_their_order_and_lines(read):
    """Typed rows and rows of text give the verdicts that text alone gives."""
    ids = [n if n % 7 else 0 for n in range(1, 2001)]
    types = ["likes" if n % 11 == 0 else "replies" for n in range(2000)]
    counts = [None if n % 5 == 0 else n % 13 - 6 for n in range(2000)]
    times = [
        None if n % 17 == 0 else datetime(2026, 1 + n % 12, 1, tzinfo=UTC) for n in range(2000)
    ]
    flags = [(None, True, False)[n % 3] for n in range(2000)]
    content = pa.table(
        {"tweet_id": ids, "type": types, "at": times, "count": counts, "promoted": flags}
    )
    texts = pa.table(
        {
            "tweet_id": list(map(str, ids)),
            "type": types,
            "at": [time and f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in times],
            "count": [None if count is None else str(count) for count in counts],
            "promoted": [None if flag is None else str(flag).lower() for flag in flags],
        }
    )
    for form in ("parquet", "arrow"):
        typed, text = read(WRITERS[form](content), form), read(WRITERS[form](texts), form)
        assert typed.rows.equals(text.rows)
        assert typed.rejected.equals(text.rejected)
        assert typed.rows.height > 500 < typed.rejected.height
