"""The cookie of a sign-in that was started: its content, its age, and its browser."""

import asyncio

import pytest
from cryptography.fernet import Fernet

from openengagement.auth.keyring import Keyring
from openengagement.sign_in.openid import AttemptRefused, RelyingParty
from openengagement.sign_in.provider import AuthorizationRequest

STARTED_S = 1_700_000_000
NEW, OLD = Fernet.generate_key(), Fernet.generate_key()


class Provider:
    """Records the request."""

    async def authorization_url(self, request: AuthorizationRequest) -> str:
        self.request = request
        return "https://login.example/authorize"


def relying_party(*keys, now_s=STARTED_S, provider=None):
    keyring = Keyring(keys or [NEW])
    return RelyingParty(
        provider or Provider(), None, keyring=keyring, claim="sub", now_s=lambda: float(now_s)
    )


def start(*keys):
    provider = Provider()
    party = relying_party(*keys, provider=provider)
    started = asyncio.run(party.start("/here", redirect_uri="x", reauthenticate=True))
    return started, provider.request


def test_a_browser_that_comes_back_has_its_attempt():
    started, request = start()
    attempt = relying_party().open_attempt(started.cookie, request.state)
    assert (attempt.return_to, attempt.reauthenticate) == ("/here", True)
    assert attempt.to_request("x") == request
    assert (attempt.state, attempt.nonce, attempt.code_verifier) == (
        request.state,
        request.nonce,
        request.code_verifier,
    )


def refusal(known, cookie, state):
    with pytest.raises(AttemptRefused) as refused:
        known.open_attempt(cookie, state)
    return str(refused.value)


@pytest.mark.parametrize("age_s", [-60, 0, 600, 600.9])
def test_an_attempt_is_good_for_ten_minutes(age_s):
    started, request = start()
    assert relying_party(now_s=STARTED_S + age_s).open_attempt(started.cookie, request.state)


@pytest.mark.parametrize(("age_s", "reason"), [(-61, "too_young -61 s"), (601, "too_old 601 s")])
def test_an_attempt_is_not_good_later_or_before(age_s, reason):
    started, request = start()
    assert refusal(relying_party(now_s=STARTED_S + age_s), started.cookie, request.state) == reason


def test_another_state():
    started, request = start()
    for state in ("", request.state[:-1], start()[1].state, "\ud800"):
        assert refusal(relying_party(), started.cookie, state) == "state_different"


def test_a_key_that_was_rotated_still_reads_it():
    started, request = start(OLD)
    assert relying_party(NEW, OLD).open_attempt(started.cookie, request.state)
    assert refusal(relying_party(NEW), started.cookie, request.state) == "cookie_unreadable"


def test_another_secret_of_ours_is_no_sign_in():
    assert refusal(relying_party(), "", "") == "cookie_missing"
    for text in ("a consumer secret", "{}", '{"type":"openid"}', "[]"):
        sealed = Keyring([NEW]).encrypt(text).decode()
        assert refusal(relying_party(), sealed, "") == "cookie_unreadable"


def test_the_cookie_shows_nothing_and_fits():
    started, request = start()
    for secret in (request.state, request.nonce, request.code_verifier, "/here"):
        assert secret not in started.cookie
    there = relying_party().start("/" + "x" * 2047, redirect_uri="x", reauthenticate=False)
    assert len(asyncio.run(there).cookie) < 3900
