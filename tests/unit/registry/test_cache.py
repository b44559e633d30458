"""The cache of lookups without a database, and the version of SQLite across processes."""

import sqlite3
from contextlib import closing

import pytest

from openengagement.registry import cache
from openengagement.registry.cache import VersionedCache
from openengagement.registry.platform_keys import PlatformKey
from support.forked import run_python

CHANGE_APP = """
import sys
from pathlib import Path
from openengagement.registry.audit import COMMAND_LINE
from openengagement.registry.opening import open_registry

registry = open_registry(Path(sys.argv[1]))
values = {"enabled": True, "per_minute": 3}
registry.decisions.change_app(int(sys.argv[2]), values, actor=COMMAND_LINE, now_s=0)
registry.close()
"""


def test_a_commit_of_another_process_changes_the_version(tmp_path, registry, app_id):
    before = registry.database.version()
    assert run_python(CHANGE_APP, tmp_path, app_id).returncode == 0

    assert registry.database.version() != before
    assert registry.apps.read_app(app_id).per_minute == 3


def test_the_version_of_an_unchanged_registry_runs_no_statement(registry, monkeypatch):
    before = registry.database.version()
    monkeypatch.setattr(registry.database, "_reader", None)
    monkeypatch.setattr(registry.database._commits, "_connection", None)
    assert registry.database.version() == before


OLDER = [
    "INSERT INTO access_tokens VALUES ('token', 10000001, 1, x'00', 0, 'read', NULL)",
    "UPDATE access_tokens SET access_level = 'read-write'",
    "UPDATE apps SET suspended = 1",
    "UPDATE accounts SET protected = 1",
    "INSERT INTO platform_keys (key_hash, name, created_at_s) VALUES (x'00', 'key', 0)",
    "DELETE FROM platform_keys",
    "DELETE FROM access_tokens",
]


@pytest.mark.usefixtures("app_id")
def test_a_process_that_does_not_know_the_version_changes_it_too(tmp_path, registry):
    """An older server may still serve the folder, and a person may revoke a token there."""
    with closing(sqlite3.connect(tmp_path / "registry.sqlite3", isolation_level=None)) as older:
        for statement in OLDER:
            before = registry.database.version()
            older.execute(statement)
            assert registry.database.version() != before, statement
            if statement is OLDER[0]:
                before = registry.database.version()
                older.execute("UPDATE access_tokens SET last_used_s = 1")
                older.execute("UPDATE platform_keys SET last_used_s = 1")
                assert registry.database.version() == before, "its usage flush empties no cache"


def test_a_transaction_that_changes_no_row_is_no_commit(registry):
    """Counting the commit would write a page, and every process would read the version again."""
    before = registry.database._commits.mark()
    registry.platform_keys.apply_last_used({b"revoked": 5})
    assert registry.database._commits.mark() == before
    registry.platform_keys.add_platform_key(PlatformKey(b"k", "x", 5))
    assert registry.database._commits.mark() != before


def test_entries_are_kept_until_the_version_changes(monkeypatch):
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
    assert kept.entries() == {}, "a late thread adds to the old dictionary, which is not read"

    fresh.update(dict.fromkeys(range(4)))
    assert kept.entries() == {}, "its size is limited"
