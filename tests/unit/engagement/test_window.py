"""The hours that an answer covers, and the two times it shows (api.md 1.3, 8.9, 8.10)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openengagement.engagement.types import Endpoint
from openengagement.engagement.window import parse_window
from openengagement.errors import InvalidField
from support.cases import cases

# No deadline: a busy machine may be slow.
QUICK = settings(deadline=None, max_examples=40)

HOUR = timedelta(hours=1)
FOUR_WEEKS = timedelta(days=28)
FLOOR = datetime(2014, 9, 1, tzinfo=UTC)
NOW = datetime(2016, 2, 9, 19, 43, tzinfo=UTC)
LATER = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)


def at(text):
    return datetime.fromisoformat(text)


def show(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def hour(moment):
    return moment.replace(minute=0, second=0, microsecond=0)


def next_hour(moment):
    return hour(moment) if moment == hour(moment) else hour(moment) + HOUR


def bucket(moment):
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // HOUR


def window(start=None, end=None, *, now=NOW, floor=FLOOR, endpoint=Endpoint.HISTORICAL):
    return parse_window(
        endpoint, start, end=end, now_s=now.timestamp(), floor_s=int(floor.timestamp())
    )


def last_28_hours(now, **dates):
    return window(**dates, now=now, endpoint=Endpoint.LAST_28_HOURS)


def refusal(*args, **kwargs):
    with pytest.raises(InvalidField) as caught:
        window(*args, **kwargs)
    assert len(caught.value.texts) == 1
    return caught.value.texts[0]


def assert_covers(got, start, end):
    """The window covers the whole hours from `start` up to `end`, and shows these two times."""
    assert (got.start_hour, got.end_hour) == (bucket(start), bucket(end))
    assert (got.start, got.end) == (show(start), show(end))
    assert got.hours == (end - start) // HOUR


# --- /totals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dates", [{}, {"start": "2016-02-01"}, {"start": "rubbish", "end": "2099-01-01"}]
)
def test_totals_have_no_window_and_ignore_dates(dates):
    assert window(**dates, endpoint=Endpoint.TOTALS) is None


# --- /28hr ---------------------------------------------------------------------------------------


def test_28_hours_of_the_documented_sample_hold_29_buckets():
    got = last_28_hours(at("2015-09-15T21:30:00Z"))
    assert_covers(got, at("2015-09-14T17:00:00Z"), at("2015-09-15T22:00:00Z"))
    assert got.hours == 29


def test_28_hours_exactly_on_the_hour_hold_28_buckets():
    got = last_28_hours(at("2015-09-15T22:00:00Z"))
    assert_covers(got, at("2015-09-14T18:00:00Z"), at("2015-09-15T22:00:00Z"))
    assert got.hours == 28


@pytest.mark.parametrize("now", ["22:00:00.001", "22:00:01", "22:59:59", "22:59:59.999"])
def test_28_hours_hold_29_buckets_off_the_hour(now):
    got = last_28_hours(at(f"2015-09-15T{now}+00:00"))
    assert_covers(got, at("2015-09-14T18:00:00Z"), at("2015-09-15T23:00:00Z"))


def test_28_hours_ignore_dates():
    got = last_28_hours(NOW, start="rubbish", end="2099-01-01")
    assert got == last_28_hours(NOW)


def test_28_hours_across_a_leap_day():
    got = last_28_hours(at("2016-03-01T02:30:00Z"))
    assert_covers(got, at("2016-02-28T22:00:00Z"), at("2016-03-01T03:00:00Z"))


@QUICK
@given(st.datetimes(datetime(2010, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_28_hours_are_rounded_outward_at_any_time(now):
    assert_covers(last_28_hours(now), hour(now - 28 * HOUR), next_hour(now))


# --- /historical, neither date -------------------------------------------------------------------


def test_the_previous_four_weeks_are_those_of_the_captured_answer():
    got = window(now=NOW)
    assert (got.start, got.end) == ("2016-01-12T20:00:00Z", "2016-02-09T19:43:00Z")
    assert (got.start_hour, got.end_hour) == (
        bucket(at("2016-01-12T20:00:00Z")),
        bucket(at("2016-02-09T20:00:00Z")),
    )
    assert got.hours == 672


def test_the_previous_four_weeks_exactly_on_the_hour():
    assert_covers(
        window(now=at("2016-02-09T19:00:00Z")),
        at("2016-01-12T19:00:00Z"),
        at("2016-02-09T19:00:00Z"),
    )


def test_a_defaulted_end_is_shown_to_the_second():
    got = window(now=at("2016-02-09T19:43:21.987+00:00"))
    assert (got.start, got.end) == ("2016-01-12T20:00:00Z", "2016-02-09T19:43:21Z")


@QUICK
@given(st.datetimes(datetime(2016, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_the_previous_four_weeks_at_any_time(now):
    got = window(now=now)
    assert got.start == show(next_hour(now) - FOUR_WEEKS)
    assert got.end == show(now)
    assert got.end_hour == bucket(next_hour(now))
    assert got.hours == 672


def test_the_previous_four_weeks_begin_no_earlier_than_the_oldest_start():
    got = window(now=at("2014-09-05T10:15:00Z"))
    assert (got.start, got.end) == ("2014-09-01T00:00:00Z", "2014-09-05T10:15:00Z")
    assert got.hours == 4 * 24 + 11


# --- /historical, both dates ---------------------------------------------------------------------


def test_given_dates_are_rounded_outward():
    """The documented example: 12:24 to 08:37 becomes 12:00 to 09:00."""
    assert_covers(
        window("2015-07-01T12:24:00Z", "2015-07-10T08:37:00Z"),
        at("2015-07-01T12:00:00Z"),
        at("2015-07-10T09:00:00Z"),
    )


def test_dates_on_the_hour_are_not_rounded():
    assert_covers(
        window("2015-07-01T12:00:00Z", "2015-07-10T08:00:00Z"),
        at("2015-07-01T12:00:00Z"),
        at("2015-07-10T08:00:00Z"),
    )


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        ("12:00:00", "12:00:01", ("12", "13")),
        ("12:59:59", "13:00:00", ("12", "13")),
        ("12:00:00.000001", "12:59:59.999999", ("12", "13")),
        ("12:59:59.999", "13:00:00.001", ("12", "14")),
    ],
)
def test_an_end_within_an_hour_includes_the_whole_hour(start, end, shown):
    assert_covers(
        window(f"2015-07-01T{start}Z", f"2015-07-01T{end}Z"),
        at(f"2015-07-01T{shown[0]}:00:00Z"),
        at(f"2015-07-01T{shown[1]}:00:00Z"),
    )


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        ("11:59:59.9999999", "13:00:00", ("11", "13")),
        ("11:59:59.999999999", "13:00:00", ("11", "13")),
        ("12:00:00", "13:00:00.0000001", ("12", "14")),
        ("12:00:00", "13:00:00.000000001", ("12", "14")),
    ],
)
def test_the_finest_fraction_still_rounds_outward(start, end, shown):
    assert_covers(
        window(f"2015-07-01T{start}Z", f"2015-07-01T{end}Z"),
        at(f"2015-07-01T{shown[0]}:00:00Z"),
        at(f"2015-07-01T{shown[1]}:00:00Z"),
    )


def test_bare_dates_are_midnights():
    assert_covers(
        window("2015-08-01", "2015-08-15"), at("2015-08-01T00:00:00Z"), at("2015-08-15T00:00:00Z")
    )


def test_offsets_are_converted_to_utc_before_rounding():
    assert_covers(
        window("2015-07-01T12:00:00+05:30", "2015-07-01T22:10:00-08:00"),
        at("2015-07-01T06:00:00Z"),
        at("2015-07-02T07:00:00Z"),
    )


@pytest.mark.parametrize("start", ["2015-07-01T00:00:00Z", "2015-07-01"])
def test_28_days_exactly_are_served(start):
    got = window(start, "2015-07-29T00:00:00Z")
    assert_covers(got, at("2015-07-01T00:00:00Z"), at("2015-07-29T00:00:00Z"))
    assert got.hours == 672


def test_28_days_are_measured_before_rounding():
    got = window("2015-07-01T12:24:00Z", "2015-07-29T12:24:00Z")
    assert_covers(got, at("2015-07-01T12:00:00Z"), at("2015-07-29T13:00:00Z"))
    assert got.hours == 673


@cases(
    "dates",
    [
        ("2015-07-01T12:24:00Z", "2015-07-29T12:24:01Z"),
        ("2015-07-01T00:00:00Z", "2015-07-29T00:00:01Z"),
        ("2015-07-01T00:00:00Z", "2015-07-29T00:00:00.001Z"),
        ("2015-07-01T23:59:59Z", "2015-07-30"),
        ("2014-09-01", "2016-01-01"),
    ],
)
def test_more_than_28_days_are_refused(dates):
    assert "28 days" in refusal(*dates)


@cases(
    "dates",
    [
        ("2015-07-01", "2015-07-01"),
        ("2015-07-01T12:30:00Z", "2015-07-01T12:30:00Z"),
        ("2015-07-01T12:30:01Z", "2015-07-01T12:30:00Z"),
        ("2015-07-02", "2015-07-01"),
        ("2015-07-01T12:00:00Z", "2015-07-01T13:00:00+01:00"),
    ],
)
def test_a_start_at_or_after_the_end_is_refused(dates):
    assert refusal(*dates) == "start: must lie before end"


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [("2016-02-28", "2016-03-01", 48), ("2015-02-28", "2015-03-01", 24)],
)
def test_a_leap_day_is_a_day_like_any_other(start, end, hours):
    assert window(start, end, now=LATER).hours == hours


def test_28_days_over_a_leap_day():
    assert window("2016-02-02", "2016-03-01", now=LATER).hours == 672
    assert "28 days" in refusal("2016-02-02", "2016-03-01T00:00:01Z", now=LATER)


def test_a_leap_day_that_does_not_exist_is_refused():
    assert refusal("2015-02-29", "2015-03-05").startswith("start: ")


# --- /historical, ends ahead of now --------------------------------------------------------------


@cases(
    ("now", "latest"),
    [
        ("10:15:00", "11:00:00"),  # the current hour
        ("10:54:59", "11:00:00"),
        ("10:55:00", "11:00:00"),
        ("10:55:01", "12:00:00"),  # a client that is five minutes ahead and rounds its own time
        ("10:58:00", "12:00:00"),
        ("10:00:00", "11:00:00"),
    ],
)
def test_an_end_may_be_the_rounded_hour_or_some_minutes_ahead(now, latest):
    now, latest = at(f"2026-11-22T{now}Z"), at(f"2026-11-22T{latest}Z")
    got = window("2026-11-20", show(latest), now=now)
    assert_covers(got, at("2026-11-20T00:00:00Z"), next_hour(latest))
    late = show(latest + timedelta(seconds=1))
    assert refusal("2026-11-20", late, now=now) == "end: lies in the future"
    assert refusal(None, late, now=now) == "end: lies in the future"


@pytest.mark.parametrize("end", ["2026-11-23", "2026-12-01", "9999-12-31T23:59:59Z"])
def test_a_future_end_is_refused(end):
    assert refusal("2026-11-20", end, now=LATER) == "end: lies in the future"


# --- /historical, the oldest start ---------------------------------------------------------------


def test_the_oldest_start_is_served():
    assert_covers(
        window("2014-09-01", "2014-09-02"), at("2014-09-01T00:00:00Z"), at("2014-09-02T00:00:00Z")
    )


@pytest.mark.parametrize("start", ["2014-08-31T23:59:59Z", "2014-08-31", "1970-01-01"])
def test_an_earlier_start_is_refused(start):
    assert refusal(start, "2014-09-02", floor=FLOOR).startswith("start: ")


def test_the_refusal_names_the_oldest_start():
    assert "2014-09-01T00:00:00Z" in refusal("2014-08-31T23:59:59Z", "2014-09-02")


def test_the_oldest_start_can_be_set():
    floor = at("2026-11-01T00:00:00Z")
    assert window("2026-11-01", "2026-11-02", now=LATER, floor=floor).hours == 24
    refused = refusal("2026-10-31T23:59:59Z", "2026-11-02", now=LATER, floor=floor)
    assert "2026-11-01T00:00:00Z" in refused


# --- /historical, one date -----------------------------------------------------------------------


def test_without_end_the_window_lasts_until_now():
    got = window("2016-02-01T12:24:00Z", now=NOW)
    assert got.start == "2016-02-01T12:00:00Z"
    assert (got.start_hour, got.end_hour) == (
        bucket(at("2016-02-01T12:00:00Z")),
        bucket(at("2016-02-09T20:00:00Z")),
    )


def test_without_end_28_days_back_are_served_to_the_second():
    assert window("2016-01-12T19:43:00Z", now=NOW).start == "2016-01-12T19:00:00Z"
    assert "28 days" in refusal("2016-01-12T19:42:59Z", now=NOW)


@pytest.mark.parametrize("start", ["2016-02-09T19:43:00Z", "2016-02-09T19:43:01Z", "2016-03-01"])
def test_without_end_a_start_at_or_after_now_is_refused(start):
    assert refusal(start, now=NOW) == "start: must lie before end"


def test_without_start_the_window_begins_28_days_before_the_end():
    assert_covers(
        window(end="2015-07-29T08:00:00Z"), at("2015-07-01T08:00:00Z"), at("2015-07-29T08:00:00Z")
    )
    assert_covers(
        window(end="2015-07-29T08:37:00Z"), at("2015-07-01T08:00:00Z"), at("2015-07-29T09:00:00Z")
    )


def test_without_start_an_end_at_the_oldest_start_is_refused():
    assert refusal(end="2014-09-01").startswith("start: ")


# --- /historical, unreadable dates ---------------------------------------------------------------

UNREADABLE = ["", "yesterday", "201507011224", "2015-07-01T12:24:00", "2015-13-01", "2015-02-29"]


@cases("text", UNREADABLE)
def test_an_unreadable_date_is_refused_with_its_field_name(text):
    assert refusal(text, "2015-07-05").startswith("start: is not a time")
    assert refusal("2015-07-01", text).startswith("end: is not a time")
    assert refusal(text).startswith("start: is not a time")
    assert refusal(None, text).startswith("end: is not a time")


# --- /historical, any dates ----------------------------------------------------------------------

_MOMENTS = st.datetimes(datetime(2014, 9, 1), datetime(2026, 11, 22), timezones=st.just(UTC))  # noqa: DTZ001


@QUICK
@given(_MOMENTS, st.timedeltas(timedelta(seconds=1), FOUR_WEEKS))
def test_any_legal_dates_are_rounded_outward(start, length):
    start = start.replace(microsecond=0)
    end = (start + length).replace(microsecond=0)
    now = datetime(2027, 1, 1, tzinfo=UTC)
    if end > start:
        got = window(show(start), show(end), now=now)
        assert_covers(got, hour(start), next_hour(end))
