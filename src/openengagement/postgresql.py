"""Connect to PostgreSQL: timeouts, pools, and failures as the contracts promise them.

The registry uses SQLAlchemy. Calls that every request makes use the driver's own pool, which takes
a third of the processor's time.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from psycopg_pool import ConnectionPool

from openengagement.errors import InvalidField, StoreUnavailable

# Otherwise the pool logs each failed attempt to connect. Callers get the error anyway.
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)

LOCK_TIMEOUT_S: Final = 10.0  # a statement fails when it has waited this long for other writers
_STATEMENT_TIMEOUT_S: Final = 20.0
_CONNECT_TIMEOUT_S: Final = 3
# After about this time without an answer of the network, a connection is given up.
_SILENCE_MAX_MS: Final = 4000
# Either side asks an idle connection for a sign of life after 10 s, and then every 5 s. The server
# gives up one whose client lost its power or network after 25 s, and with it the client's locks.
_KEEPALIVES: Final[Mapping[str, int]] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
# The server gives up a client that has not confirmed data for this long. Keepalives do not cover
# such a connection: by default the server sends the data again for about a quarter of an hour.
_CLIENT_SILENCE_MAX_MS: Final = 25_000
_POOL_SIZE: Final = 8
# Failures that may pass: the server cannot be reached, is stopping or full, a lock was not free in
# time (OperationalError); it is a standby.
_MAY_PASS: Final = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
_NONCHARACTER: Final = "\ufdd0"  # no text that somebody typed has it
# Class 57 is that of a server that is not available now, so callers try again later.
_REFUSE: Final = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '{reason}' USING ERRCODE = '57P03'; END $$
"""
_ALL_CHANGES: Final = "INSERT OR UPDATE OR DELETE"
_SEAL: Final = """
CREATE TRIGGER sealed BEFORE {changes} ON {table} FOR EACH STATEMENT
EXECUTE PROCEDURE refuse_change()
"""
_SEALED: Final = """
SELECT 1 FROM pg_trigger WHERE tgname = 'sealed' AND tgrelid = %s::regclass
"""
_SERVER_SETTINGS: Final[Mapping[str, int]] = {
    "lock_timeout": int(LOCK_TIMEOUT_S * 1000),
    "statement_timeout": int(_STATEMENT_TIMEOUT_S * 1000),
    "tcp_user_timeout": _CLIENT_SILENCE_MAX_MS,
    **{f"tcp_{name}": value for name, value in _KEEPALIVES.items()},
}
_OPTIONS: Final[Mapping[str, Any]] = {
    "application_name": "openengagement",
    "options": " ".join(f"-c {name}={value}" for name, value in _SERVER_SETTINGS.items()),
    "connect_timeout": _CONNECT_TIMEOUT_S,
    "tcp_user_timeout": _SILENCE_MAX_MS,
    **_KEEPALIVES,
}


def create_engine(url: str, store: str) -> sa.Engine:
    """Create a pool of connections to the database at `url`. Nothing is connected yet.

    A failure that may pass is raised as StoreUnavailable, with `store` as the store's name. A value
    that PostgreSQL refuses is raised as InvalidField.
    """
    engine = sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        connect_args=_OPTIONS,
        pool_size=_POOL_SIZE,
        max_overflow=-1,  # every thread of a process may have a connection at the same time
    )
    sa.event.listen(engine, "handle_error", partial(_raise_as_promised, store))
    sa.event.listen(engine, "before_cursor_execute", _find_nothing, retval=True, named=True)
    return engine


class Pool:
    """Connections in autocommit mode for calls that every request makes.

    Raises:
        StoreUnavailable: the server cannot be reached now, or refuses the user.
    """

    def __init__(self, url: str, store: str) -> None:
        self._store = store
        self._pool = ConnectionPool(
            url,
            kwargs={"autocommit": True, **_OPTIONS},
            min_size=1,
            max_size=_POOL_SIZE,
            timeout=_CONNECT_TIMEOUT_S,
            reconnect_timeout=_CONNECT_TIMEOUT_S,
            open=False,
        )
        try:
            connect(url).close()  # its error says why; that of the pool only says when
        except psycopg.OperationalError as error:
            raise _unavailable(store, error) from error
        self._pool.open()

    @contextmanager
    def connection(self, *, timeout_s: float | None = None) -> Iterator[psycopg.Connection[Any]]:
        """Take a connection from the pool for the block.

        `timeout_s` is how long to wait for one, by default as long as for a new connection.

        Raises:
            StoreUnavailable: try again later.
        """
        try:
            with self._pool.connection(timeout_s) as db:
                yield db
        except _MAY_PASS as error:
            self._pool.check()  # after a restart of the server, every connection is broken
            raise _unavailable(self._store, error) from error

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


def connect(url: str, *, application_name: str = "openengagement") -> psycopg.Connection[Any]:
    """Open a connection outside the pool, in autocommit mode.

    Raises:
        psycopg.Error
    """
    options = {**_OPTIONS, "application_name": application_name}
    return psycopg.connect(url, autocommit=True, **options)


class SessionLock:
    """An advisory lock of the database at `url`, held by a connection of its own.

    The server releases it when the connection ends, so also for a process that dies.

    Raises:
        StoreUnavailable: the server cannot be reached now.
        sqlalchemy.exc.DBAPIError: the URL has a faulty option.
    """

    def __init__(self, url: str, number: int) -> None:
        try:
            self._db = connect(url)
            row = self._db.execute("SELECT pg_try_advisory_lock(%s)", [number]).fetchone()
        except _MAY_PASS as error:
            raise _unavailable("registry", error) from error
        except psycopg.Error as error:
            raise sa.exc.DBAPIError(None, None, error) from error
        self._held = bool(row and row[0])

    def is_held(self) -> bool:
        """Whether the lock was free, and is still held."""
        try:
            self._db.execute("SELECT 1")
        except psycopg.Error:
            return False
        return self._held

    def close(self) -> None:
        """Release the lock, if it is held."""
        self._db.close()


def write_array(ids: Iterable[int]) -> str:
    """Write an array of PostgreSQL. The driver takes ten times as long for each of its elements."""
    return f"{{{','.join(map(str, ids))}}}"


def seal_tables(db: psycopg.Connection[Any], tables: Sequence[str], *, reason: str) -> None:
    """Refuse every change of these tables from now on, as a failure that may pass.

    Each table is sealed in a transaction of its own, when the transactions that changed it have
    ended. So no transaction waits for another one in a circle. `db` is in autocommit mode. A name
    may be followed by the changes to refuse, such as `flights INSERT`.
    """
    db.execute(_REFUSE.format(reason=reason))
    for each in tables:
        table, _, changes = each.partition(" ")
        with db.transaction():
            db.execute(f"DROP TRIGGER IF EXISTS sealed ON {table}")
            db.execute(_SEAL.format(table=table, changes=changes or _ALL_CHANGES))


def release_tables(db: psycopg.Connection[Any], tables: Sequence[str]) -> None:
    """Allow changes of sealed tables again."""
    for table in tables:
        db.execute(f"DROP TRIGGER IF EXISTS sealed ON {table}")


def is_sealed(db: psycopg.Connection[Any], table: str) -> bool:
    """Whether a table is sealed."""
    return db.execute(_SEALED, [table]).fetchone() is not None


def _find_nothing(
    *,
    statement: str,
    parameters: Any,  # noqa: ANN401 (a mapping, or several)
    context: sa.ExecutionContext,
    **_more: object,
) -> tuple[str, Any]:
    """Let a search for a text with NUL find nothing, as in SQLite. PostgreSQL would refuse it."""
    if isinstance(parameters, Mapping) and not (context.isinsert or context.isupdate):
        parameters = {
            name: value.replace("\0", _NONCHARACTER) if isinstance(value, str) else value
            for name, value in parameters.items()
        }
    return statement, parameters


def _raise_as_promised(store: str, context: sa.ExceptionContext) -> None:
    error = context.original_exception
    if isinstance(error, _MAY_PASS):
        raise _unavailable(store, error) from error
    if isinstance(error, psycopg.DataError):  # such as NUL in a text, which a client sent
        raise InvalidField("a value is not valid in the database") from error


def _unavailable(store: str, error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(store, str(error).partition("\n")[0])
