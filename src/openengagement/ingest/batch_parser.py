"""Parse and validate the body of a batch."""

from collections.abc import Callable

import polars as pl

from openengagement.ingest.batch import ParsedBatch
from openengagement.ingest.formats.columnar import ColumnarReader
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.formats.parsing import check_body, parse_body
from openengagement.ingest.formats.plain_events import split_plain_events
from openengagement.ingest.rows import EVENTS, DropReason, Kind, no_rejections, validate


class BatchParser:
    """Parses and validates the bodies of one source of batches; safe from any thread.

    `lines_max` bounds the lines of a body. `latest_s` returns the latest time that is not in the
    future, in Unix seconds.
    """

    def __init__(self, *, lines_max: int, latest_s: Callable[[], float]) -> None:
        self._lines_max = lines_max
        self._latest_s = latest_s
        self._columnar = ColumnarReader()

    def parse(self, body: bytes, form: Format, *, kind: Kind) -> ParsedBatch:
        """Parse a body, and split its rows into valid and rejected ones.

        Raises:
            MalformedBody: the body as a whole cannot be parsed.
            BodyTooLarge: it has too many lines.
        """
        latest_s = self._latest_s()
        body = check_body(body, form, lines_max=self._lines_max)
        if kind is EVENTS and form is Format.NDJSON:
            return self._parse_events(body, latest_s)
        return self._parse(body, form, kind=kind, latest_s=latest_s)

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
        return ParsedBatch(pl.concat([plain, rows]).sort("line"), rejected)

    def _parse(self, body: bytes, form: Format, *, kind: Kind, latest_s: float) -> ParsedBatch:
        text = parse_body(body, form, kind=kind, lines_max=self._lines_max, columnar=self._columnar)
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
        return ParsedBatch(rows, rejected)
