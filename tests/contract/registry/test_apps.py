"""Apps, tokens and keys: unique, found by the credentials of a request, written as a whole."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from openengagement.auth.credentials import (
    Granted,
    hash_token,
    issue_access_token,
    issue_app,
    issue_bearer,
    issue_platform_key,
    revoke_bearer,
)
from openengagement.auth.keyring import open_keyring
from openengagement.registry.apps import FIRST_APP_ID, AppForm, AppRemoved, TooManyApps
from openengagement.registry.audit import COMMAND_LINE
from openengagement.registry.grants import AccessToken

NOW_S = 1_795_342_500


@pytest.fixture
def keyring(tmp_path):
    return open_keyring(tmp_path / "server.key")


@pytest.fixture
def add_app(registry, ana):
    def added(key="key", **changes):
        form = AppForm(**{"name": "app", "owner_id": ana.id, "callbacks": []} | changes)
        return registry.apps.add_app(form, credentials=(key, b"secret"), now_s=NOW_S)

    return added


def test_app_ids_count_up(registry, add_app):
    assert [add_app(key) for key in "abc"] == [FIRST_APP_ID + at for at in range(3)]
    assert registry.apps.read_app(FIRST_APP_ID).consumer_key == "a"
    assert registry.apps.find_by_consumer_key("c").id == FIRST_APP_ID + 2
    assert registry.apps.find_by_consumer_key("C") is None
    assert registry.apps.read_app(1) is None


def test_a_new_app_is_not_enabled(registry, add_app):
    app = registry.apps.read_app(add_app())

    assert (app.enabled, app.per_minute, app.bearer_hash) == (False, None, None)


def test_the_limit_of_apps_holds_for_each_account(registry, ana):
    """Also if many calls run at once. Apps of other accounts do not count."""
    form = AppForm(name="app", owner_id=ana.id, callbacks=[])
    registry.accounts.add_account(replace(ana, id=2, screen_name="ben"))

    def add(at, *, apps_max=3, owner_id=ana.id):
        said = replace(form, owner_id=owner_id)
        try:
            return registry.apps.add_app(
                said, credentials=(str(at), b""), now_s=NOW_S, apps_max=apps_max
            )
        except TooManyApps:
            return None

    add("ben's", owner_id=2)
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(add, range(12)))
    assert sum(each is not None for each in made) == 3
    assert len(registry.apps.list_owned(ana.id)) == 3
    assert add("one more", apps_max=None) is not None
    assert add("none at all", apps_max=0, owner_id=2) is None
    assert registry.apps.find_by_consumer_key("none at all") is None


def decide(registry, app_id, **values):
    registry.decisions.change_app(app_id, values, actor=COMMAND_LINE, now_s=NOW_S)


def test_list_owned_is_newest_first(registry, add_app):
    made = [add_app(key) for key in "abc"]
    decide(registry, made[1], suspended=True)
    assert [app.id for app in registry.apps.list_owned(1)] == made[::-1]
    assert registry.apps.list_owned(1)[1] == registry.apps.read_app(made[1])
    assert registry.apps.list_owned(2) == []


def test_apply_form_changes_the_settings_of_one_app_only(registry, add_app):
    app_id, other = add_app("a", callbacks=["x://1", "x://2"]), add_app("b", callbacks=["y://1"])
    decide(registry, app_id, enabled=True, per_minute=7)
    before = registry.apps.read_app(app_id)
    said = AppForm("new", 99, ["x://3", "x://1"], "https://x.example", "Says.", "read-write", True)
    registry.apps.apply_form(app_id, said)
    after = registry.apps.read_app(app_id)
    assert after == replace(
        before,
        name="new",
        website="https://x.example",
        description="Says.",
        access_level="read-write",
        sign_in=True,
    )
    assert registry.apps.read_callbacks(app_id) == ["x://3", "x://1"]
    assert registry.apps.read_app(other).name == "app"
    assert registry.apps.read_callbacks(other) == ["y://1"]
    registry.apps.apply_form(app_id, replace(said, callbacks=[]))
    assert registry.apps.read_callbacks(app_id) == []


def test_a_form_that_fails_changes_nothing(registry, add_app):
    app_id = add_app(callbacks=["x://1"])
    with pytest.raises(sa.exc.IntegrityError):
        registry.apps.apply_form(app_id, AppForm("new", 1, ["x://2", None]))
    assert registry.apps.read_app(app_id).name == "app"
    assert registry.apps.read_callbacks(app_id) == ["x://1"]


def test_a_new_consumer_revokes_the_bearer_token_of_that_app(registry, keyring, add_app):
    apps = [registry.apps.read_app(add_app(key)) for key in "ab"]
    tokens = [issue_bearer(registry, keyring, app=app) for app in apps]
    registry.apps.replace_consumer(apps[0].id, credentials=("c", b"other"))
    after = registry.apps.read_app(apps[0].id)
    assert (after.consumer_key, after.consumer_secret) == ("c", b"other")
    assert (after.bearer_hash, after.bearer_generation) == (None, apps[0].bearer_generation + 1)
    assert registry.apps.find_by_consumer_key("a") is None
    assert registry.apps.find_by_bearer(hash_token(tokens[0])) is None
    assert registry.apps.find_by_bearer(hash_token(tokens[1])).id == apps[1].id


def test_a_new_consumer_key_is_unique(registry, add_app):
    app_id, _ = add_app("a"), add_app("b")
    with pytest.raises(sa.exc.IntegrityError):
        registry.apps.replace_consumer(app_id, credentials=("b", b""))
    assert registry.apps.find_by_consumer_key("a").id == app_id


def test_each_revocation_of_a_bearer_token_begins_a_generation(registry, keyring, add_app):
    """So that none ever comes back, not one that was derived before on an old reading either."""
    stale = registry.apps.read_app(add_app())
    for generation in (1, 2):
        registry.apps.revoke_bearer(stale.id)
        app = registry.apps.read_app(stale.id)
        assert (app.bearer_generation, app.bearer_hash) == (generation, None)
    assert not registry.apps.set_bearer(stale, generation=0, bearer_hash=b"old")
    first = keyring.derive_bearers(stale)[0]
    assert issue_bearer(registry, keyring, app=stale) != first
    assert registry.apps.find_by_bearer(hash_token(first)) is None


def test_consumer_keys_are_unique(registry, add_app):
    add_app("key")
    with pytest.raises(sa.exc.IntegrityError):
        add_app("key")


def test_an_app_without_an_owner_is_refused_and_leaves_no_rows(registry, add_app):
    with pytest.raises(sa.exc.IntegrityError):
        add_app(owner_id=99, callbacks=["http://127.0.0.1/"])
    assert registry.apps.find_by_consumer_key("key") is None
    assert add_app() == FIRST_APP_ID


def test_an_account_gives_an_app_one_token(registry, add_app, ana):
    app_id = add_app()
    token = AccessToken("1-abc", app_id, ana.id, b"secret")
    assert registry.grants.add_access_token(token, now_s=NOW_S)

    assert registry.grants.find_access_token("1-abc") == token
    assert registry.grants.read_access_token(app_id=app_id, account_id=ana.id) == token
    taken = AccessToken("1-x", app_id, ana.id, b"")
    assert not registry.grants.add_access_token(taken, now_s=NOW_S)
    with pytest.raises(AppRemoved):  # there is no such account
        registry.grants.add_access_token(AccessToken("1-x", app_id, 99, b""), now_s=NOW_S)
    assert registry.grants.find_access_token("1-x") is None


def test_platform_keys(registry, stored_bytes):
    key = issue_platform_key(registry, name="x", now_s=NOW_S)

    assert registry.platform_keys.find_platform_key(hash_token(key))
    assert not registry.platform_keys.find_platform_key(hash_token(key + "x"))
    assert key.encode() not in stored_bytes()


def test_no_secret_is_stored_in_the_clear(registry, keyring, ana, stored_bytes):
    form = AppForm(name="app", owner_id=ana.id, callbacks=[])
    made = issue_app(registry, keyring, form=form, now_s=NOW_S)
    _, token_secret = issue_access_token(
        registry, keyring, granted=Granted(made.app_id, ana.id), now_s=NOW_S
    )
    bearer = issue_bearer(registry, keyring, app=registry.apps.read_app(made.app_id))

    stored = stored_bytes()
    for secret in (made.consumer_secret, token_secret, bearer):
        assert secret.encode() not in stored
    assert made.consumer_key.encode() in stored, "or the test looks in the wrong place"


def test_issuing_again_returns_the_same_token(registry, keyring, add_app, ana):
    app_id = add_app()
    tokens = [
        issue_access_token(registry, keyring, granted=Granted(app_id, ana.id), now_s=NOW_S)
        for _ in range(2)
    ]
    bearers = [
        issue_bearer(registry, keyring, app=registry.apps.read_app(app_id)) for _ in range(2)
    ]

    assert tokens[0] == tokens[1]
    assert bearers[0] == bearers[1]
    assert registry.apps.find_by_bearer(hash_token(bearers[0])).id == app_id


def test_the_bearer_token_after_a_revocation_is_another_one(registry, keyring, add_app):
    app_id = add_app()
    first = issue_bearer(registry, keyring, app=registry.apps.read_app(app_id))
    revoke_bearer(registry, registry.apps.read_app(app_id))
    assert registry.apps.find_by_bearer(hash_token(first)) is None
    second = issue_bearer(registry, keyring, app=registry.apps.read_app(app_id))

    assert first != second
    assert registry.apps.find_by_bearer(hash_token(second)).id == app_id
    assert registry.apps.find_by_bearer(hash_token(first)) is None


def test_two_processes_that_issue_a_token_at_once_get_the_same(registry, other, keyring, add_app):
    """Two commands, or a command and a server, each with its own view of the registry."""
    app_id = add_app()
    barrier = threading.Barrier(2)

    def issue(view):
        barrier.wait()
        return issue_access_token(view, keyring, granted=Granted(app_id, 1), now_s=NOW_S)

    for _ in range(5):
        with registry.database.writing(credentials=True) as db:
            db.execute(sa.text("DELETE FROM access_tokens"))
        with ThreadPoolExecutor(2) as pool:
            one, two = pool.map(issue, [registry, other])
        assert one == two
