"""Messages of a log in all formats and compressions, and their dead letters."""

import gzip
import io
import json
from dataclasses import replace

import polars as pl
import pytest
import zstandard

from openengagement.clock import SystemClock
from openengagement.engagement.types import TYPE_NAMES
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.logs import messages
from openengagement.ingest.logs.contract import LogMessage
from openengagement.ingest.logs.messages import MessageParser
from openengagement.ingest.logs.sent_batch import SentBatch, encode_batch
from openengagement.settings import Settings
from unit.ingest.conftest import DecoderHere
from unit.ingest.logs.conftest import AT, SENT_S, event

ROWS = [
    {"tweet_id": 5, "type": "replies", "at": AT, "count": 2},
    {"tweet_id": 6, "type": "favorites", "at": AT, "count": 3},
]


def message(body, *, offset=1, source="log", **fields):
    after = b"made@%d" % (offset - 1) if offset > 1 else None
    made = LogMessage(source, 1, after, b"made@%d" % offset, offset, SENT_S, body)
    return replace(made, **fields)


@pytest.fixture
def prepare():
    def run(*bodies, settings=None, content_type=""):
        messages = [
            body if isinstance(body, LogMessage) else message(body, offset=index)
            for index, body in enumerate(bodies, 1)
        ]
        parser = MessageParser(
            settings or Settings(), now_s=SystemClock().now_s, content_type=content_type
        )
        parser._parser._columnar._server = DecoderHere()
        (batch,) = parser.prepare(messages)
        return batch

    return run


def counts(batch):
    deltas = batch.batch.deltas
    ids = [
        int(each)
        for each, start, end in zip(deltas.ids, deltas.starts, deltas.starts[1:], strict=False)
        for _ in range(start, end)
    ]
    return {
        (tweet_id, TYPE_NAMES[int(cell) & 31]): int(count)
        for tweet_id, cell, count in zip(ids, deltas.cells, deltas.counts, strict=True)
        if TYPE_NAMES[int(cell) & 31] != "engagements"
    }


def letters(batch):
    return [(each.offset, each.line, each.reason) for each in batch.letters]


def body_of(form):
    frame, target = pl.DataFrame(ROWS), io.BytesIO()
    if form is Format.PARQUET:
        frame.write_parquet(target)
    elif form is Format.ARROW:
        frame.write_ipc_stream(target)
    elif form is Format.CSV:
        frame.write_csv(target)
    elif form is Format.JSON:
        target.write(json.dumps(ROWS, indent=1).encode())
    else:
        target.write(b"\n".join(json.dumps(row).encode() for row in ROWS))
    return target.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("form", list(Format))
def test_every_format_and_compression(prepare, form, pack):
    body = pack(body_of(form))
    encoding = {gzip.compress: "gzip", zstandard.compress: "zstd"}.get(pack, "")
    named = message(body, content_type=form.value, encoding=encoding)

    assert counts(prepare(named)) == {(5, "replies"): 2, (6, "favorites"): 3}
    if form is not Format.CSV:  # without headers, the first bytes tell all of this
        assert counts(prepare(body)) == {(5, "replies"): 2, (6, "favorites"): 3}


def test_the_operator_names_the_format_of_messages_without_headers(prepare):
    batch = prepare(body_of(Format.CSV), content_type="text/csv")

    assert counts(batch) == {(5, "replies"): 2, (6, "favorites"): 3}


def test_a_batch_follows_the_position_before_its_first_message(prepare):
    batch = prepare(message(event(), offset=7), message(event(), offset=9))

    assert batch.batch.position.after == b"made@6"
    assert batch.batch.position.offset == b"made@9"
    assert batch.events == 2


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\n"])
def test_a_message_without_content_counts_nothing(prepare, body):
    """A compacted topic has such messages, tombstones."""
    batch = prepare(body, event(), body)

    assert counts(batch) == {(5, "replies"): 1}
    assert batch.letters == []
    assert batch.batch.position.offset == b"made@3"


def test_letters_name_the_line_within_the_message(prepare):
    """Messages with and without a line end at their end are parsed together."""
    bad = b'{"tweet_id":"x","type":"replies","at":"2025-11-22T09:30:00Z"}'
    batch = prepare(
        event() + bad,
        event(),
        bad + b"\n",
        event() + b"\n" + bad + b"\r\n" + event(),
        body_of(Format.JSON),
        bad,
    )

    found = "invalid_id"
    assert letters(batch) == [(1, 2, found), (3, 1, found), (4, 3, found), (6, 1, found)]
    assert {each.row for each in batch.letters} == {bad.decode()}
    assert batch.letters[2].id == "log@made@4:3"
    assert counts(batch) == {(5, "replies"): 6, (6, "favorites"): 3}


def test_letters_of_elements_have_their_text(prepare):
    rows = [*ROWS, {"tweet_id": 7, "type": "hearts", "at": AT}]
    batch = prepare(json.dumps(rows).encode())

    (letter,) = batch.letters
    assert (letter.line, letter.reason) == (3, "unknown_type")
    assert json.loads(letter.row) == rows[2]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"nonsense", "unsupported_body"),
        (b"[1, 2", "malformed_body"),
        (b"\x1f\x8b\x08broken", "malformed_body"),
        (b"PAR1 and nothing else", "malformed_body"),
    ],
)
def test_a_message_that_cannot_be_parsed_is_a_letter(prepare, body, reason):
    batch = prepare(event(), body, event())

    assert counts(batch) == {(5, "replies"): 2}
    ((offset, line, found),) = letters(batch)
    assert (offset, line, found) == (2, None, reason)


def test_a_letter_of_bytes_is_base64_and_a_long_one_is_cut(prepare):
    binary = prepare(b"\xff\xff\xfe" * 10).letters[0]
    long = prepare(b"x" * 200_000).letters[0]
    character = prepare(b"x" * 65_535 + "é".encode() * 100).letters[0]

    assert (binary.row, binary.cut) == (None, False)
    assert binary.row_base64
    assert (len(long.row), long.cut) == (65_536, True)
    assert (len(character.row), character.row_base64) == (65_535, None)


def test_a_message_with_very_many_bad_lines_has_a_bounded_number_of_letters(prepare):
    batch = prepare(b"{}\n" * 5000, event(), b"{}\n")

    assert len(batch.letters) == 1002
    last = [each for each in batch.letters if each.reason == "more_lines"]
    assert [each.offset for each in last] == [1]
    assert "4000" in last[0].detail
    assert counts(batch) == {(5, "replies"): 1}


def test_letters_of_a_small_message_with_long_lines_are_bounded(prepare):
    """6 KB of zstd became 384 MB of letters."""
    line = b'{"tweet_id":"5","type":"x","pad":"' + b"x" * 60_000 + b'"}\n'
    packed = zstandard.ZstdCompressor().compress(line * 100)
    batch = prepare(packed)

    assert len(batch.letters) == 100
    rows = [each.row for each in batch.letters]
    assert sum(map(len, rows)) == min(10 * len(packed), len(line) * 100)
    assert batch.letters[-1].cut
    plain = prepare(line * 3)
    assert [len(each.row) for each in plain.letters] == [len(line) - 1] * 3


def test_a_batch_ends_when_it_has_many_rows(monkeypatch):
    """Small compressed messages may have very many events."""
    monkeypatch.setattr(messages, "_ROWS_MAX", 10)
    monkeypatch.setattr(messages, "_JOINED_BYTES_MAX", 12 * len(event()))
    line = event()
    bodies = [line, b"nonsense", line * 11, b"", gzip.compress(line * 20), line]
    parser = MessageParser(Settings(), now_s=SystemClock().now_s)
    batches = parser.prepare([message(body, offset=i) for i, body in enumerate(bodies, 1)])

    assert [each.events for each in batches] == [12, 20, 1]
    positions = [each.batch.position for each in batches]
    assert [each.after for each in positions] == [None, b"made@3", b"made@5"]
    assert [each.offset for each in positions] == [b"made@3", b"made@5", b"made@6"]
    assert sum(len(each.letters) for each in batches) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"at_s": -1},
        {"at_s": 2**62},
        {"digest": b"d" * 33},
        {"outcome": b"o" * 16_385},
        {"key": b"k" * 1025},
        {"key": b""},
    ],
    ids=["early", "late", "digest", "outcome", "key", "empty key"],
)
def test_a_header_cannot_make_the_ledger_large(prepare, fields):
    sent = SentBatch(**{"at_s": int(SENT_S), **fields})
    batch = prepare(message(event(), batch=encode_batch(sent)))

    assert batch.events == 0
    assert [each.reason for each in batch.letters] == ["malformed_body"]


def test_compressed_messages_weigh_more():
    """A poll has fewer of them, because they grow."""
    text = body_of(Format.NDJSON)

    assert message(text).weight == len(text)
    assert message(b"").weight == 0
    assert message(text, encoding="gzip").weight == 10 * len(text)
    for body in (gzip.compress(text), zstandard.compress(text), body_of(Format.PARQUET)):
        assert message(body).weight == 10 * len(body)


def test_a_bomb_is_a_letter(prepare):
    bomb = gzip.compress(b" " * 2_000_000)
    batch = prepare(event(), bomb, settings=replace(Settings(), batch_max_decompressed_bytes=10**6))

    assert letters(batch) == [(2, None, "body_too_large")]
    assert counts(batch) == {(5, "replies"): 1}


def test_an_event_is_judged_by_the_time_of_its_message(prepare):
    """So a replay refuses it too, although the event is in the past by then."""
    soon, late = "2025-11-22T10:04:00Z", "2025-11-22T10:20:00Z"

    assert counts(prepare(event(at=soon))) == {(5, "replies"): 1}
    assert letters(prepare(event(at=late))) == [(1, 1, "in_future")]
    later = message(event(at=late), sent_s=SENT_S + 1200)
    assert counts(prepare(message(event(at=late)), replace(later, offset=2))) == {(5, "replies"): 1}


def test_a_time_of_a_message_in_the_future_does_not_help_an_event(prepare):
    """A producer may set the time of a message of Kafka."""
    body = event(at="2199-01-01T00:00:00Z")
    batch = prepare(message(body, sent_s=9e9), message(body, sent_s=None))

    assert [reason for _, _, reason in letters(batch)] == ["in_future", "in_future"]


def test_a_fault_of_the_server_is_a_letter_too(prepare, monkeypatch):
    """A panic of the data frame library is no Exception."""

    class Panic(BaseException):
        pass

    original = MessageParser.__init__

    def broken(self, *arguments, **named):
        original(self, *arguments, **named)
        parse = self._parser.parse

        def panicking(body, form, *, kind):
            if b"panic" in body:
                raise Panic
            return parse(body, form, kind=kind)

        self._parser.parse = panicking

    monkeypatch.setattr(MessageParser, "__init__", broken)
    batch = prepare(event(), b'{"panic":1}', event())

    assert letters(batch) == [(2, None, "internal_error")]
    assert counts(batch) == {(5, "replies"): 2}
