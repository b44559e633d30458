"""Body formats: bytes -> one frame of text columns, plus the lines that are no row at all.

Every format ends in the same shape, a column of text per field, so that one set of rules (`rows`)
judges them all. The fast path parses a whole body in columns. Only a body that it cannot parse
takes the slow one, which halves the body until the lines at fault are alone and sets them aside.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec
import polars as pl

from openengagement.errors import BodyTooLarge, MalformedBody, UnsupportedBody


class Format(StrEnum):
    """What a body can be, by its media type."""

    NDJSON = "application/x-ndjson"
    JSON = "application/json"
    CSV = "text/csv"
    PARQUET = "application/vnd.apache.parquet"
    ARROW = "application/vnd.apache.arrow.stream"


_MEDIA_TYPES: Final = {
    **{each.value: each for each in Format},
    "application/ndjson": Format.NDJSON,
    "application/jsonl": Format.NDJSON,
    "application/x-jsonlines": Format.NDJSON,
    "application/csv": Format.CSV,
    "application/x-parquet": Format.PARQUET,
    "application/vnd.apache.arrow.file": Format.ARROW,
}
_ARROW_FILE: Final = b"ARROW1"
# How bodies begin whose media type says nothing, such as the one curl puts by itself.
_BEGINNINGS: Final = (
    (b"PAR1", Format.PARQUET),
    (_ARROW_FILE, Format.ARROW),
    (b"\xff\xff\xff\xff", Format.ARROW),
    (b"[", Format.JSON),
    (b"{", Format.NDJSON),
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """Rows as text (`line` and the fields), and lines that hold none: line -> what is wrong."""

    rows: pl.DataFrame
    malformed: dict[int, str]


def detect_format(content_type: str, body: bytes) -> Format:
    """The format of a body: by its media type, or by how it begins.

    Raises:
        UnsupportedBody: neither tells.
    """
    named = _MEDIA_TYPES.get(content_type.partition(";")[0].strip().lower())
    if named is Format.JSON and body.lstrip()[:1] == b"{":
        return Format.NDJSON
    if named is not None:
        return named
    start = body.lstrip()
    for beginning, form in _BEGINNINGS:
        if start.startswith(beginning):
            return form
    allowed = ", ".join(each.value for each in Format)
    raise UnsupportedBody(f"Content-Type: send one of {allowed}")


def parse_body(body: bytes, form: Format, *, fields: Sequence[str], lines_max: int) -> Parsed:
    """Parse a body into text columns.

    Raises:
        MalformedBody: the body as a whole cannot be read.
        BodyTooLarge: more than `lines_max` lines.
    """
    if form is Format.NDJSON:
        return _parse_ndjson(body, fields, lines_max=lines_max)
    if form is Format.JSON:
        return _parse_json(body, fields, lines_max=lines_max)
    if form is Format.CSV:
        return _parse_csv(body, fields, lines_max=lines_max)
    frame = _read_columnar(body, form, lines_max=lines_max)
    return Parsed(_as_text(frame, fields).with_row_index("line", offset=1), {})


def _parse_ndjson(body: bytes, fields: Sequence[str], *, lines_max: int) -> Parsed:
    _check_lines(body.count(b"\n"), lines_max)
    try:
        rows = _read_ndjson(body, fields)
    except pl.exceptions.PolarsError:
        return _parse_ndjson_lines(body.split(b"\n"), fields)
    if rows.height == body.count(b"\n") + (not body.endswith(b"\n")):
        return Parsed(rows.with_row_index("line", offset=1), {})
    return _parse_ndjson_lines(body.split(b"\n"), fields)  # blank lines: count them


def _read_ndjson(body: bytes, fields: Sequence[str]) -> pl.DataFrame:
    if not body.strip():
        return pl.DataFrame(schema=dict.fromkeys(fields, pl.String))
    return pl.read_ndjson(io.BytesIO(body), schema=dict.fromkeys(fields, pl.String))


def _parse_ndjson_lines(lines: Sequence[bytes], fields: Sequence[str]) -> Parsed:
    malformed: dict[int, str] = {}
    kept: list[tuple[int, bytes]] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text[:1] == b"{" and text[-1:] == b"}":
            kept.append((number, text))
        elif text:
            malformed[number] = "is not a JSON object"
    frames: list[pl.DataFrame] = []
    blocks = [kept] if kept else []
    while blocks:
        block = blocks.pop()
        try:
            rows = _read_ndjson(b"\n".join(text for _, text in block), fields)
        except pl.exceptions.PolarsError:
            if len(block) == 1:
                malformed[block[0][0]] = "is not valid JSON"
            else:
                half = len(block) // 2
                blocks += [block[half:], block[:half]]
            continue
        frames.append(rows.insert_column(0, pl.Series("line", [at for at, _ in block], pl.UInt32)))
    schema = {"line": pl.UInt32, **dict.fromkeys(fields, pl.String)}
    return Parsed(pl.concat([pl.DataFrame(schema=schema), *frames]), malformed)


def _parse_json(body: bytes, fields: Sequence[str], *, lines_max: int) -> Parsed:
    try:
        values = msgspec.json.decode(body, type=list[msgspec.Raw])
        _check_lines(len(values), lines_max)
        lines = [_one_line(bytes(value)) for value in values]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedBody(f"body: is not a JSON array: {error}") from None
    return _parse_ndjson(b"\n".join(lines), fields, lines_max=lines_max)


def _one_line(value: bytes) -> bytes:
    return msgspec.json.format(value, indent=-1) if b"\n" in value or b"\r" in value else value


def _parse_csv(body: bytes, fields: Sequence[str], *, lines_max: int) -> Parsed:
    _check_lines(body.count(b"\n"), lines_max + 1)
    if not body.strip():
        raise MalformedBody("body: is empty; CSV begins with a line that names its columns")
    try:
        frame = pl.read_csv(io.BytesIO(body), infer_schema=False)
    except pl.exceptions.PolarsError:
        return _parse_csv_lines(body, fields)
    # An empty value is none, quoted or not: exporters that quote everything mean nothing by it.
    texts = _as_text(frame, fields).with_columns(pl.all().replace("", None))
    return Parsed(texts.with_row_index("line", offset=2), {})  # line 1 is the header


def _parse_csv_lines(body: bytes, fields: Sequence[str]) -> Parsed:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise MalformedBody("body: is not UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    malformed: dict[int, str] = {}
    rows: list[list[str | None]] = []
    try:
        header = next(reader)
        for record in reader:
            if len(record) > len(header):
                malformed[reader.line_num] = f"has {len(record)} values under {len(header)} columns"
            elif record:
                padded = record + [""] * (len(header) - len(record))
                rows.append([str(reader.line_num), *(value or None for value in padded)])
    except csv.Error as error:
        raise MalformedBody(f"body: is not CSV: line {reader.line_num}: {error}") from None
    names = ["line", *header]
    if len(set(names)) < len(names):
        raise MalformedBody("body: CSV names a column twice")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    lines = frame.get_column("line").cast(pl.UInt32)
    return Parsed(_as_text(frame, fields).insert_column(0, lines), malformed)


def _read_columnar(body: bytes, form: Format, *, lines_max: int) -> pl.DataFrame:
    try:
        if form is Format.PARQUET:
            # A few bytes of Parquet can stand for any number of rows: ask before reading them.
            height = pl.scan_parquet(io.BytesIO(body)).select(pl.len()).collect().item()
            _check_lines(height, lines_max)
            frame = pl.read_parquet(io.BytesIO(body))
        elif body.startswith(_ARROW_FILE):
            frame = pl.read_ipc(io.BytesIO(body))
        else:
            frame = pl.read_ipc_stream(io.BytesIO(body))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError):
        raise MalformedBody(f"body: is not {form.name.capitalize()} that can be read") from None
    _check_lines(frame.height, lines_max)
    return frame


def _as_text(frame: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
    """The fields as text columns, null where a frame has none; times in RFC 3339."""
    columns: dict[str, pl.Expr] = {}
    for name in fields:
        dtype = frame.schema.get(name)
        if dtype is None:
            columns[name] = pl.lit(None, dtype=pl.String)
        elif isinstance(dtype, pl.Datetime):
            # Without a zone the format's own rule holds: UTC.
            time = pl.col(name).dt.convert_time_zone("UTC") if dtype.time_zone else pl.col(name)
            columns[name] = time.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        elif dtype.is_nested() or dtype == pl.Binary:
            raise MalformedBody(f"body: column {name} holds {dtype}, not single values")
        else:
            columns[name] = pl.col(name).cast(pl.String, strict=False)
    return frame.select(**columns)


def _check_lines(lines: int, lines_max: int) -> None:
    if lines > lines_max:
        raise BodyTooLarge(f"body: holds more than {lines_max} lines; send smaller batches")
