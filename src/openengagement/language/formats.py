"""Numbers and times as a language writes them (CLDR, through Babel).

Babel's formatters take 10 to 60 us a value, and a page may have 17,000 numbers. So whole numbers
take their separators from Babel once, and texts of times are cached.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Final

from babel import Locale
from babel.dates import format_interval, format_skeleton, get_day_names
from babel.lists import format_list
from babel.numbers import format_compact_decimal, format_decimal

_CACHED: Final = 4096  # texts of times
_GROUP: Final = (3, 3)
_ASCII_DIGITS: Final = "latn"


class Formats:
    """Formats of one language. `tag` is its name in a browser's `Intl`.

    Times are in Unix seconds, and are written in UTC unless `rules` of another zone are given.
    """

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self._locale = Locale.parse(tag, sep="-")
        symbols = self._locale.number_symbols[_ASCII_DIGITS]
        self.group, self.decimal = symbols["group"], symbols["decimal"]
        assert self._locale.decimal_formats[None].grouping == _GROUP, f"{tag} groups otherwise"
        self._percent = str(self._locale.percent_formats[None].suffix[0])
        self._marks = str.maketrans({",": self.group, ".": self.decimal})
        self.moment = lru_cache(_CACHED)(self._moment)
        self.short_moment = lru_cache(_CACHED)(self._short_moment)
        self.short_day = lru_cache(_CACHED)(self._short_day)
        self.hour = lru_cache(_CACHED)(self._hour)
        self.span = lru_cache(_CACHED)(self._span)

    def number(self, value: int) -> str:
        """Write a whole number: `421,013`."""
        return f"{value:,}".translate(self._marks)

    def fixed(self, value: float, digits: int) -> str:
        """Write a number with this many digits after the decimal mark: `2.50`."""
        return f"{value:,.{digits}f}".translate(self._marks)

    def percent(self, share: float, digits: int = 2) -> str:
        """Write a share of one in percent: `12.35%`."""
        return self.fixed(100 * share, digits) + self._percent

    def tick(self, share: float) -> str:
        """Write a share of one in percent, without zeros at its end: `0.5%`."""
        value = (Decimal(str(share)) * 100).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
        return str(format_decimal(value, "#,##0.##", locale=self._locale)) + self._percent

    def compact(self, value: float) -> str:
        """Write a number for the axis of a chart: `421.01K`; in German, `421.010`."""
        text = str(format_compact_decimal(value, fraction_digits=2, locale=self._locale))
        return self.number(int(text)) if text.removeprefix("-").isdecimal() else text

    def day(self, day: date) -> str:
        """Write a day: `1 Nov 2026`."""
        return str(format_skeleton("yMMMd", day, locale=self._locale))

    def month(self, month: str) -> str:
        """Write a month, given as `2026-11`: `November 2026`."""
        day = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
        return str(format_skeleton("yMMMM", day, locale=self._locale))

    def _short_day(self, at_s: float, rules: tzinfo = UTC) -> str:
        """Write the day of a time without its year: `1 Nov`."""
        return str(
            format_skeleton("MMMd", datetime.fromtimestamp(at_s, rules), locale=self._locale)
        )

    def _hour(self, at_s: float, rules: tzinfo = UTC) -> str:
        """Write the time of day: `17:00`."""
        time = datetime.fromtimestamp(at_s, rules).time()
        return str(format_skeleton("Hm", time, locale=self._locale))

    def _moment(self, at_s: float, rules: tzinfo = UTC) -> str:
        """Write a time with its day: `1 Nov 2026, 17:20`."""
        return self._join(
            self.day(datetime.fromtimestamp(at_s, rules).date()), self._hour(at_s, rules)
        )

    def _short_moment(self, at_s: float, rules: tzinfo = UTC) -> str:
        """Write a time with its day, without the year: `1 Nov, 17:20`."""
        return self._join(self._short_day(at_s, rules), self._hour(at_s, rules))

    def _join(self, day: str, time: str) -> str:
        pattern: str = self._locale.datetime_formats["medium"]
        return pattern.replace("{1}", day).replace("{0}", time)

    def _span(self, first: date, last: date) -> str:
        """Write the days from one to another: from `1 Nov` to `28 Nov 2026`."""
        return str(format_interval(first, last, "yMMMd", locale=self._locale))

    def weekdays(self) -> Sequence[str]:
        """Return short names of the days of the week, Monday first."""
        names = get_day_names("abbreviated", context="stand-alone", locale=self._locale)
        return [names[day] for day in range(7)]

    def listed(self, items: Sequence[str]) -> str:
        """Write a list: `a, b and c`."""
        return str(format_list(items, locale=self._locale))
