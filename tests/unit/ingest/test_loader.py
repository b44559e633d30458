"""Loading files: accepted and rejected lines, repeated loads, and files that cannot be read."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import support
from openengagement.clock import Uptime
from openengagement.engagement.types import Tweet
from openengagement.errors import MalformedBody
from openengagement.ingest import batch_parser
from openengagement.ingest.formats import columnar
from openengagement.ingest.registrar import Registrar
from openengagement.ingest.sources import chunks, text_parts
from openengagement.ingest.sources.loader import (
    IN_FLIGHT_MAX,
    KINDS,
    FileError,
    Loader,
    LoadProgress,
)
from openengagement.ingest.writer import BatchWriter
from openengagement.stores.embedded.store import EmbeddedStore
from support.folders import open_new_registry

NOW_S = 1_795_342_500.0  # 2026-11-22T10:15:00Z
HOUR = 490_896  # of 2026-01-01T00:00:00Z


class Clock:
    def __init__(self, at_s):
        self.at_s = at_s

    def now_s(self):
        return self.at_s

    def uptime(self):
        return Uptime("boot", self.at_s)


class Folder:
    """A data folder with the objects that a load needs."""

    def __init__(self, path):
        self.clock = Clock(NOW_S)
        self.registry = open_new_registry(path)
        self.store = EmbeddedStore(
            path / "counters.sqlite3", clock=self.clock, idempotency_keep_days=90
        )
        self.failures = []
        self.writer = BatchWriter(
            self.store, queue_max=IN_FLIGHT_MAX + 1, on_failure=self.failures.append
        )

    def load(self, *paths, kind="events", on_progress=lambda _reached: None):
        loader = Loader(
            KINDS[kind],
            registrar=Registrar(self.registry, self.store, now_s=self.clock.now_s),
            writer=self.writer,
            latest_s=lambda: self.clock.now_s() + 300,
        )
        return loader.load(paths, on_progress)

    def totals(self, ids, name="replies"):
        return self.store.read_totals(list(ids), [name])[:, 0].tolist()

    def close(self):
        self.writer.close()
        self.store.close()
        self.registry.close()


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path)
    yield made
    made.close()
    assert made.failures == []


def line(tweet_id, **changes):
    whole = {"tweet_id": str(tweet_id), "type": "replies", "at": "2026-01-01T00:00:00Z", **changes}
    return json.dumps(whole) + "\n"


def rejected_lines(path):
    aside = path.with_name(path.name + ".rejected.ndjson")
    if not aside.exists():
        return None
    return [json.loads(text) for text in aside.read_text().splitlines()]


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 400)


def test_events_count(folder, tmp_path, small_chunks):
    path = tmp_path / "e.ndjson"
    path.write_text("".join(line(index % 7 + 1, count=index) for index in range(100)))

    loaded = folder.load(path)

    assert (loaded.accepted, loaded.rejected, loaded.repeated) == (100, 0, 0)
    sums = np.bincount(np.arange(100) % 7, weights=np.arange(100)).astype(int)
    assert folder.totals(range(1, 8)) == sums.tolist()
    assert rejected_lines(path) is None


def test_a_second_load_counts_nothing(folder, tmp_path, small_chunks):
    path = tmp_path / "e.ndjson"
    path.write_text("".join(line(1) for _ in range(50)) + "{\n")

    first, second = folder.load(path), folder.load(path)

    assert (first.accepted, first.repeated) == (50, 0)
    assert (second.accepted, second.repeated, second.rejected) == (50, 50, 1)
    assert folder.totals([1]) == [50]


def test_rejected_lines_are_written_to_a_file(folder, tmp_path, small_chunks):
    bad = {
        3: "{broken",
        20: line("x").strip(),
        21: line(1, type="likes").strip(),
        40: line(1, at=None).strip(),
    }
    path = tmp_path / "e.ndjson"
    path.write_text("".join(bad.get(index, line(1).strip()) + "\n" for index in range(1, 41)))

    loaded = folder.load(path)

    back = rejected_lines(path)
    assert {entry["line"]: entry["row"] for entry in back} == bad
    assert [entry["reason"] for entry in back] == [
        "malformed",
        "invalid_id",
        "unknown_type",
        "missing_field",
    ]
    assert all(entry["detail"] for entry in back)
    assert (loaded.accepted, loaded.rejected) == (36, 4)
    assert loaded.reasons == {
        "malformed": 1,
        "invalid_id": 1,
        "unknown_type": 1,
        "missing_field": 1,
    }
    assert folder.totals([1]) == [36]


def test_rejected_lines_of_csv_are_written_to_a_file(folder, tmp_path, small_chunks):
    good = "1,replies,2026-01-01T00:00:00Z"
    lines = ["tweet_id,type,at", *[good] * 50]
    lines[5], lines[33], lines[50] = "1,likes,x", "a,b,c,d", "0,replies,2026-01-01T00:00:00Z"
    path = tmp_path / "e.csv"
    path.write_bytes("\r\n".join(lines).encode())

    folder.load(path)

    back = rejected_lines(path)
    assert [(entry["line"], entry["row"]) for entry in back] == [
        (6, "1,likes,x"),
        (34, "a,b,c,d"),
        (51, "0,replies,2026-01-01T00:00:00Z"),
    ]


@pytest.mark.parametrize("open_at", [1, 30, 199])
def test_every_line_after_an_unclosed_quote_counts_or_is_written_to_a_file(
    folder, tmp_path, small_chunks, monkeypatch, open_at
):
    monkeypatch.setattr(text_parts, "ROW_BYTES_MAX", 1000)
    lines = [f"{number},replies,2026-01-01T00:00:00Z," for number in range(1, 201)]
    lines[open_at - 1] += '"open'
    path = tmp_path / "e.csv"
    path.write_text("\n".join(["tweet_id,type,at,note", *lines]))

    loaded = folder.load(path)

    back = [(entry["line"] - 1, entry["reason"]) for entry in rejected_lines(path)]
    refused = dict(back)
    assert (loaded.accepted, loaded.rejected) == (200 - len(back), len(refused))
    assert refused.keys() == set(range(open_at, open_at + len(back)))
    assert set(refused.values()) == {"malformed"}
    assert folder.totals(range(1, 201)) == [int(n not in refused) for n in range(1, 201)]


@pytest.mark.heavy
def test_a_decoder_that_is_killed_in_the_middle_of_a_file_counts_nothing_twice(
    folder, tmp_path, monkeypatch, capsys
):
    (tmp_path / "orders").write_text("cut 5000")
    monkeypatch.setenv("FAILING_DECODER", str(tmp_path / "orders"))
    monkeypatch.setenv("PYTHONPATH", str(Path(support.__file__).parents[1]))
    monkeypatch.setattr(columnar, "DECODER", "support.failing_decoder")
    monkeypatch.setattr(batch_parser, "CHUNK_ROWS", 70)
    path = tmp_path / "e.parquet"
    ids = range(1, 1001)
    pl.DataFrame([json.loads(line(number)) for number in ids]).write_parquet(path)

    loaded = folder.load(path)

    assert "decoder_failed" in capsys.readouterr().err
    assert (loaded.accepted, loaded.repeated) == (1000, 0)
    assert folder.totals(ids) == [1] * 1000
    assert astuple(folder.load(path))[:3] == (1000, 0, 1000)
    assert folder.totals(ids) == [1] * 1000


@pytest.mark.parametrize("form", ["json", "parquet", "arrow"])
def test_rejected_rows_of_other_formats_are_numbered(folder, tmp_path, monkeypatch, form):
    monkeypatch.setattr(batch_parser, "CHUNK_ROWS", 4)
    rows = [json.loads(line(0 if index in {3, 9} else index)) for index in range(1, 11)]
    path = tmp_path / f"e.{form}"
    if form == "json":
        path.write_text(json.dumps(rows, indent=1))
    elif form == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        pl.DataFrame(rows).write_ipc_stream(path)

    loaded = folder.load(path)

    assert [entry["line"] for entry in rejected_lines(path)] == [3, 9]
    assert (loaded.accepted, loaded.rejected) == (8, 2)


def test_rejected_lines_that_are_not_utf_8_are_written_as_text(folder, tmp_path):
    path = tmp_path / "e.ndjson"
    path.write_bytes(b'{"tweet_id":"\xff\xfe"}\n' + line(1).encode())

    folder.load(path)

    assert rejected_lines(path)[0]["row"] == '{"tweet_id":"��"}'


def test_a_load_without_rejections_removes_the_old_file(folder, tmp_path):
    path = tmp_path / "e.ndjson"
    path.write_text("{\n")
    folder.load(path)
    assert rejected_lines(path)
    path.write_text(line(1))
    folder.load(path)

    assert rejected_lines(path) is None


def test_a_second_load_reports_lines_from_the_future_as_they_count(folder, tmp_path):
    """A line from the future must not be reported as accepted if it does not count."""
    path = tmp_path / "e.ndjson"
    path.write_text(line(1) + line(1, at="2026-11-22T12:00:00Z"))
    first = folder.load(path)
    assert (first.accepted, first.rejected) == (1, 1)

    folder.clock.at_s += 86_400
    second = folder.load(path)

    counted = folder.totals([1])[0]
    assert (second.accepted, counted) in {(2, 2), (1, 1)}, (
        f"{second.accepted} lines were called accepted, {counted} count"
    )


def test_progress_is_reported(folder, tmp_path, small_chunks):
    path = tmp_path / "e.ndjson"
    path.write_text("".join(line(1) for _ in range(100)) + "{\n")
    reports = []

    folder.load(path, on_progress=reports.append)

    assert reports == sorted(reports, key=astuple)
    assert reports[-1] == LoadProgress(path, path.stat().st_size, 101)


@pytest.mark.parametrize(
    ("name", "data"),
    [("e.json", b"{"), ("e.parquet", b"hello"), ("e.arrow", b""), ("e.json", b"")],
)
def test_a_file_that_cannot_be_read(folder, tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)

    with pytest.raises(FileError, match=name) as caught:
        folder.load(path)
    assert isinstance(caught.value.__cause__, MalformedBody)


def test_an_unknown_file_name(folder, tmp_path):
    path = tmp_path / "e.txt"
    path.write_text(line(1))

    with pytest.raises(FileError, match=r"e\.txt.*\.ndjson"):
        folder.load(path)


def test_two_loads_of_one_file_at_once(tmp_path, small_chunks):
    """Each chunk counts once."""
    folders = [Folder(tmp_path), Folder(tmp_path)]
    path = tmp_path / "e.ndjson"
    path.write_text("".join(line(1) for _ in range(300)))
    barrier = threading.Barrier(2)

    def load(folder):
        barrier.wait()
        return folder.load(path)

    try:
        with ThreadPoolExecutor(2) as pool:
            loaded = list(pool.map(load, folders))
        assert [each.accepted for each in loaded] == [300, 300]
        assert sum(each.repeated for each in loaded) == 300
        assert folders[0].totals([1]) == [300]
    finally:
        for folder in folders:
            folder.close()


def test_files_are_loaded_in_order(folder, tmp_path, small_chunks):
    paths = [tmp_path / f"{index}.ndjson" for index in range(4)]
    for index, path in enumerate(paths):
        path.write_text(line(index + 1) * 20 + "{\n" * index)
    reports = []

    loaded = folder.load(*paths, on_progress=reports.append)

    assert (loaded.accepted, loaded.rejected) == (80, 6)
    assert folder.totals([1, 2, 3, 4]) == [20] * 4
    assert rejected_lines(paths[0]) is None
    for index, path in enumerate(paths[1:], 1):
        assert [entry["line"] for entry in rejected_lines(path)] == list(range(21, 21 + index))
    assert reports == sorted(reports, key=astuple)
    assert reports[-1] == LoadProgress(paths[-1], sum(path.stat().st_size for path in paths), 86)


def test_a_file_named_twice_is_loaded_once(folder, tmp_path):
    path = tmp_path / "e.ndjson"
    path.write_text(line(1) + "{\n")

    loaded = folder.load(path, path)

    assert (loaded.accepted, loaded.rejected) == (1, 1)
    assert len(rejected_lines(path)) == 1


def test_the_files_before_an_error_count_and_have_their_rejections(folder, tmp_path):
    paths = [tmp_path / name for name in ("a.ndjson", "b.json", "c.ndjson")]
    paths[0].write_text(line(1) + "{\n")
    paths[1].write_text("{")
    paths[2].write_text(line(2))

    with pytest.raises(FileError, match=r"b\.json"):
        folder.load(*paths)

    assert folder.totals([1]) == [1]
    assert [entry["line"] for entry in rejected_lines(paths[0])] == [2]


def test_files_after_one_with_an_unknown_name_are_not_loaded(folder, tmp_path):
    paths = [tmp_path / name for name in ("a.ndjson", "b.txt", "c.ndjson")]
    for index, path in enumerate(paths):
        path.write_text(line(index + 1))

    with pytest.raises(FileError, match=r"b\.txt"):
        folder.load(*paths)

    assert folder.totals([1, 2, 3]) == [1, 0, 0]


# Accounts and Tweets


def test_accounts(folder, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "id,screen_name,protected\n1,ana,false\n2,Ben,true\n3,ANA,false\n4,no good,false\n1,ann,\n"
    )

    loaded = folder.load(path, kind="accounts")

    assert (loaded.accepted, loaded.rejected) == (3, 2)
    assert loaded.reasons == {"name_taken": 1, "invalid_name": 1}
    assert [entry["line"] for entry in rejected_lines(path)] == [4, 5]
    assert "account 1" in rejected_lines(path)[0]["detail"]
    assert folder.registry.accounts.find_account("ann").id == 1
    assert folder.registry.accounts.find_account("BEN").protected
    assert folder.registry.accounts.read_account(3) is None


def test_tweets(folder, tmp_path):
    (tmp_path / "a.ndjson").write_text('{"id":1,"screen_name":"ana"}\n')
    folder.load(tmp_path / "a.ndjson", kind="accounts")
    path = tmp_path / "t.ndjson"
    path.write_text(
        '{"id":"10","author_id":"1","created_at":"2026-01-01T00:00:00Z","video_id":"7"}\n'
        '{"id":"11","author_id":"2","created_at":"2026-01-01T00:00:00Z"}\n'
        '{"id":"12","author_id":"2"}\n'
        '{"id":"13"}\n'
        '{"id":"10","author_id":"1","created_at":"2026-01-02T00:00:00Z","deleted":true}\n'
    )

    loaded = folder.load(path, kind="tweets")

    assert (loaded.accepted, loaded.rejected, loaded.unknown_authors) == (4, 1, 1)
    tweets = folder.store.read_tweets([10, 11, 12, 13])
    assert set(tweets) == {10, 11, 12}
    assert (tweets[10].created_at_s, tweets[10].deleted) == (1_767_312_000, True)
    assert tweets[12].created_at_s == 1_288_834_974


def test_values_that_later_chunks_leave_out_stay(folder, tmp_path, monkeypatch):
    """Each chunk has one row, so a value and the row that leaves it out are in different chunks."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 40)
    accounts, tweets = tmp_path / "a.ndjson", tmp_path / "t.ndjson"
    accounts.write_text(
        '{"id":1,"screen_name":"ana","protected":true}\n'
        '{"id":1,"screen_name":"ann"}\n'
        '{"id":1,"screen_name":"anne","protected":null}\n'
    )
    tweets.write_text(
        '{"id":10,"author_id":1,"created_at":"2026-01-01T00:00:00Z"}\n'
        '{"id":10,"author_id":1,"deleted":true}\n'
        '{"id":10,"author_id":2,"created_at":null,"deleted":null}\n'
    )
    folder.load(accounts, kind="accounts")
    folder.load(tweets, kind="tweets")

    account = folder.registry.accounts.read_account(1)
    assert (account.screen_name, account.protected) == ("anne", True)
    assert folder.store.read_tweets([10])[10] == Tweet(10, 2, 1_767_225_600, deleted=True)


@pytest.mark.parametrize("kind", ["accounts", "tweets"])
def test_loading_accounts_and_tweets_again_changes_nothing(folder, tmp_path, kind, small_chunks):
    path = tmp_path / "rows.ndjson"
    names = {"accounts": "screen_name", "tweets": "author_id"}
    path.write_text(
        "".join(json.dumps({"id": index, names[kind]: str(index)}) + "\n" for index in range(1, 60))
    )

    first, second = folder.load(path, kind=kind), folder.load(path, kind=kind)

    assert first.accepted == second.accepted == 59
    assert first.rejected == second.rejected == 0
