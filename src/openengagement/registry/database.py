"""The contract between the registry's modules and the database engine that stores its tables.

`registry.opening` chooses the engine. All other modules of the registry write SQLAlchemy Core only.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from typing import Any, ClassVar, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.sql.expression import UpdateBase

from openengagement.registry.schema import CREDENTIAL_VERSION

Record = TypeVar("Record")  # a dataclass with the names of columns
Value = TypeVar("Value")

VERSION_DELAY_MAX_S: Final = 1.0
WRITE_TIMEOUT_S: Final = 10.0  # a transaction fails when it has waited this long for others


class Database(ABC):
    """Opens transactions on the registry's tables, and knows the version of its credentials.

    An engine subclasses this and passes two SQLAlchemy engines. Transactions of `reader` must not
    wait for a writer. An engine that can copy itself has `copy_to` (`stores.contract.Copies`).
    """

    # Whether calls may wait for a network. If so, none is made on the event loop.
    blocking: ClassVar[bool] = False
    increment_version: ClassVar[sa.Executable] = CREDENTIAL_VERSION.update().values(
        version=CREDENTIAL_VERSION.c.version + 1
    )

    def __init__(self, *, reader: sa.Engine, writer: sa.Engine) -> None:
        self._reader = reader
        self._credential_writer = writer
        self._writer = writer.execution_options()  # the same pool, with a listener of its own
        sa.event.listen(self._writer, "before_execute", _refuse_credential_change)

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """Open a connection for reading. It waits for no writer and sees every earlier commit.

        Two statements may see different commits.

        Raises:
            StoreUnavailable: the database cannot be read now.
            StoreDamaged: its content is damaged.
        """
        return self._reader.connect()

    @contextmanager
    def writing(self, *, credentials: bool = False) -> Iterator[sa.Connection]:
        """Open a connection in a transaction: commit at the end, roll back on an exception.

        A transaction that changes a table marked as `cached` (`registry.schema`) must pass
        `credentials=True`. It first increments the credential version, so caches are emptied at
        the moment when the change becomes visible.

        The increment is also the *credential lock*. The row stays locked until the commit, so
        transactions with `credentials=True` run one after another, and each sees all changes of
        the earlier ones. Such a transaction may read, decide and write. In any other transaction,
        only a single statement is atomic, as under READ COMMITTED.

        Raises:
            StoreUnavailable: the transaction waited longer than WRITE_TIMEOUT_S, or the database
                cannot be written now. Nothing was changed.
            AssertionError: it changes a `cached` table without `credentials=True`.
        """
        engine = self._credential_writer if credentials else self._writer
        with engine.begin() as db:
            if credentials:
                db.execute(self.increment_version)
            yield db

    @abstractmethod
    def version(self) -> int:
        """Return a number that changes with every committed change of credentials, by any process.

        It counts every change that this process has made, and every change of other processes that
        was committed more than `VERSION_DELAY_MAX_S` ago. A transaction that begins after this call
        sees at least the changes that the number counts.
        """

    @abstractmethod
    def insert_missing(self, table: sa.Table) -> sa.Insert:
        """Make an INSERT that does nothing if the table has a row with the same key.

        The key is the primary one, or another one that is unique.
        """

    @abstractmethod
    def insert_adding(self, column: sa.Column[int]) -> sa.Insert:
        """Make an INSERT that adds to `column` if there is a row with the same primary key."""

    @abstractmethod
    def scrub(self) -> None:
        """Overwrite what removed rows have left in the database's files, as far as it can.

        Raises:
            StoreUnavailable: it cannot do so now.
        """

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[sa.Connection]:
        """Open a connection for reading. All its statements see the same commits."""

    @abstractmethod
    def seal(self, tables: Sequence[sa.Table], reason: str) -> None:
        """Refuse every change of these tables from now on, in all processes.

        The transaction that would make it fails with StoreUnavailable. `reason` has no quotes.
        """

    @abstractmethod
    def release(self) -> None:
        """Allow changes of all tables again."""

    @abstractmethod
    def join_writers(self) -> None:
        """Say that this process counts usage in memory, and will write it.

        A process that ends, or loses its database, is no writer any more. A second call does
        nothing.
        """

    @abstractmethod
    def leave_writers(self) -> None:
        """Say that this process has written all of its usage. It may take a second to be known."""

    @abstractmethod
    def has_writers(self) -> bool:
        """Whether another process will write usage. Raises StoreUnavailable."""

    @abstractmethod
    def continue_ids(self, db: sa.Connection, column: sa.Column[int]) -> None:
        """Let the ids that the database draws for a column follow those that it has."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections."""

    def read_one(self, record: type[Record], query: sa.Select[Any]) -> Record | None:
        """Return the first row of a query as a `record`, matched by column name, or None."""
        with self.reading() as db:
            row = db.execute(query).mappings().first()
        return None if row is None else record(**row)

    def change(self, statement: UpdateBase, *, credentials: bool = False) -> bool:
        """Run one statement in a transaction; return whether it changed any row. See `writing`."""
        with self.writing(credentials=credentials) as db:
            return db.execute(statement).rowcount > 0

    def read_all(self, record: type[Record], query: sa.Select[Any]) -> list[Record]:
        """Return the rows of a query as `record` objects, matched by column name."""
        with self.reading() as db:
            return [record(**row) for row in db.execute(query).mappings()]


def columns_of(record: type[Any], table: sa.Table) -> list[sa.Column[Any]]:
    """Return the columns of a table that a dataclass has fields for."""
    return [table.c[field.name] for field in fields(record) if field.name in table.c]


def slices(values: Sequence[Value], size: int) -> Iterator[Sequence[Value]]:
    """Cut a sequence into slices of at most `size` values."""
    return (values[start : start + size] for start in range(0, len(values), size))


def update_last_used(key: sa.Column[Any], column: sa.Column[Any]) -> sa.Update:
    """Make an UPDATE that stores when credentials were last used, never backwards.

    Its parameters are `used`, the value of `key`, and `used_s`, Unix seconds.
    """
    newer = sa.func.coalesce(column, 0) < sa.bindparam("used_s")
    update = sa.update(key.table).where(key == sa.bindparam("used"), newer)
    # No cache holds this column, and a commit every few seconds must not empty them.
    options = {"leaves_credentials": True}
    return update.values({column.name: sa.bindparam("used_s")}).execution_options(**options)


def delete_expired(db: sa.Connection, table: sa.Table, *, before_s: int) -> None:
    """Delete the rows of a table that were created before `before_s`."""
    (key,) = table.primary_key.columns
    expired = sa.select(key).where(table.c.created_at_s < before_s)
    # Skips rows that another transaction has locked; the next call deletes them. Waiting could
    # deadlock, because two transactions may reach the same rows in different orders.
    db.execute(table.delete().where(key.in_(expired.with_for_update(skip_locked=True))))


def _refuse_credential_change(_db: sa.Connection, statement: object, *parameters: object) -> None:
    """Listener: fail if a statement changes a cached table outside `writing(credentials=True)`."""
    options = parameters[-1]
    assert isinstance(options, Mapping)
    table = statement.table if isinstance(statement, UpdateBase) else None
    if isinstance(table, sa.Table) and not options.get("leaves_credentials"):
        assert not table.info.get("cached"), f"{table} changes only in writing(credentials=True)"
