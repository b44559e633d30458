"""Time windows that move with the clock (api.md 1.3), checked by the answer's own bounds.

An hour may end during a test, so the times before and after a request are both acceptable.
"""

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from support.calls import question, sign_as_user
from support.world import DAY_S, HOUR_S, RECENT, recent_count, show_time

CLICKS = ("url_clicks",)
FOUR_WEEKS_S = 28 * DAY_S
BY_HOUR = {"g": {"group_by": ["engagement.day", "engagement.hour"]}}


def seconds(text):
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


def floor_hour(time_s):
    return int(time_s // HOUR_S) * HOUR_S


def ceil_hour(time_s):
    return -int(-time_s // HOUR_S) * HOUR_S


def expected_hours(start_s, end_s, seeded_hour):
    """Return the counts of RECENT by day and hour."""
    days = {}
    for hour in range(start_s // HOUR_S, end_s // HOUR_S):
        moment = datetime.fromtimestamp(hour * HOUR_S, UTC)
        count = recent_count(hour) if hour <= seeded_hour else 0
        days.setdefault(f"{moment:%Y-%m-%d}", {})[f"{moment:%H}"] = str(count)
    return days


@pytest.fixture
def ask(server):
    """Query RECENT; return the answer with the times before and after it."""

    def send(endpoint, **fields):
        body = question(RECENT, types=CLICKS, **fields)
        before = time.time()
        answer = server.client.ask(endpoint, body, sign_as_user(server.world.main))
        return answer, before, time.time()

    return send


def test_28hr_covers_28_hours_ago_to_the_next_full_hour(ask, world):
    answer, before, after = ask("28hr", groupings=BY_HOUR)
    found = answer.json()
    bounds = (found["start"], found["end"])
    assert bounds in {
        (show_time(floor_hour(now - 28 * HOUR_S)), show_time(ceil_hour(now)))
        for now in (before, after)
    }
    start_s, end_s = map(seconds, bounds)
    assert (end_s - start_s) // HOUR_S in {28, 29}
    assert found["g"] == expected_hours(start_s, end_s, world.seeded_hour)


def test_28hr_ignores_dates(ask):
    answer, *_ = ask("28hr", start="1999-01-01", end=["x"])
    assert answer.status == 200
    assert seconds(answer.json()["end"]) > time.time() - HOUR_S


def test_historical_without_dates_covers_four_weeks_and_its_end_is_not_rounded(ask, world):
    answer, before, after = ask("historical", groupings=BY_HOUR)
    found = answer.json()
    start_s, end_s = seconds(found["start"]), seconds(found["end"])
    assert start_s in {ceil_hour(now) - FOUR_WEEKS_S for now in (before, after)}
    assert int(before) <= end_s <= after
    assert found["g"] == expected_hours(start_s, ceil_hour(end_s), world.seeded_hour)


def test_historical_with_only_a_start_ends_now(ask, world):
    start = show_time(time.time() - 3 * DAY_S)
    answer, before, after = ask("historical", start=start, groupings=BY_HOUR)
    found = answer.json()
    assert found["start"] == show_time(floor_hour(seconds(start)))
    end_s = seconds(found["end"])
    possible = {ceil_hour(now) for now in (before, after)}
    assert end_s in possible or int(before) <= end_s <= after
    start_s = floor_hour(seconds(start))
    assert found["g"] == expected_hours(start_s, ceil_hour(end_s), world.seeded_hour)


def test_historical_accepts_exactly_28_days_up_to_now(ask):
    now = time.time()
    answer, *_ = ask("historical", start=show_time(now - FOUR_WEEKS_S), end=show_time(now))
    assert answer.status == 200, answer


@pytest.mark.parametrize("ahead_s", [0, 1, 60, 240])
def test_an_end_slightly_in_the_future_is_accepted(ask, ahead_s):
    now = time.time()
    end = show_time(now + ahead_s)
    answer, *_ = ask("historical", start=show_time(now - DAY_S), end=end)
    assert answer.status == 200, answer
    assert answer.json()["end"] == show_time(ceil_hour(seconds(end)))


def test_an_end_at_the_next_full_hour_is_accepted(ask):
    now = time.time()
    answer, *_ = ask("historical", start=show_time(now - DAY_S), end=show_time(ceil_hour(now)))
    assert answer.status == 200, answer


def test_an_end_two_hours_ahead_is_refused(ask):
    now = time.time()
    answer, *_ = ask("historical", start=show_time(now), end=show_time(now + 2 * HOUR_S))
    assert answer.status == 400, answer
    assert answer.json()["errors"][0].startswith(("end: ", "start: "))


@pytest.mark.parametrize("endpoint", ["28hr", "historical"])
def test_hour_of_day_sums_the_days(ask, endpoint):
    groupings = {
        "both": {"group_by": ["engagement.day", "engagement.hour"]},
        "hour": {"group_by": ["engagement.hour"]},
        "day": {"group_by": ["engagement.day"]},
    }
    found = ask(endpoint, groupings=groupings)[0].json()
    by_hour = {}
    for hours in found["both"].values():
        for hour, count in hours.items():
            by_hour[hour] = by_hour.get(hour, 0) + int(count)
    assert found["hour"] == {hour: str(by_hour[hour]) for hour in sorted(by_hour)}
    assert list(found["hour"]) == [f"{hour:02}" for hour in range(24)]
    assert found["day"] == {
        day: str(sum(map(int, hours.values()))) for day, hours in found["both"].items()
    }
    days = [datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) for day in found["day"]]
    assert all(later - day == timedelta(days=1) for day, later in pairwise(days))
