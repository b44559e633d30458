"""Texts, links and pictures of Tweets on the pages: shown as they are, and harmless."""

import csv
import html
import io
import json
import re
import time
from urllib.parse import urlencode

import pytest

from attacks.test_pages import SCRIPTS
from support.cases import cases
from support.flows import set_password
from support.oauth_server import start_oauth_server
from support.world import show_time

HOST = "media.example.com"
PICTURE = f"https://{HOST}/7.jpg"
LINK = "https://example.com/posts/7?a=b&c=d"
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "ok;=1", "ok\n=HYPERLINK(1)", "\uff1d1"]
TEXTS = [*SCRIPTS, *FORMULAS, "\u202eabc", "Low water at six.", "x" * 1000]
IDS = [str(70_000 + at) for at in range(len(TEXTS))]
COMPARE = f"/explore/compare?{urlencode({'tweet_ids': ','.join(IDS)})}"


@pytest.fixture(scope="module", params=["plain", "links and pictures"])
def frida(world, request):
    """An author whose Tweets have all these texts, on a server with and without the settings."""
    shown = request.param != "plain"
    settings = {"tweet_url": "https://example.com/t/{id}", "image_hosts": f"x.example,{HOST}"}
    with start_oauth_server(world, **(settings if shown else {})) as oauth:
        oauth.server.command("account", "add", "frida", "--id", "606")
        set_password(oauth.server, "frida")
        now_s = int(time.time())
        rows = [
            {"id": each, "author_id": "606", "created_at": show_time(now_s - 9000 + at)}
            for at, each in enumerate(IDS)
        ]
        for row, text in zip(rows, TEXTS, strict=True):
            row["text"] = text
        rows[0] |= {"url": LINK, "thumbnail_url": PICTURE}
        rows[1] |= {"thumbnail_url": "https://elsewhere.example/7.jpg"}
        send(oauth, rows)
        with oauth.person("frida") as person:
            person.sign_in()
            yield oauth, person, shown


def send(oauth, rows):
    key = oauth.server.world.platform_key
    body = "".join(json.dumps(row) + "\n" for row in rows)
    headers = {"Content-Type": "application/x-ndjson"}
    answer = oauth.server.client.platform("POST", "tweets", key, body=body, headers=headers)
    assert answer.json()["rejected"] == 0, answer


def file_of(oauth, person, path):
    answer = person.http.get(oauth.url + path)
    assert answer.status_code == 200
    text = answer.content.decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


def names_on(page):
    """The names of the Tweets as text."""
    return [html.unescape(each) for each in re.findall(r'class="tweet" dir="auto">(.*?)<', page)]


@pytest.mark.parametrize("path", ["/explore", COMPARE])
def test_texts_are_text(frida, path):
    _, person, _ = frida
    page = person.open(path)
    assert page.status == 200
    shown = [" ".join(text.replace("\u202e", "").split()) for text in TEXTS]
    expected = [text if len(text) <= 70 else "x" * 70 + "\u2026" for text in shown]
    assert sorted(names_on(page.html)) == sorted(expected)
    assert "<script>alert" not in page.html
    assert "onerror=alert(1)>" not in page.html
    assert "62615533" not in page.html


@pytest.mark.parametrize("path", ["/explore", COMPARE])
def test_links_and_pictures(frida, path):
    _, person, shown = frida
    page = person.open(path)
    links = re.findall(r'<a class="origin" href="(.*?)" target="_blank"\s+rel="(.*?)"', page.html)
    assert {rel for _, rel in links} == {"noopener noreferrer nofollow"}
    expected = {LINK} | ({f"https://example.com/t/{each}" for each in IDS[1:]} if shown else set())
    assert {html.unescape(link) for link, _ in links} == expected
    pictures = re.findall(r'<img class="thumbnail" src="(.*?)"', page.html)
    assert pictures == ([PICTURE] if shown and path == "/explore" else [])
    policy = page.response.headers["content-security-policy"]
    sources = f"img-src 'self' https://{HOST} https://x.example;" if shown else "img-src 'self';"
    assert sources in policy
    other = person.open("/settings/apps").response.headers["content-security-policy"]
    assert "img-src 'self';" in other, "pages without Tweets load no pictures"


def test_the_file_of_tweets_is_safe_in_a_spreadsheet(frida):
    oauth, person, shown = frida
    head, *rows = file_of(oauth, person, "/explore/tweets.csv?sort=posted&order=ascending")
    assert head[:5] == ["posted", "text", "link", "Tweet ID", "Impressions"]
    assert [row[3] for row in rows] == [f"Tweet {each}" for each in IDS]
    for text, row in zip(TEXTS, rows, strict=True):
        assert not row[1].startswith(tuple("=+-@\uff1d\t\r\n")), row
        assert not re.search(r"[;\n]\s*[=+@-]", row[1]), row
        assert row[1].replace("'", "") == text.strip().replace("'", "")
    assert rows[0][2] == LINK
    assert rows[1][2] == (f"https://example.com/t/{IDS[1]}" if shown else "")


def test_the_file_of_a_chart_names_text_and_link(frida):
    oauth, person, shown = frida
    head, *_ = file_of(oauth, person, COMPARE.replace("/compare", "/compare.csv"))
    names = dict(zip(IDS, head[1:], strict=True))
    at = IDS[TEXTS.index("Low water at six.")]
    link = f"https://example.com/t/{at}" if shown else f"Tweet {at}"
    assert names[at] == f"impressions: Low water at six. {link}"
    assert all(name.startswith("impressions: ") for name in names.values())


def test_a_deleted_tweet_that_is_restored_has_lost_its_text(frida):
    oauth, person, _ = frida
    row = {"id": "70999", "author_id": "606", "text": "A secret of the harbour master."}
    send(oauth, [row])
    assert "A secret" in person.open("/explore").html
    key = oauth.server.world.platform_key
    assert oauth.server.client.platform("DELETE", "tweets/70999", key).status == 204
    assert "70999" not in person.open("/explore").html
    send(oauth, [{"id": "70999", "author_id": "606", "deleted": False}])
    page = person.open("/explore").html
    assert "A secret" not in page
    assert 'translate="no">70999<' in page
    oauth.server.client.platform("DELETE", "tweets/70999", key)


def test_the_file_of_tweets_needs_a_session(frida):
    oauth, *_ = frida
    with oauth.person() as visitor:
        answer = visitor.http.get(f"{oauth.url}/explore/tweets.csv")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?")


@cases(
    ("query", "expected"),
    [
        ("low water", ["Low water at six."]),
        ("LOW six", ["Low water at six."]),
        ("<script>alert(1)</script>", None),
        ("no such words", []),
        ("70017", ["Low water at six."]),
    ],
)
def test_a_search_finds_words_and_ids_and_is_kept(frida, query, expected):
    _, person, _ = frida
    page = person.open(f"/explore?{urlencode({'q': query})}")
    assert page.status == 200
    assert "<script>alert" not in page.html
    if expected is not None:
        assert names_on(page.html) == expected
    assert ("No Tweets match" in page.html) == (expected == [])
    if expected:
        form = page.form_with("q", "sort_by", action="/explore")
        sent = urlencode([*form.fields, ("resort", "impressions")])
        sorted_page = person.open(f"/explore?{sent}")
        assert "sort=impressions" in sorted_page.url
        assert names_on(sorted_page.html) == expected
        link = re.search(r'href="(/explore\?[^"]*period=7d[^"]*)"', page.html)[1]
        assert names_on(person.open(html.unescape(link)).html) == expected
