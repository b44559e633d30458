"""A repeated call is refused, and so is a call with a stale or future timestamp."""

import json
import re
import string
import time

import pytest

from support.calls import question
from support.cases import cases
from support.flows import CALLBACK
from support.oauth_server import (
    ACCESS_TOKEN,
    INVALIDATE_TOKEN,
    REQUEST_TOKEN,
    TOTALS,
    VERIFY_CREDENTIALS,
    run_at_once,
    sign,
)
from support.signing import as_form, as_header

REPLAYED = (401, "nonce_used")


def outcome(answer):
    return answer.status, answer.code


@pytest.fixture
def captured(two_workers, alice_on_two_workers):
    """Makes a valid call of each kind that an attacker captured before the server got it."""
    holder = two_workers.access_token_of(alice_on_two_workers, two_workers.web)
    asking, verifier = two_workers.authorize_request(alice_on_two_workers, two_workers.other)
    calls = {
        REQUEST_TOKEN: (two_workers.web, "POST", {"callback": CALLBACK}),
        ACCESS_TOKEN: (asking, "POST", {"verifier": verifier}),
        VERIFY_CREDENTIALS: (holder, "GET", {}),
        TOTALS: (holder, "POST", {}),
        INVALIDATE_TOKEN: (holder, "POST", {}),
    }

    def make(path):
        app, method, changes = calls[path]
        return method, as_header(sign(app, method, two_workers.url + path, **changes))

    return make


def send(client, method, path, header):
    body = json.dumps(question("111")) if path.startswith(TOTALS) else None
    headers = {"Authorization": header, "Content-Type": "application/json"}
    return client.send(method, path, body=body, headers=headers)


@pytest.mark.parametrize("path", [REQUEST_TOKEN, VERIFY_CREDENTIALS, TOTALS])
def test_a_captured_call_is_refused_by_every_worker(two_workers, clients, captured, path):
    method, header = captured(path)
    first, *replays = [send(client, method, path, header) for client in clients]
    assert first.status == 200, first
    assert {outcome(answer) for answer in replays} == {REPLAYED}


@pytest.mark.parametrize("path", [REQUEST_TOKEN, VERIFY_CREDENTIALS, TOTALS])
def test_repeated_parameters_do_not_make_a_captured_call_new(two_workers, clients, captured, path):
    """A repeat in the query leaves the signature valid, so the server must know the call again."""
    method, header = captured(path)
    pairs = re.findall(r'(\w+)="([^"]*)"', header)
    assert send(clients[0], method, path, header).status == 200
    for number, client in enumerate(clients, start=1):
        query = "&".join(f"{name}={value}" for name, value in pairs[:number])
        assert outcome(send(client, method, f"{path}?{query}", header)) == REPLAYED


@pytest.mark.parametrize("path", [REQUEST_TOKEN, VERIFY_CREDENTIALS, TOTALS])
def test_of_many_repeats_at_once_one_is_served(two_workers, clients, captured, path):
    method, header = captured(path)
    found = run_at_once(lambda client: outcome(send(client, method, path, header)), clients)
    assert sorted(found) == [(200, ""), *[REPLAYED] * (len(clients) - 1)]


def test_an_access_token_call_is_served_once(two_workers, clients, captured):
    """The repeat finds no request token any more, so it gets no second access token."""
    method, header = captured(ACCESS_TOKEN)
    found = [send(client, method, ACCESS_TOKEN, header) for client in clients]
    assert [answer.status for answer in found] == [200] + [401] * (len(clients) - 1)
    assert all(b"oauth_token" not in answer.body for answer in found[1:])


def test_of_many_access_token_calls_at_once_one_is_served(two_workers, clients, captured):
    method, header = captured(ACCESS_TOKEN)
    found = run_at_once(lambda client: send(client, method, ACCESS_TOKEN, header).status, clients)
    assert sorted(found) == [200] + [401] * (len(clients) - 1)


def test_a_captured_revocation_does_not_revoke_the_next_token(
    two_workers, alice_on_two_workers, clients, captured
):
    method, header = captured(INVALIDATE_TOKEN)
    assert send(clients[0], method, INVALIDATE_TOKEN, header).status == 200
    again = two_workers.access_token_of(alice_on_two_workers, two_workers.web)
    found = {send(client, method, INVALIDATE_TOKEN, header).status for client in clients}
    assert found == {401}
    assert two_workers.verify_credentials(again).status == 200


def test_a_captured_signature_is_refused_for_another_call(oauth, alice):
    holder = oauth.access_token_of(alice, oauth.web)
    header = as_header(sign(holder, "GET", oauth.url + VERIFY_CREDENTIALS))
    for _ in range(2):
        answer = oauth.send("POST", INVALIDATE_TOKEN, header)
        assert outcome(answer) == (401, "invalid_signature")
        oauth.server.client.send("GET", VERIFY_CREDENTIALS, headers={"Authorization": header})
    assert oauth.verify_credentials(holder).status == 200


def test_two_calls_may_share_a_nonce_and_neither_may_be_repeated(
    two_workers, alice_on_two_workers, clients
):
    """Their signatures differ, so neither repeats the other."""
    holder = two_workers.access_token_of(alice_on_two_workers, two_workers.web)
    same = {"nonce": str(int(time.time())), "timestamp": str(int(time.time()))}
    calls = {VERIFY_CREDENTIALS: "GET", TOTALS: "POST"}
    headers = {
        path: as_header(sign(holder, method, two_workers.url + path, **same))
        for path, method in calls.items()
    }
    for path, method in calls.items():
        assert send(clients[0], method, path, headers[path]).status == 200
    for path, method in calls.items():
        found = {outcome(send(client, method, path, headers[path])) for client in clients}
        assert found == {REPLAYED}


def test_a_repeat_in_another_spelling_is_refused_by_every_worker(
    two_workers, alice_on_two_workers, clients
):
    """The server accepts every one of these spellings when it comes first."""
    holder = two_workers.access_token_of(alice_on_two_workers, two_workers.web)
    for spell in SPELLINGS:
        signed = sign(holder, "POST", two_workers.url + TOTALS)
        assert send_parts(clients[0], *spell(signed)).status == 200, spell.__name__
        again = [as_is(signed), *(other(signed) for other in SPELLINGS)]
        found = {outcome(send_parts(client, *each)) for each in again for client in clients[:4]}
        assert found == {REPLAYED}, spell.__name__


def as_is(signed):
    return TOTALS, as_header(signed)


def lower_case_escapes(signed):
    return TOTALS, re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), as_header(signed))


def everything_escaped(signed):
    pairs = [f'{name}="{"".join(f"%{ord(each):02X}" for each in text)}"' for name, text in signed]
    return TOTALS, f"OAuth {', '.join(pairs)}"


def nothing_escaped(signed):
    return TOTALS, "OAuth " + ",".join(f'{name}="{text}"' for name, text in signed)


def another_order(signed):
    return TOTALS, as_header(signed[::-1], comma=" ,\t")


def with_a_realm(signed):
    return TOTALS, as_header([("realm", "elsewhere"), *signed])


def another_case(signed):
    return TOTALS, as_header(signed).replace("OAuth", "oAUTH", 1)


def in_the_query(signed):
    return f"{TOTALS}?{as_form(signed)}", None


SPELLINGS = (
    lower_case_escapes,
    everything_escaped,
    nothing_escaped,
    another_order,
    with_a_realm,
    another_case,
    in_the_query,
)


def send_parts(client, path, header):
    headers = {"Authorization": header, "Content-Type": "application/json"}
    return client.send("POST", path, body=json.dumps(question("111")), headers=headers)


BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


@cases("send_first", [True, False])
@cases(
    "respell",
    [
        # 27 characters hold 162 bits, 2 more than the signature: the last two bits mean nothing.
        lambda text: f"{text[:-2]}{BASE64[BASE64.index(text[-2]) ^ 1]}=",
        lambda text: f"{text[:-2]}{BASE64[BASE64.index(text[-2]) ^ 3]}=",
        lambda text: text.rstrip("="),
        lambda text: f"{text}=",
        lambda text: f"{text}AAAA",
        lambda text: f"{text}\n",
        lambda text: f" {text}",
        lambda text: f"{text[:9]}\r\n{text[9:]}",
        lambda text: f"{text[:9]}!{text[9:]}",
        lambda text: f"{text}\x00",
        lambda text: text.replace("=", "%3D"),
    ],
)
def test_another_base64_of_the_same_signature_is_refused(oauth, alice, respell, send_first):
    holder = oauth.access_token_of(alice, oauth.web)
    signed = sign(holder, "GET", oauth.url + VERIFY_CREDENTIALS)
    *parameters, (name, text) = signed
    headers = {"Authorization": as_header(signed)}
    if send_first:
        assert oauth.server.client.send("GET", VERIFY_CREDENTIALS, headers=headers).status == 200
    other = {"Authorization": as_header([*parameters, (name, respell(text))])}
    answer = oauth.server.client.send("GET", VERIFY_CREDENTIALS, headers=other)
    assert outcome(answer) == (401, "invalid_signature")
    answer = oauth.server.client.send("GET", VERIFY_CREDENTIALS, headers=headers)
    assert outcome(answer) == (REPLAYED if send_first else (200, ""))


def test_a_call_with_a_bad_signature_does_not_use_a_nonce_up(oauth):
    """Otherwise an eavesdropper who sees a nonce could block the client's own call."""
    same = {"nonce": "overheard", "timestamp": str(int(time.time()))}
    bad = [*sign(oauth.web, "POST", oauth.url + REQUEST_TOKEN, callback="oob", **same)]
    bad[-1] = ("oauth_signature", "AAAA")
    assert outcome(oauth.send("POST", REQUEST_TOKEN, as_header(bad))) == (401, "invalid_signature")
    assert oauth.call(REQUEST_TOKEN, oauth.web, callback="oob", **same).status == 200


@cases("path", [REQUEST_TOKEN, ACCESS_TOKEN, VERIFY_CREDENTIALS])
@cases("off_s", [-86_400, -310, 310, 86_400])
def test_stale_and_future_timestamps(oauth, alice, path, off_s):
    if path == VERIFY_CREDENTIALS:
        app, method, changes = oauth.access_token_of(alice, oauth.web), "GET", {}
    elif path == ACCESS_TOKEN:
        app, verifier = oauth.authorize_request(alice, oauth.web)
        method, changes = "POST", {"verifier": verifier}
    else:
        app, method, changes = oauth.web, "POST", {"callback": CALLBACK}
    stamp = str(int(time.time()) + off_s)
    answer = oauth.call(path, app, method=method, timestamp=stamp, **changes)
    assert answer.status == 401, answer
    assert answer.json() == {"errors": [{"code": 135, "message": "Timestamp out of bounds."}]}
    assert "date" in answer.headers  # clients correct their clock with it
    assert oauth.call(path, app, method=method, **changes).status == 200  # only the time was wrong


@cases("stamp", ["", "-1", "1e9", "0x5f", "9" * 13, "9" * 400, "١٢٣٤", "1.5", " 1", "NaN", "\x00"])
def test_texts_that_are_not_timestamps(oauth, stamp):
    answer = oauth.call(REQUEST_TOKEN, oauth.web, callback="oob", timestamp=stamp)
    assert answer.status == 401, answer
    assert answer.json()["errors"][0]["code"] in {32, 135}
