"""Developers' own apps: ownership, limits, and which credentials are revoked when."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest

from openengagement.apps.app_form import UnfitApp, check_app_form
from openengagement.apps.own_apps import OwnApps
from openengagement.auth.bearer_tokens import BearerTokens
from openengagement.auth.credentials import hash_token
from openengagement.auth.keyring import open_keyring
from openengagement.auth.lookup import CredentialLookup
from openengagement.errors import UnverifiedClient
from openengagement.registry.accounts import Account
from openengagement.registry.apps import AppForm, TooManyApps
from openengagement.settings import Settings
from support.folders import open_new_registry

NOW_S = 1_795_342_500
FORM = AppForm(
    "Tide Tables",
    1,
    ("https://tides.example/b", "example.tides://a"),
    "https://tides.example",
    "Tells when to post.",
    "read-write",
    sign_in=True,
)


@pytest.fixture
def keyring(tmp_path):
    return open_keyring(tmp_path / "server.key")


@pytest.fixture
def registry(tmp_path):
    opened = open_new_registry(tmp_path)
    for account_id, name in ((1, "ana"), (2, "ben")):
        account = Account(account_id, name, NOW_S)
        opened.accounts.add_account(account)
    yield opened
    opened.close()


@pytest.fixture
def apps(registry, keyring):
    return OwnApps(
        registry,
        keyring,
        apps_max=3,
        check_form=partial(check_app_form, schemes=Settings().allowed_callback_schemes),
        now_s=lambda: NOW_S + 0.9,
    )


@pytest.fixture
def app(apps):
    made = apps.create(FORM)
    return apps.find(str(made.app_id), owner_id=1)


def holder_of(registry, token):
    found = registry.apps.find_by_bearer(hash_token(token))
    return found.id if found else None


def test_a_new_app_belongs_to_its_owner_and_is_not_enabled(apps, app, registry, keyring):
    assert (app.owner_id, app.enabled, app.suspended, app.bearer_hash) == (1, False, False, None)
    assert apps.read_form(app) == replace(FORM, callbacks=list(FORM.callbacks))
    made = apps.create(replace(FORM, owner_id=2))
    stored = registry.apps.read_app(made.app_id)
    assert stored.consumer_key == made.consumer_key
    assert keyring.decrypt(stored.consumer_secret) == made.consumer_secret


def test_only_its_owner_finds_an_app(apps, app):
    assert apps.find(str(app.id), owner_id=1) == app
    assert apps.find(str(app.id), owner_id=2) is None


@pytest.mark.parametrize("given", ["", "0{}", "+{}", " {}", "{} ", "{}.0", "-1", "1e7", "9" * 30])
def test_an_app_id_has_one_spelling(apps, app, given):
    assert apps.find(given.format(app.id), owner_id=1) is None


def test_digits_of_other_scripts_are_refused(apps, app):
    arabic = "".join(chr(0x660 + int(digit)) for digit in str(app.id))
    assert apps.find(arabic, owner_id=1) is None


def test_the_newest_is_listed_first(apps, app):
    newer = apps.create(FORM).app_id
    others = apps.create(replace(FORM, owner_id=2)).app_id
    assert [each.id for each in apps.list(1)] == [newer, app.id]
    assert [each.id for each in apps.list(2)] == [others]
    assert apps.list(3) == []


def test_the_number_of_apps_is_limited_per_account(apps, registry):
    for _ in range(3):
        apps.create(FORM)
    with pytest.raises(TooManyApps):
        apps.create(FORM)
    assert len(apps.list(1)) == 3
    apps.create(replace(FORM, owner_id=2))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"description": "\u202e"}, "description"),
        ({"website": "ftp://x.example"}, "website"),
        ({"callbacks": ["https://x.example"] * 2}, "callbacks"),
        ({"access_level": "all"}, "access_level"),
    ],
)
def test_an_invalid_change_is_not_saved(apps, app, change, field):
    for attempt in (apps.create, lambda form: apps.change(app, form)):
        with pytest.raises(UnfitApp) as refused:
            attempt(replace(FORM, **change))
        assert refused.value.field == field
    assert len(apps.list(1)) == 1
    assert apps.read_form(app) == replace(FORM, callbacks=list(FORM.callbacks))


def test_a_change_leaves_owner_keys_and_tokens(apps, app):
    apps.generate_bearer(app)
    before = apps.find(str(app.id), owner_id=1)
    said = AppForm("Ebb", 2, ("https://ebb.example",), access_level="read")
    apps.change(app, said)
    after = apps.find(str(app.id), owner_id=1)
    assert apps.read_form(after) == replace(said, owner_id=1, callbacks=["https://ebb.example"])
    kept = ("id", "owner_id", "consumer_key", "consumer_secret", "bearer_hash", "enabled")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]


def test_rotating_the_consumer_key_revokes_the_old_pair_and_the_bearer_token(apps, app, registry):
    bearer = apps.generate_bearer(app)
    made = apps.rotate_consumer(app)
    assert registry.apps.find_by_consumer_key(app.consumer_key) is None
    assert registry.apps.find_by_consumer_key(made.consumer_key).id == app.id
    assert holder_of(registry, bearer) is None
    fresh = apps.find(str(app.id), owner_id=1)
    assert apps.generate_bearer(fresh) != bearer


def test_bearer_tokens_are_issued_rotated_and_revoked(apps, app, registry):
    first = apps.generate_bearer(app)
    assert holder_of(registry, first) == app.id
    second = apps.rotate_bearer(app)
    assert (holder_of(registry, first), holder_of(registry, second)) == (None, app.id)
    apps.revoke_bearer(app)
    assert holder_of(registry, second) is None
    third = apps.rotate_bearer(app)
    assert len({first, second, third}) == 3


def test_generating_a_token_twice_at_once_revokes_neither(apps, app, registry):
    """A double click or two windows: both show a token that works."""
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(apps.generate_bearer, [app] * 8))
        pairs = list(pool.map(apps.generate_token, [app] * 8))
    assert len(set(made)) == len(set(pairs)) == 1
    assert holder_of(registry, made[0]) == app.id
    assert registry.grants.find_access_token(pairs[0][0]) is not None


def test_access_tokens_are_issued_rotated_and_revoked(apps, app, registry, keyring):
    assert apps.read_token(app) is None
    first = apps.generate_token(app)
    second = apps.rotate_token(app)
    assert registry.grants.find_access_token(first[0]) is None
    live = registry.grants.find_access_token(second[0])
    assert keyring.decrypt(live.secret) == second[1]
    assert (live.account_id, live.app_id, live.access_level) == (1, app.id, "read-write")
    token = apps.read_token(app)
    assert (token.app_id, token.created_at_s, token.last_used_s) == (app.id, NOW_S, None)
    apps.revoke_token(app)
    assert apps.read_token(app) is None
    assert registry.grants.find_access_token(second[0]) is None


def test_a_token_keeps_its_access_level(apps, app):
    apps.generate_token(app)
    apps.change(app, replace(FORM, access_level="read"))
    assert apps.read_token(app).access_level == "read-write"
    apps.rotate_token(apps.find(str(app.id), owner_id=1))
    assert apps.read_token(app).access_level == "read"


def test_every_app_has_its_own_token(apps, app):
    apps.generate_token(app)
    other = apps.find(str(apps.create(FORM).app_id), owner_id=1)
    assert apps.read_token(other) is None
    apps.revoke_token(other)
    assert apps.read_token(app) is not None


def test_an_old_consumer_key_does_not_get_the_next_bearer_token(apps, app, registry, keyring):
    """The key is valid when it is verified, and rotated before the token is issued."""
    verifier = SimpleNamespace(verify_basic=lambda message: app)
    lookup = CredentialLookup(registry, keyring)
    bearers = BearerTokens(verifier, lookup, registry=registry, keyring=keyring)
    message = SimpleNamespace(
        query="",
        body=b"grant_type=client_credentials",
        content_type="application/x-www-form-urlencoded",
    )
    assert bearers.issue(message) == apps.generate_bearer(app)
    apps.revoke_bearer(app)
    apps.rotate_consumer(app)
    with pytest.raises(UnverifiedClient):
        bearers.issue(message)
