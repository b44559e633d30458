"""Files are cut into chunks of whole lines, always in the same places; lines keep their numbers."""

import csv
import gzip
import json
from functools import partial

import polars as pl
import pytest
import zstandard

from openengagement.errors import MalformedBody, UnsupportedBody
from openengagement.ingest import batch_parser
from openengagement.ingest.batch_parser import BatchParser
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.sources import chunks, text_parts

PARSER = BatchParser(lines_max=10**9, latest_s=lambda: 1_795_342_500)
COMPRESS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


@pytest.fixture(params=[7, 300], ids="{}B".format)
def chunk_bytes(request, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", request.param)
    return request.param


@pytest.fixture
def store(tmp_path):
    def to_file(name, data):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return to_file


def ids_of(path):
    """The ids of a file by line number, as a load sees them, and the reasons of rejected lines."""
    seen, refused = {}, {}
    for chunk in chunks_of(path):
        parsed = PARSER.parse(chunk.body, chunk.form, kind=EVENTS)
        for line, tweet_id in parsed.rows.select("line", "tweet_id").rows():
            assert line + chunk.lines_before not in seen
            seen[line + chunk.lines_before] = tweet_id
        for line, reason in parsed.rejected.select("line", "reason").rows():
            assert line + chunk.lines_before not in refused
            refused[line + chunk.lines_before] = reason
    return seen, refused


def chunks_of(path):
    return chunks.read_chunks(path, partial(PARSER.decode_file, kind=EVENTS))


def key_of(chunk):
    return chunk.identity().key


def ndjson_lines(count, *, bad=()):
    for number in range(1, count + 1):
        row = {"tweet_id": str(number), "type": "replies", "at": "2026-01-01T00:00:00Z"}
        yield "{oops" if number in bad else json.dumps(row)


def csv_lines(count, *, bad=()):
    yield "at,note,tweet_id,type"
    for number in range(1, count + 1):
        yield f'2026-01-01T00:00:00Z,"n, {number}",{0 if number in bad else number},replies'


# Every ending of lines and of the file. One of them is also compressed.
ENDINGS = pytest.mark.parametrize(
    ("newline", "end", "suffix"),
    [
        *(("\n", True, suffix) for suffix in COMPRESS),
        ("\n", False, ""),
        ("\r\n", True, ""),
        ("\r\n", False, ""),
    ],
)


@ENDINGS
def test_ndjson(store, chunk_bytes, suffix, newline, end):
    text = newline.join(ndjson_lines(20, bad={1, 9, 20})) + (newline if end else "")
    path = store("e.ndjson" + suffix, COMPRESS[suffix](text.encode()))

    seen, refused = ids_of(path)

    assert refused == dict.fromkeys((1, 9, 20), "malformed")
    assert seen == {number: number for number in range(1, 21) if number not in refused}


@ENDINGS
def test_csv_repeats_its_header(store, chunk_bytes, suffix, newline, end):
    """Line 1 of the file is the header, so the first event is on line 2."""
    text = newline.join(csv_lines(20, bad={1, 9, 20})) + (newline if end else "")
    path = store("e.csv" + suffix, COMPRESS[suffix](text.encode()))

    seen, refused = ids_of(path)

    assert refused == dict.fromkeys((2, 10, 21), "invalid_id")
    assert seen == {number + 1: number for number in range(1, 21) if number + 1 not in refused}


def test_blank_lines_count_as_lines(store, chunk_bytes):
    text = "\n\n" + "\n\n".join(ndjson_lines(20)) + "\n\n\n"

    seen, refused = ids_of(store("e.jsonl", text.encode()))

    assert (seen, refused) == ({2 * number + 1: number for number in range(1, 21)}, {})


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_cells_that_span_lines(tmp_path, monkeypatch, quoting):
    """A chunk that ended inside a quoted cell would break the record in two."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 100)
    path = tmp_path / "e.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file, quoting=quoting, lineterminator="\n")
        rows.writerow(["note", "tweet_id", "type", "at"])
        for number in range(1, 41):
            rows.writerow([f"one\ntwo\n{number}", number, "replies", "2026-01-01T00:00:00Z"])

    seen, refused = ids_of(path)

    assert refused == {}
    assert sorted(seen.values()) == list(range(1, 41))


@pytest.mark.parametrize("name", ["e.ndjson", "e.csv", "e.ndjson.gz", "e.csv.zst"])
def test_a_file_is_always_cut_in_the_same_places(store, monkeypatch, name):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1000)
    lines = csv_lines(500) if "csv" in name else ndjson_lines(500)
    suffix = name.removeprefix("e.ndjson").removeprefix("e.csv")
    path = store(name, COMPRESS[suffix]("\n".join(lines).encode()))

    first, second = (
        [(key_of(chunk), chunk.lines_before) for chunk in chunks_of(path)] for _ in range(2)
    )

    assert first == second
    assert len({key for key, _ in first}) == len(first) > 10


def test_compressed_and_plain_files_have_the_same_keys(store, monkeypatch):
    """A file that was loaded plain counts nothing when it is loaded again as .gz."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 500)
    data = "\n".join(ndjson_lines(100)).encode()
    keys = [
        [key_of(chunk) for chunk in chunks_of(store("e.ndjson" + suffix, pack(data)))]
        for suffix, pack in COMPRESS.items()
    ]

    assert keys[0] == keys[1] == keys[2]


def test_equal_chunks_of_one_file_have_different_keys(store, monkeypatch):
    """A file may repeat the same lines, and all of them count."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 50)
    line = next(ndjson_lines(1)) + "\n"
    path = store("e.ndjson", (line * 30).encode())

    keys = [key_of(chunk) for chunk in chunks_of(path)]

    assert len(set(keys)) == len(keys) > 10
    assert len(ids_of(path)[0]) == 30


def test_a_line_longer_than_a_chunk(store, chunk_bytes):
    text = "".join(
        json.dumps(json.loads(line) | {"note": "x" * 5000}) + "\n" for line in ndjson_lines(5)
    )

    assert len(ids_of(store("e.ndjson", text.encode()))[0]) == 5


@pytest.mark.parametrize("data", [b"", b"\n", b"\n\n  \n"])
@pytest.mark.parametrize("name", ["e.ndjson", "e.jsonl"])
def test_an_empty_file(store, chunk_bytes, name, data):
    assert ids_of(store(name, data)) == ({}, {})


def test_a_csv_header_alone(store, chunk_bytes):
    assert ids_of(store("e.csv", b"tweet_id,type,at\n")) == ({}, {})


# JSON documents


def json_events(count):
    """Events with text that looks like structure, and elements that are no events."""
    for number in range(1, count + 1):
        row = {"tweet_id": number, "type": "replies", "at": "2026-01-01T00:00:00Z"}
        if number % 5 == 0:
            yield number
        elif number % 7 == 0:
            yield row | {"text": 'a},{"b\\\\"]', "more": [{"x": [1, {}]}, [], "é"]}
        else:
            yield row


@pytest.mark.parametrize(
    ("suffix", "indent", "mark"),
    [("", None, ""), ("", 1, "\ufeff"), ("", "\t", ""), (".gz", None, "\ufeff"), (".zst", 1, "")],
)
def test_an_array_is_cut_between_elements(store, chunk_bytes, suffix, indent, mark):
    text = mark + json.dumps(list(json_events(30)), indent=indent, ensure_ascii=False) + "\n "
    path = store("e.json" + suffix, COMPRESS[suffix](text.encode()))

    seen, refused = ids_of(path)

    assert refused == dict.fromkeys(range(5, 31, 5), "malformed")
    assert seen == {number: number for number in range(1, 31) if number % 5}
    keys = [[(key_of(chunk), chunk.lines_before) for chunk in chunks_of(path)] for _ in range(2)]
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == len(keys[0]) >= 10


@pytest.mark.parametrize("gap", ["", "\n", "\r\n \t"])
def test_objects_are_cut_between_objects(store, chunk_bytes, gap):
    rows = [row for row in json_events(30) if isinstance(row, dict)]
    path = store("e.json", gap.join(json.dumps(row, indent=1) for row in rows).encode())

    seen, refused = ids_of(path)

    assert refused == {}
    assert seen == {line: row["tweet_id"] for line, row in enumerate(rows, start=1)}


def test_ndjson_may_have_the_suffix_of_json(store, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 300)
    path = store("e.json", "\n".join(ndjson_lines(40, bad={17})).encode())

    assert ids_of(path)[1] == {17: "malformed"}


def test_a_small_array_is_one_chunk(store):
    """It has the key that it had when arrays were not cut, so it counts nothing if loaded again."""
    data = f" [{','.join(ndjson_lines(50))}]\n".encode()

    assert [chunk.body for chunk in chunks_of(store("e.json", data))] == [data]


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (",]", "comma before the end|trailing comma"),
        (",,5]", "is not a JSON array"),
        ("", "does not end|truncated"),
        (",", "does not end|truncated"),
        (',{"a', "does not end|truncated"),
        ("] x", "after the end|trailing characters"),
        ("]" + " " * 2000 + "x", "after the end|trailing characters"),
        ("][5]", "after the end|trailing characters"),
        ("}]", "after the end|not a JSON array"),
    ],
)
def test_an_array_without_its_end_or_with_more_is_an_error(store, chunk_bytes, tail, message):
    elements = ",".join(json.dumps(row) for row in json_events(20))

    with pytest.raises(MalformedBody, match=message):
        ids_of(store("e.json", f"[{elements}{tail}".encode()))


@pytest.mark.parametrize("tail", ["{", '{"a": 1', "}", "5"])
def test_objects_without_their_end_are_an_error(store, chunk_bytes, tail):
    rows = [row for row in json_events(20) if isinstance(row, dict)]
    text = "\n".join(json.dumps(row, indent=1) for row in rows)

    with pytest.raises(MalformedBody, match=r"does not end|not a JSON array|closes nothing"):
        ids_of(store("e.json", (text + tail).encode()))


@pytest.mark.parametrize("name", ["e.json", "e.ndjson", "e.csv"])
def test_an_element_or_line_has_a_limit(store, monkeypatch, name):
    """Otherwise the memory in use would depend on the file."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 100)
    monkeypatch.setattr(text_parts, "ROW_BYTES_MAX", 1000)
    start = {"e.json": "[5, ", "e.ndjson": "{}\n", "e.csv": "tweet_id,type,at\n"}[name]
    path = store(name, (start + '"' + "x" * 2000).encode())

    with pytest.raises(MalformedBody, match=r"(element|line) 2 is longer than 1000 bytes"):
        ids_of(path)


def test_an_unclosed_quote_rejects_its_chunk_only(store, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 100)
    monkeypatch.setattr(text_parts, "ROW_BYTES_MAX", 500)
    rows = [f"{number},replies,2026-01-01T00:00:00Z,x" for number in range(1, 201)]
    rows[9] = rows[9][:-1] + '"x'
    path = store("e.csv", "\n".join(["tweet_id,type,at,note", *rows]).encode())

    seen, refused = ids_of(path)

    assert sorted([*seen, *refused]) == list(range(2, 202))
    assert all(seen[line] == line - 1 for line in seen)
    assert min(refused) == 11
    assert len(refused) < 25


@pytest.mark.parametrize(
    "name", ["e.json", "e.csv", "e.parquet", "e.arrow", "e.json.gz", "e.csv.zst"]
)
def test_an_empty_file_is_refused(store, name):
    with pytest.raises(MalformedBody, match="is empty"):
        ids_of(store(name, COMPRESS.get("." + name.rpartition(".")[2], bytes)(b"")))


@pytest.mark.parametrize("name", ["e.ndjson", "e.json", "e.csv"])
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_data_under_another_name_is_named(store, name, suffix):
    data = COMPRESS[suffix]("\n".join(ndjson_lines(5)).encode())

    with pytest.raises(MalformedBody, match=rf"data; the name .* must end in \{suffix}"):
        ids_of(store(name, data))


@pytest.mark.parametrize("name", ["e.ndjson", "e.json", "e.csv"])
def test_utf_16_is_named(store, name):
    with pytest.raises(MalformedBody, match="UTF-16"):
        ids_of(store(name, "\n".join(csv_lines(5)).encode("utf-16")))


def test_a_byte_order_mark_is_skipped(store, chunk_bytes):
    for name, lines in (("e.ndjson", ndjson_lines(9)), ("e.csv", csv_lines(9))):
        seen, refused = ids_of(
            store(name, "\n".join(["\ufeff", *lines]).replace("\n", "", 1).encode())
        )
        assert (len(seen), refused) == (9, {})


@pytest.mark.parametrize("size", [1, 7, 40, 100])
def test_parquet_in_slices(tmp_path, monkeypatch, size):
    monkeypatch.setattr(batch_parser, "CHUNK_ROWS", size)
    path = tmp_path / "e.parquet"
    pl.DataFrame(
        {
            "tweet_id": [0 if number == 17 else number for number in range(1, 41)],
            "type": "replies",
            "at": "2026-01-01T00:00:00Z",
        }
    ).write_parquet(path)

    seen, refused = ids_of(path)

    assert refused == {17: "invalid_id"}
    assert seen == {number: number for number in range(1, 41) if number != 17}
    keys = [[key_of(chunk) for chunk in chunks_of(path)] for _ in range(2)]
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == len(keys[0])


def test_progress_ends_at_the_size_of_the_file(store, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 300)
    for suffix, pack in COMPRESS.items():
        path = store("e.ndjson" + suffix, pack("\n".join(ndjson_lines(200)).encode()))
        read = [chunk.read_bytes for chunk in chunks_of(path)]
        assert read == sorted(read)
        assert read[-1] == path.stat().st_size


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.ndjson", "NDJSON"),
        ("a.jsonl", "NDJSON"),
        ("a.b.JSONL", "NDJSON"),
        ("a.csv.gz", "CSV"),
        ("a.json.zst", "JSON"),
    ],
)
def test_the_file_name_gives_the_format(store, name, form):
    data = {"NDJSON": b"{}", "CSV": b"a\n1\n", "JSON": b"[{}]"}[form]
    path = store(name, COMPRESS["." + name.rpartition(".")[2]](data) if form != "NDJSON" else data)

    assert [chunk.form for chunk in chunks_of(path)] == [Format[form]]


@pytest.mark.parametrize("name", ["events", "events.txt", "events.gz", "events.xls", ".ndjson"])
def test_other_file_names_are_refused(store, name):
    with pytest.raises(UnsupportedBody, match=r"\.ndjson"):
        list(chunks_of(store(name, b"{}")))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("keep", [0.5, 0.9, -1])
def test_truncated_compressed_data_is_an_error(store, suffix, keep):
    """Otherwise the operator would believe that the whole file was loaded."""
    whole = COMPRESS[suffix]("\n".join(ndjson_lines(5000)).encode())
    cut = whole[:keep] if isinstance(keep, int) else whole[: int(len(whole) * keep)]

    with pytest.raises((EOFError, OSError, zstandard.ZstdError)):
        list(chunks_of(store("e.ndjson" + suffix, cut)))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_several_members(store, suffix):
    """`cat a.gz b.gz` makes such files."""
    lines = [line + "\n" for line in ndjson_lines(30)]
    parts = ["".join(lines[:10]), "".join(lines[10:11]), "".join(lines[11:])]
    path = store("e.ndjson" + suffix, b"".join(COMPRESS[suffix](part.encode()) for part in parts))

    assert ids_of(path) == ({number: number for number in range(1, 31)}, {})


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_file_that_is_not_compressed_as_its_name_says(store, suffix):
    with pytest.raises((OSError, zstandard.ZstdError)):
        list(chunks_of(store("e.ndjson" + suffix, b"hello, this is not compressed data")))
