"""The explorer: figures match the API, requests work in a shell, and only own Tweets are shown."""

import csv
import html
import io
import json
import os
import re
import subprocess
import time
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit
from zoneinfo import ZoneInfo

import pytest

from openengagement.portal.series import TIMED_TYPES
from support.calls import sign_as_user
from support.cases import cases
from support.flows import set_password
from support.person import read_page
from support.world import RECENT, show_time

COMPARE = "/explore/compare"
LIST = "/explore"
TOTALS = (
    *("impressions", "engagements", "favorites", "retweets"),
    *("replies", "quote_tweets", "video_views"),
)
MINE = ["119", "116", "111", "112", "114", "118", "113", "120", "115"]
DASH = "—"
HOUR_S = 3600


@pytest.fixture(scope="module")
def prolific(oauth):
    """An author with 60 Tweets and a password."""
    oauth.server.command("account", "add", "erin", "--id", "505")
    set_password(oauth.server, "erin")
    post(oauth, "505", range(50_001, 50_061))
    events = [
        {
            "tweet_id": str(each),
            "type": "favorites",
            "at": show_time(time.time()),
            "count": each % 7,
        }
        for each in range(50_001, 50_061)
        if each % 7
    ]
    send(oauth, "events", events)
    with oauth.person("erin") as person:
        person.sign_in()
        yield person


def post(oauth, author_id, ids):
    now_s = int(time.time())
    rows = [
        {"id": str(each), "author_id": author_id, "created_at": show_time(now_s - 99_999 + at)}
        for at, each in enumerate(ids)
    ]
    send(oauth, "tweets", rows)


def send(oauth, what, rows):
    key = oauth.server.world.platform_key
    body = "".join(json.dumps(row) + "\n" for row in rows)
    headers = {"Content-Type": "application/x-ndjson"}
    answer = oauth.server.client.platform("POST", what, key, body=body, headers=headers)
    assert answer.status == 200, answer
    assert answer.json()["rejected"] == 0


def ask(oauth, endpoint, body):
    """Return the API's answer to a request signed by alice's app."""
    answer = oauth.server.client.ask(endpoint, body, sign_as_user(oauth.server.world.main))
    assert answer.status == 200, answer
    return answer.json()


def address(*tweet_ids, **given):
    return f"{COMPARE}?{urlencode({'tweet_ids': ','.join(tweet_ids), **given})}"


def read_rows(page):
    """Read the table of Tweets: the cells of every row, by Tweet, in order."""
    rows = re.split(r'id="pick-(\d+)"', page.html)[1:]
    cells = [
        re.findall(r'<td class="number"[^>]*>(.*?)</td>', each, re.DOTALL) for each in rows[1::2]
    ]
    texts = [[re.sub("<.*?>", "", cell).strip() for cell in each] for each in cells]
    return dict(zip(rows[::2], texts, strict=True))


def read_figures(page):
    """Read a chart's table: its columns, and its numbers by time."""
    table = page.html.partition('id="figures"')[2].partition("</table>")[0]
    head, _, body = table.partition("<tbody>")
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', body, re.DOTALL)
    numbers = {at.partition(" <")[0]: re.findall("<td>(.*?)</td>", cells) for at, cells in rows}
    return re.findall(r'<th scope="col">(.*?)</th>', head)[1:], numbers


def read_csv(answer):
    """Read a file as a spreadsheet does: it needs the mark to know the encoding."""
    assert answer.content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


def number(text):
    return int(text.replace(",", ""))


def day(ago):
    return (datetime.now(UTC).date() - timedelta(ago)).isoformat()


# Access.


@pytest.mark.parametrize(
    "path", ["/explore?sort=replies&page=2", address("111", "112", start="2024-05-01"), COMPARE]
)
def test_a_visitor_must_sign_in_first(oauth, path):
    with oauth.person() as person:
        answer = person.http.get(oauth.url + path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?return_to=%2Fexplore")
        page = person.sign_in(person.open(path))
        nothing_picked = path == COMPARE
        wanted = "/explore?pick=none" if nothing_picked else path
        assert ("Pick at least one row" in page.html) == nothing_picked
        assert parse_qs(urlsplit(page.url).query) == parse_qs(urlsplit(wanted).query)
        assert urlsplit(page.url).path == urlsplit(wanted).path


def test_csv_needs_a_session(oauth):
    with oauth.person() as person:
        answer = person.http.get(f"{oauth.url}{COMPARE}.csv?tweet_ids=111")
        assert answer.status_code == 303


@pytest.mark.parametrize("form", ["", ".csv"])
def test_other_peoples_tweets_are_refused(oauth, alice, form):
    for ids in ("211", "111,211"):
        page = alice.open(f"{COMPARE}{form}?tweet_ids={ids}")
        assert page.status == 403
        assert "Some of these Tweets are not yours" in page.text("faults")
        assert "<td>" not in page.html


def test_the_table_lists_only_ones_own_tweets(alice):
    assert list(read_rows(alice.open("/explore"))) == MINE


@pytest.mark.parametrize("ids", ["311", "117", "5", "311,117"])
def test_unavailable_tweets_are_refused(alice, ids):
    page = alice.open(address(*ids.split(",")))
    assert page.status == 400
    assert "None of these Tweets can be shown" in page.text("faults")


def test_a_chart_names_the_tweets_that_it_omits(alice):
    page = alice.open(address("111", "117"))
    assert page.status == 200
    assert page.text("unavailable").endswith(": 117")
    assert read_figures(page)[0] == ["111"]


def test_protected_accounts_get_an_explanation(oauth):
    set_password(oauth.server, "carol")
    with oauth.person("carol") as carol:
        carol.sign_in()
        page = carol.open("/explore")
        assert (page.status, read_rows(page)) == (200, {})
        assert "Your account is protected" in page.html
        page = carol.open(address("311"))
        assert page.status == 400
        assert "Your account is protected" in page.text("protected")
        assert "<td>" not in page.html


def test_an_account_without_tweets_gets_an_explanation(oauth):
    oauth.server.command("account", "add", "newcomer")
    set_password(oauth.server, "newcomer")
    with oauth.person("newcomer") as newcomer:
        newcomer.sign_in()
        assert "No Tweets yet" in newcomer.open("/explore").html


# Invalid parameters.


@cases(
    ("given", "field", "text"),
    [
        ({"tweet_ids": ",".join(map(str, range(1, 27)))}, "", "A chart has at most 25 Tweets"),
        ({"tweet_ids": "abc"}, "", "The address of this page is damaged"),
        ({"metric": "quote_tweets"}, "metric", "Choose a metric of the list"),
        ({"metric": "<b>"}, "metric", "Choose a metric of the list"),
        ({"start": "soon"}, "start", "Write a date"),
        ({"start": "2026-02-30"}, "start", "Write a date"),
        ({"start": "2024-05-01", "end": "soon"}, "end", "Write a date"),
        ({"start": "2024-05-02", "end": "2024-05-01"}, "end", "Choose the first day or a later"),
        ({"start": "2024-05-01", "end": "2024-05-29"}, "end", "Choose at most 28 days"),
        ({"end": "2999-01-01"}, "end", "Choose a day that has begun"),
        ({"start": "2014-08-01", "end": "2014-08-03"}, "start", "Choose a later day"),
    ],
)
def test_errors_stand_beside_their_field_in_plain_words(alice, given, field, text):
    page = alice.open(f"{COMPARE}?{urlencode({'tweet_ids': '111', **given})}")
    assert page.status == 400
    assert text in page.text("faults")
    assert page.html.count('aria-invalid="true"') == bool(field)
    if field:
        assert text in page.text(f"{field}-fault")
        assert f'href="#{field}"' in page.html
    form = dict(page.form_with("start", "end", action=COMPARE).fields)
    for name in ("tweet_ids", "start", "end"):
        assert form[name] == given.get(name, "111" if name == "tweet_ids" else "")


def test_a_chart_without_tweets_returns_to_the_table(alice):
    assert urlsplit(alice.open(COMPARE).url).path == "/explore"
    assert urlsplit(alice.open(f"{COMPARE}.csv").url).path == "/explore"


@cases("query", ["sort=x", "page=-1", "page=99", "page=²", "order=x", "tweet_ids=<"])
def test_invalid_parameters_of_the_table_are_ignored(alice, query):
    assert list(read_rows(alice.open(f"/explore?{query}"))) == MINE


def test_the_pages_accept_only_get(oauth, alice):
    for path in ("/explore", COMPARE, f"{COMPARE}.csv"):
        assert alice.http.post(oauth.url + path).status_code == 405
    assert alice.open("/explore/elsewhere").status == 404


# Figures.


def test_the_tables_figures_are_those_of_totals(oauth, alice):
    rows = read_rows(alice.open("/explore"))
    answer = ask(
        oauth,
        "totals",
        {
            "tweet_ids": MINE,
            "engagement_types": TOTALS,
            "groupings": {"g": {"group_by": ["tweet.id", "engagement.type"]}},
        },
    )
    old = set(answer["unsupported_for_impressions_engagements_tweet_ids"])
    assert old == {"113", "120", "115"}
    assert answer["unsupported_for_video_views_tweet_ids"] == ["115"]
    for tweet_id, shown in rows.items():
        counts = answer["g"][tweet_id]
        for name, text in zip(TOTALS, shown, strict=False):
            gone = (name in {"impressions", "engagements"} and tweet_id in old) or (
                name == "video_views" and tweet_id == "115"
            )
            assert text == DASH if gone else number(text) == int(counts[name]), (tweet_id, name)
    assert rows["111"][-1] == "67.50%", "27 engagements, 40 impressions"
    assert rows["116"][-1] == rows["113"][-1] == DASH


def test_the_table_sorts_by_every_metric(alice):
    for at, name in enumerate((*TOTALS, "engagement_rate")):
        page = alice.open(f"/explore?sort={name}")
        shown = [row[at] for row in read_rows(page).values()]
        numbers = [float(text.replace(",", "").rstrip("%")) for text in shown if text != DASH]
        assert numbers == sorted(numbers, reverse=True), name
        assert shown[len(numbers) :] == [DASH] * (len(shown) - len(numbers))
        assert page.html.count('aria-sort="descending"') == 1
        turned = alice.open(f"/explore?sort={name}&order=ascending")
        again = [row[at] for row in read_rows(turned).values()]
        assert again[: len(numbers)] == shown[: len(numbers)][::-1]


@pytest.mark.parametrize("metric", ["url_clicks", "impressions", "video_views"])
def test_the_last_28_hours(oauth, alice, metric):
    grouping = {"group_by": ["tweet.id", "engagement.type", "engagement.day", "engagement.hour"]}
    body = {
        "tweet_ids": [RECENT, "111"],
        "engagement_types": [metric],
        "groupings": {"g": grouping, "all": {"group_by": ["engagement.type"]}},
    }
    while True:  # the hour may change between the two requests
        before = ask(oauth, "28hr", body)
        page = alice.open(address(RECENT, "111", metric=metric))
        if ask(oauth, "28hr", body) == before:
            break
    columns, rows = read_figures(page)
    assert columns == [RECENT, "111"]
    for at, tweet_id in enumerate(columns):
        expected = {
            f"{day} {hour}:00": int(count)
            for day, hours in before["g"][tweet_id][metric].items()
            for hour, count in hours.items()
        }
        assert {time: number(row[at]) for time, row in rows.items()} == expected
    assert number(page.text("total")) == int(before["all"][metric])


@pytest.mark.parametrize("by", ["day", "hour"])
@pytest.mark.parametrize("show", ["each", "together"])
def test_a_chart_of_days_includes_the_last_day(oauth, alice, by, show):
    """The last day is included, and the sums match the API's totals."""
    given = {"start": "2024-05-01", "end": "2024-05-02", "by": by, "show": show}
    page = alice.open(address("111", "112", **given))
    columns, rows = read_figures(page)
    times = ["engagement.day", *(["engagement.hour"] if by == "hour" else [])]
    answer = ask(
        oauth,
        "historical",
        {
            "tweet_ids": ["111", "112"],
            "engagement_types": ["impressions"],
            "groupings": {
                "each": {"group_by": ["tweet.id", *times]},
                "together": {"group_by": times},
            },
            "start": "2024-05-01",
            "end": "2024-05-03",
        },
    )
    trees = answer["each"].values() if show == "each" else [answer["together"]]
    assert len(columns) == len(list(trees))
    for at, tree in enumerate(trees):
        expected = (
            {f"{day} {hour}:00": int(n) for day, hours in tree.items() for hour, n in hours.items()}
            if by == "hour"
            else {day: int(n) for day, n in tree.items()}
        )
        assert {time: number(row[at]) for time, row in rows.items()} == expected
    assert page.text("total") == "50"


def test_days_of_another_zone_are_sums_of_the_apis_hours(oauth, alice):
    given = {"start": "2024-05-01", "end": "2024-05-02", "by": "day", "zone": "Asia/Kolkata"}
    page = alice.open(address("111", "112", **given))
    window = {"start": "2024-04-30T19:00:00Z", "end": "2024-05-02T19:00:00Z"}
    times = ["engagement.day", "engagement.hour"]
    body = {
        "tweet_ids": ["111", "112"],
        "engagement_types": ["impressions"],
        "groupings": {"each": {"group_by": ["tweet.id", *times]}},
        **window,
    }
    zone, columns = ZoneInfo("Asia/Kolkata"), []
    for tree in ask(oauth, "historical", body)["each"].values():
        sums = {}
        for named, hours in tree.items():
            for hour, count in hours.items():
                at = datetime.fromisoformat(f"{named}T{hour}:00:00Z").astimezone(zone)
                sums[str(at.date())] = sums.get(str(at.date()), 0) + int(count)
        columns.append(sums)
    shown = {time: [number(text) for text in row] for time, row in read_figures(page)[1].items()}
    assert shown == {each: [column[each] for column in columns] for each in columns[0]}
    assert list(shown) == ["2024-05-01", "2024-05-02"]
    assert "Day (Asia/Kolkata)" in page.html
    for moment in window.values():
        assert moment in page.text("request")
    link = html.unescape(re.search(r'href="(/explore/compare\.csv[^"]*)"', page.html)[1])
    head, *lines = read_csv(alice.http.get(oauth.url + link))
    assert head[0] == "day (Asia/Kolkata)"
    assert lines == [[time, *map(str, row)] for time, row in shown.items()]


def test_the_page_says_why_days_are_in_utc(alice):
    """28 days with the end of summer time have 673 hours; the API answers for 672."""
    given = {"start": "2024-10-01", "end": "2024-10-28", "by": "day", "zone": "Europe/Berlin"}
    page = alice.open(address("111", **given))
    assert "In Europe/Berlin, these 28 days have an hour more" in page.text("other-days")
    assert "Day (UTC)" in page.html
    assert list(read_figures(page)[1])[-1] == "2024-10-28"
    page = alice.open(address("111", **given | {"start": "2024-10-02"}))
    assert 'id="other-days"' not in page.html
    assert "Day (Europe/Berlin)" in page.html


def test_the_running_day_is_marked(alice):
    page = alice.open(address(RECENT, start=day(2), end=day(0), by="day"))
    assert re.search(rf'<th scope="row">{day(0)} <span class="hint">\(still counting\)', page.html)
    assert "Incomplete, counted until" in page.text("running")
    past = alice.open(address(RECENT, start="2024-05-01", end="2024-05-02", by="day"))
    assert "still counting" not in past.html.lower()


def test_cumulative_charts_add_up_the_figures(alice):
    given = {"start": "2024-05-01", "end": "2024-05-03", "cumulative": "yes"}
    _, rows = read_figures(alice.open(address("111", "112", **given)))
    assert list(rows.values()) == [["23", "10"], ["40", "10"], ["40", "10"]]
    _, rows = read_figures(alice.open(address("111", **given, metric="engagement_rate")))
    assert list(rows.values()) == [["108.70%"], ["67.50%"], ["67.50%"]]


def test_the_ranking_is_sorted_by_total(alice):
    page = alice.open(address("112", "111", "113", start="2024-05-01", end="2024-05-03"))
    ranking = page.html.partition('class="table ranking"')[2]
    assert re.findall(r'translate="no">(\d+)<', ranking) == ["111", "112", "113"]


def test_video_views_of_an_old_tweet_are_a_dash(alice):
    page = alice.open(
        address("114", "115", metric="video_views", start="2024-05-01", end="2024-05-01")
    )
    assert read_figures(page)[1] == {"2024-05-01": ["50", DASH]}
    assert "115" in page.text("too-old")


def test_a_chart_that_ends_today_ends_now(alice):
    page = alice.open(address(RECENT, metric="url_clicks", start=day(27), end=day(0)))
    _, rows = read_figures(page)
    assert list(rows) == [day(ago) for ago in range(27, -1, -1)]
    assert alice.open(address(RECENT, start=day(28), end=day(0))).status == 400


def test_csv_holds_what_the_page_shows(oauth, alice):
    given = {"start": "2024-05-01", "end": "2024-05-03", "by": "hour"}
    page = alice.open(address("111", "112", **given))
    link = html.unescape(re.search(r'href="(/explore/compare\.csv[^"]*)"', page.html)[1])
    answer = alice.http.get(oauth.url + link)
    assert answer.headers["content-type"].startswith("text/csv")
    named = 'attachment; filename="impressions-2024-05-01-2024-05-03.csv"'
    assert answer.headers["content-disposition"] == named
    head, *lines = read_csv(answer)
    assert head == ["hour (UTC)", "impressions: Tweet 111", "impressions: Tweet 112"]
    shown = [[time, *(str(number(n)) for n in row)] for time, row in read_figures(page)[1].items()]
    assert lines == shown


# The API request behind a page.


def run(command, app):
    """Run a command in a shell that has the app's keys."""
    keys = {
        "CONSUMER_KEY": app.consumer_key,
        "CONSUMER_SECRET": app.consumer_secret,
        "ACCESS_TOKEN": app.access_token,
        "ACCESS_TOKEN_SECRET": app.access_token_secret,
    }
    done = subprocess.run(
        ["bash", "-c", command.replace("curl ", "curl --noproxy '*' -sS ", 1)],
        env={"PATH": os.environ["PATH"], **keys},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def without_time(answer):
    """Return an answer without the time in its errors, which is that of the request."""
    errors = [re.sub(r"\d{4}-[-0-9T:]+Z", "TIME", each) for each in answer.get("errors", [])]
    return {**answer, "errors": errors}


@pytest.mark.parametrize(
    "path", ["/explore", address(RECENT, "111", metric="url_clicks", start=day(20), end=day(2))]
)
def test_the_curl_command_returns_the_figures_of_the_page(oauth, alice, path):
    """The command returns the page's figures, and its body is the one that the page shows."""
    page = alice.open(path)
    answer = run(page.texts["curl"], oauth.server.world.main)
    method, where = page.texts["request"].split("\n")[0].split()
    body = json.loads(page.texts["request"].partition("\n\n")[2])
    asked = ask(oauth, where.rpartition("/")[2], body)
    assert (method, without_time(answer)) == ("POST", without_time(asked))
    if path == "/explore":
        shown = read_rows(page)
        assert answer["tweets"].keys() == shown.keys()
        assert number(shown["111"][0]) == int(answer["tweets"]["111"]["impressions"]) == 40
    else:
        days = answer["chart"][RECENT]["url_clicks"]
        shown = {at: number(row[0]) for at, row in read_figures(page)[1].items()}
        assert shown == {at: int(count) for at, count in days.items()}
        assert number(page.text("total")) == int(answer["total"]["url_clicks"])


def test_charts_work_if_clients_may_use_one_grouping(narrow):
    with narrow.person() as alice:
        alice.sign_in()
        page = alice.open(address("111", start="2024-05-01", end="2024-05-02"))
        assert read_figures(page)[1] == {"2024-05-01": ["23"], "2024-05-02": ["17"]}


# Many Tweets.


def test_the_table_has_pages(oauth, prolific):
    first = prolific.open("/explore")
    assert list(read_rows(first)) == [str(each) for each in range(50_060, 50_010, -1)]
    form = first.form_with("page", action=LIST)
    assert [each for each in form.buttons if each[0] == "page"] == [("page", "2")]
    assert f'formaction="{COMPARE}"' in first.html
    # As a browser sends it: the whole form, with the picked Tweets.
    second = prolific.open(pressed(form, ("tweet_ids", "50060"), ("page", "2")))
    assert list(read_rows(second)) == [str(each) for each in range(50_010, 50_000, -1)]
    form = second.form_with("page", action=LIST)
    assert ("tweet_ids", "50060") in form.fields
    chart = prolific.open(f"{COMPARE}?{urlencode([*form.fields, ('tweet_ids', '50003')])}")
    assert read_figures(chart)[0] == ["50060", "50003"]
    again = read_page(prolific.http.get(oauth.url + html.unescape(chart_link(chart))))
    assert ("tweet_ids", "50060") in again.form_with("page", action=LIST).fields


def pressed(form, *more):
    """The address to which a button of the list leads, with ticks."""
    return f"{LIST}?{urlencode([*form.fields, *more])}"


@pytest.mark.parametrize(
    ("button", "wanted"),
    [
        (("resort", "favorites"), {"sort": ["favorites"], "q": ["harbour"]}),
        (("resort", "posted ascending"), {"order": ["ascending"], "q": ["harbour"]}),
        (("apply", "sort"), {"sort": ["posted"], "q": ["harbour"]}),
        (("show", "all"), {"sort": ["posted"]}),
        (("page", "2"), {"page": ["2"], "q": ["harbour"]}),
        (("", ""), {"q": ["harbour"]}),
    ],
)
def test_every_button_of_the_list_keeps_the_ticks(prolific, button, wanted):
    """Also those that were not sent before, and those of other pages. The address is short."""
    form = prolific.open(f"{LIST}?tweet_ids=50001").form_with("q", "sort_by", action=LIST)
    fields = [(name, text) for name, text in form.fields if name != "q"]
    sent = [*fields, ("q", "harbour"), ("tweet_ids", "50060"), button]
    page = prolific.open(f"{LIST}?{urlencode(sent)}")
    query = parse_qs(urlsplit(page.url).query)
    assert query["tweet_ids"] == ["50001,50060"]
    assert query.items() >= wanted.items()
    assert query.keys() <= {"sort", "order", "q", "tweet_ids", "page"}
    shown = [form for form in page.forms if "q" in form.names][-1]  # after that of the period
    assert {("tweet_ids", "50001"), ("tweet_ids", "50060")} <= set(shown.fields)


def chart_link(page):
    return re.search(r'href="(/explore\?tweet_ids=[^"]*)"', page.html)[1]


def test_sorting_covers_all_pages(prolific):
    pages = [prolific.open(f"/explore?sort=favorites&page={page}") for page in (1, 2)]
    likes = [number(row[2]) for page in pages for row in read_rows(page).values()]
    assert likes == sorted(likes, reverse=True)
    assert len(likes) == 60


def test_the_newest_50000_are_listed(oauth):
    oauth.server.command("account", "add", "frank", "--id", "606")
    set_password(oauth.server, "frank")
    post(oauth, "606", range(160_001, 210_003))
    with oauth.person("frank") as frank:
        frank.sign_in()
        page = frank.open("/explore?sort=favorites&page=1000")
        text = " ".join(re.sub("<.*?>", "", page.html).split())
        assert "These are the newest 50,000; older ones are not listed." in text
        assert "Page 1000 of 1000" in text
        assert "160003" in read_rows(page)


def test_all_tweets_that_match_are_picked_up_to_the_limit(prolific):
    page = prolific.open("/explore?sort=favorites&pick=all&tweet_ids=50001")
    assert "Picked the first 25 of 60 Tweets" in page.text("picked-all")
    link = parse_qs(
        urlsplit(html.unescape(re.search(r'href="([^"]*period=28d[^"]*)"', page.html)[1])).query
    )
    likes = [each for each in range(50_060, 50_000, -1) if each % 7 == 6][:25]
    assert link["tweet_ids"][0].split(",")[: len(likes)] == [str(each) for each in likes]
    assert len(link["tweet_ids"][0].split(",")) == 25
    some = prolific.open("/explore?q=50003&pick=all")
    assert "Picked the only Tweet" in some.text("picked-all")


def test_the_figures_of_a_period_are_those_of_the_api(oauth, alice):
    given = {"period": "custom", "first": "2024-05-01", "last": "2024-05-03", "zone": "UTC"}
    answer = ask(
        oauth,
        "historical",
        {
            "tweet_ids": MINE,
            "engagement_types": list(TIMED_TYPES),
            "start": "2024-05-01",
            "end": "2024-05-04",
            "groupings": {"g": {"group_by": ["tweet.id", "engagement.type"]}},
        },
    )["g"]
    rows = read_rows(alice.open(f"/explore?{urlencode(given)}"))
    assert list(rows) == MINE
    for tweet_id, row in rows.items():
        shown = dict(zip(TIMED_TYPES, row[:-1], strict=True))
        for name, text in shown.items():
            if text != DASH:
                assert number(text) == int(answer[tweet_id][name]), (tweet_id, name)
    for metric in ("impressions", "url_clicks"):
        for order in ("", "ascending"):
            query = urlencode({**given, "sort": metric, "order": order})
            sorted_rows = read_rows(alice.open(f"/explore?{query}"))
            at = TIMED_TYPES.index(metric)
            found = [number(row[at]) for row in sorted_rows.values()]
            assert found == sorted(found, reverse=not order)
            (header, *lines) = read_csv(alice.http.get(f"{oauth.url}/explore/tweets.csv?{query}"))
            assert [line[3] for line in lines] == [f"Tweet {each}" for each in sorted_rows]
            column = header.index(
                {"impressions": "Impressions", "url_clicks": "Link clicks"}[metric]
            )
            assert [int(line[column]) for line in lines] == found


def test_a_period_that_is_wrong_is_refused_beside_its_field(alice):
    page = alice.open("/explore?period=custom&first=2026-05-03&last=2026-05-01")
    assert page.status == 400
    assert "Choose the first day or a later one." in page.text("last-fault")
    assert list(read_rows(page))


def test_a_chart_of_25_tweets(prolific):
    ids = [str(each) for each in range(50_001, 50_026)]
    page = prolific.open(address(*ids, by="hour", start=day(27)))
    columns, rows = read_figures(page)
    assert columns == ids
    assert date.fromisoformat(min(rows)[:10]) == date.fromisoformat(day(27))
    assert {len(row) for row in rows.values()} == {25}


# Compression and caching.


def test_pages_are_compressed_and_small(oauth, alice):
    for path in ("/explore", address(*MINE, start=day(27), by="hour")):
        answer = alice.http.get(oauth.url + path)
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"].endswith("accept-encoding")
        assets = re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text)
        files = [alice.http.get(oauth.url + each) for each in assets]
        assert {each.headers["content-encoding"] for each in files} == {"gzip"}
        weight = sum(each.num_bytes_downloaded for each in [answer, *files])
        assert weight < 150_000
    plain = alice.http.get(f"{oauth.url}/explore", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
