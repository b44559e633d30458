"""The periods of the overview: their hours, the period before, and their names."""

import re
from datetime import UTC, datetime

import pytest

from openengagement.engagement.types import HOUR_S, utc_datetime
from openengagement.portal.periods import read_period, week_hours
from support.cases import cases

NOW = datetime(2026, 11, 28, 17, 20, tzinfo=UTC)
FLOOR_S = datetime(2014, 9, 1, tzinfo=UTC).timestamp()


def period(now=NOW, **given):
    return read_period(given, now_s=now.timestamp(), floor_s=int(FLOOR_S))


def time(hour):
    return f"{utc_datetime(hour * HOUR_S):%Y-%m-%d %H}"


@cases(
    ("given", "start", "before", "bar_hours"),
    [
        ({"period": "7d"}, "2026-11-22 00", ("2026-11-15 00", "2026-11-21 18"), 6),
        ({"period": "28d"}, "2026-11-01 00", ("2026-10-04 00", "2026-10-31 18"), 24),
        ({}, "2026-11-01 00", ("2026-10-04 00", "2026-10-31 18"), 24),
        ({"period": "<b>"}, "2026-11-01 00", ("2026-10-04 00", "2026-10-31 18"), 24),
        ({"period": "90d"}, "2026-08-31 00", ("2026-06-02 00", "2026-08-30 18"), 24),
    ],
)
def test_periods_of_days_end_now_and_so_does_the_period_before(given, start, before, bar_hours):
    found = period(**given)
    assert (time(found.start_hour), time(found.end_hour)) == (start, "2026-11-28 18")
    assert tuple(map(time, found.before)) == before
    assert (found.running, found.bar_hours) == (True, bar_hours)


@pytest.mark.parametrize(("minute", "hours"), [(0, 28), (20, 29), (59, 29)])
def test_28_hours_are_those_of_the_api(minute, hours):
    found = period(NOW.replace(minute=minute), period="28h")
    assert found.end_hour - found.start_hour == found.full_hours == hours
    assert found.before == (found.start_hour - hours, found.start_hour)
    assert time(found.start_hour) == "2026-11-27 13"
    assert found.bar_hours == 1


@cases(
    ("first", "last", "end", "running", "bar_hours"),
    [
        ("2026-11-01", "2026-11-02", "2026-11-03 00", False, 1),
        ("2026-11-01", "2026-11-08", "2026-11-09 00", False, 6),
        ("2026-11-28", "2026-11-28", "2026-11-28 18", True, 1),
        ("2026-01-01", "2026-03-31", "2026-04-01 00", False, 24),
        ("2025-11-28", "2026-11-28", "2026-11-28 18", True, 168),
    ],
)
def test_custom_periods_include_their_last_day(first, last, end, running, bar_hours):
    found = period(period="custom", first=first, last=last)
    assert time(found.start_hour) == f"{first} 00"
    assert (time(found.end_hour), found.running, found.bar_hours) == (end, running, bar_hours)
    assert (found.first, found.last, found.faults) == (first, last, {})


@cases(
    ("first", "last", "faults"),
    [
        ("", "", {"first": "Write a date", "last": "Write a date"}),
        ("soon", "2026-11-02", {"first": "Write a date, such as"}),
        ("2026-02-30", "2026-11-02", {"first": "Write a date, such as"}),
        ("2026-11-03", "2026-11-02", {"last": "Choose the first day or a later one."}),
        ("2026-11-03", "2026-11-30", {"last": "Choose a day that has begun."}),
        ("2026-11-30", "2026-11-28", {"first": "to today.", "last": "or a later one"}),
        ("2014-08-31", "2014-09-03", {"first": "Choose a day from 1 Sept 2014 to today."}),
        ("0001-01-01", "2026-11-02", {"first": "Choose a day", "last": "at most 366 days"}),
        ("2025-11-01", "2026-11-02", {"last": "Choose at most 366 days."}),
    ],
)
def test_faults_name_their_field_and_the_default_is_shown(first, last, faults):
    found = period(period="custom", first=first, last=last)
    assert found.faults.keys() == faults.keys()
    assert all(text in found.faults[name] for name, text in faults.items())
    dates = [re.fullmatch(r"\d{4}-\d\d-\d\d", each) for each in (first, last)]
    dates = [each is not None and each[0] != "2026-02-30" for each in dates]
    for kept, date, typed in zip((found.first, found.last), dates, (first, last), strict=True):
        assert kept == (typed if date else ""), "a date that was typed stays"
    assert found.start_hour == period().start_hour


@cases(
    ("given", "text", "before"),
    [
        ({}, "1\u201328 Nov 2026", "4\u201331 Oct 2026"),
        (
            {"period": "90d"},
            "31 Aug\u2009\u2013\u200928 Nov 2026",
            "2 Jun\u2009\u2013\u200930 Aug 2026",
        ),
        (
            {"period": "28h"},
            "27 Nov, 13:00 to 28 Nov, 18:00 UTC",
            "26 Nov, 08:00 to 27 Nov, 13:00 UTC",
        ),
        (
            {"period": "custom", "first": "2025-12-20", "last": "2026-01-05"},
            "20 Dec 2025\u2009\u2013\u20095 Jan 2026",
            "3\u201319 Dec 2025",
        ),
        (
            {"period": "custom", "first": "2026-01-01", "last": "2026-01-05"},
            "1\u20135 Jan 2026",
            "27\u201331 Dec 2025",
        ),
    ],
)
def test_periods_for_people(given, text, before):
    assert (period(**given).text, period(**given).before_text) == (text, before)


def test_hours_of_the_week_begin_on_monday():
    monday = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp()) // HOUR_S
    assert week_hours(monday - 1, monday + 2) == [167, 0, 1]
