"""The cache of lookups without a database, and the version of SQLite across processes."""

import subprocess
import sys

from openengagement.registry import cache
from openengagement.registry.cache import VersionedCache

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
    subprocess.run([sys.executable, "-c", CHANGE_APP, str(tmp_path), str(app_id)], check=True)

    assert registry.database.version() != before
    assert registry.apps.read_app(app_id).per_minute == 3


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
