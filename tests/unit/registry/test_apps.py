"""Apps, tokens and keys: unique, found by what a request shows, and never half there."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from openengagement.auth.credentials import (
    Granted,
    hash_token,
    issue_access_token,
    issue_app,
    issue_bearer,
    issue_platform_key,
    open_keyring,
    revoke_bearer,
)
from openengagement.registry.apps import FIRST_APP_ID, AppForm
from openengagement.registry.grants import AccessToken
from openengagement.registry.registry import Registry

NOW_S = 1_795_342_500


@pytest.fixture
def keyring(tmp_path):
    return open_keyring(tmp_path / "server.key")


@pytest.fixture
def add_app(registry, ana):
    def added(key="key", **changes):
        form = AppForm(**{"name": "app", "owner_id": ana.id, "callbacks": []} | changes)
        return registry.apps.add(form, credentials=(key, b"secret"), now_s=NOW_S)

    return added


def test_app_ids_count_up(registry, add_app):
    assert [add_app(key) for key in "abc"] == [FIRST_APP_ID + at for at in range(3)]
    assert registry.apps.read(FIRST_APP_ID).consumer_key == "a"
    assert registry.apps.find("c").id == FIRST_APP_ID + 2
    assert registry.apps.find("C") is None
    assert registry.apps.read(1) is None


def test_app_ids_are_unique_among_threads(registry, add_app):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(add_app, (f"key {at}" for at in range(20))))

    assert sorted(made) == [FIRST_APP_ID + at for at in range(20)]


def test_a_new_app_is_not_enabled(registry, add_app):
    app = registry.apps.read(add_app())

    assert (app.enabled, app.per_minute, app.bearer_hash) == (False, None, None)


def test_consumer_keys_are_unique(registry, add_app):
    add_app("key")
    with pytest.raises(sa.exc.IntegrityError):
        add_app("key")


def test_an_app_needs_an_owner_and_leaves_nothing_without(registry, add_app):
    with pytest.raises(sa.exc.IntegrityError):
        add_app(owner_id=99, callbacks=["http://127.0.0.1/"])
    assert registry.apps.find("key") is None
    assert add_app() == FIRST_APP_ID


def test_enabling(registry, add_app):
    app_id = add_app()
    assert registry.apps.set_enabled(app_id, enabled=True, per_minute=7)
    assert (registry.apps.read(app_id).enabled, registry.apps.read(app_id).per_minute) == (True, 7)
    assert registry.apps.set_enabled(app_id, enabled=False, per_minute=None)
    assert (registry.apps.read(app_id).enabled, registry.apps.read(app_id).per_minute) == (False, 7)
    assert not registry.apps.set_enabled(1, enabled=True, per_minute=None)


def test_an_account_has_one_token_for_an_app(registry, add_app, ana):
    app_id = add_app()
    token = AccessToken("1-abc", app_id, ana.id, b"secret")
    assert registry.grants.add_access_token(token, now_s=NOW_S)

    assert registry.grants.find_access_token("1-abc") == token
    assert registry.grants.read_access_token(app_id=app_id, account_id=ana.id) == token
    taken = AccessToken("1-x", app_id, ana.id, b"")
    assert not registry.grants.add_access_token(taken, now_s=NOW_S)
    assert not registry.grants.add_access_token(AccessToken("1-x", app_id, 99, b""), now_s=NOW_S)
    assert registry.grants.find_access_token("1-x") is None


def test_platform_keys(registry):
    key = issue_platform_key(registry, name="x", now_s=NOW_S)

    assert registry.has_platform_key(hash_token(key))
    assert not registry.has_platform_key(hash_token(key + "x"))
    assert key.encode() not in (registry_bytes(registry))


def registry_bytes(registry):
    """Everything the registry's files hold."""
    path = registry._engine.url.database
    with open(path, "rb") as file, open(path + "-wal", "rb") as log:  # noqa: PTH123
        return file.read() + log.read()


def test_no_secret_is_stored_in_the_clear(registry, keyring, ana):
    form = AppForm(name="app", owner_id=ana.id, callbacks=[])
    made = issue_app(registry, keyring, form=form, now_s=NOW_S)
    _, token_secret = issue_access_token(
        registry, keyring, granted=Granted(made.app_id, ana.id), now_s=NOW_S
    )
    bearer = issue_bearer(registry, keyring, app=registry.apps.read(made.app_id))

    stored = registry_bytes(registry)
    for secret in (made.consumer_secret, token_secret, bearer):
        assert secret.encode() not in stored
    assert made.consumer_key.encode() in stored, "or the test looks in the wrong place"


def test_tokens_are_the_same_each_time(registry, keyring, add_app, ana):
    app_id = add_app()
    tokens = [
        issue_access_token(registry, keyring, granted=Granted(app_id, ana.id), now_s=NOW_S)
        for _ in range(2)
    ]
    bearers = [issue_bearer(registry, keyring, app=registry.apps.read(app_id)) for _ in range(2)]

    assert tokens[0] == tokens[1]
    assert bearers[0] == bearers[1]
    assert registry.apps.find_by_bearer(hash_token(bearers[0])).id == app_id


def test_a_revoked_bearer_token_is_gone_and_the_next_is_another(registry, keyring, add_app):
    app_id = add_app()
    first = issue_bearer(registry, keyring, app=registry.apps.read(app_id))
    revoke_bearer(registry, registry.apps.read(app_id))
    assert registry.apps.find_by_bearer(hash_token(first)) is None
    second = issue_bearer(registry, keyring, app=registry.apps.read(app_id))

    assert first != second
    assert registry.apps.find_by_bearer(hash_token(second)).id == app_id
    assert registry.apps.find_by_bearer(hash_token(first)) is None


def test_two_that_ask_for_a_token_at_once_get_the_same(tmp_path, registry, keyring, add_app):
    """Two commands, or a command and a server, each with its own view of the registry."""
    app_id = add_app()
    other = Registry(tmp_path / "registry.sqlite3")
    barrier = threading.Barrier(2)

    def issue(view):
        barrier.wait()
        return issue_access_token(view, keyring, granted=Granted(app_id, 1), now_s=NOW_S)

    try:
        for _ in range(5):
            with registry._engine.begin() as db:
                db.execute(sa.text("DELETE FROM access_tokens"))
            with ThreadPoolExecutor(2) as pool:
                one, two = pool.map(issue, [registry, other])
            assert one == two
    finally:
        other.close()
