"""Parse JSON objects into columns of text."""

import re
from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from typing import Any, Final

import msgspec
import polars as pl

from openengagement.ingest.formats.text_rows import TextRows

_JSON_SPACE: Final = b" \t\r\n"  # `bytes.strip` alone would also strip other characters
_TRAILING: Final = re.compile(r"trailing characters \(byte ([0-9]+)\)")
_SEVERAL_OBJECTS: Final = (
    "holds more than one JSON object; put a line end after each "
    "(curl -d removes line ends, --data-binary keeps them)"
)


def parse_objects(
    texts: Sequence[bytes | msgspec.Raw], fields: Sequence[str], *, is_utf8: bool
) -> TextRows:
    """Parse JSON objects. Texts that are none are `malformed`; blank ones are no rows.

    The numbers of rows count from 1. If a key is repeated, the last value is taken. If not
    `is_utf8`, some texts may be no UTF-8.
    """
    decode = _decoder(tuple(fields)).decode
    read_values = attrgetter(*fields)
    malformed: dict[int, str] = {}
    numbers: list[int] = []
    rows: list[tuple[Any, ...]] = []
    for number, text in enumerate(texts, start=1):
        try:
            # The decoder skips unknown fields without checking their UTF-8.
            rows.append(read_values(decode(text if is_utf8 else bytes(text).decode())))
            numbers.append(number)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if bytes(text).strip(_JSON_SPACE):
                malformed[number] = _describe_fault(bytes(text), error)
    columns = zip(*rows, strict=True) if rows else ((),) * len(fields)
    texts_by_field = dict(zip(fields, map(_to_texts, columns), strict=True))
    lines = pl.Series(numbers, dtype=pl.UInt32)
    return TextRows(pl.DataFrame({"line": lines, **texts_by_field}), malformed)


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
    return msgspec.json.encode(value).decode()


def _describe_fault(text: bytes, error: Exception) -> str:
    if not text.lstrip(_JSON_SPACE).startswith(b"{"):
        return "is not a JSON object"
    if isinstance(error, msgspec.ValidationError):
        return "holds a number with too many digits"
    trailing = _TRAILING.search(str(error))
    if trailing and text[: int(trailing[1])].endswith(b"{"):
        return _SEVERAL_OBJECTS
    return "is not valid JSON"
