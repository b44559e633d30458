"""Endpoints, engagement types, ids, times and hour buckets."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openengagement.engagement import types
from openengagement.engagement.types import (
    ID_MAX,
    Dimension,
    Endpoint,
    ceil_hour,
    format_time,
    hour_of,
    parse_id,
    parse_plain_ids,
    parse_time,
    snowflake,
)
from support.cases import cases

# No deadline: a busy machine may be slow.
QUICK = settings(deadline=None, max_examples=40)

# api.md 2.1, copied by hand.
NAMES = {
    "impressions", "engagements", "favorites", "retweets", "replies", "quote_tweets",
    "video_views", "media_views", "media_engagements", "url_clicks", "hashtag_clicks",
    "detail_expands", "permalink_clicks", "app_install_attempts", "app_opens", "email_tweet",
    "user_follows", "user_profile_clicks",
}  # fmt: skip
PUBLIC = {"favorites", "retweets", "replies", "quote_tweets", "video_views"}
LAST_SECOND_S = 253_402_300_799  # 9999-12-31T23:59:59Z


def test_the_three_endpoints_are_named_as_on_the_wire():
    assert {each.value for each in Endpoint} == {"totals", "28hr", "historical"}
    assert {each.value for each in Endpoint if each.timed} == {"28hr", "historical"}


def test_the_four_dimensions_are_named_as_on_the_wire():
    assert {each.value for each in Dimension} == {
        "tweet.id", "engagement.type", "engagement.day", "engagement.hour"
    }  # fmt: skip


def test_the_engagement_types_are_the_eighteen_of_the_contract():
    assert set(types.TYPE_NAMES) == NAMES
    assert len(types.TYPE_NAMES) == 18


def test_the_public_types_are_the_five_of_the_contract():
    assert {each.name for each in types.ENGAGEMENT_TYPES if each.public} == PUBLIC


def test_impressions_and_views_do_not_roll_up():
    kept_out = {each.name for each in types.ENGAGEMENT_TYPES if not each.rolls_up}
    assert kept_out == {"impressions", "video_views", "media_views", "engagements"}


def test_an_event_is_any_type_but_the_derived_one_or_an_other_engagement():
    assert set(types.EVENT_TYPES) == NAMES - {"engagements"} | {"other_engagements"}
    assert len(types.EVENT_TYPES) == 18


@QUICK
@given(st.integers(1, ID_MAX))
def test_an_id_is_the_same_as_a_number_and_as_digits(value):
    assert parse_id(value) == parse_id(str(value)) == value


@pytest.mark.parametrize("value", [1, 2**63 - 1, "1", "9223372036854775807"])
def test_the_smallest_and_the_largest_id_are_accepted(value):
    assert parse_id(value) == int(value)


@cases(
    "value",
    [
        0, -1, 2**63, 2**64, 10**400,
        "0", "000", "-1", "+1", "", " ", " 1", "1 ", "1\n", "1.0", "1e3", "0x1f", "1_000", "abc",
        "9223372036854775808", "18446744073709551616", "9" * 10_000,
        "١٢٣", "１２３", "²", "12\x00",  # noqa: RUF001 - digits, but not ASCII ones
    ],
)  # fmt: skip
def test_other_values_are_not_ids(value):
    with pytest.raises(ValueError, match="decimal number"):
        parse_id(value)


@QUICK
@given(st.text().filter(lambda text: not re.fullmatch("[0-9]+", text)))
def test_no_other_text_is_an_id(text):
    with pytest.raises(ValueError, match="decimal number"):
        parse_id(text)


@QUICK
@given(st.integers(-(10**9), LAST_SECOND_S))
def test_a_whole_second_survives_formatting_and_parsing(time_s):
    assert parse_time(format_time(time_s)) == time_s


@QUICK
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1)),  # noqa: DTZ001 - the offset is a parameter of its own
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_an_offset_is_subtracted(moment, offset_minutes):
    zone = timezone(timedelta(minutes=offset_minutes))
    aware = moment.replace(microsecond=0, tzinfo=zone)
    text = aware.isoformat().removesuffix("+00:00")
    text += "" if re.search(r"[+-]\d\d:\d\d$", text) else "Z"
    assert parse_time(text) == aware.timestamp()
    assert parse_time(re.sub(r"([+-]\d\d):(\d\d)$", r"\1\2", text)) == aware.timestamp()


@QUICK
@given(st.integers(0, 4_000_000_000), st.integers(0, 999_999))
def test_a_fraction_is_exact_to_the_microsecond(time_s, micros):
    text = format_time(time_s).replace("Z", f".{micros:06}Z")
    assert parse_time(text) == pytest.approx(time_s + micros / 1e6, abs=5e-7, rel=0)


@QUICK
@given(st.dates(datetime(1970, 1, 1).date(), datetime(9999, 12, 31).date()))  # noqa: DTZ001
def test_a_bare_date_is_its_midnight_utc(day):
    assert parse_time(day.isoformat()) == parse_time(f"{day.isoformat()}T00:00:00Z")


@cases(
    ("text", "seconds"),
    [
        ("1970-01-01", 0),
        ("2015-07-01T12:24:00Z", 1_435_753_440),
        ("2015-07-01T12:24:00.5Z", 1_435_753_440.5),
        ("2015-07-01T12:24:00+05:30", 1_435_753_440 - 19_800),
        ("2015-07-01T12:24:00+0530", 1_435_753_440 - 19_800),
        ("2015-07-01T20:24:00-08:00", 1_435_753_440 + 57_600),
        ("2015-07-01T12:24:00-00:00", 1_435_753_440),
        ("2016-02-29", 1_456_704_000),
        ("2000-02-29T23:59:59Z", 951_868_799),
    ],
)
def test_times_are_parsed(text, seconds):
    assert parse_time(text) == seconds


@cases(
    "text",
    [
        "", "now", "201507011224", "20150701", "2015-7-1", "2015-07", "2015/07/01", "15-07-01",
        "2015-07-01Z", "2015-07-01T12:24Z", "2015-07-01T12:24:00", "2015-07-01 12:24:00Z",
        "2015-07-01T12:24:00.Z", "2015-07-01T12:24:00.5", "2015-07-01T12:24:00 Z",
        "2015-07-01T12:24:00Zulu", " 2015-07-01", "2015-07-01\n", "1435753440", "+2015-07-01",
        "2015-07-01T12:24:00+5", "２０１５-07-01", "Wed Jul 01 12:24:00 +0000 2015",  # noqa: RUF001
    ],
)  # fmt: skip
def test_other_forms_of_time_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match="2015-07-01T12:24:00Z"):
        parse_time(text)


@cases(
    "text",
    [
        "2015-02-29", "1900-02-29", "2015-13-01", "2015-00-01", "2015-04-31", "2015-01-00",
        "0000-01-01", "2015-07-01T25:00:00Z", "2015-07-01T12:60:00Z", "2015-07-01T12:00:61Z",
        "2015-07-01T12:24:00+24:00", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00",
    ],
)  # fmt: skip
def test_times_that_do_not_exist_are_refused(text):
    with pytest.raises(ValueError, match="is not a time that exists"):
        parse_time(text)


@QUICK
@given(st.text(max_size=40))
def test_parsing_a_time_gives_a_number_or_a_value_error(text):
    try:
        assert isinstance(parse_time(text), int | float)
    except ValueError as error:
        assert str(error).startswith("is not a time")  # noqa: PT017 - both results are right


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_435_753_440.999, "2015-07-01T12:24:00Z"),
        (LAST_SECOND_S, "9999-12-31T23:59:59Z"),
    ],
)
def test_times_are_formatted_without_their_fraction(time_s, text):
    assert format_time(time_s) == text


@cases(
    ("time_s", "floor", "ceil"),
    [(0, 0, 0), (3599, 0, 1), (3599.999, 0, 1), (3600, 1, 1), (3600.001, 1, 2), (-1, -1, 0)],
)
def test_hours_round_down_and_up(time_s, floor, ceil):
    assert (hour_of(time_s), ceil_hour(time_s)) == (floor, ceil)


@QUICK
@given(st.integers(-(10**7), 10**7), st.floats(0, 3599.9))
def test_every_moment_of_an_hour_falls_into_its_bucket(hour, offset_s):
    time_s = hour * 3600 + offset_s
    assert hour_of(time_s) == hour
    assert ceil_hour(time_s) == hour + (time_s > hour * 3600)


def test_a_published_id_contains_its_time_of_creation():
    """Twitter's documentation shows this Tweet with created_at 2019-12-31T19:26:16.000Z."""
    created_s = datetime(2019, 12, 31, 19, 26, 16, tzinfo=UTC).timestamp()
    assert snowflake(created_s) <= 1_212_092_628_029_698_048 < snowflake(created_s + 1)


@QUICK
@given(st.integers(1_288_834_975, 3_400_000_000))
def test_a_snowflake_is_the_first_id_of_its_second(time_s):
    made = snowflake(time_s)
    assert (made >> 22) + 1_288_834_974_657 == time_s * 1000
    assert made & (2**22 - 1) == 0
    assert 0 < made <= ID_MAX


PLAIN = st.integers(1, ID_MAX).map(str)
ODD = st.sampled_from(
    ["", "0", "00", "-1", "+1", " 1", "1_0", "٣", "1.0", str(ID_MAX + 1), "9" * 20, 7]
)


@given(st.lists(PLAIN | ODD, min_size=1, max_size=5))
def test_many_ids_are_parsed_together(values):
    """The result is that of parsing them one by one, or None if one is invalid or not a string."""
    try:
        expected = tuple(dict.fromkeys(parse_id(value) for value in values))
    except ValueError:
        expected = None
    got = parse_plain_ids(values)
    assert got == expected or (got is None and 7 in values)
