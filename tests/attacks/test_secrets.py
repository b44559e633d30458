"""A secret appears only in the answer that issues it, never in a log or a file."""

import json
import time
from urllib.parse import quote, urlsplit

import pytest

from openengagement.registry.schema import METADATA
from support.calls import question
from support.flows import CALLBACK, OOB, PASSWORD
from support.oauth_server import (
    ACCESS_TOKEN,
    REQUEST_TOKEN,
    TOTALS,
    sign,
    start_oauth_server,
    with_token,
)
from support.person import query_of
from support.signing import as_form

PIN_LENGTH = 7


@pytest.fixture(scope="module")
def lived(world):
    """A server after a day of use, every secret it issued, and a stolen copy of its databases."""
    with start_oauth_server(world) as oauth:
        yield oauth, list(_live(oauth))


def _live(oauth):
    """Issue and use every kind of secret, validly and invalidly; yield (kind, secret)."""
    for app in (oauth.web, oauth.other, oauth.desktop):
        yield "consumer secret", app.consumer_secret
    yield "password", PASSWORD
    with oauth.person() as person:
        person.sign_in()
        yield from _secrets_of(person)
        for app, callback in ((oauth.web, CALLBACK), (oauth.desktop, OOB)):
            used, verifier = oauth.authorize_request(person, app, callback)
            yield "request token's secret", used.access_token_secret
            yield "PIN or verifier", verifier
            holder = with_token(app, oauth.exchange(used, verifier))
            yield "access token's secret", holder.access_token_secret
            oauth.exchange(used, verifier)
            assert oauth.verify_credentials(holder).status == 200
            waiting, verifier = oauth.authorize_request(person, app, callback)
            yield "request token's secret", waiting.access_token_secret
            yield "PIN or verifier", verifier
            oauth.exchange(waiting, "0000000")
        yield from _sign_in_an_address(oauth, person)
    with oauth.person("alice", "a wrong password of mine") as person:
        person.sign_in()
        yield "wrong password", person.password
    bearer = oauth.server.bearer(oauth.server.world.main).token
    yield "bearer token", bearer
    oauth.server.client.send(
        "POST", TOTALS, body=b"x", headers={"Authorization": f"Bearer {bearer}"}
    )
    yield "platform key", oauth.server.world.platform_key
    for app in oauth.server.world.apps:
        yield "consumer secret", app.consumer_secret
        yield "access token's secret", app.access_token_secret


def _secrets_of(person):
    for name, value in person.http.cookies.items():
        yield f"cookie {name}", value
    for form in person.open("/settings/apps").forms:
        yield "form token", dict(form.fields)["csrf_token"]


def _sign_in_an_address(oauth, person):
    """Send credentials in a URL, where a client should never put them."""
    signed = sign(oauth.web, "GET", oauth.url + REQUEST_TOKEN, callback=CALLBACK)
    answer = oauth.server.client.send("GET", f"{REQUEST_TOKEN}?{as_form(signed)}")
    asking = with_token(oauth.web, answer)
    yield "request token's secret", asking.access_token_secret
    verifier = query_of(person.authorize(oauth.consent_url(asking)))["oauth_verifier"]
    yield "verifier", verifier
    signed = sign(asking, "GET", oauth.url + ACCESS_TOKEN, verifier=verifier)
    yield "signature", dict(signed)["oauth_signature"]
    answer = oauth.server.client.send("GET", f"{ACCESS_TOKEN}?{as_form(signed)}")
    assert answer.status == 200
    oauth.server.client.send("GET", f"{ACCESS_TOKEN}?{as_form(signed)}")
    oauth.server.client.send("GET", f"/oauth/authorize?oauth_verifier={verifier}&oauth_token=x")


def spellings(secret):
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}


def long_ones(secrets):
    """The secrets except PINs: seven digits occur by chance, so a test checks their column."""
    return [(what, secret) for what, secret in secrets if len(secret) > PIN_LENGTH]


def test_no_log_holds_a_secret(lived):
    oauth, secrets = lived
    log = oauth.server.log()
    found = [
        what for what, secret in long_ones(secrets) if any(s in log for s in spellings(secret))
    ]
    assert not found
    assert len({what for what, _ in secrets}) >= 9


@pytest.mark.heavy
def test_no_log_holds_a_secret_after_an_internal_error(world):
    """A logged failure names a place in the code, not the values there."""
    with start_oauth_server(world) as oauth, oauth.person() as person:
        person.sign_in()
        asking, verifier = oauth.authorize_request(person, oauth.web)
        token = dict(person.open("/sign-in").form_with("password").fields)["csrf_token"]
        oauth.sql("update request_tokens set secret = x'00', verifier = x'00'")
        oauth.sql("alter table sessions rename to elsewhere")
        answers = [
            oauth.exchange(asking, verifier),
            oauth.server.client.send(
                "POST", "/sign-in", body=f"password={PASSWORD}&csrf_token={token}"
            ),
            oauth.server.client.send(
                "GET",
                "/settings/apps",
                headers={"Cookie": f"oe_session={person.http.cookies['oe_session']}"},
            ),
        ]
        assert 500 in {answer.status for answer in answers}
        log, bodies = oauth.server.log(), b" ".join(answer.body for answer in answers).decode()
        assert "request_failed" in log
        secrets = [
            verifier,
            asking.access_token_secret,
            oauth.web.consumer_secret,
            person.http.cookies["oe_session"],
            PASSWORD,
            token,
        ]
        for secret in secrets:
            assert secret not in log
            assert secret not in bodies
        assert "Traceback" not in bodies


@pytest.mark.embedded
def test_a_copy_without_the_key_file_reveals_no_secret(lived):
    """No file except the key file holds a secret, plain or encoded."""
    oauth, secrets = lived
    stolen = [
        each
        for each in oauth.server.data.rglob("*")
        if each.is_file() and each.name != "server.key"
    ]
    assert {"registry.sqlite3", "counters.sqlite3"} <= {each.name for each in stolen}
    assert [each for each in stolen if each.name.startswith("limits-")]
    assert any(
        CALLBACK.encode() in path.read_bytes() for path in stolen
    )  # the search would find it
    for path in stolen:
        content = path.read_bytes()
        found = [
            what
            for what, secret in long_ones(secrets)
            for spelling in (secret, secret[::-1], secret.encode().hex(), quote(secret))
            if spelling.encode() in content
        ]
        assert not found, path.name


def test_no_stored_value_holds_a_secret_or_a_pin(lived):
    oauth, secrets = lived
    pins = {secret for _, secret in secrets if len(secret) == PIN_LENGTH}
    assert pins
    read = 0
    for table in METADATA.tables:
        for row in oauth.sql(f'select * from "{table}"'):
            for value in row:
                text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
                read += 1
                assert [what for what, secret in long_ones(secrets) if secret in text] == [], table
                assert not [pin for pin in pins if pin in text and not text.startswith("gAAAA")]
    assert read > 100


def test_what_is_stored_is_encrypted_or_hashed(lived):
    """Every column is listed, so that a new one cannot be forgotten."""
    oauth, _ = lived
    encrypted = {
        "apps": ["consumer_secret"],
        "access_tokens": ["secret"],
        "request_tokens": ["secret", "verifier"],
    }
    for table, columns in encrypted.items():
        for column in columns:
            values = [value for (value,) in oauth.sql(f"select {column} from {table}") if value]
            assert values
            assert all(bytes(value).startswith(b"gAAAA") for value in values), (table, column)
            assert len(set(values)) == len(values)
    hashes = [value for (value,) in oauth.sql("select password_hash from accounts") if value]
    assert len(hashes) == 2
    assert all(value.startswith("$argon2id$") for value in hashes)
    assert len(set(hashes)) == 2  # the same password with two salts
    for table, column in (("sessions", "secret_hash"), ("platform_keys", "key_hash")):
        assert {len(value) for (value,) in oauth.sql(f"select {column} from {table}")} == {32}


@pytest.mark.embedded
def test_only_the_owner_can_read_the_files(lived):
    oauth, _ = lived
    for path in (oauth.server.data, *oauth.server.data.rglob("*")):
        mode = path.stat().st_mode & 0o077
        assert not mode or path.name == "data", (path.name, oct(mode))
    assert (oauth.server.data / "server.key").stat().st_mode & 0o777 == 0o600


def test_stored_values_are_not_credentials(lived):
    """A thief sends every stored value as a credential."""
    oauth, _ = lived
    values = [
        value.decode("latin-1") if isinstance(value, bytes) else str(value)
        for table, column in (
            ("sessions", "secret_hash"),
            ("sessions", "id"),
            ("request_tokens", "token"),
            ("access_tokens", "token"),
        )
        for (value,) in oauth.sql(f"select {column} from {table}")
    ]
    hexes = [bytes(value).hex() for (value,) in oauth.sql("select secret_hash from sessions")]
    for value in [*values, *hexes]:
        if not value.isprintable() or not value.isascii():
            continue
        answer = oauth.server.client.send(
            "GET", "/settings/apps", headers={"Cookie": f"oe_session={value}"}
        )
        assert answer.status == 303
    for column, table in (("key_hash", "platform_keys"), ("bearer_hash", "apps")):
        for (value,) in oauth.sql(f"select {column} from {table} where {column} is not null"):
            headers = {
                "Authorization": f"Bearer {bytes(value).hex()}",
                "Content-Type": "application/json",
            }
            body = json.dumps(question("111"))
            assert (
                oauth.server.client.send("POST", TOTALS, body=body, headers=headers).status == 401
            )
            answer = oauth.server.client.send("DELETE", "/platform/v1/tweets/1", headers=headers)
            assert answer.status == 401


def test_urls_hold_no_secret_but_the_verifier(oauth, alice):
    """The verifier is valid once, for one app, for a few minutes."""
    asking = oauth.request_token(oauth.web, CALLBACK)
    with oauth.person() as person:
        seen = []
        person.http.event_hooks["request"].append(lambda request: seen.append(str(request.url)))
        target = person.authorize(oauth.consent_url(asking))
        session = person.http.cookies["oe_session"]
        person.open("/settings/apps")
        person.sign_out()
    assert set(query_of(target)) == {"provider", "oauth_token", "oauth_verifier"}
    for url in seen:
        assert session not in url
        assert PASSWORD not in url
        assert asking.access_token_secret not in url
        assert "csrf" not in url
        assert "verifier" not in urlsplit(url).query


def test_no_request_to_another_site_has_a_referrer(oauth, alice):
    """Pages forbid it, and load nothing from other sites."""
    page = alice.open(oauth.consent_url(oauth.request_token(oauth.web, CALLBACK)))
    assert page.response.headers["referrer-policy"] == "no-referrer"
    loaded = [part.split('"')[0] for part in page.html.split('src="')[1:]]
    loaded += [part.split('"')[0] for part in page.html.split('rel="stylesheet" href="')[1:]]
    assert loaded
    assert all(each.startswith("/static/") for each in loaded)


def test_an_error_does_not_repeat_the_credentials(oauth, alice):
    """An invalid signature, secret or verifier may still be somebody's secret."""
    asking, verifier = oauth.authorize_request(alice, oauth.web)
    signed = dict(sign(asking, "POST", oauth.url + ACCESS_TOKEN, verifier=verifier))
    signed["oauth_timestamp"] = str(int(time.time()) - 4000)
    query = as_form(list(signed.items()))
    for path in (ACCESS_TOKEN, REQUEST_TOKEN, "/x", "/oauth/authorize", "/sign-in/x"):
        answer = oauth.server.client.send("POST", f"{path}?{query}")
        assert answer.status >= 400
        shown = answer.body.decode() + str(dict(answer.headers))
        for secret in (signed["oauth_signature"], verifier, asking.access_token_secret):
            assert secret not in shown
            assert quote(secret, safe="") not in shown
