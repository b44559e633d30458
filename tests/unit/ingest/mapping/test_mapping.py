"""Mappings of a platform's own rows to events: the shipped ones, and what is refused."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openengagement.errors import BodyTooLarge, MalformedBody
from openengagement.files import UnusableFile
from openengagement.ingest.batch_parser import BatchParser
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.mapping.map_file import read_mapping
from openengagement.ingest.mapping.mapped_parser import MappedParser
from openengagement.ingest.rows import EVENTS
from support.cases import cases

EXAMPLES = Path(__file__).parents[4] / "examples" / "mappings"
LATEST_S = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
FIRST, SECOND = 113555000000000001, 113555000000000002
SIMPLE = """
[[event]]
tweet_id = "post"
type = { field = "kind", values = { boost = "retweets", favourite = "favorites" } }
at = "time"
count = "n"
"""


def decode_tid(text):
    """The AT Protocol's definition, written plainly."""
    alphabet = "234567abcdefghijklmnopqrstuvwxyz"
    bits = "".join(f"{alphabet.index(character):05b}" for character in text)
    return int(bits, 2)


@pytest.fixture
def parse(tmp_path):
    def run(body, *, text=None, path=None, form=Format.NDJSON):
        if path is None:
            path = tmp_path / "map.toml"
            path.write_text(text or SIMPLE)
        parser = BatchParser(lines_max=1000, latest_s=lambda: LATEST_S)
        return MappedParser(parser, read_mapping(path)).parse(body, form, kind=EVENTS)

    return run


def counts(parsed):
    found = Counter()
    for row in parsed.rows.iter_rows(named=True):
        found[row["tweet_id"], row["type"]] += row["count"]
    return dict(found)


def rejected(parsed):
    return parsed.rejected.select("line", "reason").rows()


def lines(*rows):
    return b"\n".join(json.dumps(row).encode() for row in rows)


def row(**fields):
    return {"post": 5, "kind": "boost", "time": "2026-11-22T10:15:00Z", **fields}


@pytest.mark.parametrize(
    ("name", "form", "wanted", "refused"),
    [
        (
            "mastodon_favourites.csv",
            Format.CSV,
            {(FIRST, "favorites"): 2, (SECOND, "favorites"): 1},
            [(5, "missing_field")],
        ),
        (
            "mastodon_statuses.csv",
            Format.CSV,
            {(FIRST, "retweets"): 1, (FIRST, "replies"): 1, (SECOND, "retweets"): 1},
            [],
        ),
        (
            "activitypub.ndjson",
            Format.NDJSON,
            {(FIRST, "favorites"): 0, (FIRST, "retweets"): 1, (SECOND, "replies"): 1},
            [(6, "invalid_id")],
        ),
        (
            "bluesky_jetstream.ndjson",
            Format.NDJSON,
            {
                (decode_tid("3l3pte3p2e325"), "favorites"): 1,
                (decode_tid("3l3pte3p2e325"), "retweets"): 1,
                (decode_tid("3l3pte3p2e325"), "replies"): 1,
                (decode_tid("3l3qo2vuowo2b"), "quote_tweets"): 1,
            },
            [(6, "invalid_id")],
        ),
    ],
)
def test_the_shipped_mappings(parse, name, form, wanted, refused):
    path = EXAMPLES / f"{name.partition('.')[0]}.toml"
    parsed = parse((EXAMPLES / "samples" / name).read_bytes(), path=path, form=form)

    assert counts(parsed) == wanted
    assert rejected(parsed) == refused


def test_the_shipped_mapping_of_jetstream_reads_times_in_microseconds(parse):
    body = (EXAMPLES / "samples" / "bluesky_jetstream.ndjson").read_bytes()
    parsed = parse(body, path=EXAMPLES / "bluesky_jetstream.toml")

    hour = int(datetime(2026, 11, 22, 10, tzinfo=UTC).timestamp()) // 3600
    assert set(parsed.rows.get_column("hour")) == {hour}


def test_values_are_translated_and_others_are_refused_as_they_are(parse):
    parsed = parse(
        lines(
            row(), row(kind="favourite", n=3), row(kind="wave"), row(kind="replies"), row(n="many")
        )
    )

    assert counts(parsed) == {(5, "retweets"): 1, (5, "favorites"): 3, (5, "replies"): 1}
    assert rejected(parsed) == [(3, "unknown_type"), (5, "invalid_count")]
    assert "wave" in parsed.rejected.get_column("detail")[0]


@cases("bad", [b"nonsense", b"5", b'"text"', b"[1]", b"null", b"{"])
def test_lines_that_are_no_objects(parse, bad):
    parsed = parse(lines(row()) + b"\n\n" + bad + b"\n" + lines(row()))

    assert counts(parsed) == {(5, "retweets"): 2}
    assert rejected(parsed) == [(3, "malformed")]


HOSTILE = """
[[event]]
tweet_id = { field = "id", pattern = "([^/]+)$" }
type = { value = "replies" }
at = { field = "at", unit = "ms" }
"""
GOOD = b'{"id": "a/5", "at": 1764000000000}'


@cases(
    ("bad", "reason"),
    [
        (b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}", "malformed"),
        (b'{"id": "\xff"}', "malformed"),
        (b'{"id": "' + b"5" * 2**20 + b'"}', "malformed"),
        (b'{"id": "a/5", "at": "1e999999999"}', "invalid_time"),
        (b'{"id": "a/5", "at": "1e30000000"}', "invalid_time"),
        (b'{"id": "a/5", "at": "' + b"9" * 1_000_000 + b'"}', "invalid_time"),
        (b'{"id": "' + b"a" * 900_000 + b'/", "at": 0}', "invalid_id"),
    ],
    ids=["depth", "utf-8", "long row", "exponent", "large exponent", "digits", "pattern"],
)
def test_a_hostile_row_costs_little_and_spoils_no_other(parse, bad, reason):
    """A sender of events chooses the values. Some of these took minutes, or failed the batch."""
    parsed = parse(b"\n".join([GOOD, bad, GOOD]), text=HOSTILE)

    assert counts(parsed) == {(5, "replies"): 2}
    assert rejected(parsed) == [(2, reason)]


@pytest.mark.parametrize("form", [Format.NDJSON, Format.JSON])
def test_a_mapped_body_has_the_limit_of_lines(parse, form):
    with pytest.raises(BodyTooLarge):
        parse(b"[0" + b",0" * 1001 + b"]" if form is Format.JSON else b"{}\n" * 1001, form=form)


def test_a_row_may_become_several_events(parse):
    text = SIMPLE + SIMPLE.replace('"post"', '"author.post"')
    parsed = parse(lines(row(author={"post": 6}), row(**{"author.post": 7})), text=text)

    assert counts(parsed) == {(5, "retweets"): 2, (6, "retweets"): 1, (7, "retweets"): 1}


@cases(
    ("condition", "wanted"),
    [
        ('{ kind = "boost" }', [1]),
        ('{ kind = ["boost", "wave"] }', [1, 2]),
        ('{ live = "true" }', [2]),
        ('{ live = "*" }', [1, 2]),
        ('{ "deep.er" = "1" }', [3]),
        ('{ kind = "boost", live = "true" }', []),
    ],
)
@cases("ignores", [False, True])
def test_conditions(parse, condition, wanted, ignores):
    head = 'unmatched = "ignore"\n' if ignores else ""
    text = head + SIMPLE + f"when = {condition}\n"
    rows = [
        row(post=1, live=False),
        row(post=2, kind="wave", live=True),
        row(post=3, kind=None, deep={"er": 1}),
    ]
    parsed = parse(lines(*rows), text=text.replace("retweets", "replies"))

    found = {line for line, _ in rejected(parsed)} | set(parsed.rows.get_column("line"))
    assert sorted(found) == (wanted if ignores else [1, 2, 3])


@cases(
    ("at", "value", "hour"),
    [
        ('{ field = "time", unit = "s" }', 1795342500, 498706),
        ('{ field = "time", unit = "s" }', "1795342500.9", 498706),
        ('{ field = "time", unit = "ms" }', 1795342500123, 498706),
        ('{ field = "time", unit = "us" }', 1795342500123456, 498706),
        ('{ field = "time", unit = "ns" }', 1795342500123456789, 498706),
        ('{ field = "time", unit = "s" }', 1e300, None),
        ('{ field = "time", unit = "s" }', "today", None),
        ('{ field = "time", zone = "UTC" }', "2026-11-22 10:15:00.5", 498706),
        ('{ field = "time", zone = "UTC" }', "2026-11-22T12:15:00+02:00", 498706),
        ('{ field = "time", zone = "UTC" }', "2026-11-22T10:15:00Z", 498706),
        ('"time"', "2026-11-22 10:15:00", None),
    ],
)
def test_times(parse, at, value, hour):
    parsed = parse(lines(row(time=value)), text=SIMPLE.replace('"time"', at))

    assert parsed.rows.get_column("hour").to_list() == ([] if hour is None else [hour])
    assert rejected(parsed) == ([] if hour else [(1, "invalid_time")])


def test_json_and_csv_have_the_lines_of_the_body(parse):
    rows = [row(), row(kind="wave"), row(n=2)]
    elements = parse(json.dumps(rows).encode(), form=Format.JSON)
    header, *texts = (
        "post,kind,time,other",
        *(f"{each['post']},{each['kind']},{each['time']},x" for each in rows),
    )
    table = parse("\n".join([header, *texts]).encode(), form=Format.CSV)

    assert counts(elements) == {(5, "retweets"): 3}
    assert counts(table) == {(5, "retweets"): 2}
    assert rejected(elements) == [(2, "unknown_type")]
    assert rejected(table) == [(3, "unknown_type")]


def test_a_body_without_any_event(parse):
    for body in (b"\n", b"nonsense"):
        parsed = parse(body)
        assert parsed.rows.is_empty()
        assert parsed.rejected.height == (body != b"\n")


def test_damaged_columnar_bodies_are_refused(parse):
    with pytest.raises(MalformedBody, match="cannot be decoded"):
        parse(b"PAR1", form=Format.PARQUET)


@cases(
    ("text", "says"),
    [
        ("", "event"),
        ("event = []", "has no"),
        ("[[event]", "no mapping"),
        (SIMPLE.replace("count", "counts"), "counts"),
        (SIMPLE.replace('tweet_id = "post"', ""), "tweet_id"),
        (SIMPLE.replace('"time"', '{ field = "time", unit = "days" }'), "unit"),
        (SIMPLE.replace('"time"', "{ unit = 's' }"), "either field or value"),
        (SIMPLE.replace('"time"', "{ field = 'a', value = 'b' }"), "either field or value"),
        (SIMPLE.replace('"post"', "{ field = 'a', pattern = '(' }"), "pattern of tweet_id"),
        (SIMPLE.replace('"post"', "{ field = 'a', pattern = 'b' }"), "no group"),
        (SIMPLE.replace('"post"', "{ field = 'a', zone = 'UTC' }"), "zone are for at"),
        (SIMPLE.replace('"post"', "{ field = 'a', decode = 'rot13' }"), "decode"),
    ],
)
def test_a_wrong_mapping_is_told(tmp_path, text, says):
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(UnusableFile) as refusal:
        read_mapping(path)
    assert says in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_a_missing_mapping_is_told(tmp_path):
    with pytest.raises(UnusableFile, match="No such file"):
        read_mapping(tmp_path / "none.toml")
