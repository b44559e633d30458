"""The zone of a page, and periods in a zone."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

from openengagement.engagement.types import HOUR_S, TYPE_NAMES
from openengagement.portal.bar_charts import draw_bars
from openengagement.portal.overview_figures import make_bars, make_heat
from openengagement.portal.periods import read_period, week_hours
from openengagement.portal.zones import UTC_ZONE, Zone, describe_other, read_zone
from support.cases import cases

NOW = datetime(2026, 11, 3, 12, 20, tzinfo=UTC)
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]


def zone_of(name):
    return read_zone({}, {"zone": name})


def period(zone, now=NOW, **given):
    return read_period(given, now_s=now.timestamp(), floor_s=0, zone=zone_of(zone))


@cases(
    ("query", "cookies", "name", "chosen", "local"),
    [
        ({}, {}, "UTC", False, ""),
        ({}, {"zone": "Asia/Kolkata"}, "Asia/Kolkata", False, ""),
        ({"zone": "UTC"}, {"zone": "Asia/Kolkata"}, "UTC", True, "Asia/Kolkata"),
        ({"zone": "UTC"}, {"zone": "UTC"}, "UTC", True, ""),
        ({"zone": "UTC"}, {}, "UTC", True, ""),
        ({"zone": "Europe/Berlin"}, {}, "Europe/Berlin", True, ""),
        ({"zone": "Nowhere/At_All"}, {"zone": "Asia/Kolkata"}, "Asia/Kolkata", False, ""),
        *(
            ({"zone": text}, {"zone": text}, "UTC", False, "")
            for text in ("", "../../etc/passwd", "/etc/passwd", "Europe", "a\x00b", "x" * 5000)
        ),
    ],
)
def test_the_zone_of_a_page(query, cookies, name, chosen, local):
    found = read_zone(query, cookies)
    assert (found.name, found.chosen, found.local) == (name, chosen, local)


def test_the_other_zone():
    kolkata = zone_of("Asia/Kolkata")
    view = {"metric": "replies"}
    other = describe_other(kolkata, view, path="/overview")
    assert other == {"label": "UTC", "href": "/overview?metric=replies&zone=UTC"}
    chosen = read_zone({"zone": "UTC"}, {"zone": "Asia/Kolkata"})
    other = describe_other(chosen, view | {"zone": "UTC"}, path="/overview")
    assert other == {"label": "Your time", "href": "/overview?metric=replies"}
    assert describe_other(UTC_ZONE, view, path="/overview") is None


@cases("zone", ZONES)
@cases("name", ["7d", "28d", "90d"])
def test_days_begin_at_local_midnight(zone, name):
    """The clocks of three of these zones change within 28 days before NOW."""
    found = period(zone, period=name)
    for hour in found.edges:
        moment = found.zone.at(hour * HOUR_S)
        assert (moment.hour, moment.minute) in {
            (0, 0),
            (0, 30),
            *((at, 0) for at in (6, 12, 18)),
        } | ({(at, 30) for at in (6, 12, 18)})
    assert found.edges[0] == found.start_hour
    assert found.edges[-1] == found.start_hour + found.full_hours
    bars = (len(found.edges) - 1) / (4 if name == "7d" else 1)
    assert bars == int(name[:-1])
    assert {b - a for a, b in pairwise(found.edges)} <= {5, 6, 7, 23, 24, 25}
    assert found.end_hour * HOUR_S >= NOW.timestamp() > (found.end_hour - 1) * HOUR_S


def test_tomorrow_is_today_where_it_has_not_begun():
    """A link to the same period in another zone may name it."""
    evening = datetime(2026, 11, 4, 2, tzinfo=UTC)  # 3 November in New York
    for first, kept in (("2026-11-01", "2026-11-01"), ("2026-11-04", "2026-11-03")):
        days = {"period": "custom", "first": first, "last": "2026-11-04"}
        found = period("America/New_York", evening, **days)
        assert (found.faults, found.running) == ({}, True)
        assert (found.first, found.last) == (kept, "2026-11-03")


def test_days_of_23_and_25_hours():
    now = datetime(2026, 11, 3, 12, tzinfo=UTC)
    found = period("America/New_York", now, period="7d")
    assert found.full_hours == 7 * 24 + 1
    day = {"period": "custom", "first": "2026-11-01", "last": "2026-11-01"}
    assert len(period("America/New_York", now, **day).edges) == 26
    day |= {"first": "2026-03-08", "last": "2026-03-08"}
    assert len(period("America/New_York", now, **day).edges) == 24


@cases("zone", ZONES)
def test_bars_add_up(zone):
    found = period(zone, period="28d")
    now = np.ones((found.end_hour - found.start_hour, len(TYPE_NAMES)), np.int64)
    bars = make_bars("replies", found, now=now, before=now)
    assert sum(bar.value for bar in bars) == len(now)
    assert len(draw_bars(bars, found, is_rate=False).columns) == 28


def test_labels_are_local():
    bars = _bars("Europe/Berlin", period="28h")
    assert bars[-1].label == "3 Nov, 13:00"
    assert _bars("Asia/Kolkata", period="7d")[0].label == "28 Oct, 00:30 to 06:30"
    assert _bars("Asia/Kolkata", period="28d")[-1].label == "3 Nov 2026"
    assert _bars("UTC", period="28h")[-1].label == "3 Nov, 12:00 UTC"


def _bars(zone, **given):
    found = period(zone, **given)
    now = np.ones((found.end_hour - found.start_hour, len(TYPE_NAMES)), np.int64)
    return make_bars("replies", found, now=now, before=None)


@cases("zone", ZONES)
def test_hours_of_the_week_are_local(zone):
    start = int(NOW.timestamp()) // HOUR_S - 400
    rules = ZoneInfo(zone)
    expected = [
        moment.weekday() * 24 + moment.hour
        for hour in range(start, start + 400)
        for moment in [datetime.fromtimestamp(hour * HOUR_S, rules)]
    ]
    assert week_hours(start, start + 400, zone=Zone(zone, rules)) == expected


def test_the_best_hour_is_local():
    found = period("Asia/Kolkata", period="28d")
    now = np.ones((found.end_hour - found.start_hour, len(TYPE_NAMES)), np.int64)
    peak = datetime(2026, 11, 2, 8, tzinfo=UTC)  # Monday 13:30 in Kolkata
    now[int(peak.timestamp()) // HOUR_S - found.start_hour] = 900
    heat = make_heat(found, now)
    assert heat.best == "Mon 13:30 to 14:30"
    assert heat.levels[0][13] == 6


def test_a_day_whose_first_hour_has_not_begun_is_not_empty():
    now = datetime(2026, 11, 3, 18, 30, tzinfo=UTC) + timedelta(minutes=5)  # 00:05 in Kolkata
    today = period("Asia/Kolkata", now, period="custom", first="2026-11-04", last="2026-11-04")
    assert today.end_hour > today.start_hour


def test_the_first_day_of_all_is_served():
    zone = zone_of("Asia/Kolkata")
    floor_s = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp())
    given = {"period": "custom", "first": "2026-10-01", "last": "2026-10-05"}
    refused = read_period(given, now_s=NOW.timestamp(), floor_s=floor_s, zone=zone)
    assert refused.faults["first"] == "Choose a day from 2 Oct 2026 to today."
    given["first"] = "2026-10-02"
    served = read_period(given, now_s=NOW.timestamp(), floor_s=floor_s, zone=zone)
    assert not served.faults
    assert served.start_hour * HOUR_S >= floor_s
