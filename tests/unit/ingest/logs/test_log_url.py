"""URLs of event logs, positions, and dead letters in files."""

import errno
import os
import sys

import pytest

from openengagement.errors import StoreUnavailable
from openengagement.files import UnusableFile
from openengagement.ingest.logs import dead_letters
from openengagement.ingest.logs.contract import LogUnusable
from openengagement.ingest.logs.cursors import Cursor, PositionCodec, start
from openengagement.ingest.logs.log_url import parse_url
from openengagement.ingest.logs.opening import open_log
from support.cases import cases


def test_the_parts_of_a_url():
    url = parse_url("nats://me:p%40ss@one,[::1]:99/EVENTS?subject=a.b,c.>&subject=d&name=n")

    assert url.hosts == ("one:4222", "[::1]:99")
    assert (url.user, url.password, url.name) == ("me", "p@ss", "EVENTS")
    assert url.every("subject") == ("a.b", "c.>", "d")
    assert url.option("name") == "n"
    assert url.text == "nats://one:4222,[::1]:99/EVENTS"
    assert "p@ss" not in repr(url)


@cases(
    "text",
    [
        "EVENTS",
        "http://host/EVENTS",
        "nats://host",
        "nats://host/",
        "nats:///EVENTS",
        "kafka://host:9092/a/b",
        "kafka://host:0/a",
        "kafka://host:99999/a",
        "kafka://host:port/a",
        "kafka://a,,b/topic",
        "nats://host/EVENTS?filter=a",
        "kafka://host/topic?subject=a",
        "nats://user:secret@/EVENTS",
    ],
)
def test_other_texts_are_refused_without_their_secrets(text):
    with pytest.raises(LogUnusable) as refusal:
        parse_url(text)
    assert "secret" not in str(refusal.value)


def test_a_position_of_another_log_is_refused():
    codec = PositionCodec("2026-01-01T00:00:00Z", described="the stream EVENTS")

    assert codec.decode(codec.encode(7)) == 7
    for position in (b"2026-01-02T00:00:00Z@7", b"7", b"", b"2026-01-01T00:00:00Z@x"):
        with pytest.raises(LogUnusable, match="the stream EVENTS is not the one"):
            codec.decode(position)


def test_a_cursor_waits_for_the_store():
    cursor, codec = Cursor("log"), PositionCodec("made", described="the log")
    known = [StoreUnavailable("counters", "gone"), b"made@5"]

    def read_position(_):
        answer = known.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert start({"log": cursor}, codec, read_position=read_position) == []
    assert start({"log": cursor}, codec, read_position=read_position) == [cursor]
    assert (cursor.offset, cursor.position, cursor.epoch) == (5, b"made@5", 1)
    cursor.restart(0)
    assert cursor.started, "that epoch has ended before"
    cursor.restart(1)
    assert not cursor.started


def test_letters_are_appended_whole(tmp_path, monkeypatch):
    path = tmp_path / "letters.ndjson"
    put = dead_letters.write_to(path)
    put([("a", b'{"a":1}'), ("b", b'{"b":1}')])

    assert path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(os, "write", lambda descriptor, lines: 3)
    with pytest.raises(StoreUnavailable):
        put([("c", b'{"c":1}')])
    monkeypatch.undo()
    put([("d", b'{"d":1}')])
    assert path.read_bytes() == b'{"a":1}\n{"b":1}\n{"d":1}\n'


def test_letters_are_private_from_the_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fchmod", None)
    path = tmp_path / "letters.ndjson"
    dead_letters.write_to(path)([("a", b"{}")])
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    dead_letters.write_to(path)([("a", b"{}")])
    assert path.stat().st_mode & 0o777 == 0o640, "the operator's choice stays"


@pytest.mark.parametrize("name", ["", "none/letters.ndjson", "pipe"])
def test_a_path_that_cannot_have_letters_is_told_at_once(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LogUnusable, match="dead letters cannot be appended to"):
        dead_letters.write_to(tmp_path / name)


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        dead_letters.write_to(tmp_path / "letters.ndjson")([("a", b"{}")])


LOGS = "openengagement.ingest.logs"


@pytest.mark.parametrize(("url", "extra"), [("nats://h/S", "nats"), ("kafka://h/t", "kafka")])
def test_a_missing_client_library_is_told(monkeypatch, url, extra):
    monkeypatch.setitem(sys.modules, "nats", None)
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    for name in list(sys.modules):  # what other tests have imported
        if name.startswith(("nats.", "confluent_kafka.")):
            monkeypatch.setitem(sys.modules, name, None)
        if name.startswith(
            ("openengagement.ingest.logs.nats_", "openengagement.ingest.logs.kafka_")
        ):
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UnusableFile, match=rf"pip install 'openengagement\[{extra}\]'"):
        open_log(parse_url(url), read_position=lambda _: None, group="g", skip_lost=False)
