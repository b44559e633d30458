"""Parquet and Arrow bodies: the column types that are accepted, and the bodies that are refused."""

import io
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pytest

from openengagement.errors import BodyTooLarge, MalformedBody
from support.cases import cases

AT = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
HOUR = 490_896
FORMS = ("parquet", "arrow", "arrow file")


def write_frame(frame, form):
    target = io.BytesIO()
    if form == "parquet":
        frame.write_parquet(target)
    elif form == "arrow":
        frame.write_ipc_stream(target)
    else:
        frame.write_ipc(target)
    return target.getvalue()


def events(**columns):
    whole = {"tweet_id": [5], "type": ["favorites"], "at": ["2026-01-01T00:30:00Z"], **columns}
    return pl.DataFrame(whole)


@pytest.fixture(params=FORMS)
def parse_frame(request, read):
    """Parse a frame in every format: typed rows without line numbers, and reasons of rejections."""

    def parse(frame, **options):
        form = request.param
        parsed = read(write_frame(frame, form), form.split(" ")[0], **options)
        return parsed.rows.drop("line").rows(), parsed.rejected.get_column("reason").to_list()

    return parse


@cases(
    "dtype",
    [
        *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128),
        *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
        *(pl.String, pl.Decimal(38, 0)),
    ],
    ids=str,
)
def test_whole_numbers_of_any_type_are_accepted(parse_frame, dtype):
    frame = events(tweet_id=pl.Series([7]).cast(dtype), count=pl.Series([3]).cast(dtype))

    assert parse_frame(frame) == ([(7, "favorites", HOUR, 3, False)], [])


@cases(
    ("column", "value", "dtype", "reason"),
    [
        ("tweet_id", 2**63, pl.UInt64, "invalid_id"),
        ("tweet_id", 2**64 - 1, pl.UInt64, "invalid_id"),
        ("tweet_id", 2**70, pl.Int128, "invalid_id"),
        ("tweet_id", 0, pl.Int64, "invalid_id"),
        ("tweet_id", -1, pl.Int8, "invalid_id"),
        ("tweet_id", None, pl.Int64, "missing_field"),
        ("tweet_id", 1.5, pl.Float64, "invalid_id"),
        ("tweet_id", float("nan"), pl.Float64, "invalid_id"),
        ("tweet_id", 1e300, pl.Float64, "invalid_id"),
        ("tweet_id", True, pl.Boolean, "invalid_id"),
        ("type", "likes", pl.Categorical, "unknown_type"),
        ("type", 4, pl.Int64, "unknown_type"),
        ("type", None, pl.String, "missing_field"),
        ("at", None, pl.Datetime("us"), "missing_field"),
        ("at", 1767227400, pl.Int64, "invalid_time"),
        ("at", date(2026, 1, 1), pl.Date, "invalid_time"),
        ("at", time(10, 30), pl.Time, "invalid_time"),
        ("at", datetime(1969, 12, 31, 23), pl.Datetime("ms"), "invalid_time"),  # noqa: DTZ001
        ("at", datetime(2026, 12, 1), pl.Datetime("ns"), "in_future"),  # noqa: DTZ001
        ("at", datetime(9999, 12, 31), pl.Datetime("us"), "in_future"),  # noqa: DTZ001
        ("count", 10**9 + 1, pl.Int64, "invalid_count"),
        ("count", 1.5, pl.Float64, "invalid_count"),
        ("count", float("inf"), pl.Float32, "invalid_count"),
        ("count", "1.5", pl.String, "invalid_count"),
        ("count", True, pl.Boolean, "invalid_count"),
        ("promoted", 1, pl.Int64, "invalid_flag"),
        ("promoted", "perhaps", pl.String, "invalid_flag"),
    ],
)
def test_invalid_values_are_rejected(parse_frame, column, value, dtype, reason):
    frame = events(**{column: pl.Series([value], dtype=dtype)})

    assert parse_frame(frame) == ([], [reason])


@cases("unit", ["ms", "us", "ns"])
@cases(
    ("zone", "hour"),
    [(None, HOUR), ("UTC", HOUR), ("Europe/Berlin", HOUR), ("Asia/Kolkata", HOUR), ("+03:00", 0)],
)
def test_times_of_every_unit_and_zone_are_accepted(parse_frame, unit, zone, hour):
    """Without a zone, times are UTC; with a zone, they are converted."""
    if zone == "+03:00":
        zone, hour = "Etc/GMT-3", HOUR
    at = pl.Series([AT]).cast(pl.Datetime(unit, "UTC"))
    at = at.dt.convert_time_zone(zone) if zone else at.dt.replace_time_zone(None)

    assert parse_frame(events(at=at)) == ([(5, "favorites", hour, 1, False)], [])


@cases("unit", ["ms", "us", "ns"])
def test_fractions_of_a_second_stay_in_their_hour(parse_frame, unit):
    last = pl.Series([AT + timedelta(minutes=29, seconds=59, milliseconds=999)])

    rows, _ = parse_frame(events(at=last.cast(pl.Datetime(unit, "UTC"))))

    assert rows[0][2] == HOUR


@cases("unit", ["ms", "us"])
@cases("value", [2**63 - 1, -(2**63), 2**62, -(2**62)])
def test_times_out_of_range_are_rejected(parse_frame, unit, value):
    """Such a number is a bad line, not a panic of the decoder."""
    at = pl.Series([value, 1_767_227_400 * {"ms": 10**3, "us": 10**6}[unit]])
    frame = pl.concat([events(), events()]).with_columns(at=at.cast(pl.Datetime(unit)))

    try:
        rows, reasons = parse_frame(frame)
    except pl.exceptions.PanicException:
        pytest.fail("the engine panicked")
    assert rows == [(5, "favorites", HOUR, 1, False)]
    assert reasons[0] in {"invalid_time", "in_future"}


@cases("dtype", [pl.String, pl.Categorical, pl.Enum(["favorites", "likes"])], ids=str)
def test_types_may_be_text_or_dictionaries(parse_frame, dtype):
    frame = events(type=pl.Series(["favorites"], dtype=dtype))

    assert parse_frame(frame) == ([(5, "favorites", HOUR, 1, False)], [])


def test_dictionaries_may_have_nulls_and_repeats(parse_frame):
    names = pl.Series(["favorites", None, "likes", "favorites", "replies"], dtype=pl.Categorical)
    frame = pl.concat([events()] * 5).with_columns(type=names)

    rows, reasons = parse_frame(frame)

    assert [row[1] for row in rows] == ["favorites", "favorites", "replies"]
    assert reasons == ["missing_field", "unknown_type"]


@cases("value", [True, False, None, "true", "false"])
def test_flags_are_parsed(parse_frame, value):
    rows, _ = parse_frame(events(promoted=[value]))

    assert rows[0][4] is (value in {True, "true"})


def test_columns_of_type_null_are_accepted(parse_frame):
    frame = events(count=[None], promoted=[None])

    assert parse_frame(frame) == ([(5, "favorites", HOUR, 1, False)], [])


@cases(
    "column",
    [
        pl.Series([[1]]),
        pl.Series([{"a": 1}]),
        pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)),
        pl.Series([b"\xff"]),
        pl.Series([timedelta(seconds=1)]),
    ],
    ids=["list", "struct", "array", "binary", "duration"],
)
@cases("name", ["tweet_id", "type", "at", "count", "promoted"])
def test_columns_of_nested_or_binary_values_refuse_the_body(parse_frame, name, column):
    with pytest.raises(MalformedBody, match=name):
        parse_frame(events(**{name: column}))


def test_unknown_columns_may_have_any_type(parse_frame):
    frame = events(line=[9], nested=[{"a": [1]}], lists=[[1]], data=[b"\xff"])

    assert parse_frame(frame)[1] == []


def test_a_body_without_rows(parse_frame):
    assert parse_frame(events().clear()) == ([], [])


def test_missing_columns_refuse_the_body(parse_frame):
    with pytest.raises(MalformedBody, match=r"no column type, at; its columns are: tweet_id, who$"):
        parse_frame(pl.DataFrame({"tweet_id": [5, 6], "who": [1, 2]}))


def test_tweets_and_accounts_are_parsed(parse_frame):
    tweets = pl.DataFrame(
        {
            "id": [5],
            "author_id": ["6"],
            "created_at": [AT],
            "video_id": [None],
            "deleted": [False],
        }
    )
    accounts = pl.DataFrame({"id": [5], "screen_name": ["ana"], "protected": [True]})

    assert parse_frame(tweets, kind="tweets") == (
        [(5, 6, 1_767_227_400, None, False, None, None, None)],
        [],
    )
    assert parse_frame(accounts, kind="accounts") == ([(5, "ana", True, None)], [])


def test_rows_are_limited(parse_frame):
    frame = pl.concat([events()] * 11)
    assert len(parse_frame(frame[:10], lines_max=10)[0]) == 10
    with pytest.raises(BodyTooLarge, match="10 lines"):
        parse_frame(frame, lines_max=10)


def test_a_small_file_that_claims_many_rows_is_refused_before_decoding(read):
    """A few bytes of Parquet can stand for a billion rows, which would not fit into memory."""
    frame = pl.select(tweet_id=pl.repeat(5, 3_000_000), type=pl.repeat("favorites", 3_000_000))
    body = write_frame(frame, "parquet")
    assert len(body) < 30_000

    with pytest.raises(BodyTooLarge):
        read(body, "parquet", lines_max=1_000_000)


@pytest.mark.parametrize("rows", [1, 3])
def test_files_with_several_record_batches(read, rows):
    frame = pl.concat([events(tweet_id=[index]) for index in range(1, 10)])
    target = io.BytesIO()
    frame.write_ipc(target, record_batch_size=rows)
    parquet = io.BytesIO()
    frame.write_parquet(parquet, row_group_size=rows)

    for form, data in (("arrow", target), ("parquet", parquet)):
        lines = read(data.getvalue(), form).rows.select("line", "tweet_id").rows()
        assert lines == [(index, index) for index in range(1, 10)]


@cases("form", FORMS)
@cases("keep", [0, 4, 8, 0.25, 0.5, 0.75])
def test_truncated_files_are_refused(read, form, keep):
    frame = pl.concat([events()] * 1000)
    whole = write_frame(frame, form)
    cut = whole[: keep if isinstance(keep, int) else int(len(whole) * keep)]

    with pytest.raises(MalformedBody, match=form.split(" ")[0].capitalize()):
        read(cut, form.split(" ")[0])


@cases("form", ["parquet", "arrow"])
@cases("body", [b"hello", b'{"a":1}', b"\0" * 100, b"PAR1PAR1", b"ARROW1\0\0"])
def test_other_bytes_are_refused(read, form, body):
    with pytest.raises(MalformedBody):
        read(body, form)
