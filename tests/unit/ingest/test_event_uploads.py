"""Uploads are parsed one at a time; the next is parsed while one waits for its commit."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
import pytest

from openengagement.errors import BodyTooLarge, RequestError
from openengagement.ingest.batch import Outcome, digest_of
from openengagement.ingest.batch_parser import BatchParser
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.sources import uploads as module
from openengagement.ingest.sources.event_uploads import EventUploads
from openengagement.ingest.sources.uploads import Upload
from openengagement.settings import Settings
from openengagement.stores.contract import Applied
from support.waiting import PATIENCE_S, wait_for

EVENT = b'{"tweet_id":"123","type":"favorites","at":"2026-11-22T10:15:00Z"}\n'
NOW_S = 1_795_342_500.0  # 2026-11-22T10:15:00Z


class Writer:
    """Commits a batch when the test sets the result of its future."""

    def __init__(self):
        self.waiting = []

    def submit(self, _batch):
        self.waiting.append(Future())
        return self.waiting[-1]


@pytest.fixture
def writer():
    return Writer()


@pytest.fixture
def counting(writer):
    return EventUploads(writer, lambda *_: None, settings=Settings(), now_s=lambda: NOW_S)


@pytest.fixture
def reading(monkeypatch):
    """The number of bodies that were being parsed when the parsing of each began."""
    monkeypatch.setattr(module, "_PATIENCE_S", PATIENCE_S)
    seen, under_way, lock = [], set(), threading.Lock()
    parse = BatchParser.parse

    def parse_slowly(*given, **more):
        with lock:
            under_way.add(threading.get_ident())
            seen.append(len(under_way))
        time.sleep(0.02)
        try:
            return parse(*given, **more)
        finally:
            with lock:
                under_way.discard(threading.get_ident())

    monkeypatch.setattr(BatchParser, "parse", parse_slowly)
    return seen


def events(body=EVENT, *, key=None, atomic=False):
    return Upload(EVENTS, body, "", "application/x-ndjson", key, atomic)


def test_bodies_are_parsed_one_at_a_time_without_waiting_for_commits(counting, writer, reading):
    with ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(counting.handle, events()) for _ in range(4)]
        wait_for(lambda: len(writer.waiting) == 4)  # all are parsed, none is durable
        assert not any(each.done() for each in taken)
        for each in writer.waiting:
            each.set_result(Applied(duplicate=False, outcome=b""))
        assert [each.result().accepted for each in taken] == [1] * 4
    assert reading == [1] * 4


def test_a_refused_body_does_not_delay_the_next(counting, writer):
    for _ in range(2):
        with pytest.raises(BodyTooLarge):
            counting.handle(events(EVENT * (Settings().batch_max_lines + 1)))
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(counting.handle, events())
        wait_for(lambda: writer.waiting)
        writer.waiting[0].set_result(Applied(duplicate=False, outcome=b""))
        assert taken.result().accepted == 1


def test_a_slow_body_does_not_delay_the_next_for_long(counting, writer, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    begun, end = threading.Event(), threading.Event()
    parse = BatchParser.parse

    def parse_slowly(parser, body, *given, **more):
        if body != EVENT:
            begun.set()
            assert end.wait(PATIENCE_S)
        return parse(parser, body, *given, **more)

    monkeypatch.setattr(BatchParser, "parse", parse_slowly)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(counting.handle, events(EVENT * 2))
        assert begun.wait(PATIENCE_S)
        quick = pool.submit(counting.handle, events())
        wait_for(lambda: writer.waiting)
        writer.waiting[0].set_result(Applied(duplicate=False, outcome=b""))
        assert quick.result().accepted == 1
        assert not slow.done()
        end.set()
        wait_for(lambda: len(writer.waiting) == 2)
        writer.waiting[1].set_result(Applied(duplicate=False, outcome=b""))
        assert slow.result().accepted == 2


@pytest.mark.parametrize(
    ("settings", "now_s"),
    [({"batch_max_lines": 1}, NOW_S), ({}, NOW_S - 3600)],
    ids=["a lower limit", "an earlier clock"],
)
def test_a_repeat_that_would_be_refused_gets_its_first_outcome(writer, settings, now_s):
    """Its sender would not know that the batch was counted."""
    first = Outcome(2, 0, [], {})
    key, body = b"key", EVENT * 2
    known = {(key, digest_of(body)): msgspec.json.encode(first)}
    counting = EventUploads(
        writer,
        lambda *given: known.get(given),
        settings=Settings(**settings),
        now_s=lambda: now_s,
    )

    again = counting.handle(events(body, key=key, atomic=True))

    assert again == msgspec.structs.replace(first, duplicate=True)
    for other in (events(body, key=b"other", atomic=True), events(body, atomic=True)):
        with pytest.raises(RequestError):
            counting.handle(other)
    assert not writer.waiting
