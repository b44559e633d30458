"""The registry's database in PostgreSQL: for servers on any number of machines.

Transactions run under its default isolation, READ COMMITTED.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from openengagement.postgresql import Pool, connect, create_engine, release_tables, seal_tables
from openengagement.registry.database import Database
from openengagement.registry.migrate import HEAD, SchemaMismatch, migrate, read_revision
from openengagement.registry.schema import METADATA
from openengagement.registry.version_watch import (
    CHANNEL,
    VERSION_QUERY,
    WATCH_NAME,
    WRITERS_LOCK,
    VersionWatch,
)

_MIGRATION_LOCK: Final = 7_106_905  # of a transaction that migrates; any number


class PostgresqlDatabase(Database):
    """The database at `url`, such as `postgresql://user:password@host/name`.

    Raises:
        SchemaMismatch: it has no tables, or those of another version.
        StoreUnavailable: it cannot be reached now, or refuses the user.
    """

    blocking = True
    increment_version = sa.text(
        "WITH incremented AS (UPDATE credential_version SET version = version + 1 RETURNING 1) "
        "SELECT pg_notify(:channel, '') FROM incremented"
    ).bindparams(channel=CHANNEL)

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = create_engine(url, "registry")
        super().__init__(
            reader=self._engine.execution_options(isolation_level="AUTOCOMMIT"),
            writer=self._engine.execution_options(),
        )
        self._watch = VersionWatch(
            partial(connect, url, application_name=WATCH_NAME), self._read_version
        )
        with self.reading() as db:
            revision = read_revision(db)
        if revision != HEAD:
            self.close()
            raise SchemaMismatch(revision)

    def version(self) -> int:
        return self._watch.version()

    @contextmanager
    def writing(self, *, credentials: bool = False) -> Iterator[sa.Connection]:
        with super().writing(credentials=credentials) as db:
            yield db
        if credentials:
            self._watch.note_change()

    def insert_missing(self, table: sa.Table) -> sa.Insert:
        return insert(table).on_conflict_do_nothing()

    def insert_adding(self, column: sa.Column[int]) -> sa.Insert:
        adding = insert(column.table)
        return adding.on_conflict_do_update(
            index_elements=list(column.table.primary_key),
            set_={column: column + adding.excluded[column.name]},
        )

    def scrub(self) -> None:
        """Do nothing: PostgreSQL runs VACUUM by itself."""

    def snapshot(self) -> AbstractContextManager[sa.Connection]:
        return self._engine.execution_options(isolation_level="REPEATABLE READ").connect()

    def seal(self, tables: Sequence[sa.Table], reason: str) -> None:
        with self._direct() as db:
            seal_tables(db, [table.name for table in tables], reason=reason)

    def release(self) -> None:
        with self._direct() as db:
            release_tables(db, [table.name for table in METADATA.sorted_tables])

    def join_writers(self) -> None:
        self._watch.share_lock(shared=True)

    def leave_writers(self) -> None:
        self._watch.share_lock(shared=False)

    def has_writers(self) -> bool:
        # The lock is released at the end of the statement.
        query = sa.select(sa.func.pg_try_advisory_xact_lock(WRITERS_LOCK))
        with self.reading() as db:
            return not db.scalar(query)

    def continue_ids(self, db: sa.Connection, column: sa.Column[int]) -> None:
        table = column.table
        sequence = sa.func.pg_get_serial_sequence(sa.literal(table.name), column.name)
        next_id = sa.func.coalesce(sa.func.max(column), 0) + 1
        db.execute(sa.select(sa.func.setval(sequence, next_id, sa.false())).select_from(table))

    @contextmanager
    def _direct(self) -> Iterator[psycopg.Connection[Any]]:
        """Connect with the driver itself.

        Raises:
            StoreUnavailable
        """
        with closing(Pool(self._url, "registry")) as pool, pool.connection() as db:
            yield db

    def close(self) -> None:
        self._watch.close()
        self._engine.dispose()

    def _read_version(self) -> int:
        with self.reading() as db:
            return int(db.exec_driver_sql(VERSION_QUERY).scalar_one())


def init_postgresql(url: str) -> None:
    """Create the tables in the database at `url`, or migrate them. Other processes may do so too.

    Raises:
        SchemaMismatch: a newer version made the tables.
        StoreUnavailable
    """
    engine = create_engine(url, "registry")
    try:
        with engine.begin() as db:
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            migrate(db)
    finally:
        engine.dispose()
