"""Credential caches: each change of credentials empties them, and nothing else does.

Of a change by another process, `engine.catch_up` waits until the engine has learned.
"""

import pytest
import sqlalchemy as sa

from contract.registry.conftest import read_version
from openengagement.auth.credentials import (
    Granted,
    hash_token,
    issue_access_token,
    issue_app,
    issue_bearer,
    issue_platform_key,
)
from openengagement.auth.keyring import open_keyring
from openengagement.auth.lookup import CredentialLookup
from openengagement.engagement.permissions import AccessLevel, Role
from openengagement.registry.accounts import Account
from openengagement.registry.apps import AppForm
from openengagement.registry.audit import COMMAND_LINE
from openengagement.registry.encrypted import reencrypt_secrets
from openengagement.registry.grants import OOB, AccessToken, RequestToken
from openengagement.registry.platform_keys import PlatformKey
from openengagement.registry.schema import ACCESS_TOKENS, ACCOUNTS, APPS, PLATFORM_KEYS, SESSIONS
from openengagement.registry.sessions import NewSession

NOW_S = 1_795_342_500
MONTH = "2026-11"


@pytest.fixture
def keyring(tmp_path):
    return open_keyring(tmp_path / "server.key")


@pytest.fixture
def app(registry, keyring, ana):
    made = issue_app(registry, keyring, form=AppForm("app", ana.id, []), now_s=NOW_S)
    return registry.apps.read_app(made.app_id)


@pytest.fixture
def token(registry, keyring, app):
    granted = Granted(app.id, app.owner_id)
    return issue_access_token(registry, keyring, granted=granted, now_s=NOW_S)[0]


def decide(view, app_id, **values):
    view.decisions.change_app(app_id, values, actor=COMMAND_LINE, now_s=NOW_S)


def pending_token(view, app_id, token):
    asked = RequestToken(token, app_id, b"s", OOB, AccessLevel.READ, NOW_S)
    view.grants.add_request_token(asked, forget_before_s=0)
    view.grants.authorize(token, account_id=1, verifier=b"v")


CREDENTIAL_CHANGES = {
    "enable": lambda view, app, token: decide(view, app.id, enabled=True),
    "limit": lambda view, app, token: decide(view, app.id, per_minute=7),
    "suspend": lambda view, app, token: decide(view, app.id, suspended=True),
    "settings": lambda view, app, token: view.apps.apply_form(app.id, AppForm("new", 1, [])),
    "new app": lambda view, app, token: view.apps.add_app(
        AppForm("new", 1, []), credentials=("k", b""), now_s=NOW_S
    ),
    "new key": lambda view, app, token: view.apps.replace_consumer(app.id, credentials=("k", b"")),
    "new bearer": lambda view, app, token: view.apps.set_bearer(
        app, generation=app.bearer_generation, bearer_hash=b"h"
    ),
    "no bearer": lambda view, app, token: view.apps.revoke_bearer(app.id),
    "no bearers": lambda view, app, token: view.apps.revoke_all_bearers(),
    "no token": lambda view, app, token: view.grants.revoke_access_token(
        app_id=app.id, account_id=1
    ),
    "another token": lambda view, app, token: view.grants.replace_access_token(
        AccessToken("1-x", app.id, 1, b""), now_s=NOW_S
    ),
    "redeemed token": lambda view, app, token: (
        pending_token(view, app.id, "r"),
        view.grants.redeem("r", AccessToken("1-x", app.id, 1, b""), now_s=NOW_S),
    ),
    "password": lambda view, app, token: view.password_hashes.set_password(1, password_hash="h"),
    "protect": lambda view, app, token: view.accounts.apply_accounts(
        [(1, "ana", True)], now_s=NOW_S
    ),
    "new account": lambda view, app, token: view.accounts.apply_accounts(
        [(9, "new", None)], now_s=NOW_S
    ),
    "added account": lambda view, app, token: view.accounts.add_account(Account(8, "x", NOW_S)),
    "role": lambda view, app, token: view.decisions.set_role(
        1, Role.MANAGER, actor=COMMAND_LINE, now_s=NOW_S
    ),
    "platform key": lambda view, app, token: view.platform_keys.add_platform_key(
        PlatformKey(b"1", "x", NOW_S)
    ),
    "revoked platform key": lambda view, app, token: (
        view.platform_keys.add_platform_key(PlatformKey(b"2", "x", NOW_S)),
        view.platform_keys.revoke_platform_key(PlatformKey(b"2", "x", NOW_S, None), now_s=NOW_S),
    ),
    "key rotation": lambda view, app, token: reencrypt_secrets(view.database, lambda secret: b"x"),
}
OTHER_CHANGES = {
    "usage": lambda view, app, token: view.usage.add_usage(
        {(MONTH, app.id, "ok"): 3}, [(MONTH, app.id, 1)]
    ),
    "last use": lambda view, app, token: view.grants.apply_last_used({token: NOW_S + 5}),
    "sign-in": lambda view, app, token: view.sessions.add_session(
        NewSession("id", b"hash", 1, "Firefox", NOW_S)
    ),
    "seen session": lambda view, app, token: (
        view.sessions.add_session(NewSession("i", b"h", 1, "Firefox", NOW_S)),
        view.sessions.find_session(b"h", oldest_s=0, now_s=NOW_S + 999),
    ),
    "sign-out": lambda view, app, token: view.sessions.end_session("id", account_id=1),
    "expiry": lambda view, app, token: view.sessions.end_before(NOW_S),
    "request token": lambda view, app, token: pending_token(view, app.id, "q"),
    "attempt": lambda view, app, token: view.grants.count_attempt("q", attempts_max=9),
    "denial": lambda view, app, token: view.grants.drop_request_token("q"),
    "reading": lambda view, app, token: (
        view.apps.read_app(app.id),
        view.accounts.read_protected([1]),
    ),
}


@pytest.mark.parametrize("change", CREDENTIAL_CHANGES.values(), ids=CREDENTIAL_CHANGES)
def test_a_change_of_credentials_changes_the_version(engine, registry, other, app, token, change):
    """In the process that made the change, and in other processes."""
    engine.catch_up(other)
    before = registry.database.version(), other.database.version()
    assert before == (registry.database.version(), other.database.version())
    change(registry, app, token)
    assert registry.database.version() != before[0]
    engine.catch_up(other)
    assert other.database.version() != before[1]


@pytest.mark.parametrize("change", OTHER_CHANGES.values(), ids=OTHER_CHANGES)
def test_other_commits_do_not_change_the_version(registry, other, app, token, change):
    before = read_version(other)
    change(registry, app, token)
    assert read_version(other) == before == registry.database.version()


def test_a_last_use_of_a_platform_key_does_not_change_the_version(registry, other):
    registry.platform_keys.add_platform_key(PlatformKey(b"k", "x", NOW_S))
    before = read_version(registry)
    other.platform_keys.apply_last_used({b"k": NOW_S + 5})

    assert registry.platform_keys.list_platform_keys()[0].last_used_s == NOW_S + 5
    assert read_version(registry) == before


def test_the_version_changes_at_the_commit_and_not_before(engine, registry, other, app):
    """Otherwise a cache could read old rows, and keep them under the new version."""
    engine.catch_up(other)
    before = other.database.version()
    with registry.database.writing(credentials=True) as db:
        db.execute(APPS.update().values(enabled=True))
        assert other.database.version() == before
        assert not other.apps.read_app(app.id).enabled
    engine.catch_up(other)
    assert other.database.version() != before
    assert other.apps.read_app(app.id).enabled


def test_a_failed_change_does_not_change_the_version(registry, app):
    before = registry.database.version()
    with pytest.raises(sa.exc.IntegrityError):
        registry.apps.apply_form(app.id, AppForm("new", 1, [None]))
    assert registry.database.version() == before


@pytest.mark.parametrize("table", [ACCOUNTS, APPS, ACCESS_TOKENS, PLATFORM_KEYS], ids=str)
def test_a_transaction_that_forgets_the_version_fails(registry, table):
    """A statement that changes a cached table must be in writing(credentials=True)."""
    statements = (table.insert(), table.update().values(created_at_s=1), table.delete())
    for statement in statements:
        with (
            pytest.raises(AssertionError, match="credentials=True"),
            registry.database.writing() as db,
        ):
            db.execute(statement)
    with registry.database.writing() as db:
        db.execute(SESSIONS.delete())


@pytest.fixture
def loads(registry, keyring, monkeypatch):
    """What a lookup loads: the SQL that it runs, but for the version, and what it decrypts."""
    loaded = []
    decrypt = keyring.decrypt
    monkeypatch.setattr(keyring, "decrypt", lambda stored: loaded.append(stored) or decrypt(stored))

    def record(_db, _cursor, statement, *_):
        if statement.startswith("SELECT") and "credential_version" not in statement:
            loaded.append(statement)

    sa.event.listen(registry.database._engine, "before_cursor_execute", record)
    yield loaded
    sa.event.remove(registry.database._engine, "before_cursor_execute", record)


def test_a_flush_leaves_caches_warm(engine, registry, other, keyring, app, token, loads):
    """After a flush of usage and last uses, a lookup decrypts nothing and reads no table."""
    bearer = issue_bearer(registry, keyring, app=app)
    key = issue_platform_key(registry, name="x", now_s=NOW_S)
    lookup = CredentialLookup(registry, keyring)

    def look_up():
        loads.clear()
        return (
            lookup.find_signing_pair(app.consumer_key, token),
            lookup.find_by_bearer(bearer),
            lookup.find_platform_key(key),
            lookup.read_protected([1, 2]),
        )

    cold = look_up()
    assert len(loads) == 7, "five statements, two secrets"
    for view in (registry, other):
        view.usage.add_usage({(MONTH, app.id, "ok"): 3}, [(MONTH, app.id, 1)])
        view.grants.apply_last_used({token: NOW_S + 5})
        view.platform_keys.apply_last_used({hash_token(key): NOW_S + 5})
        assert look_up() == cold
        assert loads == []
    decide(other, app.id, enabled=True)
    engine.catch_up(registry)
    assert look_up() != cold
    assert len(loads) == 7


def test_a_lookup_sees_a_change(engine, registry, other, keyring, app):
    """Disabling, a new limit, protection and a revoked token, by this process or another one."""
    lookup = CredentialLookup(registry, keyring)
    views = [registry, other]
    for turn in range(20):
        view = views[turn % 2]
        decide(view, app.id, enabled=turn % 3 == 0, per_minute=turn + 1)
        view.accounts.apply_accounts([(1, "ana", turn % 5 == 0)], now_s=NOW_S)
        token = f"token {turn}"
        known = view.apps.read_app(app.id)
        view.apps.set_bearer(known, generation=turn, bearer_hash=hash_token(token))
        if view is other:
            engine.catch_up(registry)

        found = lookup.find_by_bearer(token)
        assert (found.enabled, found.per_minute) == (turn % 3 == 0, turn + 1)
        assert lookup.find_by_bearer(f"token {turn - 1}") is None
        assert lookup.read_protected([1, 2]) == {1: turn % 5 == 0}


def test_a_lookup_does_not_find_a_revoked_access_token(
    engine, registry, other, keyring, app, token
):
    lookup = CredentialLookup(registry, keyring)
    assert lookup.find_signing_pair(app.consumer_key, token)[1] is not None
    other.grants.revoke_access_token(app_id=app.id, account_id=1)
    engine.catch_up(registry)
    assert lookup.find_signing_pair(app.consumer_key, token)[1] is None


def test_a_lookup_finds_a_new_platform_key(engine, registry, other, keyring):
    lookup = CredentialLookup(registry, keyring)
    assert not lookup.find_platform_key("k")
    other.platform_keys.add_platform_key(PlatformKey(hash_token("k"), "x", NOW_S))
    engine.catch_up(registry)

    assert lookup.find_platform_key("k")


def test_a_lookup_does_not_find_a_revoked_platform_key(engine, registry, other, keyring):
    lookup = CredentialLookup(registry, keyring)
    key = issue_platform_key(registry, name="x", now_s=NOW_S)
    assert lookup.find_platform_key(key)
    (stored,) = other.platform_keys.list_platform_keys()
    assert other.platform_keys.revoke_platform_key(stored, now_s=NOW_S)
    engine.catch_up(registry)

    assert not lookup.find_platform_key(key)


def test_a_lookup_finds_a_new_account(engine, registry, other, keyring):
    lookup = CredentialLookup(registry, keyring)
    assert lookup.read_protected([7]) == {}
    other.accounts.apply_accounts([(7, "gus", True)], now_s=NOW_S)
    engine.catch_up(registry)

    assert lookup.read_protected([7]) == {7: True}
