"""The time of a response does not tell whether a key, a token or an account exists.

The tests count the costly steps instead of measuring time, which varies on a shared machine. A
signature costs an HMAC over the base string, a sign-in costs one Argon2id verification, and all
refusals must cost the same.
"""

import time
from collections import Counter

import pytest
from argon2.exceptions import VerifyMismatchError

from openengagement.auth import oauth1
from openengagement.auth.credentials import issue_app
from openengagement.auth.keyring import Keyring, open_keyring
from openengagement.auth.lookup import CredentialLookup
from openengagement.auth.three_legged_flow import ThreeLeggedFlow
from openengagement.auth.verifier import OAuthVerifier
from openengagement.errors import AuthenticationError
from openengagement.http.message import Message
from openengagement.limits.opening import open_limits
from openengagement.registry.accounts import Account
from openengagement.registry.apps import AppForm
from openengagement.registry.opening import open_registry
from openengagement.settings import Settings
from openengagement.sign_in import passwords
from openengagement.sign_in.passwords import Passwords, hash_password
from support.flows import CALLBACK, PASSWORD
from support.oauth_server import App, sign
from support.signing import as_header

HOST = "api.example"


class House:
    """The parts that verify calls and passwords, in this process."""

    def __init__(self, folder):
        self.registry = open_registry(folder)
        self.keyring: Keyring = open_keyring(folder / "server.key")
        self.limits = open_limits(folder)
        self.lookup = CredentialLookup(self.registry, self.keyring)
        self.verifier = OAuthVerifier(
            self.lookup, self.limits, settings=Settings(), now_s=time.time
        )
        self.flow = ThreeLeggedFlow(
            self.verifier, self.registry, keyring=self.keyring, now_s=time.time
        )
        self.passwords = Passwords(self.registry, self.limits, now_s=time.time)
        self.registry.accounts.add_account(Account(1, "ann", 0))
        self.registry.accounts.add_account(Account(2, "ben", 0))
        hashed = hash_password(PASSWORD)
        self.registry.password_hashes.set_password(1, password_hash=hashed)
        form = AppForm(name="app", owner_id=1, callbacks=[CALLBACK])
        made = issue_app(self.registry, self.keyring, form=form, now_s=0)
        self.app = App(str(made.app_id), made.consumer_key, made.consumer_secret, "", "")
        token, secret = self.flow.request_token(self.message("/oauth/request_token", self.app))
        self.asking = App(self.app.app_id, made.consumer_key, made.consumer_secret, token, secret)

    def message(self, path, app, **changes):
        signed = sign(app, "POST", f"https://{HOST}{path}", **changes)
        return Message("POST", "https", HOST, path, "", (as_header(signed),), "", b"")

    def close(self):
        self.limits.close()
        self.registry.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house"))
    yield made
    made.close()


@pytest.fixture
def work(monkeypatch):
    """Counts the calls of every costly step."""
    done = Counter()

    def counted(name, step):
        def take(*arguments, **options):
            done[name] += 1
            return step(*arguments, **options)

        return take

    for module, name in (
        (oauth1, "sign"),
        (oauth1, "base_string"),
        (oauth1, "signatures_match"),
        (passwords, "_matches"),
    ):
        monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    return done


def cost(work, call):
    work.clear()
    with pytest.raises(AuthenticationError):
        call()
    return dict(work)


def changed(app, **fields):
    return App(**{**vars(app), **fields})


def test_an_unknown_consumer_key_costs_no_signature(house, work):
    """The answer names the key, so there is nothing to hide, and a stranger costs little."""
    for app in (
        changed(house.app, consumer_key="unknown"),
        changed(house.app, consumer_key="unknown", access_token="1-unknown"),
    ):
        for path, call in (
            ("/x", house.verifier.verify_call),
            ("/oauth/access_token", house.flow.access_token),
        ):
            message = house.message(path, app, verifier="x")
            assert cost(work, lambda call=call, message=message: call(message)) == {}


def test_unknown_and_known_access_tokens_cost_the_same(house, work):
    costs = [
        cost(work, lambda app=app: house.verifier.verify_call(house.message("/x", app)))
        for app in (
            changed(house.app, consumer_secret="wrong"),
            changed(house.app, access_token="1-unknown"),
            changed(house.app, consumer_secret="wrong", access_token="1-unknown"),
        )
    ]
    assert costs == [{"sign": 1, "base_string": 1, "signatures_match": 1}] * len(costs)


def test_unknown_and_known_request_tokens_cost_the_same(house, work):
    path = "/oauth/access_token"
    costs = [
        cost(work, lambda app=app: house.flow.access_token(house.message(path, app, verifier="x")))
        for app in (
            changed(house.asking, access_token_secret="wrong"),
            changed(house.asking, consumer_secret="wrong"),
            changed(house.asking, access_token="unknown"),
        )
    ]
    assert costs == [{"sign": 1, "base_string": 1, "signatures_match": 1}] * len(costs)


def test_every_failed_sign_in_costs_one_argon2(house, work):
    """With a password, without one, for an unknown name, and with a password that is too long."""
    for name, password in (
        ("ann", "wrong"),
        ("ben", "wrong"),
        ("nobody", "wrong"),
        ("", ""),
        ("ann", "x" * 5000),
    ):
        work.clear()
        found = house.passwords.verify(passwords.Guess(name, ("192.0.2.1",), None), password)
        assert found is None
        assert dict(work) == {"_matches": 1}


def test_the_stand_in_hash_is_as_costly_as_a_real_one(house):
    """It has the same type, memory and rounds, and costs nothing at the first unknown name."""
    stand_in = passwords._STAND_IN_HASH
    real = house.registry.password_hashes.read_password_hash(1)
    assert stand_in.split("$")[1:4] == real.split("$")[1:4]
    assert [len(part) for part in stand_in.split("$")] == [len(part) for part in real.split("$")]
    with pytest.raises(VerifyMismatchError):
        passwords._HASHER.verify(stand_in, "x")
    assert (
        house.passwords.verify(
            passwords.Guess("nobody", ("::1",), None), "no account has this password"
        )
        is None
    )


def test_a_password_that_changes_during_verification(house, monkeypatch):
    """The old password must not open a session after the change."""
    hashes, match = house.registry.password_hashes, passwords._matches
    old = hashes.read_password_hash(1)

    def change_then_match(stored, password):
        hashes.set_password(1, password_hash=hash_password("another 40 lanterns"))
        return match(stored, password)

    monkeypatch.setattr(passwords, "_matches", change_then_match)
    assert house.passwords.verify(passwords.Guess("ann", ("192.0.2.9",), None), PASSWORD) is None
    hashes.set_password(1, password_hash=old)


def test_secrets_are_compared_in_constant_time(monkeypatch):
    """Signatures, form tokens and verifiers are compared with hmac.compare_digest."""
    import inspect

    from openengagement.auth import signature, three_legged_flow
    from openengagement.portal.browser_sessions import BrowserSessions

    for compared in (
        signature.signatures_match,
        three_legged_flow.ThreeLeggedFlow._check_verifier,
        BrowserSessions._is_tag,
    ):
        assert "hmac.compare_digest" in inspect.getsource(compared)
    for compared in (
        BrowserSessions.is_own_form,
        BrowserSessions.known_browser,
        BrowserSessions.was_started_for,
    ):
        assert "self._is_tag(" in inspect.getsource(compared)
