"""A session belongs to one browser; revocation takes effect on every worker."""

import re
import threading
import time
from urllib.parse import urlsplit

import pytest

from openengagement.registry.opening import open_registry
from openengagement.registry.sessions import NewSession
from support.flows import CALLBACK, OOB, PASSWORD, set_password
from support.oauth_server import TOTALS
from support.sockets import exchange, request_bytes
from support.stores import registry_url

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
def test_a_planted_session_cookie_is_replaced_at_sign_in(oauth, planted):
    with oauth.person() as victim, oauth.person() as attacker:
        for person in (victim, attacker):
            person.http.cookies.set("oe_session", planted, domain="127.0.0.1", path="/")
        victim.sign_in()
        assert victim.http.cookies.get("oe_session", domain="127.0.0.1") != planted
        assert is_in(victim)
        assert not is_in(attacker)


def test_a_planted_session_of_the_attacker_ends_at_sign_in(oauth):
    """The sign-in ends that session and starts another."""
    with oauth.person("bob") as attacker, oauth.person() as victim:
        attacker.sign_in()
        mine = attacker.http.cookies["oe_session"]
        victim.http.cookies.set("oe_session", mine, domain="127.0.0.1", path="/")
        page = victim.sign_in()
        assert victim.http.cookies["oe_session"] != mine
        assert "@alice" in page.html
        assert not is_in(attacker)


def test_every_sign_in_starts_a_new_session(oauth):
    with oauth.person() as person:
        person.sign_in()
        first = person.http.cookies["oe_session"]
        person.sign_in(person.open("/sign-in"))
        second = person.http.cookies["oe_session"]
        assert first != second
        assert len(first) == len(second) == 43
        person.http.cookies.set("oe_session", first, domain="127.0.0.1", path="/")
        assert not is_in(person)


def test_a_failed_sign_in_starts_no_session(oauth):
    with oauth.person("alice", "not the password") as person:
        page = person.sign_in()
        assert page.status == 403
        assert set(person.http.cookies) == {"oe_visitor"}
        assert not is_in(person)


# Cookies.


def test_cookies_are_http_only_and_for_this_host(oauth):
    with oauth.person() as person:
        fields = form_of(person) | {"screen_name": "alice", "password": PASSWORD}
        answer = person.http.post(f"{oauth.url}/sign-in", data=fields)
    found = cookies_of(answer)
    assert set(found) == {"oe_session", "oe_visitor", "oe_fresh", "oe_known"}
    for each in found.values():
        assert set(each.split("; ")) >= ATTRIBUTES
        assert "domain" not in each.lower()


def test_under_tls_cookies_have_the_host_prefix(behind_proxy):
    """With the prefix, browsers refuse such cookies from other hosts, and we read no others."""
    secure = [("X-Forwarded-Proto", "https")]
    port = behind_proxy.server.port
    answer = exchange(port, request_bytes("GET", "/sign-in", secure))
    assert answer.headers["set-cookie"].startswith("__Host-oe_visitor=")
    assert set(answer.headers["set-cookie"].split("; ")) >= {"Secure", *ATTRIBUTES}
    assert "max-age=" in answer.headers["strict-transport-security"]
    with behind_proxy.person() as person:
        person.sign_in()
        session = person.http.cookies["oe_session"]
    tossed = ("Cookie", f"oe_session={session}")
    assert exchange(port, request_bytes("GET", APPS, [tossed])).status == 200
    assert exchange(port, request_bytes("GET", APPS, [*secure, tossed])).status == 303
    good = ("Cookie", f"__Host-oe_session={session}")
    assert exchange(port, request_bytes("GET", APPS, [*secure, good])).status == 200
    assert exchange(port, request_bytes("GET", APPS, [good])).status == 303


def test_only_a_trusted_proxy_can_declare_tls(oauth):
    answer = exchange(
        oauth.server.port, request_bytes("GET", "/sign-in", [("X-Forwarded-Proto", "https")])
    )
    assert answer.headers["set-cookie"].startswith("oe_visitor=")
    assert "strict-transport-security" not in answer.headers


def test_a_session_expires(oauth):
    with oauth.person() as person:
        person.sign_in()
        assert is_in(person)
        oauth.sql("update sessions set created_at_s = created_at_s - 15 * 86400")
        assert not is_in(person)
        oauth.sql("update sessions set created_at_s = created_at_s + 15 * 86400")


def test_the_id_of_a_session_is_not_a_credential(oauth):
    """The page shows the id, never the secret."""
    with oauth.person() as person, oauth.person() as thief:
        person.sign_in()
        page = person.open(APPS)
        assert person.http.cookies["oe_session"] not in page.html
        for (name,) in oauth.sql("select id from sessions"):
            thief.http.cookies.set("oe_session", name, domain="127.0.0.1", path="/")
            assert not is_in(thief)


# force_login


def test_force_login_demands_a_sign_in_for_the_same_request(oauth, alice):
    first, second = (oauth.request_token(oauth.web, CALLBACK) for _ in range(2))
    page = alice.open(f"{oauth.consent_url(first)}&force_login=true")
    assert "/sign-in?" in page.url
    with oauth.person() as person:
        person.sign_in()
        page = person.open(f"{oauth.consent_url(first)}&force_login=true")
        assert "/sign-in?" in page.url
        page = person.sign_in(page)
        assert page.form_sending("decision", "authorize")
        page = person.open(f"{oauth.consent_url(second)}&force_login=true")
        assert "/sign-in?" in page.url
        fresh = person.http.cookies["oe_fresh"]
    with oauth.person() as other:
        other.sign_in()
        other.http.cookies.set("oe_fresh", fresh, domain="127.0.0.1", path="/")
        assert "/sign-in?" in other.open(f"{oauth.consent_url(first)}&force_login=true").url


# Ends of sessions.


def test_signing_out_ends_the_session_on_every_worker(two_workers, clients):
    with two_workers.person() as person:
        person.sign_in()
        cookie = {"Cookie": f"oe_session={person.http.cookies['oe_session']}"}
        assert {each.send("GET", APPS, headers=cookie).status for each in clients} == {200}
        person.sign_out()
        assert {each.send("GET", APPS, headers=cookie).status for each in clients} == {303}


def test_ending_a_session_from_another_browser(two_workers, clients):
    with two_workers.person() as lost, two_workers.person() as person:
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
def test_a_revoked_token_stops_working_at_once_on_every_worker(
    two_workers, alice_on_two_workers, clients, way
):
    holder = two_workers.access_token_of(alice_on_two_workers, two_workers.web)
    assert {two_workers.verify_credentials(holder, each).status for each in clients} == {200}
    if way == "page":
        alice_on_two_workers.revoke(two_workers.web.app_id)
    else:
        assert two_workers.call("/1.1/oauth/invalidate_token", holder).status == 200
    for each in clients:
        answer = two_workers.verify_credentials(holder, each)
        assert (answer.status, answer.json()["errors"][0]["code"]) == (401, 89)
        assert two_workers.call(TOTALS, holder, client=each).code == "access_token_not_found"
    again = two_workers.access_token_of(alice_on_two_workers, two_workers.web)
    assert again.access_token != holder.access_token
    assert again.access_token_secret != holder.access_token_secret
    assert {two_workers.verify_credentials(holder, each).status for each in clients} == {401}


def test_revoking_an_app_ends_its_pending_requests(two_workers, alice_on_two_workers):
    """Otherwise a revoked app could use a consent that it had kept."""
    two_workers.access_token_of(alice_on_two_workers, two_workers.other)
    asking, verifier = two_workers.authorize_request(alice_on_two_workers, two_workers.other)
    alice_on_two_workers.revoke(two_workers.other.app_id)
    assert two_workers.exchange(asking, verifier).status == 401


def test_a_revoked_app_must_ask_for_consent_again(two_workers):
    """`authenticate` skips consent for an authorized app, but not after a revocation."""
    made = two_workers.server.command(
        "app", "add", "Signs in", "--owner", "bob", f"--callback={CALLBACK}", "--sign-in"
    )
    app = type(two_workers.web)(
        made["app_id"], made["consumer_key"], made["consumer_secret"], "", ""
    )
    with two_workers.person() as person:
        person.sign_in()
        two_workers.access_token_of(person, app)
        page = person.open(
            two_workers.consent_url(two_workers.request_token(app, CALLBACK), "authenticate")
        )
        assert page.left_for.startswith(CALLBACK)
        person.revoke(app.app_id)
        page = person.open(
            two_workers.consent_url(two_workers.request_token(app, CALLBACK), "authenticate")
        )
        assert page.left_for is None
        assert page.form_sending("decision", "authorize")


def test_authenticate_always_asks_for_apps_without_sign_in(two_workers, alice_on_two_workers):
    two_workers.access_token_of(alice_on_two_workers, two_workers.web)
    page = alice_on_two_workers.open(
        two_workers.consent_url(
            two_workers.request_token(two_workers.web, CALLBACK), "authenticate"
        )
    )
    assert page.left_for is None


def test_a_changed_password_ends_sessions_and_tokens_on_every_worker(two_workers, clients):
    server = two_workers.server
    server.command("account", "add", "changing")
    server.command("account", "password", "changing", "--stdin", stdin=f"{PASSWORD}\n")
    with two_workers.person("changing") as person:
        person.sign_in()
        cookie = {"Cookie": f"oe_session={person.http.cookies['oe_session']}"}
        holder = two_workers.access_token_of(person, two_workers.web)
        asking, pin = two_workers.authorize_request(person, two_workers.desktop, OOB)
        assert {each.send("GET", APPS, headers=cookie).status for each in clients} == {200}
        assert {two_workers.verify_credentials(holder, each).status for each in clients} == {200}
        new = "another 40 lanterns"
        server.command("account", "password", "changing", "--stdin", stdin=f"{new}\n")
        assert {each.send("GET", APPS, headers=cookie).status for each in clients} == {303}
        assert {two_workers.verify_credentials(holder, each).status for each in clients} == {401}
        assert two_workers.exchange(asking, pin).status == 401
        assert person.sign_in().status == 403
        person.password = new
        assert person.sign_in().status == 200


def test_the_times_of_a_session_are_current(oauth, alice):
    """People recognize an unknown session by its times."""
    page = alice.open(APPS)
    found = re.findall(r'datetime="(\d{4}-\d\d-\d\dT\d\d):', page.html)
    assert time.strftime("%Y-%m-%dT%H", time.gmtime()) in found or time.gmtime().tm_min < 10


def answer_to_planted(alice, planted):
    """The answer to a browser that sends a planted cookie after its session cookie."""
    mine = alice.http.cookies["oe_session"]
    cookies = [("Cookie", f"oe_session={mine}; {planted}")]
    port = urlsplit(alice.origin).port
    return exchange(port, request_bytes("GET", APPS, cookies))


@pytest.mark.parametrize("stray", ["\xa0", "\x85", "\x1f", "\x0b"])
def test_a_stray_byte_before_a_cookie_name_is_part_of_the_name(oauth, alice, stray):
    """Another host of the domain could set such a cookie despite the `__Host-` prefix."""
    assert answer_to_planted(alice, f"{stray}oe_session=planted").status in {200, 400}


def test_a_cookie_that_is_sent_twice_counts_as_missing(oauth, alice):
    assert answer_to_planted(alice, "oe_session=planted").status == 303


def test_an_account_has_at_most_fifty_sessions(oauth):
    registry = open_registry(oauth.server.data, registry_url(oauth.server.data))
    try:
        account = registry.accounts.find_account("alice")
        for at in range(60):
            registry.sessions.add_session(NewSession(f"extra{at}", b"%d" % at, account.id, "x", at))
        live = registry.sessions.list_sessions(account.id, oldest_s=0)
        assert len(live) == 50
        for session in live:
            if session.id.startswith("extra"):
                registry.sessions.end_session(session.id, account_id=account.id)
    finally:
        registry.close()


def test_no_session_of_an_old_password_outlives_its_change(oauth):
    """People sign in with the old password all the time while it changes."""
    oauth.server.command("account", "add", "olga")
    set_password(oauth.server, "olga")
    refused = []

    def sign_in_until_refused():
        with oauth.person("olga") as olga:
            while (page := olga.sign_in()).status == 200:
                olga.http.cookies.clear()
            refused.append((page.status, is_in(olga)))

    threads = [threading.Thread(target=sign_in_until_refused) for _ in range(3)]
    for thread in threads:
        thread.start()
    set_password(oauth.server, "olga", "another 40 lanterns")
    for thread in threads:
        thread.join()
    assert refused == [(403, False)] * len(threads)
    account = "(select id from accounts where screen_name = 'olga')"
    assert oauth.sql(f"select count(*) from sessions where account_id = {account}") == [(0,)]
