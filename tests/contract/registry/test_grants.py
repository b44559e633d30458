"""Request and access tokens: used once, and invalid after their grant is revoked."""

from dataclasses import replace

import pytest

from openengagement.registry.apps import AppForm
from openengagement.registry.grants import OOB, AccessToken, RequestToken

NOW_S = 1_795_342_500


@pytest.fixture
def app_id(registry, ana):
    form = AppForm(name="app", owner_id=ana.id, callbacks=[])
    return registry.apps.add_app(form, credentials=("key", b"secret"), now_s=NOW_S)


@pytest.fixture
def pending(registry, app_id):
    """Makes a request token that ana has authorized."""

    def made(token, account_id=1):
        asked = RequestToken(token, app_id, b"secret", OOB, "read", NOW_S)
        registry.grants.add_request_token(asked, forget_before_s=NOW_S - 900)
        assert registry.grants.authorize(token, account_id=account_id, verifier=b"v")
        return token

    return made


def a_token(app_id, name, level="read"):
    return AccessToken(f"1-{name}", app_id, 1, b"secret", level)


def test_a_request_token_is_redeemed_once(registry, app_id, pending):
    pending("r")
    assert registry.grants.redeem("r", a_token(app_id, "a"), now_s=NOW_S) == a_token(app_id, "a")
    assert registry.grants.redeem("r", a_token(app_id, "b"), now_s=NOW_S) is None
    assert registry.grants.find_access_token("1-b") is None


def test_a_live_token_stays_and_gets_the_new_access_level(registry, app_id, pending):
    registry.grants.redeem(pending("r"), a_token(app_id, "a"), now_s=NOW_S)
    again = registry.grants.redeem(pending("s"), a_token(app_id, "b", "read-write"), now_s=NOW_S)
    assert again == a_token(app_id, "a", "read-write")


def test_a_replacement_has_its_own_access_level_and_times(registry, app_id):
    registry.grants.replace_access_token(a_token(app_id, "a", "read-write"), now_s=NOW_S)
    registry.grants.apply_last_used({"1-a": NOW_S + 5})
    registry.grants.replace_access_token(a_token(app_id, "b"), now_s=NOW_S + 9)
    assert registry.grants.find_access_token("1-a") is None
    assert registry.grants.find_access_token("1-b") == a_token(app_id, "b")
    (grant,) = registry.grants.list_grants(1)
    found = (grant.access_level, grant.created_at_s, grant.last_used_s)
    assert found == ("read", NOW_S + 9, None)


def test_a_replacement_leaves_the_tokens_of_other_accounts_and_apps(registry, app_id, ana):
    registry.accounts.add_account(replace(ana, id=2, screen_name="ben"))
    form = AppForm(name="other", owner_id=ana.id, callbacks=[])
    other = registry.apps.add_app(form, credentials=("other", b"secret"), now_s=NOW_S)
    others = [a_token(other, "other"), replace(a_token(app_id, "ben's"), account_id=2)]
    for each in others:
        assert registry.grants.add_access_token(each, now_s=NOW_S)
    for name in "ab":
        registry.grants.replace_access_token(a_token(app_id, name), now_s=NOW_S)
    for each in others:
        assert registry.grants.find_access_token(each.token) == each


def test_revoking_access_deletes_authorized_request_tokens(registry, app_id, pending):
    pending("r")
    registry.grants.revoke_access_token(app_id=app_id, account_id=1)
    assert registry.grants.redeem("r", a_token(app_id, "a"), now_s=NOW_S) is None


def test_a_new_password_deletes_authorized_request_tokens(registry, app_id, pending):
    pending("r")
    registry.password_hashes.set_password(1, password_hash="one")
    assert registry.password_hashes.set_password(1, password_hash="two") == 0
    assert registry.grants.redeem("r", a_token(app_id, "a"), now_s=NOW_S) is None


def test_expired_request_tokens_are_deleted(registry, app_id, pending):
    pending("old")
    asked = RequestToken("new", app_id, b"secret", OOB, "read", NOW_S + 901)
    registry.grants.add_request_token(asked, forget_before_s=NOW_S + 1)
    assert registry.grants.find_request_token("old", oldest_s=0) is None
    assert registry.grants.find_request_token("new", oldest_s=NOW_S + 902) is None
    assert registry.grants.find_request_token("new", oldest_s=NOW_S + 901) == asked


def test_attempts_are_limited(registry, pending):
    pending("r")
    counted = [registry.grants.count_attempt("r", attempts_max=3) for _ in range(5)]
    assert counted == [True] * 3 + [False] * 2


def test_last_use_never_goes_backwards(registry, app_id, pending):
    registry.grants.redeem(pending("r"), a_token(app_id, "a"), now_s=NOW_S)
    for at_s in (NOW_S + 5, NOW_S + 2):
        registry.grants.apply_last_used({"1-a": at_s, "1-gone": at_s})
    (grant,) = registry.grants.list_grants(1)
    assert grant.last_used_s == NOW_S + 5
