"""Links in mail that set a new password, by the SHA-256 digest of their token."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.engagement.permissions import Role
from openengagement.registry.audit import Actor
from openengagement.registry.database import Database, delete_expired
from openengagement.registry.passwords import record_password, store_password
from openengagement.registry.schema import ACCOUNTS, PASSWORD_RESETS, SECOND_FACTORS


@dataclass(frozen=True, slots=True)
class Receiver:
    """An account that may reset its password, and its mail address."""

    account_id: int
    screen_name: str
    mail: str


class PasswordResets:
    """The links of the registry. An account has one at most."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find_receiver(self, screen_name: str) -> Receiver | None:
        """Return the account with this screen name if it may reset its password by mail.

        It has a password and a mail address. A manager also needs a second factor: a platform key
        sets mail addresses, and must not give access to the manager's console.
        """
        return self._read(ACCOUNTS.c.screen_name_key == screen_name.casefold())

    def add(self, account_id: int, *, token_hash: bytes, oldest_s: int, now_s: int) -> None:
        """Add a link. It replaces the account's earlier one. Remove all links before `oldest_s`."""
        own = PASSWORD_RESETS.c.account_id == account_id
        account = sa.select(ACCOUNTS.c.id).where(ACCOUNTS.c.id == account_id)
        row = {"account_id": account_id, "token_hash": token_hash, "created_at_s": now_s}
        with self._database.writing() as db:
            if db.execute(account.with_for_update(key_share=True)).first() is None:
                return  # erased meanwhile
            db.execute(PASSWORD_RESETS.delete().where(own))
            db.execute(PASSWORD_RESETS.insert().values(row))
        with self._database.writing() as db:
            delete_expired(db, PASSWORD_RESETS, before_s=oldest_s)

    def find(self, token_hash: bytes, *, oldest_s: int) -> Receiver | None:
        """Return the account whose link this is, None if the link is unknown, used or too old."""
        return self._read(_live(token_hash, oldest_s))

    def use(
        self, token_hash: bytes, *, oldest_s: int, password_hash: str, now_s: int
    ) -> Receiver | None:
        """Set a password with a link, which ends it. The password is set as by `set_password`.

        Returns None, and changes nothing, if the link is unknown, used or too old.
        """
        link = _live(token_hash, oldest_s)
        with self._database.writing(credentials=True) as db:
            row = db.execute(_SELECT.where(link)).mappings().first()
            if row is None or not db.execute(PASSWORD_RESETS.delete().where(link)).rowcount:
                return None
            account = Receiver(**row)
            store_password(db, account.account_id, password_hash=password_hash)
            actor = Actor(account.screen_name, account.account_id)
            record_password(db, actor, action="reset_password", now_s=now_s)
        return account

    def _read(self, condition: sa.ColumnElement[bool]) -> Receiver | None:
        return self._database.read_one(Receiver, _SELECT.where(condition))


def _live(token_hash: bytes, oldest_s: int) -> sa.ColumnElement[bool]:
    reset = PASSWORD_RESETS.c
    return (reset.token_hash == token_hash) & (reset.created_at_s >= oldest_s)


_MAY_RESET: Final = (
    ACCOUNTS.c.mail.is_not(None)
    & ACCOUNTS.c.password_hash.is_not(None)
    & ((ACCOUNTS.c.role != Role.MANAGER) | SECOND_FACTORS.c.confirmed_at_s.is_not(None))
)
_SELECT: Final[sa.Select[Any]] = (
    sa.select(ACCOUNTS.c.id.label("account_id"), ACCOUNTS.c.screen_name, ACCOUNTS.c.mail)
    .select_from(ACCOUNTS)
    .outerjoin(SECOND_FACTORS, SECOND_FACTORS.c.account_id == ACCOUNTS.c.id)
    .outerjoin(PASSWORD_RESETS, PASSWORD_RESETS.c.account_id == ACCOUNTS.c.id)
    .where(_MAY_RESET)
)
