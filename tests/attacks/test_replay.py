"""A call that was made before, or at another time, is not taken."""

import json
import time

import pytest

from support.calls import question
from support.flows import CALLBACK
from support.signing import as_header
from support.stage import (
    ACCESS_TOKEN,
    INVALIDATE_TOKEN,
    REQUEST_TOKEN,
    TOTALS,
    VERIFY_CREDENTIALS,
    at_once,
    sign,
)

REPLAYED = (401, "nonce_used")


def outcome(answer):
    return answer.status, answer.code


@pytest.fixture
def captured(wide, wide_alice):
    """A good call of each kind as somebody on the way could have captured it, not yet sent."""
    holder = wide.token_of(wide_alice, wide.web)
    asking, verifier = wide.let_in(wide_alice, wide.other)
    calls = {
        REQUEST_TOKEN: (wide.web, "POST", {"callback": CALLBACK}),
        ACCESS_TOKEN: (asking, "POST", {"verifier": verifier}),
        VERIFY_CREDENTIALS: (holder, "GET", {}),
        TOTALS: (holder, "POST", {}),
        INVALIDATE_TOKEN: (holder, "POST", {}),
    }

    def make(path):
        app, method, changes = calls[path]
        return method, as_header(sign(app, method, wide.url + path, **changes))

    return make


def send(client, method, path, header):
    body = json.dumps(question("111")) if path == TOTALS else None
    headers = {"Authorization": header, "Content-Type": "application/json"}
    return client.send(method, path, body=body, headers=headers)


@pytest.mark.parametrize("path", [REQUEST_TOKEN, VERIFY_CREDENTIALS, TOTALS])
def test_a_captured_call_is_refused_by_every_worker(wide, clients, captured, path):
    method, header = captured(path)
    first, *replays = [send(client, method, path, header) for client in clients]
    assert first.status == 200, first
    assert {outcome(answer) for answer in replays} == {REPLAYED}


@pytest.mark.parametrize("path", [REQUEST_TOKEN, VERIFY_CREDENTIALS, TOTALS])
def test_of_many_at_once_one_is_taken(wide, clients, captured, path):
    method, header = captured(path)
    found = at_once(lambda client: outcome(send(client, method, path, header)), clients)
    assert sorted(found) == [(200, ""), *[REPLAYED] * (len(clients) - 1)]


def test_an_exchange_is_good_once(wide, clients, captured):
    """The request token is gone by then, which is found out first; never is there a second one."""
    method, header = captured(ACCESS_TOKEN)
    found = [send(client, method, ACCESS_TOKEN, header) for client in clients]
    assert [answer.status for answer in found] == [200] + [401] * (len(clients) - 1)
    assert all(b"oauth_token" not in answer.body for answer in found[1:])


def test_of_many_exchanges_at_once_one_is_taken(wide, clients, captured):
    method, header = captured(ACCESS_TOKEN)
    found = at_once(lambda client: send(client, method, ACCESS_TOKEN, header).status, clients)
    assert sorted(found) == [200] + [401] * (len(clients) - 1)


def test_a_captured_revocation_does_not_kill_the_next_token(wide, wide_alice, clients, captured):
    method, header = captured(INVALIDATE_TOKEN)
    assert send(clients[0], method, INVALIDATE_TOKEN, header).status == 200
    again = wide.token_of(wide_alice, wide.web)
    found = {send(client, method, INVALIDATE_TOKEN, header).status for client in clients}
    assert found == {401}
    assert wide.who(again).status == 200


def test_a_nonce_of_one_call_is_not_good_for_another(stage, alice):
    holder = stage.token_of(alice, stage.web)
    same = {"nonce": "for two", "timestamp": str(int(time.time()))}
    assert stage.call(VERIFY_CREDENTIALS, holder, method="GET", **same).status == 200
    assert outcome(stage.call(INVALIDATE_TOKEN, holder, **same)) == REPLAYED
    assert stage.who(holder).status == 200


def test_a_guess_with_a_bad_signature_does_not_use_a_nonce_up(stage):
    """Or who sees a nonce on its way could keep the honest call out."""
    same = {"nonce": "overheard", "timestamp": str(int(time.time()))}
    bad = [*sign(stage.web, "POST", stage.url + REQUEST_TOKEN, callback="oob", **same)]
    bad[-1] = ("oauth_signature", "AAAA")
    assert outcome(stage.send("POST", REQUEST_TOKEN, as_header(bad))) == (401, "invalid_signature")
    assert stage.call(REQUEST_TOKEN, stage.web, callback="oob", **same).status == 200


@pytest.mark.parametrize("path", [REQUEST_TOKEN, ACCESS_TOKEN, VERIFY_CREDENTIALS])
@pytest.mark.parametrize("off_s", [-86_400, -310, 310, 86_400])
def test_stale_and_future_timestamps(stage, alice, path, off_s):
    if path == VERIFY_CREDENTIALS:
        app, method, changes = stage.token_of(alice, stage.web), "GET", {}
    elif path == ACCESS_TOKEN:
        app, verifier = stage.let_in(alice, stage.web)
        method, changes = "POST", {"verifier": verifier}
    else:
        app, method, changes = stage.web, "POST", {"callback": CALLBACK}
    stamp = str(int(time.time()) + off_s)
    answer = stage.call(path, app, method=method, timestamp=stamp, **changes)
    assert answer.status == 401, answer
    assert answer.json() == {"errors": [{"code": 135, "message": "Timestamp out of bounds."}]}
    assert "date" in answer.headers  # by which a client corrects its clock
    assert stage.call(path, app, method=method, **changes).status == 200  # it was only the time


@pytest.mark.parametrize(
    "stamp", ["", "-1", "1e9", "0x5f", "9" * 13, "9" * 400, "١٢٣٤", "1.5", " 1", "NaN", "\x00"]
)
def test_timestamps_that_are_none(stage, stamp):
    answer = stage.call(REQUEST_TOKEN, stage.web, callback="oob", timestamp=stamp)
    assert answer.status == 401, answer
    assert answer.json()["errors"][0]["code"] in {32, 135}
