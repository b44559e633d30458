"""Parse CSV into columns of text.

Most CSV has no quotes, so each line is a row, and the data frame library parses a whole body at
once. If a line may be more or less than a row, because of a quote or a blank line, the reader of
the standard library parses the body row by row. So line numbers stay right, and a bad line affects
no other.
"""

import csv
import io
from collections.abc import Iterator, Sequence

import polars as pl

from openengagement.errors import MalformedBody
from openengagement.http.decompression import PACKED
from openengagement.ingest.formats.text_rows import TextRows, no_text_rows

_BOM = b"\xef\xbb\xbf"
_LONE_RETURN = "\N{SYMBOL FOR CARRIAGE RETURN}"
_CELL_CHARACTERS_MAX = 2**30


def parse_csv(body: bytes, fields: Sequence[str]) -> TextRows:
    """Parse a CSV body whose first line, line 1, names the columns.

    An empty value is null, quoted or not, because some exporters quote everything.

    Raises:
        MalformedBody: the header is missing or ambiguous, or the body is not CSV.
    """
    body = body.removeprefix(_BOM)
    header = _read_header(body, fields)
    if _is_plain(body):
        try:
            frame = pl.read_csv(io.BytesIO(body), infer_schema=False)
            columns = {name: _column(frame, name) for name in fields}
            return TextRows(frame.select(**columns).with_row_index("line", offset=2), {})
        except pl.exceptions.PolarsError:
            pass
    return _parse_rows(body, header, fields=fields)


def _read_header(body: bytes, fields: Sequence[str]) -> list[str]:
    if not body.strip():
        raise MalformedBody("body: is empty; the first line of CSV must name the columns")
    try:
        header = next(csv.reader([body.partition(b"\n")[0].decode()]), [])
        if not any(name.strip() for name in header):
            raise MalformedBody("body: the first line is blank; it must name the columns")
    except (csv.Error, UnicodeDecodeError):
        raise MalformedBody(
            "body: the first line cannot be parsed; it must name the columns"
        ) from None
    if twice := [name for name in fields if header.count(name) > 1]:
        raise MalformedBody(f"body: the first line names column {twice[0]} twice")
    return header


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
    for line, record in _records(body):
        if len(record) > len(header):
            text = f"has {len(record)} values, but the header names {len(header)} columns"
            malformed[line] = text
        elif not all(map(_is_text, record)):
            malformed[line] = "is not UTF-8"
        else:
            values = (record[index] if 0 <= index < len(record) else "" for index in positions)
            rows.append((line, *(value or None for value in values)))
    frame = pl.DataFrame(rows, schema=no_text_rows(fields).schema, orient="row")
    return TextRows(frame, malformed)


def _records(body: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the records after the header and the number of the first line of each."""
    csv.field_size_limit(_CELL_CHARACTERS_MAX)
    text = body.decode(errors="surrogateescape").replace("\r\n", "\n")
    # The reader would end a line at a lone carriage return, so replace it.
    text = text.replace("\r", _LONE_RETURN)
    reader = csv.reader(io.StringIO(text, newline=""))
    next(reader, None)
    line = reader.line_num + 1
    try:
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise MalformedBody(f"body: is not CSV: line {line}: {error}") from None


def _is_text(value: str) -> bool:
    return value.isascii() or value.encode(errors="ignore").decode() == value
