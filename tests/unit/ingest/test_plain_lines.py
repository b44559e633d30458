"""Lines that are all alike are read as the parser of JSON reads them, or left to it."""

import json
import random
import tracemalloc

import polars as pl
import pytest

from openengagement.ingest import formats
from openengagement.ingest.plain_lines import read_plain_lines
from openengagement.ingest.rows import ACCOUNTS, EVENTS, TWEETS

FIELDS = EVENTS.fields
EVENT = {"tweet_id": "123", "type": "favorites", "at": "2026-11-22T10:15:00Z"}
COMPACT = {"separators": (",", ":")}


def ndjson(*rows, **how):
    return "".join(f"{json.dumps(row, ensure_ascii=False, **how)}\n" for row in rows).encode()


def read(body, fields=FIELDS):
    lines = body.count(b"\n") + (not body.endswith(b"\n"))
    return read_plain_lines(body, fields, lines=lines)


def parsed(body, fields=FIELDS):
    return pl.read_ndjson(body, schema=dict.fromkeys(fields, pl.String))


ALIKE = {
    "compact": ndjson(EVENT, EVENT | {"tweet_id": "4"}, **COMPACT),
    "with spaces": ndjson(EVENT, EVENT | {"type": "replies"}),
    "without a last line end": ndjson(EVENT, EVENT).rstrip(b"\n"),
    "one line": ndjson(EVENT),
    "empty values": ndjson(dict.fromkeys(EVENT, ""), EVENT),
    "a key that is no field": ndjson(EVENT | {"user": "x"}, EVENT | {"user": ""}),
    "counts and flags as text": ndjson(EVENT | {"count": "3", "promoted": "true"}),
    "another order": ndjson(dict(reversed(EVENT.items())), dict(reversed(EVENT.items()))),
    "one key": ndjson({"type": "a"}, {"type": "b"}),
    "any script": ndjson(EVENT, EVENT | {"type": "é☃𝄞 \u2028\x7f"}, **COMPACT),
    "brackets": ndjson(EVENT, EVENT | {"type": "}:{[]"}, **COMPACT),
    "sixteen keys": ndjson({f"k{at}": "" for at in range(15)} | {"type": "a"}),
    "no field at all": ndjson({"x": "1"}, {"x": "2"}),
}


@pytest.mark.parametrize("body", ALIKE.values(), ids=ALIKE)
def test_lines_that_are_alike_are_read(body):
    rows = read(body)
    assert rows is not None
    assert rows.equals(parsed(body))
    assert rows.columns == list(FIELDS)


OTHERS = {
    "another order": ndjson(EVENT, dict(reversed(EVENT.items()))),
    "one more": ndjson(EVENT, EVENT | {"count": "1"}),
    "one less": ndjson(EVENT | {"count": "1"}, EVENT),
    "a number": ndjson(EVENT, EVENT | {"tweet_id": 5}),
    "numbers": ndjson(EVENT | {"tweet_id": 5}, EVENT | {"tweet_id": 5}),
    "nothing": ndjson(EVENT, EVENT | {"tweet_id": None}),
    "an escape": ndjson(EVENT, EVENT | {"type": 'a"b'}),
    "an escape of a letter": ndjson(EVENT) + ndjson(EVENT).replace(b"favorites", b"f\\u0061"),
    "commas": ndjson(EVENT, EVENT | {"type": "a,b"}),
    "a comma in the first": ndjson(EVENT | {"type": "a,b"}, EVENT),
    "spaces in one": ndjson(EVENT, **COMPACT) + ndjson(EVENT),
    "a blank line": ndjson(EVENT) + b"\n" + ndjson(EVENT),
    "carriage returns": ndjson(EVENT, EVENT).replace(b"\n", b"\r\n"),
    "a key twice": b'{"type":"a","type":"b"}\n',
    "nested": ndjson(EVENT, EVENT | {"type": {"a": "b"}}),
    "an array": b'["a","b"]\n["c","d"]\n',
    "a byte order mark": b"\xef\xbb\xbf" + ndjson(EVENT),
    "no text": ndjson(EVENT) + ndjson(EVENT).replace(b"favorites", b"\xff"),
    "no text in the first": ndjson(EVENT).replace(b"favorites", b"\xff"),
    "a control character": ndjson(EVENT) + ndjson(EVENT).replace(b"favorites", b"a\tb"),
    "quotes that make up for each other": (
        b'{"tweet_id":"1","type":"x","at":"y"}\n{"tweet_id":"1","type":","at":"x""}\n'
    ),
    "quotes that make up for each other's line": (
        b'{"tweet_id":"1","type":"x"}\n{"tweet_id":"1","type":"}\n{"tweet_id":"1""","type":"x"}\n'
    ),
    "as many keys as there can be": ndjson({f"k{at}": "" for at in range(200_000)}, **COMPACT),
    "a comma at the end": ndjson(EVENT, EVENT).rstrip(b"\n") + b",",
    "a brace at the end": ndjson(EVENT, EVENT).rstrip(b"\n") + b"}",
    "cut short": ndjson(EVENT, EVENT)[:-3],
    "empty": b"",
    "blank": b"\n",
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_other_lines_are_left_to_the_parser(body):
    assert read(body) is None


def test_a_line_of_any_size_is_looked_at_quickly():
    """The pattern of a line would keep a place to go back to for each of its members."""
    body = b'{"a":""' + b',"a":""' * 1_000_000 + b"}\n"
    tracemalloc.start()
    try:
        assert read(body) is None
        assert tracemalloc.get_traced_memory()[1] < 2 * len(body)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_read_is_what_json_says(seed):
    """Bytes of lines that are alike go, come twice, or change: they are left, or read the same."""
    rng = random.Random(seed)
    letters = b'",:{}[]\\ \n\t0a\xc3\xa9-'
    left = 0
    for _ in range(200):
        body = bytearray(ndjson(*[EVENT] * rng.randint(1, 4), **rng.choice([{}, COMPACT])))
        for _ in range(rng.randint(0, 3)):
            at, letter = rng.randint(0, len(body)), rng.choice(letters)
            body[at : at + rng.randint(0, 2)] = bytes([letter]) * rng.randint(0, 2)
        rows = read(bytes(body))
        left += rows is None
        if rows is not None:
            told = [json.loads(line) for line in bytes(body).rstrip(b"\n").split(b"\n")]
            assert rows.rows(named=True) == [
                {field: row.get(field) for field in FIELDS} for row in told
            ]
    assert 0 < left < 200


@pytest.mark.parametrize("kind", [ACCOUNTS, TWEETS, EVENTS], ids=lambda kind: kind.name)
def test_every_kind_is_read_alike(kind, monkeypatch):
    """What comes of a body does not depend on who reads it."""
    rows = [dict.fromkeys(kind.fields, str(at)) for at in range(50)]
    body = ndjson(*rows)
    told = formats.parse_body(body, formats.Format.NDJSON, fields=kind.fields, lines_max=99)
    monkeypatch.setattr(formats, "read_plain_lines", lambda *_, **__: None)
    other = formats.parse_body(body, formats.Format.NDJSON, fields=kind.fields, lines_max=99)
    assert told.rows.equals(other.rows)
    assert told.rows.height == 50
