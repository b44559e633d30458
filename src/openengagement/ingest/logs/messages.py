"""Parse the messages of a log into batches.

Messages of plain NDJSON are parsed together, because many small bodies take much longer than one.
All others are parsed one by one.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import Final

import msgspec
import polars as pl

from openengagement.engagement.counters import no_counters
from openengagement.engagement.rollup import fold_events
from openengagement.errors import ApiError, MalformedBody, Unavailable
from openengagement.http.decompression import decompress, find_compression
from openengagement.ingest.batch import ParsedBatch
from openengagement.ingest.batch_parser import BatchParser
from openengagement.ingest.formats.detection import Format, detect_format
from openengagement.ingest.formats.text_rows import count_lines, strip_mark
from openengagement.ingest.logs.contract import LogMessage
from openengagement.ingest.logs.dead_letters import DeadLetter, make_letter
from openengagement.ingest.logs.sent_batch import SentBatch, decode_batch
from openengagement.ingest.mapping.map_file import Mapping
from openengagement.ingest.mapping.mapped_parser import MappedParser
from openengagement.ingest.rows import EVENTS
from openengagement.settings import Settings
from openengagement.stores.contract import Batch, Position
from openengagement.telemetry import log_failure

_JOINED_BYTES_MAX: Final = 8 * 2**20
_ROWS_MAX: Final = 500_000  # after which a batch ends, so that few rows are in memory
_LETTERS_MAX: Final = 1000  # with the text of a line, for each message
_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MINUTE_S: Final = 60
# No faults of a message. The last one means: try again later.
_NOT_OF_A_MESSAGE: Final = (KeyboardInterrupt, SystemExit, MemoryError, Unavailable)


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A decompressed message. `minute` is the one that its events are judged by.

    `index` is that of the message in its run.
    """

    index: int
    message: LogMessage
    body: bytes
    form: Format
    minute: int

    @property
    def joinable(self) -> bool:
        return self.form is Format.NDJSON and self.body.startswith(b"{")


@dataclass(slots=True)
class _Parsed:
    """The frames and letters of the messages so far."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class MessageBatch:
    """Messages of one source that follow each other, and the batch that counts all of them."""

    messages: Sequence[LogMessage]
    batch: Batch
    letters: Sequence[DeadLetter]
    events: int

    @property
    def source(self) -> str:
        """The source of the messages."""
        return self.messages[0].source

    @property
    def epoch(self) -> int:
        """The epoch of the messages."""
        return self.messages[0].epoch


class MessageParser:
    """Parses messages; use it in one thread.

    `content_type` is that of messages without a header. `mapping` turns rows into events.

    An event is in the future if it is later than `event_future_max_s` after the minute in which the
    log received its message. So the result is the same whenever the message is read.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        now_s: Callable[[], float],
        content_type: str = "",
        mapping: Mapping | None = None,
    ) -> None:
        self._settings = settings
        self._now_s = now_s
        self._content_type = content_type
        self._minute = 0
        parser = BatchParser(lines_max=settings.batch_max_lines, latest_s=self._latest_s)
        self._parser = MappedParser(parser, mapping) if mapping else parser

    def prepare(self, messages: Sequence[LogMessage]) -> list[MessageBatch]:
        """Make a batch for each source, and for each message of the HTTP intake.

        Raises:
            Unavailable: try again later.
        """
        by_source: dict[tuple[str, int], list[LogMessage]] = {}
        for message in messages:
            by_source.setdefault((message.source, message.epoch), []).append(message)
        runs = (run for each in by_source.values() for run in _split_runs(each))
        return [batch for run in runs for batch in self._prepare(run)]

    def refuse(self, message: LogMessage, *, reason: str, detail: str) -> MessageBatch:
        """Make a batch that counts nothing, and a letter with the whole message."""
        letter = make_letter(message, (reason, detail), row=message.body)
        return _make_batch([message], _Parsed(letters=[letter]))

    def _latest_s(self) -> float:
        return self._minute * _MINUTE_S + self._settings.event_future_max_s

    def _prepare(self, messages: Sequence[LogMessage]) -> Iterator[MessageBatch]:
        parsed, first = _Parsed(), 0
        for part in self._split_parts(messages, parsed):
            self._minute = part[0].minute
            self._parse(part, parsed)
            end = part[-1].index + 1
            if sum(frame.height for frame in parsed.frames) > _ROWS_MAX and end < len(messages):
                yield _make_batch(messages[first:end], parsed)
                parsed.frames, parsed.letters, first = [], [], end
        yield _make_batch(messages[first:], parsed)

    def _split_parts(
        self, messages: Sequence[LogMessage], parsed: _Parsed
    ) -> Iterator[Sequence[_Decoded]]:
        """Decompress messages, and yield those that can be parsed together."""
        decoded = self._decode_all(messages, parsed)
        for (joinable, _), group in groupby(decoded, lambda d: (d.joinable, d.minute)):
            yield from _cut(group, bytes_max=_JOINED_BYTES_MAX if joinable else 0)

    def _decode_all(self, messages: Sequence[LogMessage], parsed: _Parsed) -> Iterable[_Decoded]:
        """Decompress messages, one after the other. Empty ones have nothing to count."""
        for index, message in enumerate(messages):
            try:
                body = self._decompress(message)
                if body and not body.isspace():
                    form = detect_format(message.content_type or self._content_type, body)
                    yield _Decoded(index, message, body, form, self._minute_of(message))
            except ApiError as error:
                parsed.letters.append(_letter_of(message, error))

    def _decompress(self, message: LogMessage) -> bytes:
        encoding = message.encoding or find_compression(message.body[:4]) or ""
        limit = self._settings.batch_max_decompressed_bytes
        return decompress(message.body, encoding, limit=limit)

    def _minute_of(self, message: LogMessage) -> int:
        now_s = self._now_s()
        sent_s = now_s if message.sent_s is None else min(message.sent_s, now_s)
        if sent := decode_batch(message.batch):
            sent_s = sent.at_s  # the intake has accepted the events, and told their sender so
        return int(sent_s // _MINUTE_S) + 1  # the end of the minute

    def _parse(self, part: Sequence[_Decoded], parsed: _Parsed) -> None:
        """Parse messages together. If that fails, parse each alone, to find the bad ones."""
        body = _join(part)
        try:
            found = self._parser.parse(body, part[0].form, kind=EVENTS)
        except BaseException as error:  # a panic of the data frame library is not an Exception
            if isinstance(error, _NOT_OF_A_MESSAGE):
                raise
            if len(part) > 1:
                for each in part:
                    self._parse([each], parsed)
                return
            if not isinstance(error, ApiError):
                log_failure("message_failed", error, source=part[0].message.source)
            parsed.letters.append(_letter_of(part[0].message, error))
            return
        parsed.frames.append(found.rows)
        if found.rejected.height:
            parsed.letters.extend(_letters_of_lines(part, body, found=found))


def _split_runs(messages: Sequence[LogMessage]) -> Iterator[list[LogMessage]]:
    """Split messages into runs that are committed as one. One of the HTTP intake is alone."""
    for alone, run in groupby(messages, key=lambda message: bool(message.batch)):
        together = list(run)
        yield from ([each] for each in together) if alone else [together]


def _find_sent(message: LogMessage) -> SentBatch | None:
    """Return how a message is counted, None if it says nothing, or nothing that can be read."""
    with suppress(MalformedBody):
        return decode_batch(message.batch)
    return None


def _cut(group: Iterable[_Decoded], *, bytes_max: int) -> Iterable[list[_Decoded]]:
    """Cut messages into parts of a bounded size, or of one message."""
    part: list[_Decoded] = []
    size = 0
    for each in group:
        if part and size + len(each.body) > bytes_max:
            yield part
            part, size = [], 0
        part.append(each)
        size += len(each.body)
    if part:
        yield part


def _join(part: Sequence[_Decoded]) -> bytes:
    if len(part) == 1:
        return part[0].body
    return b"".join(each.body if each.body.endswith(b"\n") else each.body + b"\n" for each in part)


def _letters_of_lines(
    part: Sequence[_Decoded], body: bytes, *, found: ParsedBatch
) -> Iterable[DeadLetter]:
    """Make a letter for each rejected line, with its number within its message.

    Of a message with very many, the last letter has only their number. The lines in the letters of
    a message have its `weight` in bytes together, because a small one can have very long lines.
    """
    texts = _split(body, part[0].form)
    ends = list(accumulate(count_lines(each.body) for each in part))
    made, used = Counter[int](), Counter[int]()
    for line, reason, detail in found.rejected.iter_rows():
        index = min(bisect_right(ends, line - 1), len(part) - 1)
        made[index] += 1
        if made[index] <= _LETTERS_MAX:
            before = ends[index - 1] if index else 0
            message = part[index].message
            row = texts[line - 1].rstrip(b"\r") if line <= len(texts) else None
            letter = make_letter(
                message,
                (reason, detail),
                row=row,
                line=line - before,
                row_bytes_max=message.weight - used[index],
            )
            used[index] += min(len(row or b""), message.weight - used[index])
            yield letter
    for index, count in made.items():
        if count > _LETTERS_MAX:
            detail = f"{count - _LETTERS_MAX} more lines of this message were rejected"
            message = part[index].message
            yield make_letter(message, ("more_lines", detail), row=message.body)


def _split(body: bytes, form: Format) -> list[bytes]:
    """Return the text of each line or element, if the format has such texts."""
    if form in {Format.NDJSON, Format.CSV}:
        return body.split(b"\n")
    if form is Format.JSON:
        with suppress(msgspec.DecodeError):
            return [bytes(each) for each in _ELEMENTS.decode(strip_mark(body))]
    return []


def _letter_of(message: LogMessage, error: BaseException) -> DeadLetter:
    reason, detail = "internal_error", "the message could not be parsed; this is a server fault"
    if isinstance(error, ApiError):
        reason, detail = error.code, str(error).removeprefix("body: ")
    return make_letter(message, (reason, detail), row=message.body)


def _make_batch(messages: Sequence[LogMessage], parsed: _Parsed) -> MessageBatch:
    """Make the batch of messages. One of the HTTP intake is alone."""
    frames = [frame for frame in parsed.frames if frame.height]
    rows = pl.concat(frames, rechunk=True) if frames else pl.DataFrame()
    first, last = messages[0], messages[-1]
    sent = _find_sent(first) if rows.height else None
    batch = Batch(
        deltas=fold_events(rows) if rows.height else no_counters(),
        key=sent.key if sent else None,
        digest=sent.digest if sent else b"",
        outcome=sent.outcome if sent else b"",
        position=Position(first.source, last.position, first.after),
    )
    return MessageBatch(messages, batch, parsed.letters, rows.height)
