"""Parse JSON objects into columns of text.

A text that is not an object is `malformed`. Rows are numbered from 1. If a key is repeated, the
last value counts.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from openengagement.ingest.formats.ignored_fields import IgnoredCollector
from openengagement.ingest.formats.text_rows import (
    TextRows,
    count_line_ends,
    count_lines,
    no_text_rows,
)
from openengagement.ingest.rows import Kind
from openengagement.ingest.values import NOT_TEXT

_NAMES: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PART_BYTES: Final = 4 * 2**20  # of rows whose values are objects at the same time
_LARGE_BYTES: Final = 2**18
_SHOWN_BYTES: Final = 1024  # of a nested value, of which a rejection quotes the start
_JSON_SPACE: Final = b" \t\r\n"  # `bytes.strip` alone would also strip other characters
_TRAILING: Final = re.compile(r"trailing characters \(byte ([0-9]+)\)")
_SEVERAL_OBJECTS: Final = (
    "holds more than one JSON object; put a line end after each "
    "(curl -d removes line ends, --data-binary keeps them)"
)


def parse_lines(body: bytes, kind: Kind) -> TextRows:
    """Parse a body with a JSON object on each line. Blank lines are no rows."""
    is_utf8 = _is_utf8(body)
    parts = []
    before = 0
    for part in _cut_lines(body):
        parts.append(_parse_part(part, kind, is_utf8=is_utf8, before=before))
        before += count_line_ends(part)
    return _join(parts, kind)


def _cut_lines(body: bytes) -> Iterator[bytes]:
    """Cut a body after line ends, so that the values of few lines are objects at a time."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start + _PART_BYTES) + 1 or len(body)
        yield body[start:end]
        start = end


def _parse_part(part: bytes, kind: Kind, *, is_utf8: bool, before: int) -> TextRows:
    """Parse some lines. `before` is the number of lines before them."""
    if is_utf8 and len(part) < 2 * _PART_BYTES and _has_object_lines(part):
        with suppress(msgspec.DecodeError, RecursionError):
            collector = IgnoredCollector(kind.fields)
            rows = _decode_lines(part, kind.fields, before=before, collector=collector)
            # If a line held several objects, there would be more rows than lines.
            if len(rows) == count_lines(part):
                numbers = range(before + 1, before + len(rows) + 1)
                frame = _to_frame(rows, kind, numbers=numbers)
                return TextRows(frame, {}, collector.result())
    return _parse_texts(part.split(b"\n"), kind, is_utf8=is_utf8, before=before)


def _decode_lines(
    part: bytes, fields: tuple[str, ...], *, before: int, collector: IgnoredCollector
) -> list[Any]:
    """Decode some lines. Only if one has an unknown field, they are decoded again for the names."""
    try:
        return _strict_decoder(fields).decode_lines(part)
    except msgspec.ValidationError:
        rows = _decoder(fields).decode_lines(part)
    for number, line in enumerate(part.removesuffix(b"\n").split(b"\n"), start=before + 1):
        if len(line) <= _LARGE_BYTES:  # else its names alone could take much memory
            collector.add(number, _NAMES.decode(line))
    return rows


def _join(parts: Sequence[TextRows], kind: Kind) -> TextRows:
    malformed: dict[int, str] = {}
    for part in parts:
        malformed |= part.malformed
    rows = pl.concat([no_text_rows(kind.fields), *(part.rows for part in parts)])
    ignored = [group for part in parts for group in part.ignored]
    return TextRows(rows, malformed, ignored)


def parse_elements(elements: Sequence[bytes | msgspec.Raw], kind: Kind, *, body: bytes) -> TextRows:
    """Parse the elements of the document `body`: each should be a JSON object."""
    return _parse_texts(elements, kind, is_utf8=_is_utf8(body))


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return True
    decoder = getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(body), _PART_BYTES):
            decoder.decode(body[start : start + _PART_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


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
    texts: Sequence[bytes | msgspec.Raw], kind: Kind, *, is_utf8: bool, before: int = 0
) -> TextRows:
    malformed: dict[int, str] = {}
    numbers: list[int] = []
    rows: list[Any] = []
    frames = [no_text_rows(kind.fields)]
    size = 0
    collector = IgnoredCollector(kind.fields)
    for number, text in enumerate(texts, start=before + 1):
        size += len(text)
        if size > _PART_BYTES:
            frames.append(_to_frame(rows, kind, numbers=numbers))
            rows, numbers, size = [], [], 0
        try:
            # The decoder skips unknown fields without checking their UTF-8.
            content = text if is_utf8 else bytes(text).decode()
            rows.append(_decode(content, kind.fields, number=number, collector=collector))
            numbers.append(number)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if bytes(text).strip(_JSON_SPACE):
                malformed[number] = _describe_fault(bytes(text), error)
    frames.append(_to_frame(rows, kind, numbers=numbers))
    return TextRows(pl.concat(frames), malformed, collector.result())


def _decode(
    text: bytes | msgspec.Raw | str,
    fields: tuple[str, ...],
    *,
    number: int,
    collector: IgnoredCollector,
) -> Any:  # noqa: ANN401 - a row
    """Decode a row, and collect the names of its unknown fields, unless it is very large."""
    if len(text) > _LARGE_BYTES:
        return _decode_large(text, fields)
    with suppress(msgspec.ValidationError):
        return _strict_decoder(fields).decode(text)
    row = _decoder(fields).decode(text)
    collector.add(number, _NAMES.decode(text))
    return row


def _to_frame(rows: Sequence[Any], kind: Kind, *, numbers: Sequence[int]) -> pl.DataFrame:
    # A tuple for each row would cost more: the garbage collector visits each of them.
    columns = {
        name: _to_texts(list(map(attrgetter(name), rows)), is_text=name in kind.texts)
        for name in kind.fields
    }
    lines = pl.Series(values=numbers, dtype=pl.UInt32)
    return pl.DataFrame({"line": lines, **columns})


@cache
def _decoder(fields: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    row = msgspec.defstruct("Row", [(name, Any, None) for name in fields], gc=False)
    return msgspec.json.Decoder(row, float_hook=_keep_float)


@cache
def _strict_decoder(fields: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Return a decoder that refuses objects with other fields."""
    row = msgspec.defstruct(
        "Row", [(name, Any, None) for name in fields], gc=False, forbid_unknown_fields=True
    )
    return msgspec.json.Decoder(row, float_hook=_keep_float)


@cache
def _text_decoder(fields: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    texts = [(name, msgspec.Raw, msgspec.Raw(b"null")) for name in fields]
    return msgspec.json.Decoder(msgspec.defstruct("Texts", texts))


def _decode_large(text: bytes | msgspec.Raw | str, fields: tuple[str, ...]) -> Any:  # noqa: ANN401
    """Decode a large row. Its nested values would take many times the memory of their text."""
    texts = _text_decoder(fields).decode(text)
    values = {name: _decode_value(bytes(getattr(texts, name))) for name in fields}
    return _decoder(fields).type(**values)


def _decode_value(text: bytes) -> Any:  # noqa: ANN401 - any JSON value
    if text.startswith((b"[", b"{")):
        return NOT_TEXT + text[:_SHOWN_BYTES].decode(errors="replace")
    return msgspec.json.Decoder(float_hook=_keep_float).decode(text)


class _Float(str):
    """A number with a fraction or an exponent, not a text."""

    __slots__ = ()


def _keep_float(number: str) -> _Float:
    """Keep a float as it was written, with a sign in its exponent.

    A float would round it, or be too small for it. The sign distinguishes a number from text such
    as 12e4567, which may be the id of a video.
    """
    return _Float(re.sub("[eE](?=[0-9])", "e+", number))


def _write_float(number: _Float) -> msgspec.Raw:
    return msgspec.Raw(number.encode())


def _to_texts(values: Sequence[Any], *, is_text: bool) -> pl.Series:
    """Convert the values of a field, which may be any text if `is_text`."""
    if values.count(None) == len(values):  # as of most fields that may be left out
        return pl.repeat(None, len(values), dtype=pl.String, eager=True)
    if is_text:
        return pl.Series(values=map(_to_marked, values), dtype=pl.String)
    try:
        return pl.Series(values=values, dtype=pl.String)
    except (TypeError, OverflowError):  # not all are text
        return pl.Series(values=map(_to_text, values), dtype=pl.String)


def _to_text(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    if value is None or isinstance(value, str):
        return value
    if type(value) is int:  # not a bool
        return str(value)
    mark = NOT_TEXT if isinstance(value, dict | list) else ""
    return mark + msgspec.json.encode(value, enc_hook=_write_float).decode()


def _to_marked(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    text = _to_text(value)
    return f"{NOT_TEXT}{text}" if isinstance(value, bool | _Float) else text


def _describe_fault(text: bytes, error: Exception) -> str:
    if not text.lstrip(_JSON_SPACE).startswith(b"{"):
        return "is not a JSON object"
    if isinstance(error, msgspec.ValidationError):
        return "holds a number with too many digits"
    trailing = _TRAILING.search(str(error))
    if trailing and text[: int(trailing[1])].endswith(b"{"):
        return _SEVERAL_OBJECTS
    return "is not valid JSON"
