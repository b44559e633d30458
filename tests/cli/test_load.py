"""`openengagement load`: every kind in every format, rejected lines, and errors."""

import gzip
import io
import json
import resource
from pathlib import Path

import polars as pl
import pytest
import zstandard

from openengagement.clock import SystemClock
from openengagement.ingest import batch_parser
from openengagement.ingest.sources import chunks
from openengagement.registry.opening import open_registry
from openengagement.stores.embedded.store import EmbeddedStore
from support.cases import cases

SUFFIXES = ("ndjson", "jsonl", "json", "csv", "parquet", "arrow", "ndjson.gz", "csv.zst", "json.gz")
ROWS = {
    "accounts": [
        {"id": 1, "screen_name": "ana", "protected": False},
        {"id": 2, "screen_name": "bea", "protected": True},
        {"id": 3, "screen_name": "no good", "protected": False},
        {"id": 4, "screen_name": "ANA", "protected": False},
    ],
    "tweets": [
        {"id": 10, "author_id": 1, "created_at": "2026-01-01T00:00:00Z", "video_id": 5},
        {"id": 0, "author_id": 1, "created_at": None, "video_id": None},
        {"id": 11, "author_id": 9, "created_at": None, "video_id": None},
        {"id": 12, "author_id": 1, "created_at": "today", "video_id": 5},
    ],
    "events": [
        {"tweet_id": 10, "type": "replies", "at": "2026-01-01T00:00:00Z", "count": 3},
        {"tweet_id": 10, "type": "likes", "at": "2026-01-01T00:00:00Z", "count": 3},
        {"tweet_id": 10, "type": "video_views", "at": "2026-01-01T01:00:00Z", "count": None},
        {"tweet_id": 10, "type": "replies", "at": None, "count": 3},
    ],
}
REFUSED = {"accounts": [3, 4], "tweets": [2, 4], "events": [2, 4]}


def write_rows(path, rows):
    frame = pl.DataFrame(rows)
    name, _, packing = path.name.partition(".")[2].partition(".")
    target = io.BytesIO()
    if name == "parquet":
        frame.write_parquet(target)
    elif name in {"arrow", "arrows"}:
        frame.write_ipc_stream(target)
    elif name == "csv":
        frame.write_csv(target)
    elif name == "json":
        target.write(json.dumps(rows, indent=1).encode())
    else:
        target.writelines(json.dumps(row).encode() + b"\n" for row in rows)
    pack = {"": bytes, "gz": gzip.compress, "zst": zstandard.compress}[packing]
    path.write_bytes(pack(target.getvalue()))
    return path


class Folder:
    """A data folder, opened to check what a command did."""

    def __init__(self, data):
        self.registry = open_registry(data)
        self.store = EmbeddedStore(
            data / "counters.sqlite3", clock=SystemClock(), idempotency_keep_days=90
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.store.close()
        self.registry.close()


def check_loaded(data, kind):
    with Folder(data) as folder:
        if kind == "accounts":
            assert folder.registry.accounts.read_protected([1, 2, 3, 4]) == {1: False, 2: True}
        elif kind == "tweets":
            tweets = folder.store.read_tweets([10, 11, 12])
            assert {one: tweet.author_id for one, tweet in tweets.items()} == {10: 1, 11: 9}
            assert tweets[10].created_at_s == 1_767_225_600
        else:
            counts = folder.store.read_totals([10], ["replies", "video_views", "engagements"])
            assert counts.tolist() == [[3, 1, 3]]


# tests/unit/ingest/test_rows.py reads every kind in every format.
@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        *(("events", suffix) for suffix in SUFFIXES),
        *((kind, suffix) for kind in ("tweets", "accounts") for suffix in ("ndjson", "csv.zst")),
    ],
)
def test_every_kind_and_every_format(run, data, tmp_path, kind, suffix):
    path = write_rows(tmp_path / f"rows.{suffix}", ROWS[kind])

    printed = run("load", kind, path, "--json").json()

    assert printed == {"accepted": 2, "rejected": 2}
    check_loaded(data, kind)
    rejections = path.with_name(path.name + ".rejected.ndjson")
    entries = [json.loads(line) for line in rejections.read_text().splitlines()]
    offset = suffix.startswith("csv")
    assert [entry["line"] - offset for entry in entries] == REFUSED[kind]
    for entry in entries:
        assert entry["reason"]
        assert entry["detail"]
        if "json" in suffix.split(".")[0] and suffix.split(".")[0] != "json":
            assert json.loads(entry["row"]) == ROWS[kind][entry["line"] - 1]


@pytest.mark.parametrize("kind", ROWS)
def test_loading_a_file_again_counts_nothing_twice(run, data, tmp_path, kind):
    path = write_rows(tmp_path / "rows.ndjson", ROWS[kind])

    printed = [run("load", kind, path, "--json").json() for _ in range(3)]

    assert printed == [{"accepted": 2, "rejected": 2}] * 3
    check_loaded(data, kind)


def test_several_files_are_loaded(run, data, tmp_path):
    paths = [
        write_rows(tmp_path / f"rows{index}.{suffix}", [{**ROWS["events"][0], "count": 10**index}])
        for index, suffix in enumerate(["ndjson", "csv", "json", "parquet"])
    ]

    assert run("load", "events", *paths, "--json").json() == {"accepted": 4, "rejected": 0}
    assert not list(tmp_path.glob("*.rejected.ndjson"))
    with Folder(data) as folder:
        assert folder.store.read_totals([10], ["replies"]).tolist() == [[1111]]


def test_notes_explain_rejections_repetitions_and_unknown_authors(run, tmp_path):
    path = write_rows(tmp_path / "rows.ndjson", ROWS["events"])
    first, second = run("load", "events", path), run("load", "events", path)

    assert "missing_field 1, unknown_type 1" in " ".join(first.err.split())
    assert "rejected.ndjson" in first.err
    assert "2 of the accepted lines were loaded before" in second.err
    tweets = run("load", "tweets", write_rows(tmp_path / "tweets.ndjson", ROWS["tweets"]))
    assert "2 authors are not registered" in tweets.err


def test_a_load_without_rejections_removes_the_file_of_rejections(run, tmp_path):
    path = write_rows(tmp_path / "rows.ndjson", ROWS["events"])
    run("load", "events", path)
    rejections = tmp_path / "rows.ndjson.rejected.ndjson"
    assert rejections.exists()
    write_rows(path, ROWS["events"][:1])
    run("load", "events", path)

    assert not rejections.exists()


def test_fields_that_are_not_read_are_named(run, tmp_path):
    rows = [{**row, "promotd": True} for row in ROWS["events"]]
    done = run("load", "events", write_rows(tmp_path / "rows.ndjson", rows))
    accepted = run("load", "events", tmp_path / "rows.ndjson", "--json").json()["accepted"]

    assert f"the accepted lines with them: 'promotd' {accepted}." in done.out + done.err


def test_an_empty_file_counts_nothing(run, tmp_path):
    path = tmp_path / "rows.ndjson"
    path.write_text("")

    assert run("load", "events", path, "--json").json() == {"accepted": 0, "rejected": 0}


BROKEN = {
    "rows.txt": b"x",
    "rows": b"x",
    "cut.json": b'[{"tweet_id":',
    "object.json": b"5",
    "rows.parquet": b"PAR1 this is not Parquet PAR1",
    "empty.parquet": b"",
    "rows.arrow": b"this is not Arrow",
    "cut.ndjson.gz": gzip.compress(b'{"tweet_id":"1"}\n' * 50_000)[:-20],
    "cut.ndjson.zst": zstandard.compress(bytes(range(256)) * 5000)[:-5],
    "none.ndjson.gz": b"this is not gzip",
    "none.ndjson.zst": b"this is not zstd",
    "cut.parquet.gz": gzip.compress(b"PAR1")[:-3],
    "[b].json": b"x",
    "[red].txt": b"x",
}


@cases("name", BROKEN)
def test_unreadable_files_are_named_in_the_error(run, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BROKEN[name])

    done = run("load", "events", path, "--json")

    assert done.code == 1
    assert done.out == ""
    assert "Traceback" not in done.err
    assert name in done.err.replace("\n", "")


def test_files_before_a_broken_one_are_counted(run, data, tmp_path):
    good = write_rows(tmp_path / "good.ndjson", ROWS["events"])
    broken = tmp_path / "broken.json"
    broken.write_bytes(b"[")

    assert run("load", "events", good, broken, "--json").code == 1
    check_loaded(data, "events")


def events(count, gap=",\n"):
    rows = [{**ROWS["events"][0], "tweet_id": number, "count": 1} for number in range(1, count + 1)]
    return gap.join(map(json.dumps, rows))


def text_of(printed):
    return " ".join(printed.err.split())


def test_the_error_says_where_a_file_is_wrong_and_what_was_loaded(run, data, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 2000)
    path = tmp_path / "e.json"
    right = f"[\n{events(100)}\n]\n"
    comma = right.index(",\n", right.index('"tweet_id": 70'))
    path.write_text(right[:comma] + right[comma + 1 :])

    refused = run("load", "events", path)

    assert refused.code == 1
    assert f"(line 72, byte {comma + 1} of the file). Elements 1 to 50 of this file" in text_of(
        refused
    )
    with Folder(data) as folder:
        counted = folder.store.read_totals(range(1, 101), ["replies"])[:, 0].tolist()
    assert counted == [1] * 50 + [0] * 50
    assert "change nothing before it, and run the same command again" in text_of(refused)
    path.write_text(right)
    done = run("load", "events", path)
    assert "50 of the accepted lines were loaded before" in text_of(done)
    with Folder(data) as folder:
        assert folder.store.read_totals(range(1, 101), ["replies"]).tolist() == [[1]] * 100


def test_the_error_says_that_nothing_was_loaded(run, data, tmp_path):
    path = tmp_path / "e.json"
    path.write_text(f"[{events(9)} {events(9)}]")

    refused = run("load", "events", path)

    assert "Nothing of this file was loaded. Remove the cause" in text_of(refused)
    with Folder(data) as folder:
        assert not folder.store.read_totals(range(1, 10), ["replies"]).any()


@pytest.mark.parametrize(("kind", "advice"), [("events", True), ("tweets", False)])
def test_the_error_says_which_rows_of_a_columnar_file_would_count_again(
    run, tmp_path, monkeypatch, kind, advice
):
    monkeypatch.setattr(batch_parser, "CHUNK_ROWS", 4)
    path = write_rows(tmp_path / "e.arrow", [{**ROWS[kind][0], "video_id": "1"}] * 20)
    path.write_bytes(path.read_bytes() + b"more")

    printed = text_of(run("load", kind, path))

    assert "has data after the end of the Arrow stream. Rows 1 to 16 of this file" in printed
    assert ("load the other rows from a file of their own" in printed) == advice


@pytest.mark.parametrize("arguments", [["events"], ["events", "missing.ndjson"], ["likes", "."]])
def test_invalid_arguments_are_refused(run, arguments):
    done = run("load", *arguments, "--json")

    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


def test_a_folder_is_refused(run, tmp_path):
    assert run("load", "events", tmp_path, "--json").code == 2


@pytest.mark.parametrize("kind", ROWS)
def test_many_files_need_no_more_descriptors(run, data, tmp_path, kind):
    paths = [write_rows(tmp_path / f"{index}.ndjson", ROWS[kind][:1]) for index in range(40)]
    run("load", kind, paths[0])
    opened = len([*Path("/proc/self/fd").iterdir()])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 40, hard))
    try:
        done = run("load", kind, *paths)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert done.code == 0, done.err
