"""Calendar months in UTC, by which contracts count (api.md 3.5), written `2026-11`."""

import re
from datetime import UTC, datetime
from typing import Final

_MONTH: Final = re.compile(r"20[0-9]{2}-(?:0[1-9]|1[0-2])")


def month_of(time_s: float) -> str:
    """The month that a time in Unix seconds is in."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m")


def parse_month(text: str) -> str:
    """A month as somebody wrote it.

    Raises:
        ValueError: it is none; the text says how to write one.
    """
    if not _MONTH.fullmatch(text):
        raise ValueError(f"{text[:20]!r} is not a month; write one as 2026-11")
    return text


def months_around(month: str, *, last: str) -> tuple[str, str | None]:
    """The month before, and the one after unless that is later than `last`."""
    return _shift(month, -1), _shift(month, 1) if month < last else None


def months_until(month: str, count: int) -> list[str]:
    """So many months, this one first and the oldest last."""
    return [_shift(month, -back) for back in range(count)]


def _shift(month: str, by: int) -> str:
    year, of_year = divmod(int(month[:4]) * 12 + int(month[5:]) - 1 + by, 12)
    return f"{year:04}-{of_year + 1:02}"
