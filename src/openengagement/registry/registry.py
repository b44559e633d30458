"""Accounts and platform keys, and the way to the rest of the small data: one relational database.

Secrets pass through here only encrypted or hashed; `auth.credentials` makes and reads them.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from openengagement.registry.apps import Apps
from openengagement.registry.decisions import Decisions
from openengagement.registry.encrypted import Change, kill_bearers, reencrypt
from openengagement.registry.grants import Grants
from openengagement.registry.migrate import migrate
from openengagement.registry.schema import (
    ACCOUNTS,
    PLATFORM_KEYS,
)
from openengagement.registry.sessions import Sessions
from openengagement.registry.usage import Usage

Row = TypeVar("Row")

BUSY_TIMEOUT_S: Final = 10.0  # how long a commit may wait for its turn
_LOOKUP_SIZE: Final = 500  # values in one IN list
# What a platform says of an account: id, screen name, and whether it is protected. None leaves that
# as it is; a new account is then public.
AccountRow = tuple[int, str, bool | None]


class NameTaken(Exception):
    """The screen name belongs to another account."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the platform. `role` is `member` or `manager`."""

    id: int
    screen_name: str
    protected: bool
    role: str


class Registry:
    """The registry in the SQLite file `path`, made or migrated when opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = sa.create_engine(
            f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_S}
        )
        sa.event.listen(self._engine, "connect", _prepare)
        sa.event.listen(self._engine, "begin", _begin)
        self._read = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        migrate(self._engine)
        self.apps = Apps(self._engine)
        self.grants = Grants(self._engine)
        self.sessions = Sessions(self._engine)
        self.usage = Usage(self._engine)
        self.decisions = Decisions(self._engine)
        # A connection that never writes, so that it sees every commit, our own included.
        self._watch = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._watch_lock = threading.Lock()

    def version(self) -> int:
        """A number that changes with every commit of any process; what caches ask."""
        with self._watch_lock:
            version: int = self._watch.execute("PRAGMA data_version").fetchone()[0]
            return version

    def copy_to(self, folder: Path) -> None:
        """Copy the file into a folder, as it is at this moment, while others write."""
        source = closing(sqlite3.connect(self._path))
        with source as db, closing(sqlite3.connect(folder / self._path.name)) as copy:
            db.backup(copy)

    def close(self) -> None:
        self._watch.close()
        self._engine.dispose()

    # Accounts

    def add_account(self, account: Account, *, now_s: int) -> None:
        """Register one account.

        Raises:
            NameTaken: the screen name or the id is in use.
        """
        row = _account_row(account.id, account.screen_name, protected=account.protected)
        row |= {"role": account.role, "created_at_s": now_s}
        try:
            with self._engine.begin() as db:
                db.execute(ACCOUNTS.insert().values(row))
        except sa.exc.IntegrityError:
            raise NameTaken(account.screen_name) from None

    def apply_accounts(
        self, rows: Sequence[AccountRow], *, now_s: int, atomic: bool = False
    ) -> dict[int, int]:
        """Register or change accounts, in the order of rows.

        A row whose screen name belongs to another account, in the registry or earlier among these
        rows, is left out. Returns those: index of the row -> id of the account that has the name.
        With `atomic` one such row leaves out all.
        """
        with self._engine.begin() as db:
            names = _current_names(db, rows)
            taken = _find_taken(rows, names)
            if taken and atomic:
                return taken
            good = _fold_accounts(row for at, row in enumerate(rows) if at not in taken)
            known = [
                _account_row(row[0], row[1], protected=row[2]) for row in good if row[0] in names
            ]
            fresh = [
                {
                    **_account_row(row[0], row[1], protected=bool(row[2])),
                    "role": "member",
                    "created_at_s": now_s,
                }
                for row in good
                if row[0] not in names
            ]
            _update_accounts(db, known, names=names)
            if fresh:
                db.execute(ACCOUNTS.insert(), fresh)
        return taken

    def find_account(self, screen_name: str) -> Account | None:
        found = ACCOUNTS.c.screen_name_key == screen_name.casefold()
        return self._one(_SELECT_ACCOUNT.where(found))

    def read_account(self, account_id: int) -> Account | None:
        return self._one(_SELECT_ACCOUNT.where(ACCOUNTS.c.id == account_id))

    def account_created_at_s(self, account_id: int) -> int:
        """When an account was registered, in Unix seconds; 0 when it is not."""
        query = sa.select(ACCOUNTS.c.created_at_s).where(ACCOUNTS.c.id == account_id)
        with self._read.connect() as db:
            return db.scalar(query) or 0

    def read_protected(self, account_ids: Sequence[int]) -> dict[int, bool]:
        """Of the registered ones among these accounts: whether each is protected."""
        found: dict[int, bool] = {}
        with self._read.connect() as db:
            for some in _slices(account_ids):
                query = sa.select(ACCOUNTS.c.id, ACCOUNTS.c.protected)
                rows = db.execute(query.where(ACCOUNTS.c.id.in_(some)))
                found.update((row[0], row[1]) for row in rows)
        return found

    # Keys

    def reencrypt(self, change: Change) -> tuple[int, int]:
        """As `registry.encrypted.reencrypt`."""
        return reencrypt(self._engine, change)

    def kill_bearers(self) -> None:
        """As `registry.encrypted.kill_bearers`."""
        kill_bearers(self._engine)

    # Platform keys

    def add_platform_key(self, *, name: str, key_hash: bytes, now_s: int) -> None:
        row = {"key_hash": key_hash, "name": name, "created_at_s": now_s}
        with self._engine.begin() as db:
            db.execute(PLATFORM_KEYS.insert().values(row))

    def has_platform_key(self, key_hash: bytes) -> bool:
        query = sa.select(PLATFORM_KEYS.c.key_hash).where(PLATFORM_KEYS.c.key_hash == key_hash)
        with self._read.connect() as db:
            return db.scalar(query) is not None

    def _one(self, query: sa.Select[Any]) -> Account | None:
        with self._read.connect() as db:
            row = db.execute(query).first()
        return None if row is None else Account(*row)


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    # A transaction that turned writer half-way could fail on another's commit, so ours that write
    # say so at once. Those that only read must wait for nobody: they are on the event loop too.
    reads = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _account_row(account_id: int, screen_name: str, *, protected: bool | None) -> dict[str, Any]:
    return {
        "id": account_id,
        "screen_name": screen_name,
        "screen_name_key": screen_name.casefold(),
        "protected": protected,
    }


def _slices(values: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(values), _LOOKUP_SIZE):
        yield values[start : start + _LOOKUP_SIZE]


def _fold_accounts(rows: Iterable[AccountRow]) -> Collection[AccountRow]:
    """One row per account: its last name, and what was said last of its protection."""
    folded: dict[int, AccountRow] = {}
    for account_id, screen_name, said in rows:
        before = folded[account_id][2] if account_id in folded else None
        folded[account_id] = (account_id, screen_name, before if said is None else said)
    return folded.values()


def _current_names(db: sa.Connection, rows: Sequence[AccountRow]) -> dict[int, str]:
    """Of all accounts that these rows name by id or by screen name: id -> its name's key."""
    query = sa.select(ACCOUNTS.c.id, ACCOUNTS.c.screen_name_key)
    names: dict[int, str] = {}
    for ids in _slices([row[0] for row in rows]):
        rows_by_id = db.execute(query.where(ACCOUNTS.c.id.in_(ids)))
        names.update((row[0], row[1]) for row in rows_by_id)
    for keys in _slices([row[1].casefold() for row in rows]):
        rows_by_name = db.execute(query.where(ACCOUNTS.c.screen_name_key.in_(keys)))
        names.update((row[0], row[1]) for row in rows_by_name)
    return names


def _update_accounts(
    db: sa.Connection, rows: Sequence[dict[str, Any]], *, names: dict[int, str]
) -> None:
    """Bring known accounts to what these rows say; `names` holds their names' keys as they are."""
    renamed = [row for row in rows if row["screen_name_key"] != names[row["id"]]]
    if renamed:
        # Names may change hands in a ring, so all that move are let go before any is taken.
        let_go = ACCOUNTS.update().where(ACCOUNTS.c.id == sa.bindparam("new_id"))
        aside = [{"new_id": row["id"], "aside": f" {row['id']}"} for row in renamed]
        db.execute(let_go.values(screen_name_key=sa.bindparam("aside")), aside)
    if rows:
        changed: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in rows[0]}
        changed["protected"] = sa.func.coalesce(changed["protected"], ACCOUNTS.c.protected)
        update = ACCOUNTS.update().where(ACCOUNTS.c.id == sa.bindparam("new_id")).values(changed)
        db.execute(update, [{f"new_{name}": row[name] for name in row} for row in rows])


def _find_taken(rows: Sequence[AccountRow], names: dict[int, str]) -> dict[int, int]:
    """Rows whose name is another account's when their turn comes: index -> who has the name."""
    names = dict(names)
    owners = {key: account_id for account_id, key in names.items()}
    taken: dict[int, int] = {}
    for at, (account_id, screen_name, _) in enumerate(rows):
        key = screen_name.casefold()
        owner = owners.get(key, account_id)
        if owner != account_id:
            taken[at] = owner
            continue
        owners.pop(names.get(account_id, key), None)
        owners[key] = account_id
        names[account_id] = key
    return taken


_SELECT_ACCOUNT: Final = sa.select(
    ACCOUNTS.c.id, ACCOUNTS.c.screen_name, ACCOUNTS.c.protected, ACCOUNTS.c.role
)
