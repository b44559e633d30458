"""The developer's console, usage and callback tester: what they show is what the API answers."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from support.calls import Bearer, question, sign_as_user
from support.cases import cases
from support.developer import (
    NEW,
    act,
    create,
    env_on,
    keys_path,
    secrets_on,
    settings_path,
)
from support.oauth_server import FORM, run_at_once
from support.person import read_page
from support.signing import as_form
from support.waiting import wait_for
from support.world import App

DEFAULTS = {"type_favorites": "on", "group_1": "tweet.id", "group_2": "engagement.type"}


@pytest.fixture(scope="module")
def env(many_apps, developer):
    """An enabled app of alice with every credential, as its `.env` has them."""
    app_id, page = create(
        developer, "Console", complete=True, callbacks="https://tides.example/return"
    )
    many_apps.server.command("app", "enable", app_id)
    return env_on(page) | {"APP_ID": app_id}


def page_of(env, name):
    return f"{settings_path(env['APP_ID'])}/{name}"


def send(developer, env, page, **fields):
    """Send the form of one of the app's pages with these fields and no others."""
    form = developer.open(page_of(env, page)).form_with("csrf_token", action=page_of(env, page))
    token = [pair for pair in form.fields if pair[0] == "csrf_token"]
    answer = developer.http.post(
        developer.origin + page_of(env, page),
        content=as_form([*token, *fields.items()]),
        headers=FORM,
    )
    return read(answer)


def read(answer):
    return read_page(answer)


# One `.env`.


def test_a_new_app_shows_one_complete_env_once(env, developer, many_apps):
    assert all(env[name] for name in env if name != "TWEET_ID"), env
    client = many_apps.server.client
    mine = App(
        env["APP_ID"],
        *(env[name] for name in ("CONSUMER_KEY", "CONSUMER_SECRET")),
        *(env[name] for name in ("ACCESS_TOKEN", "ACCESS_TOKEN_SECRET")),
    )
    for auth in (sign_as_user(mine), Bearer(env["BEARER_TOKEN"])):
        assert client.ask("totals", question("111"), auth).status == 200
    again = developer.open(keys_path(env["APP_ID"]))
    assert secrets_on(again) == {}
    for name in ("CONSUMER_SECRET", "ACCESS_TOKEN_SECRET", "BEARER_TOKEN"):
        assert env[name] not in again.html


def test_regenerating_everything_replaces_every_credential(many_apps, developer):
    app_id, page = create(developer, complete=True)
    old = env_on(page)
    new = env_on(act(developer, app_id, "regenerate_all"))
    names = [name for name in old if name not in {"ENGAGEMENT_API_URL", "TWEET_ID"}]
    assert len(names) == 5
    assert all(new[name] and new[name] != old[name] for name in names)
    answer = many_apps.server.client.ask("totals", question("111"), Bearer(old["BEARER_TOKEN"]))
    assert answer.code == "bearer_token_not_found"


def test_the_keys_page_says_who_decides_and_since_when(many_apps, developer):
    app_id, page = create(developer)
    assert "A manager of Open Engagement decides" in page.text("waiting")
    assert re.search(r"since \d+ \w+ \d{4}, \d\d:\d\d UTC", page.text("waiting"))
    many_apps.server.command("app", "enable", app_id)
    assert "waiting" not in developer.open(keys_path(app_id)).texts


def test_a_form_that_is_sent_twice_creates_one_app(many_apps, developer):
    """A double click, without scripts: both answers lead to the same app and the same secrets."""
    form = developer.open(NEW).form_with("name", action=NEW)
    sent = as_form(form.filled(name="Twice"))

    def submit(_):
        return developer.http.post(developer.origin + NEW, content=sent, headers=FORM)

    answers = run_at_once(submit, range(4))
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert many_apps.sql("select count(*) from apps where name = 'Twice'") == [(1,)]
    page = developer.open(answers[-1].headers["location"])
    assert set(secrets_on(page)) == {
        *("CONSUMER_KEY", "CONSUMER_SECRET"),
        *("ACCESS_TOKEN", "ACCESS_TOKEN_SECRET", "BEARER_TOKEN"),
    }
    answer = many_apps.server.client.ask(
        "totals", question("111"), Bearer(secrets_on(page)["BEARER_TOKEN"])
    )
    assert answer.code == "app_not_enabled"


def test_a_form_that_is_sent_again_later_shows_no_secret(many_apps, developer):
    form = developer.open(NEW).form_with("name", action=NEW)
    sent = as_form(form.filled(name="Later"))

    def submit():
        answer = developer.http.post(developer.origin + NEW, content=sent, headers=FORM)
        return developer.open(answer.headers["location"])

    first = submit()
    assert len(secrets_on(first)) == 5
    many_apps.sql("update apps set created_at_s = created_at_s - 61 where name = 'Later'")
    second = submit()
    assert (second.url, secrets_on(second)) == (first.url, {})


def test_a_new_page_creates_another_app(many_apps, developer):
    made = {create(developer, "Other")[0] for _ in range(2)}
    assert len(made) == 2


def test_the_same_submission_of_another_account_creates_its_own_app(many_apps, developer):
    with many_apps.person("bob") as bob:
        bob.sign_in()
        ids = set()
        for person in (developer, bob):
            form = person.open(NEW).form_with("name", action=NEW)
            fields = dict(form.filled(name="Same")) | {"submission": "same"}
            answer = person.http.post(
                person.origin + NEW, content=as_form(list(fields.items())), headers=FORM
            )
            ids.add(answer.headers["location"])
    assert len(ids) == 2


# The console.


def test_the_console_shows_the_answer_of_the_api(many_apps, developer, env):
    page = send(developer, env, "console", tweet_ids="111", sign_as="owner", **DEFAULTS)
    asked = question("111", types=("favorites",))
    auth = Bearer(env["BEARER_TOKEN"])
    expected = many_apps.server.client.ask("totals", asked, auth).json()
    [numbers] = expected.values()
    assert json.loads(page.texts["answer"]) == {"result": numbers}
    assert "x-per-minute-remaining" in page.texts["headers"]
    assert "Answer: 200" in page.text("outcome-title")
    assert "remedy" not in page.texts
    for name in ("CONSUMER_SECRET", "ACCESS_TOKEN_SECRET", "ACCESS_TOKEN", "BEARER_TOKEN"):
        assert env[name] not in page.html


@cases(
    ("fields", "code", "words"),
    [
        ({"sign_as": "app", "type_impressions": "on"}, "forbidden_metrics", "author"),
        ({"tweet_ids": "211"}, "forbidden_tweets", "another account"),
        ({"tweet_ids": "9"}, "tweets_unavailable", "unknown"),
        ({"body": '{"tweet_ids": []}'}, "invalid_field", "rule"),
        ({"endpoint": "28hr", "sign_as": "app"}, "forbidden_metrics", "author"),
        (
            {"endpoint": "historical", "start": "2024-05-02", "end": "2024-05-01"},
            "invalid_field",
            "rule",
        ),
        ({"group_2": "engagement.hour"}, "unsupported_group_bys", "dimensions"),
        ({"body": "{"}, "malformed_body", "JSON"),
        ({"body": '["<script>alert(1)</script>"]'}, "malformed_body", "JSON"),
    ],
)
def test_the_console_explains_refusals(developer, env, fields, code, words):
    fields = {"tweet_ids": "111", "sign_as": "owner", **DEFAULTS, **fields}
    if "type_impressions" in fields or code == "forbidden_tweets":
        fields["type_impressions"] = "on"
    page = send(developer, env, "console", **fields)
    assert page.status == 200
    assert f"x-error-code: {code}" in page.texts["headers"]
    assert words in page.text("remedy")
    assert "<script>alert" not in page.html


@cases(
    ("fields", "faulty"),
    [
        ({"tweet_ids": ""}, ["tweet_ids"]),
        ({"tweet_ids": " , "}, ["tweet_ids"]),
        ({"tweet_ids": "111, x"}, ["tweet_ids"]),
        ({"tweet_ids": '"><script>alert(1)</script>'}, ["tweet_ids"]),
        ({"type_favorites": None}, ["types"]),
        ({"endpoint": "historical", "start": "x", "end": "y"}, ["start", "end"]),
        ({"endpoint": "historical", "end": "2026-02-30", "tweet_ids": "-1"}, ["tweet_ids", "end"]),
    ],
)
def test_the_console_says_what_to_write(many_apps, developer, env, fields, faulty):
    """Nothing is sent, and every error stands beside its field."""
    fields = {"tweet_ids": "111", "sign_as": "owner", **DEFAULTS, **fields}
    given = {name: text for name, text in fields.items() if text is not None}
    page = send(developer, env, "console", **given)
    assert page.status == 400
    assert "outcome-title" not in page.texts
    assert [name.removesuffix("-fault") for name in page.texts if "-fault" in name] == faulty
    for name in faulty:
        assert page.text(f"{name}-fault") in page.text("faults")
        assert f'href="#{name}"' in page.html
    assert page.html.count('aria-invalid="true"') == len(faulty)
    kept = dict(page.form_with("tweet_ids").fields)
    assert (kept["tweet_ids"], kept["start"]) == (given["tweet_ids"], given.get("start", ""))
    assert "<script>alert" not in page.html


def test_an_empty_callback_url_is_not_sent(developer, env):
    page = send(developer, env, "callback", callback=" ")
    assert page.status == 400
    assert page.text("callback-fault") == "Write a callback URL, or oob for a PIN."
    assert "outcome-title" not in page.texts


def test_the_console_needs_an_access_token_to_sign_for_the_owner(developer):
    app_id, _ = create(developer)
    env = {"APP_ID": app_id}
    page = send(developer, env, "console", tweet_ids="111", sign_as="owner", **DEFAULTS)
    assert page.status == 400
    assert "You have no access token" in page.text("sign_as-fault")
    page = send(developer, env, "console", tweet_ids="111", sign_as="app", **DEFAULTS)
    assert "x-error-code: app_not_enabled" in page.texts["headers"]
    assert "Wait for a manager" in page.text("remedy")


def test_a_long_answer_is_cut(developer, env):
    body = '{"tweet_ids": ["' + "9" * 5000 + '"]}'
    page = send(developer, env, "console", sign_as="app", body=body)
    assert len(page.texts["answer"]) <= 20_000


# Usage.


def test_usage_is_that_of_the_api(many_apps, developer, env):
    auth = Bearer(env["BEARER_TOKEN"])
    answer = many_apps.server.client.ask("totals", question("9"), auth)
    assert answer.code == "tweets_unavailable"
    page = developer.open(page_of(env, "usage"))
    assert int(page.text("remaining").replace(",", "")) + int(page.text("used")) == 6000
    assert page.text("limit") == "6,000"
    wait_for(lambda: "tweets_unavailable" in developer.open(page_of(env, "usage")).html)
    page = developer.open(page_of(env, "usage"))
    assert "Check the Tweet IDs." in page.html
    # One statement: another worker may write its counts at any time.
    [(counted, of_month)] = many_apps.sql(
        "select (select sum(requests) from usage_refusals where app_id = ? and reason = ?),"
        " (select sum(requests) from usage_requests where app_id = ? and outcome = ?)",
        *(int(env["APP_ID"]), "tweets_unavailable") * 2,
    )
    assert counted == of_month > 0


def test_the_page_of_usage_counts_nothing(developer, env):
    first, second = (developer.open(page_of(env, "usage")).text("used") for _ in range(2))
    assert int(second) <= int(first)


def test_refusals_of_a_removed_app_are_removed(many_apps, developer, env):
    app_id, page = create(developer, complete=True)
    bearer = secrets_on(page)["BEARER_TOKEN"]
    assert many_apps.server.client.ask("totals", question("111"), Bearer(bearer)).status == 403
    rows = "select count(*) from usage_refusals where app_id = ?"
    wait_for(lambda: many_apps.sql(rows, int(app_id)) == [(1,)])
    settings = developer.open(settings_path(app_id))
    developer.submit(settings, settings.form_sending("action", "delete"), action="delete")
    assert many_apps.sql(rows, int(app_id)) == [(0,)]


# The callback tester.


def test_a_registered_callback_url_is_accepted(many_apps, developer, env):
    page = send(developer, env, "callback", callback="https://tides.example/return")
    address = page.text("authorize-url")
    assert urlsplit(address).path == "/oauth/authorize"
    [token] = parse_qs(urlsplit(address).query)["oauth_token"]
    assert "oauth_token_secret" not in page.html
    [(callback, verifier)] = many_apps.sql(
        "select callback, verifier from request_tokens where token = ?", token
    )
    assert (callback, verifier) == ("https://tides.example/return", None)
    consent = developer.open(address)
    assert "Authorize Console" in consent.html


@pytest.mark.parametrize(
    ("callback", "code", "near"),
    [
        ("https://tides.example/return/", "callback_not_approved", True),
        ("http://elsewhere.example/", "callback_not_approved", False),
        ("javascript:alert(1)", "callback_not_approved", False),
    ],
)
def test_other_callback_urls_are_explained(developer, env, callback, code, near):
    page = send(developer, env, "callback", callback=callback)
    assert code in page.text("outcome-title")
    assert "registered" in page.text("remedy")
    assert page.text("callback-fault") == page.text("remedy")
    assert 'aria-invalid="true"' in page.html
    assert ("near" in page.texts) == near
    assert "authorize-url" not in page.texts


def test_an_app_without_a_callback_url_uses_a_pin(developer):
    app_id, _ = create(developer)
    env = {"APP_ID": app_id}
    page = send(developer, env, "callback", callback="https://tides.example/return")
    assert "desktop_apps_only_pin" in page.text("outcome-title")
    page = send(developer, env, "callback", callback="oob")
    assert "authorize-url" in page.texts
