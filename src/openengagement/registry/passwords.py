"""The Argon2id hashes of passwords. `sign_in.passwords` makes and verifies them."""

import sqlalchemy as sa

from openengagement.registry.audit import Actor, write_entry
from openengagement.registry.database import Database
from openengagement.registry.schema import (
    ACCESS_TOKENS,
    ACCOUNTS,
    PASSWORD_RESETS,
    REQUEST_TOKENS,
    SESSIONS,
)
from openengagement.registry.sessions import PasswordChanged


class PasswordHashes:
    """The password hashes of the registry's accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read_password_hash(self, account_id: int) -> str | None:
        """Return the hash of the account's password, None without a password or an account."""
        query = sa.select(ACCOUNTS.c.password_hash).where(ACCOUNTS.c.id == account_id)
        with self._database.reading() as db:
            found: str | None = db.scalar(query)
        return found

    def read_sign_in_subject(self, screen_name: str) -> str:
        """Return a text for an account and its present password hash, empty without an account.

        The cookie of a known browser is bound to this text, so a new password invalidates it.
        """
        found = ACCOUNTS.c.screen_name_key == screen_name.casefold()
        query = sa.select(ACCOUNTS.c.id, ACCOUNTS.c.password_hash).where(found)
        with self._database.reading() as db:
            row = db.execute(query).first()
        return self.sign_in_subject(row.id, row.password_hash) if row else ""

    @staticmethod
    def sign_in_subject(account_id: int, password_hash: str | None) -> str:
        """Return the text of `read_sign_in_subject` for an account with this password hash."""
        return f"{account_id}:{password_hash}"

    def rehash_password(self, account_id: int, *, old: str, new: str) -> bool:
        """Store another hash of the same password. False if the password changed meanwhile."""
        unchanged = (ACCOUNTS.c.id == account_id) & (ACCOUNTS.c.password_hash == old)
        update = ACCOUNTS.update().where(unchanged).values(password_hash=new)
        return self._database.change(update, credentials=True)

    def set_password(self, account_id: int, *, password_hash: str) -> int:
        """Set a password, and return the number of access tokens that this revoked.

        A change of the password ends all sessions and revokes all access tokens (api.md 4.6):
        someone who knew the old password may have made them. The first password revokes nothing.
        """
        with self._database.writing(credentials=True) as db:
            return store_password(db, account_id, password_hash=password_hash)

    def change_password(self, actor: Actor, *, old: str, new: str, now_s: int) -> None:
        """Change the password of the actor's account from the hash `old`, as `set_password`.

        Raises:
            PasswordChanged: the account has another password by now, or was erased.
        """
        account_id = actor.account_id
        assert account_id is not None, "only accounts have passwords"
        query = sa.select(ACCOUNTS.c.password_hash).where(ACCOUNTS.c.id == account_id)
        with self._database.writing(credentials=True) as db:
            if db.scalar(query) != old:
                raise PasswordChanged
            store_password(db, account_id, password_hash=new)
            record_password(db, actor, action="change_password", now_s=now_s)


def record_password(db: sa.Connection, actor: Actor, *, action: str, now_s: int) -> None:
    """Record that an account changed its own password."""
    of = actor.account_id
    write_entry(db, actor, now_s=now_s, action=action, subject=actor.name, account_id=of)


def store_password(db: sa.Connection, account_id: int, *, password_hash: str) -> int:
    """Set a password, as `PasswordHashes.set_password`.

    Relies on the credential lock (Database.writing): no token is issued in the meantime.
    """
    account = ACCOUNTS.c.id == account_id
    tokens = ACCESS_TOKENS.c.account_id == account_id
    old = db.scalar(sa.select(ACCOUNTS.c.password_hash).where(account))
    db.execute(ACCOUNTS.update().where(account).values(password_hash=password_hash))
    if old is None:
        return 0
    for table in (SESSIONS, REQUEST_TOKENS, PASSWORD_RESETS):
        db.execute(table.delete().where(table.c.account_id == account_id))
    # Locks tokens in the same order as Grants.apply_last_used, so that no two deadlock.
    ordered = sa.select(ACCESS_TOKENS.c.token).where(tokens).order_by(ACCESS_TOKENS.c.token)
    db.execute(ordered.with_for_update()).all()
    return db.execute(ACCESS_TOKENS.delete().where(tokens)).rowcount
