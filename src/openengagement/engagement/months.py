"""Calendar months in UTC, written `2026-11`. Contracts count by them (api.md 3.5)."""

import re
from typing import Final

from openengagement.engagement.types import utc_datetime

_MONTH: Final = re.compile(r"20[0-9]{2}-(?:0[1-9]|1[0-2])")


def month_of(time_s: float) -> str:
    """Return the month of a time in Unix seconds."""
    return utc_datetime(time_s).strftime("%Y-%m")


def parse_month(text: str) -> str:
    """Parse a month.

    Raises:
        ValueError: the text is not a month; the message says how to write one.
    """
    if not _MONTH.fullmatch(text):
        raise ValueError(f"{text[:20]!r} is not a month; write one as 2026-11")
    return text


def months_around(month: str, *, last: str) -> tuple[str, str | None]:
    """Return the month before, and the month after or None if that is later than `last`."""
    return _shift(month, -1), _shift(month, 1) if month < last else None


def months_until(month: str, count: int) -> list[str]:
    """Return `count` months that end with this one, newest first."""
    return [_shift(month, -back) for back in range(count)]


def _shift(month: str, by: int) -> str:
    year, of_year = divmod(int(month[:4]) * 12 + int(month[5:]) - 1 + by, 12)
    return f"{year:04}-{of_year + 1:02}"
