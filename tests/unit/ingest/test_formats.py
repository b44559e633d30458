"""NDJSON and JSON bodies: the lines that are rows, those that are not, and line numbers."""

import json

import pytest

from openengagement.errors import BodyTooLarge, MalformedBody, UnsupportedBody
from openengagement.ingest import batch_parser
from openengagement.ingest.formats.detection import Format, detect_format
from openengagement.ingest.formats.parsing import parse_body
from support.cases import cases

GOOD = '{"tweet_id":"5","type":"favorites","at":"2026-01-01T00:30:00Z"}'
ZERO_ID = GOOD.replace('"5"', '"0"')
DEEP = 10_000


def lines_of(parsed):
    """The numbers of valid lines, and those of rejected lines with their reasons."""
    return (
        parsed.rows.get_column("line").to_list(),
        parsed.rejected.select("line", "reason").rows(),
    )


@cases("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@cases("end", ["", "newline", "blank lines"])
def test_blank_lines_count_in_line_numbers(read, newline, end):
    lines = [GOOD, "", ZERO_ID, "  ", GOOD, "{", "\t", GOOD]
    tail = {"": "", "newline": newline, "blank lines": newline * 3}[end]

    parsed = read(newline.join(lines) + tail)

    assert lines_of(parsed) == ([1, 5, 8], [(3, "invalid_id"), (6, "malformed")])


@cases("body", ["", "\n", "\n\n\n", " ", "\r\n", "\t\n "])
def test_an_empty_body_is_an_empty_batch(read, body):
    assert lines_of(read(body)) == ([], [])


MALFORMED = {
    "cut short": GOOD[:-1],
    "cut in a string": GOOD[:-3],
    "two on a line": GOOD + GOOD,
    "two on a line with a space": f"{GOOD} {GOOD}",
    "trailing comma": GOOD + ",",
    "comma inside": GOOD[:-1] + ",}",
    "comment": GOOD + "//",
    "single quotes": GOOD.replace('"', "'"),
    "bare words": "tweet_id: 5",
    "null": "null",
    "true": "true",
    "a number": "5",
    "a string": '"5"',
    "NaN": GOOD[:-1] + ',"x":NaN}',
    "leading zero": GOOD[:-1] + ',"count":05}',
    "plus sign": GOOD[:-1] + ',"count":+5}',
    "a number of 10,000 digits": GOOD[:-1] + ',"count":' + "1" * 10_000 + "}",
    "a raw tab in a string": GOOD[:-1] + ',"x":"a\tb"}',
    "a bad escape": GOOD[:-1] + ',"x":"\\q"}',
    "half a unicode escape": GOOD[:-1] + ',"x":"\\u12"}',
    "NUL": "\0",
    "NUL after it": GOOD + "\0",
    "NUL in a string": GOOD[:-1] + ',"x":"\0"}',
    "deep arrays": GOOD[:-1] + ',"x":' + "[" * DEEP + "]" * DEEP + "}",
    "deep objects": GOOD[:-1] + ',"x":' + '{"a":' * DEEP + "1" + "}" * DEEP + "}",
    "deep and never closed": '{"x":' + "[" * DEEP + "}",
    "deep in a field": '{"tweet_id":' + "[" * DEEP + "]" * DEEP + "}",
}


@cases("text", MALFORMED.values(), ids=MALFORMED)
def test_lines_that_are_not_objects_are_rejected(read, text):
    """Such a line is rejected alone and among others, and it does not affect the others."""
    assert lines_of(read(text)) == ([], [(1, "malformed")])
    among = lines_of(read(f"{GOOD}\n{text}\n{ZERO_ID}\n{text}\n{GOOD}\n"))
    assert among == ([1, 5], [(2, "malformed"), (3, "invalid_id"), (4, "malformed")])


@cases(
    "data",
    [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80"],
    ids=["no such byte", "cut short", "surrogate", "overlong", "past unicode"],
)
def test_a_line_that_is_not_utf_8_is_rejected(read, data):
    bad = GOOD[:-1].encode() + b',"x":"' + data + b'"}'
    body = b"\n".join([GOOD.encode(), bad, GOOD.encode()])

    assert lines_of(read(body)) == ([1, 3], [(2, "malformed")])
    assert lines_of(read(bad)) == ([], [(1, "malformed")])


def test_a_million_brackets_are_rejected(read):
    body = '{"x":' + "[" * 1_000_000 + "}"

    assert lines_of(read(body)) == ([], [(1, "malformed")])


@pytest.mark.parametrize("escape", ["\\ud800", "\\udc00\\ud800", "a\\udfff"])
def test_half_of_a_surrogate_pair(read, escape):
    """It is not text, so it rejects its line; in an unknown field it may be ignored."""
    typed = GOOD.replace("favorites", f"favorites{escape}")
    noted = GOOD[:-1] + f',"note":"{escape}"}}'
    parsed = read(f"{typed}\n{GOOD}\n")
    assert parsed.rows.get_column("line").to_list() == [2]
    assert parsed.rejected.get_column("line").to_list() == [1]

    assert read(f"{noted}\n{GOOD}\n").rejected.get_column("line").to_list() in ([], [1])


@cases("form", ["ndjson", "json"])
@cases(
    ("twice", "ids"),
    [
        (GOOD[:-1] + ',"tweet_id":"6"}', [6]),
        (GOOD[:-1] + ',"tweet_\\u0069d":"6"}', [6]),
        (GOOD.replace("tweet_id", "tweet_\\u0069d")[:-1] + ',"tweet_id":"6"}', [6]),
        (GOOD[:-1] + ',"tweet_id":"7","tweet_id":"6"}', [6]),
        (GOOD[:-1] + ',"tweet_id":null}', []),
        ('{"tweet_id":null,' + GOOD[1:], [5]),
    ],
)
def test_of_a_repeated_key_the_last_value_is_taken(read, form, twice, ids):
    """As in the data API, Python and JavaScript; also if other lines take another path."""
    plain = GOOD.replace('"5"', '"8"')
    for others in ([], [plain], [plain, "{"]):
        lines = [twice, *others]
        body = f"[{','.join(lines[:2])}]" if form == "json" else "\n".join(lines)
        seen = read(body, form).rows.get_column("tweet_id").to_list()
        assert seen == ids + [8] * bool(others)


@pytest.mark.parametrize("form", ["ndjson", "json", "csv"])
def test_a_body_is_parsed_once(read, write, event, monkeypatch, form):
    bodies = []

    def parse(body, *args, **named):
        bodies.append(body)
        return parse_body(body, *args, **named)

    monkeypatch.setattr(batch_parser, "parse_body", parse)
    body = write([event(promoted="True")], form)

    assert read(body, form).rows.height == len(bodies) == 1


def test_unknown_fields_are_ignored(read):
    extra = '{"line":"x","TWEET_ID":"9","nested":{"a":[1,{"b":null}]},"list":[[]],' + GOOD[1:]

    assert lines_of(read(f"{extra}\n{GOOD}")) == ([1, 2], [])


@cases("count", [9, 10, 11])
@cases("end", ["", "\n"], ids=["no last newline", "newline"])
def test_lines_are_limited(read, count, end):
    body = "\n".join([GOOD] * count) + end
    if count <= 10:
        assert read(body, lines_max=10).rows.height == count
    else:
        with pytest.raises(BodyTooLarge, match="10 lines"):
            read(body, lines_max=10)


@pytest.mark.parametrize("count", [10, 11])
def test_elements_of_an_array_are_limited(read, count):
    body = "[" + ",".join([GOOD] * count) + "]"
    if count <= 10:
        assert read(body, "json", lines_max=10).rows.height == count
    else:
        with pytest.raises(BodyTooLarge, match="10 lines"):
            read(body, "json", lines_max=10)


@cases("indent", [None, 0, 2, "\t"])
@cases("newline", ["\n", "\r\n"])
def test_elements_of_an_array_are_its_lines(read, indent, newline):
    values = [json.loads(GOOD), json.loads(ZERO_ID), 5, json.loads(GOOD), None, [], "x", {}]
    body = json.dumps(values, indent=indent).replace("\n", newline)

    assert lines_of(read(body, "json")) == (
        [1, 4],
        [
            (2, "invalid_id"),
            (3, "malformed"),
            (5, "malformed"),
            (6, "malformed"),
            (7, "malformed"),
            (8, "missing_field"),
        ],
    )


@pytest.mark.parametrize("body", ["[]", "[ ]", " [\n]\n "])
def test_an_empty_array(read, body):
    assert lines_of(read(body, "json")) == ([], [])


@cases(
    "body",
    [
        "",
        " ",
        "null",
        "5",
        "[",
        "]",
        f"[{GOOD}",
        f"[{GOOD},]",
        f"[{GOOD}] x",
        f"[{GOOD}{GOOD}]",
        "[{]",
        "[\0]",
        "[" * DEEP + "]" * DEEP,
        "[" * 1_000_000,
        "[" + '{"a":' * DEEP + "1" + "}" * DEEP + "]",
        "[\n" + "[" * DEEP + "]" * DEEP + "\n]",
        "[" + "1" * 100_000,
    ],
)
def test_bodies_that_are_not_arrays_are_refused(read, body):
    with pytest.raises(MalformedBody):
        read(body, "json")


def test_an_array_that_is_not_utf_8(read):
    """Either its element is rejected, or the whole body is refused."""
    body = b'[{"type":"\xff"},' + GOOD.encode() + b"]"
    try:
        parsed = read(body, "json")
    except MalformedBody:
        return
    assert lines_of(parsed) == ([2], [(1, "malformed")])


def test_the_error_of_a_broken_body_is_short(read):
    """A parser may quote a value of any length."""
    with pytest.raises(MalformedBody) as refused:
        read('["' + "x" * 100_000, "json")
    assert len(str(refused.value)) < 300


@cases(
    ("content_type", "body", "form"),
    [
        ("application/x-ndjson", b"[", "NDJSON"),
        ("application/x-ndjson; charset=utf-8", b"x", "NDJSON"),
        ("Application/X-NDJSON", b"x", "NDJSON"),
        ("application/jsonl", b"", "NDJSON"),
        ("application/json", b"[]", "JSON"),
        ("application/json", b" \n[]", "JSON"),
        ("application/json", b' \n{"a":1}\n', "NDJSON"),
        ("text/csv", b"{", "CSV"),
        ("text/csv;header=present", b"", "CSV"),
        ("application/vnd.apache.parquet", b"", "PARQUET"),
        ("application/vnd.apache.arrow.stream", b"", "ARROW"),
        ("application/vnd.apache.arrow.file", b"", "ARROW"),
        ("", b"PAR1...", "PARQUET"),
        ("application/x-www-form-urlencoded", b"[1]", "JSON"),
        ("application/octet-stream", b"ARROW1..", "ARROW"),
        ("text/plain", b"\xff\xff\xff\xff..", "ARROW"),
        ("text/plain", b'\r\n {"a":1}', "NDJSON"),
        ("text/plain", b'\r\n {"a":1\n}', "JSON"),
        ("application/json", b'{\n"a":1\n}\n', "JSON"),
        ("application/json", b'\xef\xbb\xbf{"a":1}', "NDJSON"),
        ("text/plain", b'\xef\xbb\xbf[{"a":1}]', "JSON"),
    ],
)
def test_the_format_is_detected_from_the_type_or_the_first_bytes(content_type, body, form):
    assert detect_format(content_type, body) is Format[form]


@pytest.mark.parametrize("body", [b"", b"tweet_id,type", b"hello", b"\x00"])
def test_the_error_of_an_unknown_format_lists_the_formats(body):
    with pytest.raises(UnsupportedBody, match=r"text/csv.*parquet"):
        detect_format("text/plain", body)


@cases("form", ["ndjson", "json"])
@cases("number", ["12345678901234567.0", "1.0", "1e3", "1E+3", "5.5"])
def test_an_id_with_a_fraction_or_exponent_is_rejected(read, form, number):
    """It may have been rounded, and would then count for another Tweet."""
    line = GOOD.replace('"5"', number)
    body = f"[{GOOD}, {line}]" if form == "json" else f"{GOOD}\n{line}\n"
    assert lines_of(read(body, form)) == ([1], [(2, "invalid_id")])
