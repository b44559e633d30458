"""The cache: what a commit of any process changed is seen by the very next look-up."""

import subprocess
import sys

import pytest

from openengagement.auth.credentials import hash_token
from openengagement.auth.keyring import open_keyring
from openengagement.auth.lookup import CredentialLookup
from openengagement.registry import cache
from openengagement.registry.accounts import Account
from openengagement.registry.apps import AppForm
from openengagement.registry.audit import COMMAND_LINE
from openengagement.registry.cache import VersionedCache
from openengagement.registry.opening import open_registry

NOW_S = 1_795_342_500


@pytest.fixture
def app_id(registry, ana):
    form = AppForm(name="app", owner_id=ana.id, callbacks=[])
    return registry.apps.add_app(form, credentials=("key", b""), now_s=NOW_S)


@pytest.fixture
def other(tmp_path, registry):
    """Another process's view, as far as SQLite can tell."""
    opened = open_registry(tmp_path)
    yield opened
    opened.close()


def decide(view, app_id, **values):
    view.decisions.change_app(app_id, values, actor=COMMAND_LINE, now_s=NOW_S)


def changes(registry, other, app_id):
    yield lambda: decide(registry, app_id, enabled=True)
    yield lambda: decide(other, app_id, enabled=False)
    yield lambda: registry.accounts.apply_accounts([(1, "ana", True)], now_s=NOW_S)
    yield lambda: other.accounts.apply_accounts([(9, "new", False)], now_s=NOW_S)
    yield lambda: other.platform_keys.add_platform_key(name="x", key_hash=b"1", now_s=NOW_S)
    yield lambda: registry.accounts.add_account(Account(8, "x", NOW_S))


def test_the_version_moves_on_with_every_commit(registry, other, app_id):
    for change in changes(registry, other, app_id):
        for view in (registry, other):
            assert view.database.version() == view.database.version()
        before = registry.database.version(), other.database.version()
        change()
        after = registry.database.version(), other.database.version()
        assert before[0] != after[0]
        assert before[1] != after[1]


def test_reading_does_not_move_it(registry, other, app_id):
    before = registry.database.version()
    for view in (registry, other):
        view.apps.read_app(app_id)
        view.accounts.read_protected([1, 2])
        view.accounts.find_account("ana")

    assert registry.database.version() == before


def test_a_commit_of_another_process_moves_it(tmp_path, registry, app_id):
    before = registry.database.version()
    code = (
        "import sys; from pathlib import Path\n"
        "from openengagement.registry.opening import open_registry\n"
        "r = open_registry(Path(sys.argv[1]))\n"
        "from openengagement.registry.audit import COMMAND_LINE as actor\n"
        "values = {'enabled': True, 'per_minute': 3}\n"
        "r.decisions.change_app(int(sys.argv[2]), values, actor=actor, now_s=0); r.close()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(app_id)], check=True)

    assert registry.database.version() != before
    assert registry.apps.read_app(app_id).per_minute == 3


def test_the_very_next_look_up_sees_it(tmp_path, registry, other, app_id):
    """Disabling, a new limit, protection, a revoked token: by us or by another process."""
    lookup = CredentialLookup(registry, open_keyring(tmp_path / "server.key"))
    views = [registry, other]
    for at in range(20):
        view = views[at % 2]
        decide(view, app_id, enabled=at % 3 == 0, per_minute=at + 1)
        view.accounts.apply_accounts([(1, "ana", at % 5 == 0)], now_s=NOW_S)
        token = f"token {at}"
        view.apps.set_bearer(
            view.apps.read_app(app_id), generation=at, bearer_hash=hash_token(token)
        )

        app = lookup.find_by_bearer(token)
        assert (app.enabled, app.per_minute) == (at % 3 == 0, at + 1)
        assert lookup.find_by_bearer(f"token {at - 1}") is None
        assert lookup.read_protected([1, 2]) == {1: at % 5 == 0}


def test_a_key_that_was_unknown_is_known_once_it_is_issued(tmp_path, registry, other):
    lookup = CredentialLookup(registry, open_keyring(tmp_path / "server.key"))
    assert not lookup.find_platform_key("k")
    other.platform_keys.add_platform_key(name="x", key_hash=hash_token("k"), now_s=NOW_S)

    assert lookup.find_platform_key("k")


def test_an_account_that_was_unknown_is_known_once_it_is_registered(tmp_path, registry, other):
    lookup = CredentialLookup(registry, open_keyring(tmp_path / "server.key"))
    assert lookup.read_protected([7]) == {}
    other.accounts.apply_accounts([(7, "gus", True)], now_s=NOW_S)

    assert lookup.read_protected([7]) == {7: True}


def test_entries_hold_while_the_version_stands(monkeypatch):
    monkeypatch.setattr(cache, "ENTRIES_MAX", 3)
    version = 1
    kept = VersionedCache(lambda: version)
    entries = kept.entries()
    entries["a"] = 1
    assert kept.entries() is entries

    version = 2
    fresh = kept.entries()
    assert fresh == {}
    entries["late"] = 1
    assert kept.entries() == {}, "a thread that was late fills what nobody reads"

    fresh.update(dict.fromkeys(range(4)))
    assert kept.entries() == {}, "it does not grow without end"
