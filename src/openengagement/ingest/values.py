"""Parse values. Every format gives them as text, so that all formats agree.

| value | texts |
|---|---|
| id | the digits of a whole number from 1 to 2^63-1; leading zeros are ignored |
| count | a whole number, also as `1.0` or `1e3`; a plus sign and leading zeros are ignored |
| flag | `true`, `false`, `True`, `False`, `TRUE`, `FALSE` |
| time | RFC 3339 with `Z` or an offset; see `parse_times` |

An id with a fraction or an exponent is refused: it was a float, which rounds large numbers.
"""

import re
from decimal import Decimal
from typing import Final

import polars as pl

from openengagement.engagement.types import DAY_S

# Before the text of a value that is no text, but could be mistaken for one: a JSON array or object;
# in a field for text, also every other value except whole numbers.
NOT_TEXT: Final = "\0not text\0"
COUNT_MAX: Final = 1_000_000_000
_DECIMAL: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?")
_FLAGS: Final = {
    text: value
    for name, value in (("true", True), ("false", False))
    for text in (name, name.title(), name.upper())
}
_PLAIN_TIME: Final = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9]Z$"
_TIME: Final = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:(?:[0-5][0-9]|60))(?:\.[0-9]+)?"
    r"([+-][0-9]{2}:?[0-9]{2})$"
)


def parse_ids(texts: pl.Series) -> pl.Series:
    """Parse ids; any other text becomes null."""
    numbers = texts.cast(pl.Int64, strict=False)
    return numbers.set((numbers < 1) | texts.str.starts_with("+"), None)


def parse_counts(texts: pl.Series) -> pl.Series:
    """Parse counts from -COUNT_MAX to COUNT_MAX; null becomes 1, and any other text null."""
    numbers = texts.cast(pl.Int64, strict=False)
    if numbers.null_count() > texts.null_count():
        unread = texts.filter(numbers.is_null()).drop_nulls().unique()
        decimals = {text: _parse_decimal(text) for text in unread}
        found = texts.replace_strict(decimals, default=None, return_dtype=pl.Int64)
        numbers = numbers.fill_null(found)
    numbers = numbers.set(~numbers.is_between(-COUNT_MAX, COUNT_MAX), None)
    return numbers.set(texts.is_null(), 1)


def _parse_decimal(text: str) -> int | None:
    """Parse a whole number that is written with a fraction or an exponent."""
    if not _DECIMAL.fullmatch(text):
        return None
    number = Decimal(text)
    is_whole = abs(number) <= COUNT_MAX and number == number.to_integral_value()
    return int(number) if is_whole else None


def parse_flags(texts: pl.Series) -> pl.Series:
    """Parse flags; any other text becomes null."""
    if texts.null_count() == len(texts):
        return texts.cast(pl.Boolean)
    return texts.replace_strict(_FLAGS, default=None, return_dtype=pl.Boolean)


def parse_times(texts: pl.Series) -> pl.Series:
    """Parse times into Unix seconds, which may be negative; any other text becomes null.

    RFC 3339 allows `t`, `z`, and a space instead of `T`. The colon of an offset may be left out. A
    leap second is 23:59:60 UTC: it counts as 23:59:59, in the hour and the day that it ends. Any
    other time with second 60 does not exist.
    """
    # The library's parser alone would accept signs, spaces and single digits.
    plain = texts.set(~texts.str.contains(_PLAIN_TIME), None)
    times = plain.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", strict=False, time_unit="us")
    seconds = times.dt.epoch("s")
    if seconds.null_count() > texts.null_count():
        return seconds.fill_null(_parse_zoned_times(texts))
    return seconds


def _parse_zoned_times(texts: pl.Series) -> pl.Series:
    zoned = texts.str.replace("[Zz]$", "+00:00")
    zoned = zoned.set(~zoned.str.contains(_TIME), None).str.replace(_TIME, "${1}T${2}${3}")
    is_leap = zoned.str.contains(":60[+-]")
    zoned = zoned.str.replace(":60([+-])", ":59${1}")
    times = zoned.str.to_datetime("%Y-%m-%dT%H:%M:%S%:z", strict=False, time_unit="us")
    seconds = times.dt.epoch("s")
    return seconds.set(is_leap & (seconds % DAY_S != DAY_S - 1), None)
