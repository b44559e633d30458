"""Keys and tokens: shown once to one person, and revoked at once on every worker."""

import re
import time
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

import pytest

from support.calls import Bearer, question, sign_as_user
from support.developer import (
    NEW,
    PORTAL,
    act,
    collect,
    create,
    env_on,
    keys_path,
    secrets_on,
    settings_path,
)
from support.oauth_server import FORM, INVALIDATE_TOKEN, connected_clients, run_at_once
from support.person import read_page
from support.signing import as_form
from support.world import App

QUESTION = question("111")
FIGURES = {"g": {"111": {"favorites": "4"}}}
OWNERS_QUESTION = question("111", types=("impressions",))
MAKES = {
    "regenerate_bearer": {"BEARER_TOKEN"},
    "regenerate_token": {"ACCESS_TOKEN", "ACCESS_TOKEN_SECRET"},
    "regenerate_key": {"CONSUMER_KEY", "CONSUMER_SECRET"},
}


@pytest.fixture(scope="module")
def crowd(many_apps):
    with connected_clients(many_apps.server) as made:
        yield made


@pytest.fixture
def live(many_apps, developer):
    """An enabled app of alice with every credential, and its bearer token."""
    app, bearer = collect(developer)
    many_apps.server.command("app", "enable", app.app_id)
    return app, bearer


@pytest.fixture
def secret_log(many_apps):
    """Collects secrets. At the end, the log must hold none of them."""
    kept = []
    yield kept
    log = many_apps.server.log()
    assert kept
    assert [secret for secret in kept if secret in log] == []


def post(person, path, **fields):
    """Send a form without following its redirect."""
    page = person.open("/sign-in")
    token = next(v for form in page.forms for name, v in form.fields if name == "csrf_token")
    sent = as_form(list((fields | {"csrf_token": token}).items()))
    return person.http.post(person.origin + path, content=sent, headers=FORM)


def statuses(crowd, auth):
    """The statuses that the workers answer to this credential."""
    return {each.ask("totals", QUESTION, auth).status for each in crowd}


def parcel_of(person, app_id, action="regenerate_bearer"):
    """Return the cookie that holds a secret, and delete it from the person's browser."""
    answer = post(person, keys_path(app_id), action=action)
    section = action.rpartition("_")[2]
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{keys_path(app_id)}#{section}-title"
    parcel = person.http.cookies["oe_once"]
    person.http.cookies.delete("oe_once")
    return parcel


def open_with(person, path, parcel):
    person.http.cookies.set("oe_once", parcel, domain="127.0.0.1", path="/")
    try:
        return person.open(path)
    finally:
        for cookie in [each for each in person.http.cookies.jar if each.name == "oe_once"]:
            person.http.cookies.jar.clear(cookie.domain, cookie.path, cookie.name)


# One-time secrets.


def test_a_new_secret_is_shown_once(many_apps, secret_log):
    with many_apps.person() as person:
        person.sign_in()
        seen = []
        person.http.event_hooks["request"].append(
            lambda sent: seen.append(f"{sent.url} {sent.headers.get('referer')}")
        )
        app_id, page = create(person)
        made = [(page, {"CONSUMER_KEY", "CONSUMER_SECRET"})]
        made.append((act(person, app_id, "generate_bearer"), {"BEARER_TOKEN"}))
        pair = {"ACCESS_TOKEN", "ACCESS_TOKEN_SECRET"}
        made.append((act(person, app_id, "generate_token"), pair))
        made += [(act(person, app_id, action), names) for action, names in MAKES.items()]
        others = [person.open(each) for each in (keys_path(app_id), settings_path(app_id), PORTAL)]
        for page, names in made:
            found = secrets_on(page)
            assert found.keys() == names
            assert urlsplit(page.url).path == keys_path(app_id)
            assert {name: value for name, value in env_on(page).items() if name in found} == found
            assert [n for n, value in env_on(page).items() if value and n not in found] == [
                "ENGAGEMENT_API_URL",
                "TWEET_ID",
            ]
            for name, secret in found.items():
                holds = [each for each, _ in made if secret in each.html]
                assert holds == [page], name
                assert [each for each in others if secret in each.html] == [], name
                assert [each for each in seen if secret in each] == [], name
            secret_log += found.values()
        assert len(set(secret_log)) == len(secret_log) == 10


def test_the_cookie_of_a_secret_is_encrypted_and_short_lived(developer, live, secret_log):
    answer = post(developer, keys_path(live[0].app_id), action="regenerate_key")
    cookie = next(each for each in answer.headers.get_list("set-cookie") if "oe_once=" in each)
    attributes = set(cookie.split("; ")[1:])
    assert attributes == {"HttpOnly", "Max-Age=60", "Path=/", "SameSite=lax"}
    page = developer.open(keys_path(live[0].app_id))
    assert "CONSUMER_SECRET" in secrets_on(page)
    for secret in secrets_on(page).values():
        assert secret not in str(answer.headers)
        assert secret not in answer.text
        secret_log.append(secret)
    gone = next(each for each in page.response.headers.get_list("set-cookie") if "oe_once=" in each)
    assert "Max-Age=0" in gone
    assert page.response.headers["cache-control"] == "no-store"
    assert page.response.headers["referrer-policy"] == "no-referrer"
    assert "oe_once" not in developer.http.cookies


def test_the_cookie_is_useless_in_another_session(many_apps, developer, live):
    app_id = live[0].app_id
    other, _ = create(developer)
    parcel = parcel_of(developer, app_id)
    with (
        many_apps.person("bob") as bob,
        many_apps.person() as again,
        many_apps.person() as stranger,
    ):
        bob.sign_in()
        bobs, _ = create(bob)
        again.sign_in()
        pages = [
            open_with(developer, keys_path(other), parcel),
            open_with(bob, keys_path(app_id), parcel),
            open_with(bob, keys_path(bobs), parcel),
            open_with(again, keys_path(app_id), parcel),  # another session of alice
            open_with(stranger, keys_path(app_id), parcel),
        ]
    assert [each.status for each in pages] == [200, 404, 200, 200, 200]
    assert [secrets_on(each) for each in pages] == [{}] * 5
    shown = open_with(developer, keys_path(app_id), parcel)
    assert secrets_on(shown).keys() == {"BEARER_TOKEN"}, "the unchanged cookie is valid"


def test_the_cookie_is_useless_after_the_session(many_apps):
    with many_apps.person() as person:
        person.sign_in()
        app_id, _ = create(person)
        parcel = parcel_of(person, app_id)
        person.sign_out()
        person.sign_in()
        assert secrets_on(open_with(person, keys_path(app_id), parcel)) == {}


def test_invalid_cookies_yield_nothing(many_apps, developer, live):
    """Garbage, a valid cookie with a changed character, and values sealed for other purposes."""
    app_id = live[0].app_id
    parcel = parcel_of(developer, app_id)
    [(sealed,)] = many_apps.sql("select consumer_secret from apps where id = ?", int(app_id))
    turned = chr(ord(parcel[40]) ^ 1)
    for bad in (
        *("", "x", "=", "gAAAAA", "A" * 100, "A" * 101, "A" * 4000, '"', "%00"),
        *(parcel[:-1], parcel + "A", parcel[:40] + turned + parcel[41:], parcel.swapcase()),
        *(parcel + "=", parcel + "==", sealed.decode(), developer.http.cookies["oe_session"]),
    ):
        page = open_with(developer, keys_path(app_id), bad)
        assert page.status == 200
        good = bad.rstrip("=") == parcel
        assert set(secrets_on(page)) == ({"BEARER_TOKEN"} if good else set()), bad
    raw = f"oe_session={developer.http.cookies['oe_session']}; oe_once=".encode() + b"\xff\xfe\xe9"
    answer = developer.http.get(developer.origin + keys_path(app_id), headers={"Cookie": raw})
    assert (answer.status_code, secrets_on(read_page(answer))) == (200, {})


def test_opening_another_page_does_not_lose_the_secret(many_apps, developer, live):
    """The secret still waits for its own page."""
    post(developer, keys_path(live[0].app_id), action="regenerate_bearer")
    assert developer.open(settings_path(live[0].app_id)).status == 200
    assert developer.open(keys_path("1")).status == 404
    assert secrets_on(developer.open(keys_path(live[0].app_id))).keys() == {"BEARER_TOKEN"}


# Actions.


@pytest.mark.parametrize("action", ["generate_bearer", "generate_token"])
def test_generating_does_not_replace_an_existing_credential(
    many_apps, developer, live, crowd, action
):
    app, bearer = live
    answer = post(developer, keys_path(app.app_id), action=action)
    assert answer.status_code == 303
    assert "oe_once" not in answer.headers.get("set-cookie", "")
    assert secrets_on(developer.open(keys_path(app.app_id))) == {}
    assert statuses(crowd, Bearer(bearer)) == {200}
    assert statuses(crowd, sign_as_user(app)) == {200}


@pytest.mark.parametrize("action", ["generate_bearer", "generate_token"])
def test_two_concurrent_generations_make_one_credential(many_apps, developer, crowd, action):
    """Every credential that a page has shown works."""
    with many_apps.person() as other:
        other.sign_in()
        for _ in range(4):
            app_id, page = create(developer)
            many_apps.server.command("app", "enable", app_id)
            key = secrets_on(page)
            pages = run_at_once(partial(act_now, app_id, action), [developer, other])
            shown = [secrets_on(each) for each in pages if secrets_on(each)]
            assert shown
            for each in shown:
                if action == "generate_bearer":
                    auth = Bearer(each["BEARER_TOKEN"])
                else:
                    names = ("ACCESS_TOKEN", "ACCESS_TOKEN_SECRET")
                    pair = [each[name] for name in names]
                    key_pair = (key["CONSUMER_KEY"], key["CONSUMER_SECRET"])
                    auth = sign_as_user(App(app_id, *key_pair, *pair))
                assert crowd[0].ask("totals", QUESTION, auth).status == 200


def act_now(app_id, action, person):
    """Send the action without opening the page first."""
    assert post(person, keys_path(app_id), action=action).status_code == 303
    return person.open(keys_path(app_id))


@pytest.mark.parametrize(
    "action", ["", "x", "generate", "Generate_bearer", "generate_bearer ", "delete", "__init__"]
)
def test_an_unknown_action_changes_nothing(many_apps, developer, live, action):
    app_id = int(live[0].app_id)
    rows = ("select * from apps where id = ?", "select * from access_tokens where app_id = ?")
    before = [many_apps.sql(row, app_id) for row in rows]
    answer = post(developer, keys_path(str(app_id)), action=action)
    assert answer.status_code == 303
    assert "oe_once" not in answer.headers.get("set-cookie", "")
    assert [many_apps.sql(row, app_id) for row in rows] == before
    both = [("action", "revoke_bearer"), ("action", "revoke_token")]
    token = dict(developer.open(NEW).form_with("name").fields)["csrf_token"]
    sent = as_form([*both, ("csrf_token", token)])
    url = developer.origin + keys_path(str(app_id))
    assert developer.http.post(url, content=sent, headers=FORM).status_code == 303
    assert [many_apps.sql(row, app_id) for row in rows] == before


def test_regenerating_the_api_key_revokes_the_old_one_on_every_worker(
    many_apps, developer, live, crowd
):
    app, bearer = live
    assert statuses(crowd, sign_as_user(app)) == statuses(crowd, Bearer(bearer)) == {200}
    found = secrets_on(act(developer, app.app_id, "regenerate_key"))
    assert statuses(crowd, sign_as_user(app)) == {401}
    assert statuses(crowd, Bearer(bearer)) == {401}
    half = replace(app, consumer_key=found["CONSUMER_KEY"])
    assert statuses(crowd, sign_as_user(half)) == {401}
    new = replace(half, consumer_secret=found["CONSUMER_SECRET"])
    # The access token keeps working, as the page says.
    answers = [each.ask("totals", OWNERS_QUESTION, sign_as_user(new)) for each in crowd]
    assert {answer.body for answer in answers} == {b'{"g":{"111":{"impressions":"40"}}}'}
    fresh = secrets_on(act(developer, app.app_id, "generate_bearer"))["BEARER_TOKEN"]
    assert fresh != bearer
    assert statuses(crowd, Bearer(fresh)) == {200}
    basic = {app.consumer_key: app.consumer_secret, new.consumer_key: new.consumer_secret}
    answered = [fetch_bearer(many_apps, *pair) for pair in basic.items()]
    assert [each.status_code for each in answered] == [403, 200]
    assert answered[1].json()["access_token"] == fresh


def fetch_bearer(many_apps, key, secret):
    with many_apps.person() as person:
        return person.http.post(
            f"{many_apps.url}/oauth2/token",
            auth=(key, secret),
            data={"grant_type": "client_credentials"},
        )


def test_regenerating_the_bearer_token_revokes_the_old_one_on_every_worker(developer, live, crowd):
    app, bearer = live
    assert statuses(crowd, Bearer(bearer)) == {200}
    fresh = secrets_on(act(developer, app.app_id, "regenerate_bearer"))["BEARER_TOKEN"]
    assert (statuses(crowd, Bearer(bearer)), statuses(crowd, Bearer(fresh))) == ({401}, {200})
    page = act(developer, app.app_id, "revoke_bearer")
    assert secrets_on(page) == {}
    assert statuses(crowd, Bearer(fresh)) == {401}
    assert page.form_sending("action", "generate_bearer")
    assert statuses(crowd, sign_as_user(app)) == {200}
    third = secrets_on(act(developer, app.app_id, "generate_bearer"))["BEARER_TOKEN"]
    assert third not in {bearer, fresh}
    assert statuses(crowd, Bearer(bearer)) == statuses(crowd, Bearer(fresh)) == {401}


def test_regenerating_the_access_token_revokes_the_old_one_on_every_worker(
    many_apps, developer, live, crowd
):
    app, bearer = live
    assert statuses(crowd, sign_as_user(app)) == {200}
    found = secrets_on(act(developer, app.app_id, "regenerate_token"))
    names = ("ACCESS_TOKEN", "ACCESS_TOKEN_SECRET")
    fresh = App(app.app_id, app.consumer_key, app.consumer_secret, *(found[n] for n in names))
    assert statuses(crowd, sign_as_user(app)) == {401}
    assert statuses(crowd, sign_as_user(fresh)) == {200}
    mixed = replace(app, access_token=fresh.access_token)
    assert statuses(crowd, sign_as_user(mixed)) == {401}
    page = act(developer, app.app_id, "revoke_token")
    assert page.form_sending("action", "generate_token")
    assert statuses(crowd, sign_as_user(fresh)) == {401}
    assert statuses(crowd, Bearer(bearer)) == {200}


def test_a_token_that_was_revoked_elsewhere(many_apps, developer, live):
    """On the account page, or by the app's own call."""
    app, _ = live
    developer.revoke(app.app_id)
    page = developer.open(keys_path(app.app_id))
    found = secrets_on(
        developer.submit(
            page, page.form_sending("action", "generate_token"), action="generate_token"
        )
    )
    names = ("ACCESS_TOKEN", "ACCESS_TOKEN_SECRET")
    fresh = App(app.app_id, app.consumer_key, app.consumer_secret, *(found[n] for n in names))
    assert many_apps.call(INVALIDATE_TOKEN, fresh).status == 200
    assert developer.open(keys_path(app.app_id)).form_sending("action", "generate_token")


def test_tokens_of_other_people_are_not_affected(many_apps, developer, live, crowd):
    """The owner cannot create, see or revoke the access token that bob granted."""
    app, _ = live
    form = {"callbacks": "https://tides.example/return"}
    page = developer.open(settings_path(app.app_id))
    developer.submit(page, page.form_with("name"), **form)
    with many_apps.person("bob") as bob:
        bob.sign_in()
        holder = many_apps.access_token_of(bob, replace(app, access_token=""), form["callbacks"])
    for action in ("regenerate_token", "revoke_token"):
        page = act(developer, app.app_id, action)
        assert holder.access_token not in page.html
        assert {many_apps.verify_credentials(holder, each).status for each in crowd} == {200}


def test_a_token_keeps_the_permission_of_its_creation(many_apps, developer):
    app_id, _ = create(developer, access_level="read-write")
    act(developer, app_id, "generate_token")
    level = "select access_level from access_tokens where app_id = ?"
    page = developer.open(settings_path(app_id))
    developer.submit(page, page.form_with("name"), access_level="read")
    assert many_apps.sql(level, int(app_id)) == [("read-write",)]
    said = " ".join(developer.open(keys_path(app_id)).html.split())
    assert "Created with <strong>Read and write</strong> permissions" in said
    assert "The app now has <strong>Read only</strong>" in said
    said = " ".join(act(developer, app_id, "regenerate_token").html.split())
    assert many_apps.sql(level, int(app_id)) == [("read",)]
    assert "Created with <strong>Read only</strong> permissions" in said
    assert "The app now has" not in said


def test_the_page_shows_when_a_token_was_created_and_used(many_apps, developer, live):
    app, _ = live
    page = developer.open(keys_path(app.app_id))
    created = re.findall(r'<dt>Created</dt><dd><time datetime="([^"]+)"', page.html)
    assert len(created) == 1
    made = time.mktime(time.strptime(f"{created[0]} UTC", "%Y-%m-%dT%H:%M:%SZ %Z")) - time.timezone
    assert abs(time.time() - made) < 120
    assert re.search(r"<dt>Last used</dt><dd>\s*never", page.html)
    many_apps.sql(
        "update access_tokens set last_used_s = ? where app_id = ?", 1_795_342_500, int(app.app_id)
    )
    assert "22 Nov 2026" in developer.open(keys_path(app.app_id)).html


def test_the_page_shows_only_a_hint_of_the_api_key(developer, live):
    app, _ = live
    page = developer.open(keys_path(app.app_id))
    assert f"<code>{app.consumer_key[:4]}…{app.consumer_key[-4:]}</code>" in page.html
    assert app.consumer_key[:5] not in page.html


def test_requests_of_an_app_that_is_not_enabled_are_refused(developer, crowd):
    app, bearer = collect(developer)
    for auth in (Bearer(bearer), sign_as_user(app)):
        answer = crowd[0].ask("totals", QUESTION, auth)
        assert (answer.status, answer.code) == (403, "app_not_enabled")
