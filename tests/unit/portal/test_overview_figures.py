"""The figures of the overview: changes, bars, best Tweets, best hours, and the chart's geometry."""

from datetime import UTC, datetime

import numpy as np
import pytest

from openengagement.engagement.types import TYPE_NAMES
from openengagement.portal.bar_charts import draw_bars, draw_spark
from openengagement.portal.overview_figures import (
    Change,
    describe_change,
    find_best,
    list_actions,
    make_bars,
    make_figures,
    make_heat,
    make_values,
)
from openengagement.portal.periods import read_period
from openengagement.portal.series import RATE
from support.cases import cases

NOW = datetime(2026, 11, 28, 17, 20, tzinfo=UTC)
NUMBER = {name: number for number, name in enumerate(TYPE_NAMES)}


def period(now=NOW, **given):
    return read_period(given, now_s=now.timestamp(), floor_s=0)


def hours_of(found, **counts):
    """Make `[hour, type]`; each count is a number for every hour, or a function of the hour."""
    hours = np.zeros((found.end_hour - found.start_hour, len(TYPE_NAMES)), np.int64)
    for name, count in counts.items():
        for hour in range(len(hours)):
            hours[hour, NUMBER[name]] = count(hour) if callable(count) else count
    return hours


@cases(
    ("value", "before", "direction", "text"),
    [
        (105, 100, "up", "5.0%"),
        (421_013, 441_309, "down", "4.6%"),
        (100, 100, "", "0.0%"),
        (100_001, 100_000, "", "0.0%"),
        (0, 100, "down", "100.0%"),
        (999, 100, "up", "899.0%"),
        (1000, 100, "up", "\N{MULTIPLICATION SIGN}10"),
        (1799, 100, "up", "\N{MULTIPLICATION SIGN}17"),
        (5, 0, "up", "new"),
        (0, 0, "", "—"),
        (5, None, "", "—"),
        (None, 5, "", "—"),
        (-5, 100, "", "—"),
        (5, -5, "", "—"),
        (0.0401, 0.0397, "up", "0.04 pt"),
        (0.0397, 0.0401, "down", "0.04 pt"),
        (0.04, 0.04, "", "0.00 pt"),
        (None, 0.04, "", "—"),
    ],
)
def test_changes(value, before, direction, text):
    assert describe_change(value, before) == Change(direction, text)


def test_figures_are_sums():
    found = period(period="7d")
    figures = make_figures(
        hours_of(found, impressions=100, engagements=4, favorites=2),
        hours_of(found, impressions=50, engagements=4),
    )
    hours = found.end_hour - found.start_hour
    assert figures["impressions"].value == 100 * hours
    assert figures["impressions"].before == 50 * hours
    assert figures[RATE].value == 0.04
    assert figures[RATE].before == 0.08
    assert figures["favorites"].change.text == "new"
    assert figures["user_follows"].change.text == "—"
    assert "quote_tweets" not in figures, "it has no hours"
    alone = make_figures(hours_of(found, impressions=1), None)
    assert alone["impressions"].before is None
    assert alone[RATE].before is None


@pytest.mark.parametrize("name", ["28h", "7d", "28d", "90d"])
def test_bars_add_up_to_the_total(name):
    found = period(period=name)
    now = hours_of(found, replies=lambda hour: hour % 7, impressions=1)
    bars = make_bars("replies", found, now=now, before=now)
    assert sum(bar.value for bar in bars) == now[:, NUMBER["replies"]].sum()
    assert [bar.before for bar in bars] == [bar.value for bar in bars]
    assert [bar.running for bar in bars] == [False] * (len(bars) - 1) + [True]
    assert bars[0].hour == found.start_hour
    assert make_bars("replies", found, now=now, before=None)[0].before is None


def test_bars_of_days_blocks_hours_and_weeks():
    now = hours_of(period(period="7d"), replies=1)
    blocks = make_bars("replies", period(period="7d"), now=now, before=None)
    assert blocks[-1].label == "28 Nov, 12:00 to 18:00 UTC"
    assert blocks[0].label == "22 Nov, 00:00 to 06:00 UTC"
    days = make_bars("replies", period(), now=hours_of(period(), replies=1), before=None)
    assert (days[0].label, days[0].value, days[-1].value) == ("1 Nov 2026", 24, 18)
    hourly = period(period="28h")
    hours = make_bars("replies", hourly, now=hours_of(hourly, replies=1), before=None)
    assert hours[-1].label == "28 Nov, 17:00 UTC"
    year = period(period="custom", first="2025-12-01", last="2026-11-28")
    weeks = make_bars("replies", year, now=hours_of(year, replies=1), before=None)
    assert (weeks[0].label, weeks[0].value) == ("1\u20137 Dec 2025", 168)
    assert weeks[-1].label == "23\u201328 Nov 2026"


def tweets_of(**counts):
    rows = len(next(iter(counts.values())))
    by_tweet = np.zeros((rows, len(TYPE_NAMES)), np.int64)
    for name, column in counts.items():
        by_tweet[:, NUMBER[name]] = column
    return by_tweet


def test_the_best_tweets_come_first_and_equal_ones_in_order():
    by_tweet = tweets_of(replies=[0, 5, 9, 5, -3], impressions=[10, 0, 100, 10, 10])
    by_tweet[:, NUMBER["engagements"]] = by_tweet[:, NUMBER["replies"]]
    assert find_best(by_tweet, "replies") == [2, 1, 3]
    assert find_best(by_tweet, RATE) == [3, 2], "without impressions there is no rate"
    assert find_best(by_tweet, "favorites") == []
    assert find_best(tweets_of(replies=list(range(1, 31))), "replies") == list(range(29, 21, -1))
    assert find_best(tweets_of(replies=[]), "replies") == []


def test_hours_of_the_week_are_averages_without_the_running_hour():
    found = period()
    monday_19 = [at for at in range(found.end_hour - found.start_hour) if (at + 24 * 6) % 168 == 19]
    now = hours_of(found, engagements=lambda hour: 50 if hour in monday_19 else 2)
    now[-1] = 10_000
    heat = make_heat(found, now)
    assert (heat.best, heat.best_value) == ("Mon 19:00 to 20:00", 50)
    assert heat.rows[0][18:21] == [2, 50, 2]
    assert heat.levels[0][18:21] == [1, 6, 1]
    assert max(max(row) for row in heat.rows) == 50


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({"period": "28h"}, {"engagements": 5}),
        ({}, {"engagements": 0}),
        ({}, {"engagements": lambda hour: int(hour % 168 < 23)}),
        ({"period": "custom", "first": "2026-11-01", "last": "2026-11-06"}, {"engagements": 5}),
    ],
)
def test_too_few_hours_have_no_heat_map(given, counts):
    found = period(**given)
    assert make_heat(found, hours_of(found, **counts)) is None


def test_a_week_is_enough_for_a_heat_map():
    found = period(period="custom", first="2026-11-01", last="2026-11-07")
    assert make_heat(found, hours_of(found, engagements=5)) is not None


def test_kinds_of_engagement_by_frequency():
    found = period()
    now = hours_of(found, engagements=10, favorites=6, replies=3, impressions=99, media_views=50)
    actions = list_actions(make_figures(now, None))
    shown = [(each.figure.name, each.share, each.length) for each in actions]
    assert shown == [("favorites", 0.6, 1), ("replies", 0.3, 0.5)]
    assert list_actions(make_figures(hours_of(found), None)) == []


def chart_of(metric="replies", before=None, **given):
    found = period(**given)
    now = hours_of(found, replies=lambda hour: hour % 11, impressions=100, engagements=4)
    bars = make_bars(metric, found, now=now, before=None if before is None else now * before)
    return draw_bars(bars, found, is_rate=metric == RATE)


@cases("name", ["28h", "7d", "28d", "90d"])
@cases("metric", ["replies", RATE, "favorites"])
def test_every_mark_is_inside_of_the_chart(name, metric):
    chart = chart_of(metric, before=3, period=name)
    for column in chart.columns:
        assert 0 <= column.left < column.middle < column.left + column.width <= 100
        assert 0 <= column.top <= 100
        assert column.top_before is None or 0 <= column.top_before <= 100
    assert all(0 <= place <= 100 for place, _ in chart.labels)
    assert 2 <= len(chart.labels) <= 6
    assert chart.is_empty == (metric == "favorites")
    assert chart.is_line == (metric == RATE)


@cases(
    ("most", "ticks"),
    [
        (0, ["1", "0"]),
        (1, ["1", "0"]),
        (3, ["3", "2", "1", "0"]),
        (7, ["8", "6", "4", "2", "0"]),
        (53_000, ["60K", "40K", "20K", "0"]),
        (2_400_000, ["3M", "2M", "1M", "0"]),
        (1999, ["2K", "1.5K", "1K", "500", "0"]),
    ],
)
def test_ticks_are_whole_numbers(most, ticks):
    found = period()
    now = hours_of(found)
    now[0, NUMBER["replies"]] = most
    bars = make_bars("replies", found, now=now, before=None)
    assert draw_bars(bars, found, is_rate=False).ticks == ticks


def test_rates_have_percent_on_their_axis():
    assert chart_of(RATE).ticks == ["4%", "3%", "2%", "1%", "0%"]


def test_the_period_before_is_a_mark_on_each_bar_or_a_line():
    assert chart_of(before=1).line_before == ""
    assert chart_of(before=1).columns[5].top_before == chart_of(before=1).columns[5].top
    assert chart_of(before=1, period="90d").line_before.startswith("M")
    assert chart_of().columns[5].top_before is None


def test_sparklines():
    found = period()
    ones = make_values("replies", found, hours=hours_of(found, replies=1))
    assert draw_spark(ones).startswith("M0.00 4.00L3.70 4.00")
    none = make_values("replies", found, hours=hours_of(found))
    assert draw_spark(none) == "M0 98H100"
    assert draw_spark([]) == "M0 98H100"
