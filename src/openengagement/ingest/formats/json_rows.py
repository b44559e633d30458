"""Parse JSON objects into columns of text.

A text that is not an object is `malformed`. Rows are numbered from 1. If a key is repeated, the
last value counts.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from openengagement.ingest.formats.text_rows import TextRows, count_lines
from openengagement.ingest.values import NESTED

_JSON_SPACE: Final = b" \t\r\n"  # `bytes.strip` alone would also strip other characters
_TRAILING: Final = re.compile(r"trailing characters \(byte ([0-9]+)\)")
_SEVERAL_OBJECTS: Final = (
    "holds more than one JSON object; put a line end after each "
    "(curl -d removes line ends, --data-binary keeps them)"
)


def parse_lines(body: bytes, fields: Sequence[str]) -> TextRows:
    """Parse a body with a JSON object on each line. Blank lines are no rows."""
    utf8 = _is_utf8(body)
    if utf8 and _has_object_lines(body):
        with suppress(msgspec.DecodeError, RecursionError):
            rows = _decoder(tuple(fields)).decode_lines(body)
            # If a line held several objects, there would be more rows than lines.
            if len(rows) == count_lines(body):
                return _to_rows(rows, fields, numbers=range(1, len(rows) + 1))
    return _parse_texts(body.split(b"\n"), fields, is_utf8=utf8)


def parse_elements(
    elements: Sequence[bytes | msgspec.Raw], fields: Sequence[str], *, body: bytes
) -> TextRows:
    """Parse the elements of the document `body`: each should be a JSON object."""
    return _parse_texts(elements, fields, is_utf8=_is_utf8(body))


def _is_utf8(body: bytes) -> bool:
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False


def _has_object_lines(body: bytes) -> bool:
    """Whether each line begins with { and ends with }. Then no object extends over two lines.

    In JSON, `{` follows `}` only where one object has ended and another one begins. A string cannot
    hold a line end.
    """
    letters = np.frombuffer(body.removesuffix(b"\n"), np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    starts = np.append(0, ends + 1)
    ends = np.append(ends, len(letters)) - 1
    return bool(
        len(letters)
        and (letters[starts[starts < len(letters)]] == ord("{")).all()
        and (letters[ends] == ord("}")).all()
    )


def _parse_texts(
    texts: Sequence[bytes | msgspec.Raw], fields: Sequence[str], *, is_utf8: bool
) -> TextRows:
    decode = _decoder(tuple(fields)).decode
    malformed: dict[int, str] = {}
    numbers: list[int] = []
    rows: list[Any] = []
    for number, text in enumerate(texts, start=1):
        try:
            # The decoder skips unknown fields without checking their UTF-8.
            rows.append(decode(text if is_utf8 else bytes(text).decode()))
            numbers.append(number)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if bytes(text).strip(_JSON_SPACE):
                malformed[number] = _describe_fault(bytes(text), error)
    return replace(_to_rows(rows, fields, numbers=numbers), malformed=malformed)


def _to_rows(rows: Sequence[Any], fields: Sequence[str], *, numbers: Sequence[int]) -> TextRows:
    # A tuple for each row would cost more: the garbage collector visits each of them.
    columns = {name: _to_texts(list(map(attrgetter(name), rows))) for name in fields}
    lines = pl.Series(values=numbers, dtype=pl.UInt32)
    return TextRows(pl.DataFrame({"line": lines, **columns}), {})


@cache
def _decoder(fields: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    row = msgspec.defstruct("Row", [(name, Any, None) for name in fields], gc=False)
    return msgspec.json.Decoder(row, float_hook=_keep_float)


def _keep_float(number: str) -> str:
    """Keep a float as it was written, with a sign in its exponent.

    A float would round it, or be too small for it. The sign distinguishes a number from text such
    as 12e4567, which may be the id of a video.
    """
    return re.sub("[eE](?=[0-9])", "e+", number)


def _to_texts(values: Sequence[Any]) -> pl.Series:
    try:
        return pl.Series(values=values, dtype=pl.String)
    except (TypeError, OverflowError):  # not all are text
        return pl.Series(values=map(_to_text, values), dtype=pl.String)


def _to_text(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    if value is None or isinstance(value, str):
        return value
    if type(value) is int:  # not a bool
        return str(value)
    mark = NESTED if isinstance(value, dict | list) else ""
    return mark + msgspec.json.encode(value).decode()


def _describe_fault(text: bytes, error: Exception) -> str:
    if not text.lstrip(_JSON_SPACE).startswith(b"{"):
        return "is not a JSON object"
    if isinstance(error, msgspec.ValidationError):
        return "holds a number with too many digits"
    trailing = _TRAILING.search(str(error))
    if trailing and text[: int(trailing[1])].endswith(b"{"):
        return _SEVERAL_OBJECTS
    return "is not valid JSON"
