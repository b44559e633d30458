"""A new registry is the same as the result of all migrations, and HEAD is the newest one."""

import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from openengagement.registry.migrate import HEAD, REVISIONS, migrate, upgrade
from openengagement.registry.opening import open_registry
from openengagement.registry.platform_keys import PlatformKey
from openengagement.registry.schema import CREDENTIAL_VERSION, METADATA
from support.waiting import PATIENCE_S


@pytest.fixture
def engine(tmp_path):
    made = sa.create_engine(f"sqlite:///{tmp_path / 'registry.sqlite3'}")
    yield made
    made.dispose()


def test_head_is_the_newest_revision():
    config = Config()
    config.set_main_option("script_location", "openengagement.registry:migrations")
    scripts = ScriptDirectory.from_config(config)

    assert scripts.get_heads() == [HEAD]
    assert [script.down_revision for script in scripts.walk_revisions()][-1] is None
    assert [script.revision for script in scripts.walk_revisions()] == [*reversed(REVISIONS)]


def apply_at_once(engine):
    with engine.begin() as connection:
        migrate(connection)


def apply_all(engine):
    with engine.begin() as connection:
        upgrade(connection, HEAD)


@pytest.mark.parametrize("make", [apply_at_once, apply_all], ids=["at once", "step by step"])
def test_a_new_registry_has_the_schema(engine, make):
    make(engine)

    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == HEAD
        assert connection.execute(sa.select(CREDENTIAL_VERSION)).all() == [(1, 0)]


def test_migrations_make_the_same_constraints(engine, tmp_path):
    """Alembic compares no constraints, so this compares all of them as SQLite has them."""
    apply_all(engine)
    plain = sa.create_engine(f"sqlite:///{tmp_path / 'plain.sqlite3'}")
    apply_at_once(plain)

    def shape(made):
        inspector = sa.inspect(made)
        return {
            table: (
                [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)],
                inspector.get_pk_constraint(table)["constrained_columns"],
                sorted(tuple(u["column_names"]) for u in inspector.get_unique_constraints(table)),
                sorted(
                    (tuple(f["constrained_columns"]), f["referred_table"])
                    for f in inspector.get_foreign_keys(table)
                ),
            )
            for table in inspector.get_table_names()
        }

    assert shape(engine) == shape(plain)
    plain.dispose()


def test_migrating_again_changes_nothing(engine):
    apply_at_once(engine)
    apply_at_once(engine)

    with engine.connect() as connection:
        revisions = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
        assert revisions.all() == [(HEAD,)]


def test_opening_keeps_existing_rows(tmp_path, engine):
    apply_at_once(engine)
    with engine.begin() as connection:
        row = "1, 'ana', 'ana', 0, 'member', 0"
        connection.execute(sa.text(f"INSERT INTO accounts VALUES ({row}, NULL, NULL)"))

    registry = open_registry(tmp_path)
    try:
        assert registry.accounts.find_account("ana").id == 1
    finally:
        registry.close()


def test_a_folder_of_an_older_version_is_migrated(tmp_path, engine):
    """The folder has an enabled app, and is from a release that did not count usage."""
    with engine.begin() as connection:
        upgrade(connection, "0002")
        connection.execute(
            sa.text("INSERT INTO accounts VALUES (1, 'ana', 'ana', 0, 'member', 0, NULL)")
        )
        columns = "id, name, owner_id, consumer_key, consumer_secret, enabled, per_minute"
        connection.execute(
            sa.text(
                f"INSERT INTO apps ({columns}, bearer_generation, created_at_s)"
                " VALUES (10000001, 'Tide', 1, 'key', x'00', 1, 60, 0, 7)"
            )
        )

    registry = open_registry(tmp_path)
    try:
        app = registry.apps.read_app(10_000_001)
        assert (app.enabled, app.per_minute, app.handles_contracted) == (True, 60, None)
        assert registry.app_list.read_state(app.id) == "enabled"
        assert registry.audit.list_entries(limit=1) == []
        registry.usage.add_usage({("2026-11", app.id, "ok"): 1}, [("2026-11", app.id, 1)])
        assert registry.usage.read_month("2026-11")[0].used.handles == 1
        before = registry.database.version()
        registry.apps.revoke_bearer(app.id)
        assert registry.database.version() != before
    finally:
        registry.close()


def test_last_uses_of_platform_keys_empty_no_cache_after_a_migration(tmp_path, engine):
    """The trigger of the older version took every change of a platform key for a credential's."""
    with engine.begin() as connection:
        upgrade(connection, "0004")
        connection.execute(sa.text("INSERT INTO platform_keys VALUES (x'00', 'ingest', 7)"))
        connection.execute(
            sa.text(
                "CREATE TRIGGER platform_keys_UPDATE AFTER UPDATE ON platform_keys "
                "BEGIN UPDATE credential_version SET version = version + 1; END"
            )
        )

    registry = open_registry(tmp_path)
    try:
        before = registry.database.version()
        registry.platform_keys.apply_last_used({b"\0": 9})
        assert registry.platform_keys.list_platform_keys() == [PlatformKey(b"\0", "ingest", 7, 9)]
        assert registry.database.version() == before
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE platform_keys SET name = 'x'"))
        assert registry.database.version() != before
    finally:
        registry.close()


@pytest.mark.heavy
def test_many_first_starts_at_once(tmp_path):
    """Several commands and servers may open an empty folder at the same moment."""
    code = (
        "import sys; from pathlib import Path\n"
        "from openengagement.registry.opening import open_registry\n"
        "from openengagement.registry.platform_keys import PlatformKey\n"
        "sys.stdin.readline(); r = open_registry(Path(sys.argv[1]))\n"
        "key = sys.argv[2].encode()\n"
        "r.platform_keys.add_platform_key(PlatformKey(key, 'x', 0)); r.close()\n"
    )
    path = tmp_path / "registry.sqlite3"
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(at)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for at in range(3)
    ]
    for start in starts:
        start.stdin.write("go\n")
        start.stdin.flush()
    errors = [start.communicate(timeout=PATIENCE_S)[1] for start in starts]

    assert [start.returncode for start in starts] == [0] * len(starts), errors
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM platform_keys").fetchone() == (len(starts),)
    db.close()
