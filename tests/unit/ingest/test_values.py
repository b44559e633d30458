"""Every format gives the same verdict on the same value: the table of `ingest.values`."""

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from support.cases import cases

FORMS = ["ndjson", "json", "csv", "parquet", "arrow"]
ID_MAX = 2**63 - 1
HOUR = 490_896  # of 2026-01-01T00:30:00Z, since 1970

# The values of a field as text, and the typed value or the reason of the rejection.
TEXTS = {
    "tweet_id": {
        "5": 5,
        "007": 7,
        "2123332144745940901": 2123332144745940901,
        str(ID_MAX): ID_MAX,
        **dict.fromkeys(
            [
                "0",
                "-5",
                "+5",
                str(2**63),
                "9" * 40,
                "5.0",
                "1e3",
                "2.1E+18",
                "0x5",
                " 5",
                "5 ",
                "x",
            ],
            "invalid_id",
        ),
    },
    "count": {
        "1": 1,
        "-1": -1,
        "+5": 5,
        "007": 7,
        "0": 0,
        "-0": 0,
        "1.0": 1,
        "-3.00": -3,
        "1e3": 1000,
        "1E+3": 1000,
        "2.50e1": 25,
        "1000000000": 10**9,
        "1e9": 10**9,
        **dict.fromkeys(
            [
                "1.5",
                "1e-1",
                "1000000001",
                "-1e10",
                "1e400",
                "9" * 40,
                "0x1",
                "1,0",
                "1.",
                ".5",
                "x",
            ],
            "invalid_count",
        ),
        **dict.fromkeys([" 1", "1 ", "NaN", "inf", "true"], "invalid_count"),
    },
    "promoted": {
        **dict.fromkeys(["true", "True", "TRUE"], True),
        **dict.fromkeys(["false", "False", "FALSE"], False),
        **dict.fromkeys(["1", "0", "t", "f", "yes", "no", "tRUE", " true", "on"], "invalid_flag"),
    },
    "at": {
        **dict.fromkeys(
            [
                "2026-01-01T00:30:00Z",
                "2026-01-01t00:30:00z",
                "2026-01-01 00:30:00Z",
                "2026-01-01T00:30:00.123456789Z",
                "2026-01-01T06:00:00+05:30",
                "2026-01-01 06:00:00+0530",
                "2025-12-31T19:30:00.5-05:00",
                "2026-01-01T00:30:00-00:00",
            ],
            HOUR,
        ),
        "2016-12-31T23:59:60Z": 412_007,
        "2017-01-01T05:29:60.5+05:30": 412_007,
        **dict.fromkeys(
            [
                "2026-01-01T10:59:60Z",
                "2026-01-01T23:59:60+01:00",
                "2026-01-01T24:00:00Z",
                "2026-02-29T00:00:00Z",
                "2026-01-01T00:30:00",
                "2026-01-01 00:30",
                "2026-01-01T00:30Z",
                "2026-01-01",
                "1969-12-31T23:59:60Z",
                "20260101T003000Z",
                "01/01/2026 00:30",
                "1767227400",
                " 2026-01-01T00:30:00Z",
                "x",
            ],
            "invalid_time",
        ),
        "2027-01-01T00:00:00Z": "in_future",
    },
}


def verdict_on(parsed, field):
    """The typed value of the field in the only row, or the reason of its rejection."""
    if parsed.rejected.height:
        return parsed.rejected.get_column("reason").item()
    return parsed.rows.get_column("hour" if field == "at" else field).item()


def verdicts_on(parsed, field):
    """The verdict on each row, in the order of rows."""
    typed = parsed.rows.select("line", "hour" if field == "at" else field).rows()
    return [
        verdict for _, verdict in sorted(typed + parsed.rejected.select("line", "reason").rows())
    ]


@cases("form", FORMS)
@cases("field", TEXTS)
def test_text(read, write, event, form, field):
    texts = TEXTS[field]
    parsed = read(write([event(**{field: text}) for text in texts], form), form)

    assert dict(zip(texts, verdicts_on(parsed, field), strict=True)) == texts


@pytest.mark.parametrize("form", FORMS)
def test_text_in_a_decoder_process(read, read_in_forks, write, event, form):
    """Most tests of this folder decode columnar bodies in their own process."""
    body = write([event(**{field: text}) for field, texts in TEXTS.items() for text in texts], form)
    here, there = read(body, form), read_in_forks(body, form)

    assert here.rows.equals(there.rows)
    assert here.rejected.equals(there.rejected)


# Numbers and booleans of JSON, as they are written there; the verdict is that on the same text.
TOKENS = {
    "tweet_id": ["5", "0", "-5", str(ID_MAX), str(2**63), "9" * 40, "5.0", "1e3", "2.1E+18"],
    "count": [
        *["1", "-1", "0", "-0", "1.0", "-3.00", "1e3", "1E+3", "2.50e1", "1000000000", "1e9"],
        *["1.5", "1e-1", "1000000001", "-1e10", "1e400", "9" * 40, "true"],
    ],
    "promoted": ["true", "false", "1", "0"],
    "at": ["1767227400"],
}
KEYS = {"plain": str, "escaped": lambda name: f"\\u{ord(name[0]):04x}{name[1:]}"}


@cases("form", ["ndjson", "json"])
@cases("spell", KEYS.values(), ids=KEYS)
@cases("field", TOKENS)
def test_json_values(read, event, form, spell, field):
    for token in TOKENS[field]:
        text = json.dumps(event(**{field: "?"})).replace('"?"', token)
        text = text.replace(f'"{field}"', f'"{spell(field)}"')
        # Next to a plain line the text takes another path than alone.
        plain = json.dumps(event())
        for others in ([], [plain]):
            lines = [text, *others]
            body = f"[{','.join(lines)}]" if form == "json" else "\n".join(lines)
            parsed = read(body, form)
            rows = parsed.rows.filter(pl.col("line") == 1)
            seen = verdict_on(type(parsed)(rows, parsed.rejected), field)
            assert seen == TEXTS[field][token], token


# Typed columns of Parquet and Arrow.
TYPED = [
    ("tweet_id", pl.Series([5], dtype=pl.Int64), 5),
    ("tweet_id", pl.Series([5], dtype=pl.UInt8), 5),
    ("tweet_id", pl.Series([ID_MAX], dtype=pl.UInt64), ID_MAX),
    ("tweet_id", pl.Series([2**63], dtype=pl.UInt64), "invalid_id"),
    ("tweet_id", pl.Series([-5], dtype=pl.Int32), "invalid_id"),
    ("tweet_id", pl.Series([5.0], dtype=pl.Float64), "invalid_id"),
    ("tweet_id", pl.Series(["5"], dtype=pl.Categorical), 5),
    ("tweet_id", pl.Series([True]), "invalid_id"),
    ("count", pl.Series([-3], dtype=pl.Int8), -3),
    ("count", pl.Series([10**9], dtype=pl.UInt64), 10**9),
    ("count", pl.Series([2.0], dtype=pl.Float64), 2),
    ("count", pl.Series([2.0], dtype=pl.Float32), 2),
    ("count", pl.Series([1e9], dtype=pl.Float64), 10**9),
    ("count", pl.Series([-3e6], dtype=pl.Float64), -3_000_000),
    ("count", pl.Series([Decimal("2.00")], dtype=pl.Decimal(38, 2)), 2),
    ("count", pl.Series([Decimal(7)], dtype=pl.Decimal(38, 0)), 7),
    ("count", pl.Series([2.5], dtype=pl.Float64), "invalid_count"),
    ("count", pl.Series([1e10], dtype=pl.Float64), "invalid_count"),
    ("count", pl.Series([float("nan")], dtype=pl.Float64), "invalid_count"),
    ("count", pl.Series([float("inf")], dtype=pl.Float64), "invalid_count"),
    ("count", pl.Series([Decimal("2.01")], dtype=pl.Decimal(38, 2)), "invalid_count"),
    ("count", pl.Series([True]), "invalid_count"),
    ("count", pl.Series([None], dtype=pl.Int64), 1),
    ("promoted", pl.Series([True]), True),
    ("promoted", pl.Series([False]), False),
    ("promoted", pl.Series([None], dtype=pl.Boolean), False),
    ("promoted", pl.Series([1], dtype=pl.Int64), "invalid_flag"),
    ("at", pl.Series([datetime(2026, 1, 1, 0, 30)], dtype=pl.Datetime("us")), HOUR),  # noqa: DTZ001
    ("at", pl.Series([datetime(2026, 1, 1, 0, 30, tzinfo=UTC)]), HOUR),
    ("at", pl.Series([datetime(2026, 1, 1, 0, 30)], dtype=pl.Datetime("ns")), HOUR),  # noqa: DTZ001
    ("at", pl.Series([date(2026, 1, 1)]), "invalid_time"),
    ("at", pl.Series([1_767_227_400]), "invalid_time"),
    ("at", pl.Series([datetime(2027, 1, 1, tzinfo=UTC)]), "in_future"),
    ("at", pl.Series([datetime(1969, 12, 31, tzinfo=UTC)]), "invalid_time"),
]


@cases("form", ["parquet", "arrow"])
@cases(("field", "column", "verdict"), TYPED, ids=[f"{f}-{s.dtype}-{s[0]}" for f, s, _ in TYPED])
def test_typed_columns(read, event, form, field, column, verdict):
    frame = pl.DataFrame(event()).with_columns(column.alias(field))
    target = io.BytesIO()
    frame.write_parquet(target) if form == "parquet" else frame.write_ipc_stream(target)

    assert verdict_on(read(target.getvalue(), form), field) == verdict
