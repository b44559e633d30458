"""CSV -> text columns.

Most CSV quotes nothing, and then a line is a row: parsed in columns. As soon as there is a quote,
a blank line or anything else that makes a line not a row, the standard library's reader takes it
row by row, so that line numbers stay true and one bad line leaves the others alone.
"""

import csv
import io
from collections.abc import Iterator, Sequence

import polars as pl

from openengagement.errors import MalformedBody
from openengagement.http.decompression import PACKED

_BOM = b"\xef\xbb\xbf"
_LONE_RETURN = "\N{SYMBOL FOR CARRIAGE RETURN}"
_CELL_MAX = 2**30


def parse_csv(body: bytes, fields: Sequence[str]) -> tuple[pl.DataFrame, dict[int, str]]:
    """Rows as `line` (the header is line 1) and the fields as text, and the malformed lines.

    An empty value is none, quoted or not: exporters that quote everything mean nothing by it.

    Raises:
        MalformedBody: no header that can be used.
    """
    body = body.removeprefix(_BOM)
    header = _read_header(body, fields)
    if _is_plain(body):
        try:
            frame = pl.read_csv(io.BytesIO(body), infer_schema=False)
        except pl.exceptions.PolarsError:
            return _parse_rows(body, header, fields=fields)
        columns = {name: _column(frame, name) for name in fields}
        return frame.select(**columns).with_row_index("line", offset=2), {}
    return _parse_rows(body, header, fields=fields)


def _read_header(body: bytes, fields: Sequence[str]) -> list[str]:
    if not body.strip():
        raise MalformedBody("body: is empty; CSV begins with a line that names its columns")
    try:
        header = next(csv.reader([body.partition(b"\n")[0].decode()]), [])
        if not any(name.strip() for name in header):
            raise MalformedBody("body: the first line is blank; it must name the columns")
    except (csv.Error, UnicodeDecodeError):
        raise MalformedBody("body: the line that names the columns cannot be read") from None
    if twice := [name for name in fields if header.count(name) > 1]:
        raise MalformedBody(f"body: the first line names column {twice[0]} twice")
    return header


def _is_plain(body: bytes) -> bool:
    """Whether each line is a row, and each row a line, and nothing is unpacked."""
    return not body.startswith(PACKED) and not any(
        mark in body for mark in (b'"', b"\n\n", b"\n\r\n", b"\r\r")
    )


def _column(frame: pl.DataFrame, name: str) -> pl.Expr:
    if name not in frame.columns:
        return pl.lit(None, dtype=pl.String)
    return pl.col(name).replace("", None)


def _parse_rows(
    body: bytes, header: list[str], *, fields: Sequence[str]
) -> tuple[pl.DataFrame, dict[int, str]]:
    places = [header.index(name) if name in header else -1 for name in fields]
    malformed: dict[int, str] = {}
    rows: list[tuple[int | str | None, ...]] = []
    for line, record in _records(body):
        if len(record) > len(header):
            malformed[line] = f"has {len(record)} values under {len(header)} columns"
        elif not all(map(_is_text, record)):
            malformed[line] = "is not UTF-8"
        else:
            values = (record[at] if 0 <= at < len(record) else "" for at in places)
            rows.append((line, *(value or None for value in values)))
    schema = {"line": pl.UInt32, **dict.fromkeys(fields, pl.String)}
    return pl.DataFrame(rows, schema=schema, orient="row"), malformed


def _records(body: bytes) -> Iterator[tuple[int, list[str]]]:
    """Each record after the header that is not a blank line, with the line it begins on."""
    csv.field_size_limit(_CELL_MAX)
    text = body.decode(errors="surrogateescape").replace("\r\n", "\n")
    # A carriage return by itself ends no line; the reader would have it that it does.
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
