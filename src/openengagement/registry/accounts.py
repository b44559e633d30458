"""Accounts: the users of the platform."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.engagement.permissions import Role
from openengagement.registry.database import Database, columns_of, slices
from openengagement.registry.schema import ACCOUNTS, PASSWORD_RESETS

_SLICE: Final = 500  # values in one IN list
# The id of an account, its screen name, and whether it is protected. None keeps the known value; a
# new account is then public.
AccountRow = tuple[int, str, bool | None]


class NameTaken(Exception):
    """The screen name belongs to another account."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the platform. `created_at_s` is the Unix time of its registration here."""

    id: int
    screen_name: str
    created_at_s: int
    protected: bool = False
    role: Role = Role.MEMBER


class Accounts:
    """The accounts of the registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_account(self, account: Account) -> None:
        """Register one account.

        Raises:
            NameTaken: the screen name or the id is in use.
        """
        row = asdict(account) | {"screen_name_key": account.screen_name.casefold()}
        try:
            self._database.change(ACCOUNTS.insert().values(row), credentials=True)
        except sa.exc.IntegrityError:
            raise NameTaken(account.screen_name) from None

    def apply_accounts(
        self, rows: Sequence[AccountRow], *, now_s: int, atomic: bool = False
    ) -> dict[int, int]:
        """Register or change accounts, in the order of rows.

        Leaves out a row whose screen name belongs to another account, in the registry or earlier
        among these rows. With `atomic`, one such row leaves out all rows. Returns the index of each
        such row -> the id of the account that has the screen name.
        """
        # Relies on the credential lock (Database.writing): no other writer takes a screen name
        # between the reads and the writes.
        with self._database.writing(credentials=True) as db:
            names = _read_names(db, rows)
            taken = _find_taken(rows, names)
            if taken and atomic:
                return taken
            good = _fold_accounts(row for index, row in enumerate(rows) if index not in taken)
            _update_accounts(db, [row for row in good if row[0] in names], names=names)
            _insert_accounts(db, [row for row in good if row[0] not in names], now_s=now_s)
        return taken

    def set_mails(self, mails: Mapping[int, str]) -> None:
        """Set the mail addresses of accounts: id -> address, empty to remove it.

        A link that resets a password goes to one address only, so another address ends the link.
        """
        same = ACCOUNTS.c.id == sa.bindparam("account")
        differs = ACCOUNTS.c.mail.is_distinct_from(sa.bindparam("new_mail"))
        update = ACCOUNTS.update().where(same, differs)
        rows = [{"account": each, "new_mail": mails[each] or None} for each in sorted(mails)]
        resets = PASSWORD_RESETS.delete().where(PASSWORD_RESETS.c.account_id == sa.bindparam("of"))
        with self._database.writing(credentials=True) as db:
            for row in rows:
                if db.execute(update.values(mail=sa.bindparam("new_mail")), row).rowcount:
                    db.execute(resets, {"of": row["account"]})

    def read_mail(self, account_id: int) -> str | None:
        """Return the mail address of an account, None if it has none."""
        with self._database.reading() as db:
            found: str | None = db.scalar(
                sa.select(ACCOUNTS.c.mail).where(ACCOUNTS.c.id == account_id)
            )
        return found

    def find_account(self, screen_name: str) -> Account | None:
        """Return the account with this screen name, in upper or lower case."""
        return self._read_one(ACCOUNTS.c.screen_name_key == screen_name.casefold())

    def read_account(self, account_id: int) -> Account | None:
        """Return the account with this id."""
        return self._read_one(ACCOUNTS.c.id == account_id)

    def list_accounts(self, role: Role | None = None) -> list[Account]:
        """List the accounts, with this role if given, by screen name."""
        query = _SELECT.order_by(ACCOUNTS.c.screen_name_key)
        if role is not None:
            query = query.where(ACCOUNTS.c.role == role)
        return self._database.read_all(Account, query)

    def search_accounts(
        self, text: str, role: Role | None, *, limit: int, skip: int = 0
    ) -> list[Account]:
        """List accounts by screen name: those with this text in it or this id, and this role."""
        query = _SELECT.where(*_matching(text, role)).order_by(ACCOUNTS.c.screen_name_key)
        return self._database.read_all(Account, query.limit(limit).offset(skip))

    def count_accounts(self, text: str, role: Role | None) -> int:
        """Count the accounts that `search_accounts` lists."""
        query = sa.select(sa.func.count()).select_from(ACCOUNTS).where(*_matching(text, role))
        with self._database.reading() as db:
            return db.scalar(query) or 0

    def read_protected(self, account_ids: Sequence[int]) -> dict[int, bool]:
        """Map the registered ones of these accounts to whether they are protected."""
        query = sa.select(ACCOUNTS.c.id, ACCOUNTS.c.protected)
        found: dict[int, bool] = {}
        with self._database.reading() as db:
            for ids in slices(account_ids, _SLICE):
                rows = db.execute(query.where(ACCOUNTS.c.id.in_(ids)))
                found.update((row[0], row[1]) for row in rows)
        return found

    def _read_one(self, condition: sa.ColumnElement[bool]) -> Account | None:
        return self._database.read_one(Account, _SELECT.where(condition))


_SELECT: Final[sa.Select[Any]] = sa.select(*columns_of(Account, ACCOUNTS))


def _matching(text: str, role: Role | None) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if text:
        key = text.removeprefix("@").casefold()
        named = ACCOUNTS.c.screen_name_key.contains(key, autoescape=True)
        conditions.append(named | (sa.cast(ACCOUNTS.c.id, sa.String) == text))
    if role is not None:
        conditions.append(ACCOUNTS.c.role == role)
    return conditions


def _account_row(account_id: int, screen_name: str, *, protected: bool | None) -> dict[str, Any]:
    return {
        "id": account_id,
        "screen_name": screen_name,
        "screen_name_key": screen_name.casefold(),
        "protected": protected,
    }


def _fold_accounts(rows: Iterable[AccountRow]) -> Collection[AccountRow]:
    """Fold rows to one per account: its last screen name, and its last protection if any."""
    folded: dict[int, AccountRow] = {}
    for account_id, screen_name, protected in rows:
        before = folded[account_id][2] if account_id in folded else None
        folded[account_id] = (account_id, screen_name, before if protected is None else protected)
    return folded.values()


def _read_names(db: sa.Connection, rows: Sequence[AccountRow]) -> dict[int, str]:
    """Map the accounts with an id or screen name of these rows to the key of their screen name."""
    query = sa.select(ACCOUNTS.c.id, ACCOUNTS.c.screen_name_key)
    names: dict[int, str] = {}
    for ids in slices([row[0] for row in rows], _SLICE):
        names.update((row[0], row[1]) for row in db.execute(query.where(ACCOUNTS.c.id.in_(ids))))
    for keys in slices([row[1].casefold() for row in rows], _SLICE):
        found = db.execute(query.where(ACCOUNTS.c.screen_name_key.in_(keys)))
        names.update((row[0], row[1]) for row in found)
    return names


def _update_accounts(
    db: sa.Connection, accounts: Sequence[AccountRow], *, names: dict[int, str]
) -> None:
    """Change registered accounts; `names` holds the present keys of their screen names."""
    rows = [_account_row(row[0], row[1], protected=row[2]) for row in accounts]
    renamed = [row for row in rows if row["screen_name_key"] != names[row["id"]]]
    if renamed:
        # Accounts may exchange screen names in a ring. So all of them first get keys that no screen
        # name can have: they begin with a space.
        free = ACCOUNTS.update().where(ACCOUNTS.c.id == sa.bindparam("new_id"))
        freed = [{"new_id": row["id"], "unused": f" {row['id']}"} for row in renamed]
        db.execute(free.values(screen_name_key=sa.bindparam("unused")), freed)
    if rows:
        changed: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in rows[0]}
        changed["protected"] = sa.func.coalesce(changed["protected"], ACCOUNTS.c.protected)
        update = ACCOUNTS.update().where(ACCOUNTS.c.id == sa.bindparam("new_id")).values(changed)
        db.execute(update, [{f"new_{name}": row[name] for name in row} for row in rows])


def _insert_accounts(db: sa.Connection, accounts: Sequence[AccountRow], *, now_s: int) -> None:
    rows = [
        _account_row(row[0], row[1], protected=bool(row[2]))
        | {"role": Role.MEMBER, "created_at_s": now_s}
        for row in accounts
    ]
    if rows:
        db.execute(ACCOUNTS.insert(), rows)


def _find_taken(rows: Sequence[AccountRow], names: dict[int, str]) -> dict[int, int]:
    """Map the index of each row whose screen name is taken to the id of the account that has it."""
    names = dict(names)
    owners = {key: account_id for account_id, key in names.items()}
    taken: dict[int, int] = {}
    for index, (account_id, screen_name, _) in enumerate(rows):
        key = screen_name.casefold()
        owner = owners.get(key, account_id)
        if owner != account_id:
            taken[index] = owner
            continue
        owners.pop(names.get(account_id, key), None)
        owners[key] = account_id
        names[account_id] = key
    return taken
