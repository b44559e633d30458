"""Months: of a time, parsed from text, and their neighbours."""

from datetime import UTC, datetime

import pytest

from openengagement.engagement.months import month_of, months_around, months_until, parse_month
from support.cases import cases


@pytest.mark.parametrize(
    ("time", "month"),
    [
        (datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), "2026-11"),
        (datetime(2026, 12, 1, tzinfo=UTC), "2026-12"),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), "2028-02"),
    ],
)
def test_the_month_of_a_time(time, month):
    assert month_of(time.timestamp()) == month


def test_a_month_is_parsed():
    assert parse_month("2026-11") == "2026-11"


@cases(
    "text",
    ["", "2026", "2026-1", "2026-00", "2026-13", "1999-12", "2026-11-01", "2026-11\n", "٢٠٢٦-11"],
)
def test_other_text_is_not_a_month(text):
    with pytest.raises(ValueError, match="is not a month; write one as 2026-11"):
        parse_month(text)


def test_the_months_around():
    assert months_around("2026-11", last="2027-02") == ("2026-10", "2026-12")
    assert months_around("2026-12", last="2027-02") == ("2026-11", "2027-01")
    assert months_around("2027-01", last="2027-01") == ("2026-12", None)


def test_the_months_before():
    assert months_until("2027-02", 4) == ["2027-02", "2027-01", "2026-12", "2026-11"]
