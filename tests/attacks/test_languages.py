"""The language of a page, and the platform's own look, over HTTP. The API stays English."""

import re

import httpx
import pytest

from support.cases import cases
from support.flows import CALLBACK, add_manager
from support.oauth_server import start_oauth_server

GERMAN = {"accept-language": "de-DE,de;q=0.9,en;q=0.5"}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
NOUNS = """
[en]
tweet = ["post", "posts"]
like = ["star", "stars"]
retweet = ["boost", "boosts"]
quote = ["quote", "quotes"]
[de]
tweet = ["Beitrag", "Beiträge", "Beiträgen"]
like = ["Stern", "Sterne", "Sternen"]
retweet = ["Boost", "Boosts", "Boosts"]
quote = ["Zitat", "Zitate", "Zitaten"]
"""


def get(origin, path, **headers):
    return httpx.get(f"{origin}{path}", headers=headers, trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def origin(oauth):
    return oauth.server.url


@pytest.fixture(scope="module")
def tides(world, tmp_path_factory):
    """A platform with a look of its own, German first."""
    folder = tmp_path_factory.mktemp("look")
    (folder / "logo.svg").write_bytes(SVG)
    (folder / "nouns.toml").write_text(NOUNS, encoding="utf-8")
    with start_oauth_server(
        world,
        platform_name="Tides",
        logo=str(folder / "logo.svg"),
        accent_color="#7a1fa2",
        accent_color_dark="#e0a8f5",
        languages="de, en",
        nouns=str(folder / "nouns.toml"),
        terms_url="https://tides.example/terms",
        support_url="mailto:help@tides.example",
    ) as made:
        yield made


# The language of a page.


@pytest.mark.parametrize(
    ("accepted", "code", "words"),
    [
        ("", "en", "Sign in to"),
        ("en-GB", "en", "Sign in to"),
        ("de-CH", "de", "anmelden"),
        ("fr, de;q=0.3", "de", "anmelden"),
        ("fr", "en", "Sign in to"),
        ("de;q=0", "en", "Sign in to"),
        ("\xff\xfe<script>" * 200, "en", "Sign in to"),
    ],
)
def test_a_page_speaks_the_language_of_the_browser(origin, accepted, code, words):
    answer = get(origin, "/sign-in", **{"accept-language": accepted.encode("latin-1")})
    assert answer.status_code == 200
    assert f'<html lang="{code}">' in answer.text
    assert words in answer.text
    assert answer.headers["content-language"] == code
    assert {"accept-language", "cookie"} <= set(answer.headers["vary"].split(", "))
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/no/such/page", "/manage/nothing", "/sign-in/oidc"])
def test_refusals_are_translated(origin, path):
    answer = get(origin, path, accept="text/html", **GERMAN)
    assert answer.status_code in {404, 405}
    assert "Diese Seite gibt es nicht" in answer.text or "hat keine Seite" in answer.text


def test_a_failure_before_a_page_is_made_is_translated(origin):
    answer = httpx.post(
        f"{origin}/sign-in",
        content=b"x" * 2_000_000,
        headers={**GERMAN, "content-type": "application/x-www-form-urlencoded"},
        trust_env=False,
        timeout=60,
    )
    assert answer.status_code == 413
    assert '<html lang="de">' in answer.text
    assert "Das Formular ist zu lang" in answer.text


def test_a_person_chooses_a_language_and_stays_on_the_page(oauth):
    with oauth.person() as person:
        page = person.open("/sign-in?return_to=/overview")
        page = person.submit(page, page.form_sending("language", "de"), language="de")
        assert page.url.endswith("/sign-in?return_to=%2Foverview")
        assert '<html lang="de">' in page.html
        person.http.headers["accept-language"] = "en"
        page = person.sign_in(page)
        assert "Übersicht" in page.html, "the choice wins over the browser"
        page = person.submit(page, page.form_sending("language", "en"), language="en")
        assert '<html lang="en">' in page.html
        cookies = [each for each in person.http.cookies.jar if each.name.endswith("language")]
        assert len(cookies) == 1
        assert cookies[0].has_nonstandard_attr("HttpOnly")


@pytest.mark.parametrize("code", ["fr", "", "<script>alert(1)</script>", "de\r\nset-cookie: a=b"])
def test_other_languages_are_not_stored(oauth, code):
    with oauth.person() as person:
        page = person.open("/sign-in")
        form = page.form_sending("language", "de")
        form.buttons = [("language", code)]
        page = person.submit(page, form, language=code)
        assert '<html lang="en">' in page.html
        assert not [each for each in person.http.cookies if "language" in each]


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_the_choice_leads_to_this_server_only(oauth, target):
    with oauth.person() as person:
        page = person.open("/sign-in")
        form = page.form_sending("language", "de")
        form.fields = [(name, target if name == "return_to" else v) for name, v in form.fields]
        page = person.submit(page, form, language="de")
        assert page.left_for is None
        assert page.url.rstrip("/") == person.origin


def test_a_foreign_form_changes_no_language(oauth):
    with oauth.person() as person:
        person.open("/sign-in")
        answer = person.http.post(f"{person.origin}/language", data={"language": "de"})
        assert answer.status_code == 403
        assert "language" not in answer.headers.get("set-cookie", "")


def test_a_forged_cookie_is_no_language(origin):
    for value in ("fr", "<script>", "../../etc/passwd", "de" * 1000):
        answer = get(origin, "/sign-in", cookie=f"oe_language={value}")
        assert '<html lang="en">' in answer.text


def test_the_answer_to_a_form_offers_no_other_language(oauth):
    """Its page may show a secret once, or what is wrong with the form."""
    with oauth.person() as person:
        page = person.open("/sign-in")
        form = page.form_with("screen_name", "password")
        page = person.submit(page, form, screen_name="alice", password="wrong")
        assert page.status == 403
        assert 'action="/language"' not in page.html


@cases("accepted", ["en", "de"])
@cases(
    "path",
    ["/", "/overview", "/explore", "/portal", "/settings/apps", "/docs", "/overview?period=28h"],
)
def test_every_page_is_whole_in_each_language(oauth, path, accepted):
    with oauth.person() as person:
        person.http.headers["accept-language"] = accepted
        person.sign_in()
        page = person.open(path)
        assert page.status == 200
        assert f'<html lang="{accepted}">' in page.html
        assert not re.search(r"%\(\w+\)s|%%|\{(tweet|like|retweet|quote|repl)\w*\}", page.html)


def test_scripts_have_the_texts_of_the_language(origin):
    page = get(origin, "/docs", **GERMAN).text
    (path,) = re.findall(r'src="(/static/messages-de\.\w+\.js)"', page)
    answer = get(origin, path)
    assert "Kopiert" in answer.text
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]


# What stays English.


def test_the_api_and_the_oauth_calls_do_not_change(oauth):
    origin = oauth.server.url
    for path in ("/insights/engagement/totals", "/oauth/request_token", "/oauth2/token"):
        plain, german = (
            httpx.post(f"{origin}{path}", headers=headers, trust_env=False, timeout=60)
            for headers in ({}, GERMAN)
        )
        assert plain.status_code >= 400
        assert (plain.status_code, plain.content) == (german.status_code, german.content)
        assert "content-language" not in german.headers
    for path in ("/openapi.json", "/no-call.json", "/1.1/account/verify_credentials.json"):
        assert get(origin, path).content == get(origin, path, **GERMAN).content


def test_the_console_shows_the_answers_of_the_api_in_english(oauth):
    with oauth.person() as person:
        person.http.headers.update(GERMAN)
        person.sign_in()
        page = person.open("/portal/new")
        assert "App anlegen" in page.html
        page = person.submit(page, page.form_with("name", "callbacks"), name="Übersetzt")
        app = page.url.partition("/keys")[0]
        page = person.open(f"{app}/console")
        form = page.form_with("endpoint", "tweet_ids")
        page = person.submit(page, form, tweet_ids="1", sign_as="app")
        assert "Ihre App-ID ist nicht für die Engagement API freigeschaltet." in page.html
        assert "errors" in page.text("answer")
        settings = person.open(app)
        delete = settings.form_sending("action", "delete")
        person.submit(settings, delete, action="delete")


# The platform's own look.


def test_the_first_language_is_the_default(tides):
    assert '<html lang="de">' in get(tides.server.url, "/").text
    english = get(tides.server.url, "/", **{"accept-language": "en"})
    assert '<html lang="en">' in english.text


def test_the_platforms_nouns_and_name(tides):
    german = get(tides.server.url, "/").text
    assert "Sehen Sie, wie Ihre Beiträge auf" in german
    assert "Sterne" in german
    english = get(tides.server.url, "/", **{"accept-language": "en"}).text
    assert "See how your posts do on" in english
    assert "Views, stars, clicks" in english
    for page in (german, english):
        assert "Tweet" not in page
        assert "Tides</title>" in page


def test_the_labels_of_metrics_follow_the_nouns(tides):
    with tides.person() as person:
        person.http.headers["accept-language"] = "en"
        page = person.sign_in(person.open("/sign-in?return_to=/overview"))
        assert "Stars" in page.html
        assert "Best posts" in page.html
        assert "Likes" not in page.html


AUTHOR = (
    *("/", "/overview", "/explore", "/explore?period=28d", "/explore?q=nothing"),
    *("/explore/compare?tweet_ids=111,112", "/explore/compare?tweet_ids=211"),
    *("/settings/apps", "/settings/sharing", "/settings/security"),
)
MANAGER = ("", "/usage", "/usage?month=2001-02", "/system", "/keys", "/accounts", "/audit")


def other_nouns(html):
    """Return the words of a page that are not the platform's nouns.

    The items of the system page are those of a command, in English.
    """
    html = re.sub(r'<dl[^>]* lang="en">.*?</dl>', "", html, flags=re.DOTALL)
    return re.findall(r"[^<>]*(?:\bTweet|\bLikes|\bRetweet)[^<>]*", html)


@pytest.mark.parametrize("language", ["en", "de"])
def test_people_read_the_platforms_nouns(tides, language):
    """Only the pages of developers have the words of the API."""
    asking = tides.request_token(tides.web, CALLBACK)
    with tides.person() as person:
        person.http.headers["accept-language"] = language
        found = other_nouns(person.sign_in(person.open(tides.consent_url(asking))).html)
        for path in AUTHOR:
            found += other_nouns(person.open(path).html)
    add_manager(tides.server, f"mara_{language}")
    with tides.person(f"mara_{language}") as manager:
        manager.http.headers["accept-language"] = language
        manager.sign_in()
        for path in MANAGER:
            found += other_nouns(manager.open(f"/manage{path}").html)
    assert found == []


def test_links_at_the_foot(tides, origin):
    page = get(tides.server.url, "/").text
    assert 'href="https://tides.example/terms"' in page
    assert 'href="mailto:help@tides.example"' in page
    assert "Datenschutz" not in page, "no link is set"
    assert "Terms" not in get(origin, "/").text


def test_logo_and_colours_are_served_by_this_server(tides):
    answer = get(tides.server.url, "/")
    (theme,) = re.findall(r'href="(/static/theme\.\w+\.css)"', answer.text)
    assert "--accent: #7a1fa2;" in get(tides.server.url, theme).text
    assert "img-src 'self'" in answer.headers["content-security-policy"]
    (logo,) = re.findall(r'<img class="mark" src="(/static/logo\.\w+)"', answer.text)
    picture = get(tides.server.url, logo)
    assert picture.content == SVG
    assert picture.headers["content-type"] == "image/svg+xml"
    policy = picture.headers["content-security-policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert picture.headers["x-content-type-options"] == "nosniff"


def test_the_page_of_consent_speaks_the_persons_language(oauth):
    asking = oauth.request_token(oauth.web, CALLBACK)
    with oauth.person() as person:
        person.http.headers.update(GERMAN)
        page = person.open(oauth.consent_url(asking))
        page = person.sign_in(page)
        assert "autorisieren, Ihr Konto zu verwenden?" in page.html
        assert "Ihr Passwort sehen" in page.html
        form = page.form_sending("decision", "authorize")
        page = person.submit(page, form, decision="authorize")
        assert page.left_for is not None
        assert page.left_for.startswith(CALLBACK)
