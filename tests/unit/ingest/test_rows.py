"""The rules for rows, and the reason for each rejection."""

import json

import pytest

from openengagement.engagement.types import EVENT_TYPES
from openengagement.ingest.rows import DropReason
from support.cases import cases

ID_MAX = 2**63 - 1
NO_CONTENT = (None, None, None)
HOUR = 490_896  # of 2026-01-01T00:30:00Z, since 1970


@pytest.fixture
def validate_event(read, event):
    """Validate one event as NDJSON: its typed row without the line number, or the reason."""

    def outcome(**changes):
        parsed = read(json.dumps(event(**changes)))
        assert parsed.rows.height + parsed.rejected.height == 1
        if parsed.rows.height:
            return parsed.rows.row(0)[1:]
        line, reason, detail = parsed.rejected.row(0)
        assert line == 1
        assert detail
        return reason

    return outcome


def test_a_valid_event_is_typed(validate_event):
    assert validate_event() == (5, "favorites", HOUR, 1, False)


@cases("name", EVENT_TYPES)
def test_every_type_is_accepted(validate_event, name):
    assert validate_event(type=name)[1] == name


@cases(
    "name", ["engagements", "media_clicks", "Favorites", " favorites", "favorites ", "", "like", 5]
)
def test_other_types_are_rejected(validate_event, name):
    assert validate_event(type=name) == "unknown_type"


def test_the_detail_of_the_derived_type_explains_it(read, event):
    detail = read(json.dumps(event(type="engagements"))).rejected.row(0)[2]

    assert "derived" in detail


@cases("field", ["tweet_id", "type", "at"])
@cases("value", [None, ...], ids=["null", "absent"])
def test_required_fields_must_be_present(validate_event, field, value):
    assert validate_event(**{field: value}) == "missing_field"


@cases(
    ("value", "number"),
    [
        (1, 1),
        ("1", 1),
        (ID_MAX, ID_MAX),
        (str(ID_MAX), ID_MAX),
        ("007", 7),
        ("0000000000000000000000000007", 7),
    ],
)
def test_valid_ids_are_accepted(validate_event, value, number):
    assert validate_event(tweet_id=value)[0] == number


@cases(
    "value",
    [
        0,
        "0",
        "000",
        -1,
        "-1",
        2**63,
        str(2**63),
        2**64,
        str(2**64 + 5),
        10**30,
        "9" * 60,
        5.5,
        "5.0",
        "1e3",
        "0x5",
        "1_0",
        "٣",
        "",
        " 5",
        "5 ",
        "abc",
        True,
        [5],
        {"id": 5},
        "5\x00",
    ],
)
def test_other_ids_are_rejected(validate_event, value):
    assert validate_event(tweet_id=value) == "invalid_id"


@cases(
    ("value", "count"),
    [
        (..., 1),
        (None, 1),
        (0, 0),
        (1, 1),
        (-1, -1),
        ("-1", -1),
        ("12", 12),
        ("+5", 5),
        ("007", 7),
        (1.0, 1),
        (1e3, 1000),
        ("1.0", 1),
        ("-2.00", -2),
        ("1e3", 1000),
        ("+1.5E1", 15),
        ("1000e-3", 1),
        ("-0", 0),
        (10**9, 10**9),
        (-(10**9), -(10**9)),
    ],
)
def test_valid_counts_are_accepted(validate_event, value, count):
    assert validate_event(count=value)[3] == count


@pytest.mark.parametrize("text", ["1e3", "1E3", "1000.0", "10.00e2"])
def test_a_count_may_be_written_in_any_json_notation(read, event, text):
    body = json.dumps(event(count="?")).replace('"?"', text)

    assert read(body).rows.get_column("count").to_list() == [1000]


@cases(
    "value",
    [
        10**9 + 1,
        -(10**9) - 1,
        2**63,
        -(2**63),
        -(2**64),
        10**30,
        1.5,
        -0.5,
        1e10,
        "1.5",
        "1e-1",
        "1.000000000000000000001",
        "1000000000.5",
        "1e10",
        "1e400",
        "1e-9999",
        "1e99999999999999999999",
        "1.",
        ".5",
        "1e",
        "e3",
        "0x1",
        "1,000",
        "1_000",
        "1.0 ",
        "\u0661.0",
        "Infinity",
        "NaN",
        "",
        " 1",
        "1 ",
        "--1",
        "one",
        True,
        [1],
        {"n": 1},
    ],
)
def test_other_counts_are_rejected(validate_event, value):
    assert validate_event(count=value) == "invalid_count"


@cases(
    ("value", "hour"),
    [
        ("2026-01-01T00:00:00Z", HOUR),
        ("2026-01-01T00:59:59Z", HOUR),
        ("2026-01-01T01:00:00Z", HOUR + 1),
        ("2026-01-01T00:00:00z", HOUR),
        ("2026-01-01T00:59:59.999999999Z", HOUR),
        ("2026-01-01T00:59:59.9999999999999Z", HOUR),
        ("2026-01-01T00:00:00.0Z", HOUR),
        ("2026-01-01T00:00:00+00:00", HOUR),
        ("2026-01-01T00:00:00-00:00", HOUR),
        ("2026-01-01T02:00:00+02:00", HOUR),
        ("2025-12-31T19:00:00-05:00", HOUR),
        ("2026-01-01T05:30:00.25+05:30", HOUR),
        ("2026-01-01T00:00:00+0200", HOUR - 2),
        ("2025-12-31T23:59:59.5-00:01", HOUR),
        ("2026-01-01T23:59:00+23:59", HOUR),
        ("2024-02-29T12:00:00Z", 474_780),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00+00:00", 0),
        ("2026-11-22T10:15:00Z", 498_706),
        ("2026-11-22T12:15:00+02:00", 498_706),
        # A leap second belongs to the hour and the day that it ends.
        ("2016-12-31T23:59:60Z", 412_007),
        ("2016-12-31t23:59:60.999z", 412_007),
        ("2017-01-01T05:29:60+05:30", 412_007),
        ("2016-12-31 18:59:60-0500", 412_007),
        ("2026-11-21T23:59:60Z", 498_695),
        ("2026-01-01t00:00:00z", HOUR),
        ("2026-01-01 00:00:00Z", HOUR),
        ("2026-01-01 05:30:00.123456789+05:30", HOUR),
        ("2024-02-29t23:59:60-00:00", 474_791),
    ],
)
def test_valid_times_are_accepted(validate_event, value, hour):
    assert validate_event(at=value)[2] == hour


@cases(
    "value",
    [
        "",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.5",
        "2026-01-01 00:00:00",
        "2026-01-01T00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T10:59:60Z",
        "2026-01-01T23:58:60Z",
        "2026-01-01T23:59:60+01:00",
        "2026-01-01T00:00:60.5-00:00",
        "2026-01-01T05:29:60Z",
        "1969-12-31T23:59:60Z",
        "2026-02-29T23:59:60Z",
        "2026-01-01  00:00:00Z",
        "2026-01-01_00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+00:60",
        "2026-01-01T00:00:00+2",
        "2026-01-01T00:00:00ZZ",
        "2026-01-01T00:00:00Z ",
        "2026-01-01T00:00:00UTC",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00.Z",
        "0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "-2026-01-01T00:00:00Z",
        "02026-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "1969-12-31T23:59:59.5Z",
        "1970-01-01T00:00:00+00:01",
        "٢٠٢٦-01-01T00:00:00Z",
        1767225600,
        1767225600.5,
        True,
        ["2026-01-01T00:00:00Z"],
    ],
)
def test_times_that_do_not_exist_are_rejected(validate_event, value):
    assert validate_event(at=value) == "invalid_time"


@cases(
    "value",
    [
        "2026-1-2T3:4:5Z",
        "2026- 1-02T03:04:05Z",
        " 2026-01-01T00:00:00Z",
        "+2026-01-01T00:00:00Z",
        "+12026-01-01T00:00:00Z",
        "2026-01-01T00:00:00\N{MINUS SIGN}02:00",
        "2026-01-01T00:00:00 Z",
        "2026-01-01T00:00:00 +02:00",
        "2026-01-01T00:00:00.5 +02:00",
    ],
)
def test_times_in_other_notations_are_rejected(validate_event, value):
    """A lenient parser would accept these, but RFC 3339 does not."""
    assert validate_event(at=value) == "invalid_time"


@pytest.mark.parametrize(
    "value",
    ["2026-11-22T10:15:01Z", "2026-11-22T10:16:00+00:00", "9999-12-31T23:59:59Z"],
)
def test_times_in_the_future_are_rejected(validate_event, value):
    assert validate_event(at=value) == "in_future"


@cases(
    ("value", "promoted"),
    [
        (..., False),
        (None, False),
        (True, True),
        (False, False),
        ("true", True),
        ("false", False),
        ("True", True),
        ("False", False),
        ("TRUE", True),
        ("FALSE", False),
    ],
)
def test_valid_flags_are_accepted(validate_event, value, promoted):
    assert validate_event(promoted=value)[4] is promoted


@cases("value", ["", "tRUE", "T", "yes", "1", "0", 0, 1, 1.0, [True], " true"])
def test_other_flags_are_rejected(validate_event, value):
    assert validate_event(promoted=value) == "invalid_flag"


def test_the_first_broken_rule_gives_the_reason(validate_event):
    faults = {"tweet_id": 0, "type": "x", "at": "x", "count": "x", "promoted": "x"}
    good = {"tweet_id": 1, "type": "replies", "at": "2026-01-01T00:00:00Z", "count": 1}

    seen = []
    for field in faults:
        seen.append(validate_event(**faults))
        faults[field] = good.get(field, True)

    assert seen == [
        "invalid_id",
        "unknown_type",
        "invalid_time",
        "invalid_count",
        "invalid_flag",
    ]


def test_details_are_short(read, event):
    body = json.dumps(event(tweet_id="x" * 100_000))

    assert len(read(body).rejected.row(0)[2]) < 200


# Tweets


def tweet(**changes):
    whole = {"id": "5", "author_id": "7", "created_at": "2026-01-01T00:00:00Z", **changes}
    return json.dumps({name: value for name, value in whole.items() if value is not ...})


@pytest.mark.parametrize("value", [None, ...], ids=["null", "absent"])
def test_fields_that_a_tweet_leaves_out_are_null(read, value):
    """The store then keeps the known value, or uses the default."""
    row = tweet(created_at=value, video_id=value, deleted=value)
    parsed = read(row, kind="tweets")

    assert parsed.rejected.height == 0
    assert parsed.rows.rows() == [(1, 5, 7, None, None, None, *NO_CONTENT)]


@cases("form", ["ndjson", "json", "csv", "parquet", "arrow"])
def test_rows_of_every_format_may_leave_fields_out(read, write, form):
    """The second row leaves out fields of the first one; in CSV they are empty."""
    said = {"created_at": "2026-01-01T00:00:00Z", "video_id": "3", "deleted": True, "text": "Fog."}
    rows = [{"id": "5", "author_id": "7", **said}, {"id": "6", "author_id": "7"}]
    names = [{"id": 1, "screen_name": "ana", "protected": False}, {"id": 2, "screen_name": "bea"}]

    tweets = read(write(rows, form), form, kind="tweets")
    accounts = read(write(names, form), form, kind="accounts")

    assert tweets.rows.drop("line").rows() == [
        (5, 7, 1_767_225_600, "3", True, "Fog.", None, None),
        (6, 7, None, None, None, *NO_CONTENT),
    ]
    assert accounts.rows.drop("line").rows() == [(1, "ana", False, None), (2, "bea", None, None)]
    assert tweets.rejected.height == accounts.rejected.height == 0


@cases("form", ["ndjson", "json", "csv", "parquet", "arrow"])
def test_every_format_may_leave_columns_out(read, write, form):
    tweets = read(write([{"id": "6", "author_id": "7"}], form), form, kind="tweets")
    accounts = read(write([{"id": 2, "screen_name": "bea"}], form), form, kind="accounts")

    assert tweets.rows.drop("line").rows() == [(6, 7, None, None, None, *NO_CONTENT)]
    assert accounts.rows.drop("line").rows() == [(2, "bea", None, None)]


def test_a_tweet_with_all_fields(read):
    body = tweet(video_id=str(ID_MAX), deleted=True, created_at="2026-01-01T01:00:00.9+01:00")
    parsed = read(body, kind="tweets")

    assert parsed.rows.rows() == [(1, 5, 7, 1767225600, str(ID_MAX), True, *NO_CONTENT)]


VIDEO_IDS = {
    "a media key": "13_1263145212760805376",
    "a UUID": "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    "a UUID in braces": "{1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed}",
    "one character": "v",
    "128 characters": "x" * 128,
    "128 characters of 4 bytes": "\N{MOVIE CAMERA}" * 128,
    "other scripts": "\u0444\u0438\u043b\u044c\u043c \u6620\u753b",
    "a joined emoji": "\U0001f468\u200d\U0001f3a4",
    "marks": "a/b?c=d&e#f%20;'<>\\|~",
    "quotes and commas": 'a,"b",c',
    "hexadecimal": "12e4567",
    "zero": "0",
    "negative": "-5",
    "larger than 2^63": "9223372036854775808",
    "128 digits": "7" * 128,
    "dots": "1.2.3",
    "a name with a dot": "clip.mp4",
}


@cases("form", ["ndjson", "json", "csv", "parquet", "arrow"])
def test_video_ids_are_any_text(read, write, form):
    rows = [{"id": 5, "author_id": 7, "video_id": text} for text in VIDEO_IDS.values()]
    parsed = read(write(rows, form), form, kind="tweets")

    assert parsed.rejected.rows() == []
    assert parsed.rows.get_column("video_id").to_list() == list(VIDEO_IDS.values())


@cases("form", ["ndjson", "json", "csv", "parquet", "arrow"])
@cases("video_id", [5, "5", "05", "0005"])
def test_a_number_is_the_same_video_as_its_digits(read, write, form, video_id):
    row = {"id": 5, "author_id": 7, "video_id": video_id}
    parsed = read(write([row], form), form, kind="tweets")

    assert parsed.rows.get_column("video_id").to_list() == ["5"]


@cases(
    ("video_id", "canonical"),
    [("000", "0"), ("0x5", "0x5"), ("05_1", "05_1"), ("0" * 127 + "9", "9"), ("-05", "-05")],
)
def test_only_numbers_lose_their_leading_zeros(read, video_id, canonical):
    parsed = read(tweet(video_id=video_id), kind="tweets")

    assert parsed.rows.get_column("video_id").to_list() == [canonical]


LONG = "video_id {} is not text of 1 to 128 characters"
INVISIBLE = "video_id has a control character or line break, or a space at an end"
ROUNDED = "video_id {} is a number with a fraction or an exponent; send the id as text"


@cases(
    ("video_id", "detail"),
    [
        ("", LONG),
        ("x" * 129, LONG),
        ("\N{MOVIE CAMERA}" * 129, LONG),
        ("7" * 129, LONG),
        *((f"a{mark}b", INVISIBLE) for mark in "\0\t\n\r\x1f\x7f\x85\u2028\u2029"),
        *((text, INVISIBLE) for text in (" 5", "5 ", " ", "\u00a05", "5\u3000", "\n")),
        *((text, ROUNDED) for text in ("5.0", "-5.25", "2.126287388564002e+18", "5e+18", "1.5E3")),
    ],
)
def test_invalid_video_ids_are_rejected(read, video_id, detail):
    parsed = read(tweet(video_id=video_id), kind="tweets")

    assert parsed.rejected.rows() == [(1, "invalid_id", detail.format(video_id[:64]))]


@cases("value", ["[]", '["13_7001"]', "{}", '{"id":"13_7001"}', "[[5]]"])
@cases("form", ["ndjson", "json"])
def test_a_nested_value_is_no_video_id(read, value, form):
    body = tweet(video_id="?").replace('"?"', value)
    parsed = read(body if form == "ndjson" else f"[{body}]", form, kind="tweets")

    detail = f"video_id {value} is not text; send the id as text"
    assert parsed.rejected.rows() == [(1, "invalid_id", detail)]


@pytest.mark.parametrize("value", ["[]", '["13_7001"]', '{"id":"13_7001"}'])
def test_text_that_looks_like_a_nested_value_is_a_video_id(read, value):
    parsed = read(tweet(video_id=value), kind="tweets")

    assert parsed.rows.get_column("video_id").to_list() == [value]


@cases("value", ["[7]", "[1.5]", '{"a":[-2e-5]}', "[null,true]"])
@cases("field", ["id", "author_id", "created_at", "deleted", "video_id"])
def test_a_nested_value_is_quoted_as_it_was_sent(read, field, value):
    parsed = read(tweet(**{field: "?"}).replace('"?"', value), kind="tweets")

    ((_, _, detail),) = parsed.rejected.rows()
    assert detail.startswith(f"{field} {value} is not ")


@pytest.mark.parametrize("number", ["5.0", "2.126287388564002e18", "5e+18"])
def test_a_rounded_number_is_no_video_id(read, number):
    """Ids that were floats are rounded: many Tweets would share one video."""
    body = tweet(video_id="?").replace('"?"', number)
    parsed = read(body, kind="tweets")

    assert parsed.rejected.get_column("reason").to_list() == ["invalid_id"]


@cases(
    ("changes", "reason"),
    [
        ({"id": ...}, "missing_field"),
        ({"author_id": None}, "missing_field"),
        ({"id": "0"}, "invalid_id"),
        ({"id": str(2**63)}, "invalid_id"),
        ({"author_id": "-4"}, "invalid_id"),
        ({"author_id": 1.5}, "invalid_id"),
        ({"video_id": ""}, "invalid_id"),
        ({"created_at": "yesterday"}, "invalid_time"),
        ({"created_at": "2026-01-01"}, "invalid_time"),
        ({"created_at": "1969-12-31T23:59:59Z"}, "invalid_time"),
        ({"created_at": "2026-11-22T10:15:01Z"}, "in_future"),
        ({"deleted": "no"}, "invalid_flag"),
    ],
)
def test_invalid_tweets_are_rejected(read, changes, reason):
    parsed = read(tweet(**changes), kind="tweets")

    assert parsed.rejected.get_column("reason").to_list() == [reason]
    assert parsed.rows.height == 0


# Accounts


@cases("name", ["a", "x" * 64, "demo_author", "Ana.B-2", "Zoë", "数学", "ЮЛИЯ", "0", "-", "."])
def test_valid_screen_names_are_accepted(read, name):
    parsed = read(json.dumps({"id": 1, "screen_name": name}), kind="accounts")

    assert parsed.rows.rows() == [(1, 1, name, None, None)]


@cases(
    ("value", "protected"),
    [(..., None), (None, None), (True, True), (False, False), ("true", True), ("False", False)],
)
def test_protected_is_optional(read, value, protected):
    said = {} if value is ... else {"protected": value}
    parsed = read(json.dumps({"id": 1, "screen_name": "ana", **said}), kind="accounts")

    assert parsed.rows.rows() == [(1, 1, "ana", protected, None)]


@cases(
    "name", ["", "x" * 65, "a b", "a\n", "<b>", "a/b", "@ana", "a'b", "a\x00", "a&b", "a\u200db"]
)
def test_other_screen_names_are_rejected(read, name):
    parsed = read(json.dumps({"id": 1, "screen_name": name}), kind="accounts")

    assert parsed.rejected.get_column("reason").to_list() == ["invalid_name"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": None}, "missing_field"),
        ({"screen_name": None}, "missing_field"),
        ({"id": "zero"}, "invalid_id"),
        ({"protected": "maybe"}, "invalid_flag"),
    ],
)
def test_invalid_accounts_are_rejected(read, changes, reason):
    record = {"id": 1, "screen_name": "ana", "protected": True} | changes
    parsed = read(json.dumps(record), kind="accounts")

    assert parsed.rejected.get_column("reason").to_list() == [reason]


# Every reason, in every format

BAD = {
    "missing_field": {"tweet_id": None},
    "invalid_id": {"tweet_id": "-3"},
    "unknown_type": {"type": "likes"},
    "invalid_time": {"at": "now"},
    "in_future": {"at": "2027-01-01T00:00:00Z"},
    "invalid_count": {"count": "2.5"},
    "invalid_flag": {"promoted": "perhaps"},
}


@cases("form", ["ndjson", "json", "csv", "parquet", "arrow"])
def test_every_format_reports_every_reason_with_its_line(read, write, event, form):
    """Valid and invalid lines alternate."""
    good = event(count=None, promoted=None)
    records = [row for change in BAD.values() for row in (good, good | change)]
    offset = 1 if form == "csv" else 0  # its header is line 1

    parsed = read(write(records, form), form)

    lines = [index * 2 + offset for index in range(1, len(BAD) + 1)]
    assert parsed.rejected.select("line", "reason").rows() == list(zip(lines, BAD, strict=True))
    assert parsed.rows.get_column("line").to_list() == [line - 1 for line in lines]
    assert parsed.rows.get_column("count").to_list() == [1] * len(BAD)


@cases("form", ["ndjson", "json", "csv", "parquet", "arrow"])
def test_every_format_gives_the_same_rows(read, write, event, form):
    records = [
        event(tweet_id=str(index + 1), type=name, count=index - 5, promoted=index % 2 == 0)
        for index, name in enumerate(EVENT_TYPES)
    ]

    parsed = read(write(records, form), form)

    assert parsed.rejected.height == 0
    expected = [
        (index + 1, name, HOUR, index - 5, index % 2 == 0) for index, name in enumerate(EVENT_TYPES)
    ]
    assert parsed.rows.drop("line").rows() == expected


def test_the_tables_above_cover_every_reason():
    elsewhere = {"malformed", "invalid_name", "name_taken", "invalid_text", "invalid_url"}

    assert {reason.value for reason in DropReason} == set(BAD) | elsewhere
