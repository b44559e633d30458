"""Parse CSV into columns of text.

Most CSV has no quotes, so each line is a row, and the data frame library parses a whole body at
once. If a line may be more or less than a row, because of a quote or a blank line, the reader of
the standard library parses the body row by row. So line numbers stay right, and a bad line affects
no other.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl

from openengagement.errors import MalformedBody
from openengagement.http.decompression import PACKED
from openengagement.ingest.formats.csv_header import COMMAS_MAX, read_header
from openengagement.ingest.formats.ignored_fields import IgnoredFields, columns_ignored
from openengagement.ingest.formats.text_rows import TextRows, no_text_rows

_LONE_RETURN: Final = "\udc0d"  # decoding UTF-8 yields no such character
_CELL_CHARACTERS_MAX: Final = 2**30


def parse_csv(body: bytes, *, fields: Sequence[str], required: Sequence[str]) -> TextRows:
    """Parse a CSV body whose first line, line 1, names the columns.

    An empty value is null, quoted or not, because some exporters quote everything.

    Raises:
        MalformedBody: the header is missing or ambiguous, or lacks a `required` column.
    """
    header = read_header(body, fields=fields, required=required)
    if _is_plain(body):
        try:
            frame = pl.read_csv(io.BytesIO(body), infer_schema=False)
            columns = {name: _column(frame, name) for name in fields}
            rows = frame.select(**columns).with_row_index("line", offset=2)
            return TextRows(rows, {}, _ignored(header, fields, rows=rows))
        except pl.exceptions.PolarsError:
            pass
    return _parse_rows(body, header, fields=fields)


def _ignored(header: list[str], fields: Sequence[str], *, rows: pl.DataFrame) -> IgnoredFields:
    """List the columns that are not read. A comma at the end of a line makes one without a name."""
    names = [name for name in header if name]
    return columns_ignored(names, fields, lines=rows.get_column("line"))


def _is_plain(body: bytes) -> bool:
    """Whether each line is exactly one row, and the data frame library would not decompress it."""
    return not body.startswith(PACKED) and not any(
        mark in body for mark in (b'"', b"\n\n", b"\n\r\n", b"\r\r")
    )


def _column(frame: pl.DataFrame, name: str) -> pl.Expr:
    if name not in frame.columns:
        return pl.lit(None, dtype=pl.String)
    return pl.col(name).replace("", None)


def _parse_rows(body: bytes, header: list[str], *, fields: Sequence[str]) -> TextRows:
    positions = [header.index(name) if name in header else -1 for name in fields]
    malformed: dict[int, str] = {}
    rows: list[tuple[int | str | None, ...]] = []
    for first, last, record in _records(body):
        if fault := _find_fault(record, header):
            # An unclosed quote makes one record of many lines. All of them are refused.
            malformed |= dict.fromkeys(range(first, last + 1), fault)
        else:
            values = (record[index] if 0 <= index < len(record) else "" for index in positions)
            rows.append((first, *(value or None for value in values)))
    frame = pl.DataFrame(rows, schema=no_text_rows(fields).schema, orient="row")
    return TextRows(frame, malformed, _ignored(header, fields, rows=frame))


def _find_fault(record: list[str] | str, header: list[str]) -> str | None:
    if isinstance(record, str):
        return record
    if len(record) > len(header):
        return f"has {len(record)} values, but the header names {len(header)} columns"
    return None if all(map(_is_text, record)) else "is not UTF-8"


def _records(body: bytes) -> Iterator[tuple[int, int, list[str] | str]]:
    """Yield the first and the last line of each record after the header, and the record.

    If it is no record, yield the reason instead.
    """
    csv.field_size_limit(_CELL_CHARACTERS_MAX)
    commas = quotes = 0  # in the row so far

    def read_lines() -> Iterator[str]:
        nonlocal commas, quotes
        for number, line in enumerate(io.BytesIO(body), start=1):
            more_quotes = line.count(b'"')
            if more_quotes or not quotes % 2:  # else all of the line is in quotes
                commas += line.count(b",")
            quotes += more_quotes
            if commas > COMMAS_MAX:
                text = f"the row that ends on line {number} has more than {COMMAS_MAX} commas"
                raise MalformedBody(f"body: {text}")
            text = line.decode(errors="surrogateescape").replace("\r\n", "\n")
            # The reader would end a line at a lone carriage return, so replace it.
            yield text.replace("\r", _LONE_RETURN)

    # If not strict, an unclosed quote would swallow lines without an error.
    reader = csv.reader(read_lines(), strict=True)
    next(reader, None)
    while True:
        first = reader.line_num + 1
        commas = quotes = 0
        try:
            values = next(reader)
            record: list[str] | str = [value.replace(_LONE_RETURN, "\r") for value in values]
        except StopIteration:
            return
        except csv.Error:
            # The reader continues with the next line.
            record = "belongs to a value with an unclosed quote, or with text after its quote"
        if record:
            yield first, reader.line_num, record


def _is_text(value: str) -> bool:
    return value.isascii() or value.encode(errors="ignore").decode() == value
