"""The registry's database in a SQLite file: for one machine, with any number of processes."""

import itertools
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from openengagement.damage import find_damaged_pages
from openengagement.errors import StoreDamaged, StoreUnavailable
from openengagement.files import SharedLock
from openengagement.registry.database import WRITE_TIMEOUT_S, Database
from openengagement.registry.migrate import migrate
from openengagement.registry.schema import CREDENTIAL_VERSION, METADATA
from openengagement.sqlite_commits import CommitWatch
from openengagement.sqlite_files import (
    DAMAGED,
    connect,
    count_commit,
    is_refusal,
    primary_code,
    refuse_foreign_log,
    scrub,
)

# A process of an earlier version may still serve the folder, and it does not know the credential
# version. These triggers increment the version for it, or our caches would miss what it revokes.
_TRIGGER: Final = """
CREATE TRIGGER IF NOT EXISTS {table}_{change} AFTER {change} ON {table} {condition}
BEGIN UPDATE credential_version SET version = version + 1; END
"""
_CHANGES: Final = ("INSERT", "UPDATE", "DELETE")
_SEAL: Final = """
CREATE TRIGGER IF NOT EXISTS sealed_{table}_{change} BEFORE {change} ON {table}
BEGIN SELECT RAISE(ABORT, '{reason}'); END
"""
_SEALED: Final = """
SELECT name FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, 7) = 'sealed_'
"""
# No cache holds this column, and every worker writes it every few seconds.
_UNUSED: Final = "WHEN old.last_used_s IS new.last_used_s"
_CONDITIONS: Final = dict.fromkeys(
    [(t, "UPDATE") for t in ("access_tokens", "platform_keys")], _UNUSED
)
# Another process has the lock for too long, the disk is full or fails, too many files are open.
_MAY_PASS: Final = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL),
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN),
}


class SqliteDatabase(Database):
    """The database in the file `path`. Opening it creates the tables, or migrates them.

    Raises:
        UnusableFile: a write-ahead log next to it does not belong to it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_open = False
        self._writers_file = path.with_name("usage.lock")
        self._writers: SharedLock | None = None
        refuse_foreign_log(path)
        self._engine = sa.create_engine(
            f"sqlite:///{path}", connect_args={"timeout": WRITE_TIMEOUT_S}
        )
        sa.event.listen(self._engine, "connect", _prepare)
        sa.event.listen(self._engine, "handle_error", self._raise_as_promised)
        reader, writer = self._engine.execution_options(), self._engine.execution_options()
        # A reader may run on the event loop, so it waits for no lock. A writer acquires the write
        # lock first: otherwise it would fail if another one committed between its read and its
        # write.
        sa.event.listen(reader, "begin", lambda db: db.exec_driver_sql("BEGIN"))
        sa.event.listen(writer, "begin", _begin_writing)
        sa.event.listen(writer, "commit", _count_commit)
        super().__init__(reader=reader, writer=writer)
        with writer.begin() as db:
            migrate(db)
            _create_triggers(db)
        self._commits = CommitWatch(path)
        self._is_open = True
        self._seen: tuple[object, int] = (None, -1)  # a mark of the watch, and the version then

    def version(self) -> int:
        try:
            mark = self._commits.mark()
        except sqlite3.Error as error:
            self._raise_for(error)
            raise
        # Any commit changes the mark. After a commit between the mark and the SELECT, the next call
        # reads the version again.
        seen, version = self._seen
        if seen != mark:
            with self.reading() as db:
                version = db.execute(sa.select(CREDENTIAL_VERSION.c.version)).scalar_one()
            self._seen = mark, version
        return version

    def _raise_as_promised(self, context: sa.ExceptionContext) -> None:
        self._raise_for(context.original_exception)

    def _raise_for(self, error: BaseException) -> None:
        """Raise StoreDamaged for damage, and StoreUnavailable if a retry may help."""
        code = primary_code(error)
        if code in DAMAGED:
            raise StoreDamaged("registry", self._path.name, reason=str(error)) from error
        # The kernel makes a file system read-only after an error.
        became_read_only = self._is_open and code == sqlite3.SQLITE_READONLY
        if code in _MAY_PASS or became_read_only or is_refusal(error):
            raise StoreUnavailable("registry", str(error)) from error

    def insert_missing(self, table: sa.Table) -> sa.Insert:
        return insert(table).on_conflict_do_nothing()

    def insert_adding(self, column: sa.Column[int]) -> sa.Insert:
        adding = insert(column.table)
        return adding.on_conflict_do_update(
            index_elements=list(column.table.primary_key),
            set_={column: column + adding.excluded[column.name]},
        )

    def copy_to(self, folder: Path) -> None:
        """Copy the file to a folder, as it is at this moment. Other processes may write.

        Raises:
            StoreDamaged: the database is damaged.
            StoreUnavailable: try again later.
            OSError: the folder cannot be written.
        """
        source = closing(sqlite3.connect(self._path))
        try:
            with source as db, closing(sqlite3.connect(folder / self._path.name)) as copy:
                db.backup(copy)
                if found := find_damaged_pages(copy):
                    raise StoreDamaged("registry", self._path.name, reason=found[0])
        except sqlite3.Error as error:
            self._raise_for(error)
            raise OSError(str(error)) from error

    def scrub(self) -> None:
        """Rewrite the file and empty its log. Other writers wait meanwhile."""
        options = {"timeout": WRITE_TIMEOUT_S, "isolation_level": None}
        try:
            with closing(connect(self._path, mode="rw", **options)) as db:
                if not scrub(db):
                    raise StoreUnavailable("registry", "a reader keeps the log of the file in use")
        except sqlite3.Error as error:
            self._raise_for(error)
            raise

    def snapshot(self) -> AbstractContextManager[sa.Connection]:
        return self.reading()

    def seal(self, tables: Sequence[sa.Table], reason: str) -> None:
        with self.writing() as db:
            for table, change in itertools.product(tables, _CHANGES):
                db.exec_driver_sql(_SEAL.format(table=table, change=change, reason=reason))
            _count_tables(db)

    def release(self) -> None:
        with self.writing() as db:
            for (name,) in db.exec_driver_sql(_SEALED).fetchall():
                db.exec_driver_sql(f"DROP TRIGGER {name}")
            _count_tables(db)

    def join_writers(self) -> None:
        self._writers_lock().hold()

    def leave_writers(self) -> None:
        self._writers_lock().release()

    def has_writers(self) -> bool:
        # Only a writer creates the file: its owner must be the server's user.
        return self._writers_file.exists() and self._writers_lock().is_held()

    def _writers_lock(self) -> SharedLock:
        if self._writers is None:
            self._writers = SharedLock(self._writers_file)
        return self._writers

    def continue_ids(self, db: sa.Connection, column: sa.Column[int]) -> None:
        """Do nothing: SQLite takes the highest id plus 1."""

    def close(self) -> None:
        if self._writers:
            self._writers.close()
        self._commits.close()
        self._engine.dispose()


def read_revision(db: sqlite3.Connection) -> str | None:
    """Read the revision of the tables; None if a version before the first revision made them."""
    query = "SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'"
    if db.execute(query).fetchone() is None:
        return None
    row = db.execute("SELECT version_num FROM alembic_version").fetchone()
    return row and str(row[0])


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "cell_size_check = ON",
        "secure_delete = ON",  # overwrites deleted secrets
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_writing(db: sa.Connection) -> None:
    db.exec_driver_sql("BEGIN IMMEDIATE")
    db.info["changes"] = _total_changes(db)


def _count_commit(db: sa.Connection) -> None:
    if _total_changes(db) != db.info["changes"]:
        count_commit(db.exec_driver_sql)


def _count_tables(db: sa.Connection) -> None:
    """Count a commit that changes triggers. `_count_commit` counts only those that change rows."""
    if _total_changes(db) == db.info["changes"]:
        count_commit(db.exec_driver_sql)


def _total_changes(db: sa.Connection) -> int:
    connection: Any = db.connection.dbapi_connection
    return int(connection.total_changes)


def _create_triggers(db: sa.Connection) -> None:
    for table in METADATA.sorted_tables:
        for change in _CHANGES if table.info.get("cached") else ():
            condition = _CONDITIONS.get((table.name, change), "")
            trigger = _TRIGGER.format(table=table.name, change=change, condition=condition)
            db.exec_driver_sql(trigger)
