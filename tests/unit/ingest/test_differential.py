"""The vectorised validation of NDJSON and CSV gives the results of a slow, obvious one."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openengagement.errors import BodyTooLarge, MalformedBody

TYPES = {
    "impressions",
    "favorites",
    "retweets",
    "replies",
    "quote_tweets",
    "video_views",
    "media_views",
    "media_engagements",
    "url_clicks",
    "hashtag_clicks",
    "detail_expands",
    "permalink_clicks",
    "app_install_attempts",
    "app_opens",
    "email_tweet",
    "user_follows",
    "user_profile_clicks",
    "other_engagements",
}
NOW = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):?(\d\d))", re.ASCII
)
WHOLE = re.compile(r"-?[0-9]+", re.ASCII)
DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


# The reference: it validates line by line.


def expect_line(line):
    """The expected result of a line: None if it is blank, a reason, or the typed row."""
    try:
        text = line.decode().strip(" \t\r\n")
    except UnicodeDecodeError:
        return "malformed"
    if not text:
        return None
    try:
        value = json.loads(text, parse_constant=refuse_constant, parse_float=Decimal)
    except ValueError:
        return "malformed"
    return expect_value(value) if isinstance(value, dict) else "malformed"


def refuse_constant(name):
    raise ValueError(name)


def expect_value(event):
    if any(event.get(name) is None for name in ("tweet_id", "type", "at")):
        return "missing_field"
    # An id with a fraction or an exponent passed through a float, which rounds large numbers.
    is_whole = type(event["tweet_id"]) in (int, str) and WHOLE.fullmatch(str(event["tweet_id"]))
    tweet_id = int(event["tweet_id"]) if is_whole else 0
    if not 0 < tweet_id < 2**63:
        return "invalid_id"
    if not isinstance(event["type"], str) or event["type"] not in TYPES:
        return "unknown_type"
    at_s = unix_seconds(event["at"])
    if at_s is None or at_s < 0:
        return "invalid_time"
    if at_s > NOW.timestamp():
        return "in_future"
    count = 1 if event.get("count") is None else whole_number(event["count"])
    if count is None or not -(10**9) <= count <= 10**9:
        return "invalid_count"
    promoted = event.get("promoted")
    if isinstance(promoted, str):
        promoted = FLAGS.get(promoted, promoted)
    if promoted is not None and type(promoted) is not bool:
        return "invalid_flag"
    return (tweet_id, event["type"], at_s // 3600, count, promoted is True)


def whole_number(value):
    """The value of a whole number in any JSON notation, as a number or as text."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    if not DECIMAL.fullmatch(str(value)):
        return None
    number = Decimal(value)
    return int(number) if abs(number) < 10**20 and number == number.to_integral() else None


def unix_seconds(value):
    match = TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    day, minute, second, sign, hours, minutes = match.groups()
    leap = second == "60"
    try:
        whole = datetime.fromisoformat(f"{day}T{minute}:{59 if leap else second}+00:00") - EPOCH
    except ValueError:
        return None
    if sign and (int(hours) > 23 or int(minutes) > 59):
        return None
    offset = timedelta(hours=int(hours), minutes=int(minutes)) if sign else timedelta()
    at_s = int((whole - (offset if sign == "+" else -offset)).total_seconds())
    return None if leap and at_s % 86_400 != 86_399 else at_s


# The generated input

numbers = st.one_of(
    st.integers(-(2**65), 2**65),
    st.integers(-3, 3),
    st.sampled_from([10**9, 10**9 + 1, 2**63 - 1, 2**63, -(10**9), -(10**9) - 1]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1.0, 2.5, 1e3, -0.0, 1e15, 1e18]),
)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
anything = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    texts,
    st.lists(st.integers(), max_size=2),
    st.dictionaries(texts, st.integers(), max_size=2),
)
ids = st.one_of(
    st.integers(1, 2**63 - 1),
    st.integers(1, 2**63 - 1).map(str),
    st.sampled_from(["0", "007", "-1", str(2**63), "5.0", "1e3", "", " 5", "x"]),
)
moments = st.datetimes(
    datetime(1960, 1, 1),  # noqa: DTZ001
    datetime(2030, 1, 1),  # noqa: DTZ001
)
gaps = st.sampled_from(["T", "T", "T", "T", "t", " ", "_"])
zones = st.sampled_from(["Z", "Z", "Z", "z", "", "+02:00", "-05:30", "+0200", "+24:00", "UTC"])
fractions = st.sampled_from(["", "", "", ".5", ".000001", ".123456789", ".", ",5"])
times = st.one_of(
    st.builds(
        lambda at, gap, fraction, zone: f"{at:%Y-%m-%d}{gap}{at:%H:%M:%S}{fraction}{zone}",
        moments,
        gaps,
        fractions,
        zones,
    ),
    st.sampled_from(
        [
            "2016-12-31T23:59:60Z",
            "2016-12-31t18:29:60.5-05:30",
            "2016-12-31T22:59:60Z",
            "2026-11-22T10:15:00Z",
            "2026-11-22T10:15:01Z",
            "2026-02-29T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
            "2026-01-01",
            "2026-01-01T00:00:00",
        ]
    ),
)
COUNT_TEXTS = ["+5", "-0", "1.0", "1e3", "5.5", "1.", ""]
counts = st.one_of(numbers, numbers.map(str), st.sampled_from(COUNT_TEXTS))
flags = st.one_of(st.booleans(), st.sampled_from([*FLAGS, "tRUE", "", 0, 1]))
good = st.fixed_dictionaries(
    {
        "tweet_id": st.integers(1, 2**63 - 1).map(str),
        "type": st.sampled_from(sorted(TYPES)),
        "at": st.just("2026-01-01T00:30:00Z"),
    },
    optional={"count": st.integers(-5, 5), "promoted": st.booleans()},
)
odd = st.fixed_dictionaries(
    {},
    optional={
        "tweet_id": ids | anything,
        "type": st.sampled_from([*sorted(TYPES), "engagements", "x"]) | anything,
        "at": times | anything,
        "count": counts | anything,
        "promoted": flags | anything,
        "note": anything,
    },
)
mixed = st.builds(lambda whole, part: {**whole, **part}, good, odd)
objects = st.one_of(good, mixed, odd).map(lambda event: json.dumps(event).encode())
ascii_or_not = st.one_of(
    objects,
    st.builds(lambda event: json.dumps(event, ensure_ascii=False).encode(), mixed),
)


@st.composite
def damaged(draw):
    """An object on one line, with a few bytes dropped, doubled, inserted or changed."""
    line = bytearray(draw(objects))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(line) - 1)) if line else 0
        change = draw(st.sampled_from(["drop", "double", "change", "insert"]))
        byte = draw(st.sampled_from(b'{}[]",:\\0159eE.+-tfn u\x00\x1f\x7f\xc3\xff'))
        if change == "drop":
            del line[at : at + 1]
        elif change == "double":
            line[at:at] = line[at : at + 1]
        elif change == "insert":
            line.insert(at, byte)
        elif line:
            line[at] = byte
    return bytes(line)


others = st.one_of(
    st.sampled_from(
        [b"", b" ", b"\t", b"null", b"5", b'"x"', b"[]", b"{}", b"{", b"true", b"[{}]"]
    ),
    st.binary(max_size=8).map(lambda data: data.replace(b"\n", b"")),
    st.builds(lambda pad, line: pad + line + pad, st.sampled_from([b" ", b"\t", b""]), objects),
)
lines = st.one_of(ascii_or_not, ascii_or_not, damaged(), others)
bodies = st.lists(lines, max_size=10)
newlines = st.sampled_from([b"\n", b"\n", b"\r\n"])


def is_left_open(line):
    """Whether JSON leaves the meaning of a line open: it has half of a surrogate pair."""
    return b"\\ud" in line.lower()


def is_refused(body):
    """Whether a body is no NDJSON as a whole: an array, or another encoding."""
    return body.lstrip(b" \t\r\n").startswith(b"[") or UTF_16.match(body)


UTF_16 = re.compile(rb"\xff\xfe|\xfe\xff|(?:[^\0]\0){2}|(?:\0[^\0]){2}", re.DOTALL)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies, newlines, st.booleans())
@example([b"null", b"{}"], b"\n", False)
@example([b'{"tweet_id":"1"}', b""], b"\r\n", False)
def test_ndjson_is_validated_as_by_the_reference(read, body, newline, ends):
    body = [line for line in body if not is_left_open(line)]
    expected = list(map(expect_line, body))
    whole = newline.join(body) + (newline if ends else b"")
    if is_refused(whole):
        with pytest.raises(MalformedBody):
            read(whole)
        return

    parsed = read(whole)

    seen = {line: tuple(row) for line, *row in parsed.rows.rows()}
    seen |= dict(parsed.rejected.select("line", "reason").rows())
    assert seen == {
        index: verdict for index, verdict in enumerate(expected, start=1) if verdict is not None
    }


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies, newlines)
def test_a_line_has_the_same_result_alone_and_in_a_body(read, body, newline):
    """This holds for lines of open meaning, too."""
    # A line that is an array must not come first: the body would be an array.
    alone = {1: ("missing_field", "tweet_id is missing")}
    for index, line in enumerate(body, start=2):
        one = read(b"{}\n" + line)
        assert one.rows.height + one.rejected.height <= 2
        for number, *verdict in one.rows.rows() + one.rejected.rows():
            if number == 2:
                alone[index] = tuple(verdict)

    together = read(newline.join([b"{}", *body]))

    seen = {line: tuple(row) for line, *row in together.rows.rows()}
    seen |= {line: tuple(rest) for line, *rest in together.rejected.rows()}
    assert seen == alone


cells = st.one_of(
    st.sampled_from(["", "", "x", " ", "-1", "true", "NaN", "5.0", "\ufeff", "'", '"', "é", "a,b"]),
    ids.map(str),
    st.sampled_from(sorted(TYPES)),
    times,
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=6),
)
records = st.builds(
    lambda whole, changes: {**whole, **changes},
    good.map(lambda event: {name: str(value).lower() for name, value in event.items()}),
    st.dictionaries(
        st.sampled_from(["tweet_id", "type", "at", "count", "promoted", "note"]), cells, max_size=2
    ),
)
csv_lines = st.one_of(records, records, records, st.just("blank"), st.just("ragged"))
columns = st.permutations(["tweet_id", "type", "at", "count", "promoted", "note"])


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(csv_lines, max_size=8),
    columns,
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_csv_is_validated_as_by_the_reference(read, lines, names, quoting, newline, marked):
    """With any quoting and order of columns, blank and ragged lines, and a byte order mark."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator=newline)
    writer.writerow(names)
    expected = {}
    for index, line in enumerate(lines, start=2):
        if line == "blank":
            text.write(newline)
        elif line == "ragged":
            writer.writerow(["x"] * (len(names) + 2))
            expected[index] = "malformed"
        else:
            writer.writerow([line.get(name, "") for name in names])
            expected[index] = expect_value({name: value or None for name, value in line.items()})

    parsed = read("\ufeff" * marked + text.getvalue(), "csv")

    seen = {line: tuple(row) for line, *row in parsed.rows.rows()}
    seen |= dict(parsed.rejected.select("line", "reason").rows())
    assert seen == expected


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200), st.sampled_from(["ndjson", "json", "csv", "parquet", "arrow"]))
def test_any_bytes_are_parsed_or_refused(read_in_forks, body, form):
    """No input causes another exception, or a rejection without a reason."""
    try:
        parsed = read_in_forks(body, form)
    except (MalformedBody, BodyTooLarge):
        return
    assert parsed.rejected.null_count().sum_horizontal().item() == 0


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (b"", None),
        (b"{", "malformed"),
        (b'{"tweet_id":"5","type":"likes","at":"x"}', "unknown_type"),
        (
            b'{"tweet_id":5,"type":"replies","at":"2026-01-01T02:30:00+02:00","count":-2}',
            (5, "replies", 490_896, -2, False),
        ),
    ],
)
def test_the_reference_itself(line, verdict):
    assert expect_line(line) == verdict
