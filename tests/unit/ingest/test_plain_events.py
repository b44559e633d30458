"""The fast path for events gives the results of the general path, or leaves lines to it."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openengagement.engagement.types import EVENT_TYPES, ID_MAX
from openengagement.errors import BodyTooLarge
from openengagement.ingest.batch_parser import BatchParser
from openengagement.ingest.formats import plain_events
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.formats.parsing import parse_body
from openengagement.ingest.formats.plain_events import split_plain_events
from openengagement.ingest.rows import EVENTS, validate
from support.cases import cases

LATEST_S = datetime(2026, 11, 22, 10, 15, tzinfo=UTC).timestamp()
EVENT = {"tweet_id": "123", "type": "favorites", "at": "2026-11-22T10:15:00Z"}
WHOLE = EVENT | {"count": 3, "promoted": False}
COMPACT = {"separators": (",", ":")}


def ndjson(*rows, **how):
    return "".join(f"{json.dumps(row, ensure_ascii=False, **how)}\n" for row in rows).encode()


def parse_in_general(body, latest_s=LATEST_S):
    """The general path: valid rows, and the numbers of rejected lines."""
    parsed = parse_body(body, Format.NDJSON, kind=EVENTS, lines_max=10**6)
    rows, rejected = validate(parsed.rows, EVENTS, latest_s=latest_s)
    return rows, {*parsed.malformed, *rejected.get_column("line")}


def parse_fast(body, latest_s=LATEST_S):
    """Both paths together: valid rows, and the numbers of rejected lines."""
    parser = BatchParser(lines_max=10**6, latest_s=lambda: latest_s)
    parsed = parser.parse(body, Format.NDJSON, kind=EVENTS)
    return parsed.rows, set(parsed.rejected.get_column("line"))


def assert_alike(body, latest_s=LATEST_S):
    rows, refused = parse_fast(body, latest_s)
    expected, expected_refused = parse_in_general(body, latest_s)
    assert rows.equals(expected)
    assert rows.schema == expected.schema
    assert refused == expected_refused


PLAIN = {
    "compact": ndjson(EVENT, EVENT | {"tweet_id": "4"}, **COMPACT),
    "with spaces": ndjson(EVENT, EVENT | {"type": "replies"}),
    "with many spaces": b' { "tweet_id" :"1" ,"type":\t"replies","at": "2026-01-01T00:00:00Z" } \n',
    "without a last line end": ndjson(EVENT, EVENT).rstrip(b"\n"),
    "one line": ndjson(EVENT),
    "carriage returns": ndjson(EVENT, EVENT).replace(b"\n", b"\r\n"),
    "another order": ndjson(*[dict(reversed(WHOLE.items()))] * 2),
    "every type": ndjson(*[EVENT | {"type": name} for name in EVENT_TYPES]),
    "counts": ndjson(*[WHOLE | {"count": count} for count in (1, 20, 10**9)]),
    "counts as text": ndjson(WHOLE | {"count": "1"}, WHOLE | {"count": "4711"}),
    "counts that undo": ndjson(*[WHOLE | {"count": -count} for count in (1, 20, 9_999_999)]),
    "counts of both signs": ndjson(*[WHOLE | {"count": count} for count in (-1, 10**9, -7, 7)]),
    "flags": ndjson(WHOLE, WHOLE | {"promoted": True}),
    "flags as text": ndjson(WHOLE | {"promoted": "true"}, WHOLE | {"promoted": "false"}),
    "ids of any length": ndjson(*[EVENT | {"tweet_id": str(10**index)} for index in range(19)]),
    "ids as numbers": ndjson(*[EVENT | {"tweet_id": 10**index - 1} for index in range(1, 19)]),
    "the largest id": ndjson(EVENT | {"tweet_id": str(ID_MAX)}),
    "tenths of a second": ndjson(EVENT | {"at": "2026-11-22T10:14:59.9Z"}),
    "thousandths": ndjson(
        *[EVENT | {"at": f"2026-11-22T10:14:59.{index}Z"} for index in ("000", "999")]
    ),
    "millionths": ndjson(EVENT | {"at": "2026-11-22T10:15:00.999999+00:00"}),
    "a zone in letters": ndjson(EVENT | {"at": "2026-11-22T10:15:00z"}),
    "a zone in digits": ndjson(EVENT | {"at": "2026-11-22T10:15:00+0000"}),
}


@cases("body", PLAIN.values(), ids=PLAIN)
def test_plain_lines_take_the_fast_path(body):
    rows, others = split_plain_events(body, latest_s=LATEST_S)
    assert others.text == b""
    assert len(others.numbers) == 0
    expected, refused = parse_in_general(body)
    assert rows.equals(expected)
    assert rows.schema == expected.schema
    assert refused == set()


def with_second(**changes):
    """A plain line, then one with changes."""
    return ndjson(WHOLE, WHOLE | changes)


OTHERS = {
    "another order": ndjson(EVENT, dict(reversed(EVENT.items()))),
    "one member more": ndjson(EVENT, EVENT | {"count": 1}),
    "one member less": ndjson(WHOLE, EVENT),
    "another key": ndjson(EVENT, {"tweet_id": "1", "tipe": "favorites", "at": EVENT["at"]}),
    "a key that is no field": ndjson(EVENT | {"user": "x"}, EVENT | {"user": "x"}),
    "a key twice": ndjson(EVENT, EVENT).replace(b"}", b', "at": "2026-11-22T10:15:00Z"}'),
    "no type": ndjson({"tweet_id": "1", "at": EVENT["at"]}),
    "spaces in one": ndjson(EVENT, **COMPACT) + ndjson(EVENT),
    "more space than is looked at": ndjson(EVENT).replace(b"{", b" " * 25 + b"{"),
    "a blank line": ndjson(EVENT) + b"\n" + ndjson(EVENT),
    "a blank line first": b"\n" + ndjson(EVENT),
    "one carriage return": ndjson(EVENT) + ndjson(EVENT).replace(b"\n", b"\r\n"),
    "an array": ndjson(EVENT) + b"[1]\n",
    "nothing but a line end": b"\n",
    "empty": b"",
    "cut short": ndjson(EVENT, EVENT)[:-3],
    "a brace too many": ndjson(EVENT, EVENT).rstrip(b"\n") + b"}",
    "a comma at the end": ndjson(EVENT, EVENT).rstrip(b"\n") + b",",
    "a very long line": ndjson(EVENT) + ndjson(EVENT).replace(b"{", b"{" + b" " * 10**5),
    "an escape": ndjson(EVENT) + ndjson(EVENT).replace(b"favorites", b"f\\u0061vorites"),
    "bytes that are no text": ndjson(EVENT) + ndjson(EVENT).replace(b"favorites", b"favorite\xff"),
    "a text and a number": ndjson(EVENT, EVENT | {"tweet_id": 5}),
    "a quote that is missing": ndjson(EVENT).replace(b'"123"', b'"123'),
    "an id of none": with_second(tweet_id="0"),
    "an id of nothing": with_second(tweet_id=""),
    "an id with a sign": with_second(tweet_id="-5"),
    "an id with a plus": with_second(tweet_id="+5"),
    "an id with zeros": with_second(tweet_id="0123"),
    "an id of zeros": with_second(tweet_id="0" * 18),
    "an id that is too large": with_second(tweet_id=str(ID_MAX + 1)),
    "an id of 19 nines": with_second(tweet_id="9" * 19),
    "an id of 20 digits": with_second(tweet_id="1" + "0" * 19),
    "an id of 24 digits": with_second(tweet_id="1" + "0" * 23),
    "an id of 25 digits": with_second(tweet_id="1" + "0" * 24),
    "an id of letters": with_second(tweet_id="12a4"),
    "a letter late in an id": with_second(tweet_id="1234567890123:56"),
    "an id with a fraction": ndjson(EVENT | {"tweet_id": 1.5}, EVENT | {"tweet_id": 2.5}),
    "an id with an exponent": ndjson(EVENT).replace(b'"123"', b"1e5"),
    "an unknown type": with_second(type="favorite"),
    "a longer type": with_second(type="favorites2"),
    "the derived type": with_second(type="engagements"),
    "a type in capitals": with_second(type="Favorites"),
    "a type of nothing": with_second(type=""),
    "a late letter of a type": with_second(type="user_profile_clickz"),
    "a type in no quotes": ndjson(EVENT).replace(b'"favorites"', b"favorites"),
    "a count of none": with_second(count=0),
    "a count of minus none": with_second(count="-0"),
    "a count of minus many": with_second(count=-10_000_000),
    "a count of two signs": with_second(count="--1"),
    "a count with a plus": with_second(count="+1"),
    "a count that is a sign": with_second(count="-"),
    "a count that is too large": with_second(count=10**9 + 1),
    "a count with a fraction": ndjson(WHOLE).replace(b": 3", b": 3.0"),
    "no count": with_second(count=None),
    "a flag in capitals": ndjson(WHOLE | {"promoted": "True"}, WHOLE | {"promoted": "True"}),
    "a longer flag": ndjson(WHOLE | {"promoted": "trues"}),
    "a flag as a number": with_second(promoted=1),
    "a time in the future": with_second(at="2026-11-22T10:15:01Z"),
    "an hour in the future": with_second(at="2026-11-22T11:00:00Z"),
    "a leap second": with_second(at="2016-12-31T23:59:60Z"),
    "a time before 1970": with_second(at="1969-12-31T23:59:59Z"),
    "a year of zeros": with_second(at="0000-01-01T00:00:00Z"),
    "the thirteenth month": with_second(at="2025-13-01T00:00:00Z"),
    "no month": with_second(at="2026-00-01T00:00:00Z"),
    "no day": with_second(at="2026-01-00T00:00:00Z"),
    "the end of a short month": with_second(at="2026-04-31T00:00:00Z"),
    "no leap year": with_second(at="2026-02-29T00:00:00Z"),
    "24 o'clock": with_second(at="2026-01-01T24:00:00Z"),
    "sixty minutes": with_second(at="2026-01-01T00:60:00Z"),
    "letters in a time": with_second(at="2026-01-01T0a:00:00Z"),
    "spaces in a time": with_second(at="2026-01-01T 1:00:00Z"),
    "a space between day and time": with_second(at="2026-01-01 01:00:00Z"),
    "a high byte in a time": ndjson(EVENT) + ndjson(EVENT).replace(b"2026", b"2026\xb0"[1:]),
    "one fraction": with_second(at="2026-11-22T10:14:59.5Z"),
    "fractions of two lengths": ndjson(
        EVENT | {"at": "2026-11-22T10:14:59.5Z"}, EVENT | {"at": "2026-11-22T10:14:59.55Z"}
    ),
    "a fraction of no digits": ndjson(EVENT | {"at": "2026-11-22T10:14:59.Z"}),
    "a fraction of letters": ndjson(
        EVENT | {"at": "2026-11-22T10:14:59.5Z"}, EVENT | {"at": "2026-11-22T10:14:59.aZ"}
    ),
    "a fraction of seven digits": ndjson(EVENT | {"at": "2026-11-22T10:14:59.1234567Z"}),
    "another zone": ndjson(*[EVENT | {"at": "2026-11-22T10:15:00+01:00"}] * 2),
    "two zones": with_second(at="2026-11-22T10:15:00+00:00"),
    "no zone": ndjson(*[EVENT | {"at": "2026-11-22T10:15:00"}] * 2),
    "a time in no quotes": ndjson(EVENT).replace(
        b'"2026-11-22T10:15:00Z"', b"2026-11-22T10:15:00Z"
    ),
    "a day alone": ndjson(EVENT | {"at": "2026-11-22"}),
}


@cases("body", OTHERS.values(), ids=OTHERS)
def test_other_lines_take_the_general_path(body):
    rows, others = split_plain_events(body, latest_s=LATEST_S)
    lines = body.count(b"\n") + (body[-1:] not in (b"", b"\n"))
    assert rows.height < max(lines, 1)
    assert sorted([*rows.get_column("line"), *others.numbers]) == list(range(1, lines + 1))
    assert_alike(body)


@cases("latest_s", [LATEST_S, LATEST_S - 0.5, LATEST_S + 0.5, 0, -1])
def test_the_latest_time_is_that_of_the_rules(latest_s):
    body = ndjson(EVENT)
    rows, _ = split_plain_events(body, latest_s=latest_s)
    assert rows.height == parse_in_general(body, latest_s)[0].height


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda tweet_id, name, second, count, promoted: {
                "tweet_id": str(tweet_id),
                "type": name,
                "at": (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)).strftime(
                    "%Y-%m-%dT%H:%M:%SZ"
                ),
                "count": count,
                "promoted": promoted,
            },
            st.integers(1, ID_MAX) | st.integers(0, 18).flatmap(lambda at: st.integers(1, 10**at)),
            st.sampled_from(EVENT_TYPES),
            st.integers(0, 2**32),
            st.integers(1, 10**9) | st.integers(-9_999_999, -1),
            st.booleans(),
        ),
        min_size=1,
        max_size=20,
    ),
    st.permutations(list(WHOLE)),
    st.sampled_from([{}, COMPACT]),
)
def test_plain_events_give_the_same_rows_on_both_paths(events, order, how):
    body = ndjson(*[{key: event[key] for key in order} for event in events], **how)
    rows, others = split_plain_events(body, latest_s=2**32)
    assert others.text == b""
    assert rows.equals(parse_in_general(body, latest_s=2**32)[0])


def test_every_day_until_2200_is_converted():
    first, end = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
    days = [first + timedelta(days=index) for index in range((end - first).days)]
    body = ndjson(*[EVENT | {"at": each.strftime("%Y-%m-%dT23:00:00Z")} for each in days])
    rows, _ = split_plain_events(body, latest_s=1e12)
    assert rows.get_column("hour").to_list() == [24 * index + 23 for index in range(len(days))]
    later = ndjson(EVENT | {"at": "2200-01-01T00:00:00Z"})
    assert split_plain_events(later, latest_s=1e12)[1].text == later


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.heavy) for seed in range(1, 15))]
)
def test_damaged_lines_give_the_same_results_on_both_paths(seed):
    """Bytes of plain lines are dropped, repeated or changed."""
    rng = random.Random(seed)
    letters = b'",:{}[]\\ \n\r\t0159aZ\xc3\xa9-+.'
    left = 0
    for _ in range(100):
        event = rng.choice([EVENT, WHOLE, EVENT | {"tweet_id": 77}])
        body = bytearray(ndjson(*[event] * rng.randint(1, 6), **rng.choice([{}, COMPACT])))
        for _ in range(rng.randint(0, 3)):
            at, letter = rng.randint(0, len(body)), rng.choice(letters)
            body[at : at + rng.randint(0, 2)] = bytes([letter]) * rng.randint(0, 2)
        left += bool(split_plain_events(bytes(body), latest_s=2**33)[1].text)
        assert_alike(bytes(body), latest_s=2**33)
    assert 0 < left < 100


ODD = [
    b"",
    b"{",
    b"  ",
    b" " * 300,
    ndjson(EVENT | {"type": "x"})[:-1],
    ndjson(EVENT | {"count": -1})[:-1],
    ndjson(EVENT | {"at": "2026-11-22T10:15:00.5Z"})[:-1],
    ndjson(dict(reversed(EVENT.items())))[:-1],
    b"\xff",
]


@pytest.mark.parametrize(
    ("block", "share", "end"),
    [
        *((200, share, b"\n") for share in (0.02, 0.3, 0.7)),
        (200, 1, b""),
        (1000, 0.3, b""),
        (plain_events.BLOCK_BYTES, 0.02, b"\n"),
        (plain_events.BLOCK_BYTES, 0.3, b""),
    ],
)
def test_plain_and_other_lines_keep_their_numbers(monkeypatch, block, share, end):
    """Blocks of a few lines or of all lines have few or many odd lines."""
    monkeypatch.setattr(plain_events, "BLOCK_BYTES", block)
    rng = random.Random(f"{block} {share}")
    lines = [
        rng.choice(ODD) if rng.random() < share else ndjson(EVENT | {"tweet_id": str(index)})[:-1]
        for index in range(1, 200)
    ]
    body = b"\n".join(lines) + end
    plain, others = split_plain_events(body, latest_s=LATEST_S)
    assert sorted([*plain.get_column("line"), *others.numbers]) == list(
        range(1, 200 - (not lines[-1] and not end))
    )
    if share < 0.1:
        assert plain.height > 50
    assert_alike(body)


def test_a_few_odd_lines_do_not_affect_the_others():
    """One typing error must not send a whole block to the general path."""
    lines = [ndjson(EVENT)] * 1000
    lines[500] = ndjson(EVENT | {"count": -1})
    plain, others = split_plain_events(b"".join(lines), latest_s=LATEST_S)
    assert plain.height == 999
    assert others.text == lines[500]
    assert others.numbers.tolist() == [501]


def test_lines_are_counted_before_any_is_parsed(read):
    assert read(ndjson(EVENT) * 10, lines_max=10).rows.height == 10
    with pytest.raises(BodyTooLarge, match="more than 10 lines"):
        read(ndjson(EVENT) * 11, lines_max=10)
