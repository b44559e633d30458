"""Charts and the table of Tweets: the API requests behind them, and their figures."""

import csv
import io
from datetime import UTC, datetime

from openengagement.engagement.types import Endpoint, Tweet
from openengagement.portal import totals
from openengagement.portal.chart_figures import (
    Rank,
    build_request,
    chart_table,
    fit_zone,
    shape_chart,
)
from openengagement.portal.chart_views import describe_chart
from openengagement.portal.csv_files import write_csv
from openengagement.portal.series import (
    LABELS,
    RATE,
    TIMED_TYPES,
    TOTALS_TYPES,
    format_number,
    read_chart_query,
    sort_by_number,
)
from openengagement.portal.zones import UTC_ZONE, read_zone
from support.cases import cases

NOW_S = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


def chart_query(**given):
    return read_chart_query({"tweet_ids": "5,6", **given}.items())


def answer(chart, ranking, total, **more):
    window = {"start": "2026-11-20T22:00:00Z", "end": "2026-11-21T01:00:00Z"}
    return {**window, "chart": chart, "ranking": ranking, "total": total, **more}


# Requests.


def test_tweet_ids_are_read_once_from_any_form_of_list():
    pairs = [("tweet_ids", "5,6"), ("metric", "replies"), ("tweet_ids", "7"), ("tweet_ids", " 5,")]
    assert read_chart_query(pairs).tweet_ids == ("5", "6", "7")


def test_defaults_of_a_chart():
    query = chart_query()
    assert (query.metric, query.hourly, query.per_tweet, query.cumulative) == (
        "impressions",
        True,
        True,
        False,
    )
    assert query.endpoint is Endpoint.LAST_28_HOURS
    assert build_request(query, now_s=NOW_S) == {
        "tweet_ids": ["5", "6"],
        "engagement_types": ["impressions"],
        "groupings": {
            "chart": {
                "group_by": ["tweet.id", "engagement.type", "engagement.day", "engagement.hour"]
            },
            "ranking": {"group_by": ["tweet.id", "engagement.type"]},
            "total": {"group_by": ["engagement.type"]},
        },
    }


def test_one_line_by_day_for_all_tweets_together():
    query = chart_query(start="2026-11-01", end="2026-11-07", show="together", metric=RATE)
    request = build_request(query, now_s=NOW_S)
    assert query.endpoint is Endpoint.HISTORICAL
    assert request["engagement_types"] == ["engagements", "impressions"]
    assert request["groupings"]["chart"] == {"group_by": ["engagement.type", "engagement.day"]}
    assert (request["start"], request["end"]) == ("2026-11-01", "2026-11-08")


@cases(
    ("end", "sent"),
    [
        ("", None),
        ("2026-11-22", None),
        ("2026-11-21", "2026-11-22"),
        ("2026-02-28", "2026-03-01"),
        ("2026-11-23", None),  # it has begun in another zone
        ("2026-11-24", "2026-11-25"),
        ("9999-12-31", "9999-12-31"),
        ("2026-02-30", "2026-02-30"),
        ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
        ("soon", "soon"),
    ],
)
def test_the_last_day_is_part_of_the_chart(end, sent):
    """The API's `end` is exclusive. Today needs no `end`: the API ends at the present."""
    assert build_request(chart_query(end=end), now_s=NOW_S).get("end") == sent


def test_a_chart_without_dates_shows_the_last_28_hours_by_the_hour():
    assert chart_query(by="day").hourly
    assert not chart_query(start="2026-11-01").hourly
    assert chart_query(start="2026-11-01", by="hour").hourly


def test_the_url_of_a_chart_reads_back_as_the_same_chart():
    given = {"metric": "replies", "start": "2026-11-01", "end": "2026-11-02", "by": "hour"}
    query = chart_query(**given, show="together", cumulative="yes")
    assert read_chart_query(query.parameters().items()) == query
    assert "start" not in query.parameters(start="")


def test_every_metric_has_a_label():
    assert set(LABELS) == {*TIMED_TYPES, *TOTALS_TYPES, RATE}
    assert len(TIMED_TYPES) == 17
    assert "quote_tweets" not in TIMED_TYPES
    assert len(TOTALS_TYPES) == 7


# Figures from answers.

HOURLY = answer(
    {
        "5": {"replies": {"2026-11-20": {"22": "1", "23": "0"}, "2026-11-21": {"00": "-3"}}},
        "6": {"replies": {"2026-11-20": {"22": "4", "23": "5"}, "2026-11-21": {"00": "1200"}}},
    },
    {"5": {"replies": "-2"}, "6": {"replies": "1209"}},
    {"replies": "1207"},
)


def test_one_line_by_hour_for_each_tweet():
    chart = shape_chart(chart_query(metric="replies"), HOURLY)
    assert chart.columns == ["5", "6"]
    assert chart.times.labels == ["2026-11-20 22:00", "2026-11-20 23:00", "2026-11-21 00:00"]
    assert chart.times.starts_s == [1_795_212_000, 1_795_215_600, 1_795_219_200]
    assert chart.times.end_s == 1_795_222_800
    assert chart.rows == [(1, 4), (0, 5), (-3, 1200)]
    assert chart.ranking == [Rank("6", 1209), Rank("5", -2)]
    assert chart.total == 1207


def test_cumulative_charts_show_running_sums():
    chart = shape_chart(chart_query(metric="replies", cumulative="yes"), HOURLY)
    assert chart.rows == [(1, 4), (1, 9), (-2, 1209)]
    assert chart.ranking == [Rank("6", 1209), Rank("5", -2)], (
        "the sum of a window does not depend on the grouping"
    )


def test_a_rate_by_day():
    """A day without impressions has no rate. Cumulative rates are computed from the sums."""
    days = {
        "engagements": {"2026-11-20": "2", "2026-11-21": "1", "2026-11-22": "3"},
        "impressions": {"2026-11-20": "8", "2026-11-21": "0", "2026-11-22": "16"},
    }
    counts = {"engagements": "6", "impressions": "24"}
    response = answer(days, {"5": counts, "6": {"engagements": "0", "impressions": "0"}}, counts)
    given = {"metric": RATE, "show": "together", "start": "2026-11-20"}
    chart = shape_chart(chart_query(**given), response)
    assert chart.columns == ["All 2 Tweets together"]
    assert chart.times.labels == ["2026-11-20", "2026-11-21", "2026-11-22"]
    assert chart.times.starts_s == [1_795_132_800, 1_795_219_200, 1_795_305_600]
    assert chart.times.end_s == 1_795_392_000
    assert chart.rows == [(0.25,), (None,), (0.1875,)]
    assert chart.total == 0.25
    assert chart.ranking == [Rank("5", 0.25), Rank("6", None)]
    chart = shape_chart(chart_query(**given, cumulative="yes"), response)
    assert chart.rows == [(0.25,), (0.375,), (0.25,)]


def test_a_tweet_too_old_for_video_views_has_no_figures():
    days = {"2026-11-20": "0"}
    response = answer(
        {"5": {"video_views": days}, "6": {"video_views": {"2026-11-20": "7"}}},
        {"5": {"video_views": "0"}, "6": {"video_views": "7"}},
        {"video_views": "7"},
        unsupported_for_video_views_tweet_ids=["5"],
        unavailable_tweet_ids=["9"],
        errors=["Forbidden to access tweets: 8"],
    )
    query = chart_query(metric="video_views", start="2026-11-20", tweet_ids="5,6,8,9")
    chart = shape_chart(query, response)
    assert chart.rows == [(None, 7)]
    assert chart.ranking == [Rank("6", 7), Rank("5", None)]
    assert (chart.too_old, chart.unavailable, chart.foreign) == (["5"], ["9"], ["8"])


def test_the_line_of_a_single_tweet_is_named_by_its_id():
    response = answer({"replies": {"2026-11-20": "3"}}, {"5": {"replies": "3"}}, {"replies": "3"})
    given = {"metric": "replies", "show": "together", "start": "2026-11-20"}
    assert shape_chart(chart_query(**given), response).columns == ["5"]


@cases(
    ("value", "shown"),
    [(0, "0"), (-1234, "-1,234"), (1_234_567, "1,234,567"), (0.0421, "4.21%"), (None, "—")],
)
def test_numbers_are_formatted_for_people(value, shown):
    assert format_number(value) == shown


def test_missing_numbers_come_last_in_both_directions():
    keys = [None, 2, 3, 2]
    assert sort_by_number("abcd", keys) == ["c", "b", "d", "a"]
    assert sort_by_number("abcd", keys, ascending=True) == ["b", "d", "c", "a"]


# Days of the reader's zone.


def zone_of(name):
    return read_zone({}, {"zone": name})


@cases(
    ("zone", "start", "end"),
    [
        ("UTC", "2026-11-01", "2026-11-08"),
        ("Europe/Berlin", "2026-10-31T23:00:00Z", "2026-11-07T23:00:00Z"),
        ("Asia/Kolkata", "2026-10-31T19:00:00Z", "2026-11-07T19:00:00Z"),  # whole hours of UTC
        ("America/New_York", "2026-11-01T04:00:00Z", "2026-11-08T05:00:00Z"),
    ],
)
def test_the_window_is_that_of_the_readers_days(zone, start, end):
    query = chart_query(start="2026-11-01", end="2026-11-07")
    request = build_request(query, now_s=NOW_S, zone=zone_of(zone))
    assert (request["start"], request["end"]) == (start, end)
    by_hour = "engagement.hour" in request["groupings"]["chart"]["group_by"]
    assert by_hour is (zone != "UTC")


def test_a_chart_of_tomorrow_alone_is_one_of_today():
    """A link to the same day in another zone may name it."""
    query = chart_query(start="2026-11-23", end="2026-11-23")
    request = build_request(query, now_s=NOW_S, zone=zone_of("America/New_York"))
    assert (request["start"], request.get("end")) == ("2026-11-22T05:00:00Z", None)


def test_a_chart_of_a_day_whose_first_hour_has_not_begun():
    """At ten past midnight in a zone that is half an hour off, the running hour is shown."""
    now_s = datetime(2026, 11, 22, 18, 40, tzinfo=UTC).timestamp()
    query = chart_query(start="2026-11-23", end="2026-11-23")
    request = build_request(query, now_s=now_s, zone=zone_of("Asia/Kolkata"))
    assert (request["start"], request.get("end")) == ("2026-11-22T18:00:00Z", None)


@cases("text", ["soon", "2026-02-30", "9999-12-31"])
def test_text_that_is_no_day_of_a_zone_goes_to_the_api_unchanged(text):
    query = chart_query(start="2026-11-01", end=text)
    assert build_request(query, now_s=NOW_S, zone=zone_of("Asia/Tokyo"))["end"] == text


HOURS_OF_TWO_DAYS = {
    "2026-10-24": {"22": "1", "23": "2"},
    "2026-10-25": {f"{hour:02}": "1" for hour in range(24)},
}


def by_hour(counts):
    line = {"replies": counts}
    return answer(
        {"5": line, "6": line}, {"5": {"replies": "0"}, "6": {"replies": "0"}}, {"replies": "0"}
    )


def test_days_are_sums_of_hours():
    """25 October 2026 has 25 hours in Berlin: from 22:00 to 23:00 UTC."""
    query = chart_query(metric="replies", start="2026-10-25", end="2026-10-26")
    chart = shape_chart(query, by_hour(HOURS_OF_TWO_DAYS), zone=zone_of("Europe/Berlin"))
    assert chart.times.labels == ["2026-10-25", "2026-10-26"]
    assert chart.rows == [(26, 26), (1, 1)]
    first, second = chart.times.starts_s
    assert second - first == 25 * 3600
    assert chart.times.end_s - second == 24 * 3600
    cumulative = chart_query(
        metric="replies", start="2026-10-25", end="2026-10-26", cumulative="yes"
    )
    chart = shape_chart(cumulative, by_hour(HOURS_OF_TWO_DAYS), zone=zone_of("Europe/Berlin"))
    assert chart.rows == [(26, 26), (27, 27)]


def test_hours_are_named_by_local_time():
    query = chart_query(metric="replies", start="2026-10-25", by="hour")
    chart = shape_chart(query, by_hour(HOURS_OF_TWO_DAYS), zone=zone_of("Asia/Kolkata"))
    assert chart.times.labels[:2] == ["2026-10-25 03:30", "2026-10-25 04:30"]
    table = chart_table(query, chart, names=["5", "6"], zone=zone_of("Asia/Kolkata"))
    assert table[0][0] == "hour (UTC)"
    assert table[1][0] == ["2026-10-24 22:00", 1, 1]


def test_a_file_names_the_zone_of_its_days():
    query = chart_query(metric="replies", start="2026-10-25", end="2026-10-26")
    zone = zone_of("Europe/Berlin")
    chart = shape_chart(query, by_hour(HOURS_OF_TWO_DAYS), zone=zone)
    header, rows = chart_table(query, chart, names=["5", "6"], zone=zone)
    assert header[0] == "day (Europe/Berlin)"
    assert rows[0] == ["2026-10-25", 26, 26]


@cases(
    ("start", "end", "now", "fits"),
    [
        ("2026-10-01", "2026-10-28", "2026-11-20T12:00", False),  # 673 hours
        ("2026-10-02", "2026-10-28", "2026-11-20T12:00", True),
        ("2026-10-01", "2026-10-28", "2026-10-28T12:00", True),  # so far
        ("2026-10-01", "2026-10-28", "2026-10-28T22:30", False),
        ("2026-09-01", "2026-10-28", "2026-11-20T12:00", True),  # which the API refuses
        ("", "2026-10-28", "2026-11-20T12:00", True),
        ("soon", "2026-10-28", "2026-11-20T12:00", True),
    ],
)
def test_days_are_in_utc_where_the_api_cannot_answer_for_the_readers(start, end, now, fits):
    now_s = datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()
    berlin = zone_of("Europe/Berlin")
    query = chart_query(start=start, end=end)
    assert fit_zone(query, berlin, now_s=now_s) == (berlin if fits else UTC_ZONE)


# How a chart is drawn.


def view_of(chart, query, now_s=0.0):
    return describe_chart(query, chart, names=chart.columns, zone=UTC_ZONE, now_s=now_s)


@cases(
    ("given", "form"),
    [
        ({}, "lines"),
        ({"draw": "stacked"}, "bars"),
        ({"draw": "stacked", "cumulative": "yes"}, "areas"),
        ({"show": "together"}, "bars"),
        ({"show": "together", "cumulative": "yes"}, "lines"),
        ({"show": "together", "draw": "stacked"}, "bars"),
    ],
)
def test_bars_are_for_few_counts_that_add_up(given, form):
    query = chart_query(metric="replies", **given)
    response = HOURLY
    if not query.per_tweet:
        response = {**HOURLY, "chart": HOURLY["chart"]["5"]}
    assert view_of(shape_chart(query, response), query).form == form


def test_many_hours_are_areas():
    hours = {"2026-11-20": {f"{hour:02}": "1" for hour in range(24)}}
    hours["2026-11-21"] = {f"{hour:02}": "1" for hour in range(8)}
    query = chart_query(metric="replies", draw="stacked", start="2026-11-20", by="hour")
    assert view_of(shape_chart(query, by_hour(hours)), query).form == "areas"


def test_the_part_that_is_still_counted_is_marked():
    query = chart_query(metric="replies")
    chart = shape_chart(query, HOURLY)
    assert view_of(chart, query, now_s=chart.times.end_s - 2400).until == "00:20 UTC"
    assert view_of(chart, query, now_s=chart.times.end_s).until == ""


# CSV.


def read_csv(query, response):
    chart = shape_chart(query, response)
    names = [f"Tweet {name}" if name.isdigit() else name for name in chart.columns]
    text = write_csv(*chart_table(query, chart, names=names))
    return list(csv.reader(io.StringIO(text, newline="")))


def test_csv_holds_the_figures_of_the_chart():
    assert read_csv(chart_query(metric="replies"), HOURLY) == [
        ["hour (UTC)", "replies: Tweet 5", "replies: Tweet 6"],
        ["2026-11-20 22:00", "1", "4"],
        ["2026-11-20 23:00", "0", "5"],
        ["2026-11-21 00:00", "-3", "1200"],
    ]


def test_rates_in_csv_are_plain_numbers():
    days = {"engagements": {"2026-11-20": "1"}, "impressions": {"2026-11-20": "3"}}
    nothing = {"engagements": {"2026-11-20": "1"}, "impressions": {"2026-11-20": "0"}}
    counts = {"engagements": "1", "impressions": "3"}
    response = answer({"5": days, "6": nothing}, {"5": counts, "6": counts}, counts)
    assert read_csv(chart_query(metric=RATE, start="2026-11-20"), response)[1] == [
        "2026-11-20",
        "0.333333",
        "",
    ]


def test_no_cell_of_a_charts_csv_is_a_formula():
    for row in read_csv(chart_query(metric="replies"), HOURLY):
        for cell in row:
            assert cell[:1] not in "=+@\t\r", cell
            assert not cell.startswith("-") or int(cell) < 0


# The table of Tweets.


def view(**given):
    return totals.read_view(given.items())


def tweets(*ids):
    return [Tweet(each, 7, 1000 + each, deleted=False) for each in ids]


def told_of(*ids, **arrays):
    counts = {name: str(at) for at, name in enumerate(TOTALS_TYPES, start=1)}
    return {"tweets": {each: dict(counts) for each in ids}, **arrays}


def test_the_table_holds_totals_and_the_rate():
    figures = totals.shape_figures(told_of("5"))["5"]
    assert figures == {
        **{name: at for at, name in enumerate(TOTALS_TYPES, start=1)},
        RATE: 2.0,
    }


def test_figures_of_old_tweets_are_missing():
    figures = totals.shape_figures(
        told_of(
            "5",
            "6",
            unsupported_for_impressions_engagements_tweet_ids=["5"],
            unsupported_for_video_views_tweet_ids=["6"],
        )
    )
    assert [figures["5"][name] for name in ("impressions", "engagements", RATE)] == [None] * 3
    assert figures["5"]["video_views"] == 7
    assert figures["6"]["video_views"] is None
    assert figures["6"][RATE] == 2.0


@cases(
    ("given", "page"),
    [("", 1), ("2", 2), ("0", 1), ("3", 3), ("99", 3), ("-1", 1), ("²", 1), ("9" * 40, 1)],
)
def test_page_numbers_are_bounded(given, page):
    listed = tweets(*range(120, 0, -1))
    shown, at, pages = totals.paginate(listed, view(page=given).page)
    assert (at, pages) == (page, 3)
    assert shown == listed[(page - 1) * 50 : page * 50]


def test_a_column_heading_sorts_and_reverses():
    query = view(sort="replies", tweet_ids="5")
    assert query.heading("replies")["sorted"] == "descending"
    resort = query.heading("replies")["resort"]
    turned = view(sort="replies", sort_by="posted", tweet_ids="5", resort=resort)
    assert turned.parameters() == {"sort": "replies", "order": "ascending", "tweet_ids": "5"}
    assert query.heading("posted")["sorted"] is None
    assert view(sort="replies", order="ascending").heading("replies")["sorted"] == "ascending"
    assert view(sort="nonsense").sort == "posted"


def test_a_button_of_the_list_changes_the_view_and_keeps_the_rest():
    before = {"sort": "replies", "order": "ascending", "q": "sea", "tweet_ids": "5,6"}
    assert view(**before, sort_by="favorites").sort == "replies"
    applied = view(**before, sort_by="favorites", apply="sort")
    assert (applied.sort, applied.ascending, applied.picked) == ("favorites", False, ("5", "6"))
    shown = {name: text for name, text in before.items() if name != "q"}
    assert view(**before, show="all").parameters() == shown
    assert view(**before, resort="nonsense down").sort == "posted"
    assert totals.has_pressed_button([("sort_by", "posted")])
    assert not totals.has_pressed_button([*before.items(), ("page", "2")])


def test_a_parameter_that_is_given_twice_counts_as_not_given():
    twice = [("metric", "replies"), ("metric", "retweets"), ("sort", "replies"), ("sort", "likes")]
    assert read_chart_query(twice).metric == "impressions"
    assert totals.read_view(twice).sort == "posted"


def test_a_period_has_metrics_of_its_own():
    assert view(sort="url_clicks").sort == "posted", "totals do not serve it"
    assert view(sort="url_clicks", period="7d").sort == "url_clicks"
    assert view(sort="quote_tweets").sort == "quote_tweets"
    assert view(sort="quote_tweets", period="7d").sort == "posted", "it has no hours"
    shown = view(period="custom", first="2026-01-01", last="2026-01-02", zone="UTC", q="fog")
    assert shown.parameters() == {
        "sort": "posted",
        "q": "fog",
        "period": "custom",
        "first": "2026-01-01",
        "last": "2026-01-02",
        "zone": "UTC",
    }


def test_the_first_25_are_picked():
    assert view(pick="all").pick_all
    assert view().picking(map(str, range(1, 40))).picked == tuple(map(str, range(1, 26)))


def test_at_most_25_tweets_are_picked():
    assert len(view(tweet_ids=",".join(map(str, range(1, 40)))).picked) == totals.PICKED_MAX == 25
