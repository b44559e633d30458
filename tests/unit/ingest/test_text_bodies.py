"""Every byte of a text body is accounted for: counted, rejected with a reason, or the body refused.

Also: texts in other encodings, and bodies of another format than the sender says.
"""

import gzip
import json

import pytest
import zstandard

from openengagement.errors import AllRejected, BatchRefused, MalformedBody
from openengagement.ingest.formats.detection import detect_format
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.sources.uploads import Upload, UploadReader
from openengagement.settings import Settings
from support.cases import cases

HEADER = "tweet_id,type,at,text"
ROW = "5,favorites,2026-01-01T00:30:00Z,"
EVENT = {"tweet_id": "5", "type": "favorites", "at": "2026-01-01T00:30:00Z"}
LINE = json.dumps(EVENT)
BOM = b"\xef\xbb\xbf"


@pytest.fixture(scope="module")
def upload():
    """Read an upload as the server does: its parsed batch."""
    reader = UploadReader(Settings(), lambda: 1_795_342_500)

    def parse(body, content_type="", *, encoding="", atomic=False):
        sent = Upload(EVENTS, body, encoding, content_type, None, atomic)
        body = reader.decompress(sent)
        parsed = reader.parse(sent, body, form=detect_format(content_type, body))
        reader.describe(parsed, atomic=atomic)
        return parsed

    return parse


def lines_of(parsed):
    return (
        parsed.rows.get_column("line").to_list(),
        parsed.rejected.select("line", "reason").rows(),
    )


# Quotes in CSV

UNCLOSED = {
    "to the end": ([ROW + "one", ROW + '"to be or not', ROW + "more", ROW + "more"], {3, 4, 5}),
    "to the end of a long body": ([ROW, ROW + '"to be', *[ROW] * 998], set(range(3, 1002))),
    "on the last line": ([ROW, ROW, ROW + '"open'], {4}),
    "to the next quote": ([ROW + '"to be', *[ROW] * 3, ROW + '"hi"', ROW], {2, 3, 4, 5, 6}),
    "among quoted values": (
        [f'"5","favorites","2026-01-01T00:30:00Z","{text}' for text in ('a"', "b", 'c"', 'd"')],
        {3, 4},
    ),
    "over an escaped quote": ([ROW + '"a', ROW + '"say ""no"""', ROW], {2, 3}),
    "in the first column": ([ROW, '"' + ROW, ROW, ROW], {3, 4, 5}),
    "text after a quote": ([ROW, ROW + '"a"b', ROW], {3}),
}


@cases(("lines", "malformed"), UNCLOSED.values(), ids=UNCLOSED)
@cases("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@cases("end", [True, False], ids=["newline", "no last newline"])
def test_all_lines_of_an_unclosed_quote_are_rejected(upload, lines, malformed, newline, end):
    body = (newline.join([HEADER, *lines]) + newline * end).encode()

    rows, rejected = lines_of(upload(body, "text/csv"))

    assert rejected == [(line, "malformed") for line in sorted(malformed)]
    assert sorted({*rows, *malformed}) == list(range(2, len(lines) + 2))
    with pytest.raises(BatchRefused):
        upload(body, "text/csv", atomic=True)


def test_the_detail_of_an_unclosed_quote_explains_it(upload):
    body = "\n".join([HEADER, ROW, ROW + '"open', ROW]).encode()

    for detail in upload(body, "text/csv").rejected.get_column("detail"):
        assert "unclosed quote" in detail


# The first line of CSV

HEADERS = {
    "semicolons": ("tweet_id;type;at\n5;favorites;x\n", "tweet_id;type;at; .*not with semicolons"),
    "tabs": ("tweet_id\ttype\tat\n5\tfavorites\tx\n", "not with tabs"),
    "vertical bars": ("tweet_id|type|at\n", "not with vertical bars"),
    "quoted semicolons": ('"tweet_id";"type";"at"\n', "not with semicolons"),
    "semicolons and other columns": ("a;tweet_id;b;type;at\n", "not with semicolons"),
    "spaces": ("tweet_id, type, at\n5, favorites, x\n", "names no column type, at; .*spaces"),
    "capitals": ("Tweet_ID,Type,At\n", "small letters"),
    "no header": ("5,favorites,2026-01-01T00:30:00Z\n", "no column tweet_id, type, at; .*: 5,fav"),
    "another name": ("id,type,at\n", "names no column tweet_id; it names: id,type,at$"),
    "a column missing": ("tweet_id,type\n5,favorites\n", "names no column at"),
    "JSON": (LINE + "\n", "names no column tweet_id"),
    "no line ends": ("tweet_id,type,at5,favorites,x5,favorites,x", "no column at; .*--data-binary"),
    "no line ends after another column": (
        "tweet_id,type,at,count5,favorites,2026-01-01T00:30:00Z,2",
        r"column\(s\) count5,favorites,2026-01-01T00:30:00Z,2; .*--data-binary",
    ),
    "no line ends after an unknown column": (f"{HEADER}{ROW}x", "one line, .*--data-binary"),
    "carriage returns": ("tweet_id,type,at\r5,favorites,x\r", "carriage return"),
    "carriage returns after another column": ("tweet_id,type,at,count\r5,favorites,x,1\r", "carr"),
    "UTF-16": (f"{HEADER}\n{ROW}\n".encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": (f"{HEADER}\n{ROW}\n".encode("utf-16-le"), "UTF-16"),
    "UTF-16 of the other order": (f"{HEADER}\n{ROW}\n".encode("utf-16-be"), "UTF-16"),
    "Latin-1": (f"{HEADER},größe\n".encode("latin-1"), "not UTF-8"),
    "an open quote": ('tweet_id,type,at,"text\n5,favorites,x,y\n', "cannot be parsed"),
    "empty": ("", "is empty"),
    "blank": ("\n\n", "is empty"),
    "separators": (",,,\n", "blank"),
}


@cases(("body", "message"), HEADERS.values(), ids=HEADERS)
def test_one_message_says_what_is_wrong_with_the_first_line(upload, body, message):
    content = body if isinstance(body, bytes) else body.encode()

    with pytest.raises(MalformedBody, match=message) as refused:
        upload(content, "text/csv")

    assert len(str(refused.value)) < 400


@cases("header", ["tweet_id,type,at", "at,count,promoted,tweet_id,type"])
@cases("end", ["", "\n", "\r\n"])
def test_a_header_without_rows_is_an_empty_batch(upload, header, end):
    assert lines_of(upload((header + end).encode(), "text/csv")) == ([], [])


def test_an_unknown_column_needs_a_line_end(upload):
    assert lines_of(upload(f"{HEADER}\n".encode(), "text/csv")) == ([], [])


# Encodings

BODIES = {
    "application/x-ndjson": f"{LINE}\n{LINE}\n",
    "application/json": f"[{LINE},\n{LINE}]",
    "text/csv": f"{HEADER}\n{ROW}\n{ROW}\n",
}


@pytest.mark.parametrize(("content_type", "text"), BODIES.items(), ids=BODIES)
def test_a_byte_order_mark_is_skipped(upload, content_type, text):
    assert upload(BOM + text.encode(), content_type).rows.height == 2
    assert upload(BOM + text.encode(), content_type).rejected.height == 0


@cases("text", [LINE, f"[{LINE}]", f" \n{LINE}", json.dumps(EVENT, indent=1)])
@cases("content_type", ["", "text/plain", "application/json"])
def test_json_after_a_byte_order_mark_is_detected(upload, text, content_type):
    assert upload(BOM + text.encode(), content_type).rows.height == 1


def test_a_second_byte_order_mark_is_no_mark(upload):
    rows, rejected = lines_of(upload(BOM + BOM + f"{LINE}\n{LINE}".encode(), "application/jsonl"))
    assert (rows, rejected) == ([2], [(1, "malformed")])


@cases(("content_type", "text"), BODIES.items(), ids=BODIES)
@cases("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_named(upload, content_type, text, encoding):
    with pytest.raises(MalformedBody, match="is UTF-16; send UTF-8"):
        upload(text.encode(encoding), content_type)


# JSON

OTHER = json.dumps(EVENT | {"text": 'a}{"\\\\', "nested": {"list": [1, {"b": "]}"}]}}, indent=2)


@cases("text", [f"[\n{LINE},\n{LINE}\n]", f" \n[{LINE}]", f"[{LINE}]\n{LINE}"])
@cases("mark", [b"", BOM])
def test_an_array_sent_as_ndjson_is_refused_as_a_whole(upload, text, mark):
    with pytest.raises(MalformedBody, match=r"a JSON array, not NDJSON; .*application/json"):
        upload(mark + text.encode(), "application/x-ndjson")


@cases("count", [1, 2, 5])
@cases("gap", ["\n", "", " ", "\r\n\r\n"])
@cases("content_type", ["application/json", "text/plain"])
def test_objects_over_several_lines(upload, count, gap, content_type):
    """`jq` writes them."""
    text = gap.join([OTHER, *[json.dumps(EVENT, indent="\t")] * (count - 1)]) + gap
    parsed = upload(text.encode(), content_type)
    assert lines_of(parsed) == (list(range(1, count + 1)), [])


def test_one_of_several_objects_is_rejected_alone(upload):
    texts = [json.dumps(EVENT | {"tweet_id": n}, indent=1) for n in (1, 0, 3)]
    parsed = upload("\n".join(texts).encode(), "application/json")
    assert lines_of(parsed) == ([1, 3], [(2, "invalid_id")])


@cases(
    "text",
    [
        OTHER[:-1],
        OTHER + OTHER[:-1],
        OTHER + "\n{",
        OTHER + "x",
        OTHER + "}",
        OTHER[:20] + "}" + OTHER[20:],
        OTHER + "]",
        OTHER + '\n"',
    ],
)
def test_objects_with_other_text_after_them_are_refused(upload, text):
    with pytest.raises(MalformedBody, match="JSON objects"):
        upload(text.encode(), "application/json")


@cases("junk", [",", ":", "null", "5", "x"])
def test_text_between_objects_rejects_one_of_them(upload, junk):
    parsed = upload(f"{OTHER}{junk}{OTHER}\n".encode(), "application/json")
    assert lines_of(parsed) == ([1], [(2, "malformed")])


@cases("junk", ["x", "]", f"[{LINE}]", LINE, ",", "\0", "\\n"])
def test_text_after_an_array_refuses_the_body(upload, junk):
    with pytest.raises(MalformedBody, match="trailing characters"):
        upload(f"[{LINE}]{junk}".encode(), "application/json")


@pytest.mark.parametrize("gap", ["", " "])
def test_objects_without_line_ends_are_explained(upload, gap):
    """`curl -d` removes the line ends."""
    with pytest.raises(AllRejected) as caught:
        upload(gap.join([LINE] * 3).encode(), "application/x-ndjson")
    (rejection,) = caught.value.details["rejections"]
    assert (rejection["line"], rejection["reason"]) == (1, "malformed")
    assert "--data-binary" in rejection["detail"]


@cases("number", ["1e400", "-1E+999", "1" * 400, "0." + "1" * 400, "1e-400"])
def test_a_number_beyond_a_double_may_stand_in_an_unknown_field(upload, number):
    line = LINE[:-1] + f', "ratio": {number}}}'
    for others in ("", f"\n{LINE}"):
        parsed = upload((line + others).encode(), "application/x-ndjson")
        assert parsed.rejected.height == 0
    assert upload(f"[{line}]".encode(), "application/json").rows.height == 1


# Compression


@cases("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
@cases("content_type", [*BODIES, "", "application/gzip", "text/plain"])
def test_undeclared_compression_is_named(upload, pack, content_type):
    name = "gzip" if pack is gzip.compress else "zstd"
    body = pack(f"{LINE}\n".encode())
    with pytest.raises(MalformedBody, match=f"is {name} data; send Content-Encoding: {name}"):
        upload(body, content_type)
    with pytest.raises(MalformedBody, match="is compressed twice"):
        upload(pack(body), content_type, encoding=name)
    assert upload(body, "application/jsonl", encoding=name).rows.height == 1


@pytest.mark.parametrize("size", [1, 8, 511, 5000])
def test_zeros_after_gzip_are_padding(upload, size):
    """As in gzip itself: programs that store blocks fill the last one with zeros."""
    body = gzip.compress(LINE.encode())
    assert upload(body + bytes(size), "application/jsonl", encoding="gzip").rows.height == 1
    with pytest.raises(MalformedBody, match=f"{size + 1} other bytes after the end of the gzip"):
        upload(body + bytes(size) + b"x", "application/jsonl", encoding="gzip")


@cases("junk", [b"x", LINE.encode(), b"\n", b"PK\x03\x04", b"\x1f\x9d"])
def test_other_bytes_after_the_compressed_data_are_named(upload, junk):
    for name, pack in (("gzip", gzip.compress), ("zstd", zstandard.compress)):
        with pytest.raises(MalformedBody, match=r"after the end of the|cut short"):
            upload(pack(LINE.encode()) + junk, "application/jsonl", encoding=name)
