"""Failures of SQLite that may pass are StoreUnavailable, which clients see as 503."""

import sqlite3
from contextlib import closing

import pytest
import sqlalchemy as sa

from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.registry import sqlite
from openengagement.registry.opening import open_registry
from openengagement.registry.schema import METADATA

ACCOUNTS = METADATA.tables["accounts"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "registry.sqlite3"


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "WRITE_TIMEOUT_S", 0.1)
    with closing(open_registry(tmp_path)) as opened:
        yield opened


def add_account(registry, number=1):
    return registry.accounts.apply_accounts(
        [(number, f"name{number}", False)], now_s=1_700_000_000, atomic=False
    )


def count_accounts(registry):
    with registry.database.reading() as db:
        return db.execute(sa.select(sa.func.count()).select_from(ACCOUNTS)).scalar_one()


def test_a_writer_that_waits_too_long(registry, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"the registry store is unavailable: .* locked"):
            add_account(registry)
        assert count_accounts(registry) == 0  # readers do not wait
        other.execute("ROLLBACK")
    add_account(registry)
    assert count_accounts(registry) == 1


def test_a_file_system_that_became_read_only(registry):
    """The kernel does that after an I/O error."""
    sa.event.listen(
        registry.database._engine, "checkout", lambda db, *_: db.execute("PRAGMA query_only = 1")
    )
    with pytest.raises(StoreUnavailable, match="readonly"):
        add_account(registry)
    assert count_accounts(registry) == 0


def test_a_registry_that_cannot_be_written_from_the_start(registry, path, tmp_path, monkeypatch):
    """Waiting does not help, so this is no StoreUnavailable."""
    prepare = sqlite._prepare

    def prepare_read_only(connection, record):
        prepare(connection, record)
        connection.execute("PRAGMA query_only = 1")

    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TRIGGER apps_INSERT")
    monkeypatch.setattr(sqlite, "_prepare", prepare_read_only)
    with pytest.raises(sa.exc.OperationalError, match="readonly"):
        open_registry(tmp_path)


def damage(path):
    page = path.read_bytes()
    path.write_bytes(page[:4096] + bytes(4096) + page[8192:])


def test_a_damaged_registry_is_not_backed_up(registry, path, tmp_path):
    add_account(registry)
    registry.close()
    damage(path)
    database = sqlite.SqliteDatabase.__new__(sqlite.SqliteDatabase)
    database._path = path
    (tmp_path / "copy").mkdir()
    with pytest.raises(StoreDamaged) as caught:
        database.copy_to(tmp_path / "copy")
    assert caught.value.file == path.name


def test_no_room_for_a_statement(registry):
    def refuse_growth(connection, *_):
        connection.execute("PRAGMA max_page_count = 1")

    sa.event.listen(registry.database._engine, "checkout", refuse_growth)
    rows = [(n + 1, f"name{n}", False) for n in range(20_000)]
    with pytest.raises(StoreUnavailable, match="full"):
        registry.accounts.apply_accounts(rows, now_s=1, atomic=False)
    assert count_accounts(registry) == 0


@pytest.mark.parametrize("failing", ["COMMIT", "SELECT", "INSERT", "BEGIN IMMEDIATE"])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_FULL], ids=str)
def test_every_step_of_a_transaction(registry, monkeypatch, failing, code):
    """Real disks fail at any step. The fault is raised by the driver."""

    def fail(statement):
        if statement.lstrip().startswith(failing):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = code
            raise error

    dialect = registry.database._engine.dialect
    execute = dialect.do_execute

    def do_execute(cursor, statement, parameters, context=None):
        fail(statement)
        execute(cursor, statement, parameters, context)

    monkeypatch.setattr(dialect, "do_execute", do_execute)
    monkeypatch.setattr(dialect, "do_executemany", do_execute)
    monkeypatch.setattr(dialect, "do_commit", lambda _connection: fail("COMMIT"))
    with pytest.raises(StoreUnavailable):
        add_account(registry)
    monkeypatch.undo()
    add_account(registry)
    assert count_accounts(registry) == 1


def test_a_file_that_cannot_be_opened_for_now(registry, path):
    registry.database._engine.dispose()
    path.rename(path.with_name("moved"))
    path.mkdir()
    with pytest.raises(StoreUnavailable, match="open"):
        count_accounts(registry)
    path.rmdir()
    path.with_name("moved").rename(path)
    assert count_accounts(registry) == 0


def test_the_version_cannot_be_read(registry, monkeypatch):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ

    def fail():
        raise error

    monkeypatch.setattr(registry.database._commits, "mark", fail)
    with pytest.raises(StoreUnavailable, match="I/O"):
        registry.database.version()


def test_a_mistake_of_ours_is_not_hidden(registry):
    with (
        pytest.raises(sa.exc.OperationalError, match="no such table"),
        registry.database.reading() as db,
    ):
        db.exec_driver_sql("SELECT 1 FROM missing")
