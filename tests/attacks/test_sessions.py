"""A session belongs to one browser; revocation takes effect on every worker."""

import re
import time
from urllib.parse import urlsplit

import pytest

from openengagement.registry.opening import open_registry
from support.flows import CALLBACK, OOB, PASSWORD
from support.sockets import exchange, request_bytes
from support.stage import TOTALS

ATTRIBUTES = {"HttpOnly", "SameSite=lax", "Path=/"}
APPS = "/settings/apps"


def is_in(person):
    return urlsplit(person.open(APPS).url).path == APPS


def cookies_of(answer):
    return {
        each.partition("=")[0]: each
        for key, each in answer.headers.multi_items()
        if key == "set-cookie"
    }


def form_of(person):
    return dict(person.open("/sign-in").form_with("password").fields)


# Session fixation.


@pytest.mark.parametrize("planted", ["x" * 43, ""])
def test_a_planted_session_cookie_is_replaced_at_sign_in(stage, planted):
    with stage.person() as victim, stage.person() as attacker:
        for person in (victim, attacker):
            person.http.cookies.set("oe_session", planted, domain="127.0.0.1", path="/")
        victim.sign_in()
        assert victim.http.cookies.get("oe_session", domain="127.0.0.1") != planted
        assert is_in(victim)
        assert not is_in(attacker)


def test_a_planted_session_of_the_attacker_ends_at_sign_in(stage):
    """The sign-in ends that session and starts another."""
    with stage.person("bob") as attacker, stage.person() as victim:
        attacker.sign_in()
        mine = attacker.http.cookies["oe_session"]
        victim.http.cookies.set("oe_session", mine, domain="127.0.0.1", path="/")
        page = victim.sign_in()
        assert victim.http.cookies["oe_session"] != mine
        assert "@alice" in page.html
        assert not is_in(attacker)


def test_every_sign_in_starts_a_new_session(stage):
    with stage.person() as person:
        person.sign_in()
        first = person.http.cookies["oe_session"]
        person.sign_in(person.open("/sign-in"))
        second = person.http.cookies["oe_session"]
        assert first != second
        assert len(first) == len(second) == 43
        person.http.cookies.set("oe_session", first, domain="127.0.0.1", path="/")
        assert not is_in(person)


def test_a_failed_sign_in_starts_no_session(stage):
    with stage.person("alice", "not the password") as person:
        page = person.sign_in()
        assert page.status == 403
        assert set(person.http.cookies) == {"oe_visitor"}
        assert not is_in(person)


# Cookies.


def test_cookies_are_http_only_and_for_this_host(stage):
    with stage.person() as person:
        fields = form_of(person) | {"screen_name": "alice", "password": PASSWORD}
        answer = person.http.post(f"{stage.url}/sign-in", data=fields)
    found = cookies_of(answer)
    assert set(found) == {"oe_session", "oe_visitor", "oe_fresh", "oe_known"}
    for each in found.values():
        assert set(each.split("; ")) >= ATTRIBUTES
        assert "domain" not in each.lower()


def test_under_tls_cookies_have_the_host_prefix(proxied):
    """With the prefix, browsers refuse such cookies from other hosts, and we read no others."""
    secure = [("X-Forwarded-Proto", "https")]
    port = proxied.server.port
    answer = exchange(port, request_bytes("GET", "/sign-in", secure))
    assert answer.headers["set-cookie"].startswith("__Host-oe_visitor=")
    assert set(answer.headers["set-cookie"].split("; ")) >= {"Secure", *ATTRIBUTES}
    assert "max-age=" in answer.headers["strict-transport-security"]
    with proxied.person() as person:
        person.sign_in()
        session = person.http.cookies["oe_session"]
    tossed = ("Cookie", f"oe_session={session}")
    assert exchange(port, request_bytes("GET", APPS, [tossed])).status == 200
    assert exchange(port, request_bytes("GET", APPS, [*secure, tossed])).status == 303
    good = ("Cookie", f"__Host-oe_session={session}")
    assert exchange(port, request_bytes("GET", APPS, [*secure, good])).status == 200
    assert exchange(port, request_bytes("GET", APPS, [good])).status == 303


def test_only_a_trusted_proxy_can_declare_tls(stage):
    answer = exchange(
        stage.server.port, request_bytes("GET", "/sign-in", [("X-Forwarded-Proto", "https")])
    )
    assert answer.headers["set-cookie"].startswith("oe_visitor=")
    assert "strict-transport-security" not in answer.headers


def test_a_session_expires(stage):
    with stage.person() as person:
        person.sign_in()
        assert is_in(person)
        stage.sql("update sessions set created_at_s = created_at_s - 15 * 86400")
        assert not is_in(person)
        stage.sql("update sessions set created_at_s = created_at_s + 15 * 86400")


def test_the_id_of_a_session_is_not_a_credential(stage):
    """The page shows the id, never the secret."""
    with stage.person() as person, stage.person() as thief:
        person.sign_in()
        page = person.open(APPS)
        assert person.http.cookies["oe_session"] not in page.html
        for (name,) in stage.sql("select id from sessions"):
            thief.http.cookies.set("oe_session", name, domain="127.0.0.1", path="/")
            assert not is_in(thief)


# force_login


def test_force_login_demands_a_sign_in_for_the_same_request(stage, alice):
    first, second = (stage.request_token(stage.web, CALLBACK) for _ in range(2))
    page = alice.open(f"{stage.page_of(first)}&force_login=true")
    assert "/sign-in?" in page.url
    with stage.person() as person:
        person.sign_in()
        page = person.open(f"{stage.page_of(first)}&force_login=true")
        assert "/sign-in?" in page.url
        page = person.sign_in(page)
        assert page.form_sending("decision", "authorize")
        page = person.open(f"{stage.page_of(second)}&force_login=true")
        assert "/sign-in?" in page.url
        fresh = person.http.cookies["oe_fresh"]
    with stage.person() as other:
        other.sign_in()
        other.http.cookies.set("oe_fresh", fresh, domain="127.0.0.1", path="/")
        assert "/sign-in?" in other.open(f"{stage.page_of(first)}&force_login=true").url


# Ends of sessions.


def test_signing_out_ends_the_session_on_every_worker(wide, clients):
    with wide.person() as person:
        person.sign_in()
        cookie = {"Cookie": f"oe_session={person.http.cookies['oe_session']}"}
        assert {each.send("GET", APPS, headers=cookie).status for each in clients} == {200}
        person.sign_out()
        assert {each.send("GET", APPS, headers=cookie).status for each in clients} == {303}


def test_ending_a_session_from_another_browser(wide, clients):
    with wide.person() as lost, wide.person() as person:
        lost.sign_in()
        person.sign_in()
        cookie = {"Cookie": f"oe_session={lost.http.cookies['oe_session']}"}
        assert {each.send("GET", APPS, headers=cookie).status for each in clients} == {200}
        page = person.open(APPS)
        for form in [each for each in page.forms if "session_id" in each.names]:
            person.submit(page, form)
        assert {each.send("GET", APPS, headers=cookie).status for each in clients} == {303}
        assert is_in(person)


@pytest.mark.parametrize("way", ["page", "call"])
def test_a_revoked_token_stops_working_at_once_on_every_worker(wide, wide_alice, clients, way):
    holder = wide.token_of(wide_alice, wide.web)
    assert {wide.who(holder, each).status for each in clients} == {200}
    if way == "page":
        wide_alice.revoke(wide.web.app_id)
    else:
        assert wide.call("/1.1/oauth/invalidate_token", holder).status == 200
    for each in clients:
        answer = wide.who(holder, each)
        assert (answer.status, answer.json()["errors"][0]["code"]) == (401, 89)
        assert wide.call(TOTALS, holder, client=each).code == "access_token_not_found"
    again = wide.token_of(wide_alice, wide.web)
    assert again.access_token != holder.access_token
    assert again.access_token_secret != holder.access_token_secret
    assert {wide.who(holder, each).status for each in clients} == {401}


def test_revoking_an_app_ends_its_pending_requests(wide, wide_alice):
    """Otherwise a revoked app could use a consent that it had kept."""
    wide.token_of(wide_alice, wide.other)
    asking, verifier = wide.let_in(wide_alice, wide.other)
    wide_alice.revoke(wide.other.app_id)
    assert wide.exchange(asking, verifier).status == 401


def test_a_revoked_app_must_ask_for_consent_again(wide):
    """`authenticate` skips consent for an authorized app, but not after a revocation."""
    made = wide.server.command(
        "app", "add", "Signs in", "--owner", "bob", f"--callback={CALLBACK}", "--sign-in"
    )
    app = type(wide.web)(made["app_id"], made["consumer_key"], made["consumer_secret"], "", "")
    with wide.person() as person:
        person.sign_in()
        wide.token_of(person, app)
        page = person.open(wide.page_of(wide.request_token(app, CALLBACK), "authenticate"))
        assert page.left_for.startswith(CALLBACK)
        person.revoke(app.app_id)
        page = person.open(wide.page_of(wide.request_token(app, CALLBACK), "authenticate"))
        assert page.left_for is None
        assert page.form_sending("decision", "authorize")


def test_authenticate_always_asks_for_apps_without_sign_in(wide, wide_alice):
    wide.token_of(wide_alice, wide.web)
    page = wide_alice.open(wide.page_of(wide.request_token(wide.web, CALLBACK), "authenticate"))
    assert page.left_for is None


def test_a_changed_password_ends_sessions_and_tokens_on_every_worker(wide, clients):
    server = wide.server
    server.command("account", "add", "changing")
    server.command("account", "password", "changing", "--stdin", stdin=f"{PASSWORD}\n")
    with wide.person("changing") as person:
        person.sign_in()
        cookie = {"Cookie": f"oe_session={person.http.cookies['oe_session']}"}
        holder = wide.token_of(person, wide.web)
        asking, pin = wide.let_in(person, wide.desktop, OOB)
        assert {each.send("GET", APPS, headers=cookie).status for each in clients} == {200}
        assert {wide.who(holder, each).status for each in clients} == {200}
        new = "another 40 lanterns"
        server.command("account", "password", "changing", "--stdin", stdin=f"{new}\n")
        assert {each.send("GET", APPS, headers=cookie).status for each in clients} == {303}
        assert {wide.who(holder, each).status for each in clients} == {401}
        assert wide.exchange(asking, pin).status == 401
        assert person.sign_in().status == 403
        person.password = new
        assert person.sign_in().status == 200


def test_the_times_of_a_session_are_current(stage, alice):
    """People recognize an unknown session by its times."""
    page = alice.open(APPS)
    found = re.findall(r'datetime="(\d{4}-\d\d-\d\dT\d\d):', page.html)
    assert time.strftime("%Y-%m-%dT%H", time.gmtime()) in found or time.gmtime().tm_min < 10


def beside(stage, planted):
    """The answer to a browser that sends a planted cookie after its session cookie."""
    with stage.person() as person:
        person.sign_in()
        mine = person.http.cookies["oe_session"]
        cookies = [("Cookie", f"oe_session={mine}; {planted}")]
        return exchange(stage.server.port, request_bytes("GET", APPS, cookies))


@pytest.mark.parametrize("stray", ["\xa0", "\x85", "\x1f", "\x0b"])
def test_a_stray_byte_before_a_cookie_name_is_part_of_the_name(stage, stray):
    """Another host of the domain could set such a cookie despite the `__Host-` prefix."""
    assert beside(stage, f"{stray}oe_session=planted").status in {200, 400}


def test_a_cookie_that_is_sent_twice_counts_as_missing(stage):
    assert beside(stage, "oe_session=planted").status == 303


def test_an_account_has_at_most_fifty_sessions(stage):
    registry = open_registry(stage.server.data)
    try:
        account = registry.accounts.find_account("alice")
        for at in range(60):
            registry.sessions.add_session(
                f"extra{at}", b"%d" % at, account_id=account.id, browser="x", now_s=at
            )
        live = registry.sessions.list_sessions(account.id, oldest_s=0)
        assert len(live) == 50
        for session in live:
            if session.id.startswith("extra"):
                registry.sessions.end_session(session.id, account_id=account.id)
    finally:
        registry.close()
