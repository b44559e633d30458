"""Parse NDJSON into columns of text.

The data frame library parses a whole body at once. If it refuses a body, halve the body repeatedly
to find the lines at fault. Set these aside, and parse the rest.
"""

import io
import re
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import polars as pl

from openengagement.http.decompression import PACKED
from openengagement.ingest.formats.text_rows import TextRows, no_text_rows

_JSON_SPACE: Final = b" \t\r\n"  # `bytes.strip` alone would also strip other characters
_ANY_JSON: Final = msgspec.json.Decoder(msgspec.Raw)
_ID_END: Final = int.from_bytes(b'd"', "little")
# An id written with a fraction or an exponent.
_FRACTIONAL_ID: Final = r'(id"\s*:\s*)(-?[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))'


def parse_ndjson(body: bytes, fields: Sequence[str], *, lines: int) -> TextRows:
    """Parse a body of `lines` lines. Lines that are no JSON object are `malformed`."""
    if not body.startswith(PACKED):
        try:
            rows = _read_ndjson(body, fields)
        except pl.exceptions.PolarsError:
            return _parse_lines(body.split(b"\n"), fields)
        if rows.height == lines:
            return TextRows(rows.with_row_index("line", offset=1), {})
        # Blank lines are no rows, but they count in the line numbers.
    return _parse_lines(body.split(b"\n"), fields)


def _read_ndjson(body: bytes, fields: Sequence[str]) -> pl.DataFrame:
    schema = dict.fromkeys(fields, pl.String)
    if not body or (body.isspace() and not body.strip(_JSON_SPACE)):
        return pl.DataFrame(schema=schema)
    rows = pl.read_ndjson(io.BytesIO(body), schema=schema)
    if _may_have_fractional_id(body) and pl.Series([body.decode()]).str.contains(_FRACTIONAL_ID)[0]:
        # The library parses such an id as a float and rounds it to the id of another Tweet. In
        # quotes it reaches the rules as text, and they reject it.
        quoted = re.sub(_FRACTIONAL_ID.encode(), rb'\1"\2"', body)
        rows = pl.read_ndjson(io.BytesIO(quoted), schema=schema)
    return rows


def _may_have_fractional_id(body: bytes) -> bool:
    """Whether an `id":` has no quote behind it. Saves the slow check of most bodies."""
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


def _parse_lines(lines: Sequence[bytes], fields: Sequence[str]) -> TextRows:
    malformed: dict[int, str] = {}
    candidates: list[tuple[int, bytes]] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip(_JSON_SPACE)
        if text and (fault := _find_fault(text)):
            malformed[number] = fault
        elif text:
            candidates.append((number, text))
    frames: list[pl.DataFrame] = []
    blocks = [candidates] if candidates else []
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
        numbers = pl.Series("line", [number for number, _ in block], pl.UInt32)
        frames.append(rows.insert_column(0, numbers))
    return TextRows(pl.concat([no_text_rows(fields), *frames]), malformed)


def _find_fault(line: bytes) -> str | None:
    """Find an obvious fault of a line. The data frame library may still refuse it."""
    if line[:1] != b"{" or line[-1:] != b"}":
        return "is not a JSON object"
    try:
        _ANY_JSON.decode(line)
    except RecursionError:
        return None
    except msgspec.DecodeError:
        return "is not valid JSON"
    return None
