"""The home page and the overview: every figure is the API's, and each person sees their own."""

import csv
import gzip
import io
import json
import re
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

import pytest

from openengagement.portal.series import LABELS, TIMED_TYPES
from support.calls import sign_as_user
from support.cases import cases
from support.flows import set_password
from support.world import RECENT, show_time

MINE = ["119", "116", "111", "112", "114", "118", "113", "120", "115"]
PATH = "/overview"
MAY = {"period": "custom", "first": "2024-04-28", "last": "2024-05-04"}
NAMES = {label: name for name, label in LABELS.items()}


def ask(oauth, endpoint, **more):
    """Return the API's answer for all of alice's Tweets and all metrics."""
    body = {"tweet_ids": MINE, "engagement_types": list(TIMED_TYPES), **more}
    answer = oauth.server.client.ask(endpoint, body, sign_as_user(oauth.server.world.main))
    assert answer.status == 200, answer
    return answer.json()


def grouped(*dimensions):
    return {"groupings": {"g": {"group_by": list(dimensions)}}}


def address(**given):
    return f"{PATH}?{urlencode(given)}"


def read_file(oauth, person, **given):
    """Read the file of the overview: the numbers of each metric by time."""
    answer = person.http.get(f"{oauth.url}{PATH}.csv?{urlencode(given)}")
    assert answer.status_code == 200, answer.text
    rows = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""))
    found = list(rows)
    return {
        name: {row["from (UTC)"]: row[label] for row in found}
        for label, name in NAMES.items()
        if label in found[0]
    }


def send(oauth, what, rows):
    body = "".join(json.dumps(row) + "\n" for row in rows)
    headers = {"Content-Type": "application/x-ndjson"}
    key = oauth.server.world.platform_key
    answer = oauth.server.client.platform("POST", what, key, body=body, headers=headers)
    assert answer.json()["rejected"] == 0


def totals_of(columns):
    return {name: sum(map(int, columns[name].values())) for name in TIMED_TYPES}


def number(text):
    return int(text.replace(",", ""))


def day(ago):
    return (datetime.now(UTC).date() - timedelta(ago)).isoformat()


# Figures.


def test_days_are_those_of_the_api(oauth, alice):
    columns = read_file(oauth, alice, period="custom", first="2024-04-25", last="2024-05-06")
    answer = ask(
        oauth,
        "historical",
        start="2024-04-25",
        end="2024-05-07",
        **grouped("engagement.type", "engagement.day"),
    )
    for name in TIMED_TYPES:
        shown = {at[:10]: int(text) for at, text in columns[name].items()}
        assert shown == {at: int(count) for at, count in answer["g"][name].items()}, name
    assert answer["unsupported_for_video_views_tweet_ids"] == ["115"]
    assert sum(map(int, columns["video_views"].values())) == 61, "without that Tweet's 7"


@pytest.mark.parametrize(("name", "days"), [("7d", 6), ("28d", 27)])
def test_periods_of_days_are_those_of_the_api(oauth, alice, name, days):
    while True:  # the hour may change between the requests
        before = ask(oauth, "historical", start=day(days), **grouped("engagement.type"))["g"]
        columns = read_file(oauth, alice, period=name)
        page = alice.open(address(period=name, metric="url_clicks"))
        if ask(oauth, "historical", start=day(days), **grouped("engagement.type"))["g"] == before:
            break
    expected = {each: int(count) for each, count in before.items()}
    assert totals_of(columns) == expected
    assert number(page.text("total")) == expected["url_clicks"] > 0


def test_90_days_are_those_of_four_requests(oauth, alice):
    columns = read_file(oauth, alice, period="90d")
    sums = dict.fromkeys(TIMED_TYPES, 0)
    spans = [(89, 61), (61, 33), (33, 5), (5, None)]
    for first, last in spans:
        end = {} if last is None else {"end": day(last)}
        answer = ask(oauth, "historical", start=day(first), **end, **grouped("engagement.type"))
        for name, count in answer["g"].items():
            sums[name] += int(count)
    assert totals_of(columns) == sums


def test_28_hours_are_those_of_the_api(oauth, alice):
    grouping = grouped("engagement.type", "engagement.day", "engagement.hour")
    while True:
        before = ask(oauth, "28hr", **grouping)["g"]
        columns = read_file(oauth, alice, period="28h")
        if ask(oauth, "28hr", **grouping)["g"] == before:
            break
    for name in TIMED_TYPES:
        expected = {
            f"{at}T{hour}:00:00Z": int(count)
            for at, hours in before[name].items()
            for hour, count in hours.items()
        }
        assert {at: int(text) for at, text in columns[name].items()} == expected, name


def test_the_page_shows_the_figures_of_its_file(oauth, alice):
    columns = read_file(oauth, alice, **MAY)
    totals = totals_of(columns)
    for name in TIMED_TYPES:
        page = alice.open(address(**MAY, metric=name))
        assert number(page.text("total")) == totals[name], name
    page = alice.open(address(**MAY))
    pairs = r'class="pick"[^>]*>([^<]*)</a>.*?class="v">(.*?)<'
    shown = dict(re.findall(pairs, page.html, re.DOTALL))
    rate = 100 * totals["engagements"] / totals["impressions"]
    assert shown["Engagement rate"] == f"{rate:.2f}%"
    assert number(shown["Likes"]) == totals["favorites"] == 9
    assert page.text("total") == "62"


def test_the_best_tweets_are_those_of_the_api(oauth, alice):
    answer = ask(
        oauth,
        "historical",
        start="2024-04-28",
        end="2024-05-05",
        **grouped("tweet.id", "engagement.type"),
    )["g"]
    for name in ("impressions", "video_views", "favorites"):
        page = alice.open(address(**MAY, by=name))
        best = page.html.partition('class="best"')[2].partition("</ol>")[0]
        shown = re.findall(r'translate="no">(\d+)<.*?class="v">(.*?)<', best, re.DOTALL)
        counts = {each: int(types[name]) for each, types in answer.items()}
        if name == "video_views":
            counts["115"] = 0
        expected = sorted((each for each in MINE if counts[each]), key=lambda each: -counts[each])
        assert [(each, number(text)) for each, text in shown] == [
            (each, counts[each]) for each in expected
        ]


@pytest.mark.parametrize(
    ("given", "days"),
    [
        (MAY, "start=2024-04-28&end=2024-05-04&by=hour"),
        (MAY | {"first": "2024-03-01"}, "start=2024-04-07&end=2024-05-04&by=day"),
        (
            MAY | {"zone": "Asia/Kolkata"},  # its last hour ends half an hour after midnight
            "start=2024-04-28&end=2024-05-04&by=hour&zone=Asia%2FKolkata",
        ),
    ],
)
def test_a_best_tweet_leads_to_its_chart_over_the_period(oauth, alice, given, days):
    page = alice.open(address(**given, by="impressions"))
    found = re.search(r'class="to-chart" href="([^"]*)"', page.html)[1].replace("&amp;", "&")
    assert found.endswith(f"&metric=impressions&{days}")
    chart = alice.open(found)
    assert chart.status == 200
    best = page.html.partition('class="best"')[2].partition("</ol>")[0]
    assert re.search(r'class="v">(.*?)<', best)[1] in chart.html


def test_all_tweets_keeps_the_period_and_the_order(oauth, alice):
    page = alice.open(address(**MAY, by="favorites", zone="UTC"))
    link = re.search(r'class="all" href="([^"]*)"', page.html)[1].replace("&amp;", "&")
    assert link == f"/explore?{urlencode(MAY | {'zone': 'UTC', 'sort': 'favorites'})}"
    assert 'aria-sort="descending"' in alice.open(link).html


def test_all_tweets_of_a_period_with_faults_is_that_of_the_default(alice):
    page = alice.open(address(period="custom"))
    assert page.status == 400
    link = re.search(r'class="all" href="([^"]*)"', page.html)[1].replace("&amp;", "&")
    assert alice.open(link).status == 200


def test_the_period_before_is_compared(alice):
    """1 May has 23 + 10 + 8 + 4 impressions, and 2 May has 17."""
    page = alice.open(address(period="custom", first="2024-05-02", last="2024-05-02"))
    text = " ".join(re.sub("<.*?>", " ", page.html.partition('id="total"')[2][:900]).split())
    assert page.text("total") == "17"
    assert "down 62.2% from 45" in text


def test_the_running_day_is_marked(oauth, alice):
    # The bar may have begun after the other events, and without any it is not drawn.
    click = {"tweet_id": RECENT, "type": "url_clicks", "at": show_time(time.time())}
    send(oauth, "events", [click])
    page = alice.open(address(metric="url_clicks"))
    assert page.html.count('class="running"') == 1
    assert "Incomplete, counted until" in page.html
    assert "(still counting)" in page.html
    over = alice.open(address(**MAY))
    assert 'class="running"' not in over.html
    assert "Incomplete" not in over.html


def test_nothing_is_said_in_words(alice):
    page = alice.open(address(**MAY, metric="app_opens", by="app_opens"))
    assert page.text("total") == "0"
    assert page.html.count("Nothing in this time.") == 2
    assert "Not enough yet." in page.html
    assert "App opens" in page.text("uncounted")


# Who sees what.


@pytest.mark.parametrize("path", [PATH, f"{PATH}.csv?period=7d"])
def test_a_visitor_must_sign_in_first(oauth, path):
    with oauth.person() as person:
        answer = person.http.get(oauth.url + path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?return_to=%2Foverview")


def test_a_protected_account_sees_no_figure(oauth):
    set_password(oauth.server, "carol")
    with oauth.person("carol") as carol:
        carol.sign_in()
        for path in (address(**MAY), f"{PATH}.csv"):
            page = carol.open(path)
            assert "Your account is protected" in page.html
            assert "total" not in page.texts


@pytest.fixture(scope="module")
def homes(oauth):
    """People with different homes: nothing, an app, and the role of a manager."""
    for name in ("hugo", "ines", "jana"):
        oauth.server.command("account", "add", name)
        set_password(oauth.server, name)
    oauth.server.command("app", "add", "Ines's app", "--owner", "ines")
    oauth.server.command("account", "role", "jana", "manager")
    return oauth


@pytest.mark.parametrize(
    ("name", "path", "text"),
    [
        ("alice", "/overview", "Compared"),
        ("hugo", "/overview", "No Tweets yet"),
        ("ines", "/portal", "Ines&#39;s app"),
        ("jana", "/manage", "Waiting for access"),
    ],
)
def test_home_depends_on_the_account(homes, name, path, text):
    with homes.person(name) as person:
        page = person.sign_in()
        assert urlsplit(page.url).path == path
        assert text.lower() in page.html.lower()
        again = person.open("/")
        assert urlsplit(again.url).path == path
        assert '<a class="brand" href="/">' in again.html


def test_a_visitors_home_says_what_this_is(oauth):
    with oauth.person() as person:
        page = person.open("/")
        assert (page.status, urlsplit(page.url).path) == (200, "/")
        assert "See how your Tweets do on" in page.html
        assert '<a class="brand" href="/">' in page.html
        assert 'href="/sign-in?return_to=/"' in page.html


# Other input.


def test_faults_are_shown_at_their_fields(alice):
    page = alice.open(address(period="custom", first="soon", last="2999-01-01"))
    assert page.status == 400
    assert page.text("first-fault") == "Write a date, such as 2026-11-01."
    assert page.text("last-fault") == "Choose a day that has begun."
    assert dict(page.form_with("first", "last").fields)["last"] == "2999-01-01"


@cases(
    "query",
    [
        "metric=<script>alert(1)</script>&by=<script>alert(1)</script>",
        'period="><script>alert(1)</script>',
        "period=custom&first=<script>alert(1)</script>&last=<script>alert(1)</script>",
        "metric=engagement_rate&by=engagement_rate&period=28h",
        "metric=quote_tweets",
        f"metric={'x' * 3000}",
        "period=7d&period=28d",
    ],
)
def test_any_query_is_answered(alice, query):
    page = alice.open(f"{PATH}?{query}")
    assert page.status in {200, 400}
    assert "<script>alert" not in page.html
    assert "total" in page.texts


def test_the_overview_accepts_only_get(oauth, alice):
    for path in ("/", PATH, f"{PATH}.csv"):
        assert alice.http.post(oauth.url + path).status_code == 405


# Many Tweets.


@pytest.fixture(scope="module")
def busy(oauth):
    """An author with 3,000 Tweets, each with engagement in several hours."""
    oauth.server.command("account", "add", "karl", "--id", "707")
    set_password(oauth.server, "karl")
    now_s = int(time.time())
    ids = range(80_000, 83_000)
    rows = [
        {
            "id": str(each),
            "author_id": "707",
            "created_at": show_time(now_s - 60 * at - 9000),
            "text": f"Tweet of the harbour, number {at}. {'word ' * at}"[:1000],
        }
        for at, each in enumerate(ids)
    ]
    events = [
        {"tweet_id": str(each), "type": name, "at": show_time(now_s - 7200 * (at % 40)), "count": 3}
        for at, each in enumerate(ids)
        for name in ("impressions", "favorites")
    ]
    for what, sent in (("tweets", rows), ("events", events)):
        send(oauth, what, sent)
    with oauth.person("karl") as person:
        person.sign_in()
        yield person


def test_all_tweets_are_covered(busy):
    page = busy.open(PATH)
    assert page.text("total") == "9,000"
    assert len(re.findall(r'class="rank"', page.html)) == 8


@pytest.mark.parametrize("query", ["", "?period=90d", "?period=28h&metric=engagement_rate"])
def test_a_page_is_small(oauth, busy, query):
    """With its style sheets and scripts, without pictures."""
    page = busy.open(PATH + query)
    files = set(re.findall(r'(?:href|src)="(/static/[^"]*\.(?:css|js))"', page.html))
    size = len(gzip.compress(page.html.encode()))
    for each in files:
        answer = busy.http.get(oauth.url + each)
        size += len(gzip.compress(answer.content))
    assert size < 60_000, size
