"""A sign-in on its way: what the cookie keeps, for how long, and for whom."""

import asyncio

import pytest
from cryptography.fernet import Fernet

from openengagement.auth.credentials import Keyring
from openengagement.sign_in.openid import OpenId, Unrecognised
from openengagement.sign_in.provider import Errand

BEGAN_S = 1_700_000_000
NEW, OLD = Fernet.generate_key(), Fernet.generate_key()


class Provider:
    """Keeps what it was asked for."""

    async def authorization_url(self, errand: Errand, *, anew: bool) -> str:
        self.errand, self.anew = errand, anew
        return "https://login.example/authorize"


def openid(*keys, at_s=BEGAN_S, provider=None):
    keyring = Keyring(keys or [NEW])
    return OpenId(
        provider or Provider(), None, keyring=keyring, claim="sub", now_s=lambda: float(at_s)
    )


def depart(*keys):
    provider = Provider()
    errand = openid(*keys, provider=provider).depart("/here", redirect_uri="x", anew=True)
    return asyncio.run(errand), provider.errand


def test_a_browser_that_is_back_is_recognised():
    departure, errand = depart()
    attempt = openid().recognise(departure.cookie, errand.state)
    assert (attempt.return_to, attempt.anew) == ("/here", True)
    assert (attempt.state, attempt.nonce, attempt.verifier) == (
        errand.state,
        errand.nonce,
        errand.verifier,
    )


def refusal(known, cookie, state):
    with pytest.raises(Unrecognised) as refused:
        known.recognise(cookie, state)
    return str(refused.value)


@pytest.mark.parametrize("age_s", [-60, 0, 600, 600.9])
def test_ten_minutes_are_what_it_has(age_s):
    departure, errand = depart()
    assert openid(at_s=BEGAN_S + age_s).recognise(departure.cookie, errand.state)


@pytest.mark.parametrize(("age_s", "said"), [(-61, "too_young -61 s"), (601, "too_old 601 s")])
def test_no_more_and_not_before(age_s, said):
    departure, errand = depart()
    assert refusal(openid(at_s=BEGAN_S + age_s), departure.cookie, errand.state) == said


def test_another_state():
    departure, errand = depart()
    for state in ("", errand.state[:-1], depart()[1].state, "\ud800"):
        assert refusal(openid(), departure.cookie, state) == "state_different"


def test_a_key_that_was_rotated_still_reads_it():
    departure, errand = depart(OLD)
    assert openid(NEW, OLD).recognise(departure.cookie, errand.state)
    assert refusal(openid(NEW), departure.cookie, errand.state) == "cookie_unreadable"


def test_another_secret_of_ours_is_no_sign_in():
    assert refusal(openid(), "", "") == "cookie_missing"
    for text in ("a consumer secret", "{}", '{"type":"openid"}', "[]"):
        sealed = Keyring([NEW]).encrypt(text).decode()
        assert refusal(openid(), sealed, "") == "cookie_unreadable"


def test_the_cookie_shows_nothing_and_fits():
    departure, errand = depart()
    for secret in (errand.state, errand.nonce, errand.verifier, "/here"):
        assert secret not in departure.cookie
    there = openid().depart("/" + "x" * 2047, redirect_uri="x", anew=False)
    assert len(asyncio.run(there).cookie) < 3900
