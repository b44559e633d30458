"""Tokens of the three legs: used up once, never alive after what gave them was taken back."""

from concurrent.futures import ThreadPoolExecutor
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


def fresh(app_id, name, level="read"):
    return AccessToken(f"1-{name}", app_id, 1, b"secret", level)


def test_a_request_token_is_used_up_once(registry, app_id, pending):
    pending("r")
    assert registry.grants.redeem("r", fresh(app_id, "a"), now_s=NOW_S) == fresh(app_id, "a")
    assert registry.grants.redeem("r", fresh(app_id, "b"), now_s=NOW_S) is None
    assert registry.grants.find_access_token("1-b") is None


def test_a_live_token_stays_and_takes_the_level_of_now(registry, app_id, pending):
    registry.grants.redeem(pending("r"), fresh(app_id, "a"), now_s=NOW_S)
    again = registry.grants.redeem(pending("s"), fresh(app_id, "b", "read-write"), now_s=NOW_S)
    assert again == fresh(app_id, "a", "read-write")


def test_a_token_is_replaced_with_its_level_and_its_times(registry, app_id):
    registry.grants.replace_access_token(fresh(app_id, "a", "read-write"), now_s=NOW_S)
    registry.grants.apply_last_used({"1-a": NOW_S + 5})
    registry.grants.replace_access_token(fresh(app_id, "b"), now_s=NOW_S + 9)
    assert registry.grants.find_access_token("1-a") is None
    assert registry.grants.find_access_token("1-b") == fresh(app_id, "b")
    (grant,) = registry.grants.list_grants(1)
    found = (grant.access_level, grant.created_at_s, grant.last_used_s)
    assert found == ("read", NOW_S + 9, None)


def test_replacing_a_token_leaves_those_of_others(registry, app_id, ana):
    registry.accounts.add_account(replace(ana, id=2, screen_name="ben"))
    form = AppForm(name="other", owner_id=ana.id, callbacks=[])
    other = registry.apps.add_app(form, credentials=("other", b"secret"), now_s=NOW_S)
    others = [fresh(other, "other"), replace(fresh(app_id, "ben's"), account_id=2)]
    for each in others:
        assert registry.grants.add_access_token(each, now_s=NOW_S)
    for name in "ab":
        registry.grants.replace_access_token(fresh(app_id, name), now_s=NOW_S)
    for each in others:
        assert registry.grants.find_access_token(each.token) == each


def test_of_many_replacements_at_once_one_lives(registry, app_id):
    with ThreadPoolExecutor(6) as pool:
        list(
            pool.map(
                lambda at: registry.grants.replace_access_token(
                    fresh(app_id, str(at)), now_s=NOW_S
                ),
                range(12),
            )
        )
    live = [at for at in range(12) if registry.grants.find_access_token(f"1-{at}")]
    assert len(live) == 1


def test_of_many_at_once_one_is_redeemed(registry, app_id, pending):
    pending("r")
    with ThreadPoolExecutor(8) as pool:
        done = list(
            pool.map(
                lambda at: registry.grants.redeem("r", fresh(app_id, str(at)), now_s=NOW_S),
                range(16),
            )
        )
    assert sum(each is not None for each in done) == 1


def test_what_was_on_its_way_dies_with_the_app(registry, app_id, pending):
    pending("r")
    registry.grants.revoke_access_token(app_id=app_id, account_id=1)
    assert registry.grants.redeem("r", fresh(app_id, "a"), now_s=NOW_S) is None


def test_and_with_the_password(registry, app_id, pending):
    pending("r")
    registry.password_hashes.set_password(1, password_hash="one")
    assert registry.password_hashes.set_password(1, password_hash="two") == 0
    assert registry.grants.redeem("r", fresh(app_id, "a"), now_s=NOW_S) is None


def test_old_request_tokens_are_forgotten(registry, app_id, pending):
    pending("old")
    asked = RequestToken("new", app_id, b"secret", OOB, "read", NOW_S + 901)
    registry.grants.add_request_token(asked, forget_before_s=NOW_S + 1)
    assert registry.grants.find_request_token("old", oldest_s=0) is None
    assert registry.grants.find_request_token("new", oldest_s=NOW_S + 902) is None
    assert registry.grants.find_request_token("new", oldest_s=NOW_S + 901) == asked


def test_attempts_are_bounded(registry, pending):
    pending("r")
    counted = [registry.grants.count_attempt("r", attempts_max=3) for _ in range(5)]
    assert counted == [True] * 3 + [False] * 2


def test_last_use_never_goes_backwards(registry, app_id, pending):
    registry.grants.redeem(pending("r"), fresh(app_id, "a"), now_s=NOW_S)
    for at_s in (NOW_S + 5, NOW_S + 2):
        registry.grants.apply_last_used({"1-a": at_s, "1-gone": at_s})
    (grant,) = registry.grants.list_grants(1)
    assert grant.last_used_s == NOW_S + 5
