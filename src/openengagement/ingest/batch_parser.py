"""Parse and validate the body of a batch."""

from collections.abc import Callable, Iterator
from typing import IO, Final

import msgspec
import polars as pl

from openengagement.ingest.batch import ParsedBatch
from openengagement.ingest.formats.columnar import ColumnarReader, DecodedRows, concat
from openengagement.ingest.formats.decoder_protocol import Request
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.formats.ignored_fields import IgnoredGroup
from openengagement.ingest.formats.parsing import check_body, parse_body
from openengagement.ingest.formats.plain_events import split_plain_events
from openengagement.ingest.rows import EVENTS, DropReason, Kind, no_rejections, validate
from openengagement.ingest.values import COUNT_MAX, NOT_TEXT

COLUMNAR: Final = frozenset({Format.PARQUET, Format.ARROW})
CHUNK_ROWS: Final = 250_000  # of a columnar file, which is parsed in chunks
_TEXT_MAX_BYTES: Final = 2**28  # of the rows of a body that need the general rules
_NO_LIMIT: Final = 2**62
# A body, or the decoded rows of a columnar file.
Content = bytes | DecodedRows


class BatchParser:
    """Parses and validates the bodies of one source of batches; safe from any thread.

    `lines_max` bounds the lines of a body. `latest_s` returns the latest time that is not in the
    future, in Unix seconds.
    """

    def __init__(self, *, lines_max: int, latest_s: Callable[[], float]) -> None:
        self.lines_max = lines_max
        self._latest_s = latest_s
        self._columnar = ColumnarReader()

    def parse(self, body: Content, form: Format, *, kind: Kind) -> ParsedBatch:
        """Parse a body, and split its rows into valid and rejected ones.

        Raises:
            MalformedBody: the body as a whole cannot be parsed.
            BodyTooLarge: it has too many lines.
        """
        latest_s = self._latest_s()
        if not isinstance(body, DecodedRows) and form in COLUMNAR:
            body = self.decode(body, form, kind=kind)
        if isinstance(body, DecodedRows):
            return _validate_decoded(body, kind, latest_s=latest_s)
        body = check_body(body, form, lines_max=self.lines_max)
        if kind is EVENTS and form is Format.NDJSON:
            return self._parse_events(body, latest_s)
        return self._parse(body, form, kind=kind, latest_s=latest_s)

    def decode(self, body: bytes, form: Format, *, kind: Kind) -> DecodedRows:
        """Decode a columnar body. Raises what `parse` does."""
        return self._columnar.read(body, self._request(form, kind))

    def decode_file(self, file: IO[bytes], form: Format, *, kind: Kind) -> Iterator[DecodedRows]:
        """Decode a columnar file of any size in chunks of CHUNK_ROWS rows; the last may be smaller.

        Raises:
            MalformedBody: the file cannot be decoded. The chunks before the fault are good.
        """
        request = msgspec.structs.replace(
            self._request(form, kind),
            rows_max=_NO_LIMIT,
            text_max_bytes=_NO_LIMIT,
            chunk_rows=CHUNK_ROWS,
        )
        pieces: list[DecodedRows] = []
        for piece in self._columnar.read_pieces(file, request):
            pieces.append(piece)
            if sum(each.height for each in pieces) == CHUNK_ROWS:
                yield concat(pieces)
                pieces = []
        if pieces:
            yield concat(pieces)

    def _request(self, form: Format, kind: Kind) -> Request:
        return Request(
            name=form.name.capitalize(),
            fields=kind.fields,
            required=kind.required,
            texts=kind.texts,
            not_text=NOT_TEXT,
            rows_max=self.lines_max,
            text_max_bytes=_TEXT_MAX_BYTES,
            chunk_rows=_NO_LIMIT,
            typed=kind is EVENTS,
            latest_s=int(self._latest_s()),
            count_max=COUNT_MAX,
        )

    def _parse_events(self, body: bytes, latest_s: float) -> ParsedBatch:
        """Parse events in NDJSON: plain lines fast, all other lines with the general parser."""
        plain, others = split_plain_events(body, latest_s=latest_s)
        if plain.height and not others.text:
            return ParsedBatch(plain, no_rejections())
        parsed = self._parse(others.text, Format.NDJSON, kind=EVENTS, latest_s=latest_s)
        if plain.is_empty():
            return parsed
        number = pl.lit(pl.Series(others.numbers, dtype=pl.UInt32)).gather(pl.col("line") - 1)
        rows, rejected = (f.with_columns(line=number) for f in (parsed.rows, parsed.rejected))
        numbers = pl.Series(others.numbers, dtype=pl.UInt32)
        ignored = [
            IgnoredGroup(group.names, numbers.gather(group.lines - 1)) for group in parsed.ignored
        ]
        return ParsedBatch(pl.concat([plain, rows]).sort("line"), rejected, ignored=ignored)

    def _parse(self, body: bytes, form: Format, *, kind: Kind, latest_s: float) -> ParsedBatch:
        text = parse_body(body, form, kind=kind, lines_max=self.lines_max)
        rows, rejected = validate(text.rows, kind, latest_s=latest_s)
        if text.malformed:
            malformed = pl.DataFrame(
                {
                    "line": list(text.malformed),
                    "reason": DropReason.MALFORMED.value,
                    "detail": list(text.malformed.values()),
                },
                schema_overrides={"line": rejected.schema["line"]},
            )
            rejected = pl.concat([rejected, malformed]).sort("line")
        return ParsedBatch(rows, rejected, ignored=text.ignored)


def _validate_decoded(decoded: DecodedRows, kind: Kind, *, latest_s: float) -> ParsedBatch:
    """Validate the rows that are not plain, and merge them with the plain ones."""
    if decoded.text.is_empty() and kind is EVENTS:
        return ParsedBatch(decoded.plain, no_rejections(), ignored=decoded.ignored)
    rows, rejected = validate(decoded.text, kind, latest_s=latest_s)
    if kind is EVENTS:
        rows = pl.concat([decoded.plain, rows]).sort("line")
    return ParsedBatch(rows, rejected, ignored=decoded.ignored)
