"""The database behind the registry: what its modules may ask of it, whichever engine it is.

`registry.opening` names the engine. The modules beside this one write SQLAlchemy Core only.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.sql.expression import UpdateBase

from openengagement.registry.schema import CREDENTIAL_VERSION

Record = TypeVar("Record")  # a dataclass with the names of columns

WRITE_TIMEOUT_S: Final = 10.0  # a transaction fails when it has waited this long for others
_MOVE_VERSION: Final = CREDENTIAL_VERSION.update().values(version=CREDENTIAL_VERSION.c.version + 1)


class Database(ABC):
    """Transactions on the registry's tables, and the version of its credentials.

    An implementation passes two SQLAlchemy engines: transactions of `reader` wait for no writer.
    It may also have `copy_to(folder)`, as stores have (`stores.contract.Copies`).
    """

    def __init__(self, *, reader: sa.Engine, writer: sa.Engine) -> None:
        self._reader = reader
        self._credential_writer = writer
        self._writer = writer.execution_options()  # a view of the same pool with its own listener
        sa.event.listen(self._writer, "before_execute", _refuse_credential_change)

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A connection to read with. It waits for no writer, and sees every earlier commit.

        Two statements may see different commits.
        """
        return self._reader.connect()

    @contextmanager
    def writing(self, *, credentials: bool = False) -> Iterator[sa.Connection]:
        """A connection in a transaction: committed at the end, rolled back on an exception.

        A transaction that changes a table marked as `cached` (see `registry.schema`) passes
        `credentials=True`; any other is refused. It first increments the credential version, in
        the transaction itself. So every cache is emptied when the change becomes visible, not
        earlier or later.

        That increment is also a lock: the row stays locked until the commit, so transactions
        with `credentials=True` run one after another, and each statement in one sees everything
        that the previous one committed. Reading, deciding and writing in one is therefore safe.
        Without it, only single statements are atomic, as under READ COMMITTED.

        Raises:
            sqlalchemy.exc.OperationalError: waited longer than WRITE_TIMEOUT_S.
        """
        engine = self._credential_writer if credentials else self._writer
        with engine.begin() as db:
            if credentials:
                db.execute(_MOVE_VERSION)
            yield db

    @abstractmethod
    def version(self) -> int:
        """A number that changes with every committed change of credentials, by any process.

        What is read after this call is at least as new as the number.
        """

    @abstractmethod
    def insert_missing(self, table: sa.Table) -> sa.Insert:
        """An INSERT that does nothing where the table has a row of that primary key."""

    @abstractmethod
    def insert_adding(self, column: sa.Column[int]) -> sa.Insert:
        """An INSERT that adds to `column` where its table has a row of that primary key."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections."""

    def read_one(self, record: type[Record], query: sa.Select[Any]) -> Record | None:
        """The first row of a query as a `record`, matched by column name; None without a row."""
        with self.reading() as db:
            row = db.execute(query).mappings().first()
        return None if row is None else record(**row)

    def read_all(self, record: type[Record], query: sa.Select[Any]) -> list[Record]:
        """The rows of a query as `record` objects, matched by column name."""
        with self.reading() as db:
            return [record(**row) for row in db.execute(query).mappings()]


def columns_of(record: type[Any], table: sa.Table) -> list[sa.Column[Any]]:
    """The columns of a table that a dataclass has fields for, in the order of its fields."""
    return [table.c[field.name] for field in fields(record) if field.name in table.c]


def delete_expired(db: sa.Connection, table: sa.Table, *, before_s: int) -> None:
    """Delete the rows of a table that were created before `before_s`."""
    (key,) = table.primary_key.columns
    expired = sa.select(key).where(table.c.created_at_s < before_s)
    # Rows that another transaction has locked are being deleted there. Waiting for them could
    # deadlock: two transactions may reach the same rows in different orders.
    db.execute(table.delete().where(key.in_(expired.with_for_update(skip_locked=True))))


def _refuse_credential_change(_db: sa.Connection, statement: object, *parameters: object) -> None:
    options = parameters[-1]
    assert isinstance(options, Mapping)
    table = statement.table if isinstance(statement, UpdateBase) else None
    if isinstance(table, sa.Table) and not options.get("leaves_credentials"):
        assert not table.info.get("cached"), f"{table} changes only in writing(credentials=True)"
