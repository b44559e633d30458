"""Body formats: bytes -> one frame of text columns, plus the lines that are no row at all.

Every format ends in the same shape, a column of text per field, so that one set of rules (`rows`)
judges them all. A whole body is parsed in columns. Only one that cannot be parsed so takes the
slow way, which halves the body until the lines at fault are alone and sets them aside.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
import polars as pl

from openengagement.errors import BodyTooLarge, MalformedBody, UnsupportedBody
from openengagement.http.decompression import PACKED
from openengagement.ingest.columnar import COLUMNAR
from openengagement.ingest.csv_rows import parse_csv


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
# How bodies begin whose media type says nothing, such as the one curl puts by itself.
_BEGINNINGS: Final = (
    (b"PAR1", Format.PARQUET),
    (b"ARROW1", Format.ARROW),
    (b"\xff\xff\xff\xff", Format.ARROW),
    (b"[", Format.JSON),
    (b"{", Format.NDJSON),
)


_ID_END: Final = int.from_bytes(b'd"', "little")
_JSON_SPACE: Final = b" \t\r\n"  # Python's own idea of white space is wider
_ANY_JSON: Final = msgspec.json.Decoder(msgspec.Raw)
# An id written as a fraction or with an exponent.
_FRACTIONAL_ID: Final = r'(id"\s*:\s*)(-?[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))'


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
    if form in {Format.PARQUET, Format.ARROW}:
        rows = COLUMNAR.read(body, fields, rows_max=lines_max, name=form.name.capitalize())
        return Parsed(rows.with_row_index("line", offset=1), {})
    if form is Format.JSON:
        body = _array_to_lines(body)
    lines = count_lines(body, form, lines_max=lines_max)
    if form is Format.CSV:
        return Parsed(*parse_csv(body, fields))
    return _parse_ndjson(body, fields, lines=lines)


def count_lines(body: bytes, form: Format, *, lines_max: int) -> int:
    """How many there are, without the header of CSV.

    Raises:
        BodyTooLarge: more than `lines_max`.
    """
    lines = count_line_ends(body) + (not body.endswith(b"\n")) - (form is Format.CSV)
    if lines > lines_max:
        raise BodyTooLarge(f"body: holds more than {lines_max} lines; send smaller batches")
    return lines


def count_line_ends(body: bytes | memoryview) -> int:
    """How many there are; several times as fast as asking the bytes."""
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord("\n")))


def _parse_ndjson(body: bytes, fields: Sequence[str], *, lines: int) -> Parsed:
    if body.startswith(PACKED):
        return _parse_ndjson_lines(body.split(b"\n"), fields)
    try:
        rows = _read_ndjson(body, fields)
    except pl.exceptions.PolarsError:
        return _parse_ndjson_lines(body.split(b"\n"), fields)
    if rows.height == lines:
        return Parsed(rows.with_row_index("line", offset=1), {})
    return _parse_ndjson_lines(body.split(b"\n"), fields)  # blank lines: count them


def _read_ndjson(body: bytes, fields: Sequence[str]) -> pl.DataFrame:
    if not body or (body.isspace() and not body.strip(_JSON_SPACE)):
        return pl.DataFrame(schema=dict.fromkeys(fields, pl.String))
    schema = dict.fromkeys(fields, pl.String)
    rows = pl.read_ndjson(io.BytesIO(body), schema=schema)
    if _may_hold_fractions(body) and pl.Series([body.decode()]).str.contains(_FRACTIONAL_ID).item():
        # Read as a number, such an id comes out rounded, as another's. As text it is refused.
        quoted = re.sub(_FRACTIONAL_ID.encode(), rb'\1"\2"', body)
        rows = pl.read_ndjson(io.BytesIO(quoted), schema=schema)
    return rows


def _may_hold_fractions(body: bytes) -> bool:
    """Whether some id may not be text: a quick look that spares most bodies the exact one."""
    letters = np.frombuffer(body, np.uint8)
    for offset in (0, 1):
        pairs = np.frombuffer(body, "<u2", (len(body) - offset) // 2, offset)
        ends = 2 * np.flatnonzero(pairs == _ID_END) + offset
        ends = ends[letters[ends - 1] == ord("i")]
        if len(ends) and ends[-1] + 3 >= len(body):
            return True
        if (letters[ends + 2] != ord(":")).any() or (letters[ends + 3] != ord('"')).any():
            return True
    return False


def _parse_ndjson_lines(lines: Sequence[bytes], fields: Sequence[str]) -> Parsed:
    malformed: dict[int, str] = {}
    kept: list[tuple[int, bytes]] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip(_JSON_SPACE)
        if text and (fault := _find_fault(text)):
            malformed[number] = fault
        elif text:
            kept.append((number, text))
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


def _find_fault(line: bytes) -> str | None:
    """What is plainly wrong with a line. Quick, and the last word is the column parser's."""
    if line[:1] != b"{" or line[-1:] != b"}":
        return "is not a JSON object"
    try:
        _ANY_JSON.decode(line)
    except RecursionError:
        return None
    except msgspec.DecodeError:
        return "is not valid JSON"
    return None


def _array_to_lines(body: bytes) -> bytes:
    """A JSON array as NDJSON, an element a line."""
    try:
        values = msgspec.json.decode(body, type=list[msgspec.Raw])
        return b"\n".join(_one_line(bytes(value)) for value in values)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedBody(f"body: is not a JSON array: {error}") from None


def _one_line(value: bytes) -> bytes:
    return msgspec.json.format(value, indent=-1) if b"\n" in value or b"\r" in value else value
