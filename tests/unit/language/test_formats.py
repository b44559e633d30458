"""Numbers and times as each language writes them; whole numbers as Babel writes them."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from babel.numbers import format_decimal, format_percent

from openengagement.language.formats import Formats
from openengagement.language.languages import KNOWN
from support.cases import cases

TAGS = [tag for _, tag in KNOWN.values()]
ENGLISH, GERMAN = Formats("en-001"), Formats("de")
AT_S = int(datetime(2026, 11, 1, 17, 5, 59, tzinfo=UTC).timestamp())


@cases("tag", TAGS)
@cases("value", [0, 7, -5, 999, 1000, -1234, 9999, 421_013, 10**9, 2**63 - 1])
def test_whole_numbers_are_those_of_babel(tag, value):
    locale = tag.replace("-", "_")
    assert Formats(tag).number(value) == format_decimal(value, locale=locale)


@cases("tag", TAGS)
@cases("value", [0.0, 0.5, 0.125, 1.0, 12.3456])
def test_rates_are_those_of_babel(tag, value):
    locale = tag.replace("-", "_")
    percent = format_percent(value, locale=locale, decimal_quantization=False)
    assert Formats(tag).percent(value)[-1] == percent[-1] == "%"
    assert Formats(tag).percent(value, 0) == format_percent(round(value, 2), locale=locale)


def test_numbers():
    assert (ENGLISH.number(421_013), GERMAN.number(421_013)) == ("421,013", "421.013")
    assert (ENGLISH.fixed(1234.56, 1), GERMAN.fixed(1234.56, 1)) == ("1,234.6", "1.234,6")
    assert (ENGLISH.percent(0.12345), GERMAN.percent(0.12345)) == ("12.35%", "12,35\xa0%")
    assert (ENGLISH.tick(0.005), GERMAN.tick(0.0125)) == ("0.5%", "1,25\xa0%")
    assert (ENGLISH.compact(300_000), GERMAN.compact(300_000)) == ("300K", "300.000")
    assert (ENGLISH.compact(2_500_000), GERMAN.compact(2_500_000)) == ("2.5M", "2,5\xa0Mio.")


def test_times():
    assert (ENGLISH.moment(AT_S), GERMAN.moment(AT_S)) == (
        "1 Nov 2026, 17:05",
        "1. Nov. 2026, 17:05",
    )
    assert (ENGLISH.short_moment(AT_S), GERMAN.short_moment(AT_S)) == (
        "1 Nov, 17:05",
        "1. Nov., 17:05",
    )
    assert ENGLISH.hour(AT_S) == GERMAN.hour(AT_S) == "17:05"
    assert (ENGLISH.day(date(2026, 3, 1)), GERMAN.day(date(2026, 3, 1))) == (
        "1 Mar 2026",
        "1. März 2026",
    )
    assert (ENGLISH.month("2026-03"), GERMAN.month("2026-03")) == ("March 2026", "März 2026")
    assert (ENGLISH.weekdays()[0], GERMAN.weekdays()[6]) == ("Mon", "So")


def test_times_of_another_zone():
    rules = ZoneInfo("Asia/Kolkata")
    assert ENGLISH.moment(AT_S, rules) == "1 Nov 2026, 22:35"
    assert GERMAN.short_moment(AT_S + 7200, rules) == "2. Nov., 00:35"
    assert ENGLISH.hour(AT_S, rules) == "22:35"


def test_spans_of_days():
    week = date(2026, 11, 1), date(2026, 11, 7)
    assert ENGLISH.span(*week) == "1\u20137 Nov 2026"
    assert GERMAN.span(*week) == "1.\u20137. Nov. 2026"
    assert ENGLISH.span(week[0], week[0]) == "1 Nov 2026"


def test_lists():
    assert ENGLISH.listed(["a", "b", "c"]) == "a, b and c"
    assert GERMAN.listed(["a", "b"]) == "a und b"
